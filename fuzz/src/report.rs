//! The reader of `grantwell report tokens`. It is a part of the command and not of the library, so it is compiled here once more.

/// The reader's own files, which may see each other and nothing else of the command.
#[path = "../../src/bin/grantwell/report"]
mod report {
    mod line;
    mod log;
    mod tally;

    use log::Lines;
    use tally::{ClientUsage, Tally};

    /// What a log says, and how many of its lines say nothing.
    pub(super) fn read(log: &[u8]) -> (Vec<(u64, u64, u64, f64)>, (u64, u64)) {
        let (mut tally, mut lines) = (Tally::default(), Lines::default());
        log::read(&mut &*log, &mut tally, &mut lines).expect("memory can be read");
        assert_eq!(tally.issued_between().is_some_and(|(first, last)| first > last), false);
        let numbers = |usage: ClientUsage| (usage.issued, usage.used, usage.early, usage.ratio);
        (tally.finish().into_iter().map(numbers).collect(), (lines.read, lines.skipped))
    }
}

/// A log of any bytes: no client has used or wasted more tokens than it got, and lines that are there twice count once.
pub fn report(input: &[u8]) {
    let (clients, (lines, skipped)) = report::read(input);
    let mut all = 0;
    for &(issued, used, early, ratio) in &clients {
        assert!(issued >= 1 && used <= issued && early < issued, "{clients:?}");
        assert!(ratio.is_finite() && ratio >= 1.0, "{clients:?}");
        all += issued;
    }
    assert!(all <= lines - skipped, "{clients:?} of {lines} lines less {skipped}");
    let twice = [input, b"\n", input].concat();
    assert_eq!(report::read(&twice).0, clients);
}
