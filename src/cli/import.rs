//! `ringway import`: the configuration of another proxy as one of Ringway's.

use crate::cli::failure::Failure;
use crate::cli::include;
use crate::cli::output::Output;
use crate::config::Config;
use crate::import::Imported;
use crate::import::LeftOut;
use crate::import::envoy;
use crate::import::haproxy;
use crate::import::nginx;
use clap::Args;
use clap::ValueEnum;
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

/// Write the configuration of another proxy as one of Ringway's
///
/// Every upstream that hashes becomes a pool which places keys exactly as the original does. What cannot be carried
/// over is listed on standard error, with its place and the reason, and in comments of the config.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway import nginx /etc/nginx/nginx.conf > ringway.toml
  nginx -T | ringway import nginx - > ringway.toml
  ringway import haproxy /etc/haproxy/haproxy.cfg > ringway.toml
  ringway import envoy config_dump.json > ringway.toml")]
pub(super) struct ImportArgs {
    /// Whose configuration it is
    program: Program,
    /// Configuration file; `-` reads standard input
    file: PathBuf,
    /// One JSON object: the config as text, and what was left out
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    Envoy,
    Haproxy,
    Nginx,
}

/// The result for programs.
#[derive(Serialize)]
struct Written<'a> {
    config: &'a str,
    left_out: Vec<Reported<'a>>,
}

#[derive(Serialize)]
struct Reported<'a> {
    place: String,
    what: &'a str,
    why: &'a str,
}

impl<'a> From<&'a LeftOut> for Reported<'a> {
    fn from(left_out: &'a LeftOut) -> Reported<'a> {
        Reported { place: left_out.place.to_string(), what: &left_out.what, why: &left_out.why }
    }
}

/// Prints the config.
pub(super) fn run(args: &ImportArgs, out: &mut Output) -> Result<(), Failure> {
    let file = args.file.display().to_string();
    let imported = read(args)?;
    if !args.json {
        imported.left_out().iter().for_each(|left_out| eprintln!("not carried over: {left_out}"));
    }
    if imported.pools().is_empty() {
        return Err(Failure::Failed(format!("{file} has nothing that hashes, so there is nothing to import")));
    }
    let program = args.program.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let config = imported.to_toml(&format!("Written by `ringway import {program} {file}`."));
    // A config that Ringway does not take would be worse than none.
    Config::parse("the written config", &config)?;
    match args.json {
        true => out.json(&Written { config: &config, left_out: imported.left_out().iter().map(Into::into).collect() }),
        false => out.text(&config),
    }
}

fn read(args: &ImportArgs) -> Result<Imported, Failure> {
    let text = read_text(&args.file)?;
    let imported =
        match args.program {
            Program::Envoy => envoy::read(&text),
            Program::Haproxy => haproxy::read(&text, &|name| std::env::var(name).ok()),
            Program::Nginx => nginx::read(&text, &|pattern| match args.file.parent() {
                Some(folder) if !is_standard_input(&args.file) => include::files(folder, pattern),
                _ => Err("standard input has no folder to include files from; use `nginx -T | ringway import nginx -`"
                    .into()),
            }),
        };
    imported.map_err(|unreadable| Failure::Config(format!("error: {}: {unreadable}", args.file.display())))
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read_text(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = match is_standard_input(file) {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(file).map(|read| bytes = read),
    };
    read.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::Config(format!("error: {}: line {line}: this is not UTF-8 text", file.display()))
    })
}
