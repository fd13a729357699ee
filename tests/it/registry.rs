//! The registry of a local server: how much of the machine strangers can take by asking it, who may read its files, what is left
//! in them of what was removed, and what is said where the system refuses something.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grantwell::core::client::Client;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::published::KeyStatus;
use grantwell::core::keys::set::KeySet;
use grantwell::core::ports::{KeyStore as _, Registrar as _};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemRandom;
use tempfile::TempDir;

use crate::support::beside_current;
use crate::support::cli::{Store, grantwell, grantwell_of_user};
#[cfg(target_os = "linux")]
use crate::support::disk::WatchedDisk;
use crate::support::http::{Connection, Request};
use crate::support::poll;
use crate::support::server::{Server, Start};
use crate::support::shared::STATELESS_JWT;

const CLIENT: [&str; 4] = ["--scope", "a", "--default-scope", "a"];

// --- strangers ---

/// The server remembers a realm and a client for five seconds: the flood is longer, so that both have to be read in it.
#[cfg(target_os = "linux")]
#[test]
fn names_that_nobody_registered_make_no_threads_and_hold_up_nobody_who_is_registered() {
    const STRANGERS: usize = 400;
    const FLOOD: Duration = Duration::from_secs(8);
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let client = store.register("alpha", "known", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    server.token(&client, "a");
    let threads_before = server.threads();

    let (is_over, most_threads) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    let (statuses, slowest) = thread::scope(|scope| {
        let strangers: Vec<_> = (0..STRANGERS)
            .map(|stranger| {
                scope.spawn({
                    let (server, is_over) = (&server, &is_over);
                    move || statuses_of_a_stranger(server, stranger, is_over)
                })
            })
            .collect();
        let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
        while begun.elapsed() < FLOOD {
            let asked = Instant::now();
            let token = server.token(&client, "a");
            server.introspect(&client, &token).assert_active();
            slowest = slowest.max(asked.elapsed());
            most_threads.fetch_max(server.threads(), Ordering::Relaxed);
        }
        is_over.store(true, Ordering::Relaxed);
        let statuses: Vec<HashSet<u16>> =
            strangers.into_iter().map(|stranger| stranger.join().expect("no panic")).collect();
        (statuses, slowest)
    });
    let most_threads = most_threads.into_inner();
    eprintln!(
        "{threads_before} threads, at most {most_threads}; the slowest token and its introspection took {slowest:?}"
    );
    assert!(most_threads <= threads_before + 2, "{most_threads} threads, {threads_before} before");
    let all: HashSet<u16> = statuses.into_iter().flatten().collect();
    assert!(all.is_subset(&[404, 401, 503].into()), "{all:?}");
    assert!(all.contains(&404) && all.contains(&401), "{all:?}");
}

/// Asks for realms and for clients of names that nobody has used before, on one connection, until it is over.
fn statuses_of_a_stranger(server: &Server, stranger: usize, is_over: &AtomicBool) -> HashSet<u16> {
    let mut statuses = HashSet::new();
    let mut connection = Connection::open(server);
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("stranger-{stranger}-{number}");
        let (path, form) = if number % 2 == 0 {
            (format!("/oauth2/realms/root/realms/{name}/access_token"), "grant_type=client_credentials".to_owned())
        } else {
            (
                "/oauth2/realms/root/realms/alpha/access_token".to_owned(),
                format!("client_id={name}&client_secret=wrong"),
            )
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            server.address(),
            form.len()
        );
        connection.send(format!("{head}{form}").as_bytes());
        let answer = connection.answer(true);
        statuses.insert(answer.status);
        // A server may end a connection after a number of requests.
        if answer.header("connection") == Some("close") {
            connection = Connection::open(server);
        }
    }
    statuses
}

// --- what is left of what was removed ---

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_secret_or_a_private_key_that_was_removed_is_left_in_any_file() {
    const ROUNDS: usize = 30;
    let directory = TempDir::new().expect("a directory");
    let data = DataDir::open(&directory.path().join("data")).expect("opened");
    // A server and a command line: the log outlives each change, because one of them always has it open.
    let server = SqliteRegistry::open(&data.registry_path()).expect("opened");
    let command_line = SqliteRegistry::open(&data.registry_path()).expect("opened");
    let mut removed: Vec<(String, Vec<u8>)> = Vec::new();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut deleted_at_last = Vec::new();

    for round in 0..ROUNDS {
        // 1. Secrets: rotated twice, the previous one ended, and of every other client all of them.
        let client = client(&format!("client-{round}"));
        let (realm, id) = (&client.realm, &client.client_id);
        let secrets: Vec<ClientSecret> =
            (0..4).map(|_| ClientSecret::generate(&SystemRandom).expect("random bytes")).collect();
        command_line.register(&client, Some(&secrets[0])).await.expect("registered");
        for secret in &secrets[1..] {
            command_line.rotate_secret(realm, id, &beside_current(secret)).await.expect("rotated");
        }
        let digest = |secret: &ClientSecret| secret.digest().as_bytes().to_vec();
        removed.extend(secrets[..2].iter().map(|secret| (format!("rotated out in round {round}"), digest(secret))));
        match round % 3 {
            0 => {
                command_line.delete(realm, id).await.expect("deleted");
                removed.extend(secrets[2..].iter().map(|secret| (format!("deleted in round {round}"), digest(secret))));
            }
            1 => {
                command_line.revoke_previous_secret(realm, id).await.expect("ended");
                removed.push((format!("ended in round {round}"), digest(&secrets[2])));
                kept.push(digest(&secrets[3]));
            }
            // Removed in the end, when nothing is written after it that would take its place by chance.
            _ if round % 2 == 0 => {
                removed.extend(secrets[2..].iter().map(|secret| (format!("deleted at last: {round}"), digest(secret))));
                deleted_at_last.push(client);
            }
            _ => kept.extend(secrets[2..].iter().map(digest)),
        }

        // 2. Keys: the server rotates them, an operator takes one out.
        let realm: RealmName = format!("realm-{round}").parse().expect("a name");
        let algs = [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa];
        let first = KeySet::create(&algs, UnixSeconds(1_000_000)).expect("keys");
        server.create_keys(&realm, &first).await.expect("created");
        let second = first.rotated(UnixSeconds(2_000_000)).expect("rotated");
        server.replace_keys(&realm, &second).await.expect("replaced");
        let leaked = second.published().keys.into_iter().find(|key| key.status == KeyStatus::Current).expect("a key");
        let third = second.without(&leaked.jwk.kid, UnixSeconds(2_000_001)).expect("taken out");
        command_line.replace_keys(&realm, &third).await.expect("replaced");
        let [first, second, third] = [first, second, third].map(|keys| private_parts(&keys));
        let is_gone = |part: &String| !third.contains(part);
        let gone: Vec<_> = first.union(&second).filter(|part| is_gone(part)).cloned().collect();
        assert!(gone.len() >= 3, "two were rotated out and one was taken out: {gone:?}");
        removed.extend(gone.into_iter().map(|part| (format!("a key of round {round}"), part.into_bytes())));
        kept.extend(third.into_iter().map(String::into_bytes));
    }

    for client in deleted_at_last {
        command_line.delete(&client.realm, &client.client_id).await.expect("deleted");
    }

    let files = files_below(&directory.path().join("data"));
    assert!(files.iter().any(|file| file.ends_with("registry.db-wal")), "the log is there, and looked at: {files:?}");
    let bytes: Vec<(PathBuf, Vec<u8>)> =
        files.into_iter().map(|file| (file.clone(), fs::read(file).expect("read"))).collect();
    let holds = |needle: &[u8]| {
        bytes.iter().find(|(_, bytes)| bytes.windows(needle.len()).any(|window| window == needle)).map(|(file, _)| file)
    };
    assert!(kept.iter().all(|part| holds(part).is_some()), "the search finds what is there");
    let left: Vec<_> = removed.iter().filter_map(|(what, part)| Some((what, holds(part)?))).collect();
    assert!(left.is_empty(), "{} of {} are left: {left:?}", left.len(), removed.len());
    drop((server, command_line));
}

#[test]
fn what_a_command_could_not_erase_it_says_and_a_server_erases_it_within_seconds() {
    let store = Store::new();
    let client = store.register("root", "removed", &CLIENT);
    store.register("root", "kept", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    server.token(&client, "a");
    let reader = rusqlite::Connection::open(store.directory().join("registry.db")).expect("the registry");
    let digest: Vec<u8> = reader
        .query_row("SELECT current_sha256 FROM client_secrets WHERE client_id = 'removed'", [], |row| row.get(0))
        .expect("a digest");
    // In a process of its own: to close a file here would end the locks of the reader (POSIX).
    let is_left = || {
        let files = files_below(store.directory());
        let bytes = Command::new("cat").args(files).stderr(Stdio::null()).output().expect("cat runs").stdout;
        bytes.windows(32).any(|part| part == digest)
    };
    let warning = "warning: what was removed can still be read in";

    // 1. Somebody reads.
    reader.execute_batch("BEGIN; SELECT count(*) FROM clients").expect("reads");
    let deleted = store.run_with_input(&["client", "delete", "removed"], "");
    let stderr = String::from_utf8_lossy(&deleted.stderr);
    assert!(deleted.status.success() && stderr.contains(warning), "{deleted:?}");
    assert!(is_left(), "the search finds what is there");
    thread::sleep(Duration::from_secs(6));
    assert!(is_left(), "somebody reads it");

    // 2. Nobody does any more. Nobody does anything else either.
    reader.execute_batch("ROLLBACK").expect("begun above");
    poll("it is erased", Duration::from_secs(15), || (!is_left()).then_some(()));
    let rotated = store.run_with_input(&["client", "rotate-secret", "kept"], "");
    assert!(rotated.status.success() && rotated.stderr.is_empty(), "{rotated:?}");
}

/// What of a set is told to nobody: the texts that are long enough for a key and not among the published ones.
fn private_parts(keys: &KeySet) -> HashSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_+/".contains(c);
    let texts = |json: &str| json.split(|c| !is_part(c)).filter(|text| text.len() >= 40).map(str::to_owned).collect();
    let (all, public): (HashSet<String>, HashSet<String>) =
        (texts(&keys.to_json().expect("JSON")), texts(&serde_json::to_string(&keys.published()).expect("JSON")));
    all.difference(&public).cloned().collect()
}

fn client(id: &str) -> Client {
    let registration = RegistrationId::generate(&SystemRandom).expect("random bytes");
    let (id, realm) = (id.parse().expect("an id"), Realm::new(RealmName::root()));
    Client::register(id, &realm, ClientMetadata::new(), registration, UnixSeconds(1)).expect("valid")
}

/// A build before this one removed without overwriting.
#[test]
fn what_a_build_before_left_in_the_file_is_gone_when_its_schema_is_brought_up() {
    let store = Store::new();
    fs::create_dir(store.directory()).expect("ours");
    fs::set_permissions(store.directory(), Permissions::from_mode(0o700)).expect("ours");
    let path = store.directory().join("registry.db");
    let canary = "a-private-key-that-was-taken-out-long-ago";
    let old = rusqlite::Connection::open(&path).expect("a new file");
    old.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA secure_delete = OFF;
         CREATE TABLE realms (name TEXT PRIMARY KEY, settings TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
         CREATE TABLE clients (realm TEXT NOT NULL, client_id TEXT NOT NULL, registration TEXT NOT NULL,
             revision INTEGER NOT NULL, PRIMARY KEY (realm, client_id)) STRICT;
         CREATE TABLE client_secrets (realm TEXT NOT NULL, client_id TEXT NOT NULL, current_sha256 BLOB NOT NULL,
             previous_sha256 BLOB, PRIMARY KEY (realm, client_id),
             FOREIGN KEY (realm, client_id) REFERENCES clients (realm, client_id) ON DELETE CASCADE) STRICT;
         CREATE TABLE signing_keys (realm TEXT PRIMARY KEY, private_jwks TEXT NOT NULL, public_jwks TEXT NOT NULL,
             revision INTEGER NOT NULL) STRICT;
         PRAGMA user_version = 2;
         INSERT INTO signing_keys VALUES ('alpha', '{canary}', '', 1);
         DELETE FROM signing_keys;"
    ))
    .expect("a registry of version 2");
    drop(old);
    let holds = || {
        files_below(store.directory())
            .iter()
            .any(|file| fs::read(file).expect("read").windows(canary.len()).any(|window| window == canary.as_bytes()))
    };
    assert!(holds(), "the search finds what is there");
    store.run(&["client", "list"]);
    assert!(!holds(), "the key is still to be read");
}

// --- whose the files are ---

#[test]
fn every_file_of_the_data_directory_is_its_owners_alone_also_one_that_was_not() {
    let store = Store::new();
    let client = store.register("root", "known", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    server.token(&client, "a");
    assert_private(store.directory());
    drop(server);

    let registry = store.directory().join("registry.db");
    let copy = store.directory().join("copy-of-registry.db");
    fs::copy(&registry, &copy).expect("copied");
    for file in [&registry, &copy] {
        fs::set_permissions(file, Permissions::from_mode(0o644)).expect("ours");
    }
    store.run(&["client", "list"]);
    assert_private(store.directory());
    let server = Start::on(&store.argument()).spawn();
    server.token(&client, "a");
    assert_private(store.directory());
}

#[track_caller]
fn assert_private(directory: &Path) {
    let files = files_below(directory);
    assert!(files.len() > 1, "{files:?}");
    for file in files {
        let mode = fs::metadata(&file).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn a_symbolic_link_in_the_place_of_a_file_is_refused_and_what_it_points_to_stays_as_it_is() {
    for name in ["registry.db", "registry.db-wal", "registry.db-shm", "tokens"] {
        for target_exists in [true, false] {
            let store = Store::new();
            store.register("root", "known", &CLIENT);
            let link = store.directory().join(name);
            let target = store.directory().with_file_name("elsewhere");
            if link.exists() {
                fs::rename(&link, &target).expect("moved");
            } else {
                fs::write(&target, "elsewhere").expect("written");
            }
            let before = fs::read(&target).ok();
            if !target_exists {
                fs::remove_file(&target).expect("ours");
            }
            symlink(&target, &link).expect("linked");

            let list = store.run_with_input(&["client", "list"], "");
            let create = store.run_with_input(&["client", "create", "--id", "second"], "");
            let serve = Start::on(&store.argument()).expect_refusal();
            for refused in [list, create, serve] {
                assert_sentence(
                    &refused,
                    &["is not a regular file", "a symbolic link in a data directory is not followed"],
                );
            }
            assert_eq!(fs::read(&target).ok(), before.filter(|_| target_exists), "{name}");
        }
    }
}

#[test]
fn a_data_directory_may_itself_be_named_by_a_symbolic_link() {
    let store = Store::new();
    store.register("root", "known", &CLIENT);
    let link = store.directory().with_file_name("link");
    symlink(store.directory(), &link).expect("linked");
    let through = Store::at(link);
    assert!(through.run(&["client", "list"]).contains("known"));
}

#[test]
fn a_directory_or_a_file_of_another_user_is_refused() {
    const NOBODY: u32 = 65_534;
    let store = Store::new();
    store.register("root", "known", &CLIENT);
    let (directory, registry) = (store.directory().to_owned(), store.directory().join("registry.db"));
    let refused = |path: &str, owner: u32, way_out: &str| {
        let list =
            Command::new(grantwell().get_program()).args(["client", "list", "--store", path]).output().expect("runs");
        let serve = Start::on(path).expect_refusal();
        for refused in [list, serve] {
            assert_sentence(&refused, &[&format!("belongs to the user with the id {owner}"), way_out]);
        }
    };
    if !is_root() {
        return refused("file:/", 0, "run grantwell as its owner");
    }
    chown(&directory, Some(NOBODY), None).expect("root may");
    refused(&store.argument(), NOBODY, "run grantwell as its owner");
    // Of a file in a directory that is ours, to run as its owner is no way out: the directory is not theirs.
    chown(&directory, Some(0), None).expect("root may");
    chown(&registry, Some(NOBODY), None).expect("root may");
    refused(&store.argument(), NOBODY, &format!("run: sudo chown 0 '{}'", registry.display()));
}

#[test]
fn what_is_no_directory_is_called_so() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("written");
    for path in [file.clone(), file.join("below")] {
        let place = format!("file:{}", path.display());
        let mut create = grantwell();
        create.args(["client", "create", "--id", "a", "--scope", "a", "--store", &place]);
        let refused = [ended(create), Start::on(&place).expect_refusal()];
        for refused in refused {
            let sentence = format!("{} is not a directory; name one with --store file:DIR", path.display());
            assert_sentence(&refused, &[&sentence]);
            assert!(!String::from_utf8_lossy(&refused.stderr).contains("system's log"), "{refused:?}");
        }
    }
}

// --- what the system refuses ---

#[test]
fn a_missing_permission_is_named_and_never_taken_for_a_registry_that_is_not_there_or_damaged() {
    let home = TempDir::with_prefix("grantwell-it-").expect("a directory");
    let data = home.path().join("data");
    let copy = TempDir::with_prefix("grantwell-it-").expect("a directory");
    let as_somebody = |arguments: &[&str]| {
        // Root may do everything.
        let mut command = if is_root() { grantwell_of_user(65_534, copy.path()) } else { grantwell() };
        command.args(arguments).args(["--store", &format!("file:{}", data.display())]).current_dir("/");
        ended(command)
    };
    if is_root() {
        chown(home.path(), Some(65_534), Some(65_534)).expect("root may");
    }
    let created = as_somebody(&["client", "create", "--id", "known"]);
    assert!(created.status.success(), "{created:?}");

    let parent = home.path().to_owned();
    for (path, mode) in [
        (&data.join("registry.db"), 0o000),
        (&data.join("registry.db"), 0o400),
        (&data, 0o000),
        (&data, 0o500),
        (&data, 0o600),
        (&parent, 0o000),
    ] {
        let before = fs::metadata(path).expect("there").permissions();
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
        let refused: Vec<Output> = [
            &["client", "list"][..],
            &["client", "create", "--id", "second"],
            &["realm", "show", "root"],
            &["key", "rotate"],
            &["serve", "--listen", "127.0.0.1:0"],
        ]
        .map(as_somebody)
        .into();
        fs::set_permissions(path, before).expect("ours");
        for refused in refused {
            assert_sentence(&refused, &["permission denied; run grantwell as the owner of the directory"]);
        }
    }
    let list = as_somebody(&["client", "list"]);
    assert!(list.status.success(), "{list:?}");
}

#[test]
fn too_few_descriptors_are_named() {
    let store = Store::new();
    store.register("root", "known", &CLIENT);
    let mut named = 0;
    for limit in 5..=40 {
        let mut command = Command::new("sh");
        let line = format!(r#"ulimit -n {limit}; exec "$0" "$@""#);
        command.args(["-c", &line]).arg(grantwell().get_program()).args([
            "client",
            "list",
            "--store",
            &store.argument(),
        ]);
        let ended = command.output().expect("sh runs");
        if !ended.status.success() {
            assert_sentence(&ended, &["no file descriptor is left; raise the limit (ulimit -n)"]);
            named += 1;
        }
    }
    assert!((1..30).contains(&named), "{named} limits were too low");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_the_registry_writes_again_when_there_is_space() {
    let store = Store::new();
    let client = store.register("root", "known", &[&CLIENT[..], &STATELESS_JWT].concat());
    let disk = WatchedDisk::new();
    let no_space = "no space is left on the disk; free some space and try again";
    let run = |arguments: &[&str]| {
        let mut command = grantwell();
        command.args(arguments).args(["--store", &store.argument()]).envs(disk.environment());
        ended(command)
    };

    // 1. A running server: the first JWT needs a key, which cannot be written. What is there is read.
    let start = disk
        .environment()
        .into_iter()
        .fold(Start::on(&store.argument()), |start, (name, value)| start.environment(name, &value));
    let server = start.spawn();
    disk.begin("full");
    for _ in 0..3 {
        server.token_request(&client, "").assert_refused(503, "temporarily_unavailable");
    }
    poll("the cause is in the log", Duration::from_secs(20), || {
        server.stderr().contains("the registry is unavailable: no space is left on the disk").then_some(())
    });
    server.token_request(&client.with_secret("wrong"), "").assert_401("root");

    // 2. The command line beside it.
    assert_sentence(&run(&["client", "create", "--id", "second"]), &[no_space]);
    assert_sentence(&run(&["key", "rotate"]), &[no_space]);
    assert!(run(&["client", "list"]).status.success());

    // 3. There is space again: no restart, no operator.
    disk.end("full");
    server.token_request(&client, "").assert_granted("a");
    assert!(run(&["client", "create", "--id", "second"]).status.success());
    drop(server);

    // 4. With nothing else running, the log has to be made anew.
    disk.begin("full");
    assert_sentence(&run(&["client", "create", "--id", "third"]), &[no_space]);
    assert_sentence(&run(&["serve", "--listen", "127.0.0.1:0"]), &["no space is left on the disk"]);
    let list = run(&["client", "list"]);
    if !list.status.success() {
        assert_sentence(&list, &[no_space]);
    }
    disk.end("full");
    assert!(run(&["client", "create", "--id", "third"]).status.success());
}

#[test]
fn only_what_is_damaged_is_to_be_restored_from_a_backup() {
    let store = Store::new();
    store.register("root", "known", &CLIENT);
    fs::write(
        store.directory().join("registry.db"),
        "no database, and long enough to be looked at as one ".repeat(200),
    )
    .expect("written");
    for refused in [store.run_with_input(&["client", "list"], ""), Start::on(&store.argument()).expect_refusal()] {
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{refused:?}");
        assert!(stderr.contains("is damaged") && stderr.contains("restore it from a backup"), "{stderr}");
    }
}

// --- what happens to the file while a server has it ---

/// Longer than a server remembers clients, and looks whether the file is the same.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

#[track_caller]
fn wait_for_health(server: &Server, status: u16, cause: &str) {
    poll(cause, NOTICED_WITHIN, || {
        let answer = Request::new("GET", "/health/ready").send(server);
        (answer.status == status && String::from_utf8_lossy(&answer.body).contains(cause)).then_some(())
    });
}

#[test]
fn a_registry_that_takes_the_place_of_another_is_the_one_that_a_running_server_uses() {
    let store = Store::new();
    let (registry, away) = (store.directory().join("registry.db"), store.directory().join("away"));
    let old = store.register("root", "old", &CLIENT);
    let backup = fs::read(&registry).expect("nobody has it open, so it is all in the file");
    let new = store.register("root", "new", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    server.token(&new, "a");
    wait_for_health(&server, 200, "ready");

    // 1. Moved away, it is missed, and no other is made in its place.
    fs::rename(&registry, &away).expect("moved");
    wait_for_health(&server, 503, r#"{"store":"registry","cause":"missing"}"#);
    poll("what was remembered is forgotten", NOTICED_WITHIN, || {
        (server.token_request(&new, "").status == 503).then_some(())
    });
    for command in [&["client", "list"][..], &["client", "create", "--id", "third"], &["realm", "set", "alpha"]] {
        let refused = store.run_with_input(command, "");
        assert_sentence(&refused, &["registry.db was moved away or removed", "; put it back, or stop the server"]);
    }
    assert!(!registry.exists());

    // 2. Put back, it is used again.
    fs::rename(&away, &registry).expect("moved");
    wait_for_health(&server, 200, "ready");
    server.token(&new, "a");

    // 3. Another one in its place is the one that commands change and the server asks.
    fs::rename(&registry, &away).expect("moved");
    fs::write(&registry, &backup).expect("written");
    poll("who is not in it is unknown", NOTICED_WITHIN, || {
        (server.token_request(&new, "").status == 401).then_some(())
    });
    wait_for_health(&server, 200, "ready");
    server.token(&old, "a");
    store.run(&["client", "disable", "old"]);
    poll("who is disabled gets nothing", NOTICED_WITHIN, || {
        (server.token_request(&old, "").status == 401).then_some(())
    });
    store.run(&["client", "enable", "old"]);
    poll("who is enabled gets something", NOTICED_WITHIN, || {
        (server.token_request(&old, "").status == 200).then_some(())
    });
    let log = server.stderr();
    assert!(log.contains("the registry cannot be used: the file was moved away or removed; put it back"), "{log}");
    assert!(log.contains("registry.db has been replaced by another file"), "{log}");
    drop(server);
    let check = rusqlite::Connection::open(&registry).expect("the registry");
    let is_whole: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(is_whole, "ok");
}

#[test]
fn damage_that_is_repaired_is_over_without_a_restart() {
    let store = Store::new();
    let client = store.register("root", "known", &CLIENT);
    let registry = store.directory().join("registry.db");
    let server = Start::on(&store.argument()).spawn();
    server.token(&client, "a");
    wait_for_health(&server, 200, "ready");
    poll("the log is empty", NOTICED_WITHIN, || {
        (fs::metadata(store.directory().join("registry.db-wal")).expect("a log").len() == 0).then_some(())
    });
    let write = |bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().write(true).open(&registry).expect("in place");
        std::io::Write::write_all(&mut file, bytes).expect("written");
    };
    let whole = fs::read(&registry).expect("read");
    write(&"nothing that anybody has written ".repeat(whole.len() / 33 + 1).as_bytes()[..whole.len()]);
    let stranger = client.with_secret("wrong");
    poll("the damage is noticed", NOTICED_WITHIN, || {
        let _any = server.token_request(&stranger, "");
        (Request::new("GET", "/health/ready").send(&server).status == 503).then_some(())
    });
    thread::sleep(Duration::from_secs(3));
    write(&whole);
    wait_for_health(&server, 200, "ready");
    thread::sleep(Duration::from_secs(1));
    for _ in 0..20 {
        server.token_request(&client, "").assert_granted("a");
        thread::sleep(Duration::from_millis(300));
    }
}

/// What a command left behind that has to end by itself.
#[track_caller]
fn ended(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let until = Instant::now() + Duration::from_mins(1);
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > until {
            let _gone = child.kill();
            panic!("it does not end: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

/// One sentence on stderr that has these parts, nothing on stdout, and no advice that would be wrong.
#[track_caller]
fn assert_sentence(refused: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code().is_some_and(|code| code != 0) && refused.stdout.is_empty(), "{refused:?}");
    let sentence = stderr.lines().last().unwrap_or_default();
    assert!(
        sentence.starts_with("error: ") && parts.iter().all(|part| sentence.contains(part)),
        "{parts:?} in {stderr}"
    );
    for wrong in ["backup", "there is no registry", "there is no data directory", "panicked"] {
        assert!(!stderr.contains(wrong), "{wrong:?} in {stderr}");
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}
