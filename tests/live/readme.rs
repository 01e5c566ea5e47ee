//! Every command that README.md and the pages under docs/ show is run as it stands there, each block in a small world
//! of its own, and what it prints is held against what they show.
//!
//! The test runs itself again for each block, in namespaces ([`stage`]), and there once more as the nodes ([`nodes`]).

mod document;
mod expected;
mod nodes;
mod scenes;
mod shell;
mod stage;
mod tables;

use crate::harness::ringway::binary;
use crate::harness::story::Story;
use crate::namespaces;
use crate::readme::document::Block;
use crate::readme::document::Command;
use crate::readme::document::Page;
use crate::readme::shell::Run;
use crate::readme::shell::Shell;
use crate::readme::stage::Stage;
use std::env;
use std::process;

#[test]
fn each_command_of_the_pages_does_what_they_show() {
    match env::var(PART).as_deref() {
        Ok(nodes::PART) => nodes::serve(),
        Ok(place) => play(place),
        Err(_) => play_all(),
    }
}

#[test]
fn commands_within_the_text_name_verbs_and_options_that_there_are() {
    for page in document::pages() {
        let spans = document::code_spans(&page);
        let typed: Vec<&str> = spans.iter().filter_map(|span| span.strip_prefix("ringway ")).collect();
        assert!(!typed.is_empty(), "{}", page.path);
        for words in typed {
            let mut bash = process::Command::new("bash");
            let ran = bash.args(["-c", &format!("\"$0\" {words} --help")]).arg(binary()).output().unwrap();
            let why = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{}: `ringway {words}`: {why}", page.path);
        }
    }
}

/// Plays each block in namespaces of its own.
fn play_all() {
    let story = Story::begin("readme");
    let ran = namespaces::command().arg("true").output().unwrap();
    let why = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "this test needs root, or a kernel that lets users make namespaces: {why}");
    let blocks: Vec<Block> = document::pages().iter().flat_map(document::blocks).collect();
    let mut broken = tables::stale(&blocks);
    for block in &blocks {
        let mut inside = namespaces::command();
        inside.arg(env::current_exe().unwrap()).args(stage::ITSELF);
        inside.env(PART, &block.place).env("TMPDIR", story.path("")).env("RUST_BACKTRACE", "0");
        let output = inside.output().unwrap();
        if !output.status.success() {
            broken.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    let commands = blocks.iter().map(|block| block.commands.len()).sum::<usize>();
    assert!(broken.is_empty(), "\n{}\n{HELP}", broken.join("\n"));
    let not_run = tables::NOT_RUN.len();
    story.figure(&format!("{commands} commands in {} blocks, {not_run} of them not run", blocks.len()));
}

/// Plays the block at `place`; to be called in namespaces of its own.
fn play(place: &str) {
    assert_eq!(process::id(), 1, "this changes what the machine looks like; it belongs into namespaces of its own");
    let is_there = |page: &Page| document::blocks(page).into_iter().find(|block| block.place == place);
    let found = document::pages().into_iter().find_map(|page| is_there(&page).map(|block| (page, block)));
    let (page, block) = found.unwrap_or_else(|| panic!("there is no block at {place}"));
    let mut stage = Stage::set(page);
    if let Some((_, prepare, _)) = tables::SCENES.iter().find(|(first, ..)| *first == block.commands[0].typed()) {
        prepare(&mut stage);
    }
    let mut shell = Shell::begin(&stage.story);
    if let Err(broken) = run_all(&block, &mut shell, &mut stage) {
        panic!("{broken}");
    }
    shell.end();
}

fn run_all(block: &Block, shell: &mut Shell, stage: &mut Stage) -> Result<(), String> {
    let mut last = None;
    for command in block.commands.iter().filter(|command| tables::is_run(command)) {
        let run = run(command, shell, stage);
        last = Some(run.map_err(|broken| format!("{}: `{}`\n{broken}", command.place, command.text))?);
    }
    for excerpt in &block.excerpts {
        let printed = last.as_ref().map(Run::output).unwrap_or_default();
        if !expected::holds(excerpt, &printed) {
            let lines: String = excerpt.iter().map(|line| format!("{}\n", line.text)).collect();
            let (lines, all) = (expected::indent(&lines), expected::indent(&printed));
            return Err(format!("{}: expected somewhere:\n{lines}  all that came:\n{all}", excerpt[0].place));
        }
    }
    Ok(())
}

/// Runs one command to its end, or until it is ready where it is one that runs on.
fn run(command: &Command, shell: &mut Shell, stage: &mut Stage) -> Result<Run, String> {
    let run = match tables::ready(command) {
        Some(ready) => shell.start(&command.text, ready)?,
        None => {
            let (run, code) = shell.run(&command.text, |printed| stage.hear(printed))?;
            if code != tables::exit_code(command) {
                return Err(format!("  it ended with exit code {code}:\n{}", expected::indent(&run.output())));
            }
            run
        }
    };
    let differs = (!command.output.is_empty()).then(|| expected::difference(&command.output, &run.output())).flatten();
    differs.map_or(Ok(run), Err)
}

/// Which part of the test this process is: the place of a block, or the nodes. Without it, the one that cargo starts.
const PART: &str = "RINGWAY_README_PART";

const HELP: &str = "Each command of README.md and docs/ is run by tests/live/readme.rs. Mend the page, or say in \
                    tests/live/readme/tables.rs what a block presupposes (SCENES), which command runs until it is \
                    stopped (RUNS_ON) or is not run at all, and why (NOT_RUN), and which lines differ each time \
                    (VARIABLE).";
