//! Requests and answers as JSON-RPC 2.0.
//!
//! A body is parsed in place: texts are borrowed from it, and what is not asked for is passed over, however deep
//! it is. The number of calls, parameters and ids is bounded here.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use rollmill_broker_client::BATCH_MAX;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize as Derive, Serialize};
use serde_json::value::RawValue;

use super::methods::Method;
use super::types::ALLOWED_MAX;
use crate::error::BrokerError;

/// Most calls in one request, as in Aztec's own server.
pub(super) const CALLS_MAX: usize = 100;
/// Most parameters of a call.
const PARAMETERS_MAX: usize = 8;
/// Longest id of a call as JSON, and longest name of a method.
const NAME_BYTES_MAX: usize = 100;

/// A list of at most `MAX` items; the parser stops at the next one.
#[derive(Debug)]
pub(super) struct Bounded<T, const MAX: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == MAX {
                        return Err(serde::de::Error::custom(format!("more than {MAX} items")));
                    }
                    items.push(item);
                }
                Ok(Bounded(items))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// The error of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<FaultData>,
}

/// What a person can look up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct FaultData {
    code: String,
}

// The numbers of Aztec's own server.
impl Fault {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The body is not JSON.
    pub(super) fn parse(error: impl fmt::Display) -> Self {
        Self::new(-32700, format!("Parse error: {error}"))
    }

    /// Not a request.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(-32600, message)
    }

    fn unknown_method(method: &str) -> Self {
        let method: String = method.chars().take(NAME_BYTES_MAX).collect();
        Self::new(-32601, format!("Method not found: {method}"))
    }

    /// A parameter is missing or wrong.
    pub(super) fn parameter(name: &str, error: impl fmt::Display) -> Self {
        Self::new(-32701, format!("{error} ({name})"))
    }

    /// The call was understood and cannot be done.
    pub(super) fn rejected(message: impl Into<String>) -> Self {
        Self::new(-32702, message)
    }

    /// The broker's own error.
    pub(super) fn execution(error: &BrokerError) -> Self {
        let data = Some(FaultData { code: error.code().to_owned() });
        Self { code: -32702, message: error.message(), data }
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// As it was sent.
    pub(super) id: Option<&'a RawValue>,
    pub(super) method: Result<Method, Fault>,
    pub(super) params: Option<&'a RawValue>,
}

/// What a body holds.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    Batch(Vec<Call<'a>>),
    Single(Call<'a>),
    /// Neither; answered with status 400.
    Unreadable(Fault),
}

#[derive(Derive)]
struct RawCall<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Parsed<'_> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return Parsed::Unreadable(Fault::parse(error)),
    };
    if !text.trim_start().starts_with('[') {
        return match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Parsed::Single(call(raw)),
            Err(error) => Parsed::Unreadable(Fault::parse(error)),
        };
    }
    match serde_json::from_str::<Bounded<&RawValue, CALLS_MAX>>(text) {
        Ok(Bounded(calls)) if calls.is_empty() => {
            Parsed::Unreadable(Fault::invalid("Invalid Request"))
        }
        Ok(Bounded(calls)) => Parsed::Batch(calls.into_iter().map(call).collect()),
        Err(error) if error.is_data() => Parsed::Unreadable(Fault::invalid(format!(
            "Batch request exceeds maximum allowed size of {CALLS_MAX}"
        ))),
        Err(error) => Parsed::Unreadable(Fault::parse(error)),
    }
}

fn call(raw: &RawValue) -> Call<'_> {
    let invalid = || Fault::invalid("Invalid request");
    let Ok(RawCall { id, method, params }) = serde_json::from_str(raw.get()) else {
        return Call { id: None, method: Err(invalid()), params: None };
    };
    // What is sent back is a number, a text or null, and short.
    let is_id =
        |id: &&RawValue| id.get().len() <= NAME_BYTES_MAX && !id.get().starts_with(['{', '[']);
    let method = match (id.is_none_or(|id| is_id(&id)), method) {
        (true, Some(name)) if !name.is_empty() => {
            Method::of(&name).ok_or_else(|| Fault::unknown_method(&name))
        }
        _ => Err(invalid()),
    };
    Call { id: id.filter(is_id), method, params }
}

/// The parameters of a call, by place. Those at the end may be missing or null; more are ignored.
#[derive(Debug)]
pub(super) struct Arguments<'a>(Vec<&'a RawValue>);

impl<'a> Arguments<'a> {
    pub(super) fn of(params: Option<&'a RawValue>) -> Result<Self, Fault> {
        let Some(params) = params.filter(|params| params.get() != "null") else {
            return Ok(Self(Vec::new()));
        };
        let list = serde_json::from_str::<Bounded<&RawValue, PARAMETERS_MAX>>(params.get());
        Ok(Self(list.map_err(|error| Fault::parameter("params", error))?.0))
    }

    /// A parameter that must be there.
    pub(super) fn required<T: Derive<'a>>(&self, place: usize, name: &str) -> Result<T, Fault> {
        let found = self.optional(place, name)?;
        found.ok_or_else(|| Fault::parameter(name, "Required"))
    }

    /// A parameter that may be missing or null.
    pub(super) fn optional<T: Derive<'a>>(
        &self,
        place: usize,
        name: &str,
    ) -> Result<Option<T>, Fault> {
        let Some(raw) = self.0.get(place) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|error| Fault::parameter(name, error))
    }
}

/// A text that is borrowed where it can be.
#[derive(Debug, Derive)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A job to enqueue.
#[derive(Debug, Derive)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewJob<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) r#type: u32,
    pub(super) epoch_number: u64,
    #[serde(borrow)]
    pub(super) inputs_uri: Cow<'a, str>,
}

/// What an agent wants. Fields of later versions are ignored.
#[derive(Debug, Derive)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    /// Numbers of types; none for every type.
    pub(super) allow_list: Bounded<u32, ALLOWED_MAX>,
    /// Version 6: `false` from an agent that is about to stop.
    #[serde(default)]
    pub(super) allow_new_jobs: Option<bool>,
}

/// Ids to look up.
pub(super) type Ids<'a> = Bounded<Text<'a>, BATCH_MAX>;

/// State of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub(super) enum Status {
    NotFound,
    InQueue,
    InProgress,
    Fulfilled { value: String },
    Rejected { reason: String },
}

/// A job for an agent.
#[derive(Debug, Serialize)]
pub(super) struct Granted {
    pub(super) job: GrantedJob,
    pub(super) time: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GrantedJob {
    pub(super) id: String,
    pub(super) r#type: u32,
    pub(super) epoch_number: u64,
    pub(super) inputs_uri: String,
}

/// The result of a call.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Status(Status),
    Ids(Vec<String>),
    Granted(Granted),
    Nothing,
}

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) id: Option<&'a RawValue>,
    pub(super) outcome: Result<Outcome, Fault>,
}

impl Answer<'_> {
    /// The answer to what is no call.
    pub(super) const fn unnamed(fault: Fault) -> Self {
        Self { id: None, outcome: Err(fault) }
    }

    pub(super) const fn is_fault(&self) -> bool {
        self.outcome.is_err()
    }
}

impl Serialize for Answer<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("jsonrpc", "2.0")?;
        map.serialize_entry("id", &self.id)?;
        match &self.outcome {
            Ok(result) => map.serialize_entry("result", result)?,
            Err(fault) => map.serialize_entry("error", fault)?,
        }
        map.end()
    }
}

/// The body of an answer to one call.
pub(super) fn single(answer: &Answer<'_>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(answer)
}

/// The body of the answers to a list of calls.
pub(super) fn batch(answers: &[Answer<'_>]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(answers)
}
