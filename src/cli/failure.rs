//! How a verb can fail: what to say, and the exit code that scripts decide by.

use crate::cluster::membership::Refused;
use crate::config::ConfigErrors;
use std::io;

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// The config file cannot be used; the text is printed as it is.
    Config(String),
    /// What was compared is not alike, as with diff(1); the results say how.
    Differs,
    /// It was tried and did not work.
    Failed(String),
    /// Standard output cannot be written to.
    Output(io::Error),
    /// The pool has changed since the plan that a change was bound to.
    Stale(String),
    /// The change is unsafe and was not forced.
    Unsafe(String),
    /// What was asked for makes no sense here.
    Usage(String),
}

impl Failure {
    /// The exit code: 1 failed, 2 bad usage or config, 3 precondition failed, 4 refused as unsafe. 0 when nobody reads
    /// the output any more: `ringway locate - | head` has done what was asked.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Differs | Failure::Failed(_) | Failure::Output(_) => 1,
            Failure::Config(_) | Failure::Usage(_) => 2,
            Failure::Stale(_) => 3,
            Failure::Unsafe(_) => 4,
        }
    }

    /// What to print to standard error, if anything.
    pub fn message(&self) -> Option<String> {
        match self {
            Failure::Config(text) => Some(text.trim_end().to_owned()),
            Failure::Differs => None,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Failure::Output(error) => Some(format!("error: cannot write to standard output: {error}")),
            Failure::Failed(text) | Failure::Stale(text) | Failure::Unsafe(text) | Failure::Usage(text) => {
                Some(format!("error: {text}"))
            }
        }
    }
}

/// Verbs do no other I/O that they do not turn into a sentence of their own.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        Failure::Config(errors.to_string())
    }
}

/// A change that a membership refuses is a mistake of whoever asks, as the API's 4xx say too.
impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused.is_unsafe() {
            true => Failure::Unsafe(refused.to_string()),
            false => Failure::Usage(refused.to_string()),
        }
    }
}
