//! Media types as headers have them (RFC 9110 §8.3.1): with parameters that may be quoted (§5.6.6), and in Accept as ranges with
//! weights (§12.5.1).

/// A media type, or in Accept a range of them, with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MediaType<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, String)>,
}

/// How gladly a media type is taken: thousandths of 1, and whether it is named or only falls under a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Preference {
    weight: u16,
    is_named: bool,
}

impl<'a> MediaType<'a> {
    /// Reads the one media type that a text is. `None` where it is not one, or where something follows.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = token(text.trim_matches(WHITE));
        let (subtype, mut rest) = token(rest.strip_prefix('/')?);
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let mut parameters = Vec::new();
        loop {
            let Some(next) = rest.trim_start_matches(WHITE).strip_prefix(';') else {
                return rest.is_empty().then_some(Self { kind, subtype, parameters });
            };
            let (name, after) = token(next.trim_start_matches(WHITE));
            // One without a name is allowed, and one without a value says nothing.
            let Some(value) = after.trim_start_matches(WHITE).strip_prefix('=') else {
                rest = after;
                continue;
            };
            let value = value.trim_start_matches(WHITE);
            let (value, after) = if let Some(quoted) = value.strip_prefix('"') {
                unquoted(quoted)?
            } else {
                let end = value.find([';', ',', '"', ' ', '\t']).unwrap_or(value.len());
                let (value, after) = value.split_at_checked(end)?;
                (value.to_owned(), after)
            };
            if name.is_empty() {
                return None;
            }
            parameters.push((name, value));
            rest = after;
        }
    }

    /// Whether it is this one, in any case, whatever its parameters.
    pub(super) fn is(&self, media_type: &str) -> bool {
        media_type.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }

    /// The values of a parameter.
    pub(super) fn parameter(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.parameters.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// How closely a range describes a media type: by its name, by its kind, or as any. `None` where it does not.
    fn specificity_for(&self, media_type: &str) -> Option<u8> {
        if self.is(media_type) {
            return Some(NAMED);
        }
        let is_kind = media_type.split_once('/').is_some_and(|(kind, _)| self.kind.eq_ignore_ascii_case(kind));
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (_, "*") if is_kind => Some(1),
            _ => None,
        }
    }

    /// In thousandths; 1 where none is given (§12.4.2). `None` where what is given is not a weight.
    fn weight(&self) -> Option<u16> {
        let Some(text) = self.parameter("q").next() else { return Some(1000) };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
        match (whole, thousandths) {
            ("0", thousandths) => Some(thousandths),
            ("1", 0) => Some(1000),
            _ => None,
        }
    }
}

impl Preference {
    /// For `media_type`, by the values of Accept: what describes it most closely counts. A range that does not parse is left out.
    pub(super) fn of<'a>(accept: impl Iterator<Item = &'a str>, media_type: &str) -> Self {
        let ranges = accept.flat_map(elements).filter_map(MediaType::parse);
        let weighed = ranges.filter_map(|range| Some((range.specificity_for(media_type)?, range.weight()?)));
        let (specificity, weight) = weighed.max().unwrap_or_default();
        Self { weight, is_named: weight > 0 && specificity == NAMED }
    }

    /// Whether it is preferred to what this server sends by itself: it weighs more, or as much and is asked for by its name.
    pub(super) fn is_over(self, by_itself: Self) -> bool {
        self.weight > by_itself.weight || (self.weight == by_itself.weight && self.is_named)
    }
}

/// The elements of a list that has commas between them, but for those in quotation marks (RFC 9110 §5.6.1).
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |character| {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => return true,
            _ => {}
        }
        false
    })
}

/// The token that a text begins with (RFC 9110 §5.6.2), and what follows.
fn token(text: &str) -> (&str, &str) {
    let is_own = |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
    let end = text.find(|character| !is_own(character)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What stands in quotation marks, the first of which is read already (RFC 9110 §5.6.4), and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

const WHITE: [char; 2] = [' ', '\t'];
const NAMED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_with_and_without_quotation_marks() {
        for (text, expected) in [
            ("a/b", vec![]),
            (" a/b\t", vec![]),
            ("a/b;", vec![]),
            ("a/b ; ;;c=d", vec![("c", "d")]),
            ("a/b;c=d;E=f", vec![("c", "d"), ("E", "f")]),
            ("a/b; c = d", vec![("c", "d")]),
            ("a/b;c", vec![]),
            ("a/b;c=", vec![("c", "")]),
            ("a/b;c=x/y", vec![("c", "x/y")]),
            (r#"a/b;c="d""#, vec![("c", "d")]),
            (r#"a/b;c="d;e=f";g=h"#, vec![("c", "d;e=f"), ("g", "h")]),
            (r#"a/b;c="d\"\\;\e";g="h""#, vec![("c", r#"d"\;e"#), ("g", "h")]),
            (r#"a/b;c="a, b""#, vec![("c", "a, b")]),
        ] {
            let parsed = MediaType::parse(text).unwrap_or_else(|| panic!("{text}"));
            let parameters: Vec<_> = parsed.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!((parsed.is("A/B"), parameters), (true, expected), "{text}");
        }
        for text in
            ["", "a", "a/", "/b", "a/b c", "a/b, c/d", "a/b;c=\"d", "a/b;c=\"d\"e", "a/b;c=\"d\\", "a b/c", "a/b;=c"]
        {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_weight_has_three_digits_at_most_and_is_not_above_one() {
        for (q, expected) in [
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.0", Some(0)),
            ("0.000", Some(0)),
            ("0.001", Some(1)),
            ("0.5", Some(500)),
            ("0.25", Some(250)),
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("2", None),
            ("-1", None),
            (".5", None),
            ("0.0001", None),
            ("0.x", None),
            ("", None),
            ("nan", None),
        ] {
            let text = format!("a/b;Q={q}");
            assert_eq!(MediaType::parse(&text).expect("a range").weight(), expected, "{q}");
        }
        assert_eq!(MediaType::parse("a/b").expect("a range").weight(), Some(1000));
    }

    #[test]
    fn what_describes_a_type_most_closely_counts_and_a_name_decides_between_equals() {
        let is_over = |accept: &[&str]| {
            let preference = |media_type| Preference::of(accept.iter().copied(), media_type);
            preference("application/jwt").is_over(preference("application/json"))
        };
        for accept in [
            &["application/jwt"][..],
            &["APPLICATION/JWT"],
            &["application/jwt;q=0.1"],
            &["application/json, application/jwt"],
            &["application/json", "application/jwt"],
            &["application/json;q=0.4, application/jwt;q=0.5"],
            &["application/jwt;q=0.5, */*;q=0.1"],
            &["application/jwt, */*"],
            &["*/*;q=0.2, application/jwt;q=0.3, application/*;q=0.3"],
            &["application/json;q=0, */*"],
            &["application/jwt;profile=\"a,b;q=0\""],
            &["text/html, , application/jwt"],
            &["a/b;c=\"unfinished", "application/jwt"],
        ] {
            assert!(is_over(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &["application/json"],
            &["text/html"],
            &["application/jwt;q=0"],
            &["application/jwt;q=0.000, */*"],
            &["application/jwt;q=0.5, application/json"],
            &["application/jwt;q=0.5, */*"],
            &["application/jwt;q=0.5", "application/*;q=0.6"],
            &["application/jwt;q=9"],
            &["application/jwtx"],
            &["x-application/jwt"],
            &["text/plain;a=\"application/jwt, application/jwt\""],
        ] {
            assert!(!is_over(accept), "{accept:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in "[a/b;=\"\\\\, q0.5\u{e9}*]{0,40}") {
            let _ = MediaType::parse(&text);
            let _ = Preference::of([text.as_str()].into_iter(), "a/b");
        }
    }
}
