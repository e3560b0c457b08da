//! Where traces go: a program's settings, and the variables that OpenTelemetry's specification names.

use std::collections::HashMap;
use std::fmt;

use axum::http::{HeaderName, HeaderValue};
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_PROTOCOL_HTTP_PROTOBUF, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
};
use opentelemetry_sdk::trace::{
    OTEL_BSP_MAX_QUEUE_SIZE, Sampler, SamplingDecision, ShouldSample as _,
};
use rollmill_net::Address;

use crate::{Error, Secret, values};

/// Spans that may wait unless the environment says otherwise. A request can enqueue a thousand jobs, with a span for
/// each.
const QUEUE: usize = 8192;
/// Path of the collector's interface below an address without one.
const PATH: &str = "/v1/traces";

const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Where a program sends traces, in the table `[traces]` of its file. A struct for clap's `flatten`.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct TraceSettings {
    /// URL of an OpenTelemetry collector that takes OTLP over HTTP [default: OTEL_EXPORTER_OTLP_ENDPOINT, or none,
    /// no traces]
    ///
    /// Spans are sent to `/v1/traces` below it. The port is usually 4318. OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
    /// OTEL_TRACES_SAMPLER and further variables of OpenTelemetry are followed.
    #[arg(id = "traces.endpoint", long, value_name = "URL", help_heading = "Traces")]
    #[arg(value_parser = values::address)]
    pub endpoint: Option<Address>,

    /// Headers of requests to the collector, as NAME=VALUE,NAME=VALUE [default: OTEL_EXPORTER_OTLP_HEADERS, or none]
    ///
    /// They usually hold a token, such as `authorization=Bearer TOKEN`.
    #[arg(id = "traces.headers", long, value_name = "file:PATH|env:NAME", help_heading = "Traces")]
    pub headers: Option<Secret>,
}

/// What the settings and the environment ask for.
pub(super) struct Plan {
    /// Where batches of spans are posted to.
    pub(super) url: String,
    /// Scheme, host and port of it.
    pub(super) origin: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) sampling: Sampling,
    /// Name of the service, if it is not that of the program.
    pub(super) service: Option<String>,
    /// Spans that may wait.
    pub(super) queue: usize,
}

/// The headers may hold a token.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Plan {
    /// [`None`] where nothing is to be sent. `variable` reads the environment; empty variables count as unset.
    pub(super) fn of(
        settings: &TraceSettings,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Error> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is = |name: &str, word: &str| {
            set(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
        };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let (address, path) = if let Some(endpoint) = &settings.endpoint {
            (endpoint.clone(), PATH)
        } else if let Some(text) = set(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) {
            (address(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, &text)?, "")
        } else if let Some(text) = set(OTEL_EXPORTER_OTLP_ENDPOINT) {
            (address(OTEL_EXPORTER_OTLP_ENDPOINT, &text)?, PATH)
        } else {
            return Ok(None);
        };
        require_protocol(&set)?;
        let queue = set(OTEL_BSP_MAX_QUEUE_SIZE).and_then(|text| text.trim().parse::<usize>().ok());
        Ok(Some(Self {
            url: address.join(path),
            origin: address.origin(),
            headers: settings.headers.as_ref().map(headers).transpose()?.unwrap_or_default(),
            sampling: Sampling::of(&set)?,
            service: set(SERVICE_NAME),
            queue: queue.filter(|queue| *queue > 0).unwrap_or(QUEUE),
        }))
    }
}

fn address(name: &str, text: &str) -> Result<Address, Error> {
    text.trim()
        .parse::<Address>()
        .map_err(|error| Error::Setting { message: format!("invalid value for {name}: {error}") })
}

/// The collector may have several ports. A batch that arrives at one of another protocol is lost, and nothing says why.
fn require_protocol(set: &impl Fn(&str) -> Option<String>) -> Result<(), Error> {
    let names = [OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL];
    match names.into_iter().find_map(|name| Some((name, set(name)?))) {
        Some((name, value)) if value.trim() != OTEL_EXPORTER_OTLP_PROTOCOL_HTTP_PROTOBUF => {
            Err(Error::Setting {
                message: format!(
                    "invalid value `{value}` for {name}: traces are sent by \
                     {OTEL_EXPORTER_OTLP_PROTOCOL_HTTP_PROTOBUF}; set it to that, and the endpoint to the \
                     collector's port for HTTP, usually 4318"
                ),
            })
        }
        _ => Ok(()),
    }
}

fn headers(secret: &Secret) -> Result<HashMap<String, String>, Error> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        HeaderName::from_bytes(name.as_bytes()).ok()?;
        HeaderValue::from_str(value).ok()?;
        Some((name.to_owned(), value.to_owned()))
    };
    let pairs = secret.reveal().split(',').filter(|text| !text.trim().is_empty()).map(pair);
    pairs.collect::<Option<_>>().ok_or_else(|| Error::Setting {
        message: "invalid value of traces.headers (not shown, it may be a secret): expected NAME=VALUE,NAME=VALUE"
            .to_owned(),
    })
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    /// Those whose parent is.
    follows_parent: bool,
    /// Of the others this share, 0 to 1.
    share: f64,
}

impl Sampling {
    fn of(set: &impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let name = set(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (follows_parent, rest) = match name.trim().strip_prefix("parentbased_") {
            Some(rest) => (true, rest),
            None => (false, name.trim()),
        };
        let share = match rest {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => share(set(SAMPLER_ARG).as_deref())?,
            _ => {
                return Err(Error::Setting {
                    message: format!(
                        "invalid value `{name}` for {SAMPLER}: expected always_on, always_off or traceidratio, with \
                         parentbased_ before it or without"
                    ),
                });
            }
        };
        Ok(Self { follows_parent, share })
    }

    /// Whether a trace is recorded below a parent that is or is not, or where it starts.
    pub(super) fn takes(&self, trace: u128, parent: Option<bool>) -> bool {
        if let Some(is_sampled) = parent.filter(|_| self.follows_parent) {
            return is_sampled;
        }
        let trace = TraceId::from_bytes(trace.to_be_bytes());
        let sampler = Sampler::TraceIdRatioBased(self.share);
        let result = sampler.should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

fn share(text: Option<&str>) -> Result<f64, Error> {
    let Some(text) = text else { return Ok(1.0) };
    let share = text.trim().parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| Error::Setting {
        message: format!("invalid value `{text}` for {SAMPLER_ARG}: expected a number from 0 to 1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: Option<&str>, headers: Option<&str>) -> TraceSettings {
        TraceSettings {
            endpoint: endpoint.map(|text| text.parse().unwrap()),
            headers: headers.map(Secret::generated),
        }
    }

    fn plan(settings: &TraceSettings, variables: &[(&str, &str)]) -> Result<Option<Plan>, Error> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Plan::of(settings, |name| value(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_endpoint_is_that_of_the_settings_or_else_of_the_environment() {
        let named = settings(Some("http://own:4318"), None);
        let unnamed = TraceSettings::default();
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318/otlp/");
        let special = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://special/x");
        for (settings, variables, url) in [
            (&named, &[general, special][..], Some("http://own:4318/v1/traces")),
            (&unnamed, &[general, special], Some("https://special/x")),
            (&unnamed, &[general], Some("http://general:4318/otlp/v1/traces")),
            (&unnamed, &[], None),
            (&unnamed, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], None),
            (&named, &[("OTEL_SDK_DISABLED", "true")], None),
            (&unnamed, &[general, ("OTEL_TRACES_EXPORTER", "none")], None),
            (
                &unnamed,
                &[general, ("OTEL_TRACES_EXPORTER", "otlp")],
                Some("http://general:4318/otlp/v1/traces"),
            ),
        ] {
            let found = plan(settings, variables).unwrap().map(|plan| plan.url);
            assert_eq!(found.as_deref(), url, "{variables:?}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named_without_what_may_be_secret() {
        let named = settings(Some("http://own:4318"), None);
        let headers = settings(Some("http://own:4318"), Some("planted"));
        for (settings, variable, value, part) in [
            (
                &TraceSettings::default(),
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "ftp://a:planted@b",
                "is not a URL",
            ),
            (
                &TraceSettings::default(),
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://a:planted@b",
                "user name",
            ),
            (
                &named,
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "grpc",
                "`grpc` for OTEL_EXPORTER_OTLP_PROTOCOL",
            ),
            (
                &named,
                "OTEL_TRACES_SAMPLER",
                "jaeger_remote",
                "`jaeger_remote` for OTEL_TRACES_SAMPLER",
            ),
            (&headers, "X", "", "traces.headers (not shown"),
        ] {
            let error = plan(settings, &[(variable, value)]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("SVC-001: ") && text.contains(part), "{text}");
            assert!(!text.contains("planted"), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
        let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let error = plan(&named, &[ratio, ("OTEL_TRACES_SAMPLER_ARG", "2")]).unwrap_err();
        assert!(error.to_string().contains("from 0 to 1"), "{error}");
    }

    #[test]
    fn headers_are_pairs() {
        let settings = settings(Some("http://a"), Some("authorization=Bearer a=b, x-scope = 7,"));
        let headers = plan(&settings, &[]).unwrap().unwrap().headers;
        let value = |name: &str| headers.get(name).map(String::as_str);
        assert_eq!((headers.len(), value("authorization")), (2, Some("Bearer a=b")));
        assert_eq!(value("x-scope"), Some("7"));
    }

    /// Goal: every process decides alike about a trace, and follows the one that started it if it is to.
    #[test]
    fn a_share_of_the_traces_is_recorded() {
        let of = |sampler: &str, arg: &str| {
            let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)];
            plan(&settings(Some("http://a"), None), &variables).unwrap().unwrap().sampling
        };
        let traces: Vec<u128> =
            (0..1000_u64).map(|n| super::super::trace_id(&[&n.to_be_bytes()])).collect();
        let taken = |sampling: Sampling, parent| {
            traces.iter().filter(|trace| sampling.takes(**trace, parent)).count()
        };
        let half = of("traceidratio", "0.5");
        assert!((400..600).contains(&taken(half, None)), "{}", taken(half, None));
        assert_eq!(taken(half, Some(true)), taken(half, None));
        let based = of("parentbased_traceidratio", "0.5");
        assert_eq!(taken(based, None), taken(half, None));
        assert_eq!((taken(based, Some(true)), taken(based, Some(false))), (1000, 0));
        assert_eq!(taken(of("always_off", ""), Some(true)), 0);
        assert_eq!(taken(of("always_on", ""), Some(false)), 1000);
        assert_eq!(taken(of("traceidratio", ""), None), 1000);
        assert_eq!(taken(of("parentbased_always_off", ""), None), 0);
    }
}
