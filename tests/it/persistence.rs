//! JWTs that are stored and JWTs that are not: what rows I-*, V-* of docs/protocol-cases.md say of a token holds for both.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::cli::{Registered, Store};
use crate::support::http::{Answer, Request};
use crate::support::jwt::parts;
use crate::support::server::{Server, Start};
use crate::support::shared::{ALPHA, STATELESS_JWT, STORED_JWT, shared};
use crate::support::{NOTICED_WITHIN, poll};

/// A stateless token is issued once the second in which the store was made is over.
const STORE_AGED_WITHIN: Duration = Duration::from_secs(10);
const SCOPE: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
const FORMS: [(&str, [&str; 4]); 2] = [("stored", STORED_JWT), ("stateless", STATELESS_JWT)];

fn apps() -> [&'static Registered; 2] {
    [&shared().stored_app, &shared().stateless_app]
}

/// A client of its own for each form.
fn clients(realm: &str, id: &str) -> Vec<Registered> {
    let register = |(name, form): (&str, [&str; 4])| {
        shared().store.register(realm, &format!("{id}-{name}"), &[&SCOPE[..], &form].concat())
    };
    FORMS.into_iter().map(register).collect()
}

fn issue(client: &Registered) -> String {
    shared().server.jwt(client, "a", "")
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    answer.assert_common();
}

#[test]
fn v_01_v_02_i_12_a_revoked_token_is_inactive_in_the_next_answer_and_no_other_is() {
    let shared = shared();
    for app in apps() {
        let kept = issue(app);
        for _ in 0..20 {
            let token = issue(app);
            // Asked before, so that a cache of positive answers would show.
            shared.server.introspect(&shared.resource_server, &token).assert_active();
            assert_done(&shared.server.revoke(app, &token));
            for caller in [app, &shared.resource_server, &shared.any_realm_server] {
                shared.server.introspect(caller, &token).assert_inactive();
            }
            assert_done(&shared.server.revoke(app, &token));
            shared.server.introspect(app, &token).assert_inactive();
        }
        shared.server.introspect(app, &kept).assert_active();
    }
}

#[test]
fn v_03_another_clients_token_is_refused_and_stays_active() {
    let shared = shared();
    for app in apps() {
        let token = issue(app);
        for caller in [&shared.other, &shared.resource_server] {
            shared.server.revoke(caller, &token).assert_400("invalid_request");
            shared.server.introspect(app, &token).assert_active();
        }
        // To a client of another realm it is no token at all: no key of that realm has signed it.
        for caller in [&shared.root_app, &shared.beta_app, &shared.any_realm_server] {
            assert_done(&shared.server.revoke(caller, &token));
            shared.server.introspect(app, &token).assert_active();
        }
        assert_done(&shared.server.revoke(app, &token));
        shared.server.introspect(app, &token).assert_inactive();
    }
}

#[test]
fn v_04_v_05_a_hint_changes_nothing_and_a_token_is_named_once() {
    let shared = shared();
    let path = format!("{ALPHA}/token/revoke");
    for app in apps() {
        for hint in ["", "access_token", "refresh_token", "canary", "%E2%82%AC"] {
            let token = issue(app);
            let form = format!("token_type_hint={hint}&token={token}");
            assert_done(&Request::form(&path, form).by(app).send(&shared.server));
            shared.server.introspect(app, &token).assert_inactive();
        }
        let token = issue(app);
        for form in [format!("token={token}&token={token}"), "token=".to_owned(), String::new()] {
            Request::form(&path, form).by(app).send(&shared.server).assert_400("invalid_request");
        }
        shared.server.introspect(app, &token).assert_active();
    }
}

#[test]
fn v_08_i_04_a_caller_who_is_not_authenticated_learns_and_ends_nothing() {
    let shared = shared();
    for app in apps() {
        let token = issue(app);
        for endpoint in ["token/revoke", "introspect"] {
            let request = Request::form(&format!("{ALPHA}/{endpoint}"), format!("token={token}"));
            request.send(&shared.server).assert_401("alpha");
            request.clone().by(&app.with_secret("wrong")).send(&shared.server).assert_401("alpha");
            request.header("Authorization", format!("Bearer {token}")).send(&shared.server).assert_401("alpha");
        }
        shared.server.introspect(app, &token).assert_active();
    }
}

#[test]
fn v_01_of_many_who_revoke_at_once_all_succeed() {
    let shared = shared();
    for app in apps() {
        let token = issue(app);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_done(&shared.server.revoke(app, &token)));
            }
        });
        shared.server.introspect(app, &token).assert_inactive();
    }
}

#[test]
fn i_05_who_may_introspect_a_jwt() {
    let shared = shared();
    let beta_server = shared.store.register("beta", "i05-jwt-rs", &["--scope", "am-introspect-all-tokens"]);
    let everywhere = ["--scope", "am-introspect-all-tokens-any-realm"];
    let beta_any_realm = shared.store.register("beta", "i05-jwt-any-realm", &everywhere);
    let beta_clients = clients("beta", "i05-jwt");
    for app in apps() {
        let token = issue(app);
        for caller in [app, &shared.resource_server, &shared.any_realm_server, &beta_any_realm] {
            let facts = shared.server.introspect(caller, &token).assert_active();
            assert_eq!((&facts["realm"], &facts["client_id"]), (&"/alpha".into(), &app.client_id.as_str().into()));
        }
        for caller in [&shared.other, &shared.beta_app, &shared.root_app, &beta_server] {
            shared.server.introspect(caller, &token).assert_inactive();
        }
    }
    for client in &beta_clients {
        // A token of another realm is inactive at alpha to everybody but who may see every realm's.
        let token = issue(client);
        for caller in [&shared.resource_server, &shared.stored_app, &shared.root_app] {
            shared.server.introspect(caller, &token).assert_inactive();
        }
        for caller in [client, &beta_server, &beta_any_realm, &shared.any_realm_server] {
            assert_eq!(shared.server.introspect(caller, &token).assert_active()["realm"], "/beta");
        }
    }
}

#[test]
fn i_13_tokens_of_a_disabled_client_are_inactive() {
    let shared = shared();
    for client in &clients("alpha", "i13-jwt-disabled") {
        let token = issue(client);
        shared.server.introspect(&shared.resource_server, &token).assert_active();
        shared.store.client("disable", client, &[]);
        shared.server.wait_until_inactive("its tokens are inactive", &shared.resource_server, &token);
        shared.server.wait_until_refused("the client is refused", client);
    }
}

#[test]
fn i_13_tokens_of_a_deleted_client_are_inactive_and_stay_so_for_its_successor() {
    let shared = shared();
    for (name, form) in FORMS {
        let (id, settings) = (format!("i13-jwt-{name}"), [&SCOPE[..], &form].concat());
        // From the start of a second, so that all steps fall into it.
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        thread::sleep(Duration::from_secs(now.as_secs() + 1).saturating_sub(now));
        let client = shared.store.register("alpha", &id, &settings);
        let token = issue(&client);
        shared.store.client("delete", &client, &[]);
        let successor = shared.store.register("alpha", &id, &settings);
        shared.server.wait_until_granted("the successor is let in", &successor, "");
        shared.server.wait_until_inactive("the predecessor's token", &shared.resource_server, &token);
        shared.server.introspect(&successor, &token).assert_inactive();
        assert_done(&shared.server.revoke(&successor, &token));
        let own = issue(&successor);
        shared.server.introspect(&shared.resource_server, &own).assert_active();
    }
}

#[test]
fn i_11_revoking_all_tokens_of_a_client_or_a_realm_ends_those_issued_before() {
    let shared = shared();
    shared.store.set_realm("i11-jwt", &[]);
    let (of_client, of_realm) = (clients("alpha", "i11-jwt"), clients("i11-jwt", "i11-jwt"));
    let kept: Vec<_> = apps().into_iter().map(|app| (app, issue(app))).collect();
    let issued: Vec<_> = of_client.iter().chain(&of_realm).map(|client| (client, issue(client))).collect();
    for (client, token) in &issued {
        shared.server.introspect(client, token).assert_active();
    }
    for client in &of_client {
        shared.store.client("update", client, &["--revoke-tokens"]);
    }
    shared.store.set_realm("i11-jwt", &["--revoke-tokens"]);
    for (client, token) in &issued {
        shared.server.wait_until_inactive("tokens issued before", client, token);
        poll("a token issued afterwards is active", NOTICED_WITHIN, || {
            let answer = shared.server.token_request(client, "");
            let token = (answer.status == 200).then(|| answer.assert_granted("a"))?;
            (shared.server.introspect(client, &token).json()["active"] == true).then_some(())
        });
        shared.server.introspect(client, token).assert_inactive();
    }
    for (app, token) in &kept {
        shared.server.introspect(app, token).assert_active();
    }
}

#[test]
fn losing_the_tokens_ends_them_all_and_brings_none_back() {
    let store = Store::new();
    let clients: Vec<_> =
        FORMS.into_iter().map(|(name, form)| store.register("root", name, &[&SCOPE[..], &form].concat())).collect();
    let mut server = Start::on(&store.argument()).spawn();
    let stored = server.jwt(&clients[0], "a", "");
    let [kept, revoked] = [(); 2].map(|()| stateless_jwt(&server, &clients[1]));
    assert_eq!(server.revoke(&clients[1], &revoked).status, 200);
    server.introspect(&clients[1], &kept).assert_active();
    server.kill();
    // As if the tokens were lost, or a point-in-time restore had brought back an older table.
    for file in ["tokens.db", "tokens.db-wal", "tokens.db-shm"] {
        std::fs::remove_file(store.directory().join(file)).expect("a file of the token database");
    }
    let server = Start::on(&store.argument()).spawn();
    server.introspect(&clients[0], &stored).assert_inactive();
    for token in [&kept, &revoked] {
        server.introspect(&clients[1], token).assert_inactive();
    }
    server.introspect(&clients[1], &stateless_jwt(&server, &clients[1])).assert_active();
}

/// Everything that a directory has in it, as an operator copies it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    fs::set_permissions(to, Permissions::from_mode(0o700)).expect("it is ours");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

const RESTORED: &str = "tokens.db is not as the last server on this directory left it";

/// A store with an opaque token and a stateless one that were kept, and two that are revoked after `backup` of it was made.
fn with_tokens_revoked_after(backup: &dyn Fn(&Path)) -> (Store, [Registered; 2], [String; 4]) {
    let store = Store::new();
    let opaque = store.register("root", "opaque", &SCOPE);
    let stateless = store.register("root", "stateless", &[&SCOPE[..], &STATELESS_JWT].concat());
    let server = Start::on(&store.argument()).spawn();
    let [opaque_kept, opaque_revoked] = [(); 2].map(|()| server.token(&opaque, "a"));
    let [stateless_kept, stateless_revoked] = [(); 2].map(|()| stateless_jwt(&server, &stateless));
    stop(server);
    backup(store.directory());
    let server = Start::on(&store.argument()).spawn();
    assert!(!server.stderr().contains(RESTORED), "{}", server.stderr());
    for (client, token) in [(&opaque, &opaque_revoked), (&stateless, &stateless_revoked)] {
        assert_done(&server.revoke(client, token));
        server.introspect(client, token).assert_inactive();
    }
    for (client, token) in [(&opaque, &opaque_kept), (&stateless, &stateless_kept)] {
        server.introspect(client, token).assert_active();
    }
    stop(server);
    (store, [opaque, stateless], [opaque_kept, opaque_revoked, stateless_kept, stateless_revoked])
}

#[test]
fn a_restored_token_database_brings_no_token_back() {
    let backup = tempfile::TempDir::new().expect("a directory");
    let saved = backup.path().join("saved");
    let restore_directory = |data: &Path| {
        fs::remove_dir_all(data).expect("removed");
        copy(&saved, data);
    };
    // The inode may be the one that has just become free.
    let restore_file = |data: &Path| {
        fs::remove_file(data.join("tokens.db")).expect("removed");
        fs::copy(saved.join("tokens.db"), data.join("tokens.db")).expect("copied");
    };
    let write_over = |data: &Path| {
        fs::copy(saved.join("tokens.db"), data.join("tokens.db")).expect("copied");
    };
    let restores: [&dyn Fn(&Path); 3] = [&restore_directory, &restore_file, &write_over];
    for restore in restores {
        let _none_before = fs::remove_dir_all(&saved);
        let (store, clients, tokens) = with_tokens_revoked_after(&|data| copy(data, &saved));
        restore(store.directory());
        // The next start has no reason to say it again, and knows it all the same.
        for is_told in [true, false] {
            let server = Start::on(&store.argument()).spawn();
            for (number, token) in tokens.iter().enumerate() {
                server.introspect(&clients[number / 2], token).assert_inactive();
            }
            assert_eq!(server.stderr().contains(RESTORED), is_told, "{}", server.stderr());
            server.introspect(&clients[0], &server.token(&clients[0], "a")).assert_active();
            server.introspect(&clients[1], &stateless_jwt(&server, &clients[1])).assert_active();
            stop(server);
        }
    }
}

#[test]
fn a_token_database_that_is_the_same_keeps_its_tokens_wherever_its_directory_is() {
    let (store, clients, tokens) = with_tokens_revoked_after(&|_| ());
    let elsewhere = Store::at(store.directory().with_file_name("elsewhere"));
    fs::rename(store.directory(), elsewhere.directory()).expect("moved");
    for _ in 0..2 {
        let mut server = Start::on(&elsewhere.argument()).spawn();
        for (number, token) in tokens.iter().enumerate() {
            let answer = server.introspect(&clients[number / 2], token);
            if number % 2 == 0 { drop(answer.assert_active()) } else { answer.assert_inactive() }
        }
        assert!(!server.stderr().contains(RESTORED), "{}", server.stderr());
        server.kill();
    }
}

#[test]
fn a_new_store_issues_no_token_that_it_would_not_honour() {
    let store = Store::new();
    let client = store.register("root", "stateless", &[&SCOPE[..], &STATELESS_JWT].concat());
    let server = Start::on(&store.argument()).spawn();
    // In the store's first second there is a record of it.
    poll("a token without a record", STORE_AGED_WITHIN, || {
        let token = server.jwt(&client, "a", "");
        server.introspect(&client, &token).assert_active();
        is_stateless(&token).then_some(())
    });
}

/// A token that is stored nowhere. In a new store's first second there is none.
fn stateless_jwt(server: &Server, client: &Registered) -> String {
    poll("a token without a record", STORE_AGED_WITHIN, || {
        Some(server.jwt(client, "a", "")).filter(|token| is_stateless(token))
    })
}

fn is_stateless(token: &str) -> bool {
    let (_, claims) = parts(token);
    claims["jti"].as_str().expect("text").starts_with("stateless.")
}
