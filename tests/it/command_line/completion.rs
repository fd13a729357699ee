//! `grantwell completion`: scripts that shells read.

use std::fs;
use std::process::Command;

use super::operator::Operator;

fn script(operator: &Operator, shell: &str) -> String {
    let ended = operator.run(&["completion", shell]);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{shell}");
    ended.stdout
}

/// Runs `program`, where this machine has it.
fn is_valid(program: &str, arguments: &[&str]) -> Option<bool> {
    let output = Command::new(program).args(arguments).output().ok()?;
    assert!(output.stderr.is_empty(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.status.success())
}

#[test]
fn each_shell_gets_a_script_that_it_can_read() {
    let operator = Operator::new();
    for (shell, begin) in
        [("bash", "_grantwell() {"), ("zsh", "#compdef grantwell"), ("fish", "# Print an optspec for argparse")]
    {
        let script = script(&operator, shell);
        assert!(script.starts_with(begin), "{shell}: {script}");
        for word in ["rotate-secret", "secret-stdin", "token-lifetime", "report", "completion"] {
            assert!(script.contains(word), "{shell} completes {word}");
        }
        let path = operator.home.path().join(shell);
        fs::write(&path, &script).expect("written");
        let valid = is_valid(shell, &["-n", path.to_str().expect("UTF-8")]);
        assert!(valid.unwrap_or(shell != "bash"), "{shell}");
    }
    assert!(!operator.data().exists(), "nothing is opened");
    operator.refused(&["completion", "csh"], 2, "[possible values: bash, zsh, fish]");
}

#[test]
fn bash_completes_commands_options_and_values() {
    let operator = Operator::new();
    let path = operator.home.path().join("grantwell.bash");
    fs::write(&path, script(&operator, "bash")).expect("written");
    for (words, expected) in [
        (&["grantwell", "cl"][..], "client"),
        (&["grantwell", "client", "rotate"], "rotate-secret"),
        (&["grantwell", "client", "list", "--exp"], "--expiring"),
        (&["grantwell", "client", "list", "--status", "dis"], "disabled"),
        (&["grantwell", "completion", "z"], "zsh"),
        (&["grantwell", "ap"], "apply"),
        (&["grantwell", "apply", "--secrets"], "--secrets-dir"),
        (&["grantwell", "apply", "--prune-"], "--prune-at-most"),
        (&["grantwell", "diff", "--ad"], "--adopt"),
        (&["grantwell", "export", "--output", "y"], "yaml"),
        (&["grantwell", "token", "get", "--git"], "--github"),
        (&["grantwell", "token", "get", "--service", "lam"], "lambda"),
    ] {
        let (last, previous) = (words[words.len() - 1], words[words.len() - 2]);
        let line = format!(
            r#"source "$1"; COMP_WORDS=({}); COMP_CWORD={}; _grantwell grantwell "{last}" "{previous}"; echo "${{COMPREPLY[@]}}""#,
            words.join(" "),
            words.len() - 1,
        );
        let output = Command::new("bash").args(["-c", &line, "bash"]).arg(&path).output().expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{words:?}: {output:?}");
    }
}
