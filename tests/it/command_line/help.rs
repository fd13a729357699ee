//! `--help` and `--version`.

use super::operator::Operator;

#[test]
fn every_command_explains_itself_with_an_example() {
    let operator = Operator::new();
    let client = ["create", "list", "show", "update", "rotate-secret", "disable", "enable", "delete"];
    let clients = client.map(|command| vec!["client", command]);
    let realms = ["set", "show", "list"].map(|command| vec!["realm", command]);
    let keys = ["list", "rotate", "revoke"].map(|command| vec!["key", command]);
    let files = ["apply", "diff", "export", "import", "schema"].map(|command| vec![command]);
    let others = ["owner", "issuer", "trust", "log", "backup", "restore", "check"].map(|command| vec![command]);
    let groups = [vec!["client"], vec!["realm"], vec!["key"], vec!["serve"]].into_iter().chain(files).chain(others);
    let tokens = ["get", "inspect", "introspect", "revoke"].map(|command| vec!["token", command]);
    for command in clients.into_iter().chain(realms).chain(keys).chain(tokens).chain(groups) {
        let ended = operator.run_with(|process| {
            process.args(&command).arg("--help");
        });
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{command:?}");
        let example = format!("grantwell {}", command.join(" "));
        let (_, examples) = ended.stdout.split_once("\nExample").unwrap_or_else(|| panic!("{}", ended.stdout));
        assert!(examples.contains(&example), "{}", ended.stdout);
    }
    for command in ["get", "inspect", "introspect", "revoke"] {
        let help = operator.run(&["token", command, "--help"]).stdout;
        let narrow = |line: &&str| line.starts_with("  grantwell ") || line.starts_with("Usage:");
        let narrow: Vec<_> = help.lines().filter(narrow).collect();
        assert!(narrow.len() > 1 && narrow.iter().all(|line| line.chars().count() <= 80), "{narrow:#?}");
    }
    let ended = operator.run_with(|process| {
        process.arg("--version");
    });
    assert_eq!(ended.stdout, format!("grantwell {}\n", env!("CARGO_PKG_VERSION")));
}
