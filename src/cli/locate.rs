//! `ringway locate`: where keys live.

use crate::admin::model::LocateRequest;
use crate::admin::model::LocatedKeys;
use crate::admin::model::PoolSummary;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::target::Target;
use crate::cli::target::TargetArgs;
use crate::control::pool_at::Located;
use crate::control::pool_at::PoolAt;
use clap::Args;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;

/// Say which node keys live on
///
/// Each key with its owner and the nodes that are tried after it, in order.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway locate room-42 room-43               ask the running proxy
  ringway locate -c ringway.toml room-42       work it out offline
  ringway locate --epoch 5 room-42             where it lived at epoch 5
  cut -f1 access.tsv | ringway locate --json - one JSON object a line, in order")]
pub(super) struct LocateArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Answer for this epoch of the past
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Keys; - reads them from standard input, one a line
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
}

/// Answers for the keys in order, in batches: memory does not grow with their number.
pub(super) fn run(args: &LocateArgs, out: &mut Output) -> Result<(), Failure> {
    let asked = match args.target.open()? {
        Target::Live(client) => {
            let pool = args.target.pool().of(&client)?;
            Asked::Live { client, pool, epoch: args.epoch }
        }
        Target::Offline(offline) => {
            let pool = offline.pool(args.target.pool())?;
            Asked::Offline(offline.pool_at(pool, args.epoch)?)
        }
    };
    let mut answer = |mut keys: &[Vec<u8>]| {
        while !keys.is_empty() {
            let (now, later) = keys.split_at(asked.batch_keys(keys));
            for located in asked.locate(now)? {
                match args.json {
                    true => out.json(&located)?,
                    false => out.line(sentence(&located))?,
                }
            }
            keys = later;
        }
        out.flush()
    };
    let mut batch = Vec::new();
    for key in &args.keys {
        if key == "-" {
            answer(&std::mem::take(&mut batch))?;
            in_batches(BufReader::new(io::stdin().lock()), &mut answer)?;
        } else {
            batch.push(key.clone().into_bytes());
        }
    }
    answer(&batch)
}

/// Who answers.
enum Asked {
    Live { client: Client, pool: PoolSummary, epoch: Option<u64> },
    Offline(PoolAt),
}

impl Asked {
    fn locate(&self, keys: &[Vec<u8>]) -> Result<Vec<Located>, Failure> {
        match self {
            Asked::Live { client, pool, epoch } => {
                let request = LocateRequest { keys: texts(keys)?, epoch: *epoch };
                let answer: LocatedKeys = client.post(&format!("/v1/pools/{}/locate", pool.pool), &request)?;
                Ok(answer.located)
            }
            Asked::Offline(pool) => Ok(keys.iter().map(|key| pool.locate(key)).collect()),
        }
    }

    /// How many of these keys, at least one, to ask for at once: the API answers for a bounded number of keys times
    /// nodes, and takes a bounded body.
    fn batch_keys(&self, keys: &[Vec<u8>]) -> usize {
        let keys = &keys[..keys.len().min(BATCH_KEYS_MAX)];
        let Asked::Live { pool, .. } = self else { return keys.len() };
        let mut bytes = 0;
        let fits = |key: &&Vec<u8>| {
            bytes += key.len();
            bytes <= LIVE_BYTES_MAX
        };
        keys.iter().take(LIVE_CANDIDATES_MAX / pool.nodes.max(1)).take_while(fits).count().max(1)
    }
}

/// JSON carries text only, so the API cannot be asked for other bytes.
fn texts(keys: &[Vec<u8>]) -> Result<Vec<String>, Failure> {
    let texts = keys.iter().map(|key| String::from_utf8(key.clone()).map_err(|_| key));
    texts.collect::<Result<_, _>>().map_err(|key| {
        let key = key.escape_ascii();
        Failure::Usage(format!("the key {key} is not UTF-8, which the admin API needs; use -c FILE for such keys"))
    })
}

/// Reads keys, one a line, and hands them over as soon as a batch is full or no more can be read at once, so that a
/// pipe is answered while it is being written. Empty lines are no keys.
fn in_batches(
    mut input: BufReader<impl Read>,
    answer: &mut impl FnMut(&[Vec<u8>]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut batch = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = (&mut input).take(LINE_BYTES_READ).read_until(b'\n', &mut line);
        let bytes = read.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
        if bytes > KEY_BYTES_MAX {
            return Err(Failure::Usage(format!("a line of the input is longer than {KEY_BYTES_MAX} bytes")));
        }
        let key = line.strip_suffix(b"\n").unwrap_or(&line);
        let key = key.strip_suffix(b"\r").unwrap_or(key);
        if !key.is_empty() {
            batch.push(key.to_vec());
        }
        if batch.len() >= BATCH_KEYS_MAX || input.buffer().is_empty() {
            answer(&std::mem::take(&mut batch))?;
        }
        if bytes == 0 {
            return Ok(());
        }
    }
}

/// `room-42  ->  b   (then a)   epoch 7`
fn sentence(located: &Located) -> String {
    let key = &located.key;
    let epoch = located.epoch;
    let Some((owner, others)) = located.candidates.split_first() else {
        return format!("{key}  ->  no node   epoch {epoch}");
    };
    let shown = others[..others.len().min(OTHERS_SHOWN)].join(", ");
    match others.len() {
        0 => format!("{key}  ->  {owner}   epoch {epoch}"),
        number if number > OTHERS_SHOWN => {
            let hidden = number - OTHERS_SHOWN;
            format!("{key}  ->  {owner}   (then {shown} and {hidden} more)   epoch {epoch}")
        }
        _ => format!("{key}  ->  {owner}   (then {shown})   epoch {epoch}"),
    }
}

/// Keys that are answered together; a running proxy takes up to 10,000.
const BATCH_KEYS_MAX: usize = 1_000;

/// Keys times nodes that a running proxy is asked for at once; it refuses more than 1,000,000.
const LIVE_CANDIDATES_MAX: usize = 500_000;

/// Bytes of keys that a running proxy is asked for at once: it takes a body of 1 MiB, in which one byte may take six.
const LIVE_BYTES_MAX: usize = 128 * 1024;

/// Longest line of the input.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// One byte more than a line may have.
const LINE_BYTES_READ: u64 = 64 * 1024 + 1;

/// Nodes after the owner that are shown to people.
const OTHERS_SHOWN: usize = 3;
