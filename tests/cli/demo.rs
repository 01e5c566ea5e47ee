//! `ringway demo` as those see it who watch the terminal, and those who watch what the page reads.

use crate::program;
use serde_json::Value;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Lines;
use std::io::Read;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Demos look which ports are free before they listen, so that two must not start at once.
static STARTING: Mutex<()> = Mutex::new(());

/// A demo that runs, and what it has printed so far.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
    page: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = program::command(["demo"].iter().chain(arguments).copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let printed = lines.next().expect("a first line").unwrap();
        let page = printed.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let page = page.unwrap_or_else(|| panic!("the first line names the page, not: {printed}"));
        Demo { child, lines, page: format!("http://{page}"), printed: printed.clone() + "\n" }
    }

    /// Reads on until something is printed.
    fn wait_for(&mut self, text: &str) {
        while !self.printed.contains(text) {
            let line = self.lines.next().unwrap_or_else(|| panic!("it ended before {text:?}:\n{}", self.printed));
            self.printed += &(line.unwrap() + "\n");
        }
    }

    /// Everything that it prints, until it ends well.
    fn end(mut self) -> String {
        for line in self.lines.by_ref() {
            self.printed += &(line.unwrap() + "\n");
        }
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let code = self.child.wait().unwrap().code();
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{}", self.printed);
        std::mem::take(&mut self.printed)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended already when the test has waited for that.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The event as one word: what changed, or what became of which node.
fn told(event: &Value) -> String {
    match event["event"].as_str().unwrap() {
        "membership" if event["rollback"].is_null() => {
            // The nodes that a pool begins with are no change.
            format!("add {}", event["changes"][0]["add"]["name"].as_str().unwrap_or("nothing"))
        }
        "membership" => format!("rollback to {}", event["rollback"]["to_epoch"]),
        other => format!("{other} {}", event["node"].as_str().unwrap_or_default()),
    }
}

#[test]
fn a_short_demo_shows_every_step_and_loses_no_request() {
    let demo = Demo::start(&["--for", "10s"]);
    let follow = ["events", "--follow", "--json", "--admin", &demo.page];
    let mut follower = program::command(follow).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let printed = demo.end();
    // It waits for the proxy to come back; the pipe holds what little it has said.
    follower.kill().unwrap();
    follower.wait().unwrap();
    let events = BufReader::new(follower.stdout.take().unwrap()).lines();
    let events: Vec<String> = events.map(|line| told(&serde_json::from_str(&line.unwrap()).unwrap())).collect();
    let dead = printed.split_once(" dies with").unwrap_or_else(|| panic!("nobody dies:\n{printed}")).0;
    let dead = &dead[dead.len() - 1..];
    let expected =
        [format!("node-down {dead}"), format!("node-up {dead}"), "add d".to_owned(), "rollback to 1".to_owned()];
    let mut told = events.iter();
    for event in &expected {
        assert!(told.any(|told| told == event), "{event:?} is missing, or too early, in {events:?}\n{printed}");
    }

    let steps = [
        "room-0 is hot",
        &format!("{dead} dies"),
        &format!("{dead} is ill: "),
        &format!("{dead} is back"),
        &format!("{dead} is used again: well after "),
        "requests went to the next candidate; 0 failed",
        "plan add d=127.0.0.1:",
        "% of the keys; optimum 25.0 %; between unchanged nodes 0 %",
        "applied, epoch 2: ",
        "0 keys astray",
        "rolled back to epoch 1, as epoch 3: all 10000 keys are where they were",
        "requests answered, 0 failed; the backends received ",
        "of 10000 keys moved (",
        "requests answered by the next candidate, the slowest in ",
    ];
    let mut rest = printed.as_str();
    for step in steps {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("{step:?} is missing, or too early, in:\n{printed}")).1;
    }
}

#[test]
fn the_demo_leaves_the_nodes_to_whoever_changes_them() {
    let mut demo = Demo::start(&[]);
    program::ringway(["apply", "--admin", &demo.page, "weight", "b=2"]).ok();
    demo.wait_for("epoch 2, by ");
    demo.wait_for("the nodes are yours");
    let pid = demo.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let printed = demo.end();
    assert!(printed.contains(" 0 failed; the backends received "), "{printed}");
    assert!(!printed.contains("plan add"), "{printed}");
}
