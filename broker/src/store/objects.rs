//! Which object store belongs to the database.

use uuid::Uuid;

use super::audit::{By, DATABASE};
use super::sql::{ObjectsAdopt, ObjectsJoin, Statement};
use super::{Store, Tenant};
use crate::error::BrokerError;
use crate::objects::Objects;

impl Store {
    /// The object store.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Requires that the object store is the one of the database. The first broker of a database registers its
    /// store, and gives it an identity. Two replicas with a directory each would both accept artifacts that the other
    /// cannot read; and two databases over one store would delete each other's, since both have folders of the same
    /// names.
    ///
    /// # Errors
    /// [`BrokerError::OtherStore`] for another store, one that was emptied included, [`BrokerError::ForeignStore`] for
    /// one that another database has used, and [`BrokerError::Objects`] when the store does not answer.
    pub async fn join_objects(&self) -> Result<(), BrokerError> {
        let name = self.objects.name();
        // The database first: whoever registers a store has given it its identity by the time that shows here.
        let registered = ObjectsJoin { identity: None, name }.optional(&self.pool).await?;
        if let Some(row) = registered {
            let found = self.objects.identity().await?;
            return self.require_store(found, &row.identity, row.name);
        }
        let wanted = Uuid::new_v4();
        let text = wanted.to_string();
        let mut tx = self.pool.begin().await?;
        // Another broker that does this waits here until this one is done.
        let row = ObjectsJoin { identity: Some(&text), name }.one(&mut *tx).await?;
        if row.identity != text {
            tx.rollback().await?;
            let found = self.objects.identity().await?;
            return self.require_store(found, &row.identity, row.name);
        }
        let found = self.objects.identify_as(wanted).await?;
        if found != wanted {
            let (store, found) = (name.to_owned(), found.to_string());
            return Err(BrokerError::ForeignStore { store, found });
        }
        tx.commit().await?;
        Ok(())
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
        let (name, tenant) = (self.objects.name(), Tenant::default());
        let mut tx = self.pool.begin().await?;
        ObjectsAdopt { identity: &identity, name }.run(&mut *tx).await?;
        let by = By { tenant: &tenant, label: DATABASE };
        by.record(&mut tx, "adopt object store", &format!("{name}, identity {identity}")).await?;
        tx.commit().await?;
        Ok(())
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
