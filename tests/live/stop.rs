//! The end of a proxy: clients are told to leave, what is open is finished, and a second signal means now.

use crate::harness::nginx::Nginx;
use crate::harness::open_request::OpenRequest;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use crate::harness::wrk::Wrk;
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn either_signal_drains_under_load_without_a_failed_request() {
    for signal in ["TERM", "INT"] {
        let story = Story::begin("stop");
        let nginx = Nginx::start(&story, &["a", "b"]);
        let top = "drain-delay = \"10s\"\ngrace = \"30s\"";
        let pool = format!("initial-nodes = {}", nginx.nodes_toml());
        let config = story.write("ringway.toml", &ringway::config(top, &story.path("store"), &pool));
        let mut proxy = Ringway::serve(&story, &config);
        let mut operator = proxy.operator();
        let wrk = Wrk::start(&story, proxy.http, 64);
        until_true("wrk is busy", || operator.metric("ringway_requests_total", "2xx") > 5_000.0);
        assert_eq!(operator.try_get("/readyz").unwrap().status, 200);

        proxy.process.signal(signal);
        until_true("readyz says so", || operator.try_get("/readyz").unwrap().status == 503);
        assert_eq!(operator.try_get("/healthz").unwrap().status, 200, "draining is not ill");
        let answer = proxy.client().get("/?k=1", &[]).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, "close"), "{answer:?}");
        let before = operator.metric("ringway_requests_total", "2xx");
        until_true("traffic goes on", || operator.metric("ringway_requests_total", "2xx") > before + 1_000.0);
        let load = wrk.stop();
        assert_eq!(load.failed(), 0, "SIG{signal}: {load:?}");
        let (status, took) = proxy.process.wait();
        assert!(status.success(), "SIG{signal}: {status}");
        assert!(
            took < Duration::from_secs(25),
            "SIG{signal}: nothing was open, and it took all of its grace, {took:?}"
        );
        story.figure(&format!("SIG{signal}: {} requests, 0 failed", load.requests));
    }
}

#[test]
fn a_request_that_is_open_when_the_signal_comes_is_finished() {
    let story = Story::begin("open-request");
    let mut open = OpenRequest::start(&story, "grace = \"1m\"");
    open.proxy.process.signal("TERM");
    let http = open.proxy.http;
    until_true("it accepts no more", || TcpStream::connect(http).is_err());
    assert!(open.proxy.process.ended().is_none(), "it ended before the open request did");
    let (mut proxy, answer) = open.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    let (status, took) = proxy.process.wait();
    assert!(status.success() && took < Duration::from_secs(30), "{status} after {took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signals in [["TERM", "TERM"], ["TERM", "INT"], ["INT", "INT"]] {
        let story = Story::begin("second-signal");
        let mut open = OpenRequest::start(&story, "grace = \"1h\"");
        open.proxy.process.signal(signals[0]);
        let http = open.proxy.http;
        until_true("it accepts no more", || TcpStream::connect(http).is_err());
        open.proxy.process.signal(signals[1]);
        let (status, took) = open.proxy.process.wait();
        assert!(status.success() && took < Duration::from_secs(30), "{signals:?}: {status} after {took:?}");
        assert!(open.client.join().unwrap().is_err(), "{signals:?}: the open request must be cut, visibly");
    }
}
