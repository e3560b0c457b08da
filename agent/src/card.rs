//! Metrics of the card that an agent proves on, read at each scrape. Names start with
//! `rollmill_agent_card_`; a reading that the card does not have is left out.

use rollmill_service::metrics::{self, Declared};
use rollmill_service::prometheus::core::{Collector, Desc};
use rollmill_service::prometheus::proto::MetricFamily;
use rollmill_service::prometheus::{self, Registry};

use crate::nvml::{Card, Reading, THROTTLE_REASONS};

/// Exports the sensors of the card with this UUID, if NVML is there and knows it.
pub fn export(registry: &Registry, uuid: &str) -> Result<(), prometheus::Error> {
    match Card::open(uuid) {
        Ok(card) => registry.register(Box::new(Sensors::new(Box::new(move || card.read()), uuid))),
        Err(reason) => {
            tracing::debug!(error = %reason, "GPU metrics unavailable");
            Ok(())
        }
    }
}

/// The metrics as declared, each with its label.
pub(crate) fn declared() -> Vec<Declared> {
    metrics::with_label("uuid", CardMetrics::declared())
}

rollmill_service::metrics! {
    /// Sensors of the GPU that an agent proves on.
    struct CardMetrics: "rollmill_agent_card_" {
        /// Temperature of the chip.
        temperature_celsius: Gauge,
        /// Current power draw.
        power_watts: Gauge,
        /// Current power limit.
        power_limit_watts: Gauge,
        /// Energy since the driver was loaded; its rate is the mean power.
        energy_joules_total: Counter,
        /// Fraction of the last sample period in which a kernel ran.
        utilization_ratio: Gauge,
        /// Fraction of the last sample period in which memory was used.
        memory_utilization_ratio: Gauge,
        /// Memory used by all programs.
        memory_used_bytes: Gauge,
        /// Memory installed.
        memory_total_bytes: Gauge,
        /// Current rate of a clock.
        clock_hertz: GaugeVec[clock in ["sm", "memory"]],
        /// 1 while the clocks are throttled for this reason.
        throttled: GaugeVec[reason in THROTTLE_REASONS.map(|(reason, _)| reason)],
        /// Memory errors since the driver was loaded.
        ecc_errors_total: CounterVec[kind in ["corrected", "uncorrected"]],
        /// Xid errors that the driver reported since the agent started; its log has their numbers.
        xid_errors_total: Counter,
    }
}

struct Sensors {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    metrics: CardMetrics,
}

impl Sensors {
    fn new(read: Box<dyn Fn() -> Reading + Send + Sync>, uuid: &str) -> Self {
        Self { read, metrics: CardMetrics::create(&[("uuid", uuid)]) }
    }
}

impl Collector for Sensors {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics.descriptions()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (reading, metrics) = ((self.read)(), &self.metrics);
        let mut found = Vec::new();
        for (gauge, value) in [
            (&metrics.temperature_celsius, reading.temperature_celsius),
            (&metrics.power_watts, reading.power_watts),
            (&metrics.power_limit_watts, reading.power_limit_watts),
            (&metrics.utilization_ratio, reading.utilization),
            (&metrics.memory_utilization_ratio, reading.memory_utilization),
            (&metrics.memory_used_bytes, reading.memory_used_bytes),
            (&metrics.memory_total_bytes, reading.memory_total_bytes),
        ] {
            if let Some(value) = value {
                gauge.set(value);
                found.extend(gauge.collect());
            }
        }
        // A counter is the card's own count, which restarts when its driver is loaded again.
        metrics.energy_joules_total.reset();
        if let Some(joules) = reading.energy_joules {
            metrics.energy_joules_total.inc_by(joules.max(0.0));
            found.extend(metrics.energy_joules_total.collect());
        }
        metrics.clock_hertz.reset();
        let clocks = [("sm", reading.sm_clock_hertz), ("memory", reading.memory_clock_hertz)];
        for (clock, hertz) in clocks {
            if let Some(hertz) = hertz {
                metrics.clock_hertz.with_label_values(&[clock]).set(hertz);
            }
        }
        found.extend(metrics.clock_hertz.collect());
        if let Some(bits) = reading.throttle_reasons {
            for (reason, bit) in THROTTLE_REASONS {
                let is_on = f64::from(u8::from(bits & bit != 0));
                metrics.throttled.with_label_values(&[reason]).set(is_on);
            }
            found.extend(metrics.throttled.collect());
        }
        metrics.ecc_errors_total.reset();
        let errors =
            [("corrected", reading.ecc_corrected), ("uncorrected", reading.ecc_uncorrected)];
        for (kind, count) in errors {
            if let Some(count) = count {
                metrics.ecc_errors_total.with_label_values(&[kind]).inc_by(count.max(0.0));
            }
        }
        found.extend(metrics.ecc_errors_total.collect());
        metrics.xid_errors_total.reset();
        if let Some(count) = reading.xid_errors {
            metrics.xid_errors_total.inc_by(count.max(0.0));
            found.extend(metrics.xid_errors_total.collect());
        }
        // A family without series is no reading.
        found.retain(|family| !family.get_metric().is_empty());
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use rollmill_service::prometheus::TextEncoder;

    use super::*;

    const FULL: Reading = Reading {
        temperature_celsius: Some(61.0),
        power_watts: Some(312.5),
        power_limit_watts: Some(700.0),
        energy_joules: Some(1234.5),
        utilization: Some(0.97),
        memory_utilization: Some(0.4),
        memory_used_bytes: Some(2e9),
        memory_total_bytes: Some(8e10),
        sm_clock_hertz: Some(1.98e9),
        memory_clock_hertz: Some(2.619e9),
        throttle_reasons: Some(0x4 | 0x1),
        ecc_corrected: Some(3.0),
        ecc_uncorrected: Some(0.0),
        xid_errors: Some(2.0),
    };

    fn exported(readings: &[Reading]) -> String {
        let registry = Registry::new();
        let left = Arc::new(Mutex::new(readings.to_vec()));
        let read = move || left.lock().remove(0);
        registry.register(Box::new(Sensors::new(Box::new(read), "GPU-1"))).unwrap();
        let scrapes: Vec<_> = readings.iter().map(|_| registry.gather()).collect();
        TextEncoder::new().encode_to_string(scrapes.last().unwrap()).unwrap()
    }

    #[test]
    fn every_reading_is_exported_under_its_unit() {
        let text = exported(&[FULL]);
        for line in [
            "temperature_celsius{uuid=\"GPU-1\"} 61\n",
            "power_watts{uuid=\"GPU-1\"} 312.5\n",
            "power_limit_watts{uuid=\"GPU-1\"} 700\n",
            "energy_joules_total{uuid=\"GPU-1\"} 1234.5\n",
            "utilization_ratio{uuid=\"GPU-1\"} 0.97\n",
            "memory_utilization_ratio{uuid=\"GPU-1\"} 0.4\n",
            "memory_used_bytes{uuid=\"GPU-1\"} 2000000000\n",
            "memory_total_bytes{uuid=\"GPU-1\"} 80000000000\n",
            "clock_hertz{clock=\"sm\",uuid=\"GPU-1\"} 1980000000\n",
            "clock_hertz{clock=\"memory\",uuid=\"GPU-1\"} 2619000000\n",
            "throttled{reason=\"power_cap\",uuid=\"GPU-1\"} 1\n",
            "throttled{reason=\"hardware_thermal\",uuid=\"GPU-1\"} 0\n",
            "ecc_errors_total{kind=\"corrected\",uuid=\"GPU-1\"} 3\n",
            "ecc_errors_total{kind=\"uncorrected\",uuid=\"GPU-1\"} 0\n",
            "xid_errors_total{uuid=\"GPU-1\"} 2\n",
        ] {
            assert!(text.contains(&format!("rollmill_agent_card_{line}")), "{line}: {text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 12, "{text}");
    }

    #[test]
    fn what_a_card_does_not_say_any_more_is_left_out_and_counts_may_begin_again() {
        let silent = Reading { power_watts: None, throttle_reasons: None, ..FULL };
        let text = exported(&[FULL, Reading { ecc_corrected: Some(1.0), ..silent }]);
        assert!(!text.contains("power_watts") && !text.contains("throttled"), "{text}");
        assert!(text.contains("kind=\"corrected\",uuid=\"GPU-1\"} 1\n"), "{text}");
        assert_eq!(exported(&[Reading::default()]), "");
    }
}
