//! `[limits]`: what one client may take of this proxy.

use crate::proxy::settings::TIMEOUTS;
use crate::proxy::trailers::TrailerPolicy;
use crate::section::Printer;
use crate::section::Section;
use std::time::Duration;

/// `[limits]`: what one client may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max-connections` 16384: client connections in all; more wait in the listen backlog.
    pub max_connections: usize,
    /// `max-headers` 100: header fields per request (HTTP/2 cookie crumbs included).
    pub max_headers: usize,
    /// `max-header-bytes` 32KiB: the whole head, from 8KiB to 1MiB.
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
    /// `head-timeout` 10s: first byte of a head to its last.
    pub head_timeout: Duration,
    /// `idle-timeout` 75s: a client connection between requests, or while it takes nothing of a response.
    pub idle_timeout: Duration,
    /// `body-timeout` 30s: longest silence while a client sends its body.
    pub body_timeout: Duration,
}

impl Limits {
    pub(super) fn read(section: &mut Section<'_>) -> Limits {
        Limits {
            max_connections: section.integer("max-connections", 16_384, 1..=1_000_000),
            max_headers: section.integer("max-headers", 100, 1..=10_000),
            max_header_bytes: section.size("max-header-bytes", 32 << 10, (8 << 10)..=(1 << 20)),
            max_target_bytes: section.size("max-target-bytes", 8 << 10, (1 << 10)..=(1 << 20)),
            max_chunk_extension_bytes: section.size("max-chunk-extension-bytes", 1 << 10, 0..=(16 << 10)),
            trailers: section.parse("trailers", TrailerPolicy::parse).unwrap_or(TrailerPolicy::Drop),
            max_trailers: section.integer("max-trailers", 16, 1..=100),
            max_trailer_bytes: section.size("max-trailer-bytes", 4 << 10, (1 << 10)..=(64 << 10)),
            max_streams: section.integer("max-streams", 100, 1..=10_000),
            head_timeout: section.duration("head-timeout", Duration::from_secs(10), TIMEOUTS),
            idle_timeout: section.duration("idle-timeout", Duration::from_secs(75), TIMEOUTS),
            body_timeout: section.duration("body-timeout", Duration::from_secs(30), TIMEOUTS),
        }
    }

    /// Writes `[limits]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[limits]");
        printer.set_count("max-connections", self.max_connections);
        printer.set_count("max-headers", self.max_headers);
        printer.set_size("max-header-bytes", self.max_header_bytes);
        printer.set_size("max-target-bytes", self.max_target_bytes);
        printer.set_size("max-chunk-extension-bytes", self.max_chunk_extension_bytes);
        printer.set("trailers", self.trailers.name());
        printer.set_count("max-trailers", self.max_trailers);
        printer.set_size("max-trailer-bytes", self.max_trailer_bytes);
        printer.set("max-streams", self.max_streams);
        printer.set_duration("head-timeout", self.head_timeout);
        printer.set_duration("idle-timeout", self.idle_timeout);
        printer.set_duration("body-timeout", self.body_timeout);
    }
}
