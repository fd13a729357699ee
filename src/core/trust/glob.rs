//! Patterns in which `*` stands for any characters but the separators `/` and `:`.

use std::fmt;
use std::str::FromStr;

use super::limits;

/// A pattern, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(String);

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedGlob {
    /// Nothing, or too much.
    #[error("a pattern has 1 to {max} characters", max = limits::TEXT_BYTES)]
    Length,
    /// What other languages of patterns let cross a separator.
    #[error("'**' means nothing here: a '*' never crosses '/' or ':', so write one for each part")]
    DoubleStar,
}

impl Glob {
    /// The pattern as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text is of this pattern: part by part between separators, since no `*` crosses one.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut wanted = self.0.split_inclusive(SEPARATORS);
        let mut found = text.split_inclusive(SEPARATORS);
        loop {
            match (wanted.next(), found.next()) {
                (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
                // A pattern that ends in a separator and a star is of a text that ends in that separator: the star is nothing.
                (Some("*"), None) => return wanted.next().is_none(),
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl FromStr for Glob {
    type Err = MalformedGlob;

    fn from_str(text: &str) -> Result<Self, MalformedGlob> {
        if text.is_empty() || text.len() > limits::TEXT_BYTES {
            return Err(MalformedGlob::Length);
        }
        if text.contains("**") {
            return Err(MalformedGlob::DoubleStar);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Compares one part with one pattern, each with the separator that ends it. The last star is tried again one character later for
/// as long as the rest does not fit, so that the work is at most the product of the two lengths.
fn part_matches(pattern: &str, part: &str) -> bool {
    let (pattern, part) = match (separated(pattern), separated(part)) {
        ((pattern, wanted), (part, found)) if wanted == found => (pattern.as_bytes(), part.as_bytes()),
        _ => return false,
    };
    let (mut wanted, mut found) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = part.get(found) {
        match (pattern.get(wanted), star) {
            (Some(b'*'), _) => {
                star = Some((wanted, found));
                wanted += 1;
            }
            (Some(same), _) if same == byte => {
                wanted += 1;
                found += 1;
            }
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                wanted = at + 1;
                found = from + 1;
            }
            _ => return false,
        }
    }
    pattern.iter().skip(wanted).all(|byte| *byte == b'*')
}

/// A part without the separator that ends it, and that.
fn separated(part: &str) -> (&str, Option<char>) {
    match part.strip_suffix(SEPARATORS) {
        Some(rest) => (rest, part.chars().next_back()),
        None => (part, None),
    }
}

/// What no `*` crosses.
const SEPARATORS: [char; 2] = ['/', ':'];

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<Glob>().expect("a pattern").matches(text)
    }

    #[test]
    fn a_star_stands_for_any_characters_of_one_part() {
        for (pattern, text, expected) in [
            ("svc-*", "svc-orders", true),
            ("svc-*", "svc-", true),
            ("svc-*", "svc", false),
            ("svc-*", "xsvc-orders", false),
            ("*-prod", "orders-prod", true),
            ("*-prod", "orders-prod-x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("*", "anything", true),
            ("*", "a/b", false),
            ("*", "a:b", false),
            ("a", "a", true),
            ("a", "A", false),
            ("ä*", "äö", true),
            ("refs/heads/*", "refs/heads/main", true),
            ("refs/heads/*", "refs/heads/release/1", false),
            ("refs/heads/*", "refs/heads/", true),
            ("refs/heads/*", "refs/heads", false),
            ("refs/*/main", "refs/heads/main", true),
            ("refs/*/main", "refs/heads/x/main", false),
            ("repo:octo/*:ref:*", "repo:octo/app:ref:main", true),
            ("repo:octo/*:ref:*", "repo:octo/app:environment:ref:main", false),
            ("repo:octo/*:ref:*", "repo:octo/app/ref:main", false),
            // What a caller says is never a pattern.
            ("svc-a", "svc-*", false),
            ("svc-*", "svc-*", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} of {text}");
        }
    }

    #[test]
    fn a_pattern_that_looks_as_if_it_crossed_separators_is_refused() {
        assert_eq!("repo:octo/**".parse::<Glob>(), Err(MalformedGlob::DoubleStar));
        assert_eq!("".parse::<Glob>(), Err(MalformedGlob::Length));
        assert_eq!("a".repeat(limits::TEXT_BYTES + 1).parse::<Glob>(), Err(MalformedGlob::Length));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = format!("{}b", "a*".repeat(300));
        let text = "a".repeat(limits::TEXT_BYTES * 8);
        assert!(!matches(&pattern, &text));
    }
}
