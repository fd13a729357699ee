//! `grantwell key`, and the rotation of keys by `grantwell serve` itself.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::operator::{CREATE, Operator, keys, now, roles, text, utc};
use crate::support::cli::basic;
use crate::support::http::Request;
use crate::support::poll;
use crate::support::server::Start;

#[test]
fn a_realm_that_has_signed_nothing_has_no_keys_and_says_so() {
    let operator = Operator::with_client();
    assert_eq!(operator.json(&["key", "list"]), json!({ "realm": "root", "keys": [] }));
    let table = operator.run(&["key", "list", "--output", "table"]).stdout;
    assert_eq!(table, "realm root has no keys yet; they are made when it first signs a token\n");

    let ended = operator.run(&["key", "rotate"]);
    assert_eq!(roles(&ended.json()), ["ES256 current", "ES256 next"]);
    assert_eq!(ended.stderr, "note: realm 'root' had no keys to rotate, so its first ones were made\n");
}

#[test]
fn a_listing_of_keys_has_their_place_in_time_and_nothing_private() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha", "--signing-alg", "PS256"]);
    operator.json(&["realm", "set", "alpha", "--signing-alg", "EdDSA"]);
    operator.age_keys("alpha", 1000);
    let rotated = operator.run(&["key", "rotate", "--realm", "alpha"]);
    let listed = operator.run_with(|command| {
        command.args(["key", "list"]).env("GRANTWELL_REALM", "alpha");
    });
    assert_eq!(listed.json(), rotated.json());
    assert_eq!(
        roles(&listed.json()),
        ["PS256 previous", "PS256 current", "EdDSA previous", "EdDSA current", "PS256 next", "EdDSA next"]
    );
    let mut members = ["kid", "alg", "status", "published_at", "current_since", "expires_at"].to_vec();
    members.sort_unstable();
    for key in keys(&listed.json()) {
        let mut shown: Vec<&str> = key.as_object().expect("an object").keys().map(String::as_str).collect();
        shown.sort_unstable();
        assert_eq!(shown, members);
    }

    let kid = text(&keys(&listed.json())[1]["kid"]).to_owned();
    let table = operator.run(&["key", "list", "--realm", "alpha", "--output", "table"]);
    let revoked = operator.run(&["key", "revoke", &kid, "--realm", "alpha"]);
    let stored = operator.stored_keys("alpha").to_json().expect("JSON");
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    let private: Vec<&str> = keys(&stored).iter().filter_map(|key| key["pkcs8"].as_str()).collect();
    assert_eq!(private.len(), 4, "every key that signs, or will, has a private half");
    for ended in [rotated, listed, table, revoked] {
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        for value in &private {
            assert!(!ended.stdout.contains(value) && !ended.stderr.contains(value));
        }
    }
}

#[test]
fn an_algorithm_is_published_from_when_it_is_set() {
    const NOTE: &str = "once its key has been published for 15 minutes, so that every resource server knows it; until then the \
                        previous key signs\n";
    let operator = Operator::with_clients(&["another"]);
    // The first keys sign at once, so there is nothing to say.
    let first = operator.run(&["realm", "set", "root", "--signing-alg", "ES256"]);
    assert_eq!((first.status, first.stderr.as_str()), (Some(0), ""));
    assert_eq!(roles(&operator.json(&["key", "list"])), ["ES256 current", "ES256 next"]);

    let create = operator
        .run(&[&CREATE[..], &["--scope", "a", "--access-token-format", "jwt", "--signing-alg", "EdDSA"]].concat());
    assert_eq!(create.json()["access_token_signing_alg"], "EdDSA");
    assert_eq!(create.stderr, format!("note: tokens are signed with EdDSA {NOTE}"));
    let both = ["ES256 current", "ES256 next", "EdDSA current", "EdDSA next"];
    assert_eq!(roles(&operator.json(&["key", "list"])), both);

    // Known algorithms change nothing, and a setting taken back is the realm's.
    for alg in ["EdDSA", "ES256", ""] {
        let ended = operator.run(&["client", "update", "myClient", "--signing-alg", alg]);
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{alg}");
    }
    operator.json(&["realm", "set", "root", "--signing-alg", ""]);
    assert_eq!(roles(&operator.json(&["key", "list"])), both);

    let update = operator.run(&["client", "update", "myClient", "--signing-alg", "RS256"]);
    assert_eq!((update.status, update.stderr), (Some(0), format!("note: tokens are signed with RS256 {NOTE}")));
    let realm = operator.run(&["realm", "set", "--signing-alg", "PS256"]);
    assert_eq!((realm.status, realm.stderr), (Some(0), format!("note: tokens are signed with PS256 {NOTE}")));
    let more = ["RS256 current", "RS256 next", "PS256 current", "PS256 next"];
    assert_eq!(roles(&operator.json(&["key", "list"])), [&both[..], &more].concat());
}

#[test]
fn the_first_client_with_an_algorithm_of_its_own_does_not_decide_for_the_realm() {
    let operator = Operator::new();
    operator.json(&["realm", "set"]);
    let create = operator
        .run(&[&CREATE[..], &["--scope", "a", "--access-token-format", "jwt", "--signing-alg", "EdDSA"]].concat());
    assert_eq!((create.status, create.stderr.as_str()), (Some(0), ""));
    let listed = operator.json(&["key", "list"]);
    assert_eq!(roles(&listed), ["ES256 current", "ES256 next", "EdDSA current", "EdDSA next"]);
    // Made at one time: neither has to wait until the other is known.
    assert!(keys(&listed).iter().all(|key| key["published_at"] == keys(&listed)[0]["published_at"]), "{listed}");
}

#[test]
fn a_realm_has_its_keys_as_soon_as_its_tokens_or_a_clients_are_to_be_jwts() {
    let operator = Operator::with_client();
    let server = operator.server(|start| start);
    let published = |realm: &str| {
        let base = if realm == "root" { "/oauth2".to_owned() } else { format!("/oauth2/realms/root/realms/{realm}") };
        let answer = Request::new("GET", &format!("{base}/connect/jwk_uri")).send(&server);
        let jwks = answer.json();
        let algs = keys(&jwks).iter().map(|key| text(&key["alg"]).to_owned()).collect::<Vec<_>>();
        (answer.status, algs)
    };
    assert_eq!(published("root"), (200, vec![]), "asked before, which is not remembered");

    for (realm, options, algs) in [
        ("own", &["--access-token-format", "jwt"][..], &["ES256", "ES256"][..]),
        ("both", &["--access-token-format", "jwt", "--signing-alg", "EdDSA"], &["EdDSA", "EdDSA"]),
        ("alg", &["--signing-alg", "PS256"], &["PS256", "PS256"]),
    ] {
        let ended = operator.run(&[&["realm", "set", realm], options].concat());
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{realm}");
        assert_eq!(published(realm), (200, algs.iter().map(|alg| (*alg).to_owned()).collect()), "{realm}");
        // The same again changes nothing.
        let before = operator.json(&["key", "list", "--realm", realm]);
        operator.json(&[&["realm", "set", realm], options].concat());
        assert_eq!(operator.json(&["key", "list", "--realm", realm]), before);
    }
    // What signs no tokens needs no keys.
    for options in
        [&["--access-token-format", "opaque"][..], &["--access-token-format", ""], &["--token-lifetime", "60"]]
    {
        operator.json(&[&["realm", "set", "opaque"], options].concat());
        assert_eq!(published("opaque"), (200, vec![]), "{options:?}");
    }
    // A client's own form, when it is registered and later, where the realm has signed nothing yet.
    operator.json(&["realm", "set", "created"]);
    operator.json(&["client", "create", "--realm", "created", "--id", "c", "--access-token-format", "jwt"]);
    assert_eq!(published("created").1, ["ES256", "ES256"]);
    operator.json(&["client", "update", "myClient", "--name", "opaque"]);
    assert_eq!(published("root").1, Vec::<String>::new());
    operator.json(&["client", "update", "myClient", "--access-token-format", "jwt"]);
    assert_eq!(published("root").1, ["ES256", "ES256"]);
    // A change of what signs is published at once, too.
    operator.json(&["realm", "set", "own", "--signing-alg", "EdDSA"]);
    let listed = roles(&operator.json(&["key", "list", "--realm", "own"]));
    assert_eq!(listed, ["ES256 current", "ES256 next", "EdDSA current", "EdDSA next"]);
    // Nobody registers a client to have keys made.
    operator.json(&["client", "create", "--realm", "opaque", "--id", "c"]);
    let taken = ["client", "create", "--realm", "opaque", "--id", "c", "--access-token-format", "jwt"];
    operator.refused(&taken, 1, "realm 'opaque' already has a client 'c'");
    assert_eq!(published("opaque").1, Vec::<String>::new());
}

#[test]
fn where_keys_could_not_be_made_nothing_is_changed() {
    let operator = Operator::new();
    operator.store_last_keys("alpha", now());
    let before = operator.json(&["realm", "show", "alpha"]);
    operator.json(&["client", "create", "--id", "present", "--realm", "alpha"]);
    for command in [
        &[&CREATE[..], &["--realm", "alpha", "--signing-alg", "EdDSA"]].concat()[..],
        &["client", "update", "present", "--realm", "alpha", "--signing-alg", "EdDSA"],
        &["realm", "set", "alpha", "--signing-alg", "PS256"],
        &["realm", "set", "alpha", "--access-token-format", "jwt", "--signing-alg", "EdDSA", "--token-lifetime", "60"],
    ] {
        let ended = operator.run(command);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{command:?}");
        let sentence = "error: the signing keys of realm 'alpha' could not be made, so nothing was changed: ";
        let advice = "; see which keys it has with `grantwell key list --realm alpha`, and repeat the command when that is mended\n";
        assert!(ended.stderr.starts_with(sentence) && ended.stderr.ends_with(advice), "{}", ended.stderr);
    }
    operator.refused(&["client", "show", "myClient", "--realm", "alpha"], 1, "has no client 'myClient'");
    let present = operator.json(&["client", "show", "present", "--realm", "alpha"]);
    assert_eq!(present["access_token_signing_alg"], Value::Null);
    assert_eq!(operator.json(&["realm", "show", "alpha"]), before);
}

#[test]
fn rotation_waits_until_the_next_key_is_known_everywhere() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    let first = operator.json(&["key", "rotate", "--realm", "alpha"]);
    let ready_at = keys(&first)[1]["published_at"].as_u64().expect("seconds") + 900;
    let ready_at = format!("rotate at {} or later;", utc(ready_at));
    let too_soon = operator.run(&["key", "rotate", "--realm", "alpha"]);
    too_soon.is_refusal(
        1,
        "the next key of realm 'alpha' has been published for less than 15 minutes, so a resource server",
    );
    too_soon.is_refusal(1, &ready_at);
    too_soon.is_refusal(1, "take a leaked key out at once with: grantwell key revoke KID --realm alpha");
    assert_eq!(operator.json(&["key", "list", "--realm", "alpha"]), first);

    operator.age_keys("alpha", 900);
    let before = now();
    let rotated = operator.run(&["key", "rotate", "--realm", "alpha"]);
    let (after, was) = (rotated.json(), keys(&first));
    assert_eq!(rotated.stderr, "");
    let rotated_at = keys(&after)[1]["current_since"].as_u64().expect("seconds");
    assert!((before..=now()).contains(&rotated_at), "{after}");
    let expires_at = rotated_at + 2_592_000 + 3900;
    let aged = |key: &Value| key["published_at"].as_u64().expect("seconds") - 900;
    assert_eq!(
        after,
        json!({
            "realm": "alpha",
            "keys": [
                {
                    "kid": was[0]["kid"],
                    "alg": "ES256",
                    "status": "previous",
                    "published_at": aged(&was[0]),
                    "current_since": aged(&was[0]),
                    "expires_at": expires_at,
                },
                {
                    "kid": was[1]["kid"],
                    "alg": "ES256",
                    "status": "current",
                    "published_at": aged(&was[1]),
                    "current_since": rotated_at,
                    "expires_at": null,
                },
                {
                    "kid": keys(&after)[2]["kid"],
                    "alg": "ES256",
                    "status": "next",
                    "published_at": rotated_at,
                    "current_since": null,
                    "expires_at": null,
                },
            ],
        })
    );
    operator.refused(&["key", "rotate", "--realm", "alpha"], 1, "has been published for less than 15 minutes");
}

#[test]
fn rotations_at_once_rotate_once() {
    let operator = Operator::with_client();
    operator.json(&["key", "rotate"]);
    operator.age_keys("root", 900);
    let outcomes = thread::scope(|scope| {
        let rotations = [(); 4].map(|()| scope.spawn(|| operator.run(&["key", "rotate"])));
        rotations.map(|rotation| rotation.join().expect("no panic"))
    });
    assert_eq!(outcomes.iter().filter(|ended| ended.status == Some(0)).count(), 1);
    for ended in outcomes.iter().filter(|ended| ended.status != Some(0)) {
        let conflict = "somebody else changed the keys of realm 'root' in the meantime, so nothing was written; look at them with \
                        `grantwell key list` and repeat the command";
        assert!(
            ended.stderr.contains(conflict) || ended.stderr.contains("for less than 15 minutes"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(roles(&operator.json(&["key", "list"])), ["ES256 previous", "ES256 current", "ES256 next"]);
}

#[test]
fn a_leaked_key_is_out_at_once_and_the_next_one_signs() {
    let operator = Operator::with_client();
    let before = operator.json(&["key", "rotate"]);
    let (leaked, next) = (text(&keys(&before)[0]["kid"]), &keys(&before)[1]["kid"]);
    let revoked = operator.run(&["key", "revoke", leaked]);
    assert_eq!(
        revoked.stderr,
        "warning: tokens signed with this key are inactive at introspection from now on. A local server follows within seconds; a \
         deployed stack follows within 5 minutes and signs with the key until then, so that some clients have to ask for a new \
         token. Resource servers that validate tokens themselves follow when they next fetch the JWKS, within 10 minutes. If \
         the whole key set has leaked, and not just this key, revoke the next key too\n"
    );
    let after = revoked.json();
    assert_eq!((roles(&after), &keys(&after)[0]["kid"]), (vec!["ES256 current".into(), "ES256 next".into()], next));
    assert!(!revoked.stdout.contains(leaked), "{after}");
    assert_eq!(operator.json(&["key", "list"]), after);

    // A kid may begin with a hyphen, and with what would otherwise be an option.
    for unknown in [leaked, "-unknown", "-hV", "--", "bogus\u{1b}[2J"] {
        operator.refused(
            &["key", "revoke", "--output", "json", "--", unknown],
            1,
            "realm 'root' has no key with this kid; list its keys with: grantwell key list",
        );
    }
    operator.refused(&["key", "revoke", "-unknown"], 1, "realm 'root' has no key with this kid");
    operator.refused(&["key", "revoke", "-hV"], 1, "realm 'root' has no key with this kid");
    operator.json(&["realm", "set", "alpha"]);
    operator.refused(&["key", "revoke", leaked, "--realm", "alpha"], 1, "with: grantwell key list --realm alpha");
    operator.refused(&["key", "revoke"], 2, "the following required arguments were not provided");
    assert_eq!(operator.json(&["key", "list"]), after);
}

#[test]
fn a_running_server_follows_when_a_key_is_revoked() {
    let operator = Operator::new();
    let client = operator.json(&[&CREATE[..], &["--scope", "write", "--access-token-format", "jwt"]].concat());
    let resource_server = operator.json(&["client", "create", "--scope", "am-introspect-all-tokens"]);
    let [client, resource_server] =
        [&client, &resource_server].map(|shown| basic(text(&shown["client_id"]), text(&shown["client_secret"])));
    let server = operator.server(|start| start);
    let ask =
        |path: &str, form: &str, by: &str| Request::form(path, form).header("Authorization", by).send(&server).json();
    let issue = || {
        let answer = ask("/oauth2/access_token", "grant_type=client_credentials&scope=write", &client);
        text(&answer["access_token"]).to_owned()
    };
    let introspect = |token: &str| ask("/oauth2/introspect", &format!("token={token}"), &resource_server);

    let token = issue();
    assert_eq!(introspect(&token)["active"], true);
    let listed = operator.json(&["key", "list"]);
    operator.json(&["key", "revoke", text(&keys(&listed)[0]["kid"])]);
    poll("the token ends", Duration::from_secs(30), || {
        (introspect(&token) == json!({ "active": false })).then_some(())
    });
    poll("the next key signs", Duration::from_secs(30), || (introspect(&issue())["active"] == true).then_some(()));
}

#[test]
fn a_server_rotates_the_keys_of_every_realm_that_are_due() {
    const DAY: u64 = 24 * 3600;
    let operator = Operator::with_client();
    for realm in ["root", "alpha", "young"] {
        operator.json(&["realm", "set", realm]);
        operator.json(&["key", "rotate", "--realm", realm]);
    }
    for (realm, days) in [("root", 3), ("alpha", 2), ("young", 1)] {
        operator.age_keys(realm, days * DAY);
    }
    operator.store_last_keys("zz-full", now() - 9 * DAY);
    operator.json(&["realm", "set", "zeta"]);

    let server = operator.server(|start| start.environment("GRANTWELL_SIGNING_KEY_ROTATION_DAYS", "2"));
    for realm in ["root", "alpha"] {
        poll("the server rotates", Duration::from_secs(30), || {
            let listed = operator.json(&["key", "list", "--realm", realm]);
            (roles(&listed) == ["ES256 previous", "ES256 current", "ES256 next"]).then_some(())
        });
    }
    // Realms are looked at in the order of their names: the last warning comes after young was passed over.
    poll("the server warns", Duration::from_secs(30), || server.stderr().contains("realm=\"zz-full\"").then_some(()));
    let warning = server.stderr();
    let warning = warning.lines().find(|line| line.contains("realm=\"zz-full\"")).expect("a line");
    assert!(warning.contains(" WARN ") && warning.contains("signing keys could not be rotated"), "{warning}");
    assert_eq!(roles(&operator.json(&["key", "list", "--realm", "young"])), ["ES256 current", "ES256 next"]);
    assert_eq!(operator.json(&["key", "list", "--realm", "zeta"])["keys"], json!([]), "keys are made by signing");
}

#[test]
fn a_server_refuses_a_rotation_that_is_not_a_number_of_days() {
    let operator = Operator::new();
    for value in ["0", "366", "monthly", "-1", "1.5"] {
        let refused = Start::on("memory").environment("GRANTWELL_SIGNING_KEY_ROTATION_DAYS", value).expect_refusal();
        assert_eq!(refused.status.code(), Some(1), "{value}");
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            stderr.ends_with(
                "error: GRANTWELL_SIGNING_KEY_ROTATION_DAYS cannot be read: it is a number of days from 1 to 365\n"
            ),
            "{stderr}"
        );
    }
    assert!(!operator.data().exists());
}
