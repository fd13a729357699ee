//! `grantwell apply`, `diff` and `export` as scripts and CI jobs run them: exit statuses, answers, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rusqlite::Connection as Sqlite;
use serde_json::{Value, json};

use super::operator::{Ended, Operator, files, text};

const REALM: &str = "name: team-a
realms:
  - {realm: alpha, default_scope: read}
clients:
  - {realm: alpha, client_id: one, client_name: One, scope: read write}
  - {realm: alpha, client_id: two, scope: read, access_token_lifetime: 900}
...
";

/// The same without the second client, and less of the first.
const FEWER: &str = "name: team-a
realms: [{realm: alpha, default_scope: read}]
clients: [{realm: alpha, client_id: one, scope: read write}]
...
";

#[test]
fn the_exit_status_is_0_for_nothing_to_do_3_for_a_difference_2_for_misuse_and_1_otherwise() {
    let operator = with_file(REALM);
    for command in [&["apply", "-f", "a.yaml", "--plan"][..], &["diff", "-f", "a.yaml"]] {
        let ended = operator.run(command);
        assert_eq!(ended.status, Some(3), "{}", ended.stderr);
        assert!(ended.stderr.contains("note: there is no store file:data yet"), "{}", ended.stderr);
        assert!(!operator.data().exists(), "it only looks");
    }
    assert_eq!(operator.run(&["apply", "-f", "a.yaml"]).status, Some(0));
    for command in [&["apply", "-f", "a.yaml", "--plan"][..], &["diff", "-f", "a.yaml"], &["apply", "-f", "a.yaml"]] {
        assert_eq!(operator.run(command).status, Some(0), "{command:?}");
    }
    operator.json(&["client", "update", "one", "--realm", "alpha", "--name", "By hand"]);
    assert_eq!(operator.run(&["diff", "-f", "a.yaml"]).status, Some(3), "the file mentions it");
    operator.refused(&["apply", "-f", "nowhere.yaml"], 1, "nowhere.yaml could not be read");
    operator.refused(&["diff", "-f", "nowhere.yaml"], 1, "nowhere.yaml could not be read");
    operator.refused(&["apply"], 2, "name a file with -f, or a plan");
    let help = operator.run(&["apply", "-h"]).stdout;
    for form in ["Usage: grantwell apply -f <FILE|DIR|->... [OPTIONS]\n", "       grantwell apply <PLAN> [OPTIONS]\n"] {
        assert!(help.contains(form), "{help}");
    }
    for misuse in [
        &["apply"][..],
        &["diff"],
        &["apply", "-f", "a.yaml", "--out", "plan.json"],
        &["apply", "plan.json", "-f", "a.yaml"],
        &["apply", "plan.json", "--prune"],
        &["apply", "-f", "a.yaml", "--prune-at-most", "many"],
        &["apply", "-f", "a.yaml", "--secrets-dir", "s", "--print-secrets"],
    ] {
        assert_eq!(operator.run(misuse).status, Some(2), "{misuse:?}");
    }
}

#[test]
fn the_plan_and_its_result_are_one_json_document_each_in_an_order_of_their_own() {
    let operator = with_file(REALM);
    let plan: Value = serde_json::from_str(&operator.run(&["diff", "-f", "a.yaml"]).stdout).expect("JSON");
    let names = |steps: &Value| -> Vec<String> {
        let steps = steps.as_array().expect("a list");
        steps.iter().map(|step| format!("{} {}", text(&step["action"]), step["target"])).collect()
    };
    // The order of a file says nothing.
    let mut lines: Vec<&str> = REALM.lines().collect();
    lines.swap(4, 5);
    write(&operator, "b.yaml", &lines.join("\n"));
    let other: Value = serde_json::from_str(&operator.run(&["diff", "-f", "b.yaml"]).stdout).expect("JSON");
    assert_eq!(plan, other);

    let result = operator.json(&["apply", "-f", "a.yaml"]);
    assert_eq!(names(&result["changes"]), names(&plan["steps"]));
    assert_eq!((&result["created"], &result["not_done"]), (&json!(3), &json!(0)));
    let secrets = result["secrets"].as_array().expect("a list");
    assert_eq!(secrets.len(), 2);
    assert!(secrets.iter().all(|secret| text(&secret["client_secret"]).starts_with("gws_")), "{result}");
    assert!(!plan.to_string().contains("gws_"));

    write(&operator, "a.yaml", FEWER);
    let result = operator.json(&["apply", "-f", "a.yaml"]);
    assert_eq!(result["secrets"], json!([]));
    let change = json!([{ "member": "client_name", "before": "One", "after": null, "returns_to_default": true }]);
    assert_eq!(result["changes"][0]["changes"], change);
    let two = json!([{ "kind": "client", "realm": "alpha", "client_id": "two" }]);
    assert_eq!(result["left"], two, "no longer declared, and left");
}

#[test]
fn a_script_finds_every_member_of_an_answer_where_there_is_nothing_in_it_too() {
    let operator = with_file(REALM);
    let plan: Value = serde_json::from_str(&operator.run(&["diff", "-f", "a.yaml"]).stdout).expect("JSON");
    let created = operator.json(&["apply", "-f", "a.yaml", "--secrets-dir", "s"]);
    assert_eq!(created["secrets"], json!([]), "they are in files");
    let unchanged: Value = serde_json::from_str(&operator.run(&["diff", "-f", "a.yaml"]).stdout).expect("JSON");
    let nothing = operator.json(&["apply", "-f", "a.yaml"]);
    assert_eq!(nothing["secrets"], json!([]));
    for answer in [&plan, &unchanged, &created, &nothing] {
        assert_eq!((&answer["left"], &answer["not_searched"]), (&json!([]), &json!([])), "{answer}");
    }
    for (steps, count) in [(&plan["steps"], 3), (&unchanged["steps"], 3), (&created["changes"], 3)] {
        let steps = steps.as_array().expect("a list");
        assert_eq!(steps.len(), count);
        assert!(steps.iter().all(|step| step["changes"].is_array()), "{steps:?}");
    }
}

#[test]
fn what_is_no_longer_declared_is_told_in_one_paragraph() {
    let file = |count: usize| {
        let clients: Vec<Value> =
            (0..count).map(|n| json!({ "client_id": format!("c{n:02}"), "scope": "read" })).collect();
        json!({ "name": "team-a", "clients": clients }).to_string()
    };
    let operator = applied(&file(12));
    write(&operator, "a.yaml", &file(1));
    let told = operator.run(&["diff", "-f", "a.yaml", "--output", "table"]).stdout;
    let first: Vec<String> = (1..=8).map(|n| format!("client 'c{n:02}' of realm 'root'")).collect();
    assert_eq!(
        told,
        format!(
            "1 record is already as declared\n11 records are no longer declared and stay as they are (--prune deletes them): {}, and 3 \
             more\nNothing to do: everything is as team-a declares it.\n",
            first.join(", ")
        )
    );
    write(&operator, "a.yaml", &file(11));
    let told = operator.run(&["diff", "-f", "a.yaml", "--output", "table"]).stdout;
    assert!(
        told.contains(
            "1 record is no longer declared and stays as it is (--prune deletes it): client 'c11' of realm 'root'\n"
        ),
        "{told}"
    );
    let pruned = operator.run(&["apply", "-f", "a.yaml", "--prune", "--yes", "--output", "table"]);
    assert_eq!((pruned.status, pruned.stderr.as_str()), (Some(0), ""), "the plan has named it");
}

#[test]
fn a_table_says_where_each_secret_is_as_far_as_anybody_reads_that() {
    let operator = with_file(REALM);
    let told = operator.run(&["apply", "-f", "a.yaml", "--secrets-dir", "s", "--output", "table"]).stdout;
    let lines =
        "secret of client 'one' of realm 'alpha': s/alpha/one\nsecret of client 'two' of realm 'alpha': s/alpha/two\n";
    assert!(told.contains(lines) && !told.contains("gws_"), "{told}");
    let clients: Vec<Value> = (0..25).map(|n| json!({ "client_id": format!("c{n:02}"), "scope": "read" })).collect();
    let operator = with_file(&json!({ "name": "team-a", "clients": clients }).to_string());
    let told = operator.run(&["apply", "-f", "a.yaml", "--secrets-dir", "s", "--output", "table"]).stdout;
    assert_eq!(told.matches("secret of client").count(), 20, "{told}");
    assert!(told.contains("s/root/c19\nand 5 more in s\nDone: 25 changes were made."), "{told}");
}

#[test]
fn a_member_that_is_left_out_returns_to_its_default_and_one_that_was_set_by_hand_stays() {
    let operator = applied(REALM);
    operator.json(&["client", "update", "one", "--realm", "alpha", "--token-lifetime", "60", "--name", "By hand"]);
    let drift = operator.run(&["apply", "-f", "a.yaml", "--plan", "--output", "table"]);
    assert_eq!(drift.status, Some(3));
    assert!(drift.stdout.contains(r#"client_name  "By hand" -> "One""#), "{}", drift.stdout);
    assert!(!drift.stdout.contains("access_token_lifetime"), "{}", drift.stdout);

    write(&operator, "a.yaml", FEWER);
    let shown = operator.run(&["apply", "-f", "a.yaml", "--output", "table"]).stdout;
    assert!(
        shown.contains(r#"client_name  "By hand" -> not set (its default: the file does not mention it any more)"#),
        "{shown}"
    );
    let one = operator.json(&["client", "show", "one", "--realm", "alpha", "--output", "json"]);
    assert_eq!((&one["client_name"], &one["access_token_lifetime"]), (&Value::Null, &json!(60)), "{one}");
}

#[test]
fn pruning_is_refused_where_nobody_can_be_asked_and_says_by_name_what_it_would_delete() {
    let operator = applied(REALM);
    write(&operator, "b.yaml", "name: team-b\nclients: [{realm: alpha, client_id: theirs, scope: read}]\n...\n");
    operator.json(&["apply", "-f", "b.yaml"]);
    operator.json(&["client", "create", "--id", "by-hand"]);
    write(&operator, "a.yaml", FEWER);

    let before = operator.run(&["export"]).stdout;
    let ended = operator.run(&["apply", "-f", "a.yaml", "--prune"]);
    ended.is_refusal(2, "so you could not be asked; to delete 1 client with its secrets");
    assert!(ended.stderr.contains("\n  client 'two' of realm 'alpha'\n"), "{}", ended.stderr);
    refused(&operator, &["apply", "-f", "a.yaml", "--prune", "--prune-at-most", "0", "--yes"], "--prune-at-most 1");
    assert_eq!(operator.run(&["export"]).stdout, before, "nothing was changed");

    let result = operator.json(&["apply", "-f", "a.yaml", "--prune", "--yes"]);
    assert_eq!((&result["deleted"], &result["changed"]), (&json!(1), &json!(1)));
    let exported = operator.run(&["export"]).stdout;
    assert!(exported.contains("theirs") && exported.contains("by-hand") && !exported.contains("two"), "{exported}");
    let log = operator.json(&["log", "--client", "two", "--realm", "alpha"]);
    let actions: Vec<&str> = log["lines"].as_array().expect("lines").iter().map(|line| text(&line["action"])).collect();
    assert_eq!(actions, ["client.delete", "client.disable", "client.create"]);
}

#[test]
fn more_than_ten_clients_are_deleted_only_when_the_number_is_said() {
    let clients = |count: usize| {
        let clients: Vec<Value> =
            (0..count).map(|n| json!({ "client_id": format!("c{n:02}"), "scope": "read" })).collect();
        json!({ "name": "team-a", "clients": clients }).to_string()
    };
    let operator = applied(&clients(12));
    write(&operator, "a.yaml", &clients(1));
    let ended = operator.run(&["apply", "-f", "a.yaml", "--prune", "--yes"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended
            .stderr
            .contains("11 clients with their secrets would be deleted, and no more than 10 are deleted at once"),
        "{}",
        ended.stderr
    );
    for name in ["client 'c01' of realm 'root'", "client 'c11' of realm 'root'", "--prune-at-most 11"] {
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
    refused(&operator, &["apply", "-f", "a.yaml", "--prune", "--yes", "--prune-at-most", "10"], "--prune-at-most 11");
    let result = operator.json(&["apply", "-f", "a.yaml", "--prune", "--yes", "--prune-at-most", "11"]);
    assert_eq!(result["deleted"], json!(11));
}

#[test]
fn a_list_that_is_empty_by_mistake_deletes_nothing() {
    let operator = applied(REALM);
    let before = operator.run(&["export"]).stdout;
    for (empty, status, why) in [
        ("", 1, "a.yaml is empty"),
        ("...\n", 1, "a.yaml"),
        ("name: team-a\nclients:\n  - {realm: alpha, client_id: one}\n", 1, "may have been cut off"),
        ("{\"name\": \"team-a\", \"clients\": [{\"realm\": \"alpha\", \"client_id\": \"one\"}", 1, "a.yaml"),
        ("name: team-a\n...\n", 1, "no client is declared"),
        ("name: team-a\nclients:\n...\n", 1, "no client is declared"),
        ("name: team-a\nclients: []\n...\n", 1, "no client is declared"),
        ("{\"name\": \"team-a\", \"clients\": []}", 1, "no client is declared"),
    ] {
        write(&operator, "a.yaml", empty);
        let ended = operator.run(&["apply", "-f", "a.yaml", "--prune", "--yes"]);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(status), ""), "{empty}");
        assert!(ended.stderr.contains(why), "{empty}: {}", ended.stderr);
        assert_eq!(operator.run(&["export"]).stdout, before, "{empty}");
    }
    // Whoever means it says how many.
    let result = operator.json(&["apply", "-f", "a.yaml", "--prune", "--yes", "--prune-at-most", "2"]);
    assert_eq!(result["deleted"], json!(2));
}

#[test]
fn a_record_is_taken_over_only_with_adopt_and_it_is_said_from_whom() {
    let operator = applied("name: team-b\nclients: [{client_id: theirs, scope: read}]\n");
    operator.json(&["client", "create", "--id", "by-hand"]);
    write(&operator, "a.yaml", "name: team-a\nclients: [{client_id: theirs}, {client_id: by-hand}]\n");
    let ended = operator.run(&["apply", "-f", "a.yaml"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    for line in [
        "client 'theirs' of realm 'root': it is declared by 'team-b'; take it over with --adopt",
        "client 'by-hand' of realm 'root': it exists, and no file has declared it; take it over with --adopt",
    ] {
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
    let shown = operator.run(&["apply", "-f", "a.yaml", "--adopt", "--output", "table"]);
    assert_eq!(shown.status, Some(0), "{}", shown.stderr);
    for line in [
        "~ client 'theirs' of realm 'root' (taken over from team-b)",
        "~ client 'by-hand' of realm 'root' (taken over; no file has declared it)",
        "Done: 2 changes were made.",
    ] {
        assert!(shown.stdout.contains(line), "{}", shown.stdout);
    }
    assert_eq!(operator.run(&["diff", "-f", "a.yaml"]).status, Some(0));
}

#[test]
fn a_plan_that_was_written_down_is_carried_out_as_it_is_and_only_once() {
    let operator = planned(REALM);
    let path = operator.home.path().join("plan.json");
    assert_eq!(fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600);
    assert!(!operator.data().exists());
    // What the file says by now is not what was reviewed.
    write(&operator, "a.yaml", FEWER);
    let result = operator.json(&["apply", "plan.json"]);
    assert_eq!(result["created"], json!(3));
    let plan = fs::read_to_string(&path).expect("readable");
    assert!(!plan.contains("gws_") && !plan.contains("secret_digest"), "{plan}");

    let again = operator.run(&["apply", "plan.json"]);
    assert!(again.stderr.contains("of the plan, 3 changes were made before"), "{}", again.stderr);
    let again = again.json();
    assert_eq!((&again["created"], &again["done_before"]), (&json!(0), &json!(3)));
    assert_eq!(again["secrets"], json!([]));
    // A client that was deleted since must not come back.
    operator.json(&["client", "delete", "two", "--realm", "alpha", "--yes"]);
    operator.refused(
        &["apply", "plan.json"],
        1,
        "somebody has changed the registry since the plan was made: client 'two'",
    );
    assert_eq!(operator.run(&["client", "show", "two", "--realm", "alpha"]).status, Some(1));
}

#[test]
fn a_plan_brings_no_removed_issuer_back_and_takes_the_place_of_no_other_file() {
    let operator = planned("name: team-a\nissuers: [{name: github, kind: github}]\n...\n");
    operator.json(&["apply", "plan.json"]);
    operator.json(&["issuer", "remove", "github"]);
    operator.refused(
        &["apply", "plan.json"],
        1,
        "somebody has changed the registry since the plan was made: issuer 'github'",
    );

    let declared = fs::read_to_string(operator.home.path().join("a.yaml")).expect("readable");
    operator.refused(&["apply", "-f", "a.yaml", "--plan", "--out", "a.yaml"], 1, "a.yaml is there and is not a plan");
    assert_eq!(fs::read_to_string(operator.home.path().join("a.yaml")).expect("readable"), declared);
    let plan = operator.home.path().join("plan.json");
    fs::set_permissions(&plan, fs::Permissions::from_mode(0o644)).expect("changed");
    operator.run(&["apply", "-f", "a.yaml", "--plan", "--out", "plan.json"]);
    assert_eq!(fs::metadata(&plan).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_plan_that_is_not_what_was_written_is_refused() {
    let operator = planned(REALM);
    let plan = fs::read_to_string(operator.home.path().join("plan.json")).expect("readable");
    let version = format!("\"grantwell_plan\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(plan.contains(&version), "{plan}");
    let resealed = |text: &str| {
        use sha2::Digest as _;
        let (body, _) = text.rsplit_once(",\n  \"sha256\": \"").expect("a seal");
        let digest: String =
            sha2::Sha256::digest(body).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        format!("{body},\n  \"sha256\": \"{digest}\"\n}}\n")
    };
    let all = &plan[..plan.len()];
    for (altered, why) in [
        (all.replace("\"read write\"", "\"read admin\""), "was cut off or edited after it was written"),
        (all.replace("900", "901"), "was cut off or edited after it was written"),
        (all[..all.len() / 2].to_owned(), "was cut off or edited after it was written"),
        (all[..all.len() - 3].to_owned(), "was cut off or edited after it was written"),
        (format!("{all}{all}"), "was cut off or edited after it was written"),
        (String::new(), "is not a plan that --plan --out has written"),
        (REALM.to_owned(), "apply a file of declarations with -f plan.json"),
        ("{}".to_owned(), "is not a plan that --plan --out has written"),
        (
            resealed(&all.replace(&version, "\"grantwell_plan\": \"0.0.9\"")),
            "was written by grantwell 0.0.9 and this is",
        ),
        // Whoever edits the steps and knows the digest, too, has a plan that no file says.
        (
            resealed(&all.replacen("\"after\": \"read write\"", "\"after\": \"admin\"", 1)),
            "somebody has changed the registry",
        ),
    ] {
        write(&operator, "plan.json", &altered);
        operator.refused(&["apply", "plan.json"], 1, why);
        assert!(!operator.data().exists(), "{why}");
    }
    operator.refused(&["apply", "nowhere.json"], 1, "nowhere.json could not be read");
}

#[test]
fn a_plan_for_another_store_or_for_a_registry_that_has_changed_is_refused() {
    let operator = planned(REALM);
    let elsewhere = operator.run(&["apply", "plan.json", "--store", "file:other"]);
    assert_eq!((elsewhere.status, elsewhere.stdout.as_str()), (Some(1), ""));
    assert!(elsewhere.stderr.contains("the plan was made for file:"), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("/other; name its store with --store"), "{}", elsewhere.stderr);
    assert!(!operator.home.path().join("other").exists());

    // The same store by another path is the same.
    symlink(operator.home.path(), operator.home.path().join("link")).expect("made");
    assert_eq!(operator.run(&["apply", "plan.json", "--store", "file:link/data"]).status, Some(0));

    for (change, target) in [
        (
            &["client", "update", "one", "--realm", "alpha", "--contact", "somebody"][..],
            "client 'one' of realm 'alpha'",
        ),
        (&["client", "disable", "two", "--realm", "alpha"], "client 'two' of realm 'alpha'"),
        (&["realm", "set", "alpha", "--default-scope", "write"], "realm 'alpha'"),
        (&["client", "create", "--id", "three"], "client 'three' of realm 'root'"),
    ] {
        let operator = applied(REALM);
        write(
            &operator,
            "a.yaml",
            &REALM
                .replace("default_scope: read", "default_scope: other")
                .replace("clients:\n", "clients:\n  - {client_id: three, scope: read}\n")
                .replace("read write", "read")
                .replace("900", "901"),
        );
        let planned = operator.run(&["apply", "-f", "a.yaml", "--plan", "--out", "plan.json"]);
        assert_eq!(planned.status, Some(3), "{}", planned.stderr);
        assert_eq!(operator.run(change).status, Some(0));
        let before = operator.run(&["export"]).stdout;
        operator.refused(&["apply", "plan.json"], 1, &format!("since the plan was made: {target}"));
        assert_eq!(operator.run(&["export"]).stdout, before, "{change:?}");
    }
}

#[test]
fn secrets_go_to_files_that_only_their_owner_reads() {
    let operator = with_file(
        "name: team-a\nclients:\n  - {client_id: .., scope: read}\n  - {client_id: .hidden, scope: read}\n  - {client_id: a@b.c, scope: read}\n",
    );
    let result = operator.run(&["apply", "-f", "a.yaml", "--secrets-dir", "kept/secrets"]);
    assert!(!result.stdout.contains("gws_") && !result.stderr.contains("gws_"), "{}", result.stderr);
    let result = result.json();
    let kept = operator.home.path().join("kept/secrets");
    for directory in ["kept/secrets", "kept/secrets/root"] {
        let mode = fs::metadata(operator.home.path().join(directory)).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{directory}");
    }
    let mut names: Vec<String> = files(&kept).iter().map(|path| relative(path, &kept)).collect();
    names.sort();
    assert_eq!(names, [".grantwell-apply.lock", "root/%2E.", "root/%2Ehidden", "root/a@b.c"]);
    for (name, id) in [("root/%2E.", ".."), ("root/a@b.c", "a@b.c")] {
        let path = kept.join(name);
        assert_eq!(fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o600, "{name}");
        let secret = fs::read_to_string(&path).expect("readable");
        assert!(secret.starts_with("gws_") && !secret.ends_with('\n'), "{name}");
        let changes = result["changes"].as_array().expect("a list");
        let change = changes.iter().find(|change| change["target"]["client_id"] == json!(id)).expect("a change");
        assert_eq!(text(&change["secret_file"]), format!("kept/secrets/{name}"));
    }
    // Nothing to keep makes no directory.
    operator.json(&["apply", "-f", "a.yaml", "--secrets-dir", "never"]);
    assert!(!operator.home.path().join("never").exists());
}

#[test]
fn a_place_for_secrets_is_refused_before_anything_is_changed() {
    let at = |operator: &Operator, path: &str| operator.home.path().join(path);
    let refused = |prepare: &dyn Fn(&Operator), why: &str| {
        let operator = with_file(REALM);
        prepare(&operator);
        let ended = operator.run(&["apply", "-f", "a.yaml", "--secrets-dir", "s"]);
        ended.is_refusal(1, why);
        assert!(ended.stderr.contains("nothing was changed, because"), "{}", ended.stderr);
        assert!(!operator.data().exists(), "{why}");
        operator
    };
    let operator = refused(
        &|operator| {
            fs::create_dir_all(at(operator, "s/alpha")).expect("made");
            fs::write(at(operator, "s/alpha/two"), "precious").expect("written");
        },
        "s/alpha/two exists already",
    );
    assert_eq!(fs::read_to_string(at(&operator, "s/alpha/two")).expect("readable"), "precious");
    refused(
        &|operator| {
            fs::create_dir_all(at(operator, "s/alpha")).expect("made");
            fs::write(at(operator, "s/alpha/TWO"), "precious").expect("written");
        },
        "s/alpha/TWO exists already",
    );
    refused(&|operator| fs::write(at(operator, "s"), "a file").expect("written"), "s is not a directory");
    refused(
        &|operator| {
            fs::create_dir_all(at(operator, "s")).expect("made");
            fs::create_dir_all(at(operator, "elsewhere")).expect("made");
            symlink("../elsewhere", at(operator, "s/alpha")).expect("made");
        },
        "s/alpha is not a directory",
    );
    refused(
        &|operator| {
            fs::create_dir_all(at(operator, "s")).expect("made");
            fs::set_permissions(at(operator, "s"), fs::Permissions::from_mode(0o777)).expect("set");
        },
        "others can write to s",
    );
    refused(
        &|operator| {
            write(operator, "a.yaml", "name: a\nclients: [{client_id: Two, scope: a}, {client_id: two, scope: a}]\n");
        },
        "has a file of the same name but for upper and lower case",
    );
}

#[test]
fn a_ci_job_prints_no_secret_unless_that_is_said() {
    let in_ci = |operator: &Operator, variable: &str, value: &str, more: &[&str]| {
        operator.run_with(|command| {
            command.env(variable, value).args(["apply", "-f", "a.yaml"]).args(more);
        })
    };
    let operator = with_file(REALM);
    for variable in ["CI", "TF_BUILD", "JENKINS_URL", "CODEBUILD_BUILD_ID", "TEAMCITY_VERSION"] {
        let ended = in_ci(&operator, variable, "true", &[]);
        ended.is_refusal(2, "the secrets of 2 new clients would be in its log; write to files with --secrets-dir DIR");
        assert!(!operator.data().exists());
    }
    let ended = in_ci(&operator, "CI", "true", &["--plan"]);
    assert_eq!(ended.status, Some(3), "a plan has no secret");
    assert_eq!(in_ci(&operator, "CI", "true", &["--secrets-dir", "s"]).status, Some(0));
    assert_eq!(in_ci(&operator, "CI", "true", &[]).status, Some(0), "there is no new client");
    for (value, more) in [("true", &["--print-secrets"][..]), ("false", &[]), ("", &[])] {
        let answer = in_ci(&with_file(REALM), "CI", value, more).json();
        assert_eq!(answer["secrets"].as_array().map(Vec::len), Some(2), "{value}");
    }
    // Clients by key have none.
    let by_key = with_file(
        "name: a\nclients: [{client_id: k, scope: a, token_endpoint_auth_methods: [workload_identity], generate: false}]\n",
    );
    assert_eq!(in_ci(&by_key, "CI", "true", &[]).json()["secrets"], json!([]));
    // Where the shell has closed the output, nobody would see it.
    let operator = with_file(REALM);
    let closed = std::process::Command::new("sh")
        .args(["-c", r#""$0" apply -f a.yaml --store file:data >&-"#, env!("CARGO_BIN_EXE_grantwell")])
        .env_remove("CI")
        .current_dir(operator.home.path())
        .output()
        .expect("a shell");
    assert!(String::from_utf8_lossy(&closed.stderr).contains("standard output is closed"), "{closed:?}");
    assert!(!operator.data().exists());
}

#[test]
fn a_secret_whose_run_was_interrupted_gets_its_name_when_it_is_the_clients() {
    let operator = with_file(REALM);
    operator.json(&["apply", "-f", "a.yaml", "--secrets-dir", "s"]);
    let directory = operator.home.path().join("s/alpha");
    let (one, two) = (directory.join("one"), directory.join("two"));
    let secret = fs::read_to_string(&one).expect("readable");
    // As after a run that ended between the registration and the file's name, and one that ended before the registration.
    fs::rename(&one, directory.join(".one.new")).expect("renamed");
    fs::remove_file(&two).expect("removed");
    fs::write(directory.join(".two.new"), "gws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").expect("written");
    let ended = operator.run(&["apply", "-f", "a.yaml", "--secrets-dir", "s"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("its secret, which an earlier run has made, is in s/alpha/one"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&one).expect("named"), secret);
    assert!(!two.exists(), "that was never its secret");

    // Of a client that is not registered it is nobody's, and replaced.
    operator.json(&["client", "delete", "two", "--realm", "alpha", "--yes"]);
    operator.json(&["apply", "-f", "a.yaml", "--secrets-dir", "s"]);
    assert!(fs::read_to_string(&two).expect("written").starts_with("gws_"));
    assert!(!directory.join(".two.new").exists());
}

#[test]
fn what_stops_a_run_says_what_was_done_and_what_was_not_and_running_it_again_goes_on() {
    let operator = applied("name: team-a\nclients: [{client_id: first, scope: read}]\n");
    write(
        &operator,
        "a.yaml",
        "name: team-a\nrealms: [{realm: alpha}]\nclients: [{realm: alpha, client_id: bad, scope: read}, {realm: alpha, client_id: good, scope: read}]\n...\n",
    );
    let registry = || Sqlite::open(operator.data().join("registry.db")).expect("opened");
    registry()
        .execute_batch(
            "CREATE TRIGGER stops BEFORE INSERT ON clients WHEN NEW.client_id = 'bad' BEGIN SELECT RAISE(ABORT, 'stopped'); END",
        )
        .expect("made");
    let arguments = ["apply", "-f", "a.yaml", "--prune", "--yes", "--secrets-dir", "s"];
    let ended = operator.run(&arguments);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let error = ended.stderr.lines().last().unwrap_or_default();
    assert!(error.starts_with("error: client 'bad' of realm 'alpha': "), "{error}");
    assert!(
        error.contains(" made: realm 'alpha'") && error.contains("; not made: client 'bad' of realm 'alpha'"),
        "{error}"
    );
    assert!(error.contains("run the command again: what is done is not done twice"), "{error}");
    let answer: Value = serde_json::from_str(&ended.stdout).expect("one document");
    let outcomes: Vec<(&str, &str)> = answer["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| (change["target"]["client_id"].as_str().unwrap_or("alpha"), text(&change["outcome"])))
        .collect();
    assert_eq!(outcomes[..2], [("alpha", "done"), ("bad", "failed")]);
    assert_eq!(outcomes[3], ("first", "not_done"), "nothing is deleted after something failed");

    registry().execute_batch("DROP TRIGGER stops").expect("dropped");
    let answer = operator.json(&arguments);
    assert_eq!((&answer["not_done"], &answer["deleted"]), (&json!(0), &json!(1)));
    assert_eq!(operator.run(&["diff", "-f", "a.yaml", "--prune"]).status, Some(0));
    let kept = operator.home.path().join("s/alpha");
    assert!(kept.join("bad").exists() && kept.join("good").exists());
}

#[test]
fn somebody_elses_change_in_between_stops_it_and_is_told_from_other_failures() {
    let operator =
        applied("name: team-a\nrealms: [{realm: alpha}]\nclients: [{realm: alpha, client_id: one, scope: read}]\n");
    write(
        &operator,
        "a.yaml",
        "name: team-a\nrealms: [{realm: alpha, default_scope: read}]\nclients: [{realm: alpha, client_id: one, scope: read write}]\n",
    );
    // Whoever is quicker changes the client while the realm is being changed.
    let registry = Sqlite::open(operator.data().join("registry.db")).expect("opened");
    registry
        .execute_batch(
            "CREATE TRIGGER quicker AFTER UPDATE ON realms BEGIN
                UPDATE clients SET revision = revision + 1,
                    registration = json_set(registration, '$.revision', revision + 1) WHERE client_id = 'one';
             END",
        )
        .expect("made");
    let ended = operator.run(&["apply", "-f", "a.yaml"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
    let error = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        error.contains("client 'one' of realm 'alpha': somebody else has changed it since this was planned"),
        "{error}"
    );
    assert!(error.contains("1 change was made: realm 'alpha'; not made: client 'one' of realm 'alpha'"), "{error}");
    let again = operator.json(&["apply", "-f", "a.yaml"]);
    assert_eq!((&again["changed"], &again["not_done"]), (&json!(1), &json!(0)));
}

#[test]
fn where_nothing_could_be_done_no_store_stays_behind() {
    let operator = with_file("name: team-a\nclients: [{realm: nowhere, client_id: one}]\n");
    refused(&operator, &["apply", "-f", "a.yaml"], "its realm does not exist");
    assert!(!operator.data().exists());
}

#[test]
fn files_that_do_not_belong_together_are_refused_by_name() {
    let operator = with_file(FEWER);
    write(&operator, "b.yaml", "name: team-b\n");
    let ended = operator.run(&["apply", "-f", "a.yaml", "-f", "b.yaml"]);
    ended.is_refusal(1, "a.yaml and b.yaml have different names");
    write(&operator, "b.yaml", "name: team-a\nclients: [{realm: alpha, client_id: one}]\n");
    let ended = operator.run(&["apply", "-f", "a.yaml", "-f", "b.yaml"]);
    ended.is_refusal(
        1,
        "client 'one' of realm 'alpha' is declared twice: a.yaml:3:11: clients[0] and b.yaml:2:11: clients[0]",
    );
    let folder = operator.home.path().join("clients");
    fs::create_dir(&folder).expect("made");
    operator.refused(&["apply", "-f", "clients"], 1, "clients has no files whose names end in .yaml, .yml or .json");
    fs::write(folder.join("realm.yaml"), FEWER).expect("written");
    fs::write(folder.join("two.json"), r#"{"name": "team-a", "clients": [{"client_id": "two", "scope": "a"}]}"#)
        .expect("written");
    fs::write(folder.join("notes.txt"), "not a declaration").expect("written");
    assert_eq!(operator.json(&["apply", "-f", "clients"])["created"], json!(3));
    fs::write(folder.join("empty.yaml"), "").expect("written");
    operator.refused(&["apply", "-f", "clients", "--prune", "--yes"], 1, "empty.yaml is empty");
}

fn with_file(yaml: &str) -> Operator {
    let operator = Operator::new();
    write(&operator, "a.yaml", yaml);
    operator
}

fn applied(yaml: &str) -> Operator {
    let operator = with_file(yaml);
    operator.json(&["apply", "-f", "a.yaml"]);
    operator
}

/// With a plan in plan.json.
fn planned(yaml: &str) -> Operator {
    let operator = with_file(yaml);
    let Ended { status, stderr, .. } = operator.run(&["apply", "-f", "a.yaml", "--plan", "--out", "plan.json"]);
    assert_eq!(status, Some(3), "{stderr}");
    assert!(stderr.contains("the plan is in plan.json, which has no secret"), "{stderr}");
    operator
}

/// What is refused with a list below it.
#[track_caller]
fn refused(operator: &Operator, arguments: &[&str], sentence: &str) {
    let ended = operator.run(arguments);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
}

fn write(operator: &Operator, name: &str, text: &str) {
    fs::write(operator.home.path().join(name), text).expect("written");
}

fn relative(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).expect("below it").display().to_string()
}
