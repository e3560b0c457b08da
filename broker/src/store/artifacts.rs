//! Artifacts: small ones in a side table, large ones in the object store, all by digest.

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload};
use rollmill_broker_client::Digest;
use sqlx::{AssertSqlSafe, Row};

use super::jobs::signed;
use super::{ROW_ARTIFACT_BYTES_MAX, Store, Tenant};
use crate::error::BrokerError;

impl Store {
    /// Stores `body` under `digest` for `epoch`, after checking the one against the other. Storing
    /// again heals what was damaged. Returns where it lies, `row` or `object`.
    pub async fn put_artifact(
        &self,
        tenant: &Tenant,
        epoch: u64,
        digest: Digest,
        body: Vec<u8>,
    ) -> Result<&'static str, BrokerError> {
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
        tx.commit().await?;
        Ok(place)
    }

    /// The bytes of an artifact, checked against its digest.
    pub async fn get_artifact(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Vec<u8>, BrokerError> {
        let row = sqlx::query(
            "SELECT epoch, place FROM artifact WHERE tenant = $1 AND digest = $2
             ORDER BY epoch DESC LIMIT 1",
        )
        .bind(&tenant.0)
        .bind(&digest.0[..])
        .fetch_optional(&self.pool)
        .await?
        .ok_or(BrokerError::UnknownArtifact { digest })?;
        let epoch: i64 = row.try_get("epoch")?;
        let place: String = row.try_get("place")?;
        let body: Option<Vec<u8>> = if place == "object" {
            let path = object_path(tenant, epoch.max(0).unsigned_abs(), digest);
            match self.objects.get(&path).await {
                Ok(found) => Some(found.bytes().await.map_err(BrokerError::objects)?.to_vec()),
                Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => return Err(BrokerError::objects(error)),
            }
        } else {
            sqlx::query_scalar(
                "SELECT body FROM artifact_body WHERE epoch = $3 AND tenant = $1 AND digest = $2",
            )
            .bind(&tenant.0)
            .bind(&digest.0[..])
            .bind(epoch)
            .fetch_optional(&self.pool)
            .await?
        };
        let body = body.ok_or(BrokerError::ArtifactLost { digest })?;
        if Digest::of(&body) != digest {
            return Err(BrokerError::ArtifactLost { digest });
        }
        Ok(body)
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

fn object_path(tenant: &Tenant, epoch: u64, digest: Digest) -> ObjectPath {
    [tenant.0.as_str(), &epoch.to_string(), &digest.to_string()].into_iter().collect()
}
