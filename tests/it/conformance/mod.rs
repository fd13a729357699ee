//! One suite per port, run by every adapter: what the core may rely on, whoever keeps the data.
//!
//! [`token_store`], [`denylist`], [`quota_counter`], [`key_copies`], [`replay_guard`], [`use_marks`], [`registry`], [`secrets`] and [`key_store`] are the suites; [`embedded`] and [`aws`] open an adapter for each of their
//! cases. A new adapter is a new module of that kind, and a new rule of a port a new case.

/// A test for each case of a suite. `$open` is evaluated anew for each.
macro_rules! tests_of_cases {
    // One case after the other, because a macro cannot repeat the attributes inside a repetition of the cases.
    ($(#[$attribute:meta])*, $open:expr; $suite:ident: $case:ident, $($others:ident,)*) => {
        #[tokio::test(flavor = "multi_thread")]
        $(#[$attribute])*
        async fn $case() {
            let opened = $open;
            $crate::conformance::$suite::$case(&opened.ports).await;
        }
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; $suite: $($others,)* }
    };
    ($(#[$attribute:meta])*, $open:expr; $suite:ident:) => {};
}
use tests_of_cases;

mod admin_log;
mod aws;
mod denylist;
mod embedded;
mod key_copies;
mod key_store;
mod quota_counter;
mod registry;
mod replay_guard;
mod secrets;
mod token_store;
mod use_marks;

use std::any::Any;
use std::sync::Arc;

use grantwell::core::client::Client;
use grantwell::core::client::id::{ClientId, RegistrationId};
use grantwell::core::client::secret::{ClientSecret, ClientSecrets};
use grantwell::core::client::secret_storage::SecretStorage;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{
    AdminLog, ClientRegistry, Clock, Denylist, KeyStore, Registrar, SecretSource, TokenStore, VerificationKeySource,
};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemRandom;

use crate::support::beside_current;
use crate::support::registration::every_member;

/// An adapter under test, opened on a store of its own that goes when this is dropped.
pub(crate) struct Opened<P> {
    pub(crate) ports: P,
    _store: Box<dyn Any>,
}

/// The ports of what an operator registers: three views of one store.
pub(crate) struct RegistryPorts {
    pub(crate) registry: Arc<dyn ClientRegistry>,
    pub(crate) registrar: Arc<dyn Registrar>,
    pub(crate) secrets: Arc<dyn SecretSource>,
    pub(crate) log: Arc<dyn AdminLog>,
    /// Where the clients that are registered keep their secrets.
    pub(crate) storage: Option<SecretStorage>,
}

/// The ports of what the server issues and ends: two views of one store.
pub(crate) struct TokenPorts {
    pub(crate) tokens: Arc<dyn TokenStore>,
    pub(crate) denylist: Arc<dyn Denylist>,
}

/// The ports of what the server signs and verifies with, opened as often as a case asks: each time as another process would.
pub(crate) struct KeyPorts {
    open: Box<dyn Fn() -> OpenedKeys + Send + Sync>,
}

/// One process's view of a store of keys.
pub(crate) struct OpenedKeys {
    pub(crate) store: Arc<dyn KeyStore>,
    pub(crate) published: Arc<dyn VerificationKeySource>,
}

impl<P> Opened<P> {
    fn new(ports: P, store: impl Any) -> Self {
        Self { ports, _store: Box::new(store) }
    }
}

impl TokenPorts {
    fn of<A: TokenStore + Denylist + 'static>(adapter: A) -> Self {
        let adapter = Arc::new(adapter);
        Self { tokens: adapter.clone(), denylist: adapter }
    }
}

impl KeyPorts {
    fn opened_by(open: impl Fn() -> OpenedKeys + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open) }
    }

    /// The store as a process of its own sees it.
    fn open(&self) -> OpenedKeys {
        (self.open)()
    }
}

impl OpenedKeys {
    fn of<A: KeyStore + VerificationKeySource + 'static>(adapter: Arc<A>) -> Self {
        Self { store: adapter.clone(), published: adapter }
    }
}

impl RegistryPorts {
    fn of<A: ClientRegistry + Registrar + SecretSource + AdminLog + 'static>(adapter: A) -> Self {
        let adapter = Arc::new(adapter);
        Self {
            registry: adapter.clone(),
            registrar: adapter.clone(),
            secrets: adapter.clone(),
            log: adapter,
            storage: None,
        }
    }

    /// A client that sets everything, with its secrets where these ports are about.
    fn client(&self, realm: &Realm, id: &str) -> Client {
        let mut client = client(realm, id);
        if self.storage == Some(SecretStorage::Digest) {
            client.metadata.client_secret_rotation_days = None;
        }
        client.metadata.client_secret_storage = self.storage.or(client.metadata.client_secret_storage);
        client
    }

    /// The secrets of a registration as somebody remembers it, but for those that a registration keeps itself: they are read with it.
    async fn secrets_of(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        let mut remembered = client.clone();
        if self.storage == Some(SecretStorage::Digest)
            && let Ok(now) = self.registrar.read(&client.realm, &client.client_id).await
            && now.registration_id == client.registration_id
        {
            remembered.secret_digests = now.secret_digests;
        }
        self.secrets.secrets(&remembered).await
    }

    /// Registers a client and gives back what was registered, with its secret.
    async fn registered(&self, realm: &Realm, id: &str) -> (Client, ClientSecret) {
        let (client, secret) = (self.client(realm, id), generated());
        self.registrar.register(&client, Some(&secret)).await.expect("registered");
        (client, secret)
    }
}

/// Time stands still.
pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixSeconds {
        NOW
    }
}

/// A client that sets everything a registration can say.
fn client(realm: &Realm, id: &str) -> Client {
    Client::register(client_id(id), realm, every_member(), registration_id(), NOW).expect("valid")
}

fn registration_id() -> RegistrationId {
    RegistrationId::generate(&SystemRandom).expect("random bytes")
}

fn client_id(text: &str) -> ClientId {
    text.parse().expect("an id")
}

fn realm_name(text: &str) -> RealmName {
    text.parse().expect("a name")
}

fn realm(text: &str) -> Realm {
    Realm::new(realm_name(text))
}

fn generated() -> ClientSecret {
    ClientSecret::generate(&SystemRandom).expect("random bytes")
}

/// Whether the secrets are exactly these: the current, and the previous if there is one.
#[track_caller]
fn assert_accepted(secrets: Option<&ClientSecrets>, current: &ClientSecret, previous: Option<&ClientSecret>) {
    let secrets = secrets.expect("a client with a secret");
    assert_eq!(secrets.current.as_bytes(), current.digest().as_bytes(), "the current secret");
    assert_eq!(
        secrets.previous.as_ref().map(|digest| *digest.as_bytes()),
        previous.map(|secret| *secret.digest().as_bytes()),
        "the previous secret"
    );
}

/// 23 November 2026.
const NOW: UnixSeconds = UnixSeconds(1_795_415_820);
