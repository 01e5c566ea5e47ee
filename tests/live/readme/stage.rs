//! Where a block is played: a machine with the directories, the network and the nodes that the pages speak of.

use crate::harness::process::Process;
use crate::harness::ringway::Operator;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::readme::document::Page;
use crate::readme::nodes;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Arguments with which this program runs nothing but this test, and says no more than the test does.
pub(crate) const ITSELF: [&str; 4] =
    ["--exact", "readme::each_command_of_the_pages_does_what_they_show", "--nocapture", "--quiet"];

/// A stage that is set. Programs end when it goes out of scope, in this order.
pub(crate) struct Stage {
    /// The page whose block is played.
    pub(crate) page: Page,
    cue: Option<Cue>,
    programs: Vec<Process>,
    pub(crate) story: Story,
}

/// What happens when a command has printed something.
struct Cue {
    text: &'static str,
    act: Box<dyn FnOnce()>,
}

impl Stage {
    /// Changes what this process sees of the machine, so it must be in namespaces of its own.
    pub(crate) fn set(page: Page) -> Stage {
        let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut shell = Command::new("sh");
        shell.args(["-euc", STAGE, "sh"]).arg(env::temp_dir().join("machine")).env("PATH", path);
        let output = shell.output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{why}tests/run installs what this needs, which is root here too");
        let story = Story::begin("readme");
        fs::create_dir(story.path(WORK)).unwrap();
        let programs = vec![nodes::start(&story)];
        Stage { page, cue: None, programs, story }
    }

    /// Writes a file; a relative path is in the directory where commands are typed.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.story.path(WORK).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }

    /// Runs a program from here on.
    pub(crate) fn keep(&mut self, program: Process) {
        self.programs.push(program);
    }

    /// Serves by this config from here on; returns who operates it.
    pub(crate) fn serve(&mut self, config: &str) -> Operator {
        self.write(CONFIG, config);
        let proxy = Ringway::serve(&self.story, Path::new(CONFIG));
        let operator = proxy.operator();
        self.keep(proxy.process);
        operator
    }

    /// Does this once, when a command has printed `text`.
    pub(crate) fn when(&mut self, text: &'static str, act: impl FnOnce() + 'static) {
        self.cue = Some(Cue { text, act: Box::new(act) });
    }

    /// Listens to what a command has printed so far.
    pub(crate) fn hear(&mut self, printed: &str) {
        if let Some(cue) = self.cue.take_if(|cue| printed.contains(cue.text)) {
            (cue.act)();
        }
    }
}

/// Below the directory of the story, where commands are typed.
pub(crate) const WORK: &str = "work";

/// The config file of what is served before a block begins.
const CONFIG: &str = "/etc/ringway/ringway.toml";

const STAGE: &str = include_str!("stage.sh");
