//! The Authorization header (RFC 9110 §11.4): a scheme, and after one or more spaces what belongs to it.

/// The values that say something, of all the Authorization headers of a request. An empty header is as none.
pub(super) fn spoken<'a>(values: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    values.iter().map(|value| trimmed(value)).filter(|value| !value.is_empty())
}

/// The scheme of a value, and its credentials where it has any.
pub(super) fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut halves = value.splitn(2, |byte| *byte == b' ');
    let scheme = halves.next().unwrap_or_default();
    let credentials = halves.next().map(|rest| {
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        rest.get(spaces..).unwrap_or_default()
    });
    (scheme, credentials.filter(|credentials| !credentials.is_empty()))
}

/// White space around a value is not part of it (RFC 9110 §5.5). HTTP/1.1 leaves it out, an event may have it.
fn trimmed(value: &[u8]) -> &[u8] {
    let is_white = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| is_white(byte)).count();
    let rest = value.get(start..).unwrap_or_default();
    let end = rest.iter().rev().take_while(|byte| is_white(byte)).count();
    rest.get(..rest.len() - end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_space_or_several_stand_behind_the_scheme_and_nothing_else() {
        for (value, scheme, credentials) in [
            (&b"Basic abc"[..], &b"Basic"[..], Some(&b"abc"[..])),
            (b"Basic    abc", b"Basic", Some(b"abc")),
            (b"Basic  abc  x", b"Basic", Some(b"abc  x")),
            (b"Basic \tabc", b"Basic", Some(b"\tabc")),
            (b"Basic\tabc", b"Basic\tabc", None),
            (b"Basic", b"Basic", None),
            (b"Basic ", b"Basic", None),
            (b"", b"", None),
        ] {
            assert_eq!(split(value), (scheme, credentials), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn an_empty_value_is_none_and_white_space_is_not_part_of_one() {
        let values = [&b""[..], b" \t ", b"\tBasic abc ", b"x"];
        assert_eq!(spoken(&values).collect::<Vec<_>>(), [&b"Basic abc"[..], b"x"]);
    }
}
