//! `ringway serve`: runs the proxy until it is told to stop.

use crate::admin::audit;
use crate::app::App;
use crate::cli::failure::Failure;
use crate::cli::paint::ColorChoice;
use crate::cli::paint::Colours;
use crate::config::Config;
use crate::config::Flags;
use crate::metrics::panics;
use clap::Args;
use clap::ValueEnum;
use std::io;
use std::io::IsTerminal;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Run the proxy
///
/// From a config file, or from flags alone with one pool `default` that is kept in memory.
/// SIGTERM and SIGINT drain and stop it, SIGHUP reads the file again. Sockets that systemd passes are used where the
/// config asks for their addresses.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway serve -c /etc/ringway/ringway.toml
  ringway serve -c /etc/ringway/ringway.toml --take-over
  ringway serve --listen :8080 --key header:x-room a=10.0.0.10:3000 b=10.0.0.11:3000,weight=2")]
pub(super) struct ServeArgs {
    /// Config file
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["listen", "key", "admin_listen", "nodes"])]
    config: Option<PathBuf>,
    /// Where clients connect, such as :8080; may be given several times
    #[arg(long, value_name = "ADDRESS", required_unless_present = "config")]
    listen: Vec<String>,
    /// Where the key of a request comes from, such as header:x-room; of several the first one present decides
    #[arg(long, value_name = "SOURCE", required_unless_present = "config")]
    key: Vec<String>,
    /// Where the admin API listens: IP:PORT or unix:/PATH [default: 127.0.0.1:9080]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Nodes: NAME=ADDRESS[,weight=W][,zone=Z][,placement-id=I]
    #[arg(value_name = "NODE", required_unless_present = "config")]
    nodes: Vec<String>,
    /// Take over from the process that listens on the file's `take-over-socket`, without a lost request; where there is
    /// none, start as usual
    #[arg(long, requires = "config")]
    take_over: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,ringway::proxy=debug
    #[arg(long, env = "RINGWAY_LOG", value_name = "FILTER", default_value = "info")]
    log_level: String,
    /// How to log to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One line of JSON an event
    Json,
    /// For people
    Text,
}

/// Serves until a signal ends it. The control plane and the admin API run on this thread.
pub(super) fn run(args: ServeArgs, color: ColorChoice) -> Result<(), Failure> {
    let config = match &args.config {
        Some(file) => Config::load(file)?,
        None => from_flags(&args)?,
    };
    if args.take_over && config.handover.socket.is_none() {
        return Err(Failure::Usage("`--take-over` needs `take-over-socket` in the config file".to_owned()));
    }
    log_to_stderr(&args.log_level, args.log_format, color)?;
    panics::log_only();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let started = match args.take_over {
            true => App::take_over(config, args.config).await,
            false => App::start(config, args.config).await,
        };
        let app = started.map_err(|error| Failure::Failed(error.to_string()))?;
        let ended = app.run().await;
        ended.map_err(|error| Failure::Failed(format!("cannot receive signals: {error}")))
    })
}

fn from_flags(args: &ServeArgs) -> Result<Config, Failure> {
    let flags =
        Flags { listen: &args.listen, admin_listen: args.admin_listen.as_deref(), key: &args.key, nodes: &args.nodes };
    Config::from_flags(&flags).map_err(Failure::Usage)
}

fn log_to_stderr(filter: &str, format: LogFormat, color: ColorChoice) -> Result<(), Failure> {
    // Who changed what is told, unless it is asked for by its own name not to be.
    let parsed = format!("{}=info,{filter}", audit::TARGET).parse::<EnvFilter>();
    let filter = parsed.map_err(|error| Failure::Usage(format!("--log-level {filter}: {error}")))?;
    let colored = color.colours(io::stderr().is_terminal()) != Colours::None;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colored);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_target(false).init(),
    }
    Ok(())
}
