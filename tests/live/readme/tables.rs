//! What has to be known of the commands beside what the pages say. An entry that no page needs any more is an error.

use crate::readme::document::Block;
use crate::readme::document::Command;
use crate::readme::document::Shown;
use crate::readme::expected::is_like;
use crate::readme::scenes;
use crate::readme::stage::Stage;

/// Commands that are not run, and why not.
pub(crate) const NOT_RUN: [(&str, &str); 4] = [
    ("./tests/run", "it is what runs this test"),
    ("cargo install --path . --locked", "it builds for minutes what is there already"),
    ("packaging/release", "it builds for minutes, and `packaging/check` takes what it leaves through a life"),
    (
        "systemctl start ringway@b && systemctl enable ringway@b && systemctl disable ringway@a",
        "it needs systemd as the first process of the machine; `service_manager.rs` plays its part",
    ),
];

/// How commands begin that run until they are stopped, and what they print when the next one may be typed.
pub(crate) const RUNS_ON: [(&str, &str); 4] = [
    ("cargo run --release -- demo", "try it"),
    ("ringway serve ", "serving the admin API"),
    ("ringway top", "node "),
    ("ringway events -f", "epoch 7"),
];

/// Lines that differ each time, with `*` for what does, and why. One that is shown stands for one or more that are
/// printed.
pub(crate) const VARIABLE: [(&str, &str); 12] = [
    (" * room-0 is hot: * % of the requests are for it", "keys are drawn at random"),
    ("       so its owner b serves * %, and owns 33.2 % of the keys", "keys are drawn at random"),
    (" * b dies with all its connections; room-0 is next at *", "it has its time"),
    (" * b is ill: *", "whichever request notices it first"),
    (" * b is back", "it has its time"),
    (" * b is used again: well after *; its keys are back", "so are times"),
    ("       meanwhile * requests went to the next candidate; 0 failed; the slowest took *", "so are times"),
    (" * plan add d=127.0.0.1:*", "its port is one that is free"),
    (" * applied, epoch 2: 2502 of 10000 keys moved (25.0 %); optimum 25.0 %", "it has its time"),
    (" * rolled back to epoch 1, as epoch 3: all 10000 keys are where they were", "it has its time"),
    ("* requests answered, 0 failed; the backends received *", "as many as could be sent"),
    ("* in flight, * at a; closed in *", "a line for each change, which a terminal writes over the one before"),
];

/// Exit codes other than 0.
const EXIT_CODES: [(&str, i32, &str); 1] = [(
    "ringway compat verify -c ringway.toml --log haproxy.log --key-column -2 --disagreements 2",
    1,
    "not all keys are placed alike, which is what it shows",
)];

/// Makes what a block needs.
type Prepare = fn(&mut Stage);

/// What a block presupposes, by its first command, and why that has to be made. Others begin in an empty directory.
pub(crate) const SCENES: [(&str, Prepare, &str); 9] = [
    ("ringway top", scenes::at_epoch_7, "the reader has a proxy that serves"),
    (
        "ringway plan add c=10.0.0.12:3000,weight=2,zone=b",
        scenes::at_epoch_7,
        "the reader has a pool that has been changed six times",
    ),
    ("ringway node drain a", scenes::busy_node, "the reader has three nodes, one of them with open requests"),
    (
        "nginx -T 2>/dev/null | ringway import nginx - > ringway.toml",
        scenes::nginx_to_leave,
        "the reader has an nginx with lines that are not carried over",
    ),
    (
        "ringway compat verify -c ringway.toml --log access.log --upstream-column -1",
        scenes::log_of_nginx,
        "the reader has the recipe above it, and a log of the nginx that it is about",
    ),
    ("ringway plan placement table", scenes::serving_as_nginx_did, "the reader serves by the recipe above it"),
    (
        "ringway serve -c /etc/ringway/ringway.toml --take-over",
        scenes::one_to_take_over_from,
        "the reader has a process that can be taken over from",
    ),
    (
        "export RINGWAY_ADMIN=https://proxy.internal:9443 RINGWAY_CA=ca.pem RINGWAY_CERT=me.pem \
         RINGWAY_CERT_KEY=me.key",
        scenes::operators_by_certificate,
        "the reader serves by the recipe above it, and has certificates",
    ),
    (
        "ringway compat verify -c ringway.toml --log haproxy.log --key-column -2 --disagreements 2",
        scenes::log_of_haproxy,
        "the reader has a log of HAProxy, and a first try at a config",
    ),
];

/// Whether it is not one of [`NOT_RUN`].
pub(crate) fn is_run(command: &Command) -> bool {
    NOT_RUN.iter().all(|(typed, _)| *typed != command.typed())
}

/// What a command prints when it is ready, if it is one that runs on.
pub(crate) fn ready(command: &Command) -> Option<&'static str> {
    RUNS_ON.iter().find(|(start, _)| command.text.starts_with(start)).map(|(_, ready)| *ready)
}

/// How a command should end.
pub(crate) fn exit_code(command: &Command) -> i32 {
    EXIT_CODES.iter().find(|(typed, ..)| *typed == command.typed()).map_or(0, |(_, code, _)| *code)
}

/// A line for each entry that no page needs any more.
pub(crate) fn stale(blocks: &[Block]) -> Vec<String> {
    let commands = || blocks.iter().flat_map(|block| &block.commands);
    let is_typed = |typed: &str| commands().any(|command| command.typed() == typed);
    let begins = |start: &str| commands().any(|command| command.text.starts_with(start));
    let is_first = |typed: &str| blocks.iter().any(|block| block.commands[0].typed() == typed);
    let shown = || commands().flat_map(|command| &command.output);
    let shown: Vec<&Shown> = shown().chain(blocks.iter().flat_map(|block| block.excerpts.iter().flatten())).collect();
    let is_shown = |pattern: &str| shown.iter().any(|line| is_like(pattern, &line.text));
    let unneeded = |table: &str, entry: &str| format!("{table}: no page needs {entry:?} any more; take it out");
    let mut stale = Vec::new();
    stale.extend(NOT_RUN.iter().filter(|(typed, _)| !is_typed(typed)).map(|(typed, _)| unneeded("NOT_RUN", typed)));
    stale.extend(RUNS_ON.iter().filter(|(start, _)| !begins(start)).map(|(start, _)| unneeded("RUNS_ON", start)));
    stale.extend(VARIABLE.iter().filter(|(like, _)| !is_shown(like)).map(|(like, _)| unneeded("VARIABLE", like)));
    let codes = EXIT_CODES.iter().filter(|(typed, ..)| !is_typed(typed));
    stale.extend(codes.map(|(typed, ..)| unneeded("EXIT_CODES", typed)));
    stale.extend(SCENES.iter().filter(|(typed, ..)| !is_first(typed)).map(|(typed, ..)| unneeded("SCENES", typed)));
    stale
}
