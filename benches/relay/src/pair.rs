//! A client's connection and its backend's, and the bytes between them.

use mio::Interest;
use mio::Registry;
use mio::Token;
use mio::event::Event;
use mio::net::TcpStream;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;

/// One end of a pair.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Backend,
    Client,
}

/// Two connections, each of which receives what the other sends.
pub(crate) struct Pair {
    backend: TcpStream,
    client: TcpStream,
    requests: Flow,
    responses: Flow,
}

impl Pair {
    /// Both connections may still be on their way.
    pub(crate) fn new(client: TcpStream, backend: TcpStream) -> Pair {
        Pair { backend, client, requests: Flow::default(), responses: Flow::default() }
    }

    /// Asks for every event of both ends, edge-triggered.
    pub(crate) fn register(&mut self, registry: &Registry, client: Token, backend: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.client, client, both)?;
        registry.register(&mut self.backend, backend, both)
    }

    /// Moves what an event of `end` allows to move. An error means that the pair is to be dropped.
    pub(crate) fn serve(&mut self, end: End, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        let (from_end, to_end, end_stream, other_stream) = match end {
            End::Backend => (&mut self.responses, &mut self.requests, &self.backend, &self.client),
            End::Client => (&mut self.requests, &mut self.responses, &self.client, &self.backend),
        };
        if event.is_writable() && !to_end.held_back.is_empty() {
            to_end.resume(other_stream, end_stream, buffer)?;
        }
        if event.is_readable() {
            from_end.pump(end_stream, other_stream, event.is_read_closed(), buffer)?;
        }
        Ok(())
    }

    /// Whether both directions have come to their end.
    pub(crate) fn is_over(&self) -> bool {
        self.requests.is_over && self.responses.is_over
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Read, and not yet taken by the destination; nothing more is read before it is.
    held_back: Vec<u8>,
    is_over: bool,
}

impl Flow {
    /// Writes what was held back; when all of it is gone, reads on, for the event that announced more is long past.
    fn resume(&mut self, source: &TcpStream, destination: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
        let written = write_some(destination, &self.held_back)?;
        self.held_back.drain(..written);
        if !self.held_back.is_empty() {
            return Ok(());
        }
        self.held_back = Vec::new();
        self.pump(source, destination, true, buffer)
    }

    /// Copies until the source is empty or the destination full. A read that does not fill the buffer has emptied the
    /// source, which saves one call, unless `to_the_end` says that the end of the stream may stand behind it.
    fn pump(
        &mut self,
        mut source: &TcpStream,
        destination: &TcpStream,
        to_the_end: bool,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        while !self.is_over && self.held_back.is_empty() {
            let read = match source.read(buffer) {
                Ok(0) => return self.end(destination),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let written = write_some(destination, &buffer[..read])?;
            self.held_back.extend_from_slice(&buffer[written..read]);
            if read < buffer.len() && !to_the_end {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes the end of the stream on; the other direction may go on.
    fn end(&mut self, destination: &TcpStream) -> io::Result<()> {
        self.is_over = true;
        match destination.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes as much as the destination takes now and returns how much that was.
fn write_some(mut destination: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match destination.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => written += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
