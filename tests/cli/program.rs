//! Runs the built program, and directories for its files.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::thread;

/// What a run of the program came to, with what was run.
#[derive(Debug)]
pub(crate) struct Ran {
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(crate) arguments: Vec<String>,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The output of a run that must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }
}

/// The program, asking nobody by default: no test may find a proxy that happens to run on this machine.
pub(crate) fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments);
    command.env("RINGWAY_ADMIN", "unix:/nonexistent");
    for variable in ["RINGWAY_TOKEN_FILE", "RINGWAY_CA", "RINGWAY_CERT", "RINGWAY_CERT_KEY", "RINGWAY_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the program to its end.
pub(crate) fn ringway<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Ran {
    with_input(arguments, b"")
}

/// Runs the program to its end with this on standard input.
pub(crate) fn with_input<'a>(arguments: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Ran {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let mut child = command(arguments.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        // Beside the reading: neither pipe holds everything. A program that reads no input may leave early.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    Ran {
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// An empty directory; `name` is unique among the tests. Short, because socket paths must be.
    pub(crate) fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ringway-cli-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    /// The path of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: &(impl AsRef<[u8]> + ?Sized)) -> String {
        fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever clears the temporary directory.
        drop(fs::remove_dir_all(&self.0));
    }
}
