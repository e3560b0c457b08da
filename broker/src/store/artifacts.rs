//! Artifacts: small ones in a side table, large ones in the object store, all by digest.

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload};
use rollmill_broker_client::Digest;
use sqlx::AssertSqlSafe;

use super::sql::{
    ArtifactBodyDrop, ArtifactDrop, ArtifactObjects, ArtifactPut, ArtifactShared, InputUploaded,
    Statement,
};
use super::{ROW_ARTIFACT_BYTES_MAX, Store, Tenant, Upload};
use crate::error::BrokerError;

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
        let bytes = body.len() as u64;
        if Place::of(body.len()) == Place::Row {
            let upload = Upload { tenant: tenant.clone(), epoch, digest, body };
            let done = self.put_many(std::slice::from_ref(&upload)).await?;
            let done = done.into_iter().next();
            return done.ok_or_else(|| BrokerError::Internal {
                reason: "an upload without an answer".into(),
            });
        }
        // Bytes first: a row must never name an object that is not there.
        self.put_object(&object_path(tenant, epoch, digest), body).await?;
        let mut tx = self.pool.begin().await?;
        ArtifactPut { tenant, digest, epoch, bytes, place: Place::Object }.run(&mut *tx).await?;
        let made_ready = InputUploaded { tenant, input: digest }.run(&mut *tx).await?;
        tx.commit().await?;
        Ok(Uploaded { place: Place::Object, made_ready })
    }

    /// The bytes of an object; `None` if it does not exist.
    pub(super) async fn get_object(
        &self,
        path: &ObjectPath,
    ) -> Result<Option<Vec<u8>>, BrokerError> {
        match self.objects.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(BrokerError::objects)?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BrokerError::objects(error)),
        }
    }

    async fn put_object(&self, path: &ObjectPath, body: Vec<u8>) -> Result<(), BrokerError> {
        self.objects.put(path, PutPayload::from(body)).await.map_err(BrokerError::objects)?;
        // What is acknowledged survives a power cut: the bytes and the name.
        let file = self.objects.path_to_filesystem(path).map_err(BrokerError::objects)?;
        tokio::task::spawn_blocking(move || {
            std::fs::File::open(&file)?.sync_all()?;
            file.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
        })
        .await
        .map_err(BrokerError::objects)?
        .map_err(BrokerError::objects)
    }

    pub(super) async fn drop_artifacts(
        &self,
        tenant: &Tenant,
        epoch: u64,
    ) -> Result<(), BrokerError> {
        let objects = ArtifactObjects { tenant, epoch }.all(&self.pool).await?;
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
        for object in objects {
            match self.objects.delete(&object_path(tenant, epoch, object.digest.0)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(BrokerError::objects(error)),
            }
        }
        Ok(())
    }
}

pub(super) fn object_path(tenant: &Tenant, epoch: u64, digest: Digest) -> ObjectPath {
    [tenant.0.as_str(), &epoch.to_string(), &digest.to_string()].into_iter().collect()
}
