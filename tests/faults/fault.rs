//! The faults: to whom they happen, how they begin, and how they end.

use crate::backend::Behaviour;
use crate::backend::Idle;
use crate::load::Arrival;
use crate::node::Node;
use crate::node::Program;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Something that goes wrong while requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of every node.
    All,
    /// Every packet of one node vanishes.
    Blackhole,
    /// One node is killed and started at 1 Hz.
    Flap,
    /// kill -9 of two nodes of four.
    Half,
    /// SIGSTOP of one node.
    Hang,
    /// All nodes close idle connections just when the next requests come.
    IdleRace,
    /// kill -9 of one node.
    Kill,
    /// As `Kill`, while large bodies are on their way.
    KillStreaming,
    /// kill -9 of one node that is nginx.
    NginxKill,
    /// All nodes are nginx, and reload twice a second.
    NginxReload,
    /// The connections of all nodes are reset twice a second.
    Reset,
    /// One node takes ten times as long.
    Slow,
    /// One node breaks off every response half-way.
    Truncate,
}

/// When a fault was there: from before it was made until it was undone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

impl Fault {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Fault; 13] = [
        Fault::Kill,
        Fault::KillStreaming,
        Fault::Hang,
        Fault::Blackhole,
        Fault::Reset,
        Fault::Flap,
        Fault::Slow,
        Fault::Half,
        Fault::All,
        Fault::IdleRace,
        Fault::Truncate,
        Fault::NginxKill,
        Fault::NginxReload,
    ];

    /// Its name in the table and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::All => "all-nodes",
            Fault::Blackhole => "blackhole",
            Fault::Flap => "flap",
            Fault::Half => "half-the-nodes",
            Fault::Hang => "hang",
            Fault::IdleRace => "idle-race",
            Fault::Kill => "kill",
            Fault::KillStreaming => "kill-streaming",
            Fault::NginxKill => "nginx-kill",
            Fault::NginxReload => "nginx-reload",
            Fault::Reset => "reset",
            Fault::Slow => "slow",
            Fault::Truncate => "truncate",
        }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(self) -> usize {
        if self == Fault::Half { 4 } else { 3 }
    }

    /// What runs on them.
    pub(crate) fn program(self) -> Program {
        match self {
            Fault::NginxKill | Fault::NginxReload => Program::Nginx,
            Fault::IdleRace => Program::Own(Idle::AboutASecond),
            _ => Program::Own(Idle::Kept),
        }
    }

    /// How the requests come.
    pub(crate) fn arrival(self) -> Arrival {
        if self == Fault::IdleRace { Arrival::Bursts } else { Arrival::Even }
    }

    /// Whether some requests are for large bodies.
    pub(crate) fn has_large_bodies(self) -> bool {
        self == Fault::KillStreaming
    }

    /// The first nodes are struck; this is how many.
    pub(crate) fn struck(self) -> usize {
        match self {
            Fault::All | Fault::IdleRace | Fault::NginxReload | Fault::Reset => self.nodes(),
            Fault::Half => 2,
            _ => 1,
        }
    }

    /// Whether nodes are gone for its whole time, so that they are to be readmitted afterwards.
    pub(crate) fn takes_nodes_away(self) -> bool {
        match self {
            Fault::All
            | Fault::Blackhole
            | Fault::Half
            | Fault::Hang
            | Fault::Kill
            | Fault::KillStreaming
            | Fault::NginxKill => true,
            Fault::Flap | Fault::IdleRace | Fault::NginxReload | Fault::Reset | Fault::Slow | Fault::Truncate => false,
        }
    }

    /// Whether there is always a node that can serve, so that users need not notice.
    pub(crate) fn spares_nodes(self) -> bool {
        self != Fault::All
    }

    /// Whether it may strike a response that has begun.
    pub(crate) fn breaks_responses(self) -> bool {
        !matches!(self, Fault::Hang | Fault::IdleRace | Fault::NginxReload | Fault::Slow)
    }

    /// Strikes at `from` and lets up at `until`.
    pub(crate) fn strike(self, nodes: &mut [Node], from: Instant, until: Instant) -> Window {
        let struck = &mut nodes[..self.struck()];
        sleep_until(from);
        let begin = Instant::now();
        for node in &mut *struck {
            self.begin(node);
        }
        self.go_on(struck, from, until);
        for node in struck {
            self.end(node);
        }
        Window { begin, end: Instant::now() }
    }

    fn begin(self, node: &mut Node) {
        match self {
            Fault::All | Fault::Half | Fault::Kill | Fault::KillStreaming | Fault::NginxKill => node.kill(),
            Fault::Blackhole => node.swallow_packets(),
            Fault::Hang => node.hang(),
            Fault::Slow => node.behave(Behaviour::Slow),
            Fault::Truncate => node.behave(Behaviour::Truncating),
            Fault::Flap | Fault::IdleRace | Fault::NginxReload | Fault::Reset => (),
        }
    }

    /// What happens between its beginning and its end.
    fn go_on(self, struck: &mut [Node], from: Instant, until: Instant) {
        let mut next = from;
        while next < until {
            for node in &mut *struck {
                match self {
                    Fault::Flap => node.kill(),
                    Fault::NginxReload => node.reload(),
                    Fault::Reset => node.reset_connections(),
                    _ => (),
                }
            }
            next += HALF_A_PERIOD;
            sleep_until(next);
            if self == Fault::Flap {
                struck.iter_mut().for_each(Node::start);
                next += HALF_A_PERIOD;
                sleep_until(next.min(until));
            }
        }
    }

    fn end(self, node: &mut Node) {
        match self {
            Fault::All | Fault::Half | Fault::Kill | Fault::KillStreaming | Fault::NginxKill => node.start(),
            Fault::Blackhole => node.let_packets_pass(),
            Fault::Hang => node.go_on(),
            Fault::Slow | Fault::Truncate => node.behave(Behaviour::Ordinary),
            Fault::Flap | Fault::IdleRace | Fault::NginxReload | Fault::Reset => (),
        }
    }
}

/// The schedule of a run, not a wait for something to be done.
fn sleep_until(instant: Instant) {
    thread::sleep(instant.saturating_duration_since(Instant::now()));
}

/// Of a flap at 1 Hz, and of what comes twice a second.
const HALF_A_PERIOD: Duration = Duration::from_millis(500);
