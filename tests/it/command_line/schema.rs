//! `grantwell schema`, and files that are wrong, from outside.

use std::fs;

use super::operator::Operator;

#[test]
fn an_exported_file_names_the_schema_that_is_printed_and_both_lie_in_one_folder() {
    let operator = Operator::with_client();
    let folder = operator.data().with_file_name("clients");
    fs::create_dir(&folder).expect("a folder");

    let exported = operator.run(&["export"]).stdout;
    assert_eq!(exported.lines().next(), Some("# yaml-language-server: $schema=declaration.schema.json"));
    let json = operator.run(&["export", "--output", "json"]).stdout;
    assert!(json.starts_with("{\n  \"$schema\": \"declaration.schema.json\",\n  \"name\": "), "{json}");
    let schema = operator.run(&["schema"]).stdout;
    assert_eq!(schema, include_str!("../../../docs/schemas/declaration.schema.json"));
    let rules = operator.run(&["schema", "trust-rules"]).stdout;
    assert_eq!(rules, include_str!("../../../docs/schemas/trust-rules.schema.json"));

    fs::write(folder.join("declaration.schema.json"), schema).expect("written");
    for (file, text) in [("realm.yaml", &exported), ("realm.json", &json)] {
        fs::write(folder.join(file), text).expect("written");
        let ended = operator.run(&["apply", "-f", "clients", "--adopt", "--plan"]);
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(3), ""), "{file}");
        fs::remove_file(folder.join(file)).expect("removed");
    }
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_line_and_nothing_is_made_or_repeated() {
    let operator = Operator::new();
    for (text, told) in [
        (
            "name: a\nclients:\n- client_id: 123\n",
            "standard input:3:14: clients[0]: client_id: has to be text: write it in quotes",
        ),
        (
            "name: a\nclients:\n- {client_id: x, scopes: read}\n",
            "standard input:3:18: clients[0]: there is no member 'scopes'; did you mean 'scope'?",
        ),
        ("name: a\nclients: {client_id: hunter2hunter2}\n", "standard input:2:10: clients: has to be a list"),
        (
            "name: a\nclients:\n- client_id: x\n  client_secret: hunter2hunter2\n",
            "standard input:4:18: clients[0]: client_secret: a file never has a secret",
        ),
        ("name: a\nclients:\n- client_id: x\n  client_secret:hunter2hunter2\n", "standard input:4:3: "),
        (
            "name: a\nclients:\n- client_id: x\n  jwks: {kty: oct, k: hunter2hunter2}\n",
            "standard input:4:9: clients[0]: jwks: key 1 of the JWK Set is a symmetric key",
        ),
        (
            "{\"name\": \"a\", \"clients\": [{\"client_id\": \"hunter2hunter2",
            "standard input:1:55: the file ends before something",
        ),
    ] {
        let ended = operator.fed(&["apply", "-f", "-"], text);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{text}");
        assert!(ended.stderr.starts_with(&format!("error: {told}")), "{text}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    assert!(!operator.data().exists(), "no store was made");
}
