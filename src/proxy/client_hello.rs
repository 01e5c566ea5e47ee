//! The first message of TLS, taken off its socket before there is anything of TLS for it: a session takes more than a
//! hundred times the bytes that a client has to send for one, and then never goes on.

use std::future::poll_fn;
use std::io;
use std::ops::RangeInclusive;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Why there is no first message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHello {
    /// The client has broken off instead.
    #[error("an alert came before the first message of TLS")]
    Alert,
    /// The connection broke.
    #[error("the connection broke within the first message of TLS: {0}")]
    Io(#[from] io::Error),
}

/// Waits until a session of TLS has something to answer: the first message is there to its end, or something that is
/// none, or the client has ended its side. Gives what has come before the last piece, which stays on the socket for the
/// session to read. Where all comes at once, as with honest clients, that is nothing.
pub(crate) async fn gather(stream: &TcpStream) -> Result<Vec<u8>, NoHello> {
    let (mut message, mut gathered) = (FirstMessage::default(), Vec::new());
    poll_fn(|cx| poll_gather(stream, &mut message, &mut gathered, cx)).await?;
    Ok(gathered)
}

/// Takes what is only a part off the socket, so that the next look waits for more.
fn poll_gather(
    stream: &TcpStream,
    message: &mut FirstMessage,
    gathered: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), NoHello>> {
    loop {
        let mut piece = [0; 2048];
        let mut buffer = ReadBuf::new(&mut piece);
        let length = ready!(stream.poll_peek(cx, &mut buffer))?;
        if length == 0 || gathered.len() >= GATHERED_MAX {
            return Poll::Ready(Ok(()));
        }
        match message.look(buffer.filled()) {
            Look::Alert => return Poll::Ready(Err(NoHello::Alert)),
            Look::Enough => return Poll::Ready(Ok(())),
            Look::Part => {}
        }
        let length = stream.try_read(&mut piece[..length])?;
        // Exactly, because clients that stall have nothing else.
        gathered.reserve_exact(length);
        gathered.extend_from_slice(&piece[..length]);
    }
}

/// What a look at further bytes shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// A record with an alert begins.
    Alert,
    /// A session has something to answer.
    Enough,
    /// More has to come.
    Part,
}

/// How far the first message has come: of the handshake (RFC 8446 section 4), in any number of records (section 5.1).
///
/// Sessions look at whole records only, so that the end of the message is the end of its last record. Records that are
/// no part of a handshake, and messages that are too long, are refused as soon as one is there.
#[derive(Debug, Default)]
struct FirstMessage {
    /// The header of the record of the moment: its type, a version, and a length.
    header: [u8; RECORD_HEADER_BYTES],
    /// Bytes of that record, its header included, so far.
    record: usize,
    /// The head of the message: its type and a length.
    head: [u8; MESSAGE_HEAD_BYTES],
    /// Bytes of the message, its head included, so far.
    message: usize,
}

impl FirstMessage {
    /// Looks at the next bytes, unless there was enough before.
    fn look(&mut self, mut bytes: &[u8]) -> Look {
        while !bytes.is_empty() {
            let taken = if self.record < RECORD_HEADER_BYTES {
                let taken = fill(&mut self.header[self.record..], bytes);
                self.record += taken;
                if self.record == RECORD_HEADER_BYTES && !self.may_go_on() {
                    return Look::Enough;
                }
                if self.record == RECORD_HEADER_BYTES && self.header[0] == ALERT {
                    return Look::Alert;
                }
                taken
            } else {
                self.take_payload(bytes)
            };
            if self.record == RECORD_HEADER_BYTES + self.record_length() {
                if self.header[0] != HANDSHAKE || self.is_over() {
                    return Look::Enough;
                }
                self.record = 0;
            }
            bytes = &bytes[taken..];
        }
        Look::Part
    }

    /// Takes as much as belongs to the record of the moment; how much that is.
    fn take_payload(&mut self, bytes: &[u8]) -> usize {
        let left = RECORD_HEADER_BYTES + self.record_length() - self.record;
        let payload = &bytes[..bytes.len().min(left)];
        fill(&mut self.head[self.message.min(MESSAGE_HEAD_BYTES)..], payload);
        self.message += payload.len();
        self.record += payload.len();
        payload.len()
    }

    /// Whether the header of a record is one that a session would read on after.
    fn may_go_on(&self) -> bool {
        let [kind, major, ..] = self.header;
        KINDS.contains(&kind) && major == 3 && (1..RECORD_LENGTH_END).contains(&self.record_length())
    }

    /// Zero while the header is not all there.
    fn record_length(&self) -> usize {
        let [.., high, low] = self.header;
        usize::from(u16::from_be_bytes([high, low]))
    }

    /// Whether a session would wait for no more of the message.
    fn is_over(&self) -> bool {
        let [_, length @ ..] = self.head;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.message >= MESSAGE_HEAD_BYTES
            && (self.message >= MESSAGE_HEAD_BYTES + length || length > MESSAGE_LENGTH_MAX)
    }
}

/// Copies as many `bytes` as there is room for; how many that are.
fn fill(room: &mut [u8], bytes: &[u8]) -> usize {
    let length = room.len().min(bytes.len());
    room[..length].copy_from_slice(&bytes[..length]);
    length
}

const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEAD_BYTES: usize = 4;

/// Types of records that there are (RFC 8446 section 5.1, RFC 6520 section 3).
const KINDS: RangeInclusive<u8> = 20..=24;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// rustls 0.23 refuses records of so many bytes, which no version of TLS allows.
const RECORD_LENGTH_END: usize = (16 << 10) + (2 << 10);

/// rustls 0.23 refuses longer messages.
const MESSAGE_LENGTH_MAX: usize = (64 << 10) - 1;

/// From so many bytes on a session holds less than they are: it throws away the headers of records.
const GATHERED_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message whose head promises so many bytes behind it, and has them.
    fn message(length: usize) -> Vec<u8> {
        let [_, promised @ ..] = u32::try_from(length).unwrap().to_be_bytes();
        [&[1], &promised[..], &vec![0; length]].concat()
    }

    /// It in records of so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |piece: &[u8]| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1], &length[..], piece].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    /// What is seen when bytes come in pieces of `size`, and behind how many of them.
    fn seen(bytes: &[u8], size: usize) -> (Look, usize) {
        let mut message = FirstMessage::default();
        for (number, piece) in bytes.chunks(size).enumerate() {
            match message.look(piece) {
                Look::Part => {}
                look => return (look, bytes.len().min((number + 1) * size)),
            }
        }
        (Look::Part, bytes.len())
    }

    #[test]
    fn a_session_is_there_as_soon_as_it_has_something_to_answer() {
        let too_long = records(&message(MESSAGE_LENGTH_MAX + 1)[..1000], 1000);
        let behind = [&records(&message(100), 60)[..65], &[23, 3, 3, 0, 1, 0]].concat();
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], (Look::Enough, 5)),
            (&[HANDSHAKE, 2, 0, 0, 9, 1], (Look::Enough, 5)),
            (&[HANDSHAKE, 3, 1, 0, 0, 1], (Look::Enough, 5)),
            (&[HANDSHAKE, 3, 1, 0x48, 0, 1], (Look::Enough, 5)),
            (&[ALERT, 3, 1, 0, 2, 1, 90], (Look::Alert, 5)),
            (&[23, 3, 3, 0, 2, 0, 0, 0], (Look::Enough, 7)),
            // A message of another type, and one without anything in it.
            (&[HANDSHAKE, 3, 3, 0, 6, 2, 0, 0, 2, 0, 0, 0], (Look::Enough, 11)),
            (&[HANDSHAKE, 3, 3, 0, 6, 1, 0, 0, 0, 0, 0, 0], (Look::Enough, 11)),
            (&too_long, (Look::Enough, 1005)),
            (&behind, (Look::Enough, 71)),
        ] {
            assert_eq!(seen(bytes, 1), expected, "{}", bytes.escape_ascii());
            assert_eq!(seen(&bytes[..expected.1 - 1], 1).0, Look::Part, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_message_is_whole_with_its_last_record(length in 1..2000_usize, size in 1..700_usize, cut in 1..700_usize) {
            let whole = records(&message(length), size);
            prop_assert_eq!(seen(&whole, cut), (Look::Enough, whole.len()));
            prop_assert_eq!(seen(&whole[..whole.len() - 1], cut), (Look::Part, whole.len() - 1));
        }

        #[test]
        fn pieces_of_any_size_show_the_same(
            bytes: Vec<u8>,
            kind in 19..25_u8,
            length in 0..300_u16,
            piece in 1..300_usize,
        ) {
            let [high, low] = length.to_be_bytes();
            let bytes = [&[kind, 3, 1, high, low], &bytes[..]].concat();
            prop_assert_eq!(seen(&bytes, piece).0, seen(&bytes, 1).0);
        }
    }
}
