//! Why requests go where they go, asked of pools as a file describes them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use ringway::config::Config;
use ringway::control::explain::BadQuestion;
use ringway::control::explain::Explanation;
use ringway::control::explain::Verdict;
use ringway::control::explain::explain;
use ringway::control::pool_at::PoolAt;
use ringway::control::settings::PoolConfig;

/// Three pools as a file, and the question as JSON.
fn ask(pool: &str, question: &str) -> Result<Explanation, BadQuestion> {
    let config = Config::parse("test.toml", FILE).unwrap_or_else(|errors| panic!("{errors}"));
    let PoolConfig { settings, source } = config.pool(pool).unwrap().clone();
    let at = PoolAt::build(pool, 1, source.membership, settings.key).unwrap();
    let pools: Vec<_> = config.pools.iter().map(|pool| &pool.settings).collect();
    explain(&pools, &at, &serde_json::from_str(question).unwrap())
}

const FILE: &str = r#"
    listen = ["127.0.0.1:0"]
    [[pool]]
    name = "rooms"
    match = { host = "chat.example.com" }
    key = ["query:room", "header:x-room", "client-ip"]
    initial-nodes = [
      { name = "a", address = "a:80", zone = "z" },
      { name = "b", address = "b:80" },
      { name = "idle", address = "c:80", weight = 0 },
    ]
    [[pool]]
    name = "rest"
    key = ["header:x-tenant"]
    no-key = "reject"
    initial-nodes = []
    [[pool]]
    name = "llm"
    match = { path = "/v1/" }
    key = ["header:x-session", "json:/session", "query:session"]
    max-key-body = "1KiB"
    key-body-over = "reject"
    initial-nodes = [{ name = "gpu", address = "g:80" }]
"#;

#[test]
fn a_request_is_followed_to_its_owner() {
    let question = r#"{"path":"/ws?x=1&room=r%201#top","host":"Chat.Example.com:80"}"#;
    let answer = ask("rooms", question).unwrap();
    assert_eq!(answer.key.as_deref(), Some("r 1"));
    assert_eq!(answer.key_source.as_deref(), Some("query:room"));
    assert_eq!(answer.decision, Verdict::Owner);
    assert_eq!(answer.owner.as_deref(), Some(answer.candidates[0].name.as_str()));
    assert_eq!(answer.candidates.len(), 2);
    assert!((answer.candidates.iter().map(|node| node.share).sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(answer.skipped[0].name, "idle");
    assert_eq!(answer.skipped[0].why, "weight 0");
    let matched = answer.matched.unwrap();
    assert_eq!((matched.pool.as_deref(), matched.path.as_str()), (Some("rooms"), "/ws"));
    assert_eq!(matched.why, "it matches host chat.example.com");
}

#[test]
fn a_whole_url_and_its_key_say_the_same() {
    let by_url = ask("rooms", r#"{"path":"ws://chat.example.com/ws?room=42"}"#).unwrap();
    let by_key = ask("rooms", r#"{"key":"42"}"#).unwrap();
    assert_eq!((by_url.hash, &by_url.candidates), (by_key.hash, &by_key.candidates));
    assert_eq!((by_key.matched, by_key.key_source), (None, None));
}

#[test]
fn a_request_of_another_pool_says_so() {
    let answer = ask("rooms", r#"{"host":"other.example.com","headers":["x-room: 7"]}"#).unwrap();
    assert_eq!(answer.decision, Verdict::OtherPool);
    assert!(answer.why.starts_with("pool rest takes the request; in pool rooms, node "), "{}", answer.why);
    let matched = answer.matched.unwrap();
    assert_eq!(matched.why, "it takes what no other pool matches");
}

#[test]
fn without_a_key_the_rule_of_the_pool_decides() {
    let answer = ask("rest", "{}").unwrap();
    assert_eq!((answer.decision, answer.hash), (Verdict::Rejected, None));
    let answer = ask("rest", r#"{"headers":["x-tenant: t"]}"#).unwrap();
    assert_eq!((answer.decision, answer.owner), (Verdict::NoNode, None));
}

#[test]
fn a_key_in_the_body_is_asked_for_only_where_it_decides() {
    let found = |question: &str| {
        let answer = ask("llm", question).unwrap();
        (answer.decision, answer.key_source.map(|source| format!("{source} {}", answer.key.unwrap())))
    };
    let of = |source: &str| (Verdict::Owner, Some(source.to_owned()));
    assert_eq!(found(r#"{"path":"/v1/","headers":["x-session: s"]}"#), of("header:x-session s"));
    assert_eq!(found(r#"{"path":"/v1/","body":"{\"session\":7}"}"#), of("json:/session 7"));
    assert_eq!(found(r#"{"path":"/v1/?session=q","body":"{}"}"#), of("query:session q"));
    assert_eq!(found(r#"{"path":"/v1/","body":""}"#), (Verdict::NoKey, None));
    let untold = ask("llm", r#"{"path":"/v1/?session=q"}"#).unwrap_err();
    assert_eq!((untold.field.as_str(), untold.message.contains("may be in its body")), ("/body", true), "{untold}");
    let large = format!(r#"{{"path":"/v1/","body":"[{}"}}"#, " ".repeat(1024));
    let refused = ask("llm", &large).unwrap();
    assert_eq!((refused.decision, refused.why.contains("413")), (Verdict::Rejected, true), "{}", refused.why);
}

#[test]
fn questions_that_are_none_name_their_field() {
    for (question, field) in [
        (r#"{"host":"chat.example.com"}"#, "/client_ip"),
        (r#"{"path":"room"}"#, "/path"),
        (r#"{"path":"/a b"}"#, "/path"),
        (r#"{"method":"G T"}"#, "/method"),
        (r#"{"headers":["a: b","c"]}"#, "/headers/1"),
        (r#"{"headers":[": b"]}"#, "/headers/0"),
        (r#"{"key":"a","path":"/"}"#, "/path"),
        (r#"{"key":"a","body":""}"#, "/body"),
    ] {
        let answer = ask("rooms", question).map(|answer| answer.why);
        assert_eq!(answer.as_ref().map_err(|bad| bad.field.as_str()), Err(field), "{question}: {answer:?}");
    }
    let answer = ask("rooms", r#"{"host":"chat.example.com","client_ip":"::ffff:10.0.0.1"}"#).unwrap();
    assert_eq!(answer.key.as_deref(), Some("10.0.0.1"));
}
