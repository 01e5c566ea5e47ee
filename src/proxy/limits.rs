//! `[limits]`: what one client may take of this proxy.

use crate::proxy::timeouts::TIMEOUTS;
use crate::proxy::trailers::TrailerPolicy;
use crate::section::Printer;
use crate::section::Section;
use std::ops::RangeInclusive;
use std::time::Duration;

/// `[limits]`: what one client may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max-connections` 16384: client connections in all; more wait in the listen backlog, and those that have been
    /// idle for longest are closed for them.
    pub max_connections: usize,
    /// `max-connections-per-address` 0: those of one address, or IPv6 network of 64 bits, unless it is one of
    /// `trusted-proxies`; more are closed. 0 is no limit, because behind a balancer that is not listed there all
    /// clients have one address.
    pub max_connections_per_address: u32,
    /// `max-request-memory` 1GiB: what all requests hold together, by estimate: their heads, what is held of their
    /// bodies or has come and waits for a node, and the pieces of responses that clients have yet to take. From 90 %
    /// on, new ones are answered with 503, and clients cut that take nothing, or of whose bodies nodes take little.
    pub max_request_memory: usize,
    /// `max-headers` 100: header fields per request (HTTP/2 cookie crumbs included).
    pub max_headers: usize,
    /// `max-header-bytes` 32KiB: the whole head in HTTP/1, from 8KiB to 1MiB.
    pub max_header_bytes: usize,
    /// `max-target-bytes` 8KiB: the request target.
    pub max_target_bytes: usize,
    /// `max-chunk-extension-bytes` 1KiB: chunk extensions of one body; they are never passed on.
    pub max_chunk_extension_bytes: usize,
    /// `trailers`: whether those of other messages than gRPC's are passed on, in both directions. Default drop.
    pub trailers: TrailerPolicy,
    /// `max-trailers` 16: fields of trailers that are passed on.
    pub max_trailers: usize,
    /// `max-trailer-bytes` 4KiB: their names and values.
    pub max_trailer_bytes: usize,
    /// `max-streams` 100: concurrent streams per HTTP/2 connection.
    pub max_streams: u32,
    /// `max-control-frames` 1000: frames of one HTTP/2 connection in 10 s that move no request forward, a fifth of them
    /// at once; one more for each write to it of other things than answers to them.
    pub max_control_frames: u32,
    /// `max-resets` 200: streams of an HTTP/2 connection that are reset within `resets-period`.
    pub max_resets: u32,
    /// `resets-period` 30s: how long resets are counted together.
    pub resets_period: Duration,
    /// `max-header-list-bytes` 16KiB: a head of HTTP/2 as RFC 9113 section 6.5.2 counts it, 32 bytes more a field.
    pub max_header_list_bytes: u32,
    /// `stream-window` 64KiB: what a client may send ahead on one stream of HTTP/2.
    pub stream_window: u32,
    /// `connection-window` 1MiB: the same on all streams of a connection.
    pub connection_window: u32,
    /// `head-timeout` 10s: first byte of a head, or of a frame of HTTP/2 but those of bodies, to its last.
    pub head_timeout: Duration,
    /// `idle-timeout` 75s: a client connection between requests.
    pub idle_timeout: Duration,
    /// `write-timeout` 30s: a client connection that takes nothing of a response; of HTTP/2, a stream of which the
    /// client does not take the next 16 KiB.
    pub write_timeout: Duration,
    /// `body-timeout` 30s: longest silence while a client sends its body, but for gRPC where both sides speak HTTP/2.
    pub body_timeout: Duration,
    /// `min-body-rate` 240: bytes of a body that a client sends each second on average, once `body-timeout` has passed,
    /// not counting the time its node takes. 0 is for as slow as it likes, and so are the streams of gRPC.
    pub min_body_rate: u32,
    /// `linger-timeout` 1s: how long a body that nobody asks for any more is read behind its answer, in all.
    pub linger_timeout: Duration,
    /// `max-linger-bytes` 64KiB: how much of it.
    pub max_linger_bytes: usize,
}

impl Limits {
    pub(super) fn read(section: &mut Section<'_>) -> Limits {
        Limits {
            max_connections: section.integer("max-connections", MAX_CONNECTIONS, 1..=1_000_000),
            max_connections_per_address: section.integer("max-connections-per-address", 0, 0..=1_000_000),
            max_request_memory: section.size("max-request-memory", 1 << 30, (1 << 20)..=(1 << 40)),
            max_headers: section.integer("max-headers", 100, 1..=10_000),
            max_header_bytes: section.size("max-header-bytes", 32 << 10, (8 << 10)..=(1 << 20)),
            max_target_bytes: section.size("max-target-bytes", 8 << 10, (1 << 10)..=(1 << 20)),
            max_chunk_extension_bytes: section.size("max-chunk-extension-bytes", 1 << 10, 0..=(16 << 10)),
            trailers: section.parse("trailers", TrailerPolicy::parse).unwrap_or(TrailerPolicy::Drop),
            max_trailers: section.integer("max-trailers", 16, 1..=100),
            max_trailer_bytes: section.size("max-trailer-bytes", 4 << 10, (1 << 10)..=(64 << 10)),
            max_streams: section.integer("max-streams", 100, 1..=10_000),
            max_control_frames: section.integer("max-control-frames", 1_000, 100..=1_000_000),
            max_resets: section.integer("max-resets", 200, 1..=1_000_000),
            resets_period: section.duration("resets-period", Duration::from_secs(30), TIMEOUTS),
            max_header_list_bytes: size(section, "max-header-list-bytes", 16 << 10, (8 << 10)..=(1 << 20)),
            stream_window: size(section, "stream-window", 64 << 10, (16 << 10)..=(16 << 20)),
            connection_window: size(section, "connection-window", 1 << 20, (64 << 10)..=(64 << 20)),
            head_timeout: section.duration("head-timeout", Duration::from_secs(10), TIMEOUTS),
            idle_timeout: section.duration("idle-timeout", Duration::from_secs(75), TIMEOUTS),
            write_timeout: section.duration("write-timeout", Duration::from_secs(30), TIMEOUTS),
            body_timeout: section.duration("body-timeout", Duration::from_secs(30), TIMEOUTS),
            min_body_rate: section.integer("min-body-rate", 240, 0..=1_000_000_000),
            linger_timeout: section.duration("linger-timeout", Duration::from_secs(1), TIMEOUTS),
            max_linger_bytes: section.size("max-linger-bytes", 64 << 10, 0..=(1 << 30)),
        }
    }

    /// Writes `[limits]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[limits]");
        printer.set_count("max-connections", self.max_connections);
        printer.set("max-connections-per-address", self.max_connections_per_address);
        printer.set_size("max-request-memory", self.max_request_memory);
        printer.set_count("max-headers", self.max_headers);
        printer.set_size("max-header-bytes", self.max_header_bytes);
        printer.set_size("max-target-bytes", self.max_target_bytes);
        printer.set_size("max-chunk-extension-bytes", self.max_chunk_extension_bytes);
        printer.set("trailers", self.trailers.name());
        printer.set_count("max-trailers", self.max_trailers);
        printer.set_size("max-trailer-bytes", self.max_trailer_bytes);
        printer.set("max-streams", self.max_streams);
        printer.set("max-control-frames", self.max_control_frames);
        printer.set("max-resets", self.max_resets);
        printer.set_duration("resets-period", self.resets_period);
        printer.set_size("max-header-list-bytes", self.max_header_list_bytes as usize);
        printer.set_size("stream-window", self.stream_window as usize);
        printer.set_size("connection-window", self.connection_window as usize);
        printer.set_duration("head-timeout", self.head_timeout);
        printer.set_duration("idle-timeout", self.idle_timeout);
        printer.set_duration("write-timeout", self.write_timeout);
        printer.set_duration("body-timeout", self.body_timeout);
        printer.set("min-body-rate", self.min_body_rate);
        printer.set_duration("linger-timeout", self.linger_timeout);
        printer.set_size("max-linger-bytes", self.max_linger_bytes);
    }
}

/// The default of `max-connections`.
pub(super) const MAX_CONNECTIONS: usize = 16_384;

/// A size that HTTP/2 writes in 32 bits.
fn size(section: &mut Section<'_>, name: &'static str, default: usize, range: RangeInclusive<usize>) -> u32 {
    u32::try_from(section.size(name, default, range)).unwrap_or(u32::MAX)
}
