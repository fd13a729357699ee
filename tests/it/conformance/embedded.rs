//! The adapters of one machine: SQLite and memory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use grantwell::core::access_token::record::{AccessTokenRecord, Revocation};
use grantwell::core::access_token::settings::{AccessTokenFormat, TokenLifetime};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::keys::retention::SIGNERS_MAX_AGE;
use grantwell::core::keys::set::{KeySet, VERIFIES_AFTER_SIGNING};
use grantwell::core::ports::{
    ClientRegistry as _, Clock, Denylist as _, KeyCopies, KeyStore as _, QuotaCounter, Registrar as _, RegistrarError,
    ReplayGuard, SecretSource as _, SigningKeySource as _, TokenStore as _, UseMarks, VerificationKeySource as _,
};
use grantwell::core::quota::QuotaWindow;
use grantwell::core::realm::Realm;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::fault::StoreError;
use grantwell::embedded::store::memory::MemoryTokens;
use grantwell::embedded::store::quotas::MemoryQuotas;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::remote_keys::MemoryKeyCopies;
use grantwell::embedded::store::replay_guard::MemoryReplayGuard;
use grantwell::embedded::store::tokens::{Durability, SqliteTokens};
use grantwell::embedded::store::use_marks::{MemoryUseMarks, UseMarksOnDisk};
use tempfile::TempDir;

use super::key_store::{OLDER_KEYS, PRIVATE_MEMBERS, ROTATED_AT, key_set};
use super::token_store::{digest, live, revoked};
use super::{
    FixedClock, KeyPorts, NOW, Opened, OpenedKeys, RegistryPorts, TokenPorts, assert_accepted, beside_current, client,
    generated, realm,
};

mod memory_tokens {
    use super::super::denylist::denylist_suite;
    use super::super::token_store::token_store_suite;

    token_store_suite!(super::memory_tokens());
    denylist_suite!(super::memory_tokens());
}

mod memory_quotas {
    use super::super::quota_counter::quota_counter_suite;

    quota_counter_suite!(super::memory_quotas());
}

mod memory_use_marks {
    use super::super::use_marks::use_marks_suite;

    use_marks_suite!(super::memory_use_marks());
}

mod sqlite_use_marks {
    use super::super::use_marks::use_marks_suite;

    use_marks_suite!(super::sqlite_use_marks());
}

mod memory_key_copies {
    use super::super::key_copies::key_copies_suite;

    key_copies_suite!(super::memory_key_copies());
}

mod sqlite_quotas {
    use super::super::quota_counter::quota_counter_suite;

    quota_counter_suite!(super::sqlite_quotas());
}

mod memory_replay_guard {
    use super::super::replay_guard::replay_guard_suite;

    replay_guard_suite!(super::memory_replay_guard());

    #[tokio::test(flavor = "multi_thread")]
    async fn of_a_thousand_uses_at_once_one_is_the_first() {
        let opened = super::memory_replay_guard();
        super::super::replay_guard::of_a_thousand_uses_at_once_one_is_the_first(&opened.ports).await;
    }
}

mod sqlite_replay_guard {
    use super::super::replay_guard::replay_guard_suite;

    replay_guard_suite!(super::sqlite_replay_guard());

    #[tokio::test(flavor = "multi_thread")]
    async fn of_a_thousand_uses_at_once_one_is_the_first() {
        let opened = super::sqlite_replay_guard();
        super::super::replay_guard::of_a_thousand_uses_at_once_one_is_the_first(&opened.ports).await;
    }
}

mod memory_registry {
    use super::super::admin_log::admin_log_suite;
    use super::super::registry::registry_suite;
    use super::super::secrets::secrets_suite;

    admin_log_suite!(super::memory_registry());
    registry_suite!(super::memory_registry());
    secrets_suite!(super::memory_registry());
}

mod sqlite_tokens {
    use super::super::denylist::denylist_suite;
    use super::super::token_store::token_store_suite;

    token_store_suite!(super::sqlite_tokens());
    denylist_suite!(super::sqlite_tokens());
}

mod sqlite_tokens_confirmed_by_disk {
    use super::super::denylist::denylist_suite;
    use super::super::token_store::token_store_suite;

    token_store_suite!(super::sqlite_tokens_confirmed_by_disk());
    denylist_suite!(super::sqlite_tokens_confirmed_by_disk());
}

#[tokio::test]
async fn a_lost_secret_is_replaced_beside_the_previous_one() {
    super::secrets::a_lost_secret_is_replaced_beside_the_previous_one(&sqlite_registry().ports).await;
    super::secrets::a_lost_secret_is_replaced_beside_the_previous_one(&memory_registry().ports).await;
}

mod sqlite_registry {
    use super::super::admin_log::admin_log_suite;
    use super::super::registry::registry_suite;
    use super::super::secrets::secrets_suite;

    admin_log_suite!(super::sqlite_registry());
    registry_suite!(super::sqlite_registry());
    secrets_suite!(super::sqlite_registry());
}

mod memory_keys {
    use super::super::key_store::key_store_suite;

    key_store_suite!(super::memory_keys());
}

mod sqlite_keys {
    use super::super::key_store::key_store_suite;

    key_store_suite!(super::sqlite_keys());
}

#[tokio::test]
async fn a_registry_opened_again_has_everything_it_had() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let (client, first, second) = (client(&realm("alpha"), "myClient"), generated(), generated());
    let alpha = Realm { revision: 1, ..realm("alpha") };

    let registry = SqliteRegistry::open(&path).expect("opened");
    registry.put_realm(&alpha).await.expect("created");
    registry.register(&client, Some(&first)).await.expect("registered");
    registry.rotate_secret(&client.realm, &client.client_id, &beside_current(&second)).await.expect("rotated");
    drop(registry);

    let registry = SqliteRegistry::open(&path).expect("opened again");
    assert_eq!(registry.realm(&alpha.name).await, Ok(Some(Arc::new(alpha))));
    assert_eq!(registry.client(&client.realm, &client.client_id).await, Ok(Some(Arc::new(client.clone()))));
    let secrets = registry.secrets(&client).await.expect("read");
    assert_accepted(secrets.as_ref(), &second, Some(&first));
}

#[tokio::test]
async fn what_one_process_registers_another_sees() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let (server, command_line) = (SqliteRegistry::open(&path), SqliteRegistry::open(&path));
    let (server, command_line) = (server.expect("opened"), command_line.expect("opened beside it"));
    let client = client(&realm("alpha"), "myClient");
    command_line.register(&client, Some(&generated())).await.expect("registered");
    assert_eq!(server.client(&client.realm, &client.client_id).await, Ok(Some(Arc::new(client.clone()))));
    assert_eq!(server.register(&client, Some(&generated())).await, Err(RegistrarError::AlreadyExists));
}

#[tokio::test]
async fn a_look_at_the_keys_counts_the_longest_lifetime_of_a_realm_and_all_its_clients() {
    struct At(UnixSeconds);
    impl Clock for At {
        fn now(&self) -> UnixSeconds {
            self.0
        }
    }

    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let registry = Arc::new(SqliteRegistry::open(&path).expect("opened"));
    let lifetime = |seconds| Some(TokenLifetime::new(seconds).expect("in range"));
    let mut alpha = Realm { revision: 1, ..realm("alpha") };
    alpha.settings.access_token_lifetime = lifetime(60);
    registry.put_realm(&alpha).await.expect("created");
    // More than one page of them, and the longest in the last.
    for number in 0..120 {
        let mut client = client(&alpha, &format!("client{number:03}"));
        client.metadata.access_token_lifetime = lifetime(if number == 119 { 7200 } else { 600 });
        registry.register(&client, Some(&generated())).await.expect("registered");
    }
    registry.create_keys(&alpha.name, &key_set()).await.expect("created");
    let look = async |now, interval| {
        let keyring = Keyring::new(registry.clone(), Arc::new(At(now)));
        keyring.rotate_all_due(registry.as_ref(), interval).await.expect("listed");
        let keys = registry.read_keys(&alpha.name).await.expect("read").expect("keys").published().keys;
        keys.iter().filter_map(|key| key.expires_at).collect::<Vec<_>>()
    };

    assert_eq!(look(ROTATED_AT, 1).await, [ROTATED_AT.plus(VERIFIES_AFTER_SIGNING)], "rotated, and found");
    let last_signature = ROTATED_AT.plus(SIGNERS_MAX_AGE);
    assert_eq!(look(last_signature, u64::MAX).await, [last_signature.plus(7200)]);
    assert_eq!(look(last_signature.plus(7200), u64::MAX).await, []);
}

#[tokio::test]
async fn tokens_opened_again_are_all_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let (kept, ended) = (digest(), digest());
    let record = super::token_store::record("myClient");

    let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened");
    tokens.put(&kept, &record).await.expect("stored");
    tokens.put(&ended, &record).await.expect("stored");
    tokens.revoke(&ended, &record.realm, &record.client_id, super::NOW).await.expect("revoked");
    drop(tokens);

    let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened again");
    assert_eq!(tokens.get(&kept).await, Ok(live(&record)));
    assert_eq!(tokens.get(&ended).await, Ok(revoked(&record)));
}

/// `tokens.db` as builds had it that deleted the record of a revoked token.
const TOKENS_BEFORE_MARKS: &str = "
    CREATE TABLE access_tokens (
        id         INTEGER PRIMARY KEY,
        digest     BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        record     BLOB NOT NULL
    ) STRICT;
    CREATE TABLE denylist (
        jti        TEXT PRIMARY KEY,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX denylist_expires_at ON denylist (expires_at);
    CREATE TABLE token_quotas (
        registration_id TEXT NOT NULL,
        period          TEXT NOT NULL,
        ends_at         INTEGER NOT NULL,
        tokens          INTEGER NOT NULL,
        PRIMARY KEY (registration_id, period)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX token_quotas_ends_at ON token_quotas (ends_at);
    CREATE TABLE facts (
        name  TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
    INSERT INTO facts VALUES ('whole_since', 1795415820), ('passed', 1795415820), ('ends', 3);
";

/// What they wrote of a token of `myClient`, letter by letter.
const RECORD_BEFORE_MARKS: &str = r#"["alpha","myClient","AAECAwQFBgcICQoLDA0ODw","read write","https://auth.example.com/am/oauth2/realms/root/realms/alpha","https://api.example.com/orders",1795415820,"AAECAwQFBgcICQoLDA0ODw","00010203-0405-4607-8809-0a0b0c0d0e0f","{\"tier\":\"gold\",\"limits\":{\"rate\":1.0}}",{}]"#;

#[tokio::test]
async fn tokens_of_a_build_that_knew_no_marks_are_all_there_and_can_be_revoked() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let (kept, ended) = (digest(), digest());
    let registration_id = serde_json::from_str(r#""AAECAwQFBgcICQoLDA0ODw""#).expect("an id");
    let record = AccessTokenRecord { registration_id, trust_rule: None, ..super::token_store::record("myClient") };
    let old = rusqlite::Connection::open(&path).expect("a new file");
    old.execute_batch(TOKENS_BEFORE_MARKS).expect("the schema of then");
    let found = fs::metadata(&path).expect("made");
    let made_at = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let made_at = made_at.map_or(0, |at| i64::try_from(at.as_nanos()).expect("before 2262"));
    let of_the_file = "INSERT INTO facts VALUES ('inode', ?1), ('made_at', ?2)";
    old.execute(of_the_file, rusqlite::params![found.ino().cast_signed(), made_at]).expect("stored");
    for digest in [&kept, &ended] {
        let (first, rest) = digest.as_bytes().split_first_chunk::<8>().expect("32 bytes");
        let value = [b"\x01", RECORD_BEFORE_MARKS.as_bytes()].concat();
        let row = rusqlite::params![i64::from_be_bytes(*first), rest, 1_795_419_420, value];
        old.execute("INSERT INTO access_tokens VALUES (?1, ?2, ?3, ?4)", row).expect("stored");
    }
    drop(old);
    fs::write(path.with_file_name("tokens.db-ends"), "0000000000000000003\n").expect("written");

    // Opened twice: the second time there is a mark in it.
    for is_marked in [false, true] {
        let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened");
        assert_eq!(tokens.get(&kept).await, Ok(live(&record)));
        assert_eq!(tokens.get(&ended).await, Ok(if is_marked { revoked(&record) } else { live(&record) }));
        let outcome = tokens.revoke(&ended, &record.realm, &record.client_id, super::NOW).await.expect("decided");
        assert_eq!(outcome == Revocation::NotFound, is_marked, "{outcome:?}");
    }

    // In a file that a build of then opens as its own, and in which the mark is no record to it.
    let connection = rusqlite::Connection::open(&path).expect("opened");
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    let mut rows = connection.prepare("SELECT record FROM access_tokens ORDER BY record").expect("SQL");
    let rows: Vec<Vec<u8>> =
        rows.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("read")).collect();
    let first_bytes: Vec<_> = rows.iter().map(|record| record[0]).collect();
    assert_eq!((version, first_bytes), (1, vec![1, 2]));
    let mark = String::from_utf8(rows[1].clone()).expect("text");
    assert_eq!(
        mark,
        format!("\u{2}[\"{}\",{{}}]", record.audit_tracking_id),
        "nothing of what was granted, nor to whom"
    );
    let ends: i64 =
        connection.query_row("SELECT value FROM facts WHERE name = 'ends'", [], |row| row.get(0)).expect("a number");
    assert_eq!(ends, 4, "counted once");
}

#[tokio::test]
async fn a_store_can_be_opened_again_as_soon_as_it_is_dropped() {
    for durability in [Durability::OperatingSystem, Durability::Disk] {
        let (tokens, directory) = open_tokens(durability);
        let token = digest();
        let record = super::token_store::record("myClient");
        tokens.put(&token, &record).await.expect("stored");
        drop(tokens);

        let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
        let tokens = SqliteTokens::open(&path, durability, Arc::new(FixedClock)).expect("nobody holds the directory");
        assert_eq!(tokens.get(&token).await, Ok(live(&record)));
    }
}

#[tokio::test]
async fn a_store_that_another_process_has_open_is_refused() {
    let (_tokens, directory) = open_tokens(Durability::OperatingSystem);
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let refused = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).err();
    assert!(matches!(refused, Some(StoreError::InUse { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_a_client_that_goes_away_has_begun_to_write_is_written() {
    let (tokens, _directory) = open_tokens(Durability::OperatingSystem);
    let (first, second) = (digest(), digest());
    let record = super::token_store::record("myClient");
    let mut begun = Box::pin(tokens.put(&first, &record));
    let _perhaps_done = (&mut begun).now_or_never();
    drop(begun);
    tokens.put(&second, &record).await.expect("stored");
    assert_eq!(tokens.get(&first).await, Ok(live(&record)));
    assert_eq!(tokens.get(&second).await, Ok(live(&record)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_one_of_many_writes_at_once_is_stored_when_it_says_so() {
    let (tokens, _directory) = open_tokens(Durability::OperatingSystem);
    let tokens = Arc::new(tokens);
    let writes: Vec<_> = (0..400)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move {
                let digest = digest();
                let record = super::token_store::record("myClient");
                tokens.put(&digest, &record).await.expect("stored");
                assert_eq!(tokens.get(&digest).await, Ok(live(&record)));
            })
        })
        .collect();
    for write in writes {
        write.await.expect("no panic");
    }
}

/// More than are kept in the log, so that it is carried over and begun anew behind them: from then on its file has room for what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_grows_no_further_under_writes_and_nothing_in_it_is_lost() {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let log = || fs::metadata(path.with_extension("db-wal")).expect("a log").len();
    let record = super::token_store::record("myClient");
    let (mut kept, mut sizes) = (Vec::new(), vec![0]);
    loop {
        for _ in 0..100 {
            let digests: Vec<_> = (0..64).map(|_| digest()).collect();
            join_all(digests.iter().map(|digest| tokens.put(digest, &record)))
                .await
                .into_iter()
                .for_each(|stored| stored.expect("stored"));
            kept.push(digests[0]);
        }
        let size = log();
        if sizes.last() == Some(&size) {
            break;
        }
        sizes.push(size);
        // Where others keep the disk and both cores busy, the log is carried over late.
        assert!(sizes.len() < 100, "{sizes:?}");
    }
    tokens.revoke(&kept[7], &record.realm, &record.client_id, super::NOW).await.expect("revoked");
    for digest in kept.iter().skip(8).step_by(37) {
        assert_eq!(tokens.get(digest).await, Ok(live(&record)));
    }
    assert_eq!(tokens.get(&kept[7]).await, Ok(revoked(&record)));
}

#[tokio::test]
async fn a_directory_of_an_earlier_build_is_refused_with_a_way_out() {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    drop(tokens);
    let data = DataDir::open(&directory.path().join("data")).expect("opened");
    let path = data.tokens_path();
    fs::create_dir(path.with_file_name("tokens")).expect("made");
    let refused = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock))
        .err()
        .expect("refused")
        .to_string();
    assert!(refused.contains("earlier version") && refused.contains("remove it"), "{refused}");
}

#[tokio::test]
async fn a_denylist_opened_again_denies_what_it_denied() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened");
    tokens.deny("ended", super::NOW.plus(3600)).await.expect("denied");
    drop(tokens);

    let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened again");
    assert_eq!(tokens.is_denied("ended").await, Ok(true));
    assert_eq!(tokens.is_denied("other").await, Ok(false));
}

#[tokio::test]
async fn counts_opened_again_go_on_where_they_were() {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    let (client, hour) = (client(&realm("alpha"), "myClient"), QuotaWindow::Hour.period_at(super::NOW));
    let quotas = tokens.quotas();
    for number in 1..=2 {
        assert_eq!(quotas.count(&client, hour, Some(3)).await, Ok(Some(number)));
    }
    drop((quotas, tokens));

    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let quotas =
        SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened again").quotas();
    assert_eq!(quotas.count(&client, hour, Some(3)).await, Ok(Some(3)));
    assert_eq!(quotas.count(&client, hour, Some(3)).await, Ok(None));
}

#[tokio::test]
async fn keys_opened_again_are_the_same_and_the_published_half_holds_nothing_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let keys = key_set();
    SqliteRegistry::open(&path).expect("opened").create_keys(&realm("alpha").name, &keys).await.expect("created");

    let registry = SqliteRegistry::open(&path).expect("opened again");
    let read = registry.read_keys(&realm("alpha").name).await.expect("read").expect("keys");
    assert_eq!(read.published(), keys.published());

    let connection = rusqlite::Connection::open(&path).expect("opened");
    let public: String = connection
        .query_row("SELECT public_jwks FROM signing_keys WHERE realm = 'alpha'", [], |row| row.get(0))
        .expect("a row");
    let public: serde_json::Value = serde_json::from_str(&public).expect("JSON");
    for key in public["keys"].as_array().expect("a list") {
        for member in PRIVATE_MEMBERS {
            assert!(key.get(member).is_none(), "{member}");
        }
    }
}

/// `registry.db` as version 1 of its schema had it: no signing keys.
const VERSION_1: &str = "
    CREATE TABLE realms (
        name     TEXT PRIMARY KEY,
        settings TEXT NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE clients (
        realm        TEXT NOT NULL,
        client_id    TEXT NOT NULL,
        registration TEXT NOT NULL,
        revision     INTEGER NOT NULL,
        PRIMARY KEY (realm, client_id)
    ) STRICT;
    CREATE TABLE client_secrets (
        realm           TEXT NOT NULL,
        client_id       TEXT NOT NULL,
        current_sha256  BLOB NOT NULL,
        previous_sha256 BLOB,
        PRIMARY KEY (realm, client_id),
        FOREIGN KEY (realm, client_id) REFERENCES clients (realm, client_id) ON DELETE CASCADE
    ) STRICT;
    PRAGMA user_version = 1;
";

/// What version 1 wrote of a realm and of a client, letter by letter.
const REALM_OF_VERSION_1: &str = r#"{"name":"alpha","default_scope":"write","tokens_valid_after":0,"revision":1}"#;
const CLIENT_OF_VERSION_1: &str = r#"{"client_id":"myClient","realm":"alpha","client_name":"My client","contacts":["owner@example.com"],"redirect_uris":[],"scope":"read write","grant_types":["client_credentials"],"token_endpoint_auth_methods":["client_secret_basic"],"client_secret_expires_at":0,"status":"active","registration_id":"AAECAwQFBgcICQoLDA0ODw","client_id_issued_at":1795415820,"tokens_valid_after":0,"revision":1}"#;

#[tokio::test]
async fn a_registry_of_version_1_keeps_its_clients_and_gets_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let secret = generated();
    let old = rusqlite::Connection::open(&path).expect("a new file");
    old.execute_batch(VERSION_1).expect("the schema of version 1");
    old.execute("INSERT INTO realms VALUES ('alpha', ?1, 1)", [REALM_OF_VERSION_1]).expect("a realm");
    old.execute("INSERT INTO clients VALUES ('alpha', 'myClient', ?1, 1)", [CLIENT_OF_VERSION_1]).expect("a client");
    let digest = secret.digest();
    old.execute("INSERT INTO client_secrets VALUES ('alpha', 'myClient', ?1, NULL)", [digest.as_bytes()])
        .expect("its secret");
    drop(old);

    // Opened twice: the second time it is of the present version already.
    for _ in 0..2 {
        let registry = SqliteRegistry::open(&path).expect("opened");
        let alpha = registry.realm(&realm("alpha").name).await.expect("read").expect("the realm");
        assert_eq!((alpha.revision, alpha.settings.access_token_format), (1, None));
        let client =
            registry.client(&alpha.name, &super::client_id("myClient")).await.expect("read").expect("the client");
        assert_eq!((client.metadata.scope.to_string().as_str(), client.metadata.resources.len()), ("read write", 0));
        let settings = client.access_token_settings(&alpha);
        assert_eq!((settings.format, settings.signing_alg), (AccessTokenFormat::Opaque, SigningAlgorithm::Es256));
        assert_accepted(registry.secrets(&client).await.expect("read").as_ref(), &secret, None);
    }
    let registry = SqliteRegistry::open(&path).expect("opened");
    registry.create_keys(&realm("alpha").name, &key_set()).await.expect("a place for keys");
    let version: i64 = rusqlite::Connection::open(&path)
        .and_then(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))
        .expect("a version");
    assert_eq!(version, 6);
}

#[tokio::test]
async fn a_secret_is_none_of_the_registration_before_a_right_was_withdrawn() {
    let registry = SqliteRegistry::in_memory().expect("opened");
    let (before, first, second) = (client(&realm("alpha"), "myClient"), generated(), generated());
    registry.register(&before, Some(&first)).await.expect("registered");
    let mut after = before.clone();
    after.metadata.scope = "read".parse().expect("well formed");
    after.metadata.default_scope = None;
    after.revision = 2;
    registry.replace(&after).await.expect("changed");
    assert_accepted(registry.secrets(&after).await.expect("read").as_ref(), &first, None);

    let rotate = async |secret| {
        registry.rotate_secret(&after.realm, &after.client_id, &beside_current(secret)).await.expect("rotated");
    };
    rotate(&second).await;
    // A server that remembers the earlier registration for some seconds more goes on with the secret of that time.
    assert_accepted(registry.secrets(&before).await.expect("read").as_ref(), &first, None);
    assert_accepted(registry.secrets(&after).await.expect("read").as_ref(), &second, Some(&first));

    let third = generated();
    rotate(&third).await;
    assert!(registry.secrets(&before).await.expect("read").is_none());
    assert_accepted(registry.secrets(&after).await.expect("read").as_ref(), &third, Some(&second));
}

/// What version 2 adds.
const VERSION_2: &str = "
    CREATE TABLE signing_keys (
        realm        TEXT PRIMARY KEY,
        private_jwks TEXT NOT NULL,
        public_jwks  TEXT NOT NULL,
        revision     INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 2;
";

#[tokio::test]
async fn a_registry_of_version_2_keeps_its_signing_keys_and_writes_them_anew_with_their_next_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let alpha = realm("alpha").name;
    let older = KeySet::from_json(OLDER_KEYS).expect("keys");
    let published = serde_json::to_string(&older.published()).expect("JSON");
    let connection = rusqlite::Connection::open(&path).expect("a new file");
    connection.execute_batch(VERSION_1).and_then(|()| connection.execute_batch(VERSION_2)).expect("the old schema");
    connection
        .execute("INSERT INTO signing_keys VALUES ('alpha', ?1, ?2, 4)", [OLDER_KEYS, &published])
        .expect("its keys");

    let registry = Arc::new(SqliteRegistry::open(&path).expect("opened"));
    let keyring = Keyring::new(registry.clone(), Arc::new(FixedClock));
    for alg in SigningAlgorithm::ALL {
        let signers = keyring.signers(&alpha, alg).await.expect("signers");
        assert_eq!(signers.choose(alg, NOW).expect("a signer").alg, alg);
    }
    let verifiers = registry.verification_keys(&alpha).await.expect("keys");
    assert!(older.published().keys.iter().all(|key| verifiers.know(key.jwk.kid.as_str())));

    let rotated = older.rotated(ROTATED_AT).expect("rotated");
    registry.replace_keys(&alpha, &rotated).await.expect("replaced");
    let stored: String = connection
        .query_row("SELECT private_keys FROM signing_keys WHERE realm = 'alpha'", [], |row| row.get(0))
        .expect("a row");
    assert!(stored.starts_with(r#"{"version":1,"revision":5,"#) && !stored.contains(r#""d":"#));
    let read = registry.read_keys(&alpha).await.expect("read").expect("keys");
    assert_eq!(read.published(), rotated.published());
    assert!(read.present_and_future_signers().is_ok());
}

#[tokio::test]
async fn signing_keys_of_a_later_form_are_refused_with_a_way_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let registry = SqliteRegistry::open(&path).expect("opened");
    registry.create_keys(&realm("alpha").name, &key_set()).await.expect("created");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection
        .execute_batch("UPDATE signing_keys SET private_keys = replace(private_keys, '\"version\":1', '\"version\":2')")
        .expect("changed");
    let error = registry.read_keys(&realm("alpha").name).await.expect_err("of a later form");
    let text = "the registry holds an item that cannot be read: \
                the signing keys were written by a later version of grantwell; use that one";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_command_reads_beside_the_server_what_it_has_marked() {
    let (directory, client) = (tempfile::tempdir().expect("a directory"), client(&realm("alpha"), "a"));
    let path = directory.path().join("tokens.db");
    let beside = UseMarksOnDisk::at(&path);
    assert_eq!(beside.last_used(std::slice::from_ref(&client)).await, Ok(vec![None]), "there is no file yet");
    assert_eq!(beside.kept_since().await, Ok(UnixSeconds(u64::MAX)), "so nobody knows since when");
    let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened");
    tokens.use_marks().mark_used(&client, UnixSeconds(86_400)).await.expect("marked");
    assert_eq!(beside.last_used(std::slice::from_ref(&client)).await, Ok(vec![Some(UnixSeconds(86_400))]));
    assert_eq!(beside.kept_since().await, Ok(NOW));

    // A copy that is put in its place knows of nobody.
    drop(tokens);
    let copy = std::fs::read(&path).expect("read");
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, copy).expect("written");
    let tokens = SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(FixedClock)).expect("opened");
    assert_eq!(tokens.use_marks().last_used(&[client]).await, Ok(vec![None]));
}

#[tokio::test]
async fn a_registry_of_two_schemas_is_opened_by_several_processes_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    rusqlite::Connection::open(&path).and_then(|old| old.execute_batch(VERSION_1)).expect("version 1");
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || SqliteRegistry::open(&path).map(drop))
        })
        .collect();
    for opener in openers {
        opener.join().expect("no panic").expect("opened");
    }
}

fn memory_tokens() -> Opened<TokenPorts> {
    Opened::new(TokenPorts::of(MemoryTokens::new(Arc::new(FixedClock))), ())
}

fn memory_key_copies() -> Opened<Arc<dyn KeyCopies>> {
    Opened::new(Arc::new(MemoryKeyCopies::default()), ())
}

fn memory_quotas() -> Opened<Arc<dyn QuotaCounter>> {
    Opened::new(Arc::new(MemoryQuotas::default()), ())
}

fn sqlite_quotas() -> Opened<Arc<dyn QuotaCounter>> {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    Opened::new(tokens.quotas(), (tokens, directory))
}

fn memory_use_marks() -> Opened<Arc<dyn UseMarks>> {
    Opened::new(Arc::new(MemoryUseMarks::new(NOW)), ())
}

fn sqlite_use_marks() -> Opened<Arc<dyn UseMarks>> {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    Opened::new(tokens.use_marks(), (tokens, directory))
}

fn memory_replay_guard() -> Opened<Arc<dyn ReplayGuard>> {
    Opened::new(Arc::new(MemoryReplayGuard::default()), ())
}

fn sqlite_replay_guard() -> Opened<Arc<dyn ReplayGuard>> {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    Opened::new(tokens.replay_guard(), (tokens, directory))
}

fn memory_registry() -> Opened<RegistryPorts> {
    Opened::new(RegistryPorts::of(SqliteRegistry::in_memory().expect("opened")), ())
}

fn sqlite_tokens() -> Opened<TokenPorts> {
    let (tokens, directory) = open_tokens(Durability::OperatingSystem);
    Opened::new(TokenPorts::of(tokens), directory)
}

fn sqlite_tokens_confirmed_by_disk() -> Opened<TokenPorts> {
    let (tokens, directory) = open_tokens(Durability::Disk);
    Opened::new(TokenPorts::of(tokens), directory)
}

fn open_tokens(durability: Durability) -> (SqliteTokens, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    (SqliteTokens::open(&path, durability, Arc::new(FixedClock)).expect("opened"), directory)
}

fn sqlite_registry() -> Opened<RegistryPorts> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    Opened::new(RegistryPorts::of(SqliteRegistry::open(&path).expect("opened")), directory)
}

fn memory_keys() -> Opened<KeyPorts> {
    // There is no second way into memory: every process is this one.
    let registry = Arc::new(SqliteRegistry::in_memory().expect("opened"));
    Opened::new(KeyPorts::opened_by(move || OpenedKeys::of(Arc::clone(&registry))), ())
}

fn sqlite_keys() -> Opened<KeyPorts> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let open = move || OpenedKeys::of(Arc::new(SqliteRegistry::open(&path).expect("opened")));
    Opened::new(KeyPorts::opened_by(open), directory)
}
