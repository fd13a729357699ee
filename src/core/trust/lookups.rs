//! How often issuers are looked up that nobody has registered.
//!
//! Their names are the callers' to choose, and each new one is a request to AWS and an entry in a store. So all processes of a
//! deployment share a few of them a minute, of which one source gets a part: whoever invents issuers costs little, and one who does so
//! from one place leaves room for the others.

use serde::{Deserialize, Serialize};

use crate::core::encoding::base64url;
use crate::core::source::ClientSource;
use crate::core::time::UnixSeconds;

/// The look-ups of the last minute, and how often that list was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// 0 before the first.
    pub revision: u64,
    /// At most [`Lookups::A_MINUTE`].
    pub recent: Vec<Lookup>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// When.
    pub at: UnixSeconds,
    /// On whose behalf, where that is known: a digest, since nobody has to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// There are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyLookups {
    /// Of all together.
    #[error("{max} issuers that nobody has registered were looked up within the last minute", max = Lookups::A_MINUTE)]
    InAll,
    /// For this source.
    #[error(
        "{max} issuers that nobody has registered were looked up for the same source within the last minute",
        max = Lookups::OF_A_SOURCE
    )]
    OfSource,
}

impl Lookups {
    /// The most in any minute, for all processes together.
    pub const A_MINUTE: usize = 10;
    /// The most of those for one source; an IPv6 site is one.
    pub const OF_A_SOURCE: usize = 5;

    /// These, and one that begins at `now` on behalf of `source`.
    ///
    /// # Errors
    /// [`TooManyLookups`].
    pub fn with(&self, now: UnixSeconds, source: Option<ClientSource>) -> Result<Self, TooManyLookups> {
        // One from the future is of a clock that was set wrong, and would count for as long as it was wrong by.
        let counts = |lookup: &&Lookup| now.since(lookup.at) < SECONDS && lookup.at <= now.plus(SECONDS);
        let mut recent: Vec<Lookup> = self.recent.iter().filter(counts).cloned().collect();
        if recent.len() >= Self::A_MINUTE {
            return Err(TooManyLookups::InAll);
        }
        let source = source.map(digest);
        let of_source = recent.iter().filter(|lookup| source.is_some() && lookup.source == source).count();
        if of_source >= Self::OF_A_SOURCE {
            return Err(TooManyLookups::OfSource);
        }
        recent.push(Lookup { at: now, source });
        Ok(Self { revision: self.revision.saturating_add(1), recent })
    }
}

fn digest(source: ClientSource) -> String {
    use sha2::{Digest as _, Sha256};

    let text = source.site().map_or_else(|| source.to_string(), |site| site.to_string());
    let hash = Sha256::digest(text);
    base64url(hash.first_chunk::<9>().map_or(hash.as_slice(), |part| part.as_slice()))
}

const SECONDS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> ClientSource {
        ClientSource::of(address.parse().expect("an address"))
    }

    fn after(count: u8, lookups: &Lookups, now: UnixSeconds) -> Lookups {
        let one_more =
            |lookups: Lookups, last| lookups.with(now, Some(source(&format!("192.0.2.{last}")))).expect("room");
        (0..count).fold(lookups.clone(), one_more)
    }

    #[test]
    fn there_are_ten_in_any_minute() {
        let start = UnixSeconds(1_000_000);
        let half = after(5, &Lookups::default(), start);
        let full = after(5, &half, start.plus(30));
        assert_eq!(full.revision, 10);
        for passed in [30, 31, 59] {
            assert_eq!(full.with(start.plus(passed), None), Err(TooManyLookups::InAll), "{passed}");
        }
        // The first five are a minute old.
        let next = after(5, &full, start.plus(60));
        assert_eq!(next.with(start.plus(60), None), Err(TooManyLookups::InAll));
        assert_eq!(next.with(start.plus(89), None), Err(TooManyLookups::InAll));
        assert_eq!(next.with(start.plus(90), None).map(|next| next.recent.len()), Ok(6));
    }

    #[test]
    fn one_source_has_half_of_them_and_an_ipv6_site_is_one() {
        let now = UnixSeconds(1_000_000);
        for sources in [
            ["192.0.2.1"; 5],
            ["2001:db8:1:1::", "2001:db8:1:2::", "2001:db8:1:3::", "2001:db8:1:4::", "2001:db8:1:5::"],
        ] {
            let taken = sources.iter().try_fold(Lookups::default(), |taken, from| taken.with(now, Some(source(from))));
            let taken = taken.expect("room");
            assert_eq!(taken.with(now, Some(source(sources[0]))), Err(TooManyLookups::OfSource));
            assert!(taken.with(now, Some(source("198.51.100.1"))).is_ok() && taken.with(now, None).is_ok());
            assert!(taken.with(now.plus(60), Some(source(sources[0]))).is_ok());
        }
        // Where nobody knows who asks, nobody is told apart.
        let unknown = (0..10).try_fold(Lookups::default(), |taken, _| taken.with(now, None)).expect("room");
        assert_eq!(unknown.with(now, None), Err(TooManyLookups::InAll));
    }

    #[test]
    fn a_clock_that_was_set_wrong_holds_up_nobody() {
        let full = after(10, &Lookups::default(), UnixSeconds(2_000_000));
        assert_eq!(full.with(UnixSeconds(1_000_000), None).map(|next| next.recent.len()), Ok(1));
        assert_eq!(full.with(UnixSeconds(1_999_970), None), Err(TooManyLookups::InAll));
    }

    #[test]
    fn what_is_stored_names_no_address() {
        let one = Lookups::default().with(UnixSeconds(7), Some(source("192.0.2.1"))).expect("room");
        let stored = serde_json::to_string(&one.recent).expect("JSON");
        assert!(!stored.contains("192"), "{stored}");
        assert_eq!(serde_json::from_str::<Vec<Lookup>>(&stored).expect("reads"), one.recent);
    }
}
