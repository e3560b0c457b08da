//! Metrics, each declared once: from a table [`crate::metrics!`] generates a struct, its constructor,
//! its registration, the series that exist before their first event, and the rows of `docs/metrics.md`.

use std::fmt::Write;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only increases while the process runs. The name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by bucket, with their sum.
    Histogram,
}

impl Kind {
    /// The word in Prometheus' text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All its values, if they are known before the first event.
    pub values: Option<Vec<String>>,
}

/// The declaration of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Full name.
    pub name: &'static str,
    /// Help text: the doc comment.
    pub help: String,
    /// Type.
    pub kind: Kind,
    /// Labels, in order.
    pub labels: Vec<Label>,
    /// Upper bounds of a histogram's buckets; empty otherwise.
    pub buckets: Vec<f64>,
}

impl Declared {
    /// The text of doc comment lines: one line, without the white space around each.
    pub fn help(lines: &[&str]) -> String {
        lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Values of all labels, in order, if all are known.
    fn rows(&self) -> Option<Vec<Vec<&str>>> {
        let mut rows: Vec<Vec<&str>> = vec![Vec::new()];
        for label in &self.labels {
            let values = label.values.as_ref()?;
            rows = rows
                .iter()
                .flat_map(|row| values.iter().map(move |value| [&row[..], &[value]].concat()))
                .collect();
        }
        Some(rows)
    }

    /// This metric with `value` as the only one of `label`; `None` if it has no such label.
    #[doc(hidden)]
    pub fn with_value(mut self, label: &str, value: &str) -> Option<Self> {
        let found = self.labels.iter_mut().find(|found| found.name == label)?;
        found.values = Some(vec![value.to_owned()]);
        Some(self)
    }

    /// A row of a table with the columns metric, type, labels and meaning.
    pub fn to_row(&self) -> String {
        let mut labels = String::new();
        for label in &self.labels {
            let separator = if labels.is_empty() { "" } else { "; " };
            let _ = write!(labels, "{separator}`{}`", label.name);
            if let Some(values) = &label.values {
                let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
                let _ = write!(labels, ": {}", values.join(", "));
            }
        }
        let mut help = self.help.replace('|', "\\|");
        if let (Some(first), Some(last)) = (self.buckets.first(), self.buckets.last()) {
            let count = self.buckets.len();
            let _ = write!(help, " ({count} buckets, {first} to {last})");
        }
        format!("| `{}` | {} | {labels} | {help} |", self.name, self.kind.as_str())
    }
}

/// The metrics that every service has.
pub fn declared() -> Vec<Declared> {
    let mut declared = crate::conditions::AboutMetrics::declared();
    declared.extend(crate::usage::declared());
    declared.extend(crate::conditions::ConditionMetrics::declared());
    declared.extend(crate::HttpMetrics::declared());
    declared.extend(crate::http::tls::TlsMetrics::labelled());
    declared.extend(crate::disk::declared());
    declared.extend(crate::traces::declared());
    declared
}

/// The metrics `declared`, with a constant label in front of each, as `create` of a table adds it.
pub fn with_label(name: &'static str, declared: Vec<Declared>) -> Vec<Declared> {
    let labelled = declared.into_iter().map(|mut metric| {
        metric.labels.insert(0, Label { name, values: None });
        metric
    });
    labelled.collect()
}

/// A type of the crate `prometheus` that a table of [`crate::metrics!`] may name.
pub trait Metric: Collector + Clone + 'static {
    /// The type of its series.
    const KIND: Kind;

    /// Creates the metric, with the labels `constant` on every series.
    ///
    /// # Errors
    /// A name or label that Prometheus does not accept, or labels on a type without.
    fn create(declared: &Declared, constant: &[(&str, &str)]) -> prometheus::Result<Self>;

    /// Creates the series with these values of the labels.
    ///
    /// # Errors
    /// Another number of values than labels.
    fn create_series(&self, values: &[&str]) -> prometheus::Result<()>;
}

fn options(declared: &Declared, constant: &[(&str, &str)]) -> Opts {
    constant.iter().fold(Opts::new(declared.name, &declared.help), |options, (name, value)| {
        options.const_label(*name, *value)
    })
}

fn times(declared: &Declared, constant: &[(&str, &str)]) -> HistogramOpts {
    HistogramOpts { common_opts: options(declared, constant), buckets: declared.buckets.clone() }
}

fn plain(declared: &Declared) -> prometheus::Result<()> {
    if declared.labels.is_empty() {
        return Ok(());
    }
    Err(prometheus::Error::Msg(format!("{} has labels; declare a type with Vec", declared.name)))
}

macro_rules! plain_metrics {
    ($($type:ident: $kind:ident by $options:ident),+) => {$(
        impl Metric for $type {
            const KIND: Kind = Kind::$kind;
            fn create(declared: &Declared, constant: &[(&str, &str)]) -> prometheus::Result<Self> {
                plain(declared)?;
                Self::with_opts($options(declared, constant))
            }
            fn create_series(&self, _: &[&str]) -> prometheus::Result<()> {
                Ok(())
            }
        }
    )+};
}

macro_rules! labelled_metrics {
    ($($type:ident: $kind:ident by $options:ident),+) => {$(
        impl Metric for $type {
            const KIND: Kind = Kind::$kind;
            fn create(declared: &Declared, constant: &[(&str, &str)]) -> prometheus::Result<Self> {
                let labels: Vec<_> = declared.labels.iter().map(|label| label.name).collect();
                Self::new($options(declared, constant), &labels)
            }
            fn create_series(&self, values: &[&str]) -> prometheus::Result<()> {
                series_of(self, values)
            }
        }
    )+};
}

plain_metrics!(
    Counter: Counter by options, IntCounter: Counter by options, Gauge: Gauge by options,
    IntGauge: Gauge by options, Histogram: Histogram by times
);
labelled_metrics!(
    CounterVec: Counter by options, IntCounterVec: Counter by options, GaugeVec: Gauge by options,
    IntGaugeVec: Gauge by options, HistogramVec: Histogram by times
);

fn series_of<B: MetricVecBuilder>(
    metric: &MetricVec<B>,
    values: &[&str],
) -> prometheus::Result<()> {
    metric.get_metric_with_label_values(values).map(|_| ())
}

/// Creates the metric of `declared` and those of its series whose labels' values are all known.
///
/// # Panics
/// If the declaration is not well-formed, which depends on nothing at run time: `docs/metrics.md` is
/// written from every table, so its test would panic.
#[doc(hidden)]
pub fn create<M: Metric>(declared: Option<&Declared>, constant: &[(&str, &str)]) -> M {
    let declared = declared.expect("a declaration for each field");
    let metric = M::create(declared, constant).expect("a well-formed declaration");
    create_series(&metric, declared);
    metric
}

/// Creates every series whose labels' values are all known, so that each exists, at 0, before its
/// first event: Prometheus computes no rate of a series that first appears at 1.
#[doc(hidden)]
pub fn create_series<M: Metric>(metric: &M, declared: &Declared) {
    for row in declared.rows().unwrap_or_default() {
        metric.create_series(&row).expect("as many values as labels");
    }
}

/// Declares the metrics of one part of a program, each once.
///
/// The doc comment of a field is the help text; the field's name after the prefix is the metric's
/// name; labels follow in brackets, with `in` and their values if these are known from the start;
/// a histogram has its buckets in parentheses; `= value` is what a gauge shows at first.
///
/// ```
/// const SECONDS: [f64; 3] = [0.1, 1.0, 10.0];
/// rollmill_service::metrics! {
///     /// What the example counts.
///     pub struct Metrics: "rollmill_example_" {
///         /// Blocks proposed.
///         pub blocks_total: IntCounter,
///         /// Jobs by type and outcome.
///         jobs_total: IntCounterVec[kind, outcome in ["done", "failed"]],
///         /// Time of a job.
///         job_seconds: Histogram(SECONDS),
///         /// Seconds to the deadline; NaN without one.
///         deadline_seconds: Gauge = f64::NAN,
///     }
/// }
/// let registry = rollmill_service::prometheus::Registry::new();
/// let metrics = Metrics::new(&registry)?;
/// metrics.blocks_total.inc();
/// metrics.know("kind", "leaf");
/// assert_eq!(metrics.jobs_total.with_label_values(&["leaf", "failed"]).get(), 0);
/// assert_eq!(Metrics::declared()[0].name, "rollmill_example_blocks_total");
/// assert!(metrics.job_seconds.get_sample_count() == 0 && metrics.deadline_seconds.get().is_nan());
/// # Ok::<(), rollmill_service::prometheus::Error>(())
/// ```
///
/// The struct has these functions:
/// - `declared()` returns the table, from which `docs/metrics.md` is written;
/// - `create(constant)` returns metrics with constant labels that no registry shows yet;
/// - `register(&registry)`, `collectors()` and `descriptions()` show them; a registry takes a name once;
/// - `new(&registry)` does both, without constant labels;
/// - `know(label, value)` creates the series of a label's value that the program learned, where the
///   values of the other labels are known.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $vis:vis struct $table:ident: $prefix:literal {
            $(
                $(#[doc = $help:literal])+
                $field_vis:vis $field:ident: $type:ident
                $([$($label:ident $(in $values:expr)?),+ $(,)?])?
                $(($buckets:expr))?
                $(= $initial:expr)?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $table {
            $( $(#[doc = $help])+ $field_vis $field: $crate::prometheus::$type, )+
        }

        #[allow(dead_code, reason = "a program uses the functions that it needs")]
        impl $table {
            /// Every metric of the table, in order.
            $vis fn declared() -> Vec<$crate::metrics::Declared> {
                vec![$(
                    $crate::metrics::Declared {
                        name: concat!($prefix, stringify!($field)),
                        help: $crate::metrics::Declared::help(&[$($help),+]),
                        kind: <$crate::prometheus::$type as $crate::metrics::Metric>::KIND,
                        labels: vec![$($(
                            $crate::metrics::Label {
                                name: stringify!($label),
                                values: None::<Vec<String>> $(.or_else(|| {
                                    let values = $values.into_iter();
                                    Some(values.map(|value| value.to_string()).collect())
                                }))?,
                            },
                        )+)?],
                        buckets: Vec::new() $(.into_iter().chain($buckets).collect())?,
                    },
                )+]
            }

            /// Creates metrics with the labels `constant` on every series, which no registry has yet.
            $vis fn create(constant: &[(&str, &str)]) -> Self {
                let declared = Self::declared();
                let mut each = declared.iter();
                let table = Self {
                    $( $field: $crate::metrics::create(each.next(), constant), )+
                };
                $($( table.$field.set($initial); )?)+
                table
            }

            /// Every metric, for a registry.
            $vis fn collectors(&self) -> Vec<Box<dyn $crate::prometheus::core::Collector>> {
                vec![$( Box::new(self.$field.clone()), )+]
            }

            /// The descriptions of the metrics, for a collector that does not always report them.
            $vis fn descriptions(&self) -> Vec<&$crate::prometheus::core::Desc> {
                use $crate::prometheus::core::Collector;
                [$( self.$field.desc() ),+].concat()
            }

            /// Shows every metric.
            ///
            /// # Errors
            /// If the registry shows a metric with such a name and labels already.
            $vis fn register(
                &self,
                registry: &$crate::prometheus::Registry,
            ) -> Result<(), $crate::prometheus::Error> {
                self.collectors().into_iter().try_for_each(|metric| registry.register(metric))
            }

            /// Creates the metrics and shows them.
            ///
            /// # Errors
            /// As [`Self::register`].
            $vis fn new(
                registry: &$crate::prometheus::Registry,
            ) -> Result<Self, $crate::prometheus::Error> {
                let table = Self::create(&[]);
                table.register(registry)?;
                Ok(table)
            }

            /// Creates the series with `value` for `label` of the metrics that have this label and
            /// know all values of the others.
            $vis fn know(&self, label: &str, value: &str) {
                let mut declared = Self::declared().into_iter();
                $(
                    if let Some(known) = declared.next().and_then(|d| d.with_value(label, value)) {
                        $crate::metrics::create_series(&self.$field, &known);
                    }
                )+
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    crate::metrics! {
        struct Sample: "sample_" {
            /// Requests,
            /// by outcome.
            requests_total: IntCounterVec[kind, outcome in ["ok", "failed"]],
            /// Open connections.
            open: IntGauge,
            /// Time of a request.
            request_seconds: HistogramVec[outcome in ["ok", "failed"]]([0.5, 2.0]),
            /// Seconds left.
            left_seconds: Gauge = f64::NAN,
        }
    }

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn a_declaration_makes_the_metric_its_series_and_its_row() {
        let registry = Registry::new();
        let sample = Sample::new(&registry).unwrap();
        let shown = text(&registry);
        assert!(!shown.contains("requests_total{"), "no kind is known: {shown}");
        for line in [
            "sample_open 0\n",
            "sample_left_seconds NaN\n",
            "sample_request_seconds_bucket{outcome=\"failed\",le=\"0.5\"} 0\n",
            "sample_request_seconds_bucket{outcome=\"ok\",le=\"2\"} 0\n",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        sample.know("kind", "leaf");
        sample.requests_total.with_label_values(&["leaf", "ok"]).inc();
        let shown = text(&registry);
        for line in [
            "# HELP sample_requests_total Requests, by outcome.\n",
            "sample_requests_total{kind=\"leaf\",outcome=\"failed\"} 0\n",
            "sample_requests_total{kind=\"leaf\",outcome=\"ok\"} 1\n",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let rows: Vec<_> = Sample::declared().iter().map(super::Declared::to_row).collect();
        assert_eq!(
            rows,
            [
                "| `sample_requests_total` | counter | `kind`; `outcome`: `ok`, `failed` | Requests, by outcome. |",
                "| `sample_open` | gauge |  | Open connections. |",
                "| `sample_request_seconds` | histogram | `outcome`: `ok`, `failed` | Time of a request. (2 buckets, 0.5 to 2) |",
                "| `sample_left_seconds` | gauge |  | Seconds left. |",
            ]
        );
    }

    #[test]
    fn two_tables_with_other_constant_labels_share_a_registry_and_two_alike_do_not() {
        let registry = Registry::new();
        for server in ["a", "b"] {
            Sample::create(&[("server", server)]).register(&registry).unwrap();
        }
        assert!(text(&registry).contains("sample_open{server=\"b\"} 0\n"));
        assert!(Sample::create(&[("server", "a")]).register(&registry).is_err());
    }
}
