//! Artifacts: small ones in a side table, large ones in the object store, all by digest.

use object_store::path::Path as ObjectPath;
use rollmill_broker_client::Digest;

use super::healing::Stored;
use super::sql::{ArtifactPut, InputUploaded, Statement};
use super::{ROW_ARTIFACT_BYTES_MAX, Store, Tenant, Upload};
use crate::error::BrokerError;
use crate::objects::Write;

/// What an upload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Where the bytes are stored.
    pub place: Place,
    /// Jobs that waited for this input and are ready now.
    pub made_ready: u64,
}

rollmill_broker_client::named! {
    /// Where the bytes of an artifact are stored.
    pub enum Place is "place of an artifact" {
        /// In the database, up to [`ROW_ARTIFACT_BYTES_MAX`].
        Row = "row",
        /// In the object store.
        Object = "object",
    }
}

impl Place {
    /// Where an artifact of this many bytes is stored.
    pub const fn of(bytes: usize) -> Self {
        if bytes <= ROW_ARTIFACT_BYTES_MAX { Self::Row } else { Self::Object }
    }
}

impl Store {
    /// Stores `body` under `digest` for `epoch`, after checking the one against the other. Storing
    /// again repairs a damaged copy, and makes the jobs ready that wait for this input.
    pub async fn put_artifact(
        &self,
        tenant: &Tenant,
        epoch: u64,
        digest: Digest,
        body: Vec<u8>,
    ) -> Result<Uploaded, BrokerError> {
        let got = Digest::of(&body);
        if got != digest {
            return Err(BrokerError::DigestMismatch { wanted: digest, got });
        }
        if Place::of(body.len()) == Place::Row {
            return self.put_row(tenant, (epoch, true), digest, body).await;
        }
        let mut object = self.write_object(tenant, epoch, digest, true).await?;
        object.write.put(body.into()).await?;
        self.end_object(object).await
    }

    /// Stores a small artifact whose digest was checked. `may_open`: the epoch is opened if it never was.
    async fn put_row(
        &self,
        tenant: &Tenant,
        (epoch, may_open): (u64, bool),
        digest: Digest,
        body: Vec<u8>,
    ) -> Result<Uploaded, BrokerError> {
        let upload = Upload { tenant: tenant.clone(), epoch, digest, body: body.into() };
        let upload = std::slice::from_ref(&upload);
        if let Some(done) = self.put_many(upload).await?.into_iter().flatten().next() {
            return Ok(done);
        }
        self.require_open(tenant, epoch, may_open).await?;
        let again = self.put_many(upload).await?.into_iter().flatten().next();
        again.ok_or(BrokerError::EpochClosing { epoch })
    }

    /// Starts to store a large artifact under `digest` for `epoch`. It is stored by [`Self::end_object`]. An epoch that
    /// never was is opened if `may_open`.
    ///
    /// # Errors
    /// As [`Self::require_open`].
    pub async fn write_object(
        &self,
        tenant: &Tenant,
        epoch: u64,
        digest: Digest,
        may_open: bool,
    ) -> Result<NewObject, BrokerError> {
        let generation = self.require_open(tenant, epoch, may_open).await?;
        let write = self.objects.write(object_path(tenant, epoch, generation, digest));
        Ok(NewObject { write, tenant: tenant.clone(), epoch, generation, digest })
    }

    /// Stores a large artifact that was written as a whole, if it has its digest.
    pub async fn end_object(&self, object: NewObject) -> Result<Uploaded, BrokerError> {
        let NewObject { write, tenant, epoch, generation, digest } = object;
        // Bytes first: a row must never name an object that is not there.
        let bytes = write.finish(digest).await?;
        rollmill_service::failpoint!("broker.after_object");
        self.trust(&tenant, digest);
        self.remember(object_path(&tenant, epoch, generation, digest));
        let made_ready = self.put_object_row((&tenant, epoch, generation), digest, bytes).await?;
        Ok(Uploaded { place: Place::Object, made_ready })
    }

    /// Copies an artifact into another epoch, from any epoch where its bytes can be read; returns whether there was one.
    /// What a job names has to lie in the job's own epoch, or it would go with another one.
    pub(super) async fn copy_artifact(
        &self,
        tenant: &Tenant,
        epoch: u64,
        digest: Digest,
    ) -> Result<bool, BrokerError> {
        match self.read_apart(tenant, digest, None).await? {
            Stored::Row(body) => {
                self.put_row(tenant, (epoch, false), digest, body).await?;
            }
            Stored::Object { path, bytes } => {
                let generation = self.require_open(tenant, epoch, false).await?;
                let to = object_path(tenant, epoch, generation, digest);
                if to != path {
                    self.objects.copy(&path, &to).await?;
                }
                self.put_object_row((tenant, epoch, generation), digest, bytes).await?;
            }
            Stored::Damaged | Stored::Absent => return Ok(false),
        }
        Ok(true)
    }

    /// Records a stored object, if its epoch is still open.
    async fn put_object_row(
        &self,
        (tenant, epoch, generation): (&Tenant, u64, u64),
        digest: Digest,
        bytes: u64,
    ) -> Result<u64, BrokerError> {
        let place = Place::Object;
        let mut tx = self.pool.begin().await?;
        let put = ArtifactPut { tenant, digest, epoch, bytes, place, generation };
        if put.run(&mut *tx).await? == 0 {
            tx.rollback().await?;
            self.require_open(tenant, epoch, false).await?;
            // It was closed and opened again meanwhile: another upload will find it open.
            return Err(BrokerError::EpochClosing { epoch });
        }
        let made_ready = InputUploaded { tenant, input: digest }.run(&mut *tx).await?;
        tx.commit().await?;
        Ok(made_ready)
    }
}

/// A large artifact whose bytes are being written.
#[derive(Debug)]
pub struct NewObject {
    /// Takes the bytes.
    pub write: Write,
    tenant: Tenant,
    epoch: u64,
    generation: u64,
    digest: Digest,
}

/// The folder of an epoch's objects. The first generation has the name that releases without generations know.
pub(super) fn epoch_path(tenant: &Tenant, epoch: u64, generation: u64) -> ObjectPath {
    let folder = match generation {
        0 | 1 => epoch.to_string(),
        _ => format!("{epoch}.{generation}"),
    };
    [tenant.0.as_str(), &folder].into_iter().collect()
}

pub(super) fn object_path(
    tenant: &Tenant,
    epoch: u64,
    generation: u64,
    digest: Digest,
) -> ObjectPath {
    epoch_path(tenant, epoch, generation).join(digest.to_string())
}
