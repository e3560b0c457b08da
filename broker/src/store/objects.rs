//! Which object store belongs to the database.

use uuid::Uuid;

use super::Store;
use super::sql::{ObjectsAdopt, ObjectsJoin, Statement};
use crate::error::BrokerError;
use crate::objects::Objects;

impl Store {
    /// The object store.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Requires that the object store is the one of the database. The first broker of a database registers its
    /// store, and gives it an identity if it has none. Two replicas with a directory each would both accept artifacts
    /// that the other cannot read.
    ///
    /// # Errors
    /// [`BrokerError::OtherStore`] for another store, one that was emptied included, and
    /// [`BrokerError::Objects`] when the store does not answer.
    pub async fn join_objects(&self) -> Result<(), BrokerError> {
        let found = self.objects.identity().await?;
        let registered = ObjectsJoin { identity: None, name: self.objects.name() };
        let registered = registered.optional(&self.pool).await?;
        let registered = match registered {
            Some(row) => row,
            None => {
                let identity = self.objects.identify().await?.to_string();
                let name = self.objects.name();
                let join = ObjectsJoin { identity: Some(&identity), name };
                let Some(row) = join.optional(&self.pool).await? else {
                    return Err(BrokerError::Internal {
                        reason: "the object store was not registered".into(),
                    });
                };
                return self.require_store(
                    Some(self.objects.identify().await?),
                    &row.identity,
                    row.name,
                );
            }
        };
        self.require_store(found, &registered.identity, registered.name)
    }

    /// Requires that the object store still is the one that [`Self::join_objects`] found.
    ///
    /// # Errors
    /// As [`Self::join_objects`].
    pub async fn probe_objects(&self) -> Result<(), BrokerError> {
        let found = self.objects.identity().await?;
        let registered = ObjectsJoin { identity: None, name: self.objects.name() };
        match registered.optional(&self.pool).await? {
            Some(row) => self.require_store(found, &row.identity, row.name),
            None => Ok(()),
        }
    }

    /// Registers the present object store in place of another. Artifacts that it does not have are lost, and are made
    /// or uploaded again as far as somebody needs them.
    ///
    /// # Errors
    /// [`BrokerError::Objects`] when the store does not answer.
    pub async fn adopt_objects(&self) -> Result<(), BrokerError> {
        let identity = self.objects.identify().await?.to_string();
        let name = self.objects.name();
        ObjectsAdopt { identity: &identity, name }.run(&self.pool).await.map(drop)
    }

    fn require_store(
        &self,
        found: Option<Uuid>,
        registered: &str,
        name: String,
    ) -> Result<(), BrokerError> {
        match found {
            Some(found) if found.to_string() == registered => Ok(()),
            found => Err(BrokerError::OtherStore {
                store: self.objects.name().to_owned(),
                found: found.map_or_else(|| "none".to_owned(), |id| id.to_string()),
                registered: registered.to_owned(),
                name,
            }),
        }
    }
}
