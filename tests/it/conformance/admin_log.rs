//! The admin log: what is begun is there, what is finished says so, and what is listed is the newest first.

use grantwell::core::admin_log::{Action, Actor, AdminLogLine, Face, LineId, LogRange, MemberChange, Outcome, Target};
use grantwell::core::time::{UnixMillis, UnixSeconds};
use grantwell::system::SystemRandom;
use serde_json::json;

use super::{NOW, RegistryPorts, client, realm};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! admin_log_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; admin_log:
            a_line_reads_back_whole_and_says_how_its_change_ended,
            lines_are_read_in_pages_the_newest_first,
            lines_are_read_from_a_time_on,
            a_line_that_nobody_needs_any_more_is_not_read,
            a_registration_and_its_realm_are_no_lines,
        }
    };
}
pub(crate) use admin_log_suite;

pub(crate) async fn a_line_reads_back_whole_and_says_how_its_change_ended(ports: &RegistryPorts) {
    let line = line(0);
    ports.log.begin(&line).await.expect("begun");
    assert_eq!(read(ports, &everything()).await, std::slice::from_ref(&line));
    for outcome in [Outcome::Done, Outcome::Failed, Outcome::Done] {
        ports.log.finish(&line, outcome).await.expect("finished");
        assert_eq!(read(ports, &everything()).await, [AdminLogLine { outcome, ..line.clone() }]);
    }
}

pub(crate) async fn lines_are_read_in_pages_the_newest_first(ports: &RegistryPorts) {
    let lines: Vec<AdminLogLine> = (0..7).map(line).collect();
    for position in [3, 0, 6, 1, 5, 2, 4] {
        ports.log.begin(&lines[position]).await.expect("begun");
    }
    let newest_first: Vec<LineId> = lines.iter().rev().map(|line| line.id.clone()).collect();
    for limit in [1, 2, 3, 6, 7, 8] {
        let (mut listed, mut range) = (Vec::new(), LogRange { limit, ..everything() });
        loop {
            let page = ports.log.read_log(&range).await.expect("read");
            assert!(page.lines.len() <= limit);
            listed.extend(page.lines.into_iter().map(|line| line.expect("readable").id));
            let Some(next) = page.next else { break };
            assert_eq!(listed.last(), Some(&next));
            range.before = Some(next);
            assert!(listed.len() <= lines.len(), "in pages of {limit}");
        }
        assert_eq!(listed, newest_first, "in pages of {limit}");
    }
}

pub(crate) async fn lines_are_read_from_a_time_on(ports: &RegistryPorts) {
    let lines: Vec<AdminLogLine> = (0..4).map(line).collect();
    for line in &lines {
        ports.log.begin(line).await.expect("begun");
    }
    let since = |since| LogRange { since, ..everything() };
    assert_eq!(read(ports, &since(lines[2].at)).await, [lines[3].clone(), lines[2].clone()]);
    assert_eq!(read(ports, &since(UnixMillis(lines[2].at.0 + 1))).await, [lines[3].clone()]);
    assert_eq!(read(ports, &since(UnixMillis(lines[3].at.0 + 1))).await, []);
    // A list that would go on before it may begin.
    let before = Some(lines[1].id.clone());
    assert_eq!(read(ports, &LogRange { before, ..since(lines[2].at) }).await, []);
    // Between two times, of which no line has the second.
    let before = Some(LineId::first_of(UnixMillis(lines[2].at.0 + 1)));
    assert_eq!(read(ports, &LogRange { before, ..since(lines[1].at) }).await, [lines[2].clone(), lines[1].clone()]);
}

pub(crate) async fn a_line_that_nobody_needs_any_more_is_not_read(ports: &RegistryPorts) {
    let over = AdminLogLine { expires_at: NOW, ..line(0) };
    let (next, kept) = (AdminLogLine { expires_at: NOW.plus(1), ..line(1) }, line(2));
    for line in [&over, &next, &kept] {
        ports.log.begin(line).await.expect("begun");
    }
    assert_eq!(read(ports, &everything()).await, [kept.clone(), next]);
    assert_eq!(read(ports, &LogRange { now: NOW.plus(1), ..everything() }).await, [kept]);
}

pub(crate) async fn a_registration_and_its_realm_are_no_lines(ports: &RegistryPorts) {
    ports.registered(&realm("root"), "log").await;
    ports.registrar.put_realm(&grantwell::core::realm::Realm { revision: 1, ..realm("log") }).await.expect("created");
    assert_eq!(read(ports, &everything()).await, []);
    ports.log.begin(&line(0)).await.expect("begun");
    let page = ports.registrar.list(&realm("root").name, None, 10).await.expect("listed");
    assert_eq!((page.clients.len(), page.next), (1, None));
    assert_eq!(ports.registrar.list_realms().await.expect("listed").len(), 1);
}

async fn read(ports: &RegistryPorts, range: &LogRange) -> Vec<AdminLogLine> {
    let page = ports.log.read_log(range).await.expect("read");
    page.lines.into_iter().map(|line| line.expect("readable")).collect()
}

fn everything() -> LogRange {
    LogRange { since: UnixMillis(0), before: None, now: NOW, limit: 100 }
}

/// A line that says everything that a line can say.
fn line(millis: u64) -> AdminLogLine {
    let at = UnixMillis(NOW.0 * 1_000 + millis);
    let client = client(&realm("alpha"), "myClient");
    AdminLogLine {
        id: LineId::generate(at, &SystemRandom).expect("random bytes"),
        at,
        actor: Actor::OsUser { uid: 7, name: Some("alice".to_owned()), sudo_user: Some("bob".to_owned()) },
        acts_for: vec!["alice".parse().expect("an id")],
        face: Face::COMMAND_LINE,
        action: Action::UPDATE_CLIENT,
        target: Target {
            realm: Some(client.realm),
            client_id: Some(client.client_id),
            registration_id: Some(client.registration_id),
            owners: vec!["alice".parse().expect("an id")],
            owner: None,
        },
        members: vec![MemberChange {
            name: "contacts".to_owned(),
            before: json!(null),
            after: json!(["", {"a": 1.5}]),
        }],
        revision: Some(2),
        outcome: Outcome::Started,
        expires_at: UnixSeconds(NOW.0 + 1_000_000),
    }
}
