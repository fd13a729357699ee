//! `--help` and `--version`.

use super::operator::Operator;

#[test]
fn every_command_explains_itself_with_an_example() {
    let operator = Operator::new();
    let client = ["create", "list", "show", "update", "rotate-secret", "disable", "enable", "delete"];
    let clients = client.map(|command| vec!["client", command]);
    let realms = ["set", "show", "list"].map(|command| vec!["realm", command]);
    let keys = ["list", "rotate", "revoke"].map(|command| vec!["key", command]);
    let files = ["apply", "diff", "export", "import"].map(|command| vec![command]);
    let groups =
        [vec!["client"], vec!["realm"], vec!["key"], vec!["serve"], vec!["token", "get"]].into_iter().chain(files);
    for command in clients.into_iter().chain(realms).chain(keys).chain(groups) {
        let ended = operator.run_with(|process| {
            process.args(&command).arg("--help");
        });
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{command:?}");
        let example = format!("grantwell {}", command.join(" "));
        let (_, examples) = ended.stdout.split_once("\nExample").unwrap_or_else(|| panic!("{}", ended.stdout));
        assert!(examples.contains(&example), "{}", ended.stdout);
    }
    let ended = operator.run_with(|process| {
        process.arg("--version");
    });
    assert_eq!(ended.stdout, format!("grantwell {}\n", env!("CARGO_PKG_VERSION")));
}
