//! The page at `/`: what it shows to whom, and how browsers are told to treat it.

use crate::ONE_POOL;
use crate::client::Call;
use crate::client::Directory;
use crate::client::Proxy;
use crate::client::Reply;
use serde_json::json;

/// What every answer of the page says.
fn check_protection(reply: &Reply) {
    let policy = reply.header("content-security-policy");
    let rules = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ];
    assert_eq!(policy.split("; ").collect::<Vec<_>>(), rules);
    for (field, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(reply.header(field), value, "{field}");
    }
}

#[tokio::test]
async fn the_page_comes_in_three_parts_that_a_browser_may_trust() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
    ] {
        let reply = client.call("GET", path).send().await;
        assert_eq!((reply.status, reply.header("content-type")), (200, content_type), "{path}");
        check_protection(&reply);
        for inline in ["style=", " onclick=", "javascript:"] {
            assert!(path != "/" || !reply.text.contains(inline), "{inline} in {path}");
        }
    }
}

#[tokio::test]
async fn a_browser_that_has_a_part_is_not_sent_it_again() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for path in ["/page.js", "/page.css"] {
        let reply = client.call("GET", path).send().await;
        assert_eq!(reply.header("cache-control"), "no-cache", "{path}");
        let again = client.call("GET", path).header("if-none-match", reply.header("etag")).send().await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        let other = client.call("GET", path).header("if-none-match", "\"0\"").send().await;
        assert_eq!((other.status, other.text == reply.text), (200, true), "{path}");
    }
    assert_eq!(client.call("GET", "/").send().await.header("cache-control"), "no-store", "its data is of this moment");
}

#[tokio::test]
async fn without_a_script_the_nodes_can_be_read_all_the_same() {
    let proxy = Proxy::start(ONE_POOL).await;
    let text = proxy.client().call("GET", "/").send().await.text;
    for shown in
        ["<h1 id=\"pool\">rooms</h1>", "key query:room, header:x-room", "10.0.0.2:80 · zone z1", "weight 2", "3/3"]
    {
        assert!(text.contains(shown), "{shown} is missing in {text}");
    }
    assert_eq!(text.matches("<th scope=\"row\">").count(), 3, "{text}");
    assert!(text.contains("src=\"/v1/pools/rooms/ring\""), "{text}");
}

#[tokio::test]
async fn many_nodes_come_in_pieces() {
    let (pool, _) = ONE_POOL.split_once("initial-nodes = ").unwrap();
    let nodes: Vec<String> = (0..600)
        .map(|number| format!("{{ name = \"n{number:03}\", address = \"10.0.0.1:{}\" }}", 1000 + number))
        .collect();
    let proxy = Proxy::start(&format!("{pool}initial-nodes = [{}]\n", nodes.join(", "))).await;
    let client = proxy.client();
    let mut target = "/".to_owned();
    for (first, last, count) in [("n000", "n249", 250), ("n250", "n499", 250), ("n500", "n599", 100)] {
        let text = client.call("GET", &target).send().await.text;
        assert_eq!(text.matches("<th scope=\"row\">").count(), count, "{target}");
        for name in [first, last] {
            assert!(text.contains(&format!(">{name}<")), "{name} is not at {target}");
        }
        let link = text.split("<a href=\"/?pool=rooms&amp;from=").nth(1).unwrap();
        target = format!("/?pool=rooms&from={}", link.split('"').next().unwrap());
    }
}

#[tokio::test]
async fn a_link_to_a_pool_that_is_gone_says_so_and_leads_on() {
    let proxy = Proxy::start(ONE_POOL).await;
    let reply = proxy.client().call("GET", "/?pool=%3Cscript%3E").send().await;
    assert_eq!(reply.status, 404);
    assert!(reply.text.contains("There is no pool “&lt;script&gt;”"), "{}", reply.text);
    assert!(reply.text.contains("<a href=\"/?pool=rooms\">"), "{}", reply.text);
    assert_eq!(proxy.client().call("GET", "/?utm_source=alert&from=x").send().await.status, 200);
}

#[tokio::test]
async fn texts_of_the_outside_are_never_markup() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let hostile = r#""><script>alert('z')</script>&"#;
    let node = json!({ "name": "x", "address": "unix:/<b>'\"&", "zone": hostile });
    let change = json!({ "changes": [{ "add": node }], "reason": hostile });
    client.call("POST", "/v1/pools/rooms/apply").json(&change).header("x-ringway-actor", hostile).send().await;
    assert_eq!(client.get("/v1/pools/rooms").await["epoch"], 2);
    let text = client.call("GET", "/").send().await.text;
    assert!(!text.contains("<script>alert") && !text.contains("<b>"), "{text}");
    assert!(text.contains("zone &quot;&gt;&lt;script&gt;alert(&#39;z&#39;)&lt;/script&gt;&amp;"), "{text}");
}

#[tokio::test]
async fn where_a_token_is_asked_for_the_page_holds_no_data() {
    let directory = Directory::new();
    directory.write("operate", "operate-secret");
    directory.write("read", "read-secret");
    let admin = "listen = \"127.0.0.1:0\"\ntoken-file = \"DIR/operate\"\nread-token-file = \"DIR/read\"";
    let config = ONE_POOL.replace("[admin]\n    listen = \"127.0.0.1:0\"", &format!("[admin]\n{admin}"));
    let proxy = Proxy::start_in(directory, &config).await.unwrap();
    let nobody = proxy.client();
    let empty = nobody.call("GET", "/?pool=rooms").header("host", "proxy.example").send().await;
    assert_eq!(empty.status, 200);
    check_protection(&empty);
    for data in ["rooms", "10.0.0.2", "3/3"] {
        assert!(!empty.text.contains(data), "{data} in {}", empty.text);
    }
    assert!(empty.text.contains("data-access=\"token\""), "{}", empty.text);
    for path in ["/page.js", "/page.css"] {
        assert_eq!(nobody.call("GET", path).send().await.status, 200, "{path}");
    }
    let wrong = nobody.with_token("wrong").call("GET", "/").send().await;
    assert_eq!(wrong.problem(), "unauthorized");
    let reader = nobody.with_token("read-secret");
    assert!(reader.call("GET", "/").send().await.text.contains("10.0.0.2:80"));
    assert_eq!(reader.get("/v1/status").await["role"], "read");
    assert_eq!(nobody.with_token("operate-secret").get("/v1/status").await["role"], "operate");
}

#[tokio::test]
async fn the_page_is_only_read() {
    let proxy = Proxy::start(ONE_POOL).await;
    for path in ["/", "/page.js", "/page.css"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = proxy.client().call(method, path).send().await;
            assert_eq!((reply.status, reply.header("allow")), (405, "GET,HEAD"), "{method} {path}");
        }
        let head = proxy.client().call("HEAD", path).send().await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn other_sites_can_link_to_the_page_and_not_look_at_it() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let page = || client.call("GET", "/");
    let from = |mode: &str, dest: &str| -> Call<'_> {
        page().header("sec-fetch-site", "cross-site").header("sec-fetch-mode", mode).header("sec-fetch-dest", dest)
    };
    assert_eq!(from("navigate", "document").send().await.status, 200);
    for refused in [from("navigate", "iframe"), from("cors", "empty"), page().header("origin", "http://evil.example")] {
        assert_eq!(refused.send().await.problem(), "foreign-origin");
    }
    let rebound = from("navigate", "document").header("host", "evil.example");
    assert_eq!(rebound.send().await.problem(), "foreign-host");
}
