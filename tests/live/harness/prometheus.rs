//! The real Prometheus, scraping proxies every second or more often, and its promtool.

use crate::harness::client::Client;
use crate::harness::process::Process;
use crate::harness::story::Story;
use crate::harness::story::free_ports;
use crate::harness::wait::until;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// A running Prometheus.
pub(crate) struct Prometheus {
    client: Client,
    _process: Process,
}

/// One series of an answer.
#[derive(Debug)]
pub(crate) struct Series {
    /// Its labels, without those that every scraped series has.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its value of the moment.
    pub(crate) value: f64,
}

impl Prometheus {
    /// Starts it and waits until it has scraped `target` once.
    pub(crate) fn scrape(story: &Story, target: SocketAddr) -> Prometheus {
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs:\n- job_name: ringway\n  static_configs:\n  - targets: ['{target}']\n"
        );
        let mut prometheus = Prometheus::start(story, &story.write("prometheus.yml", &config));
        until("Prometheus has scraped the proxy", || prometheus.query("up == 1").pop());
        prometheus
    }

    /// Starts it with this config file.
    pub(crate) fn start(story: &Story, config: &Path) -> Prometheus {
        until("Prometheus has its port", || {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)[0]));
            let mut command = Command::new("prometheus");
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", story.path("prometheus").display()));
            command.arg(format!("--web.listen-address={address}"));
            let mut process = Process::start(&mut command, story.path("prometheus.log"));
            let mut client = Client::new(address);
            let is_up = until("Prometheus is ready or ends", || match process.ended() {
                Some(_) => Some(false),
                None => client.get("/-/ready", &[]).is_ok_and(|answer| answer.status == 200).then_some(true),
            });
            let log = process.log();
            assert!(is_up || log.contains("address already in use"), "Prometheus does not start:\n{log}");
            is_up.then_some(Prometheus { client, _process: process })
        })
    }

    /// The series that a PromQL expression has now.
    pub(crate) fn query(&mut self, expression: &str) -> Vec<Series> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.client.get(&format!("/api/v1/query?query={encoded}"), &[]).unwrap();
        assert_eq!(answer.status, 200, "{expression}: {}", answer.text());
        answer.value()["data"]["result"].as_array().unwrap().iter().map(series).collect()
    }
}

/// Runs promtool in the folder of the crate; it must find nothing wrong.
pub(crate) fn promtool<const N: usize>(arguments: [&str; N]) {
    let mut promtool = Command::new("promtool");
    let ran = promtool.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {ran:?}");
}

fn series(value: &Value) -> Series {
    let labels = value["metric"].as_object().unwrap().iter();
    let own = labels.filter(|(name, _)| !["__name__", "instance", "job"].contains(&name.as_str()));
    let labels = own.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    let value = value["value"][1].as_str().unwrap().parse().unwrap();
    Series { labels, value }
}
