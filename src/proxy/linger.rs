//! What a client still sends once it has its answer: read for a little and thrown away, so that it finds the answer
//! before it finds the connection closed.

use crate::proxy::client::ClientStream;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How much is still read, after an answer, of what nobody asks for any more.
pub(super) const LINGER_BYTES: u64 = 64 << 10;

/// How long that may take.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(1);

/// Closes a connection whose client may be in the middle of a body. The answer is followed by the end of this side;
/// what comes then is read, because closing a socket with unread bytes resets it, which would take the answer from the
/// client (RFC 9112 section 9.6).
pub(super) async fn close(stream: &mut ClientStream) {
    let drained = async {
        stream.end().await?;
        let (mut piece, mut left) = ([0; 4096], LINGER_BYTES);
        while left > 0 {
            match stream.read(&mut piece).await? {
                0 => break,
                length => left = left.saturating_sub(length as u64),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // However it ends, it is closed next.
    drop(tokio::time::timeout(LINGER_TIME, drained).await);
}
