//! The clients that a plan has to know, in as few calls as there can be.

use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::management::operator::Management;
use crate::core::management::outcome::{ManagementError, Subject};
use crate::core::ports::ClientPage;
use crate::core::realm::RealmName;

impl Management {
    /// The clients of a realm that exists, in ascending order of id, those after `cursor`, at most `at_most`.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn page_of_clients(
        &self,
        realm: &RealmName,
        cursor: Option<&ClientId>,
        at_most: usize,
    ) -> Result<ClientPage, ManagementError> {
        let page = self.registrar.list(realm, cursor, at_most).await;
        page.map_err(|error| Subject::Realm(realm.clone()).refused(error))
    }

    /// Those of these clients that exist, in any order.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn clients_of_ids(&self, ids: &[(RealmName, ClientId)]) -> Result<Vec<Client>, ManagementError> {
        let read = self.registrar.read_many(ids).await;
        read.map_err(|error| Subject::Realm(RealmName::root()).refused(error))
    }
}
