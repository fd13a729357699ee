//! Faults of the machine that pass: a full disk, one that confirms nothing, no file descriptor left, no permission. Reads answer
//! meanwhile, what cannot be written is 503, and when the cause has gone nobody has to do anything. Linux only.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection as Sqlite;
use rusqlite::params;

use crate::support::cli::{Registered, Store, grantwell};
use crate::support::disk::WatchedDisk;
use crate::support::http::{Answer, Connection, FORM};
use crate::support::jwt::parts;
use crate::support::poll;
use crate::support::server::{Server, Start};
use crate::support::shared::STATELESS_JWT;

const GRANT: &str = "grant_type=client_credentials";
const CLIENT: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
/// How long after the cause has gone everything works again, without an operator.
const OVER_WITHIN: Duration = Duration::from_secs(10);

#[track_caller]
fn assert_try_again(answer: &Answer) {
    answer.assert_refused(503, "temporarily_unavailable");
    let seconds = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{answer:?}");
}

fn lines_with(server: &Server, text: &str) -> usize {
    server.stderr().lines().filter(|line| line.contains(text)).count()
}

/// Has tokens issued and revoked, then the fault, then what must hold without anybody doing anything.
fn passes(fault: &str, sync: &str, cause: &str) {
    let (store, disk) = (Store::new(), WatchedDisk::new());
    let client = store.register("root", "patient", &CLIENT);
    let mut server = disk.under(Start::on(&store.argument()).arguments(&["--sync", sync])).spawn();
    let (kept, revoked, to_revoke) =
        (server.token(&client, "a"), server.token(&client, "a"), server.token(&client, "a"));
    assert_eq!(server.revoke(&client, &revoked).status, 200);

    disk.begin(fault);
    for _ in 0..20 {
        assert_try_again(&server.token_request(&client, ""));
        assert_try_again(&server.revoke(&client, &to_revoke));
        // Nothing is half done, and whoever asks is answered.
        server.introspect(&client, &kept).assert_active();
        server.introspect(&client, &to_revoke).assert_active();
        server.introspect(&client, &revoked).assert_inactive();
    }
    poll("the operator is told", OVER_WITHIN, || (lines_with(&server, "tokens cannot be written") > 0).then_some(()));
    let line = server.stderr().lines().find(|line| line.contains("tokens cannot be written")).map(str::to_owned);
    let line = line.expect("a line");
    assert!(line.contains("ERROR") && line.contains(cause), "{line}");

    disk.end(fault);
    let ended = Instant::now();
    let issued = poll("tokens are issued again", OVER_WITHIN, || {
        let answer = server.token_request(&client, "");
        (answer.status == 200).then(|| answer.assert_token("a"))
    });
    assert_eq!(server.revoke(&client, &to_revoke).status, 200);
    assert!(ended.elapsed() < OVER_WITHIN, "{:?}", ended.elapsed());
    poll("the operator is told that it is over", OVER_WITHIN, || {
        (lines_with(&server, "tokens are written again") > 0).then_some(())
    });
    assert_eq!(lines_with(&server, "tokens cannot be written"), 1, "once: {}", server.stderr());
    assert_eq!(lines_with(&server, "tokens are written again"), 1, "once: {}", server.stderr());

    // Nothing that was acknowledged is lost, whatever the process dies of.
    server.kill();
    let server = Start::on(&store.argument()).spawn();
    for token in [&kept, &issued] {
        server.introspect(&client, token).assert_active();
    }
    for token in [&revoked, &to_revoke] {
        server.introspect(&client, token).assert_inactive();
    }
}

#[test]
fn a_full_disk_is_503_for_who_writes_and_over_when_there_is_room() {
    passes("full", "os", "disk_full");
    passes("full", "always", "disk_full");
}

#[test]
fn a_disk_that_confirms_nothing_is_503_and_over_when_it_does() {
    passes("fails", "always", "failed");
}

#[test]
fn a_cause_that_has_gone_is_noticed_though_nobody_writes() {
    let (store, disk) = (Store::new(), WatchedDisk::new());
    let client = store.register("root", "silent", &CLIENT);
    let server = disk.under(Start::on(&store.argument())).spawn();
    disk.begin("full");
    assert_try_again(&server.token_request(&client, ""));
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(lines_with(&server, "tokens are written again"), 0, "it has not gone");
    disk.end("full");
    poll("the operator is told that it is over", OVER_WITHIN, || {
        (lines_with(&server, "tokens are written again") == 1).then_some(())
    });
}

#[test]
fn a_server_on_a_full_disk_ends_when_it_is_told_to_and_says_what_is_where() {
    let (store, disk) = (Store::new(), WatchedDisk::new());
    let client = store.register("root", "last", &CLIENT);
    let mut server = disk.under(Start::on(&store.argument())).spawn();
    let token = server.token(&client, "a");
    disk.begin("full");
    assert_try_again(&server.token_request(&client, ""));
    server.signal("TERM");
    let status = server.wait();
    let (_, stderr) = server.into_output();
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains("no space is left on the disk"), "{status}: {stderr}");
    assert!(last.contains("the next start reads"), "what was acknowledged is not lost: {last}");
    assert!(last.ends_with("; free some space and try again"), "{last}");

    disk.end("full");
    let server = disk.under(Start::on(&store.argument())).spawn();
    server.introspect(&client, &token).assert_active();
    server.token(&client, "a");
}

/// Its soft and hard limit of file descriptors become what it has open.
fn leave_no_descriptor(server: &Server) {
    let process = server.process_id();
    let open = fs::read_dir(format!("/proc/{process}/fd")).expect("a process of ours").count();
    let limit = format!("--nofile={open}:{open}");
    let limited = Command::new("prlimit").args(["--pid", &process.to_string(), &limit]).status();
    assert!(limited.expect("prlimit of util-linux").success());
}

#[test]
fn without_a_descriptor_left_tokens_are_issued_and_revoked_all_the_same() {
    let store = Store::new();
    let client = store.register("root", "crowded", &CLIENT);
    let mut server = Start::on(&store.argument()).environment("GRANTWELL_LOG_LEVEL", "warn").spawn();
    let mut connection = Connection::open(&server);
    // On one connection: there can be no other.
    let mut ask = |path: &str, form: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
            client.basic(),
            form.len()
        );
        connection.send(format!("{head}{form}").as_bytes());
        connection.answer(true)
    };
    let first = ask("/oauth2/access_token", GRANT).assert_token("a");
    leave_no_descriptor(&server);

    let tokens: Vec<String> = (0..3_000).map(|_| ask("/oauth2/access_token", GRANT).assert_token("a")).collect();
    for token in tokens.iter().step_by(100) {
        assert_eq!(ask("/oauth2/token/revoke", &format!("token={token}")).status, 200);
        ask("/oauth2/introspect", &format!("token={token}")).assert_inactive();
    }
    ask("/oauth2/introspect", &format!("token={first}")).assert_active();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let server = Start::on(&store.argument()).spawn();
    for (number, token) in tokens.iter().enumerate().step_by(50) {
        let answer = server.introspect(&client, token);
        if number % 100 == 0 { answer.assert_inactive() } else { drop(answer.assert_active()) }
    }
}

/// A server on a disk of its own, of so many MB, where this machine lets a test have one; and the path of its directory from here.
fn on_a_small_disk(store: &Store, megabytes: u32) -> Option<(Server, PathBuf)> {
    let can_mount = Command::new("unshare").args(["-r", "-m", "true"]).stderr(Stdio::null()).status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: nobody may mount here");
        return None;
    }
    let data = store.directory().display();
    // The shell is run anew as the superuser of a namespace of its own, and becomes the server there.
    let mount = format!(
        r#"[ -n "$MOUNTED" ] || MOUNTED=1 exec unshare -r -m sh -c 'cp -a {data} {data}.before && mount -t tmpfs -o size={megabytes}m,mode=0700 none {data} && cp -a {data}.before/. {data} && exec "$0" "$@"' "$0" "$@""#
    );
    let server = Start::on(&store.argument()).environment("GRANTWELL_LOG_LEVEL", "warn").after(&mount).spawn();
    let inside = PathBuf::from(format!("/proc/{}/root{data}", server.id()));
    Some((server, inside))
}

/// Asks for so many tokens, each of which it must get.
fn assert_issues(server: &Server, client: &Registered, tokens: usize) -> String {
    let mut last = String::new();
    for _ in 0..tokens.div_ceil(500) {
        let mut connection = Connection::open(server);
        let head = format!(
            "POST /oauth2/access_token HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n{GRANT}",
            client.basic(),
            GRANT.len()
        );
        for _ in 0..500 {
            connection.send(head.as_bytes());
            last = connection.answer(true).assert_token("a");
        }
    }
    last
}

#[test]
fn a_server_alone_on_a_small_disk_does_not_fill_it_with_its_log() {
    let store = Store::new();
    let client = store.register("root", "alone", &CLIENT);
    let Some((server, inside)) = on_a_small_disk(&store, 6) else { return };
    // With a log that is kept until 20,000 are in it there would be room for 1,100.
    let first = assert_issues(&server, &client, 500);
    let last = assert_issues(&server, &client, 5_000);
    for token in [&first, &last] {
        server.introspect(&client, token).assert_active();
    }

    // Others fill it, and make room again.
    let filler = inside.join("filler");
    let fill = Command::new("sh").args(["-c", "cat /dev/zero >\"$0\""]).arg(&filler).stderr(Stdio::null()).status();
    assert!(!fill.expect("sh runs").success(), "there is no end of the disk");
    for _ in 0..20 {
        assert_try_again(&server.token_request(&client, ""));
        assert_try_again(&server.revoke(&client, &first));
        server.introspect(&client, &first).assert_active();
    }
    fs::remove_file(&filler).expect("the filler");
    poll("tokens are issued again", OVER_WITHIN, || (server.token_request(&client, "").status == 200).then_some(()));
    assert_eq!(server.revoke(&client, &first).status, 200);
    server.introspect(&client, &first).assert_inactive();
    let last = assert_issues(&server, &client, 3_000);
    server.introspect(&client, &last).assert_active();
    assert_eq!(lines_with(&server, "tokens cannot be written"), 1, "{}", server.stderr());
}

#[test]
fn a_disk_that_is_too_small_for_its_tokens_is_503_until_they_expire() {
    let store = Store::new();
    let client = store.register("root", "short", &[&CLIENT[..], &["--token-lifetime", "60"]].concat());
    let Some((server, _)) = on_a_small_disk(&store, 3) else { return };
    let issued = poll("it is full", Duration::from_secs(50), || {
        (0..200).find_map(|_| Some(server.token_request(&client, "")).filter(|answer| answer.status != 200))
    });
    assert_try_again(&issued);
    // What is left of the disk lets one through now and then; room is there again a minute after the first have expired.
    poll("tokens are issued again", Duration::from_mins(3), || {
        let begun = Instant::now();
        let issued = (0..20).take_while(|_| server.token_request(&client, "").status == 200).count();
        (issued == 20 && begun.elapsed() < Duration::from_secs(5)).then_some(())
    });
}

#[test]
fn nothing_is_acknowledged_into_a_token_database_that_was_taken_away() {
    let store = Store::new();
    let client = store.register("root", "moved", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    let (path, aside) = (store.directory().join("tokens.db"), store.directory().join("aside"));
    for replacement in [false, true] {
        fs::rename(&path, &aside).expect("moved");
        if replacement {
            fs::copy(&aside, &path).expect("copied");
        }
        thread::sleep(Duration::from_millis(1_100));
        for _ in 0..5 {
            assert_try_again(&server.token_request(&client, ""));
            assert_try_again(&server.revoke(&client, &token));
            server.introspect(&client, &token).assert_active();
        }
        let log = server.stderr();
        let line = log.lines().rfind(|line| line.contains("tokens cannot be written")).expect("a line");
        assert!(line.contains("replaced") && line.contains("restart the server"), "{line}");
        fs::rename(&aside, &path).expect("moved back");
        poll("tokens are issued again", OVER_WITHIN, || {
            (server.token_request(&client, "").status == 200).then_some(())
        });
        thread::sleep(Duration::from_millis(1_100));
        server.token(&client, "a");
    }
}

/// What a command prints that must fail, with what it must not say of a store that is well.
#[track_caller]
fn assert_names(refused: &Output, reason: &str) {
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code().is_some_and(|code| code != 0), "{refused:?}");
    let sentence = stderr.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("error: ") && sentence.contains(reason), "{reason}: {stderr}");
    for untrue in ["backup", "there is no", "panicked"] {
        assert!(!stderr.contains(untrue), "{stderr}");
    }
}

#[test]
fn what_keeps_a_store_from_being_opened_is_named_at_the_start_and_by_every_command() {
    let (store, disk) = (Store::new(), WatchedDisk::new());
    let client = store.register("root", "known", &CLIENT);
    drop(Start::on(&store.argument()).spawn());
    let commands: [&[&str]; 4] = [
        &["client", "create", "--id", "new", "--scope", "a", "--default-scope", "a"],
        &["client", "update", "known", "--scope", "a b"],
        &["client", "rotate-secret", "known"],
        &["realm", "set", "alpha"],
    ];
    for (fault, reason) in [
        ("full", "no space is left on the disk"),
        ("denied", "permission denied"),
        ("none", "no file descriptor is left"),
    ] {
        disk.begin(fault);
        assert_names(&disk.under(Start::on(&store.argument())).expect_refusal(), reason);
        for command in commands {
            let refused = grantwell()
                .args(command)
                .args(["--store", &store.argument()])
                .envs(disk.environment())
                .stdin(Stdio::null())
                .output();
            assert_names(&refused.expect("grantwell starts"), reason);
        }
        disk.end(fault);
    }
    // All of it is as it was.
    disk.under(Start::on(&store.argument())).spawn().token(&client, "a");
}

#[test]
fn a_damaged_token_database_is_to_be_moved_away_and_not_to_be_restored() {
    let store = Store::new();
    let client = store.register("root", "damaged", &CLIENT);
    let mut server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    server.signal("TERM");
    server.wait();
    fs::write(store.directory().join("tokens.db"), [7; 8192]).expect("written");
    let refused = Start::on(&store.argument()).expect_refusal();
    assert_names(&refused, "move away tokens.db and the files beside it");

    for file in ["tokens.db", "tokens.db-ends"] {
        fs::rename(store.directory().join(file), store.directory().join(format!("{file}.damaged"))).expect("moved");
    }
    let server = Start::on(&store.argument()).spawn();
    server.introspect(&client, &token).assert_inactive();
    server.introspect(&client, &server.token(&client, "a")).assert_active();
}

fn tokens_of(store: &Store) -> Sqlite {
    Sqlite::open(store.directory().join("tokens.db")).expect("the token database")
}

/// A server on a store of its own, a client that may have two tokens an hour, and one of them.
fn with_a_token(quota: &[&str]) -> (Store, Registered, Server, String) {
    let store = Store::new();
    let client = store.register("root", "stored", &[&CLIENT[..], quota].concat());
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    (store, client, server, token)
}

#[test]
fn a_stored_token_that_cannot_be_read_is_500_and_never_a_guess() {
    let (store, client, server, token) = with_a_token(&[]);
    let sqlite = tokens_of(&store);
    let (record, expires_at): (Vec<u8>, i64) = sqlite
        .query_row("SELECT record, expires_at FROM access_tokens", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("a record");
    let with = |old: &str, new: &str| {
        let text = String::from_utf8(record.clone()).expect("text");
        assert!(text.contains(old), "{old} in {text}");
        text.replacen(old, new, 1).into_bytes()
    };
    let of_version = |version: u8| [&[version], &record[1..]].concat();
    for (what, damaged, expires_at) in [
        ("nothing", Vec::new(), expires_at),
        ("no record", b"canary".to_vec(), expires_at),
        ("half of it", record[..record.len() / 2].to_vec(), expires_at),
        ("a later version", of_version(3), expires_at),
        ("a mark with the members of a record", of_version(2), expires_at),
        ("a mark without anything", vec![2], expires_at),
        ("version 0", of_version(0), expires_at),
        ("a number for a client", with(r#""stored""#, "7"), expires_at),
        ("no realm's name", with(r#""root""#, r#""Not a realm""#), expires_at),
        ("an end before 1970", record.clone(), -1),
    ] {
        let update = "UPDATE access_tokens SET record = ?1, expires_at = ?2";
        sqlite.execute(update, params![damaged, expires_at]).expect("updated");
        for answer in [server.introspect(&client, &token), server.revoke(&client, &token)] {
            assert_eq!(answer.status, 500, "{what}: {answer:?}");
            answer.assert_refused(500, "server_error");
        }
    }
    assert!(!server.stderr().contains("canary"), "a log names the fault, not the data:\n{}", server.stderr());

    // A later build's optional member is no fault.
    let restore = "UPDATE access_tokens SET record = ?1, expires_at = ?2";
    sqlite.execute(restore, params![with("{}", r#"{"cnf":{"jkt":"a"}}"#), expires_at]).expect("updated");
    server.introspect(&client, &token).assert_active();
}

#[test]
fn a_count_that_is_no_number_of_tokens_is_500() {
    let (store, client, server, _) = with_a_token(&["--token-quota", "2/hour"]);
    tokens_of(&store).execute("UPDATE token_quotas SET tokens = -1", []).expect("updated");
    server.token_request(&client, "").assert_refused(500, "server_error");
}

#[test]
fn a_store_that_does_not_know_since_when_it_is_whole_is_whole_since_now() {
    let store = Store::new();
    let client = store.register("root", "stateless", &[&CLIENT[..], &STATELESS_JWT].concat());
    let fact = |sql: &str| assert_eq!(tokens_of(&store).execute(sql, []).expect("updated"), 1);
    let mut server = Start::on(&store.argument()).spawn();
    // Once the second is over in which the store began, it keeps no record of these.
    let token = poll("a token without a record", Duration::from_secs(10), || {
        let token = server.jwt(&client, "a", "");
        parts(&token).1["jti"].as_str().is_some_and(|jti| jti.starts_with("stateless.")).then_some(token)
    });
    server.introspect(&client, &token).assert_active();
    server.signal("TERM");
    server.wait();

    fact("DELETE FROM facts WHERE name = 'whole_since'");
    let server = Start::on(&store.argument()).spawn();
    for _ in 0..2 {
        server.introspect(&client, &token).assert_inactive();
    }
    drop(server);
    let server = Start::on(&store.argument()).spawn();
    server.introspect(&client, &token).assert_inactive();
    drop(server);

    fact("UPDATE facts SET value = -1 WHERE name = 'whole_since'");
    let server = Start::on(&store.argument()).spawn();
    server.introspect(&client, &token).assert_refused(500, "server_error");
}
