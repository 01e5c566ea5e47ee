//! HAProxy's configurations, in `haproxy/`.

use crate::harness::imported;
use crate::harness::imported::Case;
use crate::harness::imported::Original;
use crate::harness::imported::rewrite_text;
use crate::harness::originals;
use crate::harness::story::Story;

const HAPROXY: Original = Original { name: "haproxy", start: originals::haproxy_on, rewrite: rewrite_text };

#[test]
fn what_is_imported_from_haproxy_serves_as_haproxy_does() {
    let story = Story::begin("import-haproxy");
    let cases = [
        debian_cache(),
        chat_rooms(),
        hosts_and_paths(),
        maintenance(),
        map_based(),
        named_defaults(),
        templates(),
        bounded_load(),
        health_and_stickiness(),
        rewrites(),
    ];
    imported::check(&story, &HAPROXY, &cases);
}

fn debian_cache() -> Case {
    Case::new("debian-cache.cfg", "127.0.0.1:8001").ask("/img/{}/{}.jpg?w={}", &[]).ask("/{}", &[]).left_out(&[
        "line 5: `maxconn 4096",
        "line 16: `option redispatch",
        "line 17: `retries 2",
        "line 19: `timeout client",
        "line 20: `timeout server",
        "line 27: `backend varnish`: if this HAProxy is 3.0,",
        "line 28: `balance uri",
        "line 30: `option httpchk",
        "line 31: `check",
    ])
}

fn chat_rooms() -> Case {
    Case::new("chat-rooms.cfg", "127.0.0.1:8002")
        .ask("/ws/{}", &[("x-room", "{}")])
        .ask("/ws", &[("x-room", "{},{}")])
        .left_out(&[
            "line 3: `maxconn 2000",
            "line 10: `timeout client",
            "line 11: `timeout server",
            "line 12: `timeout tunnel",
            "line 15: `listen chat`: if this HAProxy is 3.0,",
            "line 19: `http-response set-header",
        ])
}

fn hosts_and_paths() -> Case {
    Case::new("hosts-and-paths.cfg", "127.0.0.1:8003")
        .ask("/api/{}?session={}", &[("host", "shop.example.com")])
        .ask("/{}/{}/{}/{}.png", &[("host", "img.example.com")])
        .ask("/{}", &[("host", "static.example.com")])
        .ask("/assets/{}/{}", &[("host", "www.example.com")])
        .ask("/fonts/{}", &[("host", "shop.example.com")])
        .ask("/{}?page={}", &[("host", "www.example.com")])
        .left_out(&[
            "line 5: `timeout client",
            "line 6: `timeout server",
            "line 18: `http-request deny",
            "line 19: `use_backend api if host_shop is_api`: Ringway compares the name of",
            "line 20: `use_backend img if host_img or is_assets`: Ringway compares the name of",
            "line 21: `use_backend shop if host_shop`: that backend is not carried",
            "line 24: `backend api`: if this HAProxy is 3.0,",
            "line 38: `backend shop: balance roundrobin`: it hashes nothing, so that",
            "line 43: `balance uri",
        ])
}

fn maintenance() -> Case {
    Case::new("maintenance.cfg", "127.0.0.1:8004")
        .ask("/{}", &[("x-tenant", "{}")])
        .ask("/", &[("x-tenant", "{}, {}")])
        .left_out(&[
            "line 5: `timeout client",
            "line 6: `timeout server",
            "line 12: `backend shards`: if this HAProxy is 3.0,",
            "line 16: `server shard2`: it is disabled, and has",
            "line 18: `server spare`: it gets requests only when",
            "line 19: `server shard4`: its weight is 0: it",
        ])
}

fn map_based() -> Case {
    Case::new("map-based.cfg", "127.0.0.1:8005").ask("/{}?a=b&userid={}", &[]).left_out(&[
        "line 11: `timeout client",
        "line 12: `timeout server",
        "line 13: `maxconn 3000",
        "line 14: `errorfile 503",
        "line 22: `server u4`: it is disabled, and has",
    ])
}

fn named_defaults() -> Case {
    Case::new("named-defaults.cfg", "127.0.0.1:8006").ask("/{}", &[("x-key", "{}")]).ask("/plain/{}/{}", &[]).left_out(
        &[
            "line 10: `timeout client",
            "line 11: `timeout server",
            "line 12: `inter fall",
            "line 21: `http-request set-header",
            "line 22: `http-request set-header",
            "line 26: `backend keyed from sharded`: if this HAProxy is 3.0,",
        ],
    )
}

fn templates() -> Case {
    Case::new("templates.cfg", "127.0.0.1:8007").ask("/", &[("x-shard", "{}")]).left_out(&[
        "line 3: `server-state-file /var/lib/haproxy/state",
        "line 8: `timeout client",
        "line 9: `timeout server",
        "line 11: `resolvers dns",
        "line 21: `backend workers`: if this HAProxy is 3.0,",
    ])
}

fn bounded_load() -> Case {
    Case::new("bounded-load.cfg", "127.0.0.1:8008")
        .ask("/{}/{}/{}?x={}", &[])
        .at("127.0.0.1:8009")
        .ask("/{}", &[])
        .left_out(&[
            "line 3: `maxconn 4000",
            "line 8: `timeout client",
            "line 9: `timeout queue",
            "line 10: `timeout server 2d`: times of Ringway are from 1ms to a day",
            "line 11: `retry-on conn-failure",
            "line 12: `retries 3",
            "line 17: `maxconn 3000",
            "line 18: `http-request set-header",
            "line 21: `backend store`: if this HAProxy is 3.0,",
            "line 22: `balance uri",
            "line 24: `hash-balance-factor 150",
            "line 25: `fullconn 2000",
            "line 26: `maxconn maxqueue",
        ])
}

fn health_and_stickiness() -> Case {
    Case::new("health-and-stickiness.cfg", "127.0.0.1:8010").ask("/d?doc={}", &[]).left_out(&[
        "line 5: `timeout client",
        "line 6: `timeout server",
        "line 7: `timeout check",
        "line 10: `listen stats`: it has no servers",
        "line 16: `userlist staff",
        "line 19: `peers lb",
        "line 24: `http-request auth",
        "line 25: `http-request set-var(txn.seen)",
        "line 28: `backend app`: if this HAProxy is 3.0,",
        "line 29: `balance hash url_param(doc)`: parameters begin and end at `;`",
        "line 31: `option httpchk",
        "line 32: `http-check send",
        "line 33: `http-check expect",
        "line 35: `cookie SRV",
        "line 36: `stick-table type",
        "line 37: `stick on",
        "line 38: `slowstart",
        "line 38: `check inter",
    ])
}

fn rewrites() -> Case {
    Case::new("rewrites.cfg", "127.0.0.1:8011")
        .ask("/c/{}", &[("cookie", "a=b; sid={}")])
        .ask("/s/{}", &[])
        .ask("/{}?x={}", &[])
        .left_out(&[
            "line 5: `timeout client",
            "line 6: `timeout server",
            "line 10: `use_backend tenants if { path_beg /t/ }`: that backend is not carried",
            "line 11: `use_backend versions if { path_beg /v/ }`: that backend is not carried",
            "line 14: `use_backend by_agent if { path_sub agent }`: that backend is not carried",
            "line 15: `use_backend %[req.hdr(x-backend)] if { req.hdr(x-backend) -m found }`",
            "line 18: `backend tenants`: line 19 changes what `balance",
            "line 25: `backend versions`: line 26 changes what `balance",
            "line 32: `backend by_cookie`: if this HAProxy is 3.0,",
            "line 33: `balance hash",
            "line 39: `backend by_client`: where clients come through another",
            "line 45: `backend by_agent: balance hash req.hdr(user-agent),lower`: Ringway has no key source",
        ])
}
