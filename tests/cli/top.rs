//! `ringway top` in a terminal and in a pipe, and what else a terminal gets to see.

use crate::CONFIG;
use crate::live::Proxy;
use crate::program;
use crate::terminal::Terminal;
use serde_json::Value;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;

/// A terminal as they were.
const USUAL: (u16, u16) = (80, 24);

/// A node that answers everything, as long as the test runs.
fn node() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 4096];
            if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
            }
        }
    });
    address
}

fn get(http: &str) {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-room: 1\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
}

fn top(proxy: &Proxy, flags: &[&str], size: (u16, u16)) -> Terminal {
    Terminal::run(&[&["top", "--admin", &proxy.admin][..], flags].concat(), size, &[])
}

#[test]
fn top_draws_the_nodes_and_draws_them_anew_when_something_changes() {
    let address = node();
    let nodes = [format!("a={address}"), "b=127.0.0.1:2,zone=z".to_owned()];
    let proxy = Proxy::with_nodes(&nodes.each_ref().map(String::as_str));
    let mut terminal = top(&proxy, &[], (160, 24));
    let text = terminal.until_it_shows("q leave");
    for part in ["running for", "pool default   epoch 1", "fingerprint ", "2 of 2 nodes up", "0 req/s", "no key -"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    terminal.until("shows traffic", |text| {
        get(&proxy.http);
        let row = text.lines().find(|line| line.starts_with("a  ")).unwrap_or_default();
        row.contains("100.0 %")
    });
    proxy.run(&["node", "drain", "--no-wait", "b"]).ok();
    let text = terminal.until_it_shows("draining");
    assert!(text.contains("epoch 2") && text.contains("1 of 1 node up"), "{text}");
    terminal.press("q");
    let ended = terminal.end();
    assert!(ended.is_restored && ended.code == "0", "{ended:?}");
    proxy.stop();
}

#[test]
fn top_says_which_node_is_ill_and_why() {
    let directory = program::Directory::new("top-ill");
    let text = "listen = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n[store]\nkind = 'memory'\n[[pool]]\n\
                name = 'rooms'\nkey = 'header:x-room'\nhealth = { path = '/', every = '1s' }\n\
                nodes = [{ name = 'a', address = '127.0.0.1:1' }, { name = 'b', address = '127.0.0.1:2' }]\n";
    let proxy = Proxy::start(&["-c", &directory.file("ringway.toml", text)]);
    for (size, why) in [(120, "refused"), (60, "a is down for")] {
        let mut terminal = top(&proxy, &["rooms", "--sort", "health"], (size, 24));
        let text = terminal.until("both are ill", |text| text.contains("0 of 2 nodes up") && text.contains(why));
        assert!(text.contains("  down "), "{size}:\n{text}");
    }
    proxy.stop();
}

#[test]
fn a_narrow_terminal_has_fewer_columns_and_no_line_that_wraps() {
    let proxy = Proxy::with_nodes(&["a-node-with-a-long-name=127.0.0.1:1", "b=127.0.0.1:2"]);
    let mut terminal = top(&proxy, &[], (160, 24));
    let wide = terminal.until_it_shows("q leave");
    assert!(wide.contains("changed") && wide.contains("a-node-with-a-long-name"), "{wide}");
    for (columns, there, gone) in [(80, "errors", "changed"), (50, "owns", "in flight"), (30, "req/s", "owns")] {
        terminal.resize((columns, 24));
        let text = terminal.until("drawn anew", |text| text.contains("q leave") && text.contains("node "));
        assert!(text.contains(there) && !text.contains(gone), "{columns}:\n{text}");
        let rows = text.lines().filter(|line| line.starts_with("a-node") || line.starts_with("b ")).count();
        assert_eq!(rows, 2, "{columns}:\n{text}");
    }
    terminal.press("q");
    assert!(terminal.end().is_restored);
    proxy.stop();
}

/// Also when the way out is a signal; Ctrl-C is one, and as good a way to leave as q.
#[test]
fn the_terminal_is_as_it_was_however_top_ends() {
    let proxy = Proxy::with_three_nodes();
    type Way = fn(&mut Terminal);
    let ways: [(&str, Way); 4] = [
        ("q", |terminal| terminal.press("q")),
        ("Ctrl-C", |terminal| terminal.press("\x03")),
        ("Ctrl-\\", |terminal| terminal.press("\x1c")),
        ("SIGTERM", |terminal| terminal.signal("TERM")),
    ];
    for (way, leave) in ways {
        let mut terminal = top(&proxy, &[], USUAL);
        terminal.until_it_shows("q leave");
        leave(&mut terminal);
        let ended = terminal.end();
        assert_eq!((ended.code.as_str(), ended.is_restored), ("0", true), "{way}: {ended:?}");
        assert!(!ended.screen.contains("pool default"), "{way}: {ended:?}");
        let after = ended.output.rsplit("\x1b[?7h\x1b[?25h\x1b[?1049l").next().unwrap();
        assert!(!after.contains('\x1b'), "{way}: {after:?}");
    }
    proxy.stop();
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_for_a_while() {
    let proxy = Proxy::with_three_nodes();
    let mut terminal = top(&proxy, &[], USUAL);
    terminal.until_it_shows("q leave");
    terminal.press("\x1a");
    terminal.until("leaves the screen", |text| text.is_empty() || !text.contains("q leave"));
    assert_eq!(terminal.screens(), (1, 1));
    // It gives the screen back before it stops; whatever comes first, it goes on.
    let text = loop {
        terminal.signal("CONT");
        if let Some(text) = terminal.soon(|text| text.contains("q leave")) {
            break text;
        }
    };
    assert!(text.contains("pool default"), "{text}");
    terminal.press("q");
    assert!(terminal.end().is_restored);
    proxy.stop();
}

#[test]
fn top_says_that_the_proxy_is_gone_and_goes_on_when_it_is_back() {
    let directory = program::Directory::new("top-restart");
    let admin = format!("unix:{}", directory.path("admin.sock"));
    let start =
        || Proxy::start(&["--listen", "127.0.0.1:0", "--admin-listen", &admin, "--key", "path", "a=127.0.0.1:1"]);
    let proxy = start();
    let mut terminal = top(&proxy, &[], (200, 24));
    terminal.until_it_shows("q leave");
    proxy.stop();
    let text = terminal.until_it_shows("as it was, trying again: ");
    assert!(text.contains("pool default"), "{text}");
    let proxy = start();
    terminal.until("hears it again", |text| text.contains("q leave") && !text.contains("as it was"));
    terminal.press("q");
    assert_eq!(terminal.end().code, "0");
    proxy.stop();
}

#[test]
fn a_long_table_is_moved_in() {
    let nodes: Vec<String> = (0..40).map(|number| format!("node-{number:02}=127.0.0.1:{}", 100 + number)).collect();
    let proxy = Proxy::with_nodes(&nodes.iter().map(String::as_str).collect::<Vec<&str>>());
    let mut terminal = top(&proxy, &[], USUAL);
    let text = terminal.until_it_shows("of 40");
    assert!(text.contains("node-00") && !text.contains("node-39"), "{text}");
    terminal.press("G");
    let text = terminal.until_it_shows("node-39");
    assert!(!text.contains("node-00") && text.contains("health"), "the header stays:\n{text}");
    terminal.press("gs");
    terminal.until("sorts by name", |text| text.contains("sort: name") && text.contains("node-00"));
    terminal.press("q");
    terminal.end();
    proxy.stop();
}

#[test]
fn in_a_pipe_top_prints_tables_or_json_and_nothing_for_terminals() {
    let proxy = Proxy::with_three_nodes();
    let tables = proxy.run(&["top", "-n", "2", "default"]).ok();
    assert_eq!(tables.matches("pool default   epoch 1").count(), 2, "{tables}");
    for part in ["127.0.0.1:3", "serves", "p50", "errors", "changed", "3 of 3 nodes up"] {
        assert!(tables.contains(part), "{part}: {tables}");
    }
    assert!(!tables.contains('\x1b') && !tables.contains("leave"), "{tables:?}");
    let json = proxy.run(&["top", "-n", "2", "--json"]).ok();
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["pools"][0]["nodes"][2]["zone"]), (2, &"z".into()), "{json}");
    let unknown = proxy.run(&["top", "defualt"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("did you mean `default`?"), "{unknown:?}");
    assert_eq!(proxy.run(&["top", "--interval", "10ms"]).code, Some(2));
    proxy.stop();
}

/// Ctrl-C in a pipe is what it is for every program there: the end by that signal.
#[test]
fn top_in_a_pipe_ends_with_the_signal() {
    use std::os::unix::process::ExitStatusExt;
    let proxy = Proxy::with_three_nodes();
    let top = program::command(["top", "--admin", &proxy.admin]);
    // Who runs tests in the background may have them ignore Ctrl-C.
    let mut command = std::process::Command::new("env");
    command.arg("--default-signal=INT").arg(top.get_program()).args(top.get_args());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("pool default")));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    proxy.stop();
}

#[test]
fn top_fails_at_once_where_there_is_no_proxy_or_one_that_cannot_tell() {
    let nobody = program::ringway(["top"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.stderr.contains("no proxy answers at unix:"), "{nobody:?}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        assert!(head.any(|line| line.unwrap().is_empty()));
        let problem = r#"{"type":"urn:ringway:problem:bad-request","title":"T","status":400,"detail":"unknown field"}"#;
        let length = problem.len();
        write!(stream, "HTTP/1.1 400 Bad Request\r\ncontent-length: {length}\r\n\r\n{problem}").unwrap();
    });
    let older = program::ringway(["top", "--admin", &admin]);
    answering.join().unwrap();
    assert_eq!(older.code, Some(1), "{older:?}");
    assert!(older.stderr.contains("older than this") && older.stderr.contains("`ringway status`"), "{older:?}");
}

#[test]
fn colours_come_when_they_are_wanted() {
    let ring = ["ring", "-c", CONFIG];
    let shown = |flags: &[&str], variables: &[(&str, &str)]| {
        Terminal::run(&[&ring[..], flags].concat(), USUAL, variables).end().output
    };
    assert!(shown(&[], &[]).contains("\x1b[38;5;25m"), "the first colour of the palette");
    assert!(shown(&[], &[("COLORTERM", "truecolor")]).contains("\x1b[38;2;0;114;178m"));
    assert!(!shown(&["--color", "never"], &[]).contains('\x1b'));
    assert!(!shown(&[], &[("NO_COLOR", "1")]).contains('\x1b'));
    assert!(!shown(&[], &[("TERM", "dumb")]).contains('\x1b'));
    assert!(shown(&["--color", "always"], &[("NO_COLOR", "1")]).contains("\x1b[1m"));
    let piped = program::ringway(["ring", "-c", CONFIG, "--color", "always"]).ok();
    assert!(piped.contains("\x1b[1m"), "{piped:?}");
}

#[test]
fn a_ring_is_drawn_as_wide_as_the_terminal_allows() {
    let shown = |columns| Terminal::run(&["ring", "-c", CONFIG], (columns, 30), &[]).end().screen;
    let beside = shown(80);
    let legend = beside.lines().find(|line| line.contains("■  b")).unwrap();
    assert!(legend.contains('█') && legend.contains("50.3 %  50.0 %"), "{beside}");
    let below = shown(40);
    let legend = below.lines().find(|line| line.contains("■  b")).unwrap();
    assert!(!legend.contains('█') && legend.contains("50.3 %"), "{below}");
    assert!(below.contains('█'), "{below}");
    let plain = Terminal::run(&["ring", "-c", CONFIG, "--color", "never"], (80, 30), &[]).end().screen;
    let bar = plain.lines().find(|line| line.starts_with("b ")).unwrap();
    assert!(bar.contains(&"#".repeat(40)), "{plain}");
    let narrow = shown(20);
    assert!(!narrow.contains('█') && narrow.contains("50.3 %"), "{narrow}");
}

/// What is wider than the terminal is cut, and a wide character counts twice.
#[test]
fn tables_do_not_wrap_in_a_terminal() {
    let proxy = Proxy::with_three_nodes();
    let reason = format!("{} why", "東京".repeat(60));
    proxy.run(&["apply", "--reason", &reason, "weight", "a=2"]).ok();
    let events = ["events", "--admin", &proxy.admin];
    let screen = Terminal::run(&events, USUAL, &[]).end().screen;
    let rows: Vec<&str> = screen.lines().skip_while(|line| !line.starts_with("epoch")).collect();
    assert_eq!(rows.iter().filter(|row| !row.is_empty()).count(), 3, "{screen}");
    assert!(rows[2].contains("weight a=2") && rows[2].ends_with('…'), "{screen}");
    let wide = rows[2].chars().filter(|character| "東京".contains(*character)).count();
    assert!(rows[2].chars().count() + wide <= 80, "{screen}");
    let piped = proxy.run(&["events"]).ok();
    assert!(piped.contains(&reason), "{piped}");
    proxy.stop();
}
