//! The stream of events that the web page follows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rollmill_broker_client::overview::{CALLER, CallerView, HEARTBEAT, OverviewEvents, event};
use rollmill_broker_client::routes::{Events, Payload};
use tokio::time::{Instant, Interval};

use super::call::{self, Head};
use crate::broker::Shared;
use crate::credential::Credential;
use crate::error::BrokerError;
use crate::overview::Following;
use crate::store::tokens::Bearer;

/// Pause between two looks at the token. One that is revoked ends its streams.
const TOKEN: Duration = Duration::from_secs(1);
/// Longest silence. The page gives a silent connection up after 40 s.
const SILENCE: Duration = Duration::from_secs(15);

pub(super) async fn follow(shared: Arc<Shared>, request: Request) -> Result<Response, BrokerError> {
    let (mut parts, _) = request.into_parts();
    let Head { bearer, query, .. } = call::head::<Events>(&shared, &mut parts).await?;
    let credential = Credential::of(&parts);
    let following =
        shared.overviews.follow(&bearer.tenant, shared.metrics.event_streams.clone())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let caller = CallerView {
        role: bearer.role,
        tenant: bearer.tenant.as_str().to_owned(),
        now_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
    };
    let first = event(CALLER, &caller).map_err(|error| BrokerError::Internal {
        reason: format!("the caller cannot be written as JSON: {error}"),
    })?;
    let events = EventStream {
        shared,
        bearer,
        credential,
        following,
        first: Some(first),
        left: query.overviews,
        look: tokio::time::interval(TOKEN),
        spoke: Instant::now(),
    };
    let mut response = Body::from_stream(events.stream()).into_response();
    let headers = response.headers_mut();
    if let Some(content_type) = <OverviewEvents as Payload>::CONTENT_TYPE {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects an answer before it passes it on would show nothing.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One stream. It ends after the overviews that were asked for, at shutdown, and when its token no longer opens what it
/// opened.
struct EventStream {
    shared: Arc<Shared>,
    bearer: Arc<Bearer>,
    credential: Credential,
    following: Following,
    /// The event with the caller, until it is sent.
    first: Option<Bytes>,
    left: Option<u32>,
    look: Interval,
    /// When something was sent last.
    spoke: Instant,
}

impl EventStream {
    fn stream(self) -> impl stream::Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut events| async move {
            let bytes = events.next().await?;
            events.spoke = Instant::now();
            Some((Ok(bytes), events))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            if self.left == Some(0) || self.shared.shutdown.is_started() {
                return None;
            }
            if let Some(event) = self.following.fresh() {
                self.left = self.left.map(|left| left - 1);
                return Some(event);
            }
            tokio::select! {
                () = self.following.changed() => {}
                _ = self.look.tick() => {
                    if !self.is_let_in() {
                        return None;
                    }
                    if self.spoke.elapsed() >= SILENCE {
                        return Some(Bytes::from_static(HEARTBEAT));
                    }
                }
                () = self.shared.shutdown.started() => return None,
            }
        }
    }

    /// Whether the token opens still what it opened.
    fn is_let_in(&self) -> bool {
        let same =
            |now: Arc<Bearer>| now.role == self.bearer.role && now.tenant == self.bearer.tenant;
        self.shared.bearer(&self.credential).is_ok_and(same)
    }
}
