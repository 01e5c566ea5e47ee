//! Watches the health of Ringway's nodes on its metrics.

use crate::harness::client::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

/// A node was seen to be up or down, otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flip {
    pub(crate) at: Instant,
    pub(crate) node: String,
    pub(crate) is_up: bool,
}

/// A watch in a thread of its own.
pub(crate) struct Watch {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Flip>>,
}

impl Watch {
    /// Begins with what is the case now, as flips.
    pub(crate) fn begin(admin: SocketAddr) -> Watch {
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        Watch { stopped, thread: thread::spawn(move || watch(admin, &told)) }
    }

    /// Everything it saw, in order.
    pub(crate) fn finish(self) -> Vec<Flip> {
        self.stopped.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

fn watch(admin: SocketAddr, stopped: &AtomicBool) -> Vec<Flip> {
    let (mut client, mut flips) = (Client::new(admin), Vec::<Flip>::new());
    while !stopped.load(Relaxed) {
        let at = Instant::now();
        for (node, up) in by_node(&mut client, "ringway_node_up") {
            let is_up = up == 1.0;
            if flips.iter().rev().find(|flip| flip.node == node).is_none_or(|flip| flip.is_up != is_up) {
                flips.push(Flip { at, node, is_up });
            }
        }
        thread::sleep(ASK_EVERY);
    }
    flips
}

/// A metric of each node, by the node's name; it must be there.
pub(crate) fn by_node(client: &mut Client, metric: &str) -> Vec<(String, f64)> {
    let answer = client.get("/metrics", &[]).unwrap();
    let text = answer.text();
    let series = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} "));
    let series = series.filter_map(|(labels, value)| {
        let node = labels.split("node=\"").nth(1)?.split('"').next()?;
        Some((node.to_owned(), value.parse().unwrap()))
    });
    let series: Vec<_> = series.collect();
    assert!(!series.is_empty(), "there is no metric {metric} with the label `node`");
    series
}

const ASK_EVERY: Duration = Duration::from_millis(20);
