//! How long a key has to verify once it signs no more: as long as the tokens that it signed may live, and no longer, because until then
//! whoever has stolen it makes tokens.
//!
//! That is the longest lifetime of the realm and of its clients as they are registered, and of those who have lived longer before: a lifetime
//! that is made shorter leaves behind, in its own record, until when the tokens of before may live. What the registry does not say is the
//! server's own setting, which is not known here nor what it was, so it counts as the longest that there is.

use crate::core::access_token::settings::TokenLifetime;
use crate::core::client::Client;
use crate::core::realm::Realm;
use crate::core::time::UnixSeconds;

/// What the tokens of a realm ask of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Seconds.
    longest: u64,
    /// Until when tokens of lifetimes that were longer may live.
    until: UnixSeconds,
}

impl Retention {
    /// For the tokens of clients that have no lifetime of their own.
    pub fn of_realm(realm: &Realm) -> Self {
        let settings = &realm.settings;
        Self {
            longest: seconds(settings.access_token_lifetime),
            until: settings.longer_tokens_until.unwrap_or_default(),
        }
    }

    /// And for those of this client.
    #[must_use]
    pub fn and(self, client: &Client) -> Self {
        let own = client.metadata.access_token_lifetime.map_or(0, TokenLifetime::seconds);
        let until = client.longer_tokens_until.unwrap_or_default();
        Self { longest: self.longest.max(own), until: self.until.max(until) }
    }

    /// When the last token has expired of a key with which no process signs after `last_signature`.
    pub(super) fn ends_at(self, last_signature: UnixSeconds) -> UnixSeconds {
        last_signature.plus(self.longest).max(self.until)
    }
}

impl Realm {
    /// Keeps until when the tokens may live that were issued before this change of `before`.
    pub fn keep_longer_tokens_of(&mut self, before: &Self, now: UnixSeconds) {
        let is_new = before.revision == 0 && !before.name.is_root();
        let lifetimes = [before, &*self].map(|realm| seconds(realm.settings.access_token_lifetime));
        if !is_new {
            keep(&mut self.settings.longer_tokens_until, lifetimes, now);
        }
    }
}

impl Client {
    /// The same of a client's own lifetime. What it had from its realm is kept there.
    pub fn keep_longer_tokens_of(&mut self, before: &Self, now: UnixSeconds) {
        let lifetimes = [before, &*self].map(|client| client.metadata.access_token_lifetime);
        keep(&mut self.longer_tokens_until, lifetimes.map(|lifetime| lifetime.map_or(0, TokenLifetime::seconds)), now);
    }
}

fn keep(until: &mut Option<UnixSeconds>, [before, after]: [u64; 2], now: UnixSeconds) {
    if after < before {
        // With the time in which a function may not know of the change yet, as long as the longest memory here.
        *until = (*until).max(Some(now.plus(SIGNERS_MAX_AGE + before)));
    }
}

fn seconds(lifetime: Option<TokenLifetime>) -> u64 {
    lifetime.map_or(TokenLifetime::MAX, TokenLifetime::seconds)
}

/// The most seconds for which a process may sign with keys that it remembers.
pub const SIGNERS_MAX_AGE: u64 = 3900;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::id::RegistrationId;
    use crate::core::client::metadata::ClientMetadata;
    use crate::core::realm::RealmName;

    const NOW: UnixSeconds = UnixSeconds(1_795_415_820);
    const HOUR: u64 = 3_600;
    const MONTH: u64 = TokenLifetime::MAX;

    fn lifetime(seconds: u64) -> TokenLifetime {
        TokenLifetime::new(seconds).expect("in range")
    }

    fn realm(name: &str, seconds: Option<u64>, revision: u64) -> Realm {
        let mut realm = Realm { revision, ..Realm::new(name.parse::<RealmName>().expect("a name")) };
        realm.settings.access_token_lifetime = seconds.map(lifetime);
        realm
    }

    fn client(seconds: Option<u64>) -> Client {
        let metadata = ClientMetadata {
            access_token_lifetime: seconds.map(lifetime),
            scope: "a".parse().expect("a scope"),
            ..ClientMetadata::new()
        };
        let registration_id = RegistrationId::from_text("AAECAwQFBgcICQoLDA0ODw");
        Client::register("myClient".parse().expect("an id"), &realm("alpha", None, 1), metadata, registration_id, NOW)
            .expect("valid")
    }

    #[test]
    fn a_key_verifies_for_as_long_as_the_longest_lifetime_of_the_realm_and_its_clients() {
        let hour = Retention::of_realm(&realm("alpha", Some(HOUR), 1));
        assert_eq!(hour.ends_at(NOW), NOW.plus(HOUR));
        assert_eq!(hour.and(&client(None)).and(&client(Some(60))).ends_at(NOW), NOW.plus(HOUR));
        assert_eq!(hour.and(&client(Some(2 * HOUR))).and(&client(Some(60))).ends_at(NOW), NOW.plus(2 * HOUR));
        assert_eq!(Retention::of_realm(&realm("alpha", None, 1)).ends_at(NOW), NOW.plus(MONTH), "nobody knows");
    }

    #[test]
    fn a_lifetime_that_is_made_shorter_is_not_forgotten_before_its_last_token() {
        for (before, after, kept) in [
            (Some(2 * HOUR), Some(HOUR), Some(2 * HOUR)),
            (None, Some(HOUR), Some(MONTH)),
            (Some(HOUR), Some(HOUR), None),
            (Some(HOUR), Some(2 * HOUR), None),
            (Some(HOUR), None, None),
        ] {
            let mut changed = realm("alpha", after, 2);
            changed.keep_longer_tokens_of(&realm("alpha", before, 1), NOW);
            let until = kept.map(|seconds| NOW.plus(SIGNERS_MAX_AGE + seconds));
            assert_eq!(changed.settings.longer_tokens_until, until, "{before:?} to {after:?}");
            let ends = Retention::of_realm(&changed).ends_at(NOW);
            assert!(ends >= NOW.plus(seconds(before.map(lifetime))), "{before:?} to {after:?}: {ends}");

            // A client without a lifetime has its realm's.
            let mut changed = client(after);
            changed.keep_longer_tokens_of(&client(before), NOW);
            let until = if before.is_some() && after.is_none() { before } else { kept.filter(|_| before.is_some()) };
            assert_eq!(changed.longer_tokens_until, until.map(|seconds| NOW.plus(SIGNERS_MAX_AGE + seconds)));
        }
        // Of several changes the last token of any.
        let mut changed = realm("alpha", Some(60), 3);
        changed.settings.longer_tokens_until = Some(NOW.plus(MONTH));
        changed.keep_longer_tokens_of(&realm("alpha", Some(HOUR), 2), NOW);
        assert_eq!(changed.settings.longer_tokens_until, Some(NOW.plus(MONTH)));
    }

    #[test]
    fn a_realm_that_is_made_has_no_tokens_from_before_but_the_root_realm_may_have() {
        let mut made = realm("alpha", Some(HOUR), 1);
        made.keep_longer_tokens_of(&realm("alpha", None, 0), NOW);
        assert_eq!(made.settings.longer_tokens_until, None);
        let mut root = realm("root", Some(HOUR), 1);
        root.keep_longer_tokens_of(&realm("root", None, 0), NOW);
        assert_eq!(root.settings.longer_tokens_until, Some(NOW.plus(SIGNERS_MAX_AGE + MONTH)));
    }
}
