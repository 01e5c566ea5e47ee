//! The backend process: answers after a delay, and writes down every request before it does.
//!
//! Hand-written HTTP/1.1, because it must also do what no server library does: break its own responses.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;

/// The first argument of this program when it is a backend: a name, an address, a directory and [`Idle`] follow.
pub(crate) const ROLE: &str = "--backend";

/// The field with the number of a request, which only requests of the load have.
pub(crate) const NUMBER: &str = "x-request";

/// The field of a response with the name of the backend.
pub(crate) const SERVED_BY: &str = "x-served-by";

/// Size of an ordinary response's body.
pub(crate) const BODY_BYTES: usize = 1_000;

/// The query of requests for a large body.
pub(crate) const LARGE: &str = "large";

/// Size of a large body; it is sent over a time in which a node can die.
pub(crate) const LARGE_BODY_BYTES: usize = 1 << 20;

/// What a backend does differently, as the word in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers after 10 ms.
    Ordinary,
    /// Answers after ten times as long.
    Slow,
    /// Sends half of each body and closes: with a length, or chunked without a last chunk, in turn.
    Truncating,
}

impl Behaviour {
    /// Tells a running backend, from its next request on.
    pub(crate) fn tell(self, directory: &Path, name: &str) {
        let path = Behaviour::path(directory, name);
        match self {
            Behaviour::Ordinary => drop(fs::remove_file(path)),
            Behaviour::Slow => fs::write(path, "slow").unwrap(),
            Behaviour::Truncating => fs::write(path, "truncating").unwrap(),
        }
    }

    fn told(directory: &Path, name: &str) -> Behaviour {
        match fs::read_to_string(Behaviour::path(directory, name)).as_deref() {
            Ok("slow") => Behaviour::Slow,
            Ok("truncating") => Behaviour::Truncating,
            _ => Behaviour::Ordinary,
        }
    }

    fn path(directory: &Path, name: &str) -> PathBuf {
        directory.join(format!("{name}.behaviour"))
    }

    fn delay(self) -> Duration {
        match self {
            Behaviour::Ordinary | Behaviour::Truncating => DELAY,
            Behaviour::Slow => DELAY * 10,
        }
    }
}

/// How long a backend keeps idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// As long as it lives.
    Kept,
    /// About as long as the load leaves them idle: a second, or up to 40 ms less.
    AboutASecond,
}

impl Idle {
    fn draw(self) -> Duration {
        match self {
            Idle::Kept => Duration::from_hours(1),
            Idle::AboutASecond => Duration::from_millis(fastrand::u64(960..=1_000)),
        }
    }
}

impl FromStr for Idle {
    type Err = String;

    fn from_str(word: &str) -> Result<Idle, String> {
        [Idle::Kept, Idle::AboutASecond].into_iter().find(|idle| idle.to_string() == word).ok_or(word.to_owned())
    }
}

impl std::fmt::Display for Idle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Idle::Kept => "kept",
            Idle::AboutASecond => "about-a-second",
        })
    }
}

/// The file in which a backend writes down the requests it has received whole: method and number, a line each.
pub(crate) fn journal(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.journal"))
}

/// Serves until it is killed, or until SIGTERM and then the end of what is open.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("a backend is given a name, an address, a directory and an idle time");
    let (name, address, directory, idle) = (next(), next().parse().unwrap(), PathBuf::from(next()), next());
    let journal = File::options().create(true).append(true).open(journal(&directory, &name)).unwrap();
    let backend = Arc::new(Backend { name, directory, idle: idle.parse().unwrap(), journal });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(backend.serve(address));
}

struct Backend {
    name: String,
    directory: PathBuf,
    idle: Idle,
    journal: File,
}

/// What a backend wants to know of a request.
struct Request {
    method: String,
    is_large: bool,
    number: Option<usize>,
}

/// How far a backend is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Nobody new is let in, and responses say `connection: close`.
    Leaving,
    /// Idle connections are closed.
    Closing,
}

impl Backend {
    async fn serve(self: Arc<Backend>, address: SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let (phase, seen) = watch::channel(Phase::Open);
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    // What goes wrong with a connection is for its client to tell.
                    let (backend, stream, seen) = (Arc::clone(&self), accepted.unwrap().0, seen.clone());
                    open.spawn(async move { drop(backend.converse(stream, seen).await) });
                }
                _ = terminate.recv() => break,
            }
        }
        drop(listener);
        phase.send_replace(Phase::Leaving);
        sleep(LEAVING).await;
        phase.send_replace(Phase::Closing);
        open.join_all().await;
    }

    /// One connection, to its end.
    async fn converse(&self, stream: TcpStream, mut phase: watch::Receiver<Phase>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        loop {
            tokio::select! {
                biased;
                arrived = timeout(self.idle.draw(), stream.fill_buf()) => match arrived {
                    Ok(Ok(bytes)) if !bytes.is_empty() => (),
                    _ => return Ok(()),
                },
                _ = phase.wait_for(|phase| *phase == Phase::Closing) => return Ok(()),
            }
            let request = read_request(&mut stream).await?;
            self.write_down(&request)?;
            let behaviour = Behaviour::told(&self.directory, &self.name);
            sleep(behaviour.delay()).await;
            let is_last = *phase.borrow() >= Phase::Leaving;
            self.answer(stream.get_mut(), &request, behaviour, is_last).await?;
            if is_last || request.is_broken_by(behaviour) {
                return stream.get_mut().shutdown().await;
            }
        }
    }

    /// In one write, which outlives the process however it ends.
    fn write_down(&self, request: &Request) -> io::Result<()> {
        match request.number {
            Some(number) => (&self.journal).write_all(format!("{} {number}\n", request.method).as_bytes()),
            None => Ok(()),
        }
    }

    async fn answer(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        behaviour: Behaviour,
        is_last: bool,
    ) -> io::Result<()> {
        let name = &self.name;
        let size = if request.is_large { LARGE_BODY_BYTES } else { BODY_BYTES };
        let connection = if is_last { "connection: close\r\n" } else { "" };
        let is_broken = request.is_broken_by(behaviour);
        let is_chunked = is_broken && request.number.is_some_and(|number| number % 2 == 0);
        let framing = if is_chunked { "transfer-encoding: chunked".into() } else { format!("content-length: {size}") };
        let mut bytes = format!("HTTP/1.1 200 OK\r\n{SERVED_BY}: {name}\r\n{connection}{framing}\r\n\r\n").into_bytes();
        if is_chunked {
            bytes.extend_from_slice(format!("{:x}\r\n", size / 2).as_bytes());
        }
        if request.is_large {
            stream.write_all(&bytes).await?;
            return write_slowly(stream, size).await;
        }
        bytes.resize(bytes.len() + if is_broken { size / 2 } else { size }, b'.');
        stream.write_all(&bytes).await
    }
}

impl Request {
    /// Health checks, which have no number, are answered well.
    fn is_broken_by(&self, behaviour: Behaviour) -> bool {
        behaviour == Behaviour::Truncating && self.number.is_some()
    }
}

/// Reads a whole request, its body too.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let line = read_line(stream).await?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
    let mut request = Request { method, is_large: target.ends_with(LARGE), number: None };
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "transfer-encoding" => is_chunked = true,
            NUMBER => request.number = value.trim().parse().ok(),
            _ => (),
        }
    }
    if is_chunked {
        skip_chunks(stream).await?;
    } else {
        skip(stream, length).await?;
    }
    Ok(request)
}

async fn skip_chunks(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let size = u64::from_str_radix(&read_line(stream).await?, 16).map_err(io::Error::other)?;
        skip(stream, size).await?;
        read_line(stream).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

async fn skip(stream: &mut BufReader<TcpStream>, length: u64) -> io::Result<()> {
    let skipped = tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A line without its end.
async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

async fn write_slowly(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    let piece = vec![b'.'; size / LARGE_PIECES];
    for _ in 0..LARGE_PIECES {
        stream.write_all(&piece).await?;
        sleep(LARGE_PIECE_EVERY).await;
    }
    Ok(())
}

const DELAY: Duration = Duration::from_millis(10);

/// From SIGTERM until idle connections are closed: long enough for whoever uses them to hear that this backend leaves.
const LEAVING: Duration = Duration::from_millis(300);

const LARGE_PIECES: usize = 32;

const LARGE_PIECE_EVERY: Duration = Duration::from_millis(2);
