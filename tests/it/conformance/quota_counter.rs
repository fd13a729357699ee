//! Quota counter: every token is counted once, in its own window, and never more than there may be.

use std::sync::Arc;

use grantwell::core::client::Client;
use grantwell::core::ports::QuotaCounter;
use grantwell::core::quota::{QuotaPeriod, QuotaWindow};
use tokio::task::JoinSet;

use super::{NOW, client, realm};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! quota_counter_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; quota_counter:
            tokens_are_counted_one_by_one,
            nothing_is_counted_beyond_the_most,
            what_is_only_observed_is_counted_beyond_any_most,
            a_most_that_was_lowered_counts_what_was_counted_before,
            a_most_that_was_raised_leaves_the_difference,
            hours_and_days_are_counted_apart_though_they_begin_together,
            a_new_window_begins_with_nothing,
            each_registration_is_counted_by_itself_whatever_its_clients_name,
            of_counts_that_come_at_once_exactly_the_most_are_made,
            counts_that_come_at_once_have_each_number_once,
        }
    };
}
pub(crate) use quota_counter_suite;

type Counter = Arc<dyn QuotaCounter>;

pub(crate) async fn tokens_are_counted_one_by_one(counter: &Counter) {
    let client = registered("a");
    for number in 1..=5 {
        assert_eq!(counter.count(&client, hour(), Some(1_000_000_000)).await, Ok(Some(number)));
    }
}

pub(crate) async fn nothing_is_counted_beyond_the_most(counter: &Counter) {
    let client = registered("a");
    for expected in [Some(1), Some(2), Some(3), None, None, None] {
        assert_eq!(counter.count(&client, hour(), Some(3)).await, Ok(expected));
    }
    // What was refused has left no trace.
    assert_eq!(counter.count(&client, hour(), None).await, Ok(Some(4)));
}

pub(crate) async fn what_is_only_observed_is_counted_beyond_any_most(counter: &Counter) {
    let client = registered("a");
    for number in 1..=5 {
        assert_eq!(counter.count(&client, hour(), None).await, Ok(Some(number)));
    }
    assert_eq!(counter.count(&client, hour(), Some(3)).await, Ok(None), "and counts where it is enforced");
}

pub(crate) async fn a_most_that_was_lowered_counts_what_was_counted_before(counter: &Counter) {
    let client = registered("a");
    for number in 1..=3 {
        assert_eq!(counter.count(&client, hour(), Some(10)).await, Ok(Some(number)));
    }
    assert_eq!(counter.count(&client, hour(), Some(3)).await, Ok(None));
    assert_eq!(counter.count(&client, hour(), Some(2)).await, Ok(None));
}

pub(crate) async fn a_most_that_was_raised_leaves_the_difference(counter: &Counter) {
    let client = registered("a");
    assert_eq!(counter.count(&client, hour(), Some(1)).await, Ok(Some(1)));
    for expected in [Some(2), Some(3), None] {
        assert_eq!(counter.count(&client, hour(), Some(3)).await, Ok(expected));
    }
}

pub(crate) async fn hours_and_days_are_counted_apart_though_they_begin_together(counter: &Counter) {
    let client = registered("a");
    let midnight = QuotaWindow::Day.period_at(NOW).starts_at();
    for window in QuotaWindow::ALL {
        let period = window.period_at(midnight);
        assert_eq!(period.starts_at(), midnight);
        assert_eq!(counter.count(&client, period, Some(1)).await, Ok(Some(1)));
        assert_eq!(counter.count(&client, period, Some(1)).await, Ok(None));
    }
}

pub(crate) async fn a_new_window_begins_with_nothing(counter: &Counter) {
    let client = registered("a");
    for window in QuotaWindow::ALL {
        let mut period = window.period_at(NOW);
        for _ in 0..3 {
            assert_eq!(counter.count(&client, period, Some(1)).await, Ok(Some(1)));
            assert_eq!(counter.count(&client, period, Some(1)).await, Ok(None));
            period = window.period_at(period.ends_at());
        }
    }
}

pub(crate) async fn each_registration_is_counted_by_itself_whatever_its_clients_name(counter: &Counter) {
    // The second has taken the place of the first, which was deleted; the others are of other ids and realms.
    let clients = [registered("a"), registered("a"), registered("b"), client(&realm("beta"), "a")];
    for client in &clients {
        assert_eq!(counter.count(client, hour(), Some(1)).await, Ok(Some(1)));
    }
    for client in &clients {
        assert_eq!(counter.count(client, hour(), Some(1)).await, Ok(None));
    }
}

pub(crate) async fn of_counts_that_come_at_once_exactly_the_most_are_made(counter: &Counter) {
    let mut numbers: Vec<u64> = at_once(counter, 40, Some(25)).await.into_iter().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=25).collect::<Vec<_>>());
}

pub(crate) async fn counts_that_come_at_once_have_each_number_once(counter: &Counter) {
    let mut numbers: Vec<u64> = at_once(counter, 40, None).await.into_iter().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}

async fn at_once(counter: &Counter, times: usize, at_most: Option<u32>) -> Vec<Option<u64>> {
    let client = Arc::new(registered("a"));
    let mut counting = JoinSet::new();
    for _ in 0..times {
        let (counter, client) = (Arc::clone(counter), Arc::clone(&client));
        counting.spawn(async move { counter.count(&client, hour(), at_most).await.expect("counted") });
    }
    counting.join_all().await
}

fn registered(id: &str) -> Client {
    client(&realm("alpha"), id)
}

fn hour() -> QuotaPeriod {
    QuotaWindow::Hour.period_at(NOW)
}
