//! What a caller has sent, as far as a line may have it.

use std::fmt::{self, Write as _};

use crate::core::access_token::opaque;
use crate::core::client::secret::ClientSecret;

/// A text of a caller: printable, not long, and without what looks like a credential in the wrong field.
pub(super) struct Untrusted<'a>(pub(super) &'a str);

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = MOST_CHARACTERS;
        for (index, word) in self.0.split(' ').enumerate() {
            if index > 0 {
                if room == 0 {
                    return formatter.write_str("...");
                }
                room -= 1;
                formatter.write_char(' ')?;
            }
            for character in if holds_a_credential(word) { REDACTED } else { word }.chars() {
                if room == 0 {
                    return formatter.write_str("...");
                }
                room -= 1;
                match character {
                    '!'..='~' => formatter.write_char(character)?,
                    _ => write!(formatter, "{}", character.escape_unicode())?,
                }
            }
        }
        Ok(())
    }
}

/// Wherever it is in the word: who takes one field for another also quotes it, or sends its name with it. Other words may have the three
/// letters of a JWT in their middle.
fn holds_a_credential(word: &str) -> bool {
    OWN.iter().any(|prefix| word.contains(prefix))
        || word.split(|character: char| !character.is_ascii_alphanumeric()).any(|part| part.starts_with(JWT))
}

/// Longer than what anybody asks for.
const MOST_CHARACTERS: usize = 256;
/// How this server's own begin.
const OWN: [&str; 2] = [opaque::PREFIX, ClientSecret::PREFIX];
/// How JWTs begin.
const JWT: &str = "eyJ";
const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_sent_is_printable_short_and_no_credential() {
        for (sent, shown) in [
            ("", ""),
            ("read write", "read write"),
            (" read  write ", " read  write "),
            ("\"read\"", "\"read\""),
            ("a\nb", "a\\u{a}b"),
            ("\u{1b}[31m\u{202e}\u{85}", "\\u{1b}[31m\\u{202e}\\u{85}"),
            ("read gwt_secret gws_secret eyJhbGciOi.x.y", "read [redacted] [redacted] [redacted]"),
            ("\"gws_secret\" client_secret=gws_secret xgwt_secret", "[redacted] [redacted] [redacted]"),
            ("read\tgws_secret\neyJhbGciOi.x.y", "[redacted]"),
            ("read,eyJhbGciOi.x.y token:eyJhbGciOi.x.y", "[redacted] [redacted]"),
            ("keyJobs:read logs_read", "keyJobs:read logs_read"),
        ] {
            assert_eq!(Untrusted(sent).to_string(), shown);
        }
        assert_eq!(Untrusted(&"a".repeat(256)).to_string(), "a".repeat(256));
        assert_eq!(Untrusted(&"a".repeat(60_000)).to_string(), format!("{}...", "a".repeat(256)));
        for long in ["a ".repeat(30_000), " ".repeat(60_000), "\u{1}".repeat(60_000)] {
            assert!(Untrusted(&long).to_string().len() < 2_000, "{}", Untrusted(&long).to_string().len());
        }
    }
}
