//! A client of HTTP/2 that writes frames as it likes, which no library would.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;

/// A connection whose frames are written by hand; what comes back is thrown away.
pub(crate) struct Frames {
    stream: TcpStream,
    /// Bytes written so far.
    pub(crate) sent: u64,
}

/// Kinds of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 0x5;

impl Frames {
    /// A connection on which every stream begins with this window for responses.
    pub(crate) fn connect(address: SocketAddr, window: u32) -> Frames {
        let stream = TcpStream::connect(address).unwrap();
        let mut reader = stream.try_clone().unwrap();
        thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {});
        let mut frames = Frames { stream, sent: 0 };
        assert!(frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        // SETTINGS_INITIAL_WINDOW_SIZE.
        assert!(frames.frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
        frames
    }

    /// A request whose head is this block (RFC 7541); false when the connection is closed.
    pub(crate) fn request(&mut self, stream: u32, block: &[u8]) -> bool {
        self.frame(HEADERS, WHOLE, stream, block)
    }

    /// Lets so many bytes more come on a stream; false when the connection is closed.
    pub(crate) fn open_window(&mut self, stream: u32, bytes: u32) -> bool {
        self.frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.write(&[&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat())
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        self.sent += bytes.len() as u64;
        self.stream.write_all(bytes).is_ok()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // The reader has a duplicate of the socket.
        self.stream.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    }
}

/// A field that is written out, and remembered as number 62 of the table (RFC 7541 section 6.2.1).
pub(crate) fn remembered(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0x40], text(name), text(value)].concat()
}

/// `GET http /` by numbers of the static table.
pub(crate) const GET: [u8; 3] = [0x82, 0x86, 0x84];

/// The field that was remembered last, and the one before, by their numbers.
pub(crate) const LAST: u8 = 0x80 | 62;
pub(crate) const BEFORE: u8 = 0x80 | 63;
