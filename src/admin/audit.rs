//! The audit: one line of the log for each request that changed something, or was to and did not.

use crate::admin::auth::Role;
use crate::admin::tls::Subject;
use crate::control::write::Write;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::section::printable;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    /// The user of the process, where the system tells.
    Unix(Option<u32>),
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => write!(out, "{address}"),
            Peer::Unix(Some(uid)) => write!(out, "uid {uid}"),
            Peer::Unix(None) => write!(out, "a Unix socket"),
        }
    }
}

/// Why a request was not answered as asked; stands in the extensions of its response.
#[derive(Clone, Debug)]
pub(crate) struct Why(pub(crate) String);

/// What is found out about a request while it is answered; all clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    /// Whether the request is a write, as far as it came.
    is_write: bool,
    role: Option<Role>,
    actor: Option<String>,
    pool: Option<String>,
    reason: Option<String>,
    is_forced: bool,
    is_dry_run: bool,
    /// The epoch before, and the one after.
    epochs: Option<(u64, u64)>,
}

impl Audit {
    /// The request is one to change something.
    pub(crate) fn is_write(&self) {
        self.notes().is_write = true;
    }

    /// What its token or its certificate lets it do.
    pub(crate) fn role(&self, role: Role) {
        self.notes().role = Some(role);
    }

    /// Who makes the change.
    pub(crate) fn actor(&self, actor: &str) {
        self.notes().actor = Some(actor.to_owned());
    }

    /// Nothing is to be changed in this pool, only planned, and this is why.
    pub(crate) fn dry_run(&self, pool: &str, reason: Option<&str>) {
        let mut notes = self.notes();
        (notes.is_dry_run, notes.pool) = (true, Some(pool.to_owned()));
        notes.reason = reason.map(str::to_owned);
    }

    /// This is what is to be changed.
    pub(crate) fn write(&self, write: &Write) {
        let mut notes = self.notes();
        (notes.pool, notes.reason) = (Some(write.pool.clone()), write.reason.clone());
        notes.is_forced = write.force;
    }

    /// This is what came of it.
    pub(crate) fn written(&self, written: &Result<Written, WriteError>) {
        if let Ok(Written { epoch, changed, .. }) = written {
            self.notes().epochs = Some((epoch - u64::from(*changed), *epoch));
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves the line once the request is answered, or its client has left.
pub(crate) async fn keep(mut request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let mut line = Line::of(&request);
    request.extensions_mut().insert(line.audit.clone());
    let response = next.run(request).await;
    line.status = Some(response.status().as_u16());
    line.why = response.extensions().get().map(|Why(why)| printable(why, SHOWN_CHARS_MAX));
    response
}

/// A line in the making.
struct Line {
    audit: Audit,
    peer: String,
    /// Who the peer is by its certificate.
    certificate: Option<Subject>,
    method: String,
    path: String,
    /// None while it is not answered. A write may be made all the same; the history knows.
    status: Option<u16>,
    why: Option<String>,
}

impl Line {
    fn of(request: &Request) -> Line {
        Line {
            audit: Audit::default(),
            peer: request.extensions().get().map(Peer::to_string).unwrap_or_default(),
            certificate: request.extensions().get().cloned(),
            method: printable(request.method().as_str(), SHOWN_CHARS_MAX),
            path: printable(request.uri().path(), SHOWN_CHARS_MAX),
            status: None,
            why: None,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let notes = self.audit.notes();
        if !notes.is_write {
            return;
        }
        let Line { peer, method, path, status, why, .. } = &self;
        let certificate = self.certificate.as_ref().map(|Subject(name)| &**name);
        let role = notes.role.map_or("none", Role::name);
        let shown = |text: &Option<String>| text.as_deref().map(|text| printable(text, SHOWN_CHARS_MAX));
        let (actor, pool, reason) = (shown(&notes.actor), shown(&notes.pool), shown(&notes.reason));
        let (force, dry_run) = (notes.is_forced, notes.is_dry_run);
        let (epoch_before, epoch) = notes.epochs.unzip();
        tracing::info!(
            target: TARGET,
            peer,
            certificate,
            role,
            actor,
            method,
            path,
            pool,
            reason,
            force,
            dry_run,
            status,
            epoch_before,
            epoch,
            why,
            "admin write"
        );
    }
}

/// Where the lines come from, for the filters of logs.
pub(crate) const TARGET: &str = "ringway::audit";

/// Most characters of what a client has sent that one field of the line shows.
const SHOWN_CHARS_MAX: usize = 512;
