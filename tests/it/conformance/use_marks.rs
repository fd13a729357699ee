//! Marks of clients' use: the latest day of each registration, whoever writes it how often.

use std::sync::Arc;

use grantwell::core::client::Client;
use grantwell::core::ports::UseMarks;
use grantwell::core::time::UnixSeconds;
use tokio::task::JoinSet;

use super::{client, realm};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! use_marks_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; use_marks:
            a_client_that_was_not_used_has_no_mark,
            a_mark_is_of_the_latest_day,
            a_registration_has_its_own_mark_whatever_the_name_of_its_client,
            marks_of_many_clients_are_read_in_their_order,
            of_many_who_mark_at_once_the_latest_day_stays,
            marks_are_kept_since_a_time_that_has_passed,
        }
    };
}
pub(crate) use use_marks_suite;

type Marks = Arc<dyn UseMarks>;

pub(crate) async fn a_client_that_was_not_used_has_no_mark(marks: &Marks) {
    assert_eq!(marks.last_used(&[]).await, Ok(vec![]));
    assert_eq!(marks.last_used(&[registered("a")]).await, Ok(vec![None]));
}

pub(crate) async fn a_mark_is_of_the_latest_day(marks: &Marks) {
    let client = registered("a");
    for (day, expected) in [(1, 1), (1, 1), (3, 3), (2, 3)] {
        assert_eq!(marks.mark_used(&client, self::day(day)).await, Ok(()));
        assert_eq!(marks.last_used(std::slice::from_ref(&client)).await, Ok(vec![Some(self::day(expected))]));
    }
}

pub(crate) async fn a_registration_has_its_own_mark_whatever_the_name_of_its_client(marks: &Marks) {
    let [first, second] = [registered("a"), registered("a")];
    assert_ne!(first.registration_id, second.registration_id);
    marks.mark_used(&first, day(1)).await.expect("marked");
    assert_eq!(marks.last_used(&[second, first]).await, Ok(vec![None, Some(day(1))]));
}

pub(crate) async fn marks_of_many_clients_are_read_in_their_order(marks: &Marks) {
    // More than one batch of any store.
    let clients: Vec<Client> = (0..230).map(|number| registered(&format!("c{number}"))).collect();
    for (number, client) in clients.iter().enumerate().filter(|(number, _)| number % 3 == 0) {
        marks.mark_used(client, day(number as u64)).await.expect("marked");
    }
    let expected: Vec<_> = (0..230).map(|number| (number % 3 == 0).then(|| day(number))).collect();
    assert_eq!(marks.last_used(&clients).await, Ok(expected));
}

pub(crate) async fn of_many_who_mark_at_once_the_latest_day_stays(marks: &Marks) {
    let client = registered("a");
    let mut writing = JoinSet::new();
    for number in 0..24 {
        let (marks, client) = (Arc::clone(marks), client.clone());
        writing.spawn(async move { marks.mark_used(&client, day(number % 8)).await });
    }
    assert!(writing.join_all().await.into_iter().all(|written| written == Ok(())));
    assert_eq!(marks.last_used(&[client]).await, Ok(vec![Some(day(7))]));
}

pub(crate) async fn marks_are_kept_since_a_time_that_has_passed(marks: &Marks) {
    let since = marks.kept_since().await.expect("known");
    assert!(since > UnixSeconds(0) && since < UnixSeconds(u64::MAX), "{since}");
}

fn registered(id: &str) -> Client {
    client(&realm("alpha"), id)
}

fn day(number: u64) -> UnixSeconds {
    UnixSeconds((20_000 + number) * 24 * 60 * 60)
}
