//! How a command ends when it could not do its work: one sentence on stderr that says what happened and what to do, and
//! exit status 1. (Status 2 is clap's: the command line itself was wrong.)

use std::io::{self, Write as _};
use std::panic;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use grantwell::config::ConfigError;
use grantwell::core::client::id::MalformedClientId;
use grantwell::core::client::redirect_uri::InvalidRedirectUri;
use grantwell::core::port_error::PortError;
use grantwell::embedded::store::cause::StorageCause;
use grantwell::embedded::store::fault::StoreError;

use crate::terminal;

/// Why a command could not do its work. Holds no secret: it is made to be printed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What happened and what to do.
    Sentence(String),
    /// The same of a command line that says too little or too much.
    Misuse(String),
    /// Whoever read stdout has stopped reading, as `head` does: nothing to complain about.
    OutputClosed,
    /// The answer has said it all; only the exit status is left.
    Told(u8),
}

/// Has a panic end a command as any failure does, without its message, which may quote a secret. The server's log takes this over.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let advice = "look at what it has changed before you run it again, and please report it";
        let _nobody_to_tell = writeln!(io::stderr(), "error: a fault in this program, at {place}; {advice}");
    }));
}

impl Failure {
    /// A failure that says `sentence`, which starts in lower case and has no full stop.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Sentence(sentence.into())
    }

    /// What became of writing to stdout.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::new(format!("the answer could not be written to standard output: {error}"))
        }
    }

    /// Says it on stderr; the exit status to end with.
    pub(crate) fn report(self) -> ExitCode {
        let status = if matches!(self, Self::Misuse(_)) { ExitCode::from(MISUSE) } else { ExitCode::FAILURE };
        match self {
            Self::Sentence(sentence) | Self::Misuse(sentence) => {
                // Not eprintln!, which panics where stderr is closed. There is nobody left to tell; nor, after a while, where
                // nobody reads it: a server that cannot go on has to end.
                let line = format!("error: {}\n", terminal::printable(&sentence));
                let (copy, (is_written, written)) = (line.clone(), mpsc::channel());
                let write = move || is_written.send(io::stderr().write_all(copy.as_bytes()));
                if thread::Builder::new().spawn(write).is_ok() {
                    let _either_way = written.recv_timeout(PATIENCE);
                } else {
                    let _ = io::stderr().write_all(line.as_bytes());
                }
                status
            }
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Told(status) => ExitCode::from(status),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<MalformedClientId> for Failure {
    fn from(error: MalformedClientId) -> Self {
        Self::new(error.to_string())
    }
}

impl From<InvalidRedirectUri> for Failure {
    fn from(error: InvalidRedirectUri) -> Self {
        Self::new(error.to_string())
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        let advice = match &error {
            PortError::Unavailable { service: "DynamoDB" | "Secrets Manager" | "AWS STS", .. } => {
                "try again; if the problem stays, check the AWS credentials and region, and that the variables of the \
                 export block belong to this stack"
            }
            // A store of this machine says why in words that there is a way out for.
            PortError::Unavailable { detail, .. } => {
                let (words, _more) = detail.split_once("; ").unwrap_or((detail, ""));
                StorageCause::of_words(words).map_or("try again in a moment", StorageCause::way_out)
            }
            // It says itself what to do.
            PortError::Foreign { .. } => return Self::new(error.to_string()),
            PortError::Corrupt { .. } => "restore it from a backup, or delete it and register it again",
        };
        Self::new(format!("{error}; {advice}"))
    }
}

/// How long somebody may take to read the sentence.
const PATIENCE: Duration = Duration::from_secs(5);
/// The exit status with which clap refuses a command line.
const MISUSE: u8 = 2;
