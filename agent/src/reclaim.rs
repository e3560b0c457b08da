//! Notices that the machine is taken away: a spot instance that is interrupted, a preempted one, one that is evicted.
//!
//! A cloud says it through the metadata service of the machine, which is asked every few seconds. For everything else
//! there are a URL of one's own and the signal SIGUSR1.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollmill_service::prometheus::IntCounter;
use rollmill_service::values::{self, Guarded};
use rollmill_service::{Again, Retry, http_client, one_line};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::leave::Leaving;

/// Time that a notice leaves and that is not used to prove: for returning what is not finished.
const MARGIN: Duration = Duration::from_secs(5);
/// From the notice of Google to the end, by its documentation. The notice says no time.
const GCP_LEFT: Duration = Duration::from_secs(30);
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const BODY_MAX: usize = 64 << 10;
/// First and longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

const LINK_LOCAL: &str = "http://169.254.169.254";
const GOOGLE: &str = "http://metadata.google.internal";

/// Who says that the machine is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nobody but the signal.
    #[default]
    Off,
    /// Amazon: notices of interruption, by IMDSv2.
    Aws,
    /// Google: the preemption of the instance.
    Gcp,
    /// Microsoft: scheduled events of this machine that preempt or terminate it.
    Azure,
    /// An address of one's own.
    Url(String),
}

/// Parses the setting.
///
/// # Errors
/// What is expected.
pub fn source(text: &str) -> Result<Source, Guarded> {
    match text {
        "off" => Ok(Source::Off),
        "aws" => Ok(Source::Aws),
        "gcp" => Ok(Source::Gcp),
        "azure" => Ok(Source::Azure),
        url => match values::url(url) {
            Ok(url) => Ok(Source::Url(url)),
            Err(Guarded(text)) => Err(Guarded(format!("{text}, or off, aws, gcp or azure"))),
        },
    }
}

/// Why nobody knows whether the machine is taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReclaimError {
    /// The metadata service, or the URL of `--reclaim`, cannot be reached.
    ///
    /// Do: Set `--reclaim` to the cloud that this machine is in, or to `off`. In a container allow the way to
    /// 169.254.169.254; on AWS a hop limit of 2 of the metadata options may be needed.
    #[error("{}: {url} of --reclaim cannot be reached", self.code())]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// It answers with a status that says nothing about the machine.
    ///
    /// Do: Set `--reclaim` to the cloud that this machine is in. A URL of your own answers 200 when the machine is
    /// taken away, else 404.
    #[error("{}: {url} of --reclaim answers with status {status}, which is neither yes nor no; correct --reclaim", self.code())]
    Status { url: String, status: u16 },
    /// Its answer cannot be read.
    ///
    /// Do: Set `--reclaim` to the cloud that this machine is in. If it is, report the answer.
    #[error("{}: the answer of {url} of --reclaim cannot be read; correct --reclaim", self.code())]
    Answer {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

rollmill_errors::coded! {
    ReclaimError {
        Self::Unreachable { .. } => "AGT-070" retried,
        Self::Status { .. } => "AGT-071" retried,
        Self::Answer { .. } => "AGT-072" retried,
    }
}

/// The machine is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Notice {
    /// How long the agent may go on; [`None`] if nobody says.
    left: Option<Duration>,
}

impl Notice {
    /// The machine goes at this time, if that is known, in seconds since 1970.
    fn at(time: Option<u64>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        Self { left: time.map(|time| usable(Duration::from_secs(time.saturating_sub(now)))) }
    }
}

fn usable(left: Duration) -> Duration {
    left.saturating_sub(MARGIN)
}

/// Takes SIGUSR1 for a notice that leaves the agent its own time. Ends with the runtime.
pub(crate) fn follow_signal(leaving: Leaving) {
    match signal(SignalKind::user_defined1()) {
        Ok(mut signals) => {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    leaving.reclaimed(None);
                }
            });
        }
        Err(error) => {
            let error = rollmill_errors::InWords(&error).to_string();
            tracing::error!(error, "SIGUSR1 cannot be handled; it would end the agent at once");
        }
    }
}

/// Asks until there is a notice, for as long as the runtime lives.
pub(crate) async fn follow(source: Source, leaving: Leaving, failures: IntCounter) {
    let Some(metadata) = Metadata::of(source) else { return };
    let mut retry = Retry::new(PAUSE.0, PAUSE.1);
    loop {
        match metadata.ask().await {
            Ok(Some(Notice { left })) => return leaving.reclaimed(left),
            Ok(None) => {
                retry.succeeded(|wait_seconds| {
                    tracing::info!(wait_seconds, "notices of reclaim available again");
                });
                tokio::time::sleep(metadata.pause()).await;
            }
            Err(error) => {
                failures.inc();
                let log = |Again { repeated, retry_seconds }| {
                    let error = one_line(&error);
                    tracing::warn!(
                        error,
                        repeated,
                        retry_seconds,
                        "notices of reclaim unavailable"
                    );
                };
                retry.failed(std::future::pending(), log).await;
            }
        }
    }
}

/// What is asked.
#[derive(Debug)]
struct Metadata {
    source: Source,
    /// Scheme and host; of a URL all of it.
    base: String,
    http: reqwest::Client,
}

impl Metadata {
    fn of(source: Source) -> Option<Self> {
        let base = match &source {
            Source::Off => return None,
            Source::Aws | Source::Azure => LINK_LOCAL.to_owned(),
            Source::Gcp => GOOGLE.to_owned(),
            Source::Url(url) => url.clone(),
        };
        Self::at(source, base)
    }

    fn at(source: Source, base: String) -> Option<Self> {
        // A proxy has other metadata than this machine.
        let http = http_client().no_proxy().timeout(TIMEOUT).build();
        match http {
            Ok(http) => Some(Self { source, base, http }),
            Err(error) => {
                tracing::error!(error = one_line(&error), "no client for notices of reclaim");
                None
            }
        }
    }

    /// How long to wait until it is asked again, as each cloud recommends.
    fn pause(&self) -> Duration {
        match self.source {
            Source::Gcp | Source::Azure => Duration::from_secs(1),
            Source::Off | Source::Aws | Source::Url(_) => Duration::from_secs(5),
        }
    }

    async fn ask(&self) -> Result<Option<Notice>, ReclaimError> {
        match &self.source {
            Source::Off => Ok(None),
            Source::Aws => self.aws().await,
            Source::Gcp => self.gcp().await,
            Source::Azure => self.azure().await,
            Source::Url(url) => self.yes_or_no(self.http.get(url)).await,
        }
    }

    /// 200 and, where the answer has one, the time; or 404.
    async fn yes_or_no(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<Notice>, ReclaimError> {
        match self.send(request).await? {
            (200, body) => Ok(Some(Notice::at(time_in(&body)))),
            (204 | 404, _) => Ok(None),
            (status, _) => Err(self.status(status)),
        }
    }

    async fn aws(&self) -> Result<Option<Notice>, ReclaimError> {
        // One for each question: a token that is kept must be renewed.
        let token = self.http.put(format!("{}/latest/api/token", self.base));
        let token = self.body(token.header("x-aws-ec2-metadata-token-ttl-seconds", "60")).await?;
        let action = self.http.get(format!("{}/latest/meta-data/spot/instance-action", self.base));
        self.yes_or_no(action.header("x-aws-ec2-metadata-token", token.trim())).await
    }

    async fn gcp(&self) -> Result<Option<Notice>, ReclaimError> {
        let path = "computeMetadata/v1/instance/preempted";
        let preempted = self.http.get(format!("{}/{path}", self.base));
        let preempted = self.body(preempted.header("metadata-flavor", "Google")).await?;
        let is_preempted = preempted.trim().eq_ignore_ascii_case("true");
        Ok(is_preempted.then(|| Notice { left: Some(usable(GCP_LEFT)) }))
    }

    async fn azure(&self) -> Result<Option<Notice>, ReclaimError> {
        let of =
            |path: &str| self.http.get(format!("{}/{path}", self.base)).header("metadata", "true");
        let events = of("metadata/scheduledevents?api-version=2020-07-01");
        let events: Events = serde_json::from_str(&self.body(events).await?)
            .map_err(|source| ReclaimError::Answer { url: shown(&self.base), source })?;
        if events.events.iter().all(|event| !event.ends_the_machine()) {
            return Ok(None);
        }
        // The machines of a scale set hear of each other's events.
        let name = of("metadata/instance/compute/name?api-version=2021-02-01&format=text");
        let name = self.body(name).await?;
        let mut own = events.events.iter().filter(|event| event.is_about(name.trim()));
        let notice = |event: &Event| match imf_fixdate(&event.not_before) {
            Some(time) => Notice::at(Some(time)),
            // It has started.
            None => Notice { left: Some(Duration::ZERO) },
        };
        Ok(own.find(|event| event.ends_the_machine()).map(notice))
    }

    /// The body of an answer that must be a success.
    async fn body(&self, request: reqwest::RequestBuilder) -> Result<String, ReclaimError> {
        match self.send(request).await? {
            (200, body) => Ok(body),
            (status, _) => Err(self.status(status)),
        }
    }

    fn status(&self, status: u16) -> ReclaimError {
        ReclaimError::Status { url: shown(&self.base), status }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, String), ReclaimError> {
        let failed = |source: reqwest::Error| ReclaimError::Unreachable {
            url: shown(&self.base),
            source: source.without_url(),
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&part);
            if body.len() > BODY_MAX {
                break;
            }
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Scheme and host of a URL. What is before an `@` may be a password, and a path a key.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
}

/// Scheduled events of Azure.
#[derive(Debug, Deserialize)]
struct Events {
    #[serde(rename = "Events", default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    event_type: String,
    #[serde(default)]
    resources: Vec<String>,
    /// Empty once it has started.
    #[serde(default)]
    not_before: String,
}

impl Event {
    fn ends_the_machine(&self) -> bool {
        ["Preempt", "Terminate"].contains(&self.event_type.as_str())
    }

    fn is_about(&self, name: &str) -> bool {
        self.resources.iter().any(|resource| resource.eq_ignore_ascii_case(name))
    }
}

/// The time in an answer: alone, or in the field `time` of an object.
fn time_in(body: &str) -> Option<u64> {
    let object: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let field = object.as_ref().and_then(|object| object.get("time")?.as_str());
    rfc_3339(field.unwrap_or(body).trim())
}

/// A time such as `2026-01-31T23:59:59Z`, with or without a fraction, in seconds since 1970.
fn rfc_3339(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't'])?;
    let mut date = date.split('-').map(|part| part.parse().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    seconds((year, month, day), time.split('.').next()?)
}

/// A time such as `Sat, 31 Jan 2026 23:59:59 GMT`, in seconds since 1970.
fn imf_fixdate(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_once(',')?.1.split_whitespace();
    let day = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    let year = parts.next()?.parse().ok()?;
    seconds((year, u64::try_from(month).ok()? + 1, day), parts.next()?)
}

/// Seconds since 1970 of a date, and a time such as `23:59:59`.
fn seconds((year, month, day): (u64, u64, u64), time: &str) -> Option<u64> {
    let mut time = time.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_a_date = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !is_a_date || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin with March, so that a leap day ends its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // Days from 1 March of the year 0 to 1970.
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use rollmill_agent_testing::{Answer, MetadataService};

    use super::*;

    async fn asked(source: Source, answers: Vec<Answer>) -> Result<Option<Notice>, ReclaimError> {
        let service = MetadataService::start(answers).await;
        let base = service.url().to_owned();
        let source = if let Source::Url(_) = source { Source::Url(base.clone()) } else { source };
        Metadata::at(source, base).unwrap().ask().await
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    /// A notice of two minutes, asked for within one.
    fn is_of_two_minutes(notice: Option<Notice>) -> bool {
        let left = notice.and_then(|notice| notice.left).unwrap_or_default().as_secs();
        (55..=115).contains(&left)
    }

    /// Seconds since 1970 as both forms of a time.
    fn written(seconds: u64) -> [String; 2] {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let mut date = None;
        'search: for year in 1970..2200 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let first = super::seconds((year, month, day), "0:0:0").unwrap();
                    if first / 86_400 == days {
                        date = Some((year, month, day));
                        break 'search;
                    }
                }
            }
        }
        let (year, month, day) = date.unwrap();
        let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
        let name = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = &name[(month as usize - 1) * 3..month as usize * 3];
        [
            format!("{year:04}-{month:02}-{day:02}T{time}Z"),
            format!("Mon, {day:02} {name} {year} {time} GMT"),
        ]
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(rfc_3339("2015-01-05T18:02:00Z"), Some(1_420_480_920));
        assert_eq!(rfc_3339("2015-01-05T18:02:00.123Z"), Some(1_420_480_920));
        assert_eq!(rfc_3339("2000-02-29T00:00:00Z"), Some(951_782_400));
        assert_eq!(imf_fixdate("Mon, 19 Sep 2016 18:29:47 GMT"), Some(1_474_309_787));
        assert_eq!(imf_fixdate("Thu, 31 Dec 2026 23:59:59 GMT"), Some(1_798_761_599));
        for wrong in ["", "soon", "2015-01-05", "2015-13-05T18:02:00Z", "2015-01-05T24:00:00Z"] {
            assert_eq!((rfc_3339(wrong), imf_fixdate(wrong)), (None, None), "{wrong}");
        }
        for seconds in [951_782_400, 1_798_761_599] {
            let [a, b] = written(seconds);
            assert_eq!((rfc_3339(&a), imf_fixdate(&b)), (Some(seconds), Some(seconds)));
        }
        assert_eq!(
            time_in(r#"{"action":"stop","time":"2015-01-05T18:02:00Z"}"#),
            Some(1_420_480_920)
        );
        assert_eq!(time_in(" 2015-01-05T18:02:00Z\n"), Some(1_420_480_920));
        assert_eq!([time_in("{}"), time_in("7"), time_in("yes")], [None; 3]);
    }

    #[tokio::test]
    async fn aws_is_asked_with_a_token() {
        let token = ("PUT /latest/api/token ", 200, "t0ken\n".to_owned());
        let path = "GET /latest/meta-data/spot/instance-action ";
        let none = asked(Source::Aws, vec![token.clone(), (path, 404, "<html>".into())]).await;
        assert_eq!(none.unwrap(), None);
        let [time, _] = written(now() + 120);
        let body = format!(r#"{{"action":"terminate","time":"{time}"}}"#);
        let service = MetadataService::start(vec![token, (path, 200, body)]).await;
        let metadata = Metadata::at(Source::Aws, service.url().to_owned()).unwrap();
        assert!(is_of_two_minutes(metadata.ask().await.unwrap()));
        let heads = service.heads();
        assert!(heads[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n"), "{heads:?}");
        assert!(heads[1].contains("x-aws-ec2-metadata-token: t0ken\r\n"), "{heads:?}");
        let error = asked(Source::Aws, vec![]).await.unwrap_err();
        assert_eq!(error.code(), "AGT-071");
    }

    #[tokio::test]
    async fn google_says_yes_and_no_time() {
        let path = "GET /computeMetadata/v1/instance/preempted ";
        let of = |body: &str| vec![(path, 200, body.to_owned())];
        assert_eq!(asked(Source::Gcp, of("FALSE")).await.unwrap(), None);
        let notice = asked(Source::Gcp, of("TRUE\n")).await.unwrap();
        assert_eq!(notice, Some(Notice { left: Some(Duration::from_secs(25)) }));
    }

    #[tokio::test]
    async fn only_events_that_end_this_machine_are_notices_of_azure() {
        let event = |kind: &str, name: &str, before: &str| {
            format!(
                r#"{{"DocumentIncarnation":1,"Events":[{{"EventId":"1","EventType":"{kind}","ResourceType":
                "VirtualMachine","Resources":["{name}"],"EventStatus":"Scheduled","NotBefore":"{before}"}}]}}"#
            )
        };
        let name = "GET /metadata/instance/compute/name?api-version=2021-02-01&format=text ";
        let events = "GET /metadata/scheduledevents?api-version=2020-07-01 ";
        let ask = async |body: String| {
            asked(Source::Azure, vec![(events, 200, body), (name, 200, "gpu_7".into())]).await
        };
        let [_, time] = written(now() + 120);
        for body in [
            r#"{"DocumentIncarnation":0,"Events":[]}"#.to_owned(),
            event("Freeze", "gpu_7", &time),
            event("Preempt", "gpu_8", &time),
        ] {
            assert_eq!(ask(body.clone()).await.unwrap(), None, "{body}");
        }
        for kind in ["Preempt", "Terminate"] {
            assert!(is_of_two_minutes(ask(event(kind, "GPU_7", &time)).await.unwrap()), "{kind}");
        }
        let begun = ask(event("Preempt", "gpu_7", "")).await.unwrap();
        assert_eq!(begun, Some(Notice { left: Some(Duration::ZERO) }));
        assert_eq!(ask("no JSON".into()).await.unwrap_err().code(), "AGT-072");
    }

    #[tokio::test]
    async fn a_url_says_yes_by_200_and_no_by_404() {
        let url = || Source::Url(String::new());
        for status in [204, 404] {
            assert_eq!(asked(url(), vec![("GET / ", status, String::new())]).await.unwrap(), None);
        }
        let yes = asked(url(), vec![("GET / ", 200, "yes".into())]).await.unwrap();
        assert_eq!(yes, Some(Notice { left: None }));
        let [time, _] = written(now() + 120);
        assert!(is_of_two_minutes(asked(url(), vec![("GET / ", 200, time)]).await.unwrap()));
        let error = asked(url(), vec![("GET / ", 500, String::new())]).await.unwrap_err();
        assert_eq!(error.code(), "AGT-071");
        let nobody = "http://user:secret@127.0.0.1:9/key".to_owned();
        let metadata = Metadata::at(Source::Url(nobody.clone()), nobody).unwrap();
        let text = one_line(&metadata.ask().await.unwrap_err());
        assert!(text.starts_with("AGT-070: http://127.0.0.1:9 of --reclaim"), "{text}");
        assert!(!text.contains("secret") && !text.contains("key"), "{text}");
    }

    #[test]
    fn a_source_is_a_cloud_or_a_url() {
        for (text, wanted) in [
            ("off", Source::Off),
            ("aws", Source::Aws),
            ("gcp", Source::Gcp),
            ("azure", Source::Azure),
            ("http://10.0.0.1/notice", Source::Url("http://10.0.0.1/notice".into())),
        ] {
            assert_eq!(source(text).unwrap(), wanted);
        }
        let Guarded(text) = source("amazon").unwrap_err();
        assert!(text.contains("`amazon`") && text.contains("off, aws, gcp or azure"), "{text}");
    }
}
