//! The bodies of requests and answers.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::BATCH_MAX;
use crate::routes::{ARTIFACTS_BYTES_MAX, JSON_BYTES_MAX};
use crate::rules::{At, Described, Form, Violation};

/// The largest body that a route accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// The route reads no body.
    None,
    /// This many bytes.
    Bytes(usize),
    /// The setting `artifact_bytes_max`.
    Artifact,
}

/// What a body is.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// There is none.
    Nothing,
    /// JSON of this form.
    Json(&'static Form),
    /// Bytes as they are.
    Bytes,
    /// Several times bytes, each after their length.
    Parts,
    /// An OpenAPI document, as JSON.
    Document,
    /// Server-sent events.
    Events(&'static [EventForm]),
}

/// One kind of server-sent event.
#[derive(Clone, Copy, Debug)]
pub struct EventForm {
    /// Its name.
    pub name: &'static str,
    /// What its data is: JSON of this form.
    pub form: &'static Form,
}

/// The form of a body.
pub trait Payload: Send + Sync + 'static {
    /// What it carries.
    type Value: Send + Sync;
    /// What it is.
    const FORM: Content;
    /// Of the header; [`None`] for no body.
    const CONTENT_TYPE: Option<&'static str>;
    /// Largest one that the broker accepts in a request.
    const LIMIT: BodyLimit;
    /// HTTP status of an answer of this form.
    const SUCCESS: u16;

    /// The bytes.
    ///
    /// # Errors
    /// When the value has no JSON form.
    fn encode(value: &Self::Value) -> Result<Bytes, serde_json::Error>;

    /// Reads the bytes.
    ///
    /// # Errors
    /// When they are not JSON of this type.
    fn decode(bytes: Bytes) -> Result<Self::Value, serde_json::Error>;

    /// Checks what the bytes say against the rules of the interface.
    ///
    /// # Errors
    /// What is wrong first.
    fn check(_: &Self::Value) -> Result<(), Violation> {
        Ok(())
    }
}

/// A JSON document of type `T`.
#[derive(Clone, Copy)]
pub struct Json<T>(PhantomData<T>);

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

impl<T: Serialize + DeserializeOwned + Described + Send + Sync + 'static> Payload for Json<T> {
    type Value = T;
    const FORM: Content = Content::Json(T::FORM);
    const CONTENT_TYPE: Option<&'static str> = Some("application/json");
    const LIMIT: BodyLimit = BodyLimit::Bytes(JSON_BYTES_MAX);
    const SUCCESS: u16 = 200;

    fn encode(value: &T) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(value).map(Bytes::from)
    }

    fn decode(bytes: Bytes) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&bytes)
    }

    fn check(value: &T) -> Result<(), Violation> {
        value.check(&At::TOP)
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
pub struct Artifact;

impl Payload for Artifact {
    type Value = Bytes;
    const FORM: Content = Content::Bytes;
    const CONTENT_TYPE: Option<&'static str> = Some("application/octet-stream");
    const LIMIT: BodyLimit = BodyLimit::Artifact;
    const SUCCESS: u16 = 200;

    fn encode(value: &Bytes) -> Result<Bytes, serde_json::Error> {
        Ok(value.clone())
    }

    fn decode(bytes: Bytes) -> Result<Bytes, serde_json::Error> {
        Ok(bytes)
    }
}

/// Several artifacts after each other, each after its length: 4 bytes, the most significant first.
#[derive(Clone, Copy, Debug)]
pub struct Artifacts;

impl Payload for Artifacts {
    type Value = Vec<Bytes>;
    const FORM: Content = Content::Parts;
    const CONTENT_TYPE: Option<&'static str> = Some("application/octet-stream");
    const LIMIT: BodyLimit = BodyLimit::Bytes(ARTIFACTS_BYTES_MAX);
    const SUCCESS: u16 = 200;

    fn encode(value: &Vec<Bytes>) -> Result<Bytes, serde_json::Error> {
        use serde::ser::Error as _;
        let mut all = Vec::with_capacity(value.iter().map(|body| body.len() + 4).sum());
        for body in value {
            let length = u32::try_from(body.len());
            let length =
                length.map_err(|_| serde_json::Error::custom("an artifact is too long"))?;
            all.extend_from_slice(&length.to_be_bytes());
            all.extend_from_slice(body);
        }
        Ok(all.into())
    }

    fn decode(mut bytes: Bytes) -> Result<Vec<Bytes>, serde_json::Error> {
        use serde::de::Error as _;
        let cut = || serde_json::Error::custom("it ends within an artifact or its length");
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (length, _) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            let length = u32::from_be_bytes(*length) as usize;
            let mut rest = bytes.split_off(4);
            if rest.len() < length {
                return Err(cut());
            }
            bytes = rest.split_off(length);
            all.push(rest);
        }
        Ok(all)
    }

    fn check(value: &Vec<Bytes>) -> Result<(), Violation> {
        match value.len() > BATCH_MAX {
            true => Err(Violation::TooLarge { what: "the number of artifacts", max: BATCH_MAX }),
            false => Ok(()),
        }
    }
}

/// The OpenAPI document, as JSON.
#[derive(Clone, Copy, Debug)]
pub struct Document;

impl Payload for Document {
    type Value = Bytes;
    const FORM: Content = Content::Document;
    const CONTENT_TYPE: Option<&'static str> = Some("application/json");
    const LIMIT: BodyLimit = BodyLimit::None;
    const SUCCESS: u16 = 200;

    fn encode(value: &Bytes) -> Result<Bytes, serde_json::Error> {
        Ok(value.clone())
    }

    fn decode(bytes: Bytes) -> Result<Bytes, serde_json::Error> {
        Ok(bytes)
    }
}

/// No body.
#[derive(Clone, Copy, Debug)]
pub struct Empty;

impl Payload for Empty {
    type Value = ();
    const FORM: Content = Content::Nothing;
    const CONTENT_TYPE: Option<&'static str> = None;
    const LIMIT: BodyLimit = BodyLimit::None;
    const SUCCESS: u16 = 204;

    fn encode((): &()) -> Result<Bytes, serde_json::Error> {
        Ok(Bytes::new())
    }

    fn decode(_: Bytes) -> Result<(), serde_json::Error> {
        Ok(())
    }
}
