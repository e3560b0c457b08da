//! Metrics of the card that an agent proves on, read anew at each scrape. Names begin with
//! `rollmill_agent_card_`; a reading that the card does not give is left out.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts, Registry};

use crate::nvml::{Card, Reading, THROTTLE_REASONS};

type Read = Box<dyn Fn(&Reading) -> Option<f64> + Send + Sync>;

/// Exports the sensors of the card with this UUID, if NVML is there and knows it.
pub fn export(registry: &Registry, uuid: &str) -> Result<(), prometheus::Error> {
    match Card::open(uuid) {
        Ok(card) => {
            registry.register(Box::new(CardMetrics::new(Box::new(move || card.read()), uuid)?))
        }
        Err(reason) => {
            tracing::debug!(error = %reason, "GPU metrics unavailable");
            Ok(())
        }
    }
}

struct CardMetrics {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    gauges: Vec<(Gauge, Read)>,
    counters: Vec<(Counter, Read)>,
}

impl CardMetrics {
    fn new(
        read: Box<dyn Fn() -> Reading + Send + Sync>,
        uuid: &str,
    ) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str, label: Option<(&str, &str)>| {
            let options =
                Opts::new(format!("rollmill_agent_card_{name}"), help).const_label("uuid", uuid);
            match label {
                Some((name, value)) => options.const_label(name, value),
                None => options,
            }
        };
        let mut gauges: Vec<(Gauge, Read)> = Vec::new();
        let mut gauge = |name: &str, help: &str, label, read: Read| {
            gauges.push((Gauge::with_opts(options(name, help, label))?, read));
            Ok::<_, prometheus::Error>(())
        };
        gauge("temperature_celsius", "Of the chip", None, Box::new(|r| r.temperature_celsius))?;
        gauge("power_watts", "Drawn now", None, Box::new(|r| r.power_watts))?;
        gauge("power_limit_watts", "Held to now", None, Box::new(|r| r.power_limit_watts))?;
        gauge(
            "utilization_ratio",
            "Part of the last sample period in which a kernel ran",
            None,
            Box::new(|r| r.utilization),
        )?;
        gauge(
            "memory_utilization_ratio",
            "Part of the last sample period in which memory was read or written",
            None,
            Box::new(|r| r.memory_utilization),
        )?;
        gauge("memory_used_bytes", "Of all programs", None, Box::new(|r| r.memory_used_bytes))?;
        gauge("memory_total_bytes", "Installed", None, Box::new(|r| r.memory_total_bytes))?;
        let clock = "Present rate of a clock";
        gauge("clock_hertz", clock, Some(("clock", "sm")), Box::new(|r| r.sm_clock_hertz))?;
        gauge("clock_hertz", clock, Some(("clock", "memory")), Box::new(|r| r.memory_clock_hertz))?;
        for (reason, bit) in THROTTLE_REASONS {
            gauge(
                "throttled",
                "1 while clocks are held down for the reason",
                Some(("reason", reason)),
                Box::new(move |r| {
                    r.throttle_reasons.map(|bits| f64::from(u8::from(bits & bit != 0)))
                }),
            )?;
        }
        let mut counters: Vec<(Counter, Read)> = Vec::new();
        let mut counter = |name: &str, help: &str, label, read: Read| {
            counters.push((Counter::with_opts(options(name, help, label))?, read));
            Ok::<_, prometheus::Error>(())
        };
        let energy = "Taken since the driver was loaded";
        counter("energy_joules_total", energy, None, Box::new(|r| r.energy_joules))?;
        let ecc = "Errors of memory since the driver was loaded";
        for (kind, read) in [
            ("corrected", Box::new(|r: &Reading| r.ecc_corrected) as Read),
            ("uncorrected", Box::new(|r: &Reading| r.ecc_uncorrected)),
        ] {
            counter("ecc_errors_total", ecc, Some(("kind", kind)), read)?;
        }
        Ok(Self { read, gauges, counters })
    }
}

impl Collector for CardMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.desc())).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reading = (self.read)();
        let mut found = Vec::new();
        for (gauge, read) in &self.gauges {
            if let Some(value) = read(&reading) {
                gauge.set(value);
                found.extend(gauge.collect());
            }
        }
        for (counter, read) in &self.counters {
            if let Some(value) = read(&reading) {
                // The card's own count, which begins again when its driver is loaded again.
                counter.reset();
                counter.inc_by(value.max(0.0));
                found.extend(counter.collect());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::Mutex;

    use prometheus::TextEncoder;

    use super::*;
    use crate::metrics::Metrics;

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
    };

    fn exported(readings: &[Reading]) -> String {
        let registry = Registry::new();
        let left = Arc::new(Mutex::new(readings.to_vec()));
        let read = move || left.lock().unwrap().remove(0);
        let metrics = CardMetrics::new(Box::new(read), "GPU-1").unwrap();
        registry.register(Box::new(metrics)).unwrap();
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
        ] {
            assert!(text.contains(&format!("rollmill_agent_card_{line}")), "{line}: {text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 11, "{text}");
    }

    #[test]
    fn what_a_card_does_not_say_any_more_is_left_out_and_counts_may_begin_again() {
        let silent = Reading { power_watts: None, throttle_reasons: None, ..FULL };
        let text = exported(&[FULL, Reading { ecc_corrected: Some(1.0), ..silent }]);
        assert!(!text.contains("power_watts") && !text.contains("throttled"), "{text}");
        assert!(text.contains("kind=\"corrected\",uuid=\"GPU-1\"} 1\n"), "{text}");
        assert_eq!(exported(&[Reading::default()]), "");
    }

    fn names(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::String(text) => {
                let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let words = text.split(word).filter(|word| word.starts_with("rollmill_"));
                found.extend(words.map(str::to_owned));
            }
            serde_json::Value::Array(all) => all.iter().for_each(|value| names(value, found)),
            serde_json::Value::Object(all) => all.values().for_each(|value| names(value, found)),
            _ => {}
        }
    }

    /// Goal: no panel that stays empty because a metric has another name now. Method: the names in the
    /// file are among those that the code registers, and each metric of a card is shown.
    #[test]
    fn the_dashboard_names_metrics_that_there_are_and_every_one_of_a_card() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana/agents.json");
        let dashboard = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut shown = BTreeSet::new();
        names(&dashboard, &mut shown);

        let registry = Registry::new();
        let metrics = Metrics::new(&registry, &["leaf".to_owned()], std::iter::empty).unwrap();
        metrics.jobs_total.with_label_values(&["a", "b"]);
        metrics.proving_seconds.with_label_values(&["a"]);
        metrics.witness_seconds.with_label_values(&["a"]);
        let card = CardMetrics::new(Box::new(|| FULL), "GPU-1").unwrap();
        registry.register(Box::new(card)).unwrap();
        let mut there = BTreeSet::new();
        for family in registry.gather() {
            let name = family.name().to_owned();
            if name.starts_with("rollmill_agent_card_") {
                assert!(shown.contains(&name), "no panel shows {name}");
            }
            if family.get_field_type() == prometheus::proto::MetricType::HISTOGRAM {
                there.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            } else {
                there.insert(name);
            }
        }
        let unknown: Vec<_> = shown.difference(&there).collect();
        assert!(unknown.is_empty() && shown.len() > 12, "{unknown:?} of {shown:?}");
    }
}
