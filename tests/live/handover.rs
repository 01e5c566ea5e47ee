//! One process takes over from another: nobody is refused, nothing is cut, and a write is made or refused, never lost.

use crate::harness::echo;
use crate::harness::load::KINDS;
use crate::harness::load::Load;
use crate::harness::ringway;
use crate::harness::ringway::Operator;
use crate::harness::ringway::POOL;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::PATIENCE;
use crate::harness::wait::until;
use crate::harness::wait::until_true;
use ::ringway::cluster::log::Action;
use ::ringway::cluster::log::Event;
use ::ringway::cluster::membership::Change;
use ::ringway::store::Store;
use ::ringway::store::settings::StoreKind;
use ::ringway::store::settings::StoreSettings;
use serde_json::Value;
use serde_json::json;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// A proxy that can be taken over from, before echoing nodes.
fn config(story: &Story, more: &str) -> PathBuf {
    let nodes = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(2)));
    let top = format!("take-over-socket = \"{}\"\ngrace = \"20s\"\n{more}", story.path("door").display());
    story.write("ringway.toml", &ringway::config(&top, &story.path("store"), &nodes))
}

fn weight(weight: u64) -> Value {
    json!([{"weight": {"name": "n0", "weight": weight}}])
}

#[test]
fn take_overs_under_mixed_load_lose_no_request_and_no_write() {
    let take_overs = if std::env::var_os("RINGWAY_FULL").is_some() { 100 } else { 10 };
    let story = Story::begin("take-overs");
    let config = config(&story, "");
    let mut serving = Ringway::serve(&story, &config);
    let (http, admin) = (serving.http, serving.admin);
    let load = Load::start(http);
    let writer = Writer::start(serving.operator());
    let (mut leaving, mut longest) = (Vec::new(), Duration::ZERO);
    for _ in 0..take_overs {
        let begun = Instant::now();
        let next = Ringway::take_over(&story, &config);
        longest = longest.max(begun.elapsed());
        assert_eq!((next.http, next.admin), (http, admin), "the sockets are the same ones");
        leaving.push(std::mem::replace(&mut serving, next));
        load.wait_for_more();
        leaving.retain_mut(|old| old.process.ended().is_none());
    }
    let report = load.stop();
    for old in &mut leaving {
        assert!(old.process.wait().0.success(), "a process that was taken over from ends well");
    }
    let (made, refused) = writer.stop(&mut serving.operator());
    story.figure(&format!(
        "{take_overs} take-overs: {} of {} requests lost ({KINDS:?}: {:?}); {made} writes made, {refused} refused; the \
         longest took {longest:?} from its start",
        report.lost.len(),
        report.total() + u64::try_from(report.lost.len()).unwrap(),
        report.answered,
    ));
    assert!(report.lost.is_empty(), "{} lost: {:#?}", report.lost.len(), &report.lost[..report.lost.len().min(10)]);
    assert!(report.answered.iter().all(|count| *count > 0) && made > take_overs, "{report:?}");
}

/// Makes one write after another, as an operator would who tries again after a refusal.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(Vec<(u64, String)>, usize)>,
}

impl Writer {
    fn start(mut operator: Operator) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut made, mut refused) = (Vec::new(), 0);
            while !stopping.load(Relaxed) {
                let reason = format!("write {}", made.len() + refused);
                // Another weight than the last write that was made, so that each one is an event.
                let change = weight(2 + u64::try_from(made.len() % 2).unwrap());
                let answer = operator.apply_because(&reason, &change).unwrap();
                match answer.status {
                    200 => made.push((answer.value()["epoch"].as_u64().unwrap(), reason)),
                    503 => {
                        assert!(answer.text().contains("urn:ringway:problem:handed-over"), "{}", answer.text());
                        refused += 1;
                    }
                    other => panic!("{other}: {}", answer.text()),
                }
                // As somebody does who does not want the whole machine for it.
                thread::sleep(Duration::from_millis(2));
            }
            (made, refused)
        });
        Writer { stop, thread }
    }

    /// Compares what was answered with the history, which begins with the founding of the pool; returns how many writes
    /// were made, and how many refused.
    fn stop(self, operator: &mut Operator) -> (usize, usize) {
        self.stop.store(true, Relaxed);
        let (made, refused) = self.thread.join().unwrap();
        let event = |event: &Value| (event["epoch"].as_u64().unwrap(), event["reason"].as_str().unwrap().to_owned());
        let (mut stored, mut after) = (Vec::new(), 1);
        loop {
            let page = operator.get(&format!("/v1/pools/{POOL}/events?after={after}"));
            stored.extend(page["events"].as_array().unwrap().iter().map(event));
            match stored.last() {
                Some((epoch, _)) if *epoch > after => after = *epoch,
                _ => break,
            }
        }
        assert!(stored == made, "{:?} is not {:?}", stored.last(), made.last());
        (made.len(), refused)
    }
}

#[test]
fn a_process_that_dies_before_it_acknowledges_changes_nothing() {
    let story = Story::begin("take-over-dies");
    let config = config(&story, "");
    let proxy = Ringway::serve(&story, &config);
    let mut operator = proxy.operator();
    assert_eq!(operator.must_apply(&weight(2)), 2);

    let successor = Impostor::knock(&story, 1);
    assert!(successor.heard.contains("\"offer\""), "{}", successor.heard);
    let refused = operator.apply(&weight(3)).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("urn:ringway:problem:handed-over"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(proxy.client().get("/?k=1", &[("x-id", "1")]).unwrap().text(), "1 0", "requests are served meanwhile");
    drop(successor);
    until_true("writes are taken again", || operator.apply(&weight(4)).unwrap().status == 200);
    assert_eq!(operator.pool()["epoch"], 3, "what was refused is not in the history");

    let next = Ringway::take_over(&story, &config);
    assert_eq!(next.operator().must_apply(&weight(5)), 4, "and it can be taken over from");
}

#[test]
fn what_a_process_wrote_before_it_died_is_served_and_told() {
    let story = Story::begin("take-over-wrote");
    let config = config(&story, "");
    let proxy = Ringway::serve(&story, &config);
    let mut news = BufReader::new(std::net::TcpStream::connect(proxy.admin).unwrap());
    news.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    news.get_mut().write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = |beginning: &str| {
        let mut lines = (&mut news).lines().map(Result::unwrap);
        lines.find(|line| line.starts_with(beginning)).unwrap()
    };
    heard(": what happens from now on");

    let successor = Impostor::knock(&story, 1);
    write_to_store(&story);
    drop(successor);
    let told = heard("data: ");
    assert!(told.contains("\"epoch\":2") && told.contains("before it died"), "{told}");
    let served = proxy.operator().pool();
    assert_eq!((&served["epoch"], &served["nodes"][0]["weight"]), (&json!(2), &json!(3)), "{served}");
}

/// Writes epoch 2 as a process would that took over.
fn write_to_store(story: &Story) {
    let settings = StoreSettings { kind: StoreKind::File, path: story.path("store"), keep_events: 1_000 };
    let (mut store, _) = Store::open(&settings).unwrap();
    let changes = vec![Change::Weight { name: "n0".to_owned().try_into().unwrap(), weight: 3 }];
    let event = Event {
        pool: POOL.to_owned(),
        epoch: 2,
        at_ms: 0,
        actor: "config".to_owned(),
        reason: Some("before it died".to_owned()),
        action: Action::Changes(changes),
    };
    store.append(&[event]).unwrap();
}

#[test]
fn a_store_that_the_other_process_still_holds_is_had_back_with_a_later_write() {
    let story = Story::begin("take-over-holds");
    let config = config(&story, "");
    let mut proxy = Ringway::serve(&story, &config);
    let mut operator = proxy.operator();
    let successor = Impostor::knock(&story, 1);
    let lock = File::open(story.path("store").join("lock")).unwrap();
    lock.lock().unwrap();
    drop(successor);
    proxy.process.wait_for_log("the store cannot be had back yet");
    let refused = operator.apply(&weight(2)).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("holds this store"), "{}", refused.text());
    drop(lock);
    assert_eq!(operator.must_apply(&weight(2)), 2);
}

#[test]
fn a_process_that_cannot_serve_leaves_the_running_one_alone() {
    let story = Story::begin("take-over-fails");
    let path = config(&story, "");
    let proxy = Ringway::serve(&story, &path);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen("\"127.0.0.1:0\"", &format!("[\"127.0.0.1:0\", \"{}\"]", taken.local_addr().unwrap()), 1);
    let wrong = story.write("wrong.toml", &text);
    let mut command = std::process::Command::new(ringway::binary());
    let mut failing = Ringway::spawn_with(&story, &wrong, &["--take-over"], &mut command);
    assert_eq!(failing.wait().0.code(), Some(1));
    // musl says "Address in use".
    assert!(failing.log().contains(" in use"), "{}", failing.log());
    let mut operator = proxy.operator();
    until_true("writes are taken", || operator.apply(&weight(2)).unwrap().status == 200);
    assert_eq!(proxy.client().get("/?k=1", &[("x-id", "1")]).unwrap().text(), "1 0");
}

#[test]
fn a_second_process_that_was_not_told_to_take_over_says_how_to() {
    let story = Story::begin("take-over-not-asked");
    let config = config(&story, "");
    let proxy = Ringway::serve(&story, &config);
    let mut second = Ringway::spawn(&story, &config);
    assert_eq!(second.wait().0.code(), Some(1));
    assert!(second.log().contains("--take-over"), "{}", second.log());
    assert_eq!(proxy.operator().must_apply(&weight(2)), 2);
    assert!(story.path("door").exists(), "the door stays where it is");
}

#[test]
fn another_version_is_refused_and_told_why() {
    let story = Story::begin("take-over-version");
    let config = config(&story, "");
    let proxy = Ringway::serve(&story, &config);
    let mode = std::fs::metadata(story.path("door")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its user may take over");
    let newer = Impostor::knock(&story, 2);
    assert!(newer.heard.contains("\"refused\"") && newer.heard.contains("version 2"), "{}", newer.heard);
    assert_eq!(proxy.operator().must_apply(&weight(2)), 2);
}

/// Somebody who asks to take over, and then does nothing.
struct Impostor {
    /// The answer.
    heard: String,
    _stream: BufReader<UnixStream>,
}

impl Impostor {
    fn knock(story: &Story, version: u32) -> Impostor {
        let mut stream = UnixStream::connect(story.path("door")).unwrap();
        stream
            .write_all(format!("{{\"hello\":{{\"version\":{version},\"release\":\"9.9.9\"}}}}\n").as_bytes())
            .unwrap();
        let mut stream = BufReader::new(stream);
        let mut heard = String::new();
        stream.read_line(&mut heard).unwrap();
        Impostor { heard, _stream: stream }
    }
}

#[test]
fn the_history_of_a_store_in_memory_comes_along() {
    let story = Story::begin("take-over-memory");
    let path = config(&story, "");
    let text = std::fs::read_to_string(&path).unwrap().replace("[store]\n", "[store]\nkind = \"memory\"\n");
    std::fs::write(&path, text).unwrap();
    let old = Ringway::serve(&story, &path);
    assert_eq!(old.operator().must_apply(&weight(7)), 2);
    let new = Ringway::take_over(&story, &path);
    let mut operator = new.operator();
    assert_eq!(operator.must_apply(&weight(8)), 3);
    let history = operator.get(&format!("/v1/pools/{POOL}/events"));
    let epochs: Vec<_> = history["events"].as_array().unwrap().iter().map(|event| event["epoch"].clone()).collect();
    assert_eq!(epochs, [1, 2, 3], "{history}");
}

#[test]
fn the_old_process_keeps_up_with_what_the_new_one_writes_and_finishes_what_it_has() {
    let story = Story::begin("take-over-follow");
    let config = config(&story, "");
    let mut old = Ringway::serve(&story, &config);
    // Connections that reach the old process: each is closed with its next answer.
    let mut kept: Vec<Operator> = (0..40).map(|_| old.operator()).collect();
    kept.iter_mut().for_each(|operator| assert_eq!(operator.pool()["epoch"], 1));
    let mut writer = kept.pop().unwrap();
    let mut upload = Upload::begin(old.http);

    let new = Ringway::take_over(&story, &config);
    assert_eq!(new.operator().must_apply(&weight(2)), 2);
    let refused = writer.apply(&weight(3)).unwrap();
    assert_eq!((refused.status, refused.header("connection")), (503, "close"), "{}", refused.text());
    until("the old process knows of epoch 2", || {
        let answer =
            kept.pop().expect("a connection to the old process").try_get(&format!("/v1/pools/{POOL}")).unwrap();
        thread::sleep(Duration::from_millis(500));
        (answer.value()["epoch"] == 2).then_some(())
    });
    assert!(old.process.ended().is_none(), "it ended before the upload did");
    assert!(upload.finish().contains("HTTP/1.1 200"));
    assert!(old.process.wait().0.success());
    assert_eq!(new.operator().pool()["epoch"], 2);
}

/// A request whose body is under way.
struct Upload(std::net::TcpStream);

impl Upload {
    fn begin(to: SocketAddr) -> Upload {
        let mut stream = std::net::TcpStream::connect(to).unwrap();
        stream.write_all(b"POST /?k=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nhal").unwrap();
        Upload(stream)
    }

    fn finish(&mut self) -> String {
        self.0.write_all(b"ves").unwrap();
        std::io::read_to_string(&mut self.0).unwrap()
    }
}
