//! What a file declares besides clients, as the commands show it and change it by hand.

use std::fs;

use serde_json::{Value, json};

use super::operator::{Operator, text};

#[test]
fn whoever_looks_at_a_record_sees_which_file_declares_it_and_whoever_changes_it_is_told() {
    let operator = Operator::new();
    write(&operator, FILE);
    operator.json(&["apply", "-f", "a.yaml"]);
    operator.json(&["client", "create", "--id", "by-hand"]);
    let file = |members: &[&str]| json!({ "name": "team-a", "members": members });
    for (show, members) in [
        (
            &["client", "show", "deploy", "--realm", "alpha"][..],
            &["owners", "scope", "token_endpoint_auth_methods", "trust"][..],
        ),
        (&["realm", "show", "alpha"], &["default_scope"]),
        (&["owner", "show", "alice"], &["email"]),
        (&["issuer", "show", "github", "--realm", "alpha"], &["issuer", "kind"]),
    ] {
        assert_eq!(operator.json(show)["managed_by"], file(members), "{show:?}");
        let table = operator.run(&[show, &["--output", "table"]].concat()).stdout;
        let row = table.lines().find(|line| line.contains("managed_by")).unwrap_or_else(|| panic!("{table}"));
        assert!(row.contains("team-a"), "{row}");
    }
    let by_hand = operator.run(&["client", "show", "by-hand", "--output", "table"]).stdout;
    assert!(!by_hand.contains("managed_by"), "{by_hand}");

    for (command, told) in [
        (
            &["client", "update", "deploy", "--realm", "alpha", "--scope", "read write", "--name", "Deploy"][..],
            Some("client 'deploy' is declared by 'team-a': the next `grantwell apply` of that file sets scope back"),
        ),
        (&["client", "update", "deploy", "--realm", "alpha", "--name", "Deployment"], None),
        (&["client", "disable", "deploy", "--realm", "alpha"], None),
        (
            &["realm", "set", "alpha", "--default-scope", ""],
            Some(
                "realm 'alpha' is declared by 'team-a': the next `grantwell apply` of that file sets default_scope back",
            ),
        ),
        (
            &["owner", "update", "alice", "--email", ""],
            Some("owner 'alice' is declared by 'team-a': the next `grantwell apply` of that file sets email back"),
        ),
        (
            &["issuer", "remove", "github", "--realm", "alpha", "--force"],
            Some("issuer 'github' is declared by 'team-a': the next `grantwell apply` of that file makes it again"),
        ),
        (
            &["client", "delete", "deploy", "--realm", "alpha"],
            Some("client 'deploy' is declared by 'team-a': the next `grantwell apply` of that file makes it again"),
        ),
        (
            &["owner", "delete", "alice"],
            Some("owner 'alice' is declared by 'team-a': the next `grantwell apply` of that file makes it again"),
        ),
    ] {
        let ended = operator.run(command);
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        match told {
            Some(told) => assert!(ended.stderr.contains(told), "{command:?}: {}", ended.stderr),
            None => assert!(!ended.stderr.contains("grantwell apply"), "{command:?}: {}", ended.stderr),
        }
    }
    let again = operator.json(&["apply", "-f", "a.yaml"]);
    assert_eq!((&again["created"], &again["changed"]), (&json!(3), &json!(1)), "{again}");
}

#[test]
fn owners_and_issuers_are_pruned_with_a_question_that_names_them() {
    let operator = Operator::new();
    write(&operator, FILE);
    operator.json(&["apply", "-f", "a.yaml"]);
    write(&operator, "name: team-a\nrealms: [{realm: alpha, default_scope: read}]\n...\n");
    let ended = operator.run(&["apply", "-f", "a.yaml", "--prune", "--prune-at-most", "3"]);
    ended.is_refusal(2, "delete 1 client with its secrets, 1 issuer and 1 owner");
    for named in ["client 'deploy' of realm 'alpha'", "issuer 'github' of realm 'alpha'", "owner 'alice'"] {
        assert!(ended.stderr.contains(&format!("\n  {named}\n")), "{}", ended.stderr);
    }
    let planned = operator.run(&["diff", "-f", "a.yaml", "--prune", "--output", "table"]).stdout;
    assert!(planned.contains("- issuer 'github' of realm 'alpha'\n"), "{planned}");
    let plan = operator.run(&["apply", "-f", "a.yaml", "--prune", "--plan", "--out", "plan.json"]);
    assert_eq!(plan.status, Some(3), "{}", plan.stderr);
    let result = operator.json(&["apply", "plan.json", "--yes", "--prune-at-most", "3"]);
    assert_eq!(result["deleted"], json!(3));
    let outcomes: Vec<&str> =
        result["changes"].as_array().expect("changes").iter().map(|change| text(&change["outcome"])).collect();
    assert_eq!(outcomes, ["done"; 3]);
    assert_eq!(operator.json(&["owner", "list"])["owners"], json!([]));
    assert_eq!(operator.json(&["issuer", "list", "--realm", "alpha"])["issuers"], json!([]));
}

#[test]
fn an_export_of_a_realm_has_its_issuers_its_clients_and_their_owners_and_stands_by_itself() {
    let operator = Operator::new();
    write(&operator, FILE);
    operator.json(&["apply", "-f", "a.yaml"]);
    operator.json(&["owner", "create", "idle"]);
    let of_alpha: Value = operator.json(&["export", "--realm", "alpha", "--output", "json"]);
    assert_eq!(of_alpha["owners"], json!([{ "owner": "alice", "email": "alice@example.com" }]));
    assert_eq!(of_alpha["issuers"][0]["name"], "github");
    let elsewhere = Operator::new();
    write(&elsewhere, &of_alpha.to_string());
    elsewhere.json(&["apply", "-f", "a.yaml"]);
    assert_eq!(elsewhere.json(&["export", "--output", "json"]), of_alpha);

    let ended = operator.run(&["apply", "-f", "a.yaml", "--store", "file:other"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    write(&operator, "name: team-a\nclients: [{client_id: x, owners: [nobody]}]\n");
    let told = "its owner 'nobody' does not exist, and the file does not declare it; declare it under owners, or make it with \
                `grantwell owner create nobody`";
    let ended = operator.run(&["apply", "-f", "a.yaml"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_what_to_do_and_the_names_filled_in() {
    let operator = Operator::new();
    write(&operator, "name: team-b\nrealms: [{realm: alpha}]\nowners: [{owner: bob, status: disabled}]\n");
    operator.json(&["apply", "-f", "a.yaml"]);
    write(
        &operator,
        &FILE.replace("[alice]", "[bob]").replace("issuers:\n  - {realm: alpha, name: github, preset: github}\n", ""),
    );
    let without_rule = FILE.split("    token_endpoint_auth_methods").next().expect("a file");
    let rule = "client 'deploy' of realm 'alpha': rule 'main': the realm does not trust the issuer \
                https://token.actions.githubusercontent.com; declare it under issuers, or add it with `grantwell issuer add NAME \
                --realm alpha --issuer https://token.actions.githubusercontent.com`";
    let owner = "its owner 'bob' is disabled, so it is given no client; enable it with `grantwell owner update bob --status \
                 active`, or declare it under owners with status: active";
    let realm = "realm 'alpha': it is declared by 'team-b'; take it over with --adopt, or leave it out";
    let ended = operator.run(&["apply", "-f", "a.yaml"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    for told in [realm, rule] {
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    write(&operator, &without_rule.replace("[alice]", "[bob]"));
    let ended = operator.run(&["apply", "-f", "a.yaml"]);
    for told in [realm, owner] {
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

fn write(operator: &Operator, file: &str) {
    fs::write(operator.home.path().join("a.yaml"), file).expect("written");
}

const FILE: &str = "name: team-a
realms:
  - {realm: alpha, default_scope: read}
owners:
  - {owner: alice, email: alice@example.com}
issuers:
  - {realm: alpha, name: github, preset: github}
clients:
  - realm: alpha
    client_id: deploy
    owners: [alice]
    scope: read
    token_endpoint_auth_methods: [workload_identity]
    trust:
      - name: main
        issuer: https://token.actions.githubusercontent.com
        claims: [{path: [repository_id], equals: 74}]
...
";
