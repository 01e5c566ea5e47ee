//! One process takes over from another on the same machine, without a connection refused or a request cut.
//!
//! The old process listens on the socket of `take-over-socket` ([`Door`]); `ringway serve --take-over` connects to it.
//! Each sees the other as its [`Successor`] or its [`Predecessor`]; what they say is in [`message`], and what they do
//! about it in `app`.

pub mod message;
pub mod settings;
mod wire;

use crate::cluster::log::History;
use crate::handover::message::Message;
use crate::handover::message::Offer;
use crate::handover::wire::DESCRIPTORS_MAX;
use crate::handover::wire::Wire;
use crate::sockets::Giver;
use crate::sockets::Label;
use crate::sockets::Passed;
use crate::sockets::unix;
use crate::sockets::unix::SocketFile;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the new process may take from its connection to `ready`: it reads the store and builds every placement.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// How long any other answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Only the owner of the process may take over.
const DOOR_MODE: u32 = 0o600;

/// Why nothing was handed over. Whichever process says so, the old one goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The other process went away, or has given up waiting.
    #[error("the other process closed the connection")]
    Gone,
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// The old process does not hand over.
    #[error("the running process refuses: {0}")]
    Refused(String),
    /// The other process took longer than it may.
    #[error("the other process did not answer within {0:?}")]
    Silent(Duration),
    /// The other process is of another user.
    #[error("the other process is of user {uid}, and this one of user {own}; run both as the same user")]
    Stranger {
        /// Its user.
        uid: u32,
        /// The user of this process.
        own: u32,
    },
    /// The other process speaks something else.
    #[error("the other process sent {0}")]
    Unreadable(String),
}

/// Where a process that takes over knocks, and what it gets.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    file: SocketFile,
    path: PathBuf,
    labels: Vec<Label>,
    sockets: Vec<OwnedFd>,
}

impl Door {
    /// Makes a door that nobody can find yet, see [`Door::open`]. `sockets` are duplicates of all that listen, which
    /// end with it.
    ///
    /// # Errors
    /// When there can be no socket beside `path`, or there are more sockets than can be handed over.
    pub async fn build(path: &Path, sockets: Vec<(Label, OwnedFd)>) -> io::Result<Door> {
        if sockets.len() > DESCRIPTORS_MAX {
            let why = format!("{} sockets are more than the {DESCRIPTORS_MAX} that can be handed over", sockets.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let (listener, file) = unix::bind(Path::new(&hidden), DOOR_MODE).await?;
        let (labels, sockets) = sockets.into_iter().unzip();
        Ok(Door { listener, file, path: path.to_owned(), labels, sockets })
    }

    /// Puts it in its place, in that of the process before this one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(&mut self) -> io::Result<()> {
        self.file.rename(&self.path)
    }

    /// Waits for a process that wants to take over.
    pub async fn knock(&self) -> Successor {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Successor { wire: Wire::new(stream) },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the take-over socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// What the sockets are, in their order.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The sockets to hand over.
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// Closes it, and leaves its place to the process that has taken over.
    pub fn leave(mut self) {
        self.file.disown();
    }
}

/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The old process's view of the one that takes over.
#[derive(Debug)]
pub struct Successor {
    wire: Wire,
}

impl Successor {
    /// Lets it say which version it speaks.
    ///
    /// # Errors
    /// When nothing may be handed over to it; it has been told so.
    pub async fn greet(&mut self) -> Result<(), HandoverError> {
        if let Err(error) = self.wire.check_peer() {
            self.refuse(&error.to_string()).await;
            return Err(error);
        }
        let refusal = match self.receive(ANSWER_PATIENCE).await? {
            Message::Hello { version, release } => message::check_version(version, &release).err(),
            other => Some(unexpected(&other)),
        };
        match refusal {
            None => Ok(()),
            Some(why) => {
                self.refuse(&why).await;
                Err(HandoverError::Unreadable(why))
            }
        }
    }

    /// Tells it that nothing is handed over, and why.
    pub async fn refuse(&mut self, why: &str) {
        // It may have gone already.
        drop(self.wire.send(&Message::Refused { why: why.to_owned() }, &[]).await);
    }

    /// Hands everything over and waits until it could serve.
    ///
    /// # Errors
    /// When it could not; the old process goes on then.
    pub async fn offer(&mut self, offer: Offer, sockets: &[OwnedFd]) -> Result<(), HandoverError> {
        let sent = tokio::time::timeout(READY_PATIENCE, self.wire.send(&Message::Offer(offer), sockets)).await;
        sent.map_err(|_| HandoverError::Unreadable("nobody reads what is offered".to_owned()))??;
        match self.receive(READY_PATIENCE).await? {
            Message::Ready {} => Ok(()),
            other => Err(HandoverError::Unreadable(unexpected(&other))),
        }
    }

    /// Lets it serve. From here on there is no way back.
    ///
    /// # Errors
    /// When it could not be told; the old process goes on then.
    pub async fn let_go(mut self) -> Result<(), HandoverError> {
        self.wire.send(&Message::Go {}, &[]).await
    }

    async fn receive(&mut self, patience: Duration) -> Result<Message, HandoverError> {
        receive(&mut self.wire, patience).await.map(|(message, _)| message)
    }
}

/// The new process's view of the one that it takes over from.
#[derive(Debug)]
pub struct Predecessor {
    wire: Wire,
}

/// What the old process handed over.
#[derive(Debug)]
pub struct Legacy {
    /// Its listening sockets.
    pub sockets: Vec<Passed>,
    /// The histories that nothing but it holds.
    pub histories: Vec<History>,
    /// What it knows of the nodes' health, as it was written by [`message::Health::of`].
    pub health: Vec<serde_json::Value>,
}

impl Predecessor {
    /// Asks the process behind `door` to hand over; `None` when there is none.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ask(door: &Path) -> Result<Option<(Predecessor, Legacy)>, HandoverError> {
        let stream = match UnixStream::connect(door).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(source) => return Err(HandoverError::Io { doing: "connect to the running process", source }),
        };
        let mut wire = Wire::new(stream);
        wire.check_peer()?;
        let release = env!("CARGO_PKG_VERSION").to_owned();
        wire.send(&Message::Hello { version: message::VERSION, release }, &[]).await?;
        let (offer, descriptors) = match receive(&mut wire, READY_PATIENCE).await? {
            (Message::Offer(offer), descriptors) => (offer, descriptors),
            (Message::Refused { why }, _) => return Err(HandoverError::Refused(why)),
            (other, _) => return Err(HandoverError::Unreadable(unexpected(&other))),
        };
        Ok(Some((Predecessor { wire }, Legacy::read(offer, descriptors)?)))
    }

    /// Says that this process could serve, and waits until it may, for as long as the old process lives: giving up
    /// while that one lets go would leave nobody.
    ///
    /// # Errors
    /// When it may not: the old process goes on, and this one must not serve.
    pub async fn acknowledge(mut self) -> Result<(), HandoverError> {
        self.wire.send(&Message::Ready {}, &[]).await?;
        match self.wire.receive().await? {
            (Message::Go {}, _) => Ok(()),
            (Message::Refused { why }, _) => Err(HandoverError::Refused(why)),
            (other, _) => Err(HandoverError::Unreadable(unexpected(&other))),
        }
    }
}

impl Legacy {
    fn read(offer: Offer, descriptors: Vec<OwnedFd>) -> Result<Legacy, HandoverError> {
        let histories = offer.histories().map_err(HandoverError::Unreadable)?;
        let (named, came) = (offer.sockets.len(), descriptors.len());
        if named != came {
            return Err(HandoverError::Unreadable(format!("{came} sockets where {named} are named")));
        }
        let passed = |(label, socket)| Passed::new(socket, Giver::Predecessor(label));
        let sockets = offer.sockets.into_iter().zip(descriptors).map(passed).collect::<Result<_, _>>();
        let sockets = sockets.map_err(|error| HandoverError::Unreadable(error.to_string()))?;
        Ok(Legacy { sockets, histories, health: offer.health.readable() })
    }
}

async fn receive(wire: &mut Wire, patience: Duration) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
    timeout(patience, wire.receive()).await.map_err(|_| HandoverError::Silent(patience))?
}

fn unexpected(message: &Message) -> String {
    let name = match message {
        Message::Hello { .. } => "hello",
        Message::Offer(_) => "offer",
        Message::Ready {} => "ready",
        Message::Go {} => "go",
        Message::Refused { .. } => "refused",
    };
    format!("`{name}` where something else was due")
}
