//! `POST /`: one JSON-RPC request in a body. The token comes before the body: a stranger's is not read. `OPTIONS /`: what
//! a browser asks before a page of an allowed origin may send one.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use rollmill_node_client::wire::Response;
use serde::Deserialize;
use serde_json::Value;

use super::access::Caller;
use super::error::CallError;
use super::{REQUEST_BYTES_MAX, Service, api, origin};

/// A request.
#[derive(Debug, Deserialize)]
struct Request {
    /// Always `2.0`.
    jsonrpc: String,
    /// Returned with the response.
    #[serde(default)]
    id: Value,
    method: String,
    /// By name.
    #[serde(default)]
    params: Value,
}

pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", post(handle).options(preflight))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(service)
}

async fn handle(State(service): State<Arc<Service>>, request: HttpRequest) -> HttpResponse {
    let headers = request.headers().clone();
    let (id, result) = match service.access.caller(&service.token, &headers) {
        Ok(caller) => match read(request).await {
            Ok(Request { id, method, params, .. }) => {
                (id, call(&service, caller, &method, params).await)
            }
            Err(error) => (Value::Null, Err(error)),
        },
        Err(error) => (Value::Null, Err(error)),
    };
    let mut response = response(id, result);
    origin::readable(&headers, &mut response);
    response
}

async fn preflight(headers: HeaderMap) -> HttpResponse {
    origin::preflight(&headers)
}

async fn call(
    service: &Arc<Service>,
    caller: Caller<'_>,
    method: &str,
    params: Value,
) -> Result<Value, CallError> {
    caller.check(method, &params)?;
    // Waits have a bound of their own, so that they leave turns to what ends soon.
    let is_wait = method == "pxe_wait";
    let _call = match is_wait {
        true => None,
        false => Some(service.calls.try_acquire().map_err(|_| CallError::Busy)?),
    };
    let params = caller.own_keys(method, params);
    let result = match caller.accounts() {
        Some(accounts) => api::dispatch_for(service, accounts, method, params).await?,
        None => api::dispatch(service, method, params).await?,
    };
    Ok(caller.narrow(method, result))
}

async fn read(request: HttpRequest) -> Result<Request, CallError> {
    let body = Bytes::from_request(request, &()).await;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => CallError::TooLarge,
        _ => CallError::Body,
    })?;
    parse(&body)
}

fn parse(body: &[u8]) -> Result<Request, CallError> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| CallError::NotJson(error.to_string()))?;
    let wrong = |why: &str| Err(CallError::NotARequest(why.to_owned()));
    match &value {
        Value::Object(_) => {}
        Value::Array(_) => return wrong("batches are not served; send requests one by one"),
        _ => return wrong("it is not an object"),
    }
    let request: Request =
        serde_json::from_value(value).map_err(|error| CallError::NotARequest(error.to_string()))?;
    if request.jsonrpc != "2.0" {
        return wrong("jsonrpc must be \"2.0\"");
    }
    let is_plain = matches!(request.id, Value::Null | Value::Number(_) | Value::String(_));
    if is_plain { Ok(request) } else { wrong("id must be a string or a number") }
}

fn response(id: Value, result: Result<Value, CallError>) -> HttpResponse {
    let status = result.as_ref().err().map_or(200, CallError::status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(shown(&error))),
    };
    let body = Response { jsonrpc: "2.0".to_owned(), id, result, error };
    let Ok(bytes) = serde_json::to_vec(&body) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// The error of a response. Requests have amounts and addresses, so only the service's own faults are logged.
fn shown(error: &CallError) -> rollmill_node_client::wire::RpcError {
    let error = error.to_wire();
    if error.code == -32603 {
        tracing::error!(error = error.message, "request failed");
    }
    error
}
