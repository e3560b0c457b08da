//! The HTTP interface: every route of [`rollmill_broker_client::routes`] with its handler.
//!
//! That table says what a route takes, who may call it and how large its body may be; [`call`] checks
//! this before the handler runs.

mod access;
pub(crate) mod admission;
mod agents;
mod artifacts;
mod call;
pub(crate) mod direct;
mod events;
mod operators;
mod producers;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use rollmill_broker_client::routes::{self, Method, Payload, Route, RouteName};
use rollmill_broker_client::{ErrorBody, WAIT_MS_MAX};

use crate::broker::Shared;
use crate::error::BrokerError;
use crate::{aztec, page, traces};
use call::Call;

/// What a handler returns.
pub(crate) type Answer<R> = Result<<<R as Route>::Answer as Payload>::Value, BrokerError>;

/// Every route with its handler.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    RouteName::ALL
        .iter()
        .fold(Router::new(), |router, route| mount(router, *route))
        .merge(aztec::router(&shared.aztec))
        .merge(page::router())
        .fallback(|State(shared): State<Arc<Shared>>| async move {
            error_response(&shared, &BrokerError::UnknownPath)
        })
        .method_not_allowed_fallback(|State(shared): State<Arc<Shared>>| async move {
            error_response(&shared, &BrokerError::WrongMethod)
        })
        .with_state(shared)
}

/// Adds a route. The match has no wildcard: a row of the table without a handler does not compile, nor
/// does a handler of other types than the row's.
fn mount(router: Router<Arc<Shared>>, route: RouteName) -> Router<Arc<Shared>> {
    match route {
        RouteName::PutArtifact => streamed::<routes::PutArtifact, _, _>(router, artifacts::put),
        RouteName::PutArtifacts => {
            at::<routes::PutArtifacts, _, _>(router, producers::put_artifacts)
        }
        RouteName::GetArtifact => streamed::<routes::GetArtifact, _, _>(router, artifacts::get),
        RouteName::Enqueue => at::<routes::Enqueue, _, _>(router, producers::enqueue),
        RouteName::List => at::<routes::List, _, _>(router, operators::list),
        RouteName::Query => at::<routes::Query, _, _>(router, producers::query),
        RouteName::Wait => at::<routes::Wait, _, _>(router, producers::wait),
        RouteName::Changes => at::<routes::Changes, _, _>(router, producers::changes),
        RouteName::Reject => at::<routes::Reject, _, _>(router, producers::reject),
        RouteName::Cancel => at::<routes::Cancel, _, _>(router, producers::cancel),
        RouteName::History => at::<routes::History, _, _>(router, operators::history),
        RouteName::Epochs => at::<routes::Epochs, _, _>(router, producers::epochs),
        RouteName::OpenEpoch => at::<routes::OpenEpoch, _, _>(router, producers::open_epoch),
        RouteName::CloseEpoch => at::<routes::CloseEpoch, _, _>(router, producers::close_epoch),
        RouteName::DropEpoch => at::<routes::DropEpoch, _, _>(router, producers::drop_epoch),
        RouteName::AcquireName => at::<routes::AcquireName, _, _>(router, producers::acquire_name),
        RouteName::RenewName => at::<routes::RenewName, _, _>(router, producers::renew_name),
        RouteName::ReleaseName => at::<routes::ReleaseName, _, _>(router, producers::release_name),
        RouteName::OpenSession => at::<routes::OpenSession, _, _>(router, agents::open_session),
        RouteName::Claim => at::<routes::Claim, _, _>(router, agents::claim),
        RouteName::Heartbeat => at::<routes::Heartbeat, _, _>(router, agents::heartbeat),
        RouteName::Progress => at::<routes::Progress, _, _>(router, agents::progress),
        RouteName::Complete => at::<routes::Complete, _, _>(router, agents::complete),
        RouteName::Fail => at::<routes::Fail, _, _>(router, agents::fail),
        RouteName::Release => at::<routes::Release, _, _>(router, agents::release),
        RouteName::Status => at::<routes::Status, _, _>(router, operators::status),
        RouteName::Autoscale => at::<routes::Autoscale, _, _>(router, operators::autoscale),
        RouteName::Events => streamed::<routes::Events, _, _>(router, events::follow),
        RouteName::ReplayDead => at::<routes::ReplayDead, _, _>(router, operators::replay_dead),
        RouteName::DropDead => at::<routes::DropDead, _, _>(router, operators::drop_dead),
        RouteName::Pardon => at::<routes::Pardon, _, _>(router, operators::pardon),
        RouteName::Drain => at::<routes::Drain, _, _>(router, operators::drain),
        RouteName::ListTokens => at::<routes::ListTokens, _, _>(router, access::list),
        RouteName::AddToken => at::<routes::AddToken, _, _>(router, access::add),
        RouteName::RotateToken => at::<routes::RotateToken, _, _>(router, access::rotate),
        RouteName::RevokeToken => at::<routes::RevokeToken, _, _>(router, access::revoke),
        RouteName::ResumeToken => at::<routes::ResumeToken, _, _>(router, access::resume),
        RouteName::Audit => at::<routes::Audit, _, _>(router, access::audit),
        RouteName::OpenApi => at::<routes::OpenApi, _, _>(router, operators::openapi),
    }
}

fn at<R, H, F>(router: Router<Arc<Shared>>, handler: H) -> Router<Arc<Shared>>
where
    R: Route,
    H: Fn(Arc<Shared>, Call<R>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer<R>> + Send,
{
    streamed::<R, _, _>(router, move |shared: Arc<Shared>, request: Request| {
        let handler = handler.clone();
        async move { call::serve::<R, _, _>(&shared, request, handler).await }
    })
}

/// Adds a route whose handler reads the request and writes the response itself.
fn streamed<R, H, F>(router: Router<Arc<Shared>>, handler: H) -> Router<Arc<Shared>>
where
    R: Route,
    H: Fn(Arc<Shared>, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, BrokerError>> + Send,
{
    let filter = match R::SPEC.method {
        Method::Get => MethodFilter::GET,
        Method::Put => MethodFilter::PUT,
        Method::Post => MethodFilter::POST,
        Method::Delete => MethodFilter::DELETE,
    };
    let serve = move |State(shared): State<Arc<Shared>>, request: Request| async move {
        let span = traces::request::<R>(&shared.traces, request.headers());
        match handler(Arc::clone(&shared), request).await {
            Ok(response) => {
                traces::answered(span, Ok(response.status()));
                shared.metrics.answered(&R::SPEC, response.status().as_u16());
                response
            }
            Err(error) => {
                traces::answered(span, Err(&error));
                let codes = [routes::COMMON_CODES, R::SPEC.codes].concat();
                debug_assert!(
                    error.wire_code().is_none_or(|code| codes.contains(&code)),
                    "the table of routes does not list {} for {}",
                    error.code(),
                    R::SPEC.path
                );
                shared.metrics.answered(&R::SPEC, error.status());
                error_response(&shared, &error)
            }
        }
    };
    router.route(R::SPEC.path, on(filter, serve))
}

/// An error as JSON with its one code, counted, with Retry-After where waiting helps.
pub(crate) fn error_response(shared: &Shared, error: &BrokerError) -> Response {
    shared.metrics.refusals_total.with_label_values(&[error.code()]).inc();
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error()
        && let Some(repeated) = shared.request_failures.failed()
    {
        tracing::warn!(error = rollmill_service::one_line(error), repeated, "request failed");
    }
    let body = ErrorBody { code: error.code().to_owned(), message: error.message() };
    let mut response = (status, axum::Json(body)).into_response();
    let retry = match error {
        BrokerError::TooManyRequests { retry_seconds, .. } => Some(*retry_seconds),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(1),
        _ => None,
    };
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Text for people, cut to what the database should hold.
pub(crate) fn clean_text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1000).collect()
}

pub(crate) fn wait_of(wait_ms: u64) -> std::time::Duration {
    std::time::Duration::from_millis(wait_ms.min(WAIT_MS_MAX))
}
