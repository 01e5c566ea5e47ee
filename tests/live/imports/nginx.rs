//! nginx's configurations, in `nginx/`.

use crate::harness::imported;
use crate::harness::imported::Case;
use crate::harness::imported::Original;
use crate::harness::imported::rewrite_text;
use crate::harness::originals;
use crate::harness::story::Story;

const NGINX: Original = Original { name: "nginx", start: originals::nginx_on, rewrite: rewrite_text };

#[test]
fn what_is_imported_from_nginx_serves_as_nginx_does() {
    let story = Story::begin("import-nginx");
    imported::check(&story, &NGINX, &[caches_and_sites(), applications(), everything()].concat());
}

/// What is found by path and host.
fn caches_and_sites() -> Vec<Case> {
    vec![
        Case::new("image-cache.conf", "127.0.0.1:8080")
            .ask("/img/{}/{}.jpg?w={}", &[("host", "img.example.com")])
            .ask("/{}", &[("host", "other.example.com")]),
        Case::new("rooms.conf", "127.0.0.1:8081")
            .ask("/ws/?Room={}", &[("host", "chat.example.com")])
            .ask("/x?room&room={}", &[("x-room", "{}")])
            .ask("/ws/{}?room=", &[("x-room", "{}")])
            .ask("/ws/{}", &[])
            .left_out(&[
                "line 36: `location /ws/`: here and in what follows, nginx matches paths decoded",
                "line 42: `proxy_set_header X-Real-IP $remote_addr`",
                "line 43: `proxy_set_header X-Forwarded-For",
                "line 44: `proxy_read_timeout 1h`: it is `timeouts.head`",
            ]),
        Case::new("vhosts.conf", "127.0.0.1:8082")
            .ask("/{}/{}", &[("host", "Shop.example.com")])
            .ask("/{}?x={}", &[("host", "www.shop.example.com:8082")])
            .ask("/search/{}?q={}&r={}", &[("host", "shop.example.com")])
            .ask("/{}", &[("host", "blobs.example.com")])
            .ask("/{}", &[("host", "a.b.blobs.example.com")])
            .ask("/search/?Q={}", &[("host", "blobs.example.com")])
            .ask("/search/?q={}", &[("host", "a.eu.blobs.example.com")])
            .ask("/{}", &[("host", "other.example.com")])
            .left_out(&["line 21: `location /search/`: here and in what follows"]),
        Case::new("included.conf", "127.0.0.1:8083")
            .ask("/documents/{}", &[("host", "documents.example.com"), ("x-document", "{}")])
            .left_out(&[
                "sites/20-documents.conf line 5: `location /documents/`: here and in what follows",
                "sites/20-documents.conf line 10: `location /`: `return 404` answers there",
                "sites/proxy.inc line 2: `proxy_set_header X-Real-IP",
                "sites/proxy.inc line 3: `proxy_set_header X-Forwarded-For",
            ]),
    ]
}

/// What is found by sessions, users and tenants.
fn applications() -> Vec<Case> {
    vec![
        Case::new("sessions.conf", "127.0.0.1:8084")
            .ask("/{}", &[("cookie", "a={}; sessionid={}; b=c")])
            .ask("/{}", &[("cookie", "a={},SESSIONID = {}")])
            .left_out(&[
                "line 12: `server 127.0.0.1:",
                "fail_timeout=10s`: which failures take a node out",
                "down`: it is written with a weight of 0",
                "backup`: a hash never chooses a backup",
                "line 26: `proxy_next_upstream error timeout http_502`",
                "line 27: `proxy_next_upstream_tries 2`",
                "line 29: `proxy_hide_header",
                "line 30: `add_header",
            ]),
        Case::new("users.conf", "127.0.0.1:8085").ask("/{}?a={}&userid={}", &[]),
        Case::new("tls.conf", "127.0.0.1:8086")
            .ask("/{}", &[("host", "api.example.com"), ("authorization", "Bearer {}")])
            .left_out(&[
                "line 8: `gzip on`",
                "line 9: `gzip_types",
                "line 10: `ssl_protocols",
                "line 11: `ssl_session_cache",
                "ssl http2`: Ringway has no TLS yet",
                "line 24: `ssl_certificate ",
                "line 25: `ssl_certificate_key",
                "line 26: `add_header Strict-Transport-Security",
                "line 31: `proxy_ssl_server_name",
                "line 35: `server api.example.com`: `return 301 https://$host$request_uri` answers there",
            ]),
    ]
}

/// What takes a careful reader.
fn everything() -> Vec<Case> {
    vec![
        Case::new("quoting.conf", "127.0.0.1:8088")
            .ask("/{}?id={}", &[("host", "t.example.com"), ("x-tenant", "{}")])
            .ask("/{}?id={}", &[("host", "tenants.example.com")])
            .ask("/{}", &[("x-tenant", "{}")])
            .left_out(&[
                "line 8: `map $http_user_agent $is_bot`",
                "line 15: `server_name ~^t",
                "line 17: `location ~ ^/x{1,2}",
                "line 18: `proxy_set_header X-Odd",
            ]),
        Case::new("completions.conf", "127.0.0.1:8089")
            .ask("/v1/{}", &[("x-session-id", "{}")])
            .ask("/v1/chat/{}", &[("cookie", "session={}")])
            .ask("/v1/chat", &[("x-session-id", "{}"), ("cookie", "session={}")])
            .left_out(&[
                "line 10: `client_max_body_size",
                "line 11: `limit_req_zone",
                "max_conns=256`: a limit for each node",
                "line 21: `upstream embeddings: least_conn`",
                "line 29: `location /v1/`: here and in what follows",
                "line 30: `limit_req",
                "line 37: `proxy_send_timeout",
                "line 38: `proxy_read_timeout",
                "line 40: `location = /v1/embeddings`: embeddings does not hash; in Ringway /v1/embeddings",
                "line 41: `proxy_read_timeout",
                "line 42: `location /healthz`",
            ]),
        Case::new("mixed.conf", "127.0.0.1:8092")
            .ask("/tiles/{}/{}.png", &[("host", "maps.example.com")])
            .ask("/api/{}", &[("host", "maps.example.com"), ("x-scope-orgid", "{}")])
            .at("127.0.0.1:8093")
            .ask("/push/{}", &[("host", "push.example.com"), ("x-scope-orgid", "{}")])
            .left_out(&[
                "line 8: `proxy_cache_path",
                "line 12: `upstream unused: hash $uri consistent`: `$uri` is no key source",
                "line 13: `upstream web: ip_hash`",
                "line 15: `server`: on 127.0.0.1:",
                "line 18: `proxy_pass http://tiles/tiles/`",
                "line 18: `proxy_cache c`",
                "line 18: `location /tiles/`: here and in what follows",
                "in Ringway push.example.com/tiles/ is answered with 404",
                "in Ringway push.example.com/api is answered with 404",
                "line 20: `location /`: web does not hash",
                "line 23: `server`: on 127.0.0.1:",
                "line 23: `server push.example.com`: nginx sends /api nowhere",
                "in Ringway maps.example.com/push/ is answered with 404",
                "line 27: `location /old/`",
                "line 28: `location /socket`",
            ]),
    ]
}
