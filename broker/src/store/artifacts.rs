//! Artifacts: small ones in a side table, large ones in the object store, all by digest.

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload};
use rollmill_broker_client::Digest;
use sqlx::AssertSqlSafe;

use super::jobs::signed;
use super::{ROW_ARTIFACT_BYTES_MAX, Store, Tenant};
use crate::error::BrokerError;

/// What an upload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Where the bytes lie: `row` or `object`.
    pub place: &'static str,
    /// Jobs that waited for this input and are ready now.
    pub made_ready: u64,
}

impl Store {
    /// Stores `body` under `digest` for `epoch`, after checking the one against the other. Storing
    /// again heals what was damaged, and makes the jobs ready that wait for this input.
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
        let bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let place = if body.len() <= ROW_ARTIFACT_BYTES_MAX { "row" } else { "object" };
        let mut tx = if place == "object" {
            // Bytes first: a row must never name an object that is not there.
            self.put_object(&object_path(tenant, epoch, digest), body).await?;
            self.pool.begin().await?
        } else {
            let mut tx = self.pool.begin().await?;
            sqlx::query("SELECT artifact_body_partition($1)")
                .bind(signed(epoch))
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO artifact_body (tenant, digest, epoch, body) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (epoch, tenant, digest) DO UPDATE SET body = excluded.body
                 WHERE artifact_body.body <> excluded.body",
            )
            .bind(&tenant.0)
            .bind(&digest.0[..])
            .bind(signed(epoch))
            .bind(body)
            .execute(&mut *tx)
            .await?;
            tx
        };
        sqlx::query(
            "INSERT INTO artifact (tenant, digest, epoch, bytes, place) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, digest, epoch) DO NOTHING",
        )
        .bind(&tenant.0)
        .bind(&digest.0[..])
        .bind(signed(epoch))
        .bind(bytes)
        .bind(place)
        .execute(&mut *tx)
        .await?;
        let made_ready = Self::give_input(&mut tx, tenant, digest).await?;
        tx.commit().await?;
        Ok(Uploaded { place, made_ready })
    }

    /// The bytes of an object; none if there is no such object.
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
        let objects: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT digest FROM artifact WHERE tenant = $1 AND epoch = $2 AND place = 'object'",
        )
        .bind(&tenant.0)
        .bind(signed(epoch))
        .fetch_all(&self.pool)
        .await?;
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM artifact WHERE tenant = $1 AND epoch = $2")
            .bind(&tenant.0)
            .bind(signed(epoch))
            .execute(&mut *tx)
            .await?;
        let shared: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM artifact WHERE epoch = $1)")
                .bind(signed(epoch))
                .fetch_one(&mut *tx)
                .await?;
        if shared {
            sqlx::query("DELETE FROM artifact_body WHERE tenant = $1 AND epoch = $2")
                .bind(&tenant.0)
                .bind(signed(epoch))
                .execute(&mut *tx)
                .await?;
        } else {
            // The name is made of a number alone.
            let drop = format!("DROP TABLE IF EXISTS artifact_body_{}", signed(epoch));
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        for digest in super::view::digests(objects)? {
            match self.objects.delete(&object_path(tenant, epoch, digest)).await {
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
