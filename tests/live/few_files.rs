//! A proxy that may have few files open, and more clients than files.

use crate::harness::client::Client;
use crate::harness::echo;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use std::process::Command;

const FILES: usize = 256;

const CLIENTS: usize = 400;

#[test]
fn a_proxy_with_fewer_files_than_clients_serves_all_of_them_one_after_the_other() {
    let story = Story::begin("few-files");
    let pool = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(2)));
    let config = story.write("ringway.toml", &ringway::config("workers = 2", &story.path("store"), &pool));
    let shell = format!("ulimit -n {FILES} && exec \"$0\" serve -c \"$1\"");
    let proxy = Ringway::serve_by(&story, Command::new("sh").args(["-c", &shell]).arg(ringway::binary()).arg(&config));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::new(proxy.http);
        let answer = client.get(&format!("/?k={number}"), &[]).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        // It stays connected, for all that it knows.
        clients.push(client);
    }
    let mut operator = proxy.operator();
    let struck = operator.metric("ringway_limit_hits_total", "limit=\"files\"");
    assert!(struck > 0.0, "files were not short");
    let open = operator.metric("process_open_fds", "");
    let complaints = proxy.process.log().lines().filter(|line| line.contains("cannot accept")).count();
    story.figure(&format!("{CLIENTS} clients with {FILES} files: {open} open at last, {complaints} complaints"));
    assert!(open < FILES as f64 && complaints < 20, "{open} files open, {complaints} complaints");
    drop(clients);
    until_true("they are gone", || operator.metric("ringway_connections", "") < 0.5);
    assert_eq!(proxy.client().get("/?k=after", &[]).unwrap().status, 200);
}
