//! Small writes in one piece.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use tokio::io::AsyncWrite;

/// Pieces up to this many bytes together are copied into one.
const SMALL: usize = 1024;

/// Writes a message head and a small body with one plain write: the kernel takes longer over a list of pieces than it
/// takes to copy them. Large ones are left where they are.
pub(crate) fn poll_write<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
    match (filled.next(), filled.next()) {
        (None, _) => return stream.poll_write(cx, &[]),
        (Some(only), None) => return stream.poll_write(cx, only),
        (Some(_), Some(_)) => {}
    }
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length > SMALL {
        return stream.poll_write_vectored(cx, pieces);
    }
    let mut joined = [0; SMALL];
    let mut end = 0;
    for piece in pieces {
        joined[end..end + piece.len()].copy_from_slice(piece);
        end += piece.len();
    }
    stream.poll_write(cx, &joined[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    async fn written(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut writer, mut reader) = tokio::io::duplex(1 << 20);
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let length = poll_fn(|cx| poll_write(Pin::new(&mut writer), cx, &pieces)).await.unwrap();
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), length);
        read
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_however_long_they_are() {
        let long = vec![b'x'; SMALL];
        for pieces in [vec![], vec![&b""[..]], vec![b"head"], vec![b"", b"head", b"", b"body"], vec![b"head", &long]] {
            let whole = pieces.concat();
            let read = written(&pieces).await;
            // A stream without vectored writes takes only the first of the long ones.
            assert!(whole.starts_with(&read) && (read.len() == whole.len() || whole.len() > SMALL), "{pieces:?}");
        }
    }
}
