//! Limits that struck: a closed set, so that nothing that a client makes up becomes a label.

use crate::metrics::stats::Counter;

/// A limit that made this proxy refuse, cut or close something. Names are those of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A client was silent in the middle of its body.
    BodyTimeout,
    /// There were too few files for a connection, of a client or to a node.
    Files,
    /// A client took too long for a head.
    HeadTimeout,
    /// The body of an HTTP/1 request had too many chunk extensions.
    MaxChunkExtensionBytes,
    /// There were too many clients: one had to wait.
    MaxConnections,
    /// A client had too many connections.
    MaxConnectionsPerAddress,
    /// A client of HTTP/2 sent too many frames that ask for nothing.
    MaxControlFrames,
    /// The head of an HTTP/1 request was too large, or had so many fields that it was not read to its end.
    MaxHeaderBytes,
    /// A request had too many fields.
    MaxHeaders,
    /// Requests held nearly as much memory as they may: one was turned away, or a client cut that took nothing of it.
    MaxRequestMemory,
    /// A client of HTTP/2 had too many streams reset.
    MaxResets,
    /// The target of a request was too long.
    MaxTargetBytes,
    /// The trailers of a request or of a response were too large to be passed on.
    MaxTrailerBytes,
    /// There were too many of them.
    MaxTrailers,
    /// A client sent its body too slowly.
    MinBodyRate,
    /// A client took nothing of its response.
    WriteTimeout,
}

impl Limit {
    /// All of them, in the order of their declaration.
    pub const ALL: [Limit; 16] = [
        Limit::BodyTimeout,
        Limit::Files,
        Limit::HeadTimeout,
        Limit::MaxChunkExtensionBytes,
        Limit::MaxConnections,
        Limit::MaxConnectionsPerAddress,
        Limit::MaxControlFrames,
        Limit::MaxHeaderBytes,
        Limit::MaxHeaders,
        Limit::MaxRequestMemory,
        Limit::MaxResets,
        Limit::MaxTargetBytes,
        Limit::MaxTrailerBytes,
        Limit::MaxTrailers,
        Limit::MinBodyRate,
        Limit::WriteTimeout,
    ];

    /// The value of the label `limit`.
    pub fn name(self) -> &'static str {
        match self {
            Limit::BodyTimeout => "body-timeout",
            Limit::Files => "files",
            Limit::HeadTimeout => "head-timeout",
            Limit::MaxChunkExtensionBytes => "max-chunk-extension-bytes",
            Limit::MaxConnections => "max-connections",
            Limit::MaxConnectionsPerAddress => "max-connections-per-address",
            Limit::MaxControlFrames => "max-control-frames",
            Limit::MaxHeaderBytes => "max-header-bytes",
            Limit::MaxHeaders => "max-headers",
            Limit::MaxRequestMemory => "max-request-memory",
            Limit::MaxResets => "max-resets",
            Limit::MaxTargetBytes => "max-target-bytes",
            Limit::MaxTrailerBytes => "max-trailer-bytes",
            Limit::MaxTrailers => "max-trailers",
            Limit::MinBodyRate => "min-body-rate",
            Limit::WriteTimeout => "write-timeout",
        }
    }
}

/// How often each limit struck.
#[derive(Debug, Default)]
pub struct LimitHits([Counter; Limit::ALL.len()]);

impl LimitHits {
    /// Counts one more.
    pub fn hit(&self, limit: Limit) {
        self.of(limit).increment();
    }

    /// The counter of a limit.
    pub fn of(&self, limit: Limit) -> &Counter {
        &self.0[limit as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_counter_and_a_name_of_its_own() {
        let hits = LimitHits::default();
        for (number, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, number, "{limit:?} is out of order");
            (0..=number).for_each(|_| hits.hit(limit));
        }
        for (number, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(hits.of(limit).get(), number as u64 + 1, "{limit:?}");
            assert_eq!(Limit::ALL.iter().filter(|other| other.name() == limit.name()).count(), 1, "{limit:?}");
        }
    }
}
