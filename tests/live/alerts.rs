//! The shipped alerts: Prometheus reads them, they fire when they should, and they speak of what there is.

use crate::harness::echo;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use std::process::Command;

const ALERTS: &str = include_str!("../../config/prometheus/alerts.yml");

const README: &str = include_str!("../../README.md");

#[test]
fn each_alert_fires_on_its_trouble_and_on_nothing_else() {
    for arguments in
        [["check", "rules", "config/prometheus/alerts.yml"], ["test", "rules", "tests/prometheus/alerts.yml"]]
    {
        let mut promtool = Command::new("promtool");
        let ran = promtool.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(ran.status.success(), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn alerts_look_at_metrics_that_there_are() {
    let story = Story::begin("alerts");
    let pool = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(1)));
    let proxy = Ringway::serve(&story, &story.write("ringway.toml", &ringway::config("", &story.path("store"), &pool)));
    assert_eq!(proxy.client().get("/?k=1", &[]).unwrap().status, 200);
    let scraped = proxy.operator().try_get("/metrics").unwrap().text();
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let names: Vec<&str> = ALERTS.split(|character| !is_name(character)).filter(|word| is_metric(word)).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(scraped.contains(&format!("# TYPE {name} ")), "there is no metric {name}");
    }
}

fn is_metric(word: &str) -> bool {
    word.starts_with("ringway_")
}

#[test]
fn each_alert_leads_to_what_to_do() {
    let headings: Vec<String> =
        README.lines().filter_map(|line| Some(line.strip_prefix("#### ")?.to_lowercase().replace(' ', "-"))).collect();
    let links: Vec<&str> = ALERTS.split("README.md#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links.len(), ALERTS.matches("- alert: ").count());
    for link in links {
        assert!(headings.iter().any(|heading| heading == link), "README.md has no heading for {link}: {headings:?}");
    }
}
