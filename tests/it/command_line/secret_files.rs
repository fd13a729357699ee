//! The directory of secrets of `grantwell apply`, when runs are interrupted or meet.

use std::fs::{self, File};

use super::operator::Operator;

const TWO: &str = "name: team-a\nclients: [{client_id: one, scope: read}, {client_id: two, scope: read}]\n...\n";
const APPLY: [&str; 5] = ["apply", "-f", "a.yaml", "--secrets-dir", "s"];

#[test]
fn what_an_interrupted_run_leaves_in_the_directory_stops_no_later_one() {
    let operator = with_two();
    let directory = operator.home.path().join("s/root");
    fs::create_dir_all(&directory).expect("made");
    // It ended between two steps of trying whether files can be made.
    fs::write(directory.join(".grantwell-tries-to-write"), "").expect("written");
    let ended = operator.run(&APPLY);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);

    // It ended after it had given the file its name, and before it took the other one away.
    fs::hard_link(directory.join("one"), directory.join(".one.new")).expect("linked");
    operator.json(&["client", "delete", "two", "--yes"]);
    fs::remove_file(directory.join("two")).expect("removed");
    let ended = operator.run(&APPLY);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(directory.join("one").exists() && directory.join("two").exists() && !directory.join(".one.new").exists());
}

#[test]
fn a_client_without_a_secret_needs_no_file() {
    let operator = with_two();
    let with_role = "name: team-a
issuers: [{name: github, kind: github}]
clients:
  - {client_id: one, scope: read}
  - client_id: deploy
    scope: read
    token_endpoint_auth_methods: [workload_identity]
    trust: [{name: main, issuer: 'https://token.actions.githubusercontent.com', claims: [{path: [repository_id], equals: 74}]}]
...
";
    fs::write(operator.home.path().join("a.yaml"), with_role).expect("written");
    let ended = operator.run(&APPLY);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(operator.home.path().join("s/root/one").exists() && !operator.home.path().join("s/root/deploy").exists());
}

#[test]
fn two_runs_do_not_write_into_one_directory() {
    let operator = with_two();
    fs::create_dir_all(operator.home.path().join("s")).expect("made");
    let lock = File::create(operator.home.path().join("s/.grantwell-apply.lock")).expect("made");
    lock.lock().expect("free");
    operator.refused(&APPLY, 1, "another `grantwell apply` is writing secrets to s");
    assert_eq!(operator.json(&["client", "list"])["clients"].as_array().map(Vec::len), Some(0), "nothing was changed");
    drop(lock);
    assert_eq!(operator.run(&APPLY).status, Some(0));
}

fn with_two() -> Operator {
    let operator = Operator::new();
    operator.json(&["realm", "set", "beta"]);
    fs::write(operator.home.path().join("a.yaml"), TWO).expect("written");
    operator
}
