//! For how long an answer is believed: as its headers say (RFC 9111), within bounds.

use std::time::{Duration, SystemTime};

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Request, Response};
use http_cache_semantics::{CacheOptions, CachePolicy};

/// For how long what `answer` to `request` brought is believed, as of `now`, when it came.
///
/// Neither end is the issuer's to choose. Keys that are never remembered would be fetched with every request, and a key that
/// leaked and was withdrawn must not live for a year because a header said so once. A directive such as `no-store` or
/// `must-revalidate` is the shortest time.
pub(super) fn believed_for<Q, A>(request: &Request<Q>, answer: &Response<A>, now: SystemTime) -> Duration {
    let policy = CachePolicy::new_options(request, &in_lower_case(answer), now, PRIVATE_CACHE);
    let said = if policy.is_storable() { policy.time_to_live(now) } else { Duration::ZERO };
    said.clamp(SHORTEST, LONGEST)
}

/// The headers of `answer` with directives as the library knows them; to RFC 9111 §5.2 their case means nothing.
fn in_lower_case<A>(answer: &Response<A>) -> Response<()> {
    let mut lower = Response::new(());
    *lower.status_mut() = answer.status();
    for (name, value) in answer.headers() {
        let value = if name == CACHE_CONTROL {
            HeaderValue::from_bytes(&value.as_bytes().to_ascii_lowercase()).unwrap_or_else(|_| value.clone())
        } else {
            value.clone()
        };
        lower.headers_mut().append(name, value);
    }
    lower
}

/// This server alone reads what it keeps. What names no time gets the shortest, however old it says it is.
const PRIVATE_CACHE: CacheOptions =
    CacheOptions { shared: false, cache_heuristic: 0.0, immutable_min_time_to_live: LONGEST, ignore_cargo_cult: false };

const SHORTEST: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_say_how_long_within_bounds() {
        // Sunday, 06 Nov 1994 08:49:37 GMT.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (seconds, headers) in [
            (300, &[][..]),
            (3_600, &[("cache-control", "max-age=3600")]),
            (3_600, &[("cache-control", "public, max-age=3600, must-revalidate")]),
            (3_600, &[("cache-control", "private, MAX-AGE=\"3600\"")]),
            (3_600, &[("cache-control", "s-maxage=60, max-age=3600")]),
            (3_000, &[("cache-control", "max-age=3600"), ("age", "600")]),
            (300, &[("cache-control", "max-age=3600"), ("age", "3600")]),
            (300, &[("cache-control", "max-age=3600"), ("age", "18446744073709551615")]),
            (300, &[("cache-control", "max-age=0")]),
            (300, &[("cache-control", "max-age=299")]),
            (301, &[("cache-control", "max-age=301")]),
            (300, &[("cache-control", "max-age=-1")]),
            (300, &[("cache-control", "max-age=soon")]),
            (300, &[("cache-control", "no-store, max-age=3600")]),
            (300, &[("cache-control", "no-cache, max-age=3600")]),
            (300, &[("cache-control", "no-store"), ("cache-control", "max-age=3600")]),
            (300, &[("pragma", "no-cache"), ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")]),
            (86_400, &[("cache-control", "max-age=31536000, immutable")]),
            (86_400, &[("cache-control", "max-age=18446744073709551615")]),
            (300, &[("cache-control", "max-age=99999999999999999999999")]),
            (3_600, &[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")]),
            (300, &[("expires", "Sun, 06 Nov 1994 07:49:37 GMT")]),
            (300, &[("expires", "0")]),
            (600, &[("cache-control", "max-age=600"), ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")]),
            // By the clock of who answers, where it has one.
            (3_600, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")]),
            (300, &[("last-modified", "Sun, 06 Nov 1983 08:49:37 GMT")]),
        ] {
            let request = Request::new(());
            let mut answer = Response::new(());
            for (name, value) in headers {
                answer.headers_mut().append(*name, value.parse().expect("a header"));
            }
            assert_eq!(believed_for(&request, &answer, now), Duration::from_secs(seconds), "{headers:?}");
        }
    }
}
