//! Messages and file descriptors over a unix socket.

use crate::handover::HandoverError;
use crate::handover::message;
use crate::handover::message::Message;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use tokio::io::AsyncWriteExt;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// File descriptors that come with one message; the kernel passes at most 253 (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_MAX: usize = 250;

/// Longest message, in bytes: the histories of a store in memory, with a million events each.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Room for the descriptors of a message.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// One end of a conversation, in which each side waits for the other's message before it sends its own.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> Wire {
        Wire { stream }
    }

    /// Refuses to speak with another user: it could hand over sockets of its own, or take ours.
    pub(crate) fn check_peer(&self) -> Result<(), HandoverError> {
        let peer = self.stream.peer_cred().map_err(|source| HandoverError::Io { doing: "ask who it is", source })?;
        let own = rustix::process::geteuid().as_raw();
        match peer.uid() {
            uid if uid == own || uid == 0 => Ok(()),
            uid => Err(HandoverError::Stranger { uid, own }),
        }
    }

    /// Sends a message; descriptors come with its first byte.
    pub(crate) async fn send(&mut self, message: &Message, descriptors: &[OwnedFd]) -> Result<(), HandoverError> {
        let bytes = message::encode(message);
        let sent = match descriptors.is_empty() {
            true => Ok(0),
            false => self.send_first(&bytes, descriptors).await,
        };
        let sent = match sent {
            Ok(count) => self.stream.write_all(&bytes[count..]).await,
            Err(error) => Err(error),
        };
        sent.map_err(|source| HandoverError::Io { doing: "write to it", source })
    }

    async fn send_first(&self, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let send = || {
            let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::Error::other(format!("more than {DESCRIPTORS_MAX} sockets")));
            }
            Ok(rustix::net::sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
        };
        self.stream.async_io(Interest::WRITABLE, send).await
    }

    /// Waits for the other side's message, and the descriptors that come with it.
    pub(crate) async fn receive(&mut self) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
        let (mut line, mut descriptors) = (Vec::new(), Vec::new());
        loop {
            let received = self.stream.async_io(Interest::READABLE, || receive(&self.stream, &mut descriptors)).await;
            let piece = received.map_err(|source| HandoverError::Io { doing: "read from it", source })?;
            if piece.is_empty() {
                return Err(HandoverError::Gone);
            }
            line.extend_from_slice(&piece);
            if line.len() > MESSAGE_BYTES_MAX {
                return Err(HandoverError::Unreadable(format!("a message of over {MESSAGE_BYTES_MAX} bytes")));
            }
            if line.last() == Some(&b'\n') {
                break;
            }
        }
        let message = message::decode(line.trim_ascii_end()).map_err(HandoverError::Unreadable)?;
        Ok((message, descriptors))
    }
}

fn receive(stream: &UnixStream, descriptors: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut piece)];
    let received = rustix::net::recvmsg(stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    piece.truncate(received.bytes);
    Ok(piece)
}
