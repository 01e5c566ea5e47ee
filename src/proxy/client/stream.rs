//! The bytes of a client's connection on their way to hyper and back: which protocol they are in, and what may pass.

use crate::metrics::limit::Limit;
use crate::proxy::awaited::BEGINNING_BYTES;
use crate::proxy::client::ClientState;
use crate::proxy::client::Order;
use crate::proxy::frame_meter::FrameMeter;
use crate::proxy::gather;
use crate::proxy::inspector::Inspector;
use crate::proxy::limits::Limits;
use crate::proxy::pace::Pace;
use crate::proxy::transport::BeforeMore;
use crate::proxy::transport::Transport;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use socket2::SockRef;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

/// The client's stream with the bytes read while finding out the protocol.
pub(crate) struct ClientStream {
    stream: Transport,
    /// What was read and found in order, but not taken yet.
    read_ahead: Bytes,
    /// What was read and not looked at yet: the first bytes of a connection of HTTP/1, and what follows a request that
    /// asks for another protocol, until it is clear which one that is in.
    held: BytesMut,
    /// Absent where HTTP/2 is spoken, of which the frames are counted.
    inspector: Option<Inspector>,
    meter: FrameMeter,
    /// Whether frames came since there was last nothing to read.
    is_in_burst: bool,
    state: Rc<ClientState>,
}

/// RFC 9113 section 3.4: what a client with prior knowledge of HTTP/2 sends first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl ClientStream {
    /// A stream on which nothing was read yet.
    pub(crate) fn new(stream: Transport, state: &Rc<ClientState>, limits: &Limits) -> ClientStream {
        let inspector = Some(Inspector::new(limits.max_chunk_extension_bytes));
        let meter = FrameMeter::new(HTTP2_PREFACE.len(), limits.max_control_frames);
        let (read_ahead, held, state) = (Bytes::new(), BytesMut::new(), Rc::clone(state));
        ClientStream { stream, read_ahead, held, inspector, meter, is_in_burst: false, state }
    }

    /// The stream, and what was read from it ahead, once no HTTP is spoken any more.
    pub(crate) fn into_parts(self) -> (Transport, Bytes) {
        if self.held.is_empty() {
            return (self.stream, self.read_ahead);
        }
        (self.stream, [self.read_ahead, self.held.freeze()].concat().into())
    }

    /// Gives bytes back that were read but not used.
    pub(crate) fn unread(&mut self, unused: Bytes) {
        // Even an empty piece would keep the buffer that it is a piece of.
        self.read_ahead = match (unused.is_empty(), self.read_ahead.is_empty()) {
            (true, true) => Bytes::new(),
            (true, false) => return,
            (false, true) => unused,
            (false, false) => [unused, std::mem::take(&mut self.read_ahead)].concat().into(),
        };
    }

    /// Ends this side only.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
            self.state.wrote(&ended);
            ended
        })
        .await
    }

    /// Fails for a client that is to go at once although it has yet to take something: the system throws that away too,
    /// rather than keep it for minutes, once the socket is closed.
    fn check_order(&self) -> io::Result<()> {
        if self.state.order.get() < Order::Abort {
            return Ok(());
        }
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Waits until there is something to read, be it the end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.read_ahead.is_empty() && self.held.is_empty() { self.stream.readable().await } else { Ok(()) }
    }

    /// Reads until it is clear whether the client speaks HTTP/2, of which TLS leaves no doubt once something comes.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        let mut read_ahead = BytesMut::new();
        let is_http2 = loop {
            let is_over = poll_fn(|cx| self.poll_append(&mut read_ahead, cx)).await?;
            self.state.bytes_came();
            if let Some(agreed) = self.stream.is_http2() {
                break agreed;
            }
            if read_ahead.starts_with(HTTP2_PREFACE) {
                break true;
            }
            if is_over || !HTTP2_PREFACE.starts_with(&read_ahead) {
                break false;
            }
        };
        self.state.is_known.set(true);
        self.state.is_http2.set(is_http2);
        if is_http2 {
            self.read_ahead = read_ahead.freeze();
            self.inspector = None;
            self.state.has_begun.set(false);
            self.state.head_since.set(None);
        } else {
            self.held = read_ahead;
        }
        Ok(is_http2)
    }

    /// Reads a request of HTTP/1 until its head is complete, or refused by what there is of it. Until then hyper would
    /// hold a hundred times what the client has sent.
    pub(crate) async fn gather_head(&mut self, max_bytes: usize) -> io::Result<()> {
        // What came behind the last request was looked at, but for what came while its response was relayed.
        let (mut gathered, mut taken) = (BytesMut::from(&self.read_ahead[..]), self.read_ahead.len());
        gathered.unsplit(std::mem::take(&mut self.held));
        if !gathered.is_empty() {
            self.state.bytes_came();
        }
        // A request that asks for another protocol may still be among what came behind.
        let begun = self.state.begun.get();
        let stays = |inspector: &&mut Inspector| inspector.is_switching() && inspector.heads() == begun;
        if let Some(inspector) = self.inspector.as_mut().filter(stays) {
            inspector.stays();
        }
        while let Some(inspector) = &mut self.inspector {
            taken += look(inspector, &self.state, &mut gathered[taken..]);
            let has_head = inspector.heads() > self.state.begun.get();
            if has_head || inspector.is_refused() || gathered.len() >= max_bytes {
                break;
            }
            let is_over = poll_fn(|cx| self.poll_append(&mut gathered, cx)).await?;
            if is_over {
                break;
            }
            self.state.bytes_came();
        }
        if taken < gathered.len() {
            self.held = gathered.split_off(taken);
        }
        self.read_ahead = gathered.freeze();
        Ok(())
    }

    /// Reads on behind a head whose body is awaited: until that is complete, or has begun, or its `pace` says that the
    /// client takes too long. Returns whether the request can go on; where it cannot, neither can the connection.
    pub(crate) async fn gather_body(&mut self, mut pace: Pace) -> io::Result<bool> {
        let mut gathered = BytesMut::from(&std::mem::take(&mut self.read_ahead)[..]);
        let begun = gathered.len();
        self.state.gathering_began();
        while self.awaits_body() && gathered.len() < begun + BEGINNING_BYTES {
            let before = gathered.len();
            let ended = poll_fn(|cx| match self.poll_append(&mut gathered, cx) {
                Poll::Pending => pace.poll_over((before - begun) as u64, cx).map(|_| None),
                read => read.map(Some),
            });
            match ended.await.transpose()? {
                None => break,
                Some(true) => return Ok(false),
                Some(false) => pace.came(),
            }
            if let Some(inspector) = &mut self.inspector {
                let end = before + look(inspector, &self.state, &mut gathered[before..]);
                if end < gathered.len() {
                    self.held = gathered.split_off(end);
                }
            }
        }
        self.read_ahead = gathered.freeze();
        self.state.gathering_ended(pace);
        Ok(true)
    }

    /// Whether of the next request there is a head, and no more than that and some of its body.
    pub(crate) fn awaits_body(&self) -> bool {
        let is_next = |inspector: &&Inspector| inspector.heads() == self.state.begun.get() + 1;
        self.inspector.as_ref().filter(is_next).is_some_and(Inspector::is_within_body)
    }

    /// Reads once, as much as most request heads are long; ready with whether the client has ended its stream. Until
    /// something comes, no memory is held for it.
    fn poll_append(&mut self, read_ahead: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [0; 2048];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        read_ahead.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().is_empty()))
    }

    /// Writes what the system may hold back until more follows, or [`ClientStream::push`].
    pub(crate) fn poll_write_before_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.stream.as_plain() {
            Some(stream) => {
                self.check_order()?;
                let written = Pin::new(&mut BeforeMore(stream)).poll_write(cx, bytes);
                self.wrote(written)
            }
            None => Pin::new(self).poll_write(cx, bytes),
        }
    }

    /// Whether the connection ends with the response of the moment.
    pub(crate) fn is_last(&self) -> bool {
        self.state.is_last()
    }

    /// Nothing more follows for now: what was held back for it goes.
    pub(crate) fn push(&self) -> io::Result<()> {
        self.stream.as_plain().map_or(Ok(()), |stream| stream.set_nodelay(true))
    }

    /// See [`Transport::limit_unsent`].
    pub(crate) fn limit_unsent(&self, most: u32) -> io::Result<()> {
        self.stream.limit_unsent(most)
    }

    /// Ready once the client has left, or as good as that, while nothing that it sends is wanted. It is read from once,
    /// to see that; more would be held for nothing.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() || !self.held.is_empty() {
            return Poll::Pending;
        }
        let mut held = std::mem::take(&mut self.held);
        let polled = self.poll_append(&mut held, cx);
        self.held = held;
        match polled? {
            Poll::Ready(true) => Poll::Ready(Ok(())),
            Poll::Ready(false) | Poll::Pending => Poll::Pending,
        }
    }

    /// Looks at what was read into `buf` behind `begin`, and takes back what may be in another protocol.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, begin: usize) {
        if let Some(inspector) = &mut self.inspector {
            let read = &mut buf.filled_mut()[begin..];
            let taken = look(inspector, &self.state, read);
            self.held.extend_from_slice(&read[taken..]);
            buf.set_filled(begin + taken);
        }
    }

    /// Reads of HTTP/2 what may be handed on before others have their turn.
    ///
    /// # Errors
    /// When the client has sent too much for nothing, besides those of its socket.
    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.meter.has_turn() {
            self.meter.begin_turn();
            // The worker looks at its sockets first: whose bytes have come in the meantime is served before.
            ready!(pin!(tokio::task::yield_now()).poll(cx));
        }
        let (begin, is_again) = (buf.filled().len(), !self.read_ahead.is_empty());
        if is_again {
            buf.put_slice(&self.read_ahead[..self.read_ahead.len().min(buf.remaining())]);
        } else if Pin::new(&mut self.stream).poll_read(cx, buf)?.is_pending() {
            self.meter.begin_turn();
            self.is_in_burst = false;
            return Poll::Pending;
        }
        if !std::mem::replace(&mut self.is_in_burst, true)
            && let Some(sent) = self.state.sent_ahead.get()
        {
            sent.begin_turn();
        }
        let read = &mut buf.filled_mut()[begin..];
        let Ok(look) = self.meter.look(read) else {
            self.state.struck.set(Some(Limit::MaxControlFrames));
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        if is_again {
            self.read_ahead.advance(look.taken);
        } else if look.taken < read.len() {
            self.read_ahead = Bytes::copy_from_slice(&read[look.taken..]);
        }
        buf.set_filled(begin + look.taken);
        if look.body_frames > 0
            && let Some(sent) = self.state.sent_ahead.get()
        {
            sent.came(look.body_frames, look.body_bytes);
        }
        self.state.frames_came(look.has_ended, self.meter.is_within_head());
        Poll::Ready(Ok(()))
    }

    /// Tells who has to know of it what came of a write.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.state.wrote(&written);
        if let Poll::Ready(Ok(length)) = written
            && self.inspector.is_none()
        {
            self.meter.wrote(length);
        }
        written
    }

    /// Ready once the request that asks for another protocol is answered in this one, and with whether the client has
    /// left before.
    fn poll_stays(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(inspector) = self.inspector.as_mut().filter(|inspector| inspector.is_switching()) else {
            return Poll::Ready(Ok(false));
        };
        if self.state.busy.get() == 0 {
            let mut held = std::mem::take(&mut self.held);
            inspector.stays();
            if !held.is_empty() {
                self.state.bytes_came();
                let taken = look(inspector, &self.state, &mut held);
                self.held = held.split_off(taken);
                self.read_ahead = held.freeze();
            }
            return Poll::Ready(Ok(false));
        }
        self.state.is_reading_held.set(true);
        self.poll_left(cx).map_ok(|()| true)
    }
}

/// What the inspector takes of these bytes; a limit that strikes there is counted when the connection ends.
fn look(inspector: &mut Inspector, state: &ClientState, bytes: &mut [u8]) -> usize {
    let taken = inspector.inspect(bytes);
    if inspector.is_extended_too_much() {
        state.struck.set(Some(Limit::MaxChunkExtensionBytes));
    }
    taken
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.inspector.is_none() {
            return this.poll_frames(cx, buf);
        }
        if this.read_ahead.is_empty() && ready!(this.poll_stays(cx))? {
            return Poll::Ready(Ok(()));
        }
        if !this.read_ahead.is_empty() {
            let length = this.read_ahead.len().min(buf.remaining());
            buf.put_slice(&this.read_ahead[..length]);
            this.read_ahead.advance(length);
            if this.read_ahead.is_empty() {
                // Even an empty piece would keep the buffer that it is a piece of.
                this.read_ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.state.bytes_came();
            this.inspect(buf, before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_order()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes more than it can send.
        if self.state.is_encrypted() {
            self.state.wrote(&flushed);
        }
        if flushed.is_ready() {
            self.state.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.state.writes_last() && !self.state.is_encrypted() {
            // hyper is done with the stream, so that it is closed next, which says the same with one call less.
            return Poll::Ready(Ok(()));
        }
        // Closing would drop what is held back, were there anything that nobody reads; and in TLS the end is said.
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.state.wrote(&ended);
        ended
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_order()?;
        let more_follows = self.state.writes_last() || self.state.is_relay_due();
        let plain = if more_follows { self.stream.as_plain() } else { None };
        let written = if let Some(stream) = plain {
            gather::poll_write(Pin::new(&mut BeforeMore(stream)), cx, bufs)
        } else {
            gather::poll_write(Pin::new(&mut self.stream), cx, bufs)
        };
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::pace::UploadFailure;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    async fn http2_stream() -> (ClientStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let stream = ClientStream {
            stream: Transport::Plain(accepted),
            read_ahead: Bytes::new(),
            held: BytesMut::new(),
            inspector: None,
            meter: FrameMeter::new(0, 10_000),
            is_in_burst: false,
            state: ClientState::new(),
        };
        (stream, client)
    }

    /// What is read to the end, in the pieces that come between two times at which nothing does.
    async fn turns(mut stream: ClientStream) -> Vec<Vec<u8>> {
        let mut turns = vec![Vec::new()];
        poll_fn(|cx| {
            loop {
                let mut piece = [0; 1000];
                let mut buffer = ReadBuf::new(&mut piece);
                if Pin::new(&mut stream).poll_read(cx, &mut buffer).map(Result::unwrap).is_pending() {
                    turns.push(Vec::new());
                    return Poll::Pending;
                }
                if buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
                turns.last_mut().unwrap().extend_from_slice(buffer.filled());
            }
        })
        .await;
        turns
    }

    #[tokio::test]
    async fn a_flood_gives_way_to_others_every_few_frames_and_a_request_does_not() {
        const FRAMES: usize = 100;
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
        let request = [&[0, 0, 8, 1, 5, 0, 0, 0, 1][..], &[0x90; 8]].concat();
        // The head of the last one in a turn may come with it.
        for (frame, expected) in [(ping, 1..=17), (request, FRAMES..=FRAMES)] {
            let (stream, mut client) = http2_stream().await;
            client.write_all(&frame.repeat(FRAMES)).await.unwrap();
            drop(client);
            let turns = turns(stream).await;
            assert_eq!(turns.concat(), frame.repeat(FRAMES));
            let longest = turns.iter().map(|turn| turn.len().div_ceil(frame.len())).max().unwrap();
            assert!(expected.contains(&longest), "{longest} frames in one turn of {}", turns.len());
        }
    }

    /// A stream of HTTP/1 on which nothing has come.
    async fn http1_stream() -> (ClientStream, TcpStream) {
        let (stream, client) = http2_stream().await;
        (ClientStream { inspector: Some(Inspector::new(0)), ..stream }, client)
    }

    /// How many bytes are gathered that come in two pieces, of which the first is not enough.
    async fn gathered_in_two(begun: &str, rest: &str, max: usize) -> usize {
        let (mut stream, mut client) = http1_stream().await;
        let state = Rc::clone(&stream.state);
        {
            let mut gathering = pin!(stream.gather_head(max));
            client.write_all(begun.as_bytes()).await.unwrap();
            poll_fn(|cx| {
                assert!(gathering.as_mut().poll(cx).is_pending(), "{begun:?} is enough");
                if state.has_begun.get() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            client.write_all(rest.as_bytes()).await.unwrap();
            gathering.await.unwrap();
        }
        stream.read_ahead.len() + stream.held.len()
    }

    #[tokio::test]
    async fn a_head_is_gathered_until_it_is_complete_or_refused() {
        const MAX: usize = 100;
        let (long, longer) = ("x".repeat(MAX - 1), "x".repeat(MAX));
        for (begun, rest) in [
            ("G", "ET / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r", "\n"),
            // Lines before a request are no part of it (RFC 9112 section 2.2).
            ("\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
            ("POST / HTTP/1.1\r\ncontent-length: 5\r\n", "\r\nhello"),
            // What follows is not waited for, be it the beginning of another head.
            ("GET / HTTP/1.1\r\n", "\r\nGET / HT"),
            ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n", "\r\nof x"),
            ("GET / HTTP/1.1\r\n", "a line feed alone\n"),
            // Other protocols are answered at once.
            ("HELO ", "a.test\r\n"),
            ("GET", "\u{16}"),
            (&long, &long),
            ("GET / HTTP/1.1\r\nx: ", &longer),
        ] {
            let gathered = gathered_in_two(begun, rest, MAX).await;
            assert_eq!(gathered, begun.len() + rest.len(), "{begun:?}, {rest:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_ends_within_a_head_is_waited_for_no_longer() {
        let (mut stream, mut client) = http1_stream().await;
        client.write_all(b"GET / HT").await.unwrap();
        drop(client);
        stream.gather_head(100).await.unwrap();
        assert_eq!(stream.read_ahead, "GET / HT");
    }

    #[tokio::test]
    async fn what_came_behind_the_last_request_is_gathered_on_from() {
        let (mut stream, mut client) = http1_stream().await;
        let mut begun = *b"GET / HT";
        look(stream.inspector.as_mut().unwrap(), &stream.state, &mut begun);
        stream.unread(Bytes::copy_from_slice(&begun));
        client.write_all(b"TP/1.1\r\n\r\n").await.unwrap();
        stream.gather_head(100).await.unwrap();
        assert_eq!(stream.read_ahead, "GET / HTTP/1.1\r\n\r\n");
    }

    /// How much is read ahead of a request once the rest has come, and how its client has failed if that was late.
    async fn body_gathered(begun: &str, rest: &str) -> (usize, Option<UploadFailure>) {
        let (mut stream, mut client) = http1_stream().await;
        client.write_all(begun.as_bytes()).await.unwrap();
        stream.gather_head(1_000).await.unwrap();
        {
            let mut gathering = pin!(stream.gather_body(Pace::new(Duration::from_secs(30), 240)));
            let polled = poll_fn(|cx| Poll::Ready(gathering.as_mut().poll(cx).map(Result::unwrap))).await;
            assert!(polled.is_pending(), "{begun:?} is whole");
            client.write_all(rest.as_bytes()).await.unwrap();
            assert!(gathering.await.unwrap(), "{begun:?}, {rest:?}");
        }
        assert_eq!(stream.held.capacity(), 0, "what is empty keeps no buffer");
        (stream.read_ahead.len(), stream.state.take_pace().and_then(|pace| pace.failure()))
    }

    #[tokio::test]
    async fn a_body_is_gathered_until_it_is_complete_or_has_begun() {
        let long = "x".repeat(BEGINNING_BYTES);
        let chunk = format!("800\r\n{}", &long[5..]);
        for (fields, begun, rest) in [
            ("content-length: 5", "", "hello"),
            ("content-length: 5", "hel", "lo"),
            // No more than one request at a time.
            ("content-length: 5", "hel", "loGET / HT"),
            ("content-length: 50000", "x", &long),
            ("transfer-encoding: chunked", "", "0\r\n\r\n"),
            ("transfer-encoding: chunked", "2\r\nab\r\n", "0\r\nx: y\r\n\r\n"),
            ("transfer-encoding: chunked", "", &chunk),
            ("transfer-encoding: chunked", "", "no size"),
        ] {
            let begun = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n{begun}");
            let gathered = body_gathered(&begun, rest).await;
            assert_eq!(gathered, (begun.len() + rest.len(), None), "{begun:?}, {rest:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_has_no_body_is_waited_for_no_longer() {
        for head in ["GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", "HELO a.test\r\n"] {
            let (mut stream, mut client) = http1_stream().await;
            client.write_all(head.as_bytes()).await.unwrap();
            stream.gather_head(1_000).await.unwrap();
            assert!(!stream.awaits_body(), "{head:?}");
        }
    }

    #[tokio::test]
    async fn a_request_whose_body_breaks_off_does_not_go_on() {
        let (mut stream, mut client) = http1_stream().await;
        client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhel").await.unwrap();
        drop(client);
        stream.gather_head(1_000).await.unwrap();
        assert!(!stream.gather_body(Pace::new(Duration::from_secs(30), 240)).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_too_long_has_failed_before_its_request_begins() {
        let begun = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
        let gathered = body_gathered(begun, "hel").await;
        assert_eq!(gathered, (begun.len() + 3, Some(UploadFailure::Silent)));
    }
}
