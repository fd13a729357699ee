//! Counts of the command line: a number, with or without a unit, such as `1000`, `10k` or `1.5M`.

/// The text is not a count, or not one that the option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCount {
    /// Not a count at all.
    #[error("a count is a whole number, or a number with k for thousands or M for millions, such as 10k or 1.5M")]
    Malformed,
    /// In the words of clap, which says the same of its own numbers.
    #[error("{count} is not in {least}..={most}")]
    OutOfRange {
        /// What was given.
        count: u64,
        /// The least that the option takes.
        least: u32,
        /// The most.
        most: u32,
    },
}

/// A parser of counts from `least` to `most`.
pub(crate) fn between(
    least: u32,
    most: u32,
) -> impl Fn(&str) -> Result<u32, InvalidCount> + Clone + Send + Sync + 'static {
    move |text| {
        let count = count(text)?;
        let in_range = u32::try_from(count).ok().filter(|count| (least..=most).contains(count));
        in_range.ok_or(InvalidCount::OutOfRange { count, least, most })
    }
}

/// Parses a count.
pub(crate) fn count(text: &str) -> Result<u64, InvalidCount> {
    let (number, zeros) = match text.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (text.split_at(end).0, 3),
        Some((end, 'M' | 'm')) => (text.split_at(end).0, 6),
        _ => (text, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if is_number(fraction) => (whole, fraction.trim_end_matches('0')),
        Some(_) => return Err(InvalidCount::Malformed),
        None => (number, ""),
    };
    let whole = without_separators(whole).filter(|whole| is_number(whole) && fraction.len() <= zeros);
    let digits = whole.map(|whole| format!("{whole}{fraction:0<zeros$}"));
    digits.and_then(|digits| digits.parse().ok()).ok_or(InvalidCount::Malformed)
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1_000_000` and `1,000,000`, as people write them.
fn without_separators(number: &str) -> Option<String> {
    let groups: Vec<&str> = number.split(['_', ',']).collect();
    let are_whole = groups.iter().skip(1).all(|group| group.len() == 3);
    are_whole.then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_numbers_with_or_without_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("1000", 1_000),
            ("1k", 1_000),
            ("10K", 10_000),
            ("1M", 1_000_000),
            ("1.5M", 1_500_000),
            ("0.25k", 250),
            ("1.0", 1),
            ("1.0k", 1_000),
            ("1_000_000", 1_000_000),
            ("1,000", 1_000),
            ("5000000000", 5_000_000_000),
        ] {
            assert_eq!(count(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "k",
            ".5M",
            "1.",
            "-1",
            "+1",
            "1.5",
            "1.2345k",
            "1e6",
            "1 k",
            "1kk",
            "1,00",
            "1__0",
            "M1",
            "99999999999999M",
            "１",
        ] {
            assert_eq!(count(text), Err(InvalidCount::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_count_out_of_range_says_the_range() {
        let parse = between(1, 1_000);
        assert_eq!((parse("1"), parse("1k")), (Ok(1), Ok(1_000)));
        for text in ["0", "1001", "5M", "5000000000"] {
            let error = parse(text).expect_err("out of range").to_string();
            assert!(error.ends_with("is not in 1..=1000"), "{error}");
        }
    }
}
