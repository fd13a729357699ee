//! What an operator would otherwise find out when something does not work: each is a sentence on stderr, and the command succeeds.

use std::fs;

use serde_json::json;

use super::operator::{CREATE, Ended, Operator, files};

fn says(ended: &Ended, sentence: &str) {
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(sentence), "expected {sentence:?} in:\n{}", ended.stderr);
}

fn says_nothing(ended: &Ended) {
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_client_that_can_never_get_a_token_is_told_so_when_that_begins_and_when_it_is_looked_at() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    let alpha = |arguments: &[&str]| operator.run(&[&["client"], arguments, &["--realm", "alpha"]].concat());
    let none = "warning: client 'c' cannot get a token: it has no scope; give it one with `grantwell client update c --scope \
                SCOPE --realm alpha`\n";
    assert_eq!(alpha(&["create", "--id", "c"]).stderr, none);
    assert_eq!(alpha(&["show", "c"]).stderr, none);
    says_nothing(&alpha(&["update", "c", "--name", "n"]));
    says_nothing(&alpha(&["update", "c", "--scope", "read write"]));
    says_nothing(&alpha(&["show", "c"]));

    let grant = "client_credentials is not among its grant types; add it with `grantwell client update c --grant-type client_credentials";
    says(&alpha(&["update", "c", "--grant-type", "none"]), grant);
    says(&alpha(&["update", "c", "--scope", ""]), "it has no scope; give it one with");
    says(&alpha(&["show", "c"]), grant);
    says_nothing(&alpha(&["update", "c", "--grant-type", "client_credentials", "--scope", "read"]));

    operator.json(&["realm", "set", "alpha", "--grant-type", "none"]);
    says(
        &alpha(&["show", "c"]),
        "its realm does not allow the grant type client_credentials; allow it with `grantwell realm set alpha",
    );
    operator.json(&["realm", "set", "alpha", "--grant-type", "", "--allowed-scope", "other"]);
    says(&alpha(&["show", "c"]), "its realm allows none of its scopes; see them with `grantwell realm show alpha`");
    operator.json(&["realm", "set", "alpha", "--allowed-scope", ""]);
    alpha(&["disable", "c"]);
    says(&alpha(&["show", "c"]), "it is disabled; enable it with `grantwell client enable c --realm alpha`");
}

#[test]
fn a_realm_that_takes_scopes_from_clients_says_from_how_many_and_from_whom() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    let limit = |scope: &str| operator.run(&["realm", "set", "alpha", "--allowed-scope", scope]);
    says_nothing(&limit("read write admin"));
    for (id, scope) in [("a", "read"), ("b", "read write"), ("c", "write"), ("d", "write"), ("e", "write admin")] {
        operator.json(&["client", "create", "--realm", "alpha", "--id", id, "--scope", scope]);
    }
    says_nothing(&limit("admin read write more"));
    assert_eq!(
        limit("read write").stderr,
        "warning: 1 client of realm 'alpha' can no longer be granted all the scopes that it is registered for: 'e'\n"
    );
    assert_eq!(
        limit("read").stderr,
        "warning: 4 clients of realm 'alpha' can no longer be granted all the scopes that they are registered for: 'b', 'c', \
         'd' and 1 more\n"
    );
    let unchanged = "note: nothing was changed: realm 'alpha' already has the values that were given\n";
    assert_eq!(limit("read").stderr, unchanged, "of the clients it was said before");
    says_nothing(&limit(""));
}

#[test]
fn a_realm_that_lets_no_client_get_a_token_says_so_when_that_begins() {
    let operator = Operator::with_client();
    let set = |arguments: &[&str]| operator.run(&[&["realm", "set", "root"], arguments].concat());
    let sentence = "warning: no client of realm 'root' can get a token: client_credentials is not among the realm's grant types; allow \
                    it with `grantwell realm set root --grant-type client_credentials`\n";
    says(&set(&["--grant-type", "none"]), sentence);
    says_nothing(&set(&["--default-scope", "read"]));
    says_nothing(&set(&["--grant-type", "client_credentials"]));
    let other = ["--grant-type", "authorization_code"];
    says(&set(&other), "warning: this server implements only client_credentials; 'authorization_code' is recorded");
    says_nothing(&set(&[&other[..], &["--grant-type", "client_credentials"]].concat()));
    says(&set(&other), sentence);
    says_nothing(&set(&["--grant-type", ""]));
}

#[test]
fn a_scope_that_is_probably_a_mistake_is_taken_with_a_warning() {
    let operator = Operator::with_client();
    let update = |scope: &str| operator.run(&["client", "update", "myClient", "--scope", scope]);
    says(
        &update("am-introspect-all"),
        "warning: the scope 'am-introspect-all' does not allow introspection; the scopes that do are am-introspect-all-tokens and \
         am-introspect-all-tokens-any-realm\n",
    );
    says_nothing(&update("am-introspect-all am-introspect-all-tokens am-introspect-all-tokens-any-realm"));
    says(
        &update("read,write"),
        "warning: 'read,write' is one scope with a comma in its name; if you mean several, separate them by spaces: 'read \
         write'\n",
    );
    says_nothing(&operator.run(&["client", "update", "myClient", "--name", "n"]));
    // No option is named: which one it was differs.
    says(
        &operator.run(&["realm", "set", "--default-scope", "a,b"]),
        "warning: 'a,b' is one scope with a comma in its name; if you mean several, separate them by spaces: 'a b'\n",
    );
    says(
        &operator.run(&["realm", "set", "--allowed-scope", "a,b am-introspect"]),
        "the scope 'am-introspect' does not allow",
    );
    let created = operator.run(&["client", "create", "--id", "c", "--scope", "a,b"]);
    says(&created, "warning: 'a,b' is one scope");
    assert_eq!(created.json()["scope"], "a,b", "a comma is a character of a scope (RFC 6749 Appendix A.4)");
}

#[test]
fn a_quota_mode_without_a_quota_says_that_it_does_nothing() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--scope", "read"]].concat());
    let update = |options: &[&str]| operator.run(&[&["client", "update", "myClient"], options].concat());
    says(
        &update(&["--token-quota-mode", "observe"]),
        "warning: neither client 'myClient' nor its realm has a token quota, so --token-quota-mode has no effect; set a quota with \
         `grantwell client update myClient --token-quota NUMBER/hour`\n",
    );
    says_nothing(&update(&["--token-quota", "5/hour"]));
    says(&update(&["--token-quota", "none"]), "so --token-quota-mode has no effect");
    says(
        &operator.run(&["realm", "set", "--token-quota-mode", "observe"]),
        "warning: realm 'root' has no token quota, so --token-quota-mode applies only to clients that have a quota of their own; set \
         one for all with `grantwell realm set root --token-quota NUMBER/hour`\n",
    );
    says_nothing(&operator.run(&["realm", "set", "--token-quota", "5/day"]));
    says_nothing(&update(&["--token-quota", "", "--token-quota-mode", "enforce"]));
}

#[test]
fn a_new_store_is_named_by_its_absolute_path_and_one_that_is_there_is_not() {
    let operator = Operator::new();
    let data = fs::canonicalize(operator.home.path()).expect("there").join("data");
    let note = format!("note: there was no store in {0}, so a new one was made there\n", data.display());
    let scope = ["--scope", "read"];
    assert_eq!(operator.run(&[&CREATE[..], &scope].concat()).stderr, note);
    says_nothing(&operator.run(&["client", "create", "--id", "second", "--scope", "read"]));
    says_nothing(&operator.run(&["realm", "set", "alpha"]));
    let realm = Operator::new();
    says(&realm.run(&["realm", "set", "alpha"]), "so a new one was made there");
    // A directory that is there and holds no registry.
    let empty = Operator::new();
    fs::create_dir(empty.data()).expect("made");
    fs::set_permissions(empty.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    says(&empty.run(&["realm", "set", "alpha"]), "so a new one was made there");
}

#[test]
fn a_failed_create_leaves_nothing_behind() {
    let operator = Operator::new();
    for arguments in [
        &["client", "create", "--id", "c", "--realm", "nowhere"][..],
        &["client", "create", "--id", "c", "--scope", "read", "--default-scope", "write"],
        &["client", "create", "--id", "c", "--secret-rotation-days", "30"],
        &["client", "create", "--id", "c", "--name", "a\nb"],
        &["realm", "set", "alpha", "--default-scope", "write", "--allowed-scope", "read"],
        &["realm", "set", "alpha", "--tokens-valid-after", "99999999999"],
    ] {
        let ended = operator.run_with(|command| {
            command.args(arguments).env("GRANTWELL_STORE", "file:data/of/a/server");
        });
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("a new one was made"), "{}", ended.stderr);
        assert!(!operator.data().exists(), "{arguments:?}: {:?}", files(&operator.data()));
    }
    // A directory that was there stays, with what is in it.
    fs::create_dir(operator.data()).expect("made");
    fs::set_permissions(operator.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    fs::write(operator.data().join("note"), "kept").expect("written");
    operator.refused(&["client", "create", "--id", "c", "--realm", "nowhere"], 1, "there is no realm 'nowhere'");
    assert_eq!(files(&operator.data()), [operator.data().join("note")]);

    // And a registry that was there loses and gains nothing.
    operator.json(&[&CREATE[..], &["--scope", "read"]].concat());
    operator.refused(&["client", "create", "--id", "c", "--realm", "nowhere"], 1, "there is no realm 'nowhere'");
    assert_eq!(operator.json(&["client", "show", "myClient"])["scope"], json!("read"));
}
