//! `ringway export`: what other tools read.

use crate::admin;
use crate::cli::client::Endpoint;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::target;
use crate::cli::target::CredentialArgs;
use crate::tls::settings::Authority;
use clap::Args;
use clap::Subcommand;
use std::fmt::Display;

/// Print what other tools read
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway export prometheus http://10.0.0.5:9090 > /etc/prometheus/prometheus.yml
  ringway export alerts > /etc/prometheus/ringway.rules.yml
  ringway export grafana > /var/lib/grafana/dashboards/ringway.json
  ringway export openapi > ringway.json")]
pub(super) struct ExportArgs {
    #[command(subcommand)]
    what: Export,
}

#[derive(Debug, Subcommand)]
enum Export {
    /// The alert rules for Prometheus
    Alerts,
    /// The dashboard for Grafana
    Grafana,
    /// The OpenAPI document of the admin API
    Openapi,
    Prometheus(PrometheusArgs),
}

/// A configuration with which Prometheus scrapes proxies and raises the alerts
///
/// Files are named in it as they are given here, for Prometheus to read. Beside it belong the rules, as `ringway export
/// alerts > ringway.rules.yml` writes them.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway export prometheus http://10.0.0.5:9090 http://10.0.0.6:9090 > prometheus.yml
  ringway export prometheus --token-file read.token --ca ca.pem https://10.0.0.5:9443")]
struct PrometheusArgs {
    /// Where each proxy has its admin API, or its `[metrics] listen`: http://HOST:PORT or https://HOST:PORT
    ///
    /// [default: $RINGWAY_ADMIN, else http://127.0.0.1:9080]
    #[arg(value_name = "URL")]
    proxies: Vec<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
}

/// Prints the document.
pub(super) fn run(args: &ExportArgs, out: &mut Output) -> Result<(), Failure> {
    match &args.what {
        Export::Alerts => out.text(include_str!("../../config/prometheus/alerts.yml")),
        Export::Grafana => out.text(include_str!("../../config/grafana/ringway.json")),
        Export::Openapi => out.text(&(admin::openapi() + "\n")),
        Export::Prometheus(args) => out.text(&prometheus_config(args)?),
    }
}

fn prometheus_config(args: &PrometheusArgs) -> Result<String, Failure> {
    let proxies = match args.proxies.as_slice() {
        [] => vec![target::usual_admin()],
        given => given.to_vec(),
    };
    let endpoints = proxies.iter().map(|proxy| endpoint(proxy, &args.credentials));
    let endpoints = endpoints.collect::<Result<Vec<Endpoint>, Failure>>()?;
    let is_secured = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tls(_));
    let secured = endpoints.iter().any(is_secured);
    if secured && !endpoints.iter().all(is_secured) {
        // Else the token for all would go to some in the clear.
        let message = "a job of Prometheus speaks TLS to all of its proxies or to none; export those at https:// by \
                       themselves";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut config = PREAMBLE.to_owned();
    if secured {
        config += "    scheme: https\n";
        config += &tls_config(&args.credentials, &proxies[0])?;
    }
    if let Some(file) = args.credentials.token_file() {
        config += &format!("    authorization: {{ credentials_file: {} }}\n", quoted(file.display()));
    }
    config += "    static_configs:\n      - targets:\n";
    config.extend(endpoints.iter().map(|endpoint| format!("          - {}\n", quoted(endpoint.host()))));
    Ok(config)
}

/// The place of a proxy, if Prometheus can get there with these credentials.
fn endpoint(proxy: &str, credentials: &CredentialArgs) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::parse(proxy).map_err(Failure::Usage)?;
    if let Endpoint::Unix(_) = endpoint {
        let message = format!(
            "Prometheus does not scrape a Unix socket such as `{proxy}`; set `listen` in [metrics] and name that"
        );
        return Err(Failure::Usage(message));
    }
    credentials.tls(proxy)?;
    Ok(endpoint)
}

/// Whom Prometheus trusts, and who it is.
fn tls_config(credentials: &CredentialArgs, proxy: &str) -> Result<String, Failure> {
    let tls = credentials.tls(proxy)?;
    let ca = match tls.ca {
        Authority::File(file) => Some(("ca_file", file)),
        Authority::System => None,
    };
    let identity =
        tls.identity.into_iter().flat_map(|files| [("cert_file", files.certificate), ("key_file", files.key)]);
    let files: String =
        ca.into_iter().chain(identity).map(|(name, file)| format!("      {name}: {}\n", quoted(file))).collect();
    Ok(if files.is_empty() { files } else { format!("    tls_config:\n{files}") })
}

/// A text as YAML has it, which takes strings as JSON writes them.
fn quoted(text: impl Display) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

const PREAMBLE: &str = "\
# Prometheus scrapes Ringway and raises its alerts, as `ringway export prometheus` prints it. Beside it belongs
# what `ringway export alerts > ringway.rules.yml` writes. `promtool check config` reads both.
global:
  scrape_interval: 15s
  evaluation_interval: 15s

rule_files: [ringway.rules.yml]

scrape_configs:
  - job_name: ringway
";
