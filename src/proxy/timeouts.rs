//! How long nodes may take: `timeouts` of a pool.

use crate::section::Printer;
use crate::section::Section;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Timeouts towards nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// 1s: to connect to a node.
    pub connect: Duration,
    /// 60s: from the request sent to the response head.
    pub head: Duration,
    /// 60s: between two pieces of a response body, not for upgrades, nor for gRPC of nodes that speak HTTP/2.
    pub idle: Duration,
    /// 60s: how long a connection is kept without a request. It is below the 75 s after which nginx closes one, so that
    /// it is rarely the node that closes first, into a request.
    pub idle_connection: Duration,
    /// All attempts together until the response head; without it there is no such bound.
    pub total: Option<Duration>,
}

impl Timeouts {
    pub(super) fn read(section: &mut Section<'_>) -> Timeouts {
        Timeouts {
            connect: section.duration("connect", Duration::from_secs(1), TIMEOUTS),
            head: section.duration("head", Duration::from_secs(60), TIMEOUTS),
            idle: section.duration("idle", Duration::from_secs(60), TIMEOUTS),
            idle_connection: section.duration("idle-connection", Duration::from_secs(60), TIMEOUTS),
            total: section.value("total").and_then(|total| total.duration(TIMEOUTS)),
        }
    }

    /// Writes `[pool.timeouts]`.
    pub(super) fn print(&self, printer: &mut Printer) {
        printer.table("[pool.timeouts]");
        printer.set_duration("connect", self.connect);
        printer.set_duration("head", self.head);
        printer.set_duration("idle", self.idle);
        printer.set_duration("idle-connection", self.idle_connection);
        if let Some(total) = self.total {
            printer.set_duration("total", total);
        }
    }
}

/// What every timeout may be.
pub(crate) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
