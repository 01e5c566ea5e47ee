//! Certificates and the files these come in, and both sides of TLS.

use crate::harness::within;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use crate::harness::authority::Ca;
pub(crate) use crate::harness::authority::Identity;

/// A folder of files; it goes with its value.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Files {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ringway-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Files(folder)
    }

    /// The path of a file as the config names it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file, or what is to be in it from now on.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a file");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).expect("a file");
    }

    /// Writes `NAME.pem` and `NAME.key`; returns them as the settings `certificate` and `key`.
    pub(crate) fn identity(&self, name: &str, identity: &Identity) -> String {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        self.write(&certificate, &identity.certificate);
        self.write(&key, &identity.key);
        format!("certificate = \"{}\"\nkey = \"{}\"", self.path(&certificate), self.path(&key))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A server that shows this certificate, and asks for one of `clients` if there are any.
pub(crate) fn server(identity: &Identity, clients: Option<&Ca>) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.certificate.der().clone()).expect("a CA");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a CA"))
        }
    };
    let (chain, key) = identity.parse();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("they belong together")))
}

/// Connects and asks for the certificate of `name`.
pub(crate) async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = within("connecting", TcpStream::connect(address)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    within("a handshake", TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
}
