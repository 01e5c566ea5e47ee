//! A shell that types what a block says, one command after another.

use crate::harness::ringway::binary;
use crate::harness::story::Story;
use crate::harness::wait::PATIENCE;
use crate::harness::wait::poll;
use crate::readme::expected::indent;
use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

/// A bash in the directory `work` of a story, with no settings but a path on which `ringway` is the one under test.
pub(crate) struct Shell {
    bash: Child,
    runs: PathBuf,
    /// Those that run on, with the groups of their processes.
    running: Vec<(Run, String)>,
    count: usize,
}

/// A command that was typed.
#[derive(Clone)]
pub(crate) struct Run {
    /// Without what is added to it for its output and its exit code.
    path: PathBuf,
}

impl Run {
    /// What it has printed so far, errors among it.
    pub(crate) fn output(&self) -> String {
        let bytes = fs::read(self.path.with_extension("out")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn exit_code(&self) -> Option<i32> {
        read(&self.path.with_extension("code"))?.parse().ok()
    }
}

impl Shell {
    /// Starts it.
    pub(crate) fn begin(story: &Story) -> Shell {
        let (programs, runs) = (story.path("programs"), story.path("runs"));
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&runs).unwrap();
        symlink(fs::canonicalize(binary()).unwrap(), programs.join("ringway")).unwrap();
        let cargo = programs.join("cargo");
        fs::write(&cargo, CARGO).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}:/usr/sbin:/sbin", programs.display(), env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc"]).env_clear().env("PATH", path).env("HOME", story.path("work"));
        let bash = bash.current_dir(story.path("work")).stdin(Stdio::piped()).spawn().unwrap();
        Shell { bash, runs, running: Vec::new(), count: 0 }
    }

    /// Types a command and waits for its end and its exit code; `hear` is told again and again what it has printed.
    pub(crate) fn run(&mut self, command: &str, mut hear: impl FnMut(&str)) -> Result<(Run, i32), String> {
        let run = self.next();
        let path = run.path.display();
        self.write(&format!("{{ {command}\n}} >'{path}.out' 2>&1 </dev/null; {}", wrote("$?", &run, "code")));
        let mut ended = || {
            hear(&run.output());
            run.exit_code()
        };
        let code = poll(&mut ended, Option::is_some);
        let Ok(Some(code)) = code else {
            return Err(format!("  it has not ended after {PATIENCE:?}:\n{}", indent(&run.output())));
        };
        Ok((run, code))
    }

    /// Types a command that runs on, and waits until it has printed `ready`.
    pub(crate) fn start(&mut self, command: &str, ready: &str) -> Result<Run, String> {
        let run = self.next();
        let (path, code) = (run.path.display(), wrote("$?", &run, "code"));
        // With job control it is a group of processes that can be interrupted; its shell stays, to tell the code.
        let job = format!("{{ trap : INT\n{command}\n{code}\n}} >'{path}.out' 2>&1 </dev/null &");
        self.write(&format!("set -m; {job} {}; set +m", wrote("$!", &run, "group")));
        let group = || run.output().contains(ready).then(|| read(&run.path.with_extension("group"))).flatten();
        let mut state = || (run.exit_code(), group());
        match poll(&mut state, |(code, group)| code.is_some() || group.is_some()) {
            Ok((None, Some(group))) => {
                self.running.push((run.clone(), group));
                Ok(run)
            }
            _ => Err(format!("  it ended, or did not print {ready:?} in {PATIENCE:?}:\n{}", indent(&run.output()))),
        }
    }

    /// Interrupts all that runs on, as Ctrl-C does, and waits until each has ended well.
    pub(crate) fn end(mut self) {
        for (run, group) in std::mem::take(&mut self.running) {
            self.write(&format!("kill -INT -- -{group}"));
            let ended = poll(&mut || run.exit_code(), Option::is_some);
            // 130 is what a shell says of a program that leaves it to the system.
            let is_well = matches!(ended, Ok(Some(0 | 130)));
            assert!(is_well, "what runs on, interrupted: {ended:?}\n{}", run.output());
        }
        drop(self.bash.stdin.take());
        assert!(self.bash.wait().unwrap().success());
    }

    fn next(&mut self) -> Run {
        self.count += 1;
        Run { path: self.runs.join(self.count.to_string()) }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.bash.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

/// The shell's words for a file with `what` in it, whole from its first moment.
fn wrote(what: &str, run: &Run, extension: &str) -> String {
    let path = run.path.display();
    format!("echo {what} >'{path}.new'; mv '{path}.new' '{path}.{extension}'")
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// What stands for cargo: it would build for minutes what is there already.
const CARGO: &str = "#!/bin/sh\n\
    case \"$*\" in \"run --release -- \"*) shift 3 && exec ringway \"$@\";; esac\n\
    echo \"cargo $*: the test has no cargo for this\" >&2\n\
    exit 2\n";
