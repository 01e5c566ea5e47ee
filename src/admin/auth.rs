//! Who may do what: bearer tokens, client certificates, and protection against pages in a browser (DNS rebinding,
//! CSRF).

use crate::admin::api::Api;
use crate::admin::audit::Audit;
use crate::admin::model::RoleName;
use crate::admin::page;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::settings::AdminSettings;
use crate::admin::tls::Subject;
use crate::proxy::worker::Phase;
use crate::routing::key::normal_host;
use crate::section::is_printable;
use crate::sockets::address::ListenAddress;
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::HeaderValue;
use http::Uri;
use http::header;
use http::request::Parts;
use http::uri::Authority;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    Operate(Proof),
    /// Questions only.
    Read,
}

/// What lets a caller do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A certificate of `client-ca`, where no token is asked for.
    Certificate,
    /// Nobody is asked for anything.
    None,
    /// The token of `token-file`.
    Token,
}

impl Role {
    /// Its name in the audit.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Operate(Proof::Certificate) => "operate by certificate",
            Role::Operate(Proof::None) => "operate without a token",
            Role::Operate(Proof::Token) => "operate",
            Role::Read => "read",
        }
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> RoleName {
        match role {
            Role::Operate(_) => RoleName::Operate,
            Role::Read => RoleName::Read,
        }
    }
}

/// The rules of one listener.
pub(crate) struct Gate {
    operate: Option<Token>,
    read: Option<Token>,
    /// The address that a request may name in `Host`; `None` on a Unix socket, which no browser can reach.
    bound: Option<IpAddr>,
    /// The other names that it may give there.
    hosts: Vec<String>,
}

impl Gate {
    /// Reads the token files, for the API that listens on `listen`; the error is a text for people.
    pub(crate) fn new(settings: &AdminSettings, listen: &ListenAddress) -> Result<Gate, String> {
        let operate = settings.token_file.as_deref().map(Token::read).transpose()?;
        let read = settings.read_token_file.as_deref().map(Token::read).transpose()?;
        if operate.as_ref().zip(read.as_ref()).is_some_and(|(operate, read)| operate.equals(read)) {
            let why = "`token-file` and `read-token-file` hold the same token, so that whoever may read could operate";
            return Err(format!("{why}; put another one into one of them"));
        }
        Ok(Gate {
            operate,
            read,
            bound: match listen {
                ListenAddress::Tcp(address) => Some(address.ip().to_canonical()),
                ListenAddress::Unix(_) => None,
            },
            hosts: settings.hosts.clone(),
        })
    }

    /// Whether a token is needed for anything but probes.
    fn asks_for_token(&self) -> bool {
        self.operate.is_some() || self.read.is_some()
    }

    /// Whether it is the page that is asked for by a browser, which shows no token when it opens one. Such a page holds
    /// no data: it asks for the token and then for the data.
    fn is_empty_page(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        self.asks_for_token() && uri.path() == page::PATH && !headers.contains_key(header::AUTHORIZATION)
    }

    /// The role that the `Authorization` field gives. Where any token is set, one is needed, and decides: whoever has a
    /// certificate would get around being one that may only read by showing no token. Where none is, `certificate` has
    /// said enough: nobody without one gets here.
    fn role(&self, headers: &HeaderMap, certificate: Option<&Subject>) -> Result<Role, Fault> {
        if !self.asks_for_token() {
            return Ok(Role::Operate(certificate.map_or(Proof::None, |_| Proof::Certificate)));
        }
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        // Of two, another program on the way may have looked at the other one.
        let only = fields.next().filter(|_| fields.next().is_none());
        let shown = only.and_then(|value| bearer(value.as_bytes())).and_then(Token::of).ok_or_else(|| {
            Fault::new(Kind::Unauthorized, "send `Authorization: Bearer TOKEN` with the token of the token file")
        })?;
        let is = |known: &Option<Token>| known.as_ref().is_some_and(|known| known.equals(&shown));
        match (is(&self.operate), is(&self.read)) {
            (true, _) => Ok(Role::Operate(Proof::Token)),
            (false, true) => Ok(Role::Read),
            (false, false) => Err(Fault::new(Kind::Unauthorized, "this token is not known here")),
        }
    }

    /// Whether a request may come with this target and these fields. A page of another site can make a browser send
    /// requests here, and read the answers where its name is made to lead here (DNS rebinding); but it chooses neither
    /// `Host`, `Origin` and `Sec-Fetch-Site` nor can it know a token. A browser shows a certificate for a page as well,
    /// but not where a name leads to a server that cannot prove to be of that name.
    fn check_site(&self, role: Role, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
        let host = host_of(uri, headers).unwrap_or_default();
        if role == Role::Operate(Proof::None) && !self.is_named(&normal_host(host)) {
            let detail = format!(
                "`Host: {}` does not name this API; use the address it listens on, a name of `hosts`, or a token",
                host.escape_debug()
            );
            return Err(Fault::new(Kind::ForeignHost, detail));
        }
        // By the browser itself (W3C Fetch Metadata); `same-site` is another host or port of the same domain.
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes).unwrap_or_default();
        if matches!(site, b"cross-site" | b"same-site") && !is_link_to_page(uri, headers) {
            return Err(Fault::new(Kind::ForeignOrigin, "pages of other sites may not use this API"));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let is_same_site = origin.split_once("://").is_some_and(|(_, site)| site.eq_ignore_ascii_case(host));
        if is_same_site {
            return Ok(());
        }
        let detail = format!("pages of `{}` may not use this API", origin.escape_debug());
        Err(Fault::new(Kind::ForeignOrigin, detail))
    }

    fn is_named(&self, host: &str) -> bool {
        let Some(bound) = self.bound else { return true };
        let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        match address.map(|address| address.to_canonical()) {
            Some(address) => address.is_loopback() || address == bound,
            None => host == "localhost" || host.ends_with(".localhost") || self.hosts.iter().any(|named| named == host),
        }
    }

    /// Who makes a write: the way that it took, and who the client says to be. What a certificate says stands before
    /// that, in a way that nobody without one can write.
    fn actor(&self, headers: &HeaderMap, certificate: Option<&Subject>) -> Result<String, Fault> {
        let said = headers.get(ACTOR).map(|name| {
            std::str::from_utf8(name.as_bytes()).ok().filter(|name| is_actor(name)).ok_or_else(|| {
                let detail = format!("`{ACTOR}` must be 1 to {ACTOR_CHARS_MAX} printable characters");
                Fault::new(Kind::BadRequest, detail)
            })
        });
        let channel = if self.bound.is_some() { "admin" } else { "admin-socket" };
        Ok(match (certificate, said.transpose()?) {
            (None, None) => channel.to_owned(),
            (None, Some(name)) => format!("{channel}:{name}"),
            (Some(Subject(subject)), None) => format!("admin-cert:{subject}"),
            (Some(Subject(subject)), Some(name)) => format!("admin-cert:{subject} ({name})"),
        })
    }
}

/// Whether a link of another site, such as one in an alert, was followed to the page. It fills a window of its own,
/// which that site cannot read; in a frame it does not open.
fn is_link_to_page(uri: &Uri, headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(name).is_some_and(|field: &HeaderValue| field == value);
    uri.path() == page::PATH && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

/// The host that a request is for: that of an absolute target, else the only `Host` (RFC 9112 section 3.2).
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut fields = headers.get_all(header::HOST).iter();
    let only = fields.next().filter(|_| fields.next().is_none());
    uri.authority().map(Authority::as_str).or_else(|| only?.to_str().ok())
}

fn is_actor(name: &str) -> bool {
    (1..=ACTOR_CHARS_MAX).contains(&name.chars().count()) && name.chars().all(is_printable)
}

/// The token of `Bearer TOKEN`, whose scheme is case-insensitive (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// A secret, padded to one size so that comparing takes the same time whatever was shown.
struct Token {
    padded: [u8; TOKEN_BYTES_MAX],
    length: u64,
}

impl Token {
    /// `None` when it is empty or longer than a token may be.
    fn of(bytes: &[u8]) -> Option<Token> {
        let mut padded = [0; TOKEN_BYTES_MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let length = u64::try_from(bytes.len()).ok().filter(|length| *length > 0)?;
        Some(Token { padded, length })
    }

    fn read(file: &Path) -> Result<Token, String> {
        let shown = file.display();
        let text = std::fs::read(file).map_err(|error| format!("cannot read the token file {shown}: {error}"))?;
        let token = text.trim_ascii();
        if token.is_empty() {
            return Err(format!("the token file {shown} is empty; write a secret into it"));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(format!("the token in {shown} holds white space or other than ASCII; write one word"));
        }
        let too_long = || format!("the token in {shown} is over {TOKEN_BYTES_MAX} bytes; write a shorter one");
        Token::of(token).ok_or_else(too_long)
    }

    fn equals(&self, other: &Token) -> bool {
        (self.padded.ct_eq(&other.padded) & self.length.ct_eq(&other.length)).into()
    }
}

/// Lets through who has a token or a certificate, where one is asked for, and no pages of other sites; probes are
/// always answered.
pub(crate) async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let is_open = OPEN_PATHS.contains(&request.uri().path());
    if is_open || api.gate.is_empty_page(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let role = api.gate.role(request.headers(), request.extensions().get());
    let audit = request.extensions().get::<Audit>();
    if let (Some(audit), Ok(role)) = (audit, &role) {
        audit.role(*role);
    }
    let role = role.and_then(|role| api.gate.check_site(role, request.uri(), request.headers()).map(|()| role));
    match role {
        Ok(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        Err(fault) => {
            // It could have been one, and nobody will look any closer.
            audit.into_iter().for_each(Audit::is_write);
            fault.into_response()
        }
    }
}

/// Ends kept connections once another process has taken over, so that their clients reach that one next.
pub(crate) async fn send_on(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if api.phase() == Phase::HandedOver {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The right to write, which a handler needs in order to name the actor of a write.
pub(crate) struct Writer {
    /// Who writes, for the history.
    pub(crate) actor: String,
    /// What the audit is told.
    pub(crate) audit: Audit,
}

impl FromRequestParts<Arc<Api>> for Writer {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Writer, Fault> {
        let audit = parts.extensions.get::<Audit>().cloned().unwrap_or_default();
        audit.is_write();
        let actor = Writer::allow(parts, api)?;
        audit.actor(&actor);
        Ok(Writer { actor, audit })
    }
}

impl Writer {
    /// The name of who may write now.
    fn allow(parts: &Parts, api: &Api) -> Result<String, Fault> {
        let role = parts.extensions.get::<Role>().copied().unwrap_or(Role::Read);
        if role == Role::Read {
            return Err(Fault::new(Kind::Forbidden, "use the token of `token-file` to change something"));
        }
        match api.phase() {
            Phase::Running => {}
            Phase::HandedOver => return Err(Fault::new(Kind::HandedOver, HANDED_OVER)),
            Phase::Starting | Phase::Draining | Phase::Closing | Phase::Ended => {
                return Err(Fault::new(Kind::Stopping, "this proxy is shutting down and takes no more writes"));
            }
        }
        api.gate.actor(&parts.headers, parts.extensions.get())
    }
}

const HANDED_OVER: &str =
    "another process has taken over from this one; try again on a new connection, which reaches it";

/// What is answered without a token: what a load balancer asks, and what the page is made of.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/readyz", page::SCRIPT_PATH, page::STYLE_PATH];

/// Where a browser says that a request of a page comes from.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// Names the person or program behind a write, for the history.
const ACTOR: &str = "x-ringway-actor";

/// Longest name of an actor, in characters.
const ACTOR_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    fn gate(operate: Option<&str>, read: Option<&str>, bound: Option<&str>) -> Gate {
        let token = |text: Option<&str>| text.map(|text| Token::of(text.as_bytes()).unwrap());
        Gate {
            operate: token(operate),
            read: token(read),
            bound: bound.map(|ip| ip.parse().unwrap()),
            hosts: vec!["ops.example".into()],
        }
    }

    static ROOT: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("/"));

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_token_gives_its_role_and_nothing_like_it_does() {
        let gate = gate(Some("secret"), Some("look"), Some("127.0.0.1"));
        for (shown, role) in [
            ("Bearer secret", Some(Role::Operate(Proof::Token))),
            ("bearer  secret", Some(Role::Operate(Proof::Token))),
            ("Bearer look", Some(Role::Read)),
            ("Bearer secre", None),
            ("Bearer secret\u{7f}", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic secret", None),
            ("secret", None),
        ] {
            let value = HeaderValue::from_bytes(shown.as_bytes());
            let mut headers = HeaderMap::new();
            value.into_iter().for_each(|value| drop(headers.insert(header::AUTHORIZATION, value)));
            assert_eq!(gate.role(&headers, None).ok(), role, "{shown:?}");
        }
    }

    #[test]
    fn a_certificate_is_enough_where_no_token_is_asked_for_and_only_there() {
        let alice = Subject("CN=alice".into());
        let open = gate(None, None, Some("10.0.0.5"));
        assert_eq!(open.role(&headers(&[]), Some(&alice)).ok(), Some(Role::Operate(Proof::Certificate)));
        let both = gate(Some("secret"), Some("look"), Some("10.0.0.5"));
        assert_eq!(both.role(&headers(&[]), Some(&alice)).ok(), None);
        let look = headers(&[("authorization", "Bearer look")]);
        assert_eq!(both.role(&look, Some(&alice)).ok(), Some(Role::Read));
    }

    #[test]
    fn who_has_a_certificate_is_named_as_nobody_else_can_be() {
        let gate = gate(None, None, Some("10.0.0.5"));
        let alice = Subject("CN=alice".into());
        for (said, certificate, actor) in [
            (None, None, "admin"),
            (Some("CN=alice"), None, "admin:CN=alice"),
            (None, Some(&alice), "admin-cert:CN=alice"),
            (Some("ci"), Some(&alice), "admin-cert:CN=alice (ci)"),
        ] {
            let fields: Vec<_> = said.map(|name| (ACTOR, name)).into_iter().collect();
            assert_eq!(gate.actor(&headers(&fields), certificate).unwrap(), actor);
        }
    }

    #[test]
    fn where_only_a_read_token_is_set_nobody_operates() {
        let gate = gate(None, Some("look"), Some("127.0.0.1"));
        assert_eq!(gate.role(&headers(&[]), None).ok(), None);
        assert_eq!(gate.role(&headers(&[("authorization", "Bearer look")]), None).ok(), Some(Role::Read));
    }

    #[test]
    fn a_request_without_a_token_names_this_machine() {
        let gate = gate(None, None, Some("10.0.0.5"));
        let role = Role::Operate(Proof::None);
        for (host, fine) in [
            ("localhost:9080", true),
            ("LocalHost", true),
            ("proxy.localhost", true),
            ("127.0.0.1:9080", true),
            ("[::1]:9080", true),
            ("10.0.0.5", true),
            ("ops.example:9080", true),
            ("OPS.example", true),
            ("x.ops.example", false),
            ("10.0.0.6", false),
            ("localhost.evil.example", false),
            ("evil.example:9080", false),
            ("", false),
        ] {
            assert_eq!(gate.check_site(role, &ROOT, &headers(&[("host", host)])).is_ok(), fine, "{host:?}");
            let by_token = Role::Operate(Proof::Token);
            assert!(gate.check_site(by_token, &ROOT, &headers(&[("host", host)])).is_ok(), "{host:?} with a token");
        }
    }

    #[test]
    fn only_pages_of_the_api_itself_may_use_it() {
        let gate = gate(None, None, Some("127.0.0.1"));
        let role = Role::Operate(Proof::None);
        for (origin, fine) in [
            ("http://127.0.0.1:9080", true),
            ("http://127.0.0.1:9081", false),
            ("http://evil.example", false),
            ("null", false),
        ] {
            let headers = headers(&[("host", "127.0.0.1:9080"), ("origin", origin)]);
            assert_eq!(gate.check_site(role, &ROOT, &headers).is_ok(), fine, "{origin}");
        }
    }

    #[test]
    fn links_of_other_sites_lead_to_the_page_and_nowhere_else() {
        let gate = gate(None, None, Some("127.0.0.1"));
        let role = Role::Operate(Proof::None);
        for (path, mode, dest, fine) in [
            ("/", "navigate", "document", true),
            ("/?pool=rooms", "navigate", "document", true),
            ("/", "navigate", "iframe", false),
            ("/", "cors", "empty", false),
            ("/v1/status", "navigate", "document", false),
        ] {
            let uri = path.parse().unwrap();
            let fields = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            let headers = headers(&[&[("host", "127.0.0.1:9080")], &fields[..]].concat());
            assert_eq!(gate.check_site(role, &uri, &headers).is_ok(), fine, "{path} {mode} {dest}");
        }
    }

    #[test]
    fn an_actor_is_printable_and_short() {
        let gate = gate(None, None, None);
        let long = "x".repeat(ACTOR_CHARS_MAX + 1);
        assert_eq!(gate.actor(&headers(&[]), None).unwrap(), "admin-socket");
        assert_eq!(gate.actor(&headers(&[(ACTOR, "alice")]), None).unwrap(), "admin-socket:alice");
        assert!(gate.actor(&headers(&[(ACTOR, &long)]), None).is_err());
        assert!(gate.actor(&headers(&[(ACTOR, "")]), None).is_err());
    }
}
