//! What the clients fetched, beside what one that keeps its tokens would have fetched.

use std::collections::{HashMap, HashSet};

use grantwell::core::client::id::ClientId;
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixSeconds;
use serde::Serialize;
use uuid::Uuid;

use super::line::{Decision, Issuance, UnixMicroseconds};

/// What lines have said so far, in whatever order: those of introspection may come before those of the tokens. Grows with the
/// number of tokens, and a little with that of clients and their scopes.
#[derive(Default)]
pub(super) struct Tally {
    /// Numbers of the clients and scopes that tokens are of.
    grants: HashMap<Grant, u32>,
    /// By the id of each, so that a line that is read twice counts once.
    issued: HashMap<Uuid, Token>,
    used: HashSet<Uuid>,
    ended: HashMap<Uuid, UnixMicroseconds>,
}

/// A client as it appears in the report.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct ClientUsage {
    pub(super) realm: RealmName,
    pub(super) client_id: ClientId,
    pub(super) issued: u64,
    pub(super) used: u64,
    pub(super) early: u64,
    /// To a hundredth.
    pub(super) ratio: f64,
}

/// What tokens can take each other's place for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Grant {
    realm: RealmName,
    client_id: ClientId,
    scope: String,
}

#[derive(Clone, Copy)]
struct Token {
    issued_at: UnixMicroseconds,
    expires_in: u32,
    grant: u32,
}

/// A token that a client which keeps its tokens would have.
struct Kept {
    ends_at: UnixMicroseconds,
    /// From when on it fetches the next.
    renewed_at: UnixMicroseconds,
}

#[derive(Default)]
struct Count {
    issued: u64,
    used: u64,
    early: u64,
}

impl Tally {
    /// Counts what one line says.
    pub(super) fn count(&mut self, decision: Decision) {
        match decision {
            Decision::Issued(Issuance { token, realm, client_id, scope, issued_at, expires_in }) => {
                let next = u32::try_from(self.grants.len()).unwrap_or(u32::MAX);
                let grant = *self.grants.entry(Grant { realm, client_id, scope }).or_insert(next);
                self.issued.insert(token, Token { issued_at, expires_in, grant });
            }
            Decision::Used(token) => {
                self.used.insert(token);
            }
            Decision::Ended(token, at) => {
                self.ended.insert(token, at);
            }
        }
    }

    /// When the first and the last of the tokens were issued.
    pub(super) fn issued_between(&self) -> Option<(UnixSeconds, UnixSeconds)> {
        let times = || self.issued.values().map(|token| token.issued_at);
        let seconds = |time: UnixMicroseconds| UnixSeconds(time.0 / SECOND);
        times().min().map(seconds).zip(times().max().map(seconds))
    }

    /// Every client, the one with the highest ratio first.
    pub(super) fn finish(self) -> Vec<ClientUsage> {
        // 1. Each grant's tokens in the order of their time.
        let mut tokens: Vec<(Uuid, Token)> = self.issued.into_iter().collect();
        tokens.sort_unstable_by_key(|(id, token)| (token.grant, token.issued_at, *id));

        // 2. Which of them a client that keeps its tokens would not have fetched.
        let mut counts: HashMap<u32, Count> = HashMap::new();
        let mut kept: Option<(u32, Kept)> = None;
        for (id, token) in tokens {
            let count = counts.entry(token.grant).or_default();
            count.issued += 1;
            count.used += u64::from(self.used.contains(&id));
            let has_another = kept.as_ref().is_some_and(|(grant, kept)| {
                *grant == token.grant && token.issued_at < kept.ends_at && token.issued_at < kept.renewed_at
            });
            if has_another {
                count.early += 1;
            } else {
                kept = Some((token.grant, Kept::of(token, self.ended.get(&id).copied())));
            }
        }

        // 3. The grants of each client together.
        let mut clients: HashMap<(RealmName, ClientId), Count> = HashMap::new();
        for (grant, number) in self.grants {
            let Some(of_grant) = counts.get(&number) else { continue };
            let count = clients.entry((grant.realm, grant.client_id)).or_default();
            count.issued += of_grant.issued;
            count.used += of_grant.used;
            count.early += of_grant.early;
        }
        let mut clients: Vec<_> = clients.into_iter().map(|(client, count)| count.of(client)).collect();
        clients.sort_unstable_by(|one, other| {
            let names = |client: &ClientUsage| (client.realm.clone(), client.client_id.clone());
            let worst_first = other.ratio.total_cmp(&one.ratio).then(other.issued.cmp(&one.issued));
            worst_first.then_with(|| names(one).cmp(&names(other)))
        });
        clients
    }
}

impl Kept {
    fn of(token: Token, ended_at: Option<UnixMicroseconds>) -> Self {
        let lifetime = u64::from(token.expires_in) * SECOND;
        let after = |time: u64| UnixMicroseconds(token.issued_at.0.saturating_add(time));
        let expires_at = after(lifetime);
        let ends_at = ended_at.unwrap_or(expires_at).min(expires_at);
        Self { ends_at, renewed_at: after(lifetime - lifetime / 10) }
    }
}

impl Count {
    #[expect(clippy::cast_precision_loss, reason = "nobody issues 2^53 tokens")]
    fn of(self, (realm, client_id): (RealmName, ClientId)) -> ClientUsage {
        let Self { issued, used, early } = self;
        // A grant's first token is never early.
        let needed = issued.saturating_sub(early).max(1);
        let ratio = (issued as f64 / needed as f64 * 100.0).round() / 100.0;
        ClientUsage { realm, client_id, issued, used, early, ratio }
    }
}

/// In microseconds.
const SECOND: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_795_415_820;

    fn at(after: u64) -> UnixMicroseconds {
        UnixMicroseconds((START + after) * SECOND)
    }

    fn issued(number: u128, client: &str, scope: &str, after: u64) -> Decision {
        Decision::Issued(Issuance {
            token: Uuid::from_u128(number),
            realm: "alpha".parse().expect("a name"),
            client_id: client.parse().expect("an id"),
            scope: scope.into(),
            issued_at: at(after),
            expires_in: 3_600,
        })
    }

    fn usage(decisions: Vec<Decision>) -> Vec<(String, u64, u64, u64, f64)> {
        let mut tally = Tally::default();
        for decision in decisions {
            tally.count(decision);
        }
        let told = |client: ClientUsage| {
            (client.client_id.to_string(), client.issued, client.used, client.early, client.ratio)
        };
        tally.finish().into_iter().map(told).collect()
    }

    fn each(times: &[u64]) -> Vec<Decision> {
        times.iter().zip(1..).map(|(after, number)| issued(number, "a", "read", *after)).collect()
    }

    #[test]
    fn a_client_that_keeps_its_tokens_has_a_ratio_of_one() {
        assert_eq!(usage(each(&[0, 3_240, 6_480, 20_000])), [("a".into(), 4, 0, 0, 1.0)]);
        // A second before a tenth of its life is left.
        assert_eq!(usage(each(&[0, 3_239])), [("a".into(), 2, 0, 1, 2.0)]);
    }

    #[test]
    fn a_client_that_fetches_for_every_request_is_compared_with_one_that_would_fetch_every_54_minutes() {
        let every_minute: Vec<u64> = (0..=180).map(|minute| minute * 60).collect();
        // At 0, 54, 108 and 162 minutes.
        assert_eq!(usage(each(&every_minute)), [("a".into(), 181, 0, 177, 45.25)]);
    }

    #[test]
    fn another_scope_and_another_client_need_tokens_of_their_own() {
        let decisions = vec![
            issued(1, "a", "read", 0),
            issued(2, "a", "write", 1),
            issued(3, "b", "read", 2),
            issued(4, "a", "write", 3),
        ];
        assert_eq!(usage(decisions), [("a".into(), 3, 0, 1, 1.5), ("b".into(), 1, 0, 0, 1.0)]);
    }

    #[test]
    fn the_order_of_the_lines_does_not_matter_and_one_read_twice_counts_once() {
        let mut decisions = each(&[0, 60, 4_000, 4_060]);
        decisions.push(Decision::Used(Uuid::from_u128(1)));
        decisions.push(Decision::Used(Uuid::from_u128(4)));
        decisions.push(Decision::Used(Uuid::from_u128(99)));
        decisions.reverse();
        decisions.extend(each(&[0, 60, 4_000, 4_060]));
        decisions.push(Decision::Used(Uuid::from_u128(4)));
        assert_eq!(usage(decisions), [("a".into(), 4, 2, 2, 2.0)]);
    }

    #[test]
    fn a_token_that_its_client_has_ended_keeps_nobody_from_fetching_the_next() {
        let mut decisions = each(&[0, 60, 120]);
        decisions.push(Decision::Ended(Uuid::from_u128(1), at(30)));
        assert_eq!(usage(decisions), [("a".into(), 3, 0, 1, 1.5)]);
    }

    #[test]
    fn the_worst_come_first_and_of_equals_the_one_with_more() {
        let mut decisions = Vec::new();
        for (client, tokens) in [("one", 1), ("three", 3), ("also-one", 1), ("two", 2)] {
            for _ in 0..tokens {
                decisions.push(issued(decisions.len() as u128, client, "read", 0));
            }
        }
        decisions.push(issued(100, "also-one", "write", 0));
        let order: Vec<_> = usage(decisions).into_iter().map(|(client, ..)| client).collect();
        assert_eq!(order, ["three", "two", "also-one", "one"]);
    }
}
