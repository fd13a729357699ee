//! When clients were last used, as far as their realm has it recorded.

use crate::core::client::Client;
use crate::core::realm::Realm;
use crate::core::time::UnixSeconds;

/// What is known of a client's last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastUse {
    /// The realm does not have it recorded.
    NotRecorded,
    /// It authenticated on the day that begins then, and was not seen after it.
    On(UnixSeconds),
    /// It was not seen since then, and nobody knows what was before.
    NotSince(UnixSeconds),
}

impl LastUse {
    /// Of a client of `realm` with this mark, where marks are kept since `kept_since`.
    pub fn of(client: &Client, realm: &Realm, mark: Option<UnixSeconds>, kept_since: UnixSeconds) -> Self {
        let Some(recorded_since) = realm.settings.client_use_recorded_since else { return Self::NotRecorded };
        let known_since = recorded_since.max(kept_since).max(client.client_id_issued_at);
        match mark {
            // What came between is not known where nothing was recorded for a while.
            Some(day) if day.plus(DAY) > known_since => Self::On(day),
            Some(_) | None => Self::NotSince(known_since),
        }
    }

    /// Whether it is certain that the client has not been used in the last `seconds` before `now`.
    pub fn is_unused_for(self, seconds: u64, now: UnixSeconds) -> bool {
        match self {
            Self::NotRecorded => false,
            Self::On(day) => day.plus(DAY).plus(seconds) <= now,
            Self::NotSince(time) => time.plus(seconds) <= now,
        }
    }
}

/// A mark says the day.
const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::id::RegistrationId;
    use crate::core::client::metadata::ClientMetadata;
    use crate::core::realm::RealmName;

    const NOW: u64 = 1_795_392_000;

    fn at(days_ago: u64) -> UnixSeconds {
        UnixSeconds(NOW - days_ago * DAY)
    }

    fn last_use(recorded: Option<u64>, mark: Option<u64>, kept: u64, registered: u64) -> LastUse {
        let mut realm = Realm::new(RealmName::root());
        realm.settings.client_use_recorded_since = recorded.map(at);
        let id = "c".parse().expect("an id");
        let registration = RegistrationId::from_text("r");
        let client =
            Client::register(id, &realm, ClientMetadata::new(), registration, at(registered)).expect("a client");
        LastUse::of(&client, &realm, mark.map(at), at(kept))
    }

    #[test]
    fn a_client_counts_as_unused_only_for_as_long_as_somebody_would_have_noticed() {
        // Recorded since, mark, kept since, registered: days ago; and for how many days it is known to be unused.
        for (recorded, mark, kept, registered, unused) in [
            (None, None, 900, 900, None),
            (None, Some(3), 900, 900, None),
            (Some(200), None, 900, 900, Some(200)),
            (Some(200), None, 50, 900, Some(50)),
            (Some(200), None, 900, 10, Some(10)),
            (Some(200), Some(100), 900, 900, Some(99)),
            (Some(200), Some(0), 900, 900, None),
            (Some(200), Some(1), 900, 900, Some(0)),
            // Marked, and then not recorded for a while.
            (Some(30), Some(100), 900, 900, Some(30)),
        ] {
            let found = last_use(recorded, mark, kept, registered);
            let case = (recorded, mark, kept, registered);
            for days in [0, 1, 9, 10, 11, 29, 30, 31, 49, 50, 51, 98, 99, 100, 199, 200, 201] {
                let expected = unused.is_some_and(|unused| days <= unused);
                assert_eq!(found.is_unused_for(days * DAY, UnixSeconds(NOW)), expected, "{case:?} {days}");
            }
        }
    }
}
