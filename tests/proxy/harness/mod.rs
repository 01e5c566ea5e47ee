//! What the stories are told with: a proxy, scripted nodes and clients that see every byte.

pub(crate) mod authority;
pub(crate) mod h2;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod site;
pub(crate) mod tls;
pub(crate) mod tls_client;
pub(crate) mod wire;

use std::future::Future;
use std::time::Duration;

/// No step of a story takes this long unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `step`, and fails the story by name when it does not come.
pub(crate) async fn within<T>(what: &str, step: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing happened for {PATIENCE:?}"),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(what, holds).await;
}
