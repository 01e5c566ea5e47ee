//! A program that a story runs: its log, its signals, and its end.

use crate::harness::wait::until;
use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// Killed when it goes out of scope.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with standard error in the file `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Process {
        Process::start_with(command, Stdio::null(), log)
    }

    /// As [`Process::start`], with something for it to find as its standard input.
    pub(crate) fn start_with(command: &mut Command, input: Stdio, log: PathBuf) -> Process {
        let errors = File::create(&log).unwrap();
        let spawned = command.stdin(input).stdout(Stdio::piped()).stderr(errors).spawn();
        let child = spawned.unwrap_or_else(|error| {
            panic!("{}: {error}; tests/run installs what these tests need", command.get_program().display())
        });
        Process { child, log }
    }

    /// The id to send signals to.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end, and says how it ended and how long that took.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let status = until("the program ends", || self.ended());
        (status, begun.elapsed())
    }

    /// Sends SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until its log holds `text`; returns what follows on that line.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        until(&format!("the log says {text:?}"), || {
            let has_ended = self.ended().is_some();
            let log = self.log();
            let found = log.lines().find_map(|line| line.split_once(text)).map(|(_, rest)| rest.trim().to_owned());
            assert!(found.is_some() || !has_ended, "it ended without saying {text:?}");
            // A line that is still being written has no end yet.
            found.filter(|_| log.ends_with('\n'))
        })
    }

    /// The whole standard output of a program that has ended.
    pub(crate) fn output(&mut self) -> String {
        std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("--- the end of {}:\n{}", self.log.display(), last.join("\n"));
        }
    }
}

const LOG_LINES_SHOWN: usize = 20;
