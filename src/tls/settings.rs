//! `[tls]` of the config file, what clients are shown and what is asked of them; `tls` of `[admin]`, the same for
//! operators; and `tls` of a pool, the same for its nodes.

use crate::section::Mistake;
use crate::section::Printer;
use crate::section::Section;
use crate::section::Span;
use crate::section::parse_path;
use rustls::pki_types::ServerName;
use std::ops::RangeInclusive;
use std::time::Duration;

/// `[tls]`: for listeners with `tls = true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `handshake-timeout` 5s: from the connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// `max-handshakes` 1024: handshakes under way at once at each worker; one more ends the oldest.
    pub max_handshakes: usize,
    /// Each `[[tls.certificate]]`, `client-ca` and `client-auth`.
    pub server: ServerFiles,
}

impl TlsSettings {
    /// Reads `[tls]`, for a listener at the place `needed`, if there is one.
    pub fn read(section: &mut Section<'_>, needed: Option<Span>) -> TlsSettings {
        section.section("tls", |section| {
            let mut given = 0;
            let certificates = section.tables("certificate", |section| {
                given += 1;
                CertificateFiles::read(section)
            });
            if let Some(listener) = needed.filter(|_| given == 0) {
                section.report(Mistake::new(listener, WITHOUT_CERTIFICATE));
            }
            let client_auth = section.parse("client-auth", ClientAuth::parse);
            if client_auth.is_some() && !section.gives("client-ca") {
                let message = "`client-auth` has no meaning without `client-ca`; name the file of the CA, or remove it";
                section.report(Mistake::new(section.place_of_key("client-auth"), message));
            }
            TlsSettings {
                handshake_timeout: section.duration("handshake-timeout", Duration::from_secs(5), TIMEOUTS),
                max_handshakes: section.integer("max-handshakes", 1024, 1..=1_000_000),
                server: ServerFiles {
                    certificates,
                    client_ca: section.parse("client-ca", parse_path),
                    client_auth: client_auth.unwrap_or(ClientAuth::Required),
                },
            }
        })
    }

    /// Writes `[tls]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[tls]");
        printer.set_duration("handshake-timeout", self.handshake_timeout);
        printer.set_count("max-handshakes", self.max_handshakes);
        if let Some(client_ca) = &self.server.client_ca {
            printer.set("client-ca", client_ca.as_str());
            printer.set("client-auth", self.server.client_auth.name());
        }
        for files in &self.server.certificates {
            printer.table("[[tls.certificate]]");
            printer.set("certificate", files.certificate.as_str());
            printer.set("key", files.key.as_str());
        }
    }
}

/// What a server shows its clients, and what it asks of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The first one is for clients that name none of the names of the others.
    pub certificates: Vec<CertificateFiles>,
    /// `client-ca`: whose certificates clients may show. Without it they are asked for none.
    pub client_ca: Option<String>,
    /// `client-auth`: whether they must. Default required.
    pub client_auth: ClientAuth,
}

impl ServerFiles {
    /// Reads `tls` of `[admin]`: one `certificate` and its `key`, and a `client-ca` whose certificates all clients must
    /// show.
    pub fn read_one(section: &mut Section<'_>) -> Option<ServerFiles> {
        let certificate = CertificateFiles::read(section);
        let client_ca = section.parse("client-ca", parse_path);
        Some(ServerFiles { certificates: vec![certificate?], client_ca, client_auth: ClientAuth::Required })
    }

    /// As the settings of an inline table.
    pub fn print_one(&self) -> Vec<(&'static str, toml::Value)> {
        let certificates = self.certificates.iter().take(1).flat_map(CertificateFiles::print);
        certificates.chain(self.client_ca.as_deref().map(|ca| ("client-ca", ca.into()))).collect()
    }
}

/// Whether clients must show a certificate of `client-ca`. One that they show is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Those without one are served too.
    Optional,
    /// Those without one are turned away.
    Required,
}

impl ClientAuth {
    fn parse(word: &str) -> Result<ClientAuth, String> {
        match word {
            "optional" => Ok(ClientAuth::Optional),
            "required" => Ok(ClientAuth::Required),
            _ => Err(format!("unknown `client-auth` `{word}`; write \"required\" or \"optional\"")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            ClientAuth::Optional => "optional",
            ClientAuth::Required => "required",
        }
    }
}

/// Who one is to the other side: a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// `certificate`: a PEM file with the certificate and those of the CAs between it and the root.
    pub certificate: String,
    /// `key`: a PEM file with its private key.
    pub key: String,
}

impl CertificateFiles {
    /// Both, or neither.
    fn read_optional(section: &mut Section<'_>) -> Option<CertificateFiles> {
        match (section.value("certificate"), section.value("key")) {
            (None, None) => None,
            _ => CertificateFiles::read(section),
        }
    }

    fn read(section: &mut Section<'_>) -> Option<CertificateFiles> {
        let certificate = section.required("certificate", "certificate = \"/etc/ringway/site.pem\"");
        let key = section.required("key", "key = \"/etc/ringway/site.key\"");
        let (certificate, key) =
            (certificate.map(|file| file.parse(parse_path)), key.map(|file| file.parse(parse_path)));
        Some(CertificateFiles { certificate: certificate??, key: key?? })
    }

    fn print(&self) -> [(&'static str, toml::Value); 2] {
        [("certificate", self.certificate.as_str().into()), ("key", self.key.as_str().into())]
    }
}

/// `tls` of a pool: its nodes are spoken to in TLS, and must prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTlsSettings {
    /// `ca`: whose certificates they must show. Required.
    pub ca: Authority,
    /// `name`: the name that their certificates must be for. Default: the host of each node's address.
    pub name: Option<String>,
    /// `certificate` and `key`: what this proxy shows them, if they ask.
    pub identity: Option<CertificateFiles>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Those of the CAs in a PEM file.
    File(String),
    /// Those of the CAs that the system trusts.
    System,
}

impl NodeTlsSettings {
    /// Reads `tls` of a pool.
    pub fn read(section: &mut Section<'_>) -> Option<NodeTlsSettings> {
        let ca = section.required("ca", "ca = \"/etc/ringway/ca.pem\"").and_then(|ca| ca.parse(parse_path));
        let name = section.parse("name", parse_server_name);
        let identity = CertificateFiles::read_optional(section);
        let ca = if ca.as_deref() == Some("system") { Authority::System } else { Authority::File(ca?) };
        Some(NodeTlsSettings { ca, name, identity })
    }

    /// As the settings of an inline table.
    pub fn print(&self) -> Vec<(&'static str, toml::Value)> {
        let ca = match &self.ca {
            Authority::File(file) => file.as_str(),
            Authority::System => "system",
        };
        let mut settings: Vec<(&'static str, toml::Value)> = vec![("ca", ca.into())];
        settings.extend(self.name.as_deref().map(|name| ("name", name.into())));
        settings.extend(self.identity.iter().flat_map(CertificateFiles::print));
        settings
    }
}

fn parse_server_name(written: &str) -> Result<String, String> {
    match ServerName::try_from(written) {
        Ok(_) => Ok(written.to_owned()),
        Err(_) => {
            Err(format!("`{written}` is not a name that a certificate is for; write it such as \"app.internal\""))
        }
    }
}

const WITHOUT_CERTIFICATE: &str =
    "a listener has `tls = true`, and there is no certificate; add `[[tls.certificate]]` with `certificate` and `key`";

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
