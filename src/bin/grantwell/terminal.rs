//! The terminal that a person sits at: how wide it is, what may be written to it, and typing without being seen.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::process;

use rustix::fs::OFlags;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task;

/// How many characters a line of standard output may have; `None` where it is not a terminal.
pub(crate) fn width() -> Option<usize> {
    width_of(&io::stdout())
}

/// The same of another output.
pub(crate) fn width_of(output: &(impl IsTerminal + AsFd)) -> Option<usize> {
    if !output.is_terminal() {
        return None;
    }
    // Some terminals, such as serial lines, do not know their size.
    let known = termios::tcgetwinsize(output.as_fd()).ok().map(|size| usize::from(size.ws_col));
    Some(known.filter(|columns| *columns > 0).unwrap_or(NARROW).max(NARROWEST))
}

/// A text that others have written, without what moves a cursor, changes colours, or shows characters in another order than they have
/// (bidirectional text): that is escaped, and so is what nobody sees. Lines stay lines.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|character| character == '\n' || is_seen(character)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if character == '\n' || is_seen(character) {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_unicode());
        }
    }
    Cow::Owned(escaped)
}

/// [`printable`] of one line: what would begin another is escaped, too.
pub(crate) fn printable_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// Whether a character is itself on a screen, or a space. The standard library knows which categories are not; it escapes accents, too,
/// where they stand alone.
fn is_seen(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' => false,
        _ if character.is_control() => false,
        _ => character.is_whitespace() || String::from_iter(['x', character]).escape_debug().nth(2).is_none(),
    }
}

/// Whether `output` was closed when the process began. The runtime then opens the null device for reading and writing in its place; who
/// sends output there by intent (`>/dev/null`) opens it for writing alone.
pub(crate) fn is_stand_in(output: impl AsFd) -> bool {
    let (Ok(opened), Ok(null)) = (rustix::fs::fstat(&output), rustix::fs::stat("/dev/null")) else {
        return false;
    };
    let is_for_both = rustix::fs::fcntl_getfl(&output).is_ok_and(|flags| flags.contains(OFlags::RDWR));
    opened.st_rdev == null.st_rdev && is_for_both
}

/// What `read` reads from `terminal`, which does not show it while it is typed. A signal that ends the process gives the terminal its
/// echo back first: a shell would stay without.
///
/// # Errors
/// What the terminal says, or `read`.
pub(crate) async fn read_unseen<T: Send + 'static>(
    terminal: OwnedFd,
    read: impl FnOnce(File) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut ended = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let unseen = Unseen::on(terminal.try_clone()?)?;
    let reading = task::spawn_blocking(move || read(File::from(terminal)));
    let number = tokio::select! {
        read = reading => return read.map_err(io::Error::other)?,
        _ = interrupted.recv() => SignalKind::interrupt(),
        _ = ended.recv() => SignalKind::terminate(),
        _ = hung_up.recv() => SignalKind::hangup(),
        _ = quit.recv() => SignalKind::quit(),
    };
    drop(unseen);
    // At once: the runtime would wait for the thread that reads, which nothing can stop.
    process::exit(ENDED_BY_SIGNAL + number.as_raw_value());
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen {
    terminal: OwnedFd,
    before: Termios,
}

impl Unseen {
    fn on(terminal: OwnedFd) -> io::Result<Self> {
        let before = termios::tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // Whoever presses Enter sees that.
        silent.local_modes.insert(LocalModes::ECHONL);
        termios::tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// The narrowest terminal in common use.
pub(crate) const NARROW: usize = 80;
/// Nothing can be laid out in less.
const NARROWEST: usize = 40;
/// What a shell adds to the number of the signal that ended a process.
const ENDED_BY_SIGNAL: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_round_is_escaped_and_writing_of_any_language_is_not() {
        for (text, shown) in [
            ("plain \"text\" of 'one' \\ line", "plain \"text\" of 'one' \\ line"),
            ("two\nlines", "two\nlines"),
            ("\u{1b}[2Jcleared\r\u{7}", "\\u{1b}[2Jcleared\\u{d}\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("evil\u{202e}txt.exe", "evil\\u{202e}txt.exe"),
            ("a\u{2066}b\u{2069}c\u{200f}d\u{61c}", "a\\u{2066}b\\u{2069}c\\u{200f}d\\u{61c}"),
            ("no\u{200b}thing\u{feff}\u{ad}", "no\\u{200b}thing\\u{feff}\\u{ad}"),
            ("\u{2028}\u{e0041}\u{e000}", "\\u{2028}\\u{e0041}\\u{e000}"),
            ("Zoe\u{308} Łódź 漢字\u{3000}かな हिन्दी שלום عربي", "Zoe\u{308} Łódź 漢字\u{3000}かな हिन्दी שלום عربي"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_line("two\nlines"), "two\\nlines");
    }
}
