//! What a client still sends once it has its answer: read for a little and thrown away, so that it finds the answer
//! before it finds the connection closed.

use crate::proxy::client::ClientStream;
use crate::proxy::limits::Limits;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How much is still read, after an answer, of what nobody asks for any more. nginx calls it a lingering close, and the
/// time `lingering_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linger {
    /// `limits.max-linger-bytes`.
    pub(crate) bytes: u64,
    /// `limits.linger-timeout`.
    pub(crate) timeout: Duration,
}

impl Linger {
    pub(crate) fn of(limits: &Limits) -> Linger {
        Linger { bytes: limits.max_linger_bytes as u64, timeout: limits.linger_timeout }
    }
}

/// Closes a connection whose client may be in the middle of a body. The answer is followed by the end of this side;
/// what comes then is read, because closing a socket with unread bytes resets it, which would take the answer from the
/// client (RFC 9112 section 9.6).
pub(crate) async fn close(stream: &mut ClientStream, linger: Linger) {
    let drained = async {
        stream.end().await?;
        let (mut piece, mut left) = ([0; 4096], linger.bytes);
        while left > 0 {
            match stream.read(&mut piece).await? {
                0 => break,
                length => left = left.saturating_sub(length as u64),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // However it ends, it is closed next.
    drop(tokio::time::timeout(linger.timeout, drained).await);
}
