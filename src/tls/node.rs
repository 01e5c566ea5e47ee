//! TLS with nodes: whose certificates they must show, for which name, and who this proxy is to them.

use crate::cluster::node::NodeAddress;
use crate::tls::TlsError;
use crate::tls::files::Files;
use crate::tls::provider;
use crate::tls::server::ALPN_HTTP1;
use crate::tls::settings::Authority;
use crate::tls::settings::NodeTlsSettings;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::Error;
use rustls::pki_types::ServerName;
use std::error;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How the nodes of a pool are spoken to, read and ready.
pub struct NodeTls {
    settings: NodeTlsSettings,
    /// The only protocol that is spoken (ALPN).
    protocol: &'static [u8],
    digest: u128,
    config: Arc<ClientConfig>,
}

/// Why there is no TLS with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTlsFailure {
    /// Its certificate is of no trusted CA, has expired or is not for its name.
    Certificate,
    /// It does not speak TLS, or none that is spoken here, or refuses this proxy.
    Handshake,
}

impl NodeTls {
    /// Reads all files, for nodes that speak the `protocol` of this name in ALPN. Where nothing has changed since
    /// `before`, that goes on, so that connections do.
    ///
    /// # Errors
    /// For the first file that cannot be used.
    pub fn load(
        settings: &NodeTlsSettings,
        protocol: &'static [u8],
        before: Option<&Arc<NodeTls>>,
    ) -> Result<Arc<NodeTls>, TlsError> {
        let mut files = Files::default();
        let roots = match &settings.ca {
            Authority::File(file) => files.roots(file)?,
            Authority::System => files.system_roots()?,
        };
        let identity = settings.identity.as_ref().map(|identity| Ok((identity, files.certified_key(identity)?)));
        let identity = identity.transpose()?;
        let digest = files.digest();
        let is_same =
            |before: &&Arc<NodeTls>| (&before.settings, before.protocol, before.digest) == (settings, protocol, digest);
        if let Some(before) = before.filter(is_same) {
            return Ok(Arc::clone(before));
        }
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has ciphers for both versions").with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((_, key)) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(NodeTls { settings: settings.clone(), protocol, digest, config: Arc::new(config) }))
    }

    /// Shakes hands with the node at `address`, which must prove to be `name` of the settings, or the host of the
    /// address. What a node says before that is no answer to anything.
    ///
    /// # Errors
    /// Whatever happens that is not a handshake as it should be.
    pub async fn connect<S>(&self, address: &NodeAddress, stream: S) -> Result<TlsStream<S>, NodeTlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.shake_hands(address, stream).await.map_err(|error| {
            tracing::debug!(%address, %error, "a TLS handshake with a node failed");
            NodeTlsFailure::of(&error)
        })
    }

    /// As [`NodeTls::connect`], with an error for people.
    ///
    /// # Errors
    /// Whatever happens that is not a handshake as it should be.
    pub async fn shake_hands<S>(&self, address: &NodeAddress, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let unnamed = || io::Error::other(Error::InvalidCertificate(CertificateError::NotValidForName));
        let name = self.name_of(address).ok_or_else(unnamed)?;
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?;
        // Servers of HTTP/1.1 may know nothing of ALPN; HTTP/2 has to be agreed on (RFC 9113 section 3.2).
        let agreed = stream.get_ref().1.alpn_protocol().unwrap_or(ALPN_HTTP1);
        if agreed == self.protocol { Ok(stream) } else { Err(io::Error::other(Error::NoApplicationProtocol)) }
    }

    fn name_of(&self, address: &NodeAddress) -> Option<ServerName<'static>> {
        match (&self.settings.name, address) {
            (Some(name), _) => ServerName::try_from(name.clone()).ok(),
            (None, NodeAddress::Ip(address)) => Some(ServerName::from(address.ip())),
            (None, NodeAddress::Host { name, .. }) => ServerName::try_from(name.clone()).ok(),
            // A path is no name that a certificate could be for.
            (None, NodeAddress::Unix(_)) => None,
        }
    }
}

impl NodeTlsFailure {
    fn of(error: &io::Error) -> NodeTlsFailure {
        match error.get_ref().and_then(<dyn error::Error + Send + Sync>::downcast_ref::<Error>) {
            Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => NodeTlsFailure::Certificate,
            _ => NodeTlsFailure::Handshake,
        }
    }
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NodeTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}
