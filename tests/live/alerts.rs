//! The shipped alerts: Prometheus reads them, they fire when they should, and they speak of what there is, as the
//! dashboard does.

use crate::dashboard::DASHBOARD;
use crate::harness::echo;
use crate::harness::prometheus::promtool;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;

pub(crate) const ALERTS: &str = include_str!("../../config/prometheus/alerts.yml");

const README: &str = include_str!("../../README.md");

#[test]
fn each_alert_fires_on_its_trouble_and_on_nothing_else() {
    promtool(["check", "rules", "config/prometheus/alerts.yml"]);
    promtool(["test", "rules", "tests/prometheus/alerts.yml"]);
}

#[test]
fn alerts_and_the_dashboard_look_at_metrics_that_there_are() {
    let story = Story::begin("alerts");
    // A pool that bounds its load has every metric.
    let pool = format!("load-bound = {{ factor = 1.25 }}\ninitial-nodes = {}", echo::nodes_toml(&echo::start(1)));
    let proxy = Ringway::serve(&story, &story.write("ringway.toml", &ringway::config("", &story.path("store"), &pool)));
    assert_eq!(proxy.client().get("/?k=1", &[]).unwrap().status, 200);
    let scraped = proxy.operator().try_get("/metrics").unwrap().text();
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    for (text, least) in [(ALERTS, 10), (DASHBOARD, 50)] {
        let names: Vec<&str> = text.split(|character| !is_name(character)).filter(|word| is_metric(word)).collect();
        assert!(names.len() >= least, "{names:?}");
        for name in names {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(scraped.contains(&format!("# TYPE {name} ")), "there is no metric {name}");
        }
    }
}

fn is_metric(word: &str) -> bool {
    word.starts_with("ringway_") || word.starts_with("process_")
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
