//! The command on a pseudo-terminal: what fits its width, and what it does not show.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::operator::{Operator, keys, text};

/// A terminal, and what it shows.
struct Terminal {
    keyboard: File,
    /// Its other side, which commands have.
    line: OwnedFd,
    shown: Receiver<Vec<u8>>,
}

impl Terminal {
    fn of_width(columns: u16) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&keyboard).expect("granted");
        unlockpt(&keyboard).expect("unlocked");
        let name = ptsname(&keyboard, Vec::new()).expect("a name");
        let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("opened");
        // `stty cols` says no number of rows.
        tcsetwinsize(&line, Winsize { ws_row: 0, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let (keyboard, (show, shown)) = (File::from(keyboard), mpsc::channel());
        let mut screen = keyboard.try_clone().expect("cloned");
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Until nobody has the other side any more, or nobody looks.
            while let Ok(length) = screen.read(&mut bytes) {
                if show.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, line, shown }
    }

    fn run(&self, operator: &Operator, arguments: &[&str]) -> Child {
        self.command(operator, arguments).env("NO_COLOR", "1").spawn().expect("grantwell starts")
    }

    fn command(&self, operator: &Operator, arguments: &[&str]) -> Command {
        let side = || Stdio::from(self.line.try_clone().expect("cloned"));
        let mut command = operator.bare_command();
        command.env("GRANTWELL_STORE", "file:data").env_remove("COLUMNS").args(arguments);
        command.stdin(side()).stdout(side()).stderr(side());
        command
    }

    /// What is on the screen once the other side is closed.
    fn text(self) -> String {
        let Self { keyboard, line, shown } = self;
        drop(line);
        let bytes: Vec<u8> = shown.iter().flatten().collect();
        drop(keyboard);
        String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n")
    }

    fn shows_what_is_typed(&self) -> bool {
        tcgetattr(&self.line).expect("attributes").local_modes.contains(LocalModes::ECHO)
    }

    fn wait_for_silence(&self) {
        let begun = Instant::now();
        while self.shows_what_is_typed() {
            assert!(begun.elapsed() < Duration::from_mins(1), "the terminal still shows what is typed");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// How every colour begins; what takes a line away begins otherwise.
const COLOUR: &str = "\u{1b}[3";

/// What the command shows on a terminal of so many columns.
fn shown(columns: u16, operator: &Operator, arguments: &[&str]) -> String {
    let terminal = Terminal::of_width(columns);
    let status = terminal.run(operator, arguments).wait().expect("it ends");
    assert!(status.success(), "{arguments:?}: {status}");
    terminal.text()
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}

#[test]
fn a_list_fits_the_terminal_and_never_breaks_an_id() {
    let operator = Operator::new();
    let uuid = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    let long = "i".repeat(70);
    for owner in ["alice@example.com", "bob@example.com"] {
        operator.json(&["owner", "create", owner]);
    }
    for id in ["short", uuid, &long] {
        operator.json(&[
            "client",
            "create",
            "--id",
            id,
            "--name",
            "A client with a name of some length",
            "--owner",
            "alice@example.com",
            "--owner",
            "bob@example.com",
            "--scope",
            "orders:read orders:write customers:read customers:write",
        ]);
    }
    for columns in [80, 120] {
        let list = shown(columns, &operator, &["client", "list"]);
        assert!(widest(&list) <= columns.into(), "{columns}\n{list}");
        assert!(widest(&list) > usize::from(columns) * 3 / 4, "the width is used: {columns}\n{list}");
        for word in ["short", uuid, &long, "owners", "active", "customers:write"] {
            assert!(list.split_whitespace().any(|found| found == word), "{word} in one piece, {columns}\n{list}");
        }
    }
    let all = shown(80, &operator, &["client", "list", "--realm", "*"]);
    for word in [uuid, "alice@example.com,", "customers:write"] {
        assert!(all.split_whitespace().any(|found| found == word), "{word} in one piece\n{all}");
    }
    // Elsewhere every client is one line, with all of it.
    let piped = operator.run(&["client", "list", "--output", "table"]).stdout;
    assert_eq!(piped.lines().count(), 5, "{piped}");
    let line = piped.lines().find(|line| line.starts_with(uuid)).expect("a line");
    assert!(line.contains("alice@example.com, bob@example.com"), "{piped}");
    assert!(line.contains("customers:read customers:write orders:read orders:write"), "{piped}");
}

#[test]
fn every_other_table_fits_the_terminal_too() {
    let operator = Operator::with_client();
    operator.json(&["client", "update", "myClient", "--name", &"n ".repeat(100), "--scope", "write"]);
    operator.json(&["key", "rotate"]);
    for columns in [80, 120] {
        for arguments in [&["client", "show", "myClient"][..], &["realm", "list"], &["realm", "show"], &["key", "list"]]
        {
            let table = shown(columns, &operator, arguments);
            assert!(widest(&table) <= columns.into(), "{arguments:?} {columns}\n{table}");
        }
    }
    let wide = shown(120, &operator, &["client", "show", "myClient"]);
    assert!(widest(&wide) > 80, "{wide}");
}

#[test]
fn help_is_wrapped_at_words() {
    let operator = Operator::new();
    let commands = [
        &[][..],
        &["serve"],
        &["demo"],
        &["client"],
        &["client", "create"],
        &["client", "list"],
        &["client", "show"],
        &["client", "update"],
        &["client", "rotate-secret"],
        &["client", "disable"],
        &["client", "enable"],
        &["client", "delete"],
        &["realm"],
        &["apply"],
        &["diff"],
        &["export"],
        &["backup"],
        &["restore"],
        &["check"],
        &["token", "inspect"],
        &["realm", "set"],
        &["realm", "delete"],
        &["realm", "show"],
        &["realm", "list"],
        &["key"],
        &["key", "list"],
        &["key", "rotate"],
        &["key", "revoke"],
        &["secrets", "bind"],
        &["report", "tokens"],
        &["cost"],
        &["completion"],
    ];
    for command in commands {
        for columns in [80, 120] {
            for help in ["-h", "--help"] {
                let help = shown(columns, &operator, &[command, &[help]].concat());
                assert!(widest(&help) <= columns.into(), "{command:?} {columns}\n{help}");
            }
        }
        let ended = operator.run(&[command, &["--help"]].concat());
        assert!(widest(&ended.stdout) <= 100, "{command:?}\n{}", ended.stdout);
        // A line of an example is there to be copied.
        let narrow = shown(80, &operator, &[command, &["--help"]].concat());
        for example in ended.stdout.lines().filter(|line| line.starts_with("  grantwell ")) {
            assert!(narrow.lines().any(|line| line == example), "{example}\n{narrow}");
        }
    }
}

/// A realm as a file declares it, with values that do not fit a line.
fn declared(operator: &Operator) {
    let rules: Vec<String> = (0..12)
        .map(|n| format!("{{name: rule-{n}, aws: {{account: '111122223333', role: a-role-with-a-long-name-{n}}}}}"))
        .collect();
    let file = format!(
        "name: team-a
realms: [{{realm: alpha, default_scope: orders}}]
clients:
  - {{realm: alpha, client_id: one, scope: '{}', access_token_claims: {{tenants: ['{}']}}}}
  - {{realm: alpha, client_id: two, scope: a, token_endpoint_auth_methods: [aws_iam], trust: [{}]}}
...
",
        (0..40).map(|n| format!("orders:{n}")).collect::<Vec<_>>().join(" "),
        "t".repeat(500),
        rules.join(", ")
    );
    fs::write(operator.home.path().join("a.yaml"), file).expect("written");
}

#[test]
fn a_plan_fits_the_terminal_and_shortens_what_is_long() {
    let operator = Operator::new();
    declared(&operator);
    for columns in [80, 120] {
        let terminal = Terminal::of_width(columns);
        let status = terminal.run(&operator, &["diff", "-f", "a.yaml"]).wait().expect("it ends");
        let plan = terminal.text();
        assert_eq!(status.code(), Some(3), "{plan}");
        assert!(widest(&plan) <= columns.into(), "{columns}\n{plan}");
        assert!(plan.contains("characters)") && plan.lines().count() < 40, "{plan}");
        assert!(plan.contains("rule-0: account 111122223333"), "{plan}");
        assert!(plan.contains("Plan of team-a: 3 to create, 0 to change, 0 to delete."), "{plan}");
        assert!(!plan.contains(COLOUR), "NO_COLOR is set: {plan}");
    }
    // JSON has everything whole.
    let whole = operator.run(&["diff", "-f", "a.yaml", "--output", "json"]).stdout;
    assert!(whole.contains(&"t".repeat(500)) && whole.contains("a-role-with-a-long-name-11"), "{whole}");
}

#[test]
fn a_plan_is_in_colour_on_a_terminal_alone() {
    let operator = Operator::new();
    declared(&operator);
    let arguments = ["diff", "-f", "a.yaml", "--output", "table"];
    for (variable, value, is_coloured) in
        [("NO_COLOR", "", true), ("TERM", "xterm", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
    {
        let terminal = Terminal::of_width(80);
        let mut command = terminal.command(&operator, &arguments);
        command.env_remove("NO_COLOR").env("TERM", "xterm").env(variable, value);
        command.status().expect("it ends");
        drop(command);
        let text = terminal.text();
        assert_eq!(text.contains("\u{1b}[32m+ realm 'alpha'\u{1b}[0m"), is_coloured, "{variable}={value}: {text}");
        assert_eq!(text.contains(COLOUR), is_coloured, "{variable}={value}: {text}");
    }
    assert!(!operator.run(&arguments).stdout.contains('\u{1b}'));
}

#[test]
fn pruning_asks_after_it_has_named_what_it_deletes() {
    for (typed, goes_on) in [("yes\n", true), ("no\n", false), ("\n", false), ("\u{4}", false)] {
        for format in ["table", "json"] {
            let operator = Operator::new();
            declared(&operator);
            operator.json(&["apply", "-f", "a.yaml"]);
            let fewer = "name: team-a\nclients: [{realm: alpha, client_id: one}]\n...\n";
            fs::write(operator.home.path().join("a.yaml"), fewer).expect("written");
            let before = operator.run(&["export"]).stdout;
            let mut terminal = Terminal::of_width(80);
            let mut child = terminal.run(&operator, &["apply", "-f", "a.yaml", "--prune", "--output", format]);
            terminal.keyboard.write_all(typed.as_bytes()).expect("typed");
            assert_eq!(child.wait().expect("it ends").code(), Some(i32::from(!goes_on)), "{typed:?}");
            let text = terminal.text();
            let (told, _) = text.split_once("Go on? Type yes: ").unwrap_or_else(|| panic!("{text}"));
            let named = match format {
                "table" => "- client 'two' of realm 'alpha' (disabled, then deleted with its secrets)\n",
                _ => "team-a no longer declares these records:\n  client 'two' of realm 'alpha'\n",
            };
            assert!(told.contains(named), "{text}");
            assert_eq!(told.matches("client 'two'").count(), 1, "{text}");
            assert!(told.contains("You are about to delete 1 client with its secrets"), "{text}");
            assert_eq!(operator.run(&["export"]).stdout != before, goes_on, "{text}");
        }
    }
}

#[test]
fn what_cannot_be_undone_is_asked_for_on_a_terminal() {
    // What is typed, and whether the command goes on.
    for (typed, goes_on) in
        [("yes\n", true), ("Y\n", true), ("no\n", false), ("\n", false), ("yesterday\n", false), ("\u{4}", false)]
    {
        let operator = Operator::with_client();
        let mut terminal = Terminal::of_width(80);
        let mut child = terminal.run(&operator, &["client", "delete", "myClient"]);
        terminal.keyboard.write_all(typed.as_bytes()).expect("typed");
        assert_eq!(child.wait().expect("it ends").success(), goes_on, "{typed:?}");
        let text = terminal.text();
        assert!(text.contains("You are about to delete client 'myClient' of realm 'root' with its secrets"), "{text}");
        assert!(text.contains("Go on? Type yes: "), "{text}");
        assert_eq!(text.contains("error: nothing was changed, because the answer was not yes"), !goes_on, "{text}");
        assert_eq!(operator.run(&["client", "show", "myClient"]).status, Some(i32::from(goes_on)), "{typed:?}");
    }
}

#[test]
fn each_command_that_cannot_be_undone_asks_and_changes_nothing_before_the_answer() {
    let operator = Operator::with_client();
    operator.json(&["realm", "set", "alpha"]);
    operator.json(&["key", "rotate"]);
    operator.json(&["backup", "--to", "saved.db"]);
    let kid = text(&keys(&operator.json(&["key", "list"]))[0]["kid"]).to_owned();
    let registry = || fs::read(operator.data().join("registry.db")).expect("readable");
    let before = registry();
    let commands: [&[&str]; 7] = [
        &["client", "update", "myClient", "--revoke-tokens"],
        &["client", "rotate-secret", "myClient", "--revoke-previous"],
        &["key", "revoke", &kid],
        &["realm", "set", "alpha", "--revoke-tokens"],
        &["realm", "delete", "alpha"],
        &["client", "delete", "myClient"],
        &["restore", "saved.db"],
    ];
    for command in commands {
        let mut terminal = Terminal::of_width(80);
        let mut child = terminal.run(&operator, command);
        terminal.keyboard.write_all(b"no\n").expect("typed");
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{command:?}");
        let shown = terminal.text();
        assert!(shown.contains("Go on? Type yes: "), "{command:?}\n{shown}");
        assert!(registry() == before, "{command:?} changed something");
    }
    // Whoever says so before is not asked.
    for command in commands {
        let shown = shown(80, &operator, &[command, &["--yes"]].concat());
        assert!(!shown.contains("Go on?"), "{command:?}\n{shown}");
    }
}

#[test]
fn a_signal_at_the_question_changes_nothing() {
    let operator = Operator::with_client();
    let terminal = Terminal::of_width(80);
    let mut child = terminal.run(&operator, &["client", "delete", "myClient"]);
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("Go on?") {
        seen.extend(terminal.shown.recv_timeout(Duration::from_mins(1)).expect("a question"));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("sent");
    assert!(!child.wait().expect("it ends").success());
    operator.json(&["client", "show", "myClient"]);
}

#[test]
fn a_secret_is_not_shown_while_it_is_typed() {
    let secret = "typed-by-hand-0123456789";
    for command in ["create", "rotate-secret"] {
        let operator = if command == "create" { Operator::new() } else { Operator::with_client() };
        let mut terminal = Terminal::of_width(80);
        let mut child = terminal.run(&operator, &["client", command, "--id", "myClient", "--secret-stdin"]);
        terminal.wait_for_silence();
        terminal.keyboard.write_all(format!("{secret}\n").as_bytes()).expect("typed");
        assert!(child.wait().expect("it ends").success());
        assert!(terminal.shows_what_is_typed(), "the terminal is as it was");
        let text = terminal.text();
        // In the answer alone.
        assert_eq!(text.matches(secret).count(), 1, "{text}");
        assert!(text.contains(&format!("\"client_secret\": \"{secret}\"")), "{text}");
        assert!(text.starts_with("note: type the secret and press Enter; it is not shown while you type\n"), "{text}");
    }
}

#[test]
fn a_terminal_shows_what_is_typed_again_after_a_signal() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1), (Signal::QUIT, 3)] {
        let operator = Operator::new();
        let terminal = Terminal::of_width(80);
        let mut child = terminal.run(&operator, &["client", "create", "--id", "myClient", "--secret-stdin"]);
        terminal.wait_for_silence();
        kill_process(Pid::from_child(&child), signal).expect("sent");
        assert_eq!(child.wait().expect("it ends").code(), Some(128 + number));
        assert!(terminal.shows_what_is_typed(), "after signal {number}");
        assert!(!operator.data().exists(), "nothing was registered");
    }
}
