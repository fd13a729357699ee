//! Texts that bytes are written as, and bytes that texts are read as: base64url (RFC 7515 §2), the form encoding of RFC 6749
//! Appendix B, and the characters of its Appendix A.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Base64url without padding (RFC 7515 §2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What was written as [`base64url`]; `None` for anything else.
pub(crate) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// `prefix` and these 256 bits in base64url.
pub(crate) fn prefixed_base64url(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    // Sized in advance: a string that grows leaves copies of itself behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 43));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
    text
}

/// Decodes one form-encoded name, value or Basic credential: `+` is a space, `%` is followed by two hex digits, and the
/// bytes are UTF-8. `None` for anything else.
pub(crate) fn decode_form(encoded: &[u8]) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'+' => {
                bytes.push(b' ');
                tail
            }
            b'%' => {
                let (high, low, after) = match tail {
                    [high, low, after @ ..] => (hex_digit(*high)?, hex_digit(*low)?, after),
                    _ => return None,
                };
                bytes.push(high << 4 | low);
                after
            }
            _ => {
                bytes.push(byte);
                tail
            }
        };
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// `1*VSCHAR` (RFC 6749 Appendix A): what client ids, secrets and tokens are made of.
pub(crate) fn is_vschar(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
