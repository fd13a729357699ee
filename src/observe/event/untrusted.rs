//! What a caller has sent, as far as a line may have it.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::core::access_token::opaque;
use crate::core::client::secret::ClientSecret;

/// A text of a caller: printable, not long, and without what looks like a credential in the wrong field.
pub(super) struct Untrusted<'a>(pub(super) &'a str);

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = MOST_CHARACTERS;
        let mut follows_a_scheme = false;
        for (index, word) in self.0.split(' ').enumerate() {
            if index > 0 {
                if room == 0 {
                    return formatter.write_str("...");
                }
                room -= 1;
                formatter.write_char(' ')?;
            }
            let hidden = !word.is_empty() && (follows_a_scheme || holds_a_credential(word));
            follows_a_scheme = ends_with_a_scheme(word) || follows_a_scheme && word.is_empty();
            for character in if hidden { REDACTED } else { word }.chars() {
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

/// Wherever it is in the word: who takes one field for another also quotes it, sends its name with it, or escapes it twice. Other words may
/// have the three letters of a JWT in their middle.
fn holds_a_credential(word: &str) -> bool {
    let is_one = |word: &str| {
        OWN.iter().any(|prefix| word.contains(prefix))
            || word.split(|character: char| !character.is_ascii_alphanumeric()).any(|part| part.starts_with(JWT))
            || word.split(|character: char| !is_base64(character)).any(holds_a_pair)
    };
    is_one(word) || word.contains('%') && is_one(&unescaped(word))
}

/// Whether what follows the word is a credential, whatever it looks like: the word is an authentication scheme, as its header has it.
fn ends_with_a_scheme(word: &str) -> bool {
    let bare = word.trim_matches(|character: char| !character.is_ascii_alphanumeric());
    let named = bare.split_at_checked(HEADER.len()).filter(|(name, _)| name.eq_ignore_ascii_case(HEADER));
    let scheme =
        named.map_or(bare, |(_, rest)| rest.trim_start_matches(|character: char| !character.is_ascii_alphanumeric()));
    SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Whether the text is or contains, in base64, an id and a secret as HTTP Basic has them, or what this server has issued. Where in the text it
/// begins is not known, and four characters are three bytes.
fn holds_a_pair(text: &str) -> bool {
    let standard: Vec<u8> = text
        .bytes()
        .map(|byte| {
            if byte == b'-' {
                b'+'
            } else if byte == b'_' {
                b'/'
            } else {
                byte
            }
        })
        .collect();
    (0..4).filter_map(|begin| standard.get(begin..)).any(|encoded| {
        // One character is less than a byte.
        let whole = if encoded.len() % 4 == 1 { encoded.len() - 1 } else { encoded.len() };
        let decoded = encoded.get(..whole).and_then(|encoded| LENIENT.decode(encoded).ok()).unwrap_or_default();
        let is_all_text = std::str::from_utf8(&decoded).is_ok_and(|text| !text.contains(char::is_control));
        let mut stretches = decoded.split(|byte| !matches!(byte, b' '..=b'~'));
        is_all_text && decoded.contains(&b':')
            || stretches.any(|stretch| {
                stretch.len() >= SURELY_TEXT && stretch.contains(&b':')
                    || OWN.iter().any(|own| stretch.windows(own.len()).any(|window| window == own.as_bytes()))
            })
    })
}

/// Of both alphabets (RFC 4648 §4 and §5); what pads the end separates.
fn is_base64(character: char) -> bool {
    matches!(character, 'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' | '-' | '_')
}

/// Without its percent escapes; what is none stays.
fn unescaped(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Longer than what anybody asks for.
const MOST_CHARACTERS: usize = 256;
/// How this server's own begin.
const OWN: [&str; 2] = [opaque::PREFIX, ClientSecret::PREFIX];
/// How JWTs begin.
const JWT: &str = "eyJ";
const HEADER: &str = "authorization";
/// Authentication schemes whose one parameter is a credential.
const SCHEMES: [&str; 3] = ["basic", "bearer", "dpop"];
/// So many printable characters in a row are not what other words decode to.
const SURELY_TEXT: usize = 8;
/// Reads whatever somebody may have copied: padded or not, and cut off anywhere.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
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
            // Of HTTP Basic: dXNlcjpzZWNyZXQ= is user:secret.
            ("Basic dXNlcjpzZWNyZXQ= read", "Basic [redacted] read"),
            ("dXNlcjpzZWNyZXQ=", "[redacted]"),
            ("dXNlcjpzZWNyZXQ read", "[redacted] read"),
            ("read,dXNlcjpzZWNyZXQ=", "[redacted]"),
            ("Basic:dXNlcjpzZWNyZXQ secret=dXNlcjpzZWNyZXQ=", "[redacted] [redacted]"),
            ("Basic%20dXNlcjpzZWNyZXQ%3D", "[redacted]"),
            ("xdXNlcjpzZWNyZXQ xxx/dXNlcjpzZWNyZXQ= dXNlcjpzZWNyZXQ=xyz", "[redacted] [redacted] [redacted]"),
            // a:b and two that need the two alphabets: user:>>>??? and u:ÿ.
            ("YTpi dXNlcjo+Pj4/Pz8= dXNlcjo-Pj4_Pz8 dTrDvw==", "[redacted] [redacted] [redacted] [redacted]"),
            // user:sécret in Latin-1, cut off in the middle: nobody can tell what it is but by the word before it.
            ("basic dXNlcjpz6WNyZXQ read", "basic [redacted] read"),
            ("BASIC  dXNl\tread", "BASIC  [redacted]"),
            ("Authorization:Basic abc Bearer opaque-of-another", "Authorization:Basic [redacted] Bearer [redacted]"),
            // :secret, and this server's own by itself.
            ("OnNlY3JldDpzZWNyZXQ=", "[redacted]"),
            ("Z3dzX3NlY3JldA== Z3d0X3NlY3JldA==", "[redacted] [redacted]"),
            // Escaped twice over.
            ("gws%5Fsecret gwt%5fsecret %67ws_secret", "[redacted] [redacted] [redacted]"),
            // What is asked for every day.
            ("openid profile email offline_access address phone", "openid profile email offline_access address phone"),
            (
                "https://api.example.com/orders.read urn:example:admin",
                "https://api.example.com/orders.read urn:example:admin",
            ),
            (
                "am-introspect-all-tokens administrators read:orders-and-invoices",
                "am-introspect-all-tokens administrators read:orders-and-invoices",
            ),
            (
                "readWriteEverythingThatThereIsInTheDepartmentOfInvoices 550e8400-e29b-41d4-a716-446655440000",
                "readWriteEverythingThatThereIsInTheDepartmentOfInvoices 550e8400-e29b-41d4-a716-446655440000",
            ),
            ("100% 5%2 %zz %", "100% 5%2 %zz %"),
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
