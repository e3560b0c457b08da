//! Artifacts: small ones in a side table, large ones in the object store, all by digest.

use object_store::path::Path as ObjectPath;
use rollmill_broker_client::Digest;
use sqlx::AssertSqlSafe;

use super::sql::{
    ArtifactBodyDrop, ArtifactDrop, ArtifactPut, ArtifactShared, InputUploaded,
    Statement,
};
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
            let upload = Upload { tenant: tenant.clone(), epoch, digest, body };
            let done = self.put_many(std::slice::from_ref(&upload)).await?;
            let done = done.into_iter().next();
            return done.ok_or_else(|| BrokerError::Internal {
                reason: "an upload without an answer".into(),
            });
        }
        let mut object = self.write_object(tenant, epoch, digest).await?;
        object.write.put(body.into()).await?;
        self.end_object(object).await
    }

    /// Starts to store a large artifact under `digest` for `epoch`. It is stored by [`Self::end_object`].
    pub async fn write_object(
        &self,
        tenant: &Tenant,
        epoch: u64,
        digest: Digest,
    ) -> Result<NewObject, BrokerError> {
        let write = self.objects.write(object_path(tenant, epoch, digest));
        Ok(NewObject { write, tenant: tenant.clone(), epoch, digest })
    }

    /// Stores a large artifact that was written as a whole, if it has its digest.
    pub async fn end_object(&self, object: NewObject) -> Result<Uploaded, BrokerError> {
        let NewObject { write, tenant, epoch, digest } = object;
        // Bytes first: a row must never name an object that is not there.
        let bytes = write.finish(digest).await?;
        self.trust(&tenant, digest);
        let tenant = &tenant;
        let mut tx = self.pool.begin().await?;
        ArtifactPut { tenant, digest, epoch, bytes, place: Place::Object }.run(&mut *tx).await?;
        let made_ready = InputUploaded { tenant, input: digest }.run(&mut *tx).await?;
        tx.commit().await?;
        Ok(Uploaded { place: Place::Object, made_ready })
    }

    pub(super) async fn drop_artifacts(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<(), BrokerError> {
        let mut tx = self.pool.begin().await?;
        ArtifactDrop { tenant, epoch }.run(&mut *tx).await?;
        if (ArtifactShared { epoch }).one(&mut *tx).await?.found {
            ArtifactBodyDrop { tenant, epoch }.run(&mut *tx).await?;
        } else {
            // The name is made of a number alone.
            let drop = format!("DROP TABLE IF EXISTS artifact_body_{epoch}");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        // Rows first: no row names an object that is gone.
        self.objects.delete_below(&epoch_path(tenant, epoch)).await.map(drop)
    }
}

/// A large artifact whose bytes are being written.
#[derive(Debug)]
pub struct NewObject {
    /// Takes the bytes.
    pub write: Write,
    tenant: Tenant,
    epoch: u64,
    digest: Digest,
}

/// The folder of an epoch's objects.
fn epoch_path(tenant: &Tenant, epoch: u64) -> ObjectPath {
    [tenant.0.as_str(), &epoch.to_string()].into_iter().collect()
}

pub(super) fn object_path(tenant: &Tenant, epoch: u64, digest: Digest) -> ObjectPath {
    epoch_path(tenant, epoch).join(digest.to_string())
}
