//! Tells the program what it is built from (`src/build_info.rs`): the commit, its date, and the compiler.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RINGWAY_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let rustc = rustc().unwrap_or_else(|| "unknown".to_owned());
    let commit = commit().unwrap_or_else(|| "unknown commit".to_owned());
    let hash = commit.split(' ').next().unwrap_or_default();
    println!("cargo::rustc-env=RINGWAY_LONG_VERSION={version} ({commit}, rustc {rustc})");
    println!("cargo::rustc-env=RINGWAY_COMMIT={hash}");
    println!("cargo::rustc-env=RINGWAY_RUSTC={rustc}");
}

/// `abc1234def 2026-11-27`: from the variable RINGWAY_COMMIT, for builds without the repository, else from the repository;
/// with a `+` where what goes into the program is not as committed.
///
/// Not for debug builds, or each commit would build the tests anew. Nor where the sources have no repository of their own:
/// one around them would name a commit of something else.
fn commit() -> Option<String> {
    if let Some(given) = env::var("RINGWAY_COMMIT").ok().filter(|given| !given.is_empty()) {
        return Some(given);
    }
    if env::var("PROFILE").ok()? != "release" || !Path::new(".git").exists() {
        return None;
    }
    // Every commit, checkout and rebase writes a line there, and edits are seen by the rest.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    let watched = [log.as_str()].into_iter().chain(BUILT_FROM).filter(|path| Path::new(path).exists());
    watched.for_each(|path| println!("cargo::rerun-if-changed={path}"));
    let commit = git(&["log", "-1", "--abbrev=10", "--date=short", "--format=%h %cd"])?;
    let (hash, date) = commit.split_once(' ')?;
    let edited = git(&[&["status", "--porcelain", "--"], &BUILT_FROM[..]].concat())?;
    let mark = if edited.is_empty() { "" } else { "+" };
    Some(format!("{hash}{mark} {date}"))
}

/// `1.95.0`.
fn rustc() -> Option<String> {
    let said = output(Command::new(env::var_os("RUSTC")?).arg("--version"))?;
    said.split(' ').nth(1).map(str::to_owned)
}

fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

/// What a command that succeeds prints, without the end of the line.
fn output(command: &mut Command) -> Option<String> {
    let ran = command.output().ok().filter(|ran| ran.status.success())?;
    String::from_utf8(ran.stdout).ok().map(|text| text.trim_end().to_owned())
}

/// What goes into the program.
const BUILT_FROM: [&str; 5] = ["src", "config", "build.rs", "Cargo.toml", "Cargo.lock"];
