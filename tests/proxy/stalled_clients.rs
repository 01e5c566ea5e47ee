//! Clients that ask and then take nothing of the answer, or next to nothing.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::End;
use crate::harness::within;
use http_body_util::BodyExt;
use std::time::Duration;

/// More than all buffers between a node and a client that reads nothing.
const TOTAL: usize = 128 << 20;

/// What is short of a piece that a client has to take.
const SHORT: usize = 4 << 10;

const PAUSE: Duration = Duration::from_millis(5);

const IMPATIENT: &str = "write-timeout = \"1s\"";

/// A node that answers `/long` with more than is ever taken, and anything else briefly.
async fn talkative() -> Node {
    Node::script("a", |mut wire| async move {
        while let Some(head) = wire.try_head().await {
            let length = if head.target() == "/long" { TOTAL } else { SHORT };
            let piece = vec![b'x'; SHORT];
            wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            for _ in 0..length / SHORT {
                if wire.try_write(&piece).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_takes_a_byte_now_and_then_is_cut_like_one_that_takes_nothing() {
    let node = talkative().await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    let mut client = proxy.connect().await;
    client.shrink_buffers();
    client.write(get("/long", "")).await;
    client.head().await;
    let drip = async {
        while node.ended() == 0 {
            client.exactly(1).await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    within("the node is let go", drip).await;
    // What the system would still have for it is thrown away.
    assert_eq!(client.rest().await.1, End::Reset);
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"write-timeout\""], 1.0).await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
    proxy.metric_is("ringway_node_failures_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_reset_and_the_others_stay() {
    let node = talkative().await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    let mut client = proxy.connect_h2().await;
    let long = client.send(h2::get("http://a.test/long")).await.unwrap();
    eventually("the node is let go", || node.ended() == 1).await;
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"write-timeout\""], 1.0).await;
    assert_eq!(client.ask(h2::get("http://a.test/")).await.body.len(), SHORT);
    assert!(h2::read(long).await.is_err(), "a response that was cut must not look complete");
}

#[tokio::test]
async fn a_stream_whose_window_opens_byte_by_byte_is_reset_too() {
    let node = talkative().await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    let mut client = proxy.connect_h2_with_window(1).await;
    let mut body = client.send(h2::get("http://a.test/long")).await.unwrap().into_body();
    let mut taken = 0;
    let drip = async {
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.into_data().unwrap().len();
            tokio::time::sleep(PAUSE).await;
        }
    };
    within("the stream is reset", drip).await;
    assert!(taken > 1 && taken < TOTAL, "{taken} bytes were taken");
    eventually("the node is let go", || node.ended() == 1).await;
}

#[tokio::test]
async fn what_the_proxy_says_itself_is_not_kept_for_ever_either() {
    let node = talkative().await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    let mut client = proxy.connect_h2_with_window(0).await;
    // The node's answer, all of which has come, and one that never saw a node.
    let too_long = format!("/{}", "x".repeat(9 << 10));
    for (target, status) in [("/", 200), (too_long.as_str(), 414)] {
        let response = client.send(h2::get(&format!("http://a.test{target}"))).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(h2::read(response).await.is_err(), "{status}");
    }
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"write-timeout\""], 2.0).await;
}
