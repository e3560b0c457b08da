//! Where an object store is: its URL, and what else its kind needs.

use std::path::Path as FilePath;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::Objects;
use super::http::{Connector, retries};
use crate::error::BrokerError;

/// The kinds of store, each with the rest of its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory(String),
    S3 { bucket: String, folder: String },
    Gcs { bucket: String, folder: String },
}

/// The URL of a store. It has no credentials: those of buckets come from the environment of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    kind: Kind,
    url: String,
}

/// The value parser of the setting.
///
/// # Errors
/// What is wrong with the text. It does not repeat the text, which may hold what should not be there.
pub fn object_store(text: &str) -> Result<Address, String> {
    let wrong = || {
        "expected file:///DIRECTORY, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, without credentials and \
         query: those of a bucket come from environment variables"
            .to_owned()
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    let kind = match scheme {
        "file" if rest.starts_with('/') && !rest.contains(['?', '#']) => {
            Kind::Directory(rest.to_owned())
        }
        "s3" | "gs" if rest.chars().all(is_plain) => {
            let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
            let (bucket, folder) = (bucket.to_owned(), folder.trim_matches('/').to_owned());
            if bucket.is_empty() || folder.split('/').any(|part| part == "." || part == "..") {
                return Err(wrong());
            }
            match scheme {
                "s3" => Kind::S3 { bucket, folder },
                _ => Kind::Gcs { bucket, folder },
            }
        }
        _ => return Err(wrong()),
    };
    Ok(Address { kind, url: text.trim_end_matches('/').to_owned() })
}

impl Address {
    /// The URL, for messages.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The directory that it is, if it is one.
    pub fn directory(&self) -> Option<&FilePath> {
        match &self.kind {
            Kind::Directory(directory) => Some(FilePath::new(directory)),
            Kind::S3 { .. } | Kind::Gcs { .. } => None,
        }
    }

    /// Opens the store. `endpoint` and `region` are those of a bucket of S3, where the environment does not name
    /// them. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`BrokerError::ObjectsAddress`] when the settings and the environment do not make a store.
    pub fn open(
        &self,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<Objects, BrokerError> {
        match &self.kind {
            Kind::Directory(directory) => Objects::in_directory(FilePath::new(directory)),
            Kind::S3 { bucket, folder } => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(retries())
                    .with_http_connector(Connector);
                if let Some(region) = region {
                    builder = builder.with_region(region);
                }
                if let Some(endpoint) = endpoint {
                    let is_plain = endpoint.starts_with("http://");
                    builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
                }
                let store = builder.build().map_err(|error| self.unusable(&error))?;
                Ok(Objects::over(
                    PrefixStore::new(store, Path::from(folder.as_str())),
                    self.as_str(),
                ))
            }
            Kind::Gcs { bucket, folder } => {
                let store = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(retries())
                    .with_http_connector(Connector)
                    .build()
                    .map_err(|error| self.unusable(&error))?;
                Ok(Objects::over(
                    PrefixStore::new(store, Path::from(folder.as_str())),
                    self.as_str(),
                ))
            }
        }
    }

    fn unusable(&self, error: &object_store::Error) -> BrokerError {
        let reason = rollmill_service::one_line(error);
        BrokerError::ObjectsAddress { url: self.url.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_kind_of_store_and_no_credentials() {
        for (text, kind) in [
            ("file:///var/lib/x y", Kind::Directory("/var/lib/x y".into())),
            ("s3://bucket", Kind::S3 { bucket: "bucket".into(), folder: String::new() }),
            ("s3://bucket/a/b/", Kind::S3 { bucket: "bucket".into(), folder: "a/b".into() }),
            ("gs://b.c/d", Kind::Gcs { bucket: "b.c".into(), folder: "d".into() }),
        ] {
            assert_eq!(object_store(text).unwrap().kind, kind, "{text}");
        }
        for text in [
            "",
            "bucket",
            "file://relative",
            "file:///a?b",
            "s3://",
            "s3:///folder",
            "s3://key:secret@bucket/x",
            "s3://bucket/x?versionId=1",
            "s3://bucket/../other",
            "az://bucket",
            "https://bucket.s3.amazonaws.com",
        ] {
            let error = object_store(text).unwrap_err();
            assert!(!error.contains("secret") && error.contains("s3://BUCKET"), "{text}: {error}");
        }
    }
}
