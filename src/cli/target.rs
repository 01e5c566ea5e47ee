//! Whom a verb asks: a running proxy, or a config file with its store.

use crate::admin::model::PoolSummary;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::offline::Offline;
use crate::section::nearest;
use crate::tls::settings::Authority;
use crate::tls::settings::CertificateFiles;
use crate::tls::settings::NodeTlsSettings;
use clap::Args;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

/// A running proxy.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// Admin API of a running proxy: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    ///
    /// [default: $RINGWAY_ADMIN, else http://127.0.0.1:9080]
    #[arg(long, value_name = "URL", help_heading = "Whom to ask")]
    admin: Option<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
}

/// How an admin API knows who asks, and who asks knows the API.
#[derive(Debug, Args)]
pub(super) struct CredentialArgs {
    /// File with the bearer token of the admin API
    ///
    /// [default: $RINGWAY_TOKEN_FILE, else no token]
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask")]
    token_file: Option<PathBuf>,
    /// PEM file with the CA of an admin API at https://
    ///
    /// [default: $RINGWAY_CA, else the CAs of the system]
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask")]
    ca: Option<String>,
    /// PEM file with the certificate to show there
    ///
    /// [default: $RINGWAY_CERT, else none]
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask")]
    cert: Option<String>,
    /// PEM file with the key of the certificate
    ///
    /// [default: $RINGWAY_CERT_KEY]
    #[arg(long, value_name = "FILE", help_heading = "Whom to ask")]
    cert_key: Option<String>,
}

impl AdminArgs {
    /// A client for it; connects at the first request.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let admin = self.admin.clone().unwrap_or_else(usual_admin);
        let token_file = self.credentials.token_file();
        Client::new(&admin, token_file.as_deref(), &self.credentials.tls(&admin)?)
    }

    /// Whether a proxy was named on the command line.
    fn is_given(&self) -> bool {
        self.admin.is_some()
    }

    /// The flags as given, for a command that is suggested.
    pub(super) fn flags(&self) -> Vec<String> {
        let credentials = &self.credentials;
        let token_file = credentials.token_file.as_deref().map(|path| path.display().to_string());
        let flags = [
            ("--admin", self.admin.clone()),
            ("--token-file", token_file),
            ("--ca", credentials.ca.clone()),
            ("--cert", credentials.cert.clone()),
            ("--cert-key", credentials.cert_key.clone()),
        ];
        flags.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten().collect()
    }
}

impl CredentialArgs {
    /// The file with the token, if there is one.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.token_file.clone().or_else(|| set("RINGWAY_TOKEN_FILE").map(PathBuf::from))
    }

    /// Whom to trust at `admin`, and who to be there.
    pub(super) fn tls(&self, admin: &str) -> Result<NodeTlsSettings, Failure> {
        if !admin.starts_with("https://") && (self.ca.is_some() || self.cert.is_some() || self.cert_key.is_some()) {
            let message =
                format!("--ca, --cert and --cert-key are for https://HOST:PORT, and `{admin}` is no such address");
            return Err(Failure::Usage(message));
        }
        let ca = given(&self.ca, "RINGWAY_CA").map_or(Authority::System, Authority::File);
        let identity = match (given(&self.cert, "RINGWAY_CERT"), given(&self.cert_key, "RINGWAY_CERT_KEY")) {
            (Some(certificate), Some(key)) => Some(CertificateFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(Failure::Usage("a certificate has a key: give both --cert and --cert-key".to_owned())),
        };
        Ok(NodeTlsSettings { ca, name: None, identity })
    }
}

/// A flag, else the variable of this name.
fn given(flag: &Option<String>, variable: &str) -> Option<String> {
    flag.clone().or_else(|| set(variable).map(|value| value.to_string_lossy().into_owned()))
}

/// The address of the admin API where none is named.
pub(super) fn usual_admin() -> String {
    given(&None, "RINGWAY_ADMIN").unwrap_or_else(|| ADMIN_DEFAULT.to_owned())
}

/// What a variable is set to; one that is empty is not set.
fn set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// One pool of a running proxy.
#[derive(Debug, Args)]
pub(super) struct LivePoolArgs {
    #[command(flatten)]
    pub(super) admin: AdminArgs,
    #[command(flatten)]
    pub(super) pool: PoolArg,
}

impl LivePoolArgs {
    /// A client, and the pool.
    pub(super) fn open(&self) -> Result<(Client, PoolSummary), Failure> {
        let client = self.admin.client()?;
        let pool = self.pool.of(&client)?;
        Ok((client, pool))
    }

    /// The flags as given, for a command that is suggested.
    pub(super) fn flags(&self) -> Vec<String> {
        [self.admin.flags(), self.pool.flags()].concat()
    }
}

/// A running proxy, or a config file.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// Work offline from this config file and its store
    #[arg(short, long, value_name = "FILE", help_heading = "Whom to ask")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) live: LivePoolArgs,
}

impl TargetArgs {
    /// Reads the config file and its store, or makes a client.
    pub(super) fn open(&self) -> Result<Target, Failure> {
        match &self.config {
            Some(_) if self.live.admin.is_given() => {
                Err(Failure::Usage("-c works offline and --admin asks a running proxy; give one of them".to_owned()))
            }
            Some(file) => Offline::open(file).map(Box::new).map(Target::Offline),
            None => self.live.admin.client().map(Target::Live),
        }
    }

    /// The config file, when there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The pool asked for.
    pub(super) fn pool(&self) -> &PoolArg {
        &self.live.pool
    }
}

/// Whom a verb asks.
pub(super) enum Target {
    /// A running proxy.
    Live(Client),
    /// A config file and its store.
    Offline(Box<Offline>),
}

/// `--pool`
#[derive(Debug, Args)]
pub(super) struct PoolArg {
    /// The pool; may be left out when there is one only
    #[arg(long = "pool", value_name = "POOL", help_heading = "Whom to ask")]
    name: Option<String>,
}

impl PoolArg {
    /// As given by this name.
    pub(super) fn named(name: &str) -> PoolArg {
        PoolArg { name: Some(name.to_owned()) }
    }

    /// The pool of a running proxy that is meant.
    pub(super) fn of(&self, client: &Client) -> Result<PoolSummary, Failure> {
        let pools = client.pools()?;
        let name = self.choose(pools.iter().map(|pool| pool.pool.as_str()))?;
        let chosen = pools.into_iter().find(|pool| pool.pool == name);
        chosen.ok_or_else(|| Failure::Usage(format!("there is no pool `{name}`")))
    }

    /// The name of the pool that is meant, out of those there are.
    pub(super) fn choose<'a>(&self, known: impl Iterator<Item = &'a str>) -> Result<String, Failure> {
        let known: Vec<&str> = known.collect();
        let list = known.join(", ");
        match (self.name.as_deref(), known.as_slice()) {
            (None, [only]) => Ok((*only).to_owned()),
            (None, _) => Err(Failure::Usage(format!("there are several pools; name one with --pool: {list}"))),
            (Some(name), known) if known.contains(&name) => Ok(name.to_owned()),
            (Some(name), known) => Err(Failure::Usage(match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("there is no pool `{name}`; did you mean `{nearest}`?"),
                None => format!("there is no pool `{name}`; there are: {list}"),
            })),
        }
    }

    /// Whether a pool was named.
    pub(super) fn is_given(&self) -> bool {
        self.name.is_some()
    }

    /// The flag as given, for a command that is suggested.
    pub(super) fn flags(&self) -> Vec<String> {
        self.name.iter().flat_map(|name| ["--pool".to_owned(), name.clone()]).collect()
    }
}

const ADMIN_DEFAULT: &str = "http://127.0.0.1:9080";
