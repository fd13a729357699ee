//! One server for most tests, on a store of its own. Tests that change clients register their own, named after the row
//! they check.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::cli::{Registered, Store};
use super::server::{Server, Start};

/// The base path of realm alpha, where most tests are.
pub(crate) const ALPHA: &str = "/oauth2/realms/root/realms/alpha";
/// The challenge of a 401 in realm alpha.
pub(crate) const ALPHA_CHALLENGE: &str = r#"Basic realm="alpha", charset="UTF-8""#;

/// The settings of a client whose tokens are JWTs with a record.
pub(crate) const STORED_JWT: [&str; 4] = ["--access-token-format", "jwt", "--access-token-persistence", "stored"];
/// The settings of a client whose tokens are JWTs without one.
pub(crate) const STATELESS_JWT: [&str; 4] = ["--access-token-format", "jwt", "--access-token-persistence", "stateless"];

/// A running server and the clients that every test may use and none may change.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) server: Server,
    /// Realm alpha: scopes `read write a b a+b A api:read`, default `write`, Basic.
    pub(crate) app: Registered,
    /// Realm alpha: another client like `app`.
    pub(crate) other: Registered,
    /// Realm alpha: scope `read write`, default `write`, Basic and post.
    pub(crate) post_app: Registered,
    /// Realm alpha: a client like `app` whose tokens are stored JWTs.
    pub(crate) stored_app: Registered,
    /// Realm alpha: a client like `app` whose tokens are JWTs that are stored nowhere.
    pub(crate) stateless_app: Registered,
    /// Realm alpha: may introspect every token of it.
    pub(crate) resource_server: Registered,
    /// Realm beta: a client like `app`.
    pub(crate) beta_app: Registered,
    /// Realm root: a client like `app`.
    pub(crate) root_app: Registered,
    /// Realm root: may introspect every token of every realm.
    pub(crate) any_realm_server: Registered,
}

/// The server, started by the first test that asks.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: LazyLock<Shared> = LazyLock::new(Shared::start);
    &SHARED
}

/// The issuer under a base path.
pub(crate) fn issuer(base: &str) -> String {
    format!("{}{base}", shared().server.url())
}

impl Shared {
    fn start() -> Self {
        // A static is never dropped: the server's watchdog removes the directory.
        let directory: PathBuf = TempDir::with_prefix("grantwell-it-").expect("a temporary directory").keep();
        let store = Store::at(directory.join("data"));
        for realm in ["alpha", "beta"] {
            store.set_realm(realm, &[]);
        }
        let app = ["--scope", "read write a b a+b A api:read", "--default-scope", "write"];
        let post = ["--scope", "read write", "--default-scope", "write", "--auth-method", "client_secret_basic"];
        let post = [&post[..], &["--auth-method", "client_secret_post"]].concat();
        let shared = Self {
            app: store.register("alpha", "shared-app", &app),
            other: store.register("alpha", "shared-other", &app),
            post_app: store.register("alpha", "shared-post", &post),
            stored_app: store.register("alpha", "shared-stored", &[&app[..], &STORED_JWT].concat()),
            stateless_app: store.register("alpha", "shared-stateless", &[&app[..], &STATELESS_JWT].concat()),
            resource_server: store.register("alpha", "shared-rs", &["--scope", "am-introspect-all-tokens"]),
            beta_app: store.register("beta", "shared-app", &app),
            root_app: store.register("root", "shared-root-app", &app),
            any_realm_server: store.register(
                "root",
                "shared-any-realm-rs",
                &["--scope", "am-introspect-all-tokens-any-realm"],
            ),
            server: Start::on(&store.argument()).remove_afterwards(&directory).spawn(),
            store,
        };
        // In a new store's first second every JWT has a record, and most tests of those that have none want none.
        thread::sleep(STORE_AGED_AFTER);
        shared
    }
}

const STORE_AGED_AFTER: Duration = Duration::from_millis(1_100);
