//! One connection as bytes, from either end: what is written arrives unchanged, what arrives is shown as it came.

use crate::harness::within;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio_rustls::TlsStream;
use tokio_util::either::Either;

/// A connection and what was read ahead on it.
pub(crate) struct Wire {
    stream: Either<Either<TcpStream, UnixStream>, Box<TlsStream<TcpStream>>>,
    ahead: Vec<u8>,
}

/// The head of a request or response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The first line, without its end.
    pub(crate) line: String,
    /// Names in lower case, and values.
    pub(crate) fields: Vec<(String, String)>,
}

/// A whole request or response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Closed,
    /// RST.
    Reset,
}

impl Wire {
    pub(crate) fn new(stream: Either<TcpStream, UnixStream>) -> Wire {
        if let Either::Left(stream) = &stream {
            stream.set_nodelay(true).expect("a fresh socket takes options");
        }
        Wire { stream: Either::Left(stream), ahead: Vec::new() }
    }

    pub(crate) fn encrypted(stream: impl Into<TlsStream<TcpStream>>) -> Wire {
        Wire { stream: Either::Right(Box::new(stream.into())), ahead: Vec::new() }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Wire {
        let stream = within("connecting", TcpStream::connect(address)).await.expect("the proxy accepts");
        Wire::new(Either::Left(stream))
    }

    /// The socket under it, on which nothing was read yet.
    pub(crate) fn into_tcp(self) -> TcpStream {
        match self.stream {
            Either::Left(Either::Left(stream)) => stream,
            _ => panic!("it is no plain TCP connection"),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within("writing", self.stream.write_all(bytes.as_ref())).await.expect("the other end reads");
    }

    /// Writes all of it, for as long as the other end lets it.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends this side only.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// Breaks the connection with a RST.
    pub(crate) fn reset(self) {
        if let Either::Left(Either::Left(stream)) = &self.stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("an open socket");
        }
    }

    /// Keeps the socket buffers of this end small.
    pub(crate) fn shrink_buffers(&self) {
        if let Either::Left(Either::Left(stream)) = &self.stream {
            SockRef::from(stream).set_recv_buffer_size(16 << 10).expect("an open socket");
            SockRef::from(stream).set_send_buffer_size(16 << 10).expect("an open socket");
        }
    }

    /// Bytes that the system has for this end at the other end, on the same machine: `tx_queue` of proc_net_tcp(5).
    pub(crate) fn queued_at_peer(&self) -> u64 {
        let Either::Left(Either::Left(stream)) = &self.stream else { panic!("it is no plain TCP connection") };
        let port = |address: io::Result<SocketAddr>| format!("{:04X}", address.expect("an open socket").port());
        let (own, peer) = (port(stream.local_addr()), port(stream.peer_addr()));
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        let is_peer = |fields: &Vec<&str>| fields[1].ends_with(&peer) && fields[2].ends_with(&own);
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(is_peer).expect("the other end is open");
        let (queued, _) = line[4].split_once(':').expect("tx_queue:rx_queue");
        u64::from_str_radix(queued, 16).expect("a hexadecimal number")
    }

    /// A request, and its whole response.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.write(&request).await;
        self.response(!request.as_ref().starts_with(b"HEAD ")).await
    }

    /// The next head; panics when the connection ends before one.
    pub(crate) async fn head(&mut self) -> Head {
        self.try_head().await.expect("a head rather than the end of the connection")
    }

    /// The next head, or `None` when the connection ends without another byte.
    pub(crate) async fn try_head(&mut self) -> Option<Head> {
        let mut lines = vec![self.try_line().await?];
        while lines.last().is_some_and(|line| !line.is_empty()) {
            lines.push(self.line().await);
        }
        let fields = lines[1..].iter().filter(|line| !line.is_empty()).map(|line| field(line)).collect();
        Some(Head { line: lines.swap_remove(0), fields })
    }

    /// The next whole request, or `None` when the connection ends without another byte.
    pub(crate) async fn try_request(&mut self) -> Option<Message> {
        let head = self.try_head().await?;
        Some(self.complete(head, false).await)
    }

    /// The next whole request.
    pub(crate) async fn request(&mut self) -> Message {
        self.try_request().await.expect("a request rather than the end of the connection")
    }

    /// The next whole response; without `has_body` (to HEAD) its length counts for nothing.
    pub(crate) async fn response(&mut self, has_body: bool) -> Message {
        let head = self.head().await;
        if !has_body || matches!(head.status(), 100..200 | 204 | 304) {
            return Message { head, ..Message::default() };
        }
        self.complete(head, true).await
    }

    async fn complete(&mut self, head: Head, until_end: bool) -> Message {
        let mut message = Message { head, ..Message::default() };
        if message.head.field("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                message.body.extend(chunk);
            }
            message.trailers = self.trailers().await;
        } else if let Some(length) = message.head.field("content-length") {
            message.body = self.exactly(length.parse().expect("a decimal length")).await;
        } else if until_end {
            message.body = self.rest().await.0;
        }
        message
    }

    /// The next chunk; `None` for the last one, which is followed by [`Wire::trailers`].
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await;
        let length = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("{line:?} is no chunk size"));
        if length == 0 {
            return None;
        }
        let chunk = self.exactly(length).await;
        assert_eq!(self.line().await, "", "a chunk ends with an empty line");
        Some(chunk)
    }

    /// What follows the last chunk.
    pub(crate) async fn trailers(&mut self) -> Vec<(String, String)> {
        let mut trailers = Vec::new();
        loop {
            match self.line().await {
                line if line.is_empty() => return trailers,
                line => trailers.push(field(&line)),
            }
        }
    }

    /// The next `length` bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        self.try_exactly(length).await.unwrap_or_else(|| panic!("{} of {length} bytes and the end", self.ahead.len()))
    }

    /// As [`Wire::exactly`]; `None` when the connection ends before.
    pub(crate) async fn try_exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < length {
            self.more().await.ok()?;
        }
        Some(self.ahead.drain(..length).collect())
    }

    /// Whatever has come; `None` at the end of the connection.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        if self.ahead.is_empty() && self.more().await.is_err() {
            return None;
        }
        Some(std::mem::take(&mut self.ahead))
    }

    /// Everything up to the end of the connection, and how that came.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.more().await {
                return (std::mem::take(&mut self.ahead), end);
            }
        }
    }

    /// Waits until the other end has closed; nothing may come before that.
    pub(crate) async fn closed(&mut self) {
        let (rest, _) = self.rest().await;
        assert!(rest.is_empty(), "before the end came {:?}", String::from_utf8_lossy(&rest));
    }

    async fn line(&mut self) -> String {
        self.try_line().await.expect("a line rather than the end of the connection")
    }

    async fn try_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if let Err(end) = self.more().await {
                let cut = String::from_utf8_lossy(&self.ahead);
                assert!(self.ahead.is_empty(), "{end:?} in the middle of a line: {cut:?}");
                return None;
            }
        }
    }

    async fn more(&mut self) -> Result<(), End> {
        self.ahead.reserve(READ_BYTES);
        match within("reading", self.stream.read_buf(&mut self.ahead)).await {
            Ok(0) => Err(End::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Reset),
        }
    }
}

/// How much is read at a time, at least where so much has come.
const READ_BYTES: usize = 16 << 10;

impl Head {
    /// The value of the only field of that name; `None` without one.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// The values of all fields of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|field| field.0 == name).map(|field| field.1.as_str()).collect()
    }

    /// The status code of a response.
    pub(crate) fn status(&self) -> u16 {
        let code = self.line.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("{:?} is no status line", self.line))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no field"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
