//! What clients meet on a listener with TLS: the certificate of the name that they ask for, HTTP/2 or HTTP/1.1, and
//! whether they are to show one themselves.

use crate::tls::TlsError;
use crate::tls::files::Files;
use crate::tls::provider;
use crate::tls::settings::CertificateFiles;
use crate::tls::settings::ClientAuth;
use crate::tls::settings::ServerFiles;
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

/// What an ALPN of HTTP/2 is called (RFC 9113 section 3.1), and of HTTP/1.1 (RFC 7301 section 6).
pub const ALPN_HTTP2: &[u8] = b"h2";
/// See [`ALPN_HTTP2`].
pub const ALPN_HTTP1: &[u8] = b"http/1.1";
/// What clients of a listener choose from.
pub const ALPN_CLIENTS: [&[u8]; 2] = [ALPN_HTTP2, ALPN_HTTP1];

/// The certificates of a server, read and ready.
pub struct ServerTls {
    settings: ServerFiles,
    digest: u128,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Reads all files, for a server that speaks the `protocols` of these names in ALPN; `None` where there is no
    /// certificate. Where nothing has changed since `before`, which spoke the same, that goes on, so that clients can
    /// resume their sessions.
    ///
    /// # Errors
    /// For the first file that cannot be used.
    pub fn load(
        settings: &ServerFiles,
        protocols: &[&[u8]],
        before: Option<&Arc<ServerTls>>,
    ) -> Result<Option<Arc<ServerTls>>, TlsError> {
        let mut files = Files::default();
        let verifier = client_verifier(settings, &mut files)?;
        let Some(certificates) = Certificates::load(&settings.certificates, &mut files)? else { return Ok(None) };
        let digest = files.digest();
        if let Some(before) = before.filter(|before| before.settings == *settings && before.digest == digest) {
            return Ok(Some(Arc::clone(before)));
        }
        let first = &settings.certificates[0];
        let unusable = |error| wrong(first, format!("cannot be used: {error}"));
        let mut config = server_config(certificates, verifier).map_err(unusable)?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Some(Arc::new(ServerTls { settings: settings.clone(), digest, config: Arc::new(config) })))
    }

    /// Makes TLS of connections.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServerTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// TLS 1.2 and 1.3. Tickets, by keys that only this config has, spare clients that come again the greater part of a
/// handshake. Clients with certificates get none: a ticket would vouch for them for hours, whatever became of their
/// certificate or of the CA in the meantime.
fn server_config(
    certificates: Certificates,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let asks_clients = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if asks_clients {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Ticketer::new()?;
    }
    Ok(config)
}

fn client_verifier(settings: &ServerFiles, files: &mut Files) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(file) = &settings.client_ca else { return Ok(None) };
    let roots = files.roots(file)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match settings.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    let unusable =
        |error| TlsError { what: "the CA", file: file.clone(), why: format!("cannot be used for clients: {error}") };
    builder.build().map(Some).map_err(unusable)
}

/// The certificates by the names that they are for.
#[derive(Debug)]
struct Certificates {
    /// Names in lower case, such as `a.example.com` and `*.example.com`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name none of them.
    first: Arc<CertifiedKey>,
}

impl Certificates {
    fn load(all: &[CertificateFiles], files: &mut Files) -> Result<Option<Certificates>, TlsError> {
        let mut by_name = HashMap::new();
        let mut first = None;
        for certificate in all {
            let key = Arc::new(files.certified_key(certificate)?);
            let names = names(&key, certificate)?;
            if first.is_some() && names.is_empty() {
                let why = "names no host (subjectAltName), so that no client would get it".to_owned();
                return Err(wrong(certificate, why));
            }
            for name in names {
                by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            first.get_or_insert(key);
        }
        Ok(first.map(|first| Certificates { by_name, first }))
    }

    /// The certificate of a name, else of all names beside it, else the first.
    fn of(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let any = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(any).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.of(hello.server_name())))
    }
}

/// The names that a certificate is for (RFC 6125: those of its subjectAltName; nobody looks at the subject any more).
fn names(key: &CertifiedKey, files: &CertificateFiles) -> Result<Vec<String>, TlsError> {
    let invalid = |error: &dyn fmt::Display| wrong(files, format!("is invalid: {error}"));
    let der = key.end_entity_cert().map_err(|error| invalid(&error))?;
    let certificate = EndEntityCert::try_from(der).map_err(|error| invalid(&error))?;
    Ok(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn wrong(files: &CertificateFiles, why: String) -> TlsError {
    TlsError { what: "the certificate", file: files.certificate.clone(), why }
}
