//! A client that sends the bytes of a row and reads everything that comes back.

use socket2::SockRef;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

/// Nothing takes as long as this unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A connection to the proxy, and all that came over it.
pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
    /// Whether a reset was noticed in writing.
    is_reset: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Closed,
    /// Not at all.
    Open,
    /// RST.
    Reset,
    /// It is open, and nothing came that should have.
    Silent,
}

impl Wire {
    pub(crate) fn connect(proxy: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&proxy, PATIENCE).expect("the proxy accepts");
        stream.set_nodelay(true).expect("a fresh socket takes options");
        stream.set_read_timeout(Some(PATIENCE)).expect("a fresh socket takes options");
        stream.set_write_timeout(Some(PATIENCE)).expect("a fresh socket takes options");
        Wire { stream, bytes: Vec::new(), end: End::Open, is_reset: false }
    }

    /// Writes all of it, for as long as the proxy takes it.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The system tells of a reset once only.
        if self.stream.write_all(bytes).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset) {
            self.is_reset = true;
        }
    }

    /// Ends this side of the connection.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap_or_default();
    }

    /// Breaks the connection.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an open socket");
    }

    /// Reads until `is_enough`, or the end.
    pub(crate) fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) {
        let mut piece = [0; 16 << 10];
        while self.end == End::Open && !is_enough(&self.bytes) {
            match self.stream.read(&mut piece) {
                Ok(0) if self.is_reset => self.end = End::Reset,
                Ok(0) => self.end = End::Closed,
                Ok(length) => self.bytes.extend_from_slice(&piece[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.end = End::Silent;
                }
                Err(_) => self.end = End::Reset,
            }
        }
    }
}
