//! Configurations of nginx, what becomes of them, and what is said about the rest.

mod anything;
mod elsewhere;

use super::*;
use crate::config::Config;

fn nothing_included(_: &str) -> Result<Vec<(String, String)>, String> {
    Err("nothing is there to include".to_owned())
}

fn import(text: &str) -> Imported {
    read(text, &nothing_included).unwrap_or_else(|unreadable| panic!("{unreadable} in\n{text}"))
}

/// The pools of the written config, which has to be one.
fn pools(text: &str) -> String {
    let imported = import(text);
    let config = imported.to_toml("A test.");
    Config::parse("config", &config).unwrap_or_else(|errors| panic!("{errors} in\n{config}"));
    let pools = config.split_once("[[pool]]").unwrap_or_else(|| panic!("no pool:\n{config}")).1;
    pools.to_owned()
}

fn left_out(text: &str) -> Vec<String> {
    import(text).left_out().iter().map(ToString::to_string).collect()
}

fn refusal(text: &str) -> String {
    read(text, &nothing_included).expect_err(text).to_string()
}

/// An upstream of two servers with this in front of them, and a server that passes everything to it.
fn upstream(first: &str) -> String {
    format!(
        "upstream u {{ {first} server 10.0.0.1:80; server 10.0.0.2:80; }}\n\
         server {{ listen 8080; location / {{ proxy_pass http://u; }} }}"
    )
}

#[track_caller]
fn check_key(hash: &str, key: &str) {
    let pools = pools(&upstream(&format!("hash {hash} consistent;")));
    assert!(pools.contains(&format!("\nkey = [{key}]\n")), "{hash}: {pools}");
}

#[track_caller]
fn check_left_out(text: &str, parts: &[&str]) {
    let left_out = left_out(text);
    let alike = left_out.len() == parts.len() && left_out.iter().zip(parts).all(|(line, part)| line.contains(part));
    assert!(alike, "{text}\nleaves out\n{}\nnot\n{}", left_out.join("\n"), parts.join("\n"));
}

#[test]
fn variables_become_key_sources() {
    check_key("$request_uri", r#""path-and-query""#);
    check_key("$http_x_room", r#""header:x-room""#);
    check_key("$arg_roomId", r#""nginx-arg:roomid""#);
    check_key("${cookie_SID}", r#""nginx-cookie:sid""#);
    check_key("$host$request_uri", r#"["concatenated", "host", "path-and-query"]"#);
    check_key("\"$remote_addr-$scheme://$http_user_agent\"", {
        r#"["concatenated", "client-ip", "text:-", "text:http", "text:://", "header:user-agent"]"#
    });
    check_key("$proxy_host", r#""text:u""#);
}

#[test]
fn a_server_name_that_is_no_host_matches_nothing() {
    let text =
        upstream("hash $request_uri consistent;").replace("listen 8080;", "server_name .a.example:80; listen 8080;");
    let text = format!("server {{ listen 8080; location / {{ return 404; }} }}\n{text}");
    assert!(pools(&text).contains(r#"match = { host = "u.invalid" }"#), "{}", pools(&text));
    let left_out = left_out(&text).join("\n");
    assert!(left_out.contains("`a.example:80` has a port, and hosts are matched without theirs"), "{left_out}");
}

#[test]
fn a_map_that_falls_back_becomes_alternatives() {
    let map = "map $http_x_session $key { default $http_x_session; \"\" $remote_addr; }\n";
    let text = map.to_owned() + &upstream("hash $key consistent;");
    let pools = pools(&text);
    assert!(pools.contains(r#"key = ["header:x-session", "client-ip"]"#), "{pools}");
    check_left_out(&text, &[]);
}

#[test]
fn what_has_no_key_source_is_left_out_with_the_reason() {
    for (hash, why) in [
        ("$uri", "decoded and normalised"),
        ("$binary_remote_addr", "the bytes of an address"),
        ("$host$args", "whole query"),
        ("$1", "nothing like it"),
        ("$request_id", "nothing like it"),
        ("a$", "without the name"),
        ("${a", "closing brace"),
        ("\"\"", "nothing is hashed"),
    ] {
        let text = upstream(&format!("hash {hash} consistent;"));
        let left_out = left_out(&text);
        assert!(left_out[0].starts_with("line 1: `upstream u: hash ") && left_out[0].contains(why), "{left_out:?}");
        assert_eq!(import(&text).pools(), []);
    }
    let map = "map $a $key { default x; }\n".to_owned();
    assert!(left_out(&(map + &upstream("hash $key;")))[1].contains("from the `map` of line 1"));
}

#[test]
fn servers_are_hashed_by_their_text() {
    let text = "upstream u { hash $request_uri consistent; server 10.0.0.1; server Cache.example:8080 weight=3; \
                server [::1]:80; server unix:/run/a.sock; server 10.0.0.2:80; }";
    let pools = pools(text);
    for node in [
        r#"{ name = "10.0.0.1", address = "10.0.0.1:80", weight = 1, placement-id = "10.0.0.1" }"#,
        r#"address = "cache.example:8080", weight = 3, placement-id = "Cache.example:8080" }"#,
        r#"{ name = "::1-:80", address = "[::1]:80", weight = 1 }"#,
        r#"{ name = "unix:-run-a.sock", address = "unix:/run/a.sock", weight = 1 }"#,
        r#"{ name = "10.0.0.2:80", address = "10.0.0.2:80", weight = 1 }"#,
    ] {
        assert!(pools.contains(node), "{node} is not in {pools}");
    }
}

#[test]
fn a_server_that_is_down_has_no_weight() {
    let text = upstream("hash $request_uri consistent; server 10.0.0.3:80 weight=5 down;");
    assert!(pools(&text).contains(r#"address = "10.0.0.3:80", weight = 0 }"#));
    check_left_out(&text, &["line 1: `server 10.0.0.3:80 down`: it is written with a weight of 0"]);
    let modulo = upstream("hash $request_uri; server 10.0.0.3:80 down;");
    check_left_out(&modulo, &["nginx keeps the places of 10.0.0.3:80", "line 2"]);
}

#[test]
fn without_consistent_the_placement_is_another() {
    assert!(pools(&upstream("hash $request_uri;")).contains(r#"placement = { kind = "nginx-modulo" }"#));
    assert!(pools(&upstream("hash $request_uri consistent;")).contains(r#"placement = { kind = "nginx" }"#));
}

#[test]
fn parameters_of_servers_are_named_once() {
    let servers = "hash $request_uri consistent; server 10.0.0.3:80 max_fails=3 fail_timeout=30s max_conns=5 backup; \
                   server 10.0.0.4:80 max_fails=1 resolve; zone z 64k; keepalive 32;";
    check_left_out(
        &upstream(servers),
        &[
            "`server 10.0.0.3:80 max_fails=3`",
            "fail_timeout=30s",
            "max_conns=5",
            "backup`: a hash never chooses a backup",
        ],
    );
}

#[test]
fn other_balancing_is_named() {
    for (method, why) in [
        ("", "`upstream u`: it goes round-robin"),
        ("least_conn;", "least_conn"),
        ("ip_hash;", "first three bytes"),
        ("random two least_conn;", "does not hash a key"),
        ("sticky cookie srv; hash $request_uri;", "sessions stick"),
        ("hash $request_uri; least_conn;", "least_conn"),
    ] {
        let left_out = left_out(&upstream(method));
        assert!(left_out[0].contains(why), "{method}: {left_out:?}");
    }
}

#[test]
fn two_servers_of_one_text_are_refused() {
    let left_out = left_out(&upstream("hash $request_uri consistent; server 10.0.0.1:80;"));
    assert!(left_out[0].contains("10.0.0.1:80"), "{left_out:?}");
}

/// Two upstreams that hash, and these servers.
fn two(servers: &str) -> String {
    let upstream = |name| format!("upstream {name} {{ hash $request_uri consistent; server 10.0.0.1; }}\n");
    format!("{}{}{servers}", upstream("a"), upstream("b"))
}

#[track_caller]
fn check_matches(text: &str, expected: &[&str]) {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
    let imported = import(text);
    let matches = imported.pools().iter().map(|pool| {
        let matches = pool.matches.clone().unwrap_or_default();
        format!("{} {} {}", pool.name, part(&matches.host), part(&matches.path))
    });
    assert_eq!(matches.collect::<Vec<_>>(), expected, "{text}\n{:?}", imported.left_out());
}

#[test]
fn names_and_locations_become_matches() {
    let text = two("server { listen 80; server_name a.example; location / { proxy_pass http://a; } }\n\
         server { listen 80; server_name b.example *.b.example;\n\
         location / { proxy_pass http://b; } location /api/ { proxy_pass http://a; } }");
    check_matches(
        &text,
        &["a - -", "b b.example -", "b-2 *.b.example -", "a-2 b.example /api/", "a-3 *.b.example /api/"],
    );
    check_left_out(&text, &["line 5: `location /api/`: here and in what follows, nginx matches paths decoded"]);
}

#[test]
fn names_that_differ_in_case_alone_get_hosts_of_their_own() {
    let group = |name: &str| format!("upstream {name} {{ hash $request_uri consistent; server 10.0.0.1:80; }}");
    let text = format!("http {{ {} {} {} }}", group("u"), group("U"), group("u_"));
    check_matches(&text, &["u u.invalid -", "U u-2.invalid -", "u_ u-.invalid -"]);
}

#[test]
fn a_location_that_leads_where_the_one_around_it_does_needs_no_pool() {
    let text = two("server { listen 80; location / { proxy_pass http://a; }\n\
         location /ws/ { proxy_pass http://a; proxy_set_header Upgrade $http_upgrade; } }");
    check_matches(&text, &["a - -", "b b.invalid -"]);
}

#[test]
fn a_location_without_a_slash_takes_more_than_whole_segments() {
    let text = two("server { location / { proxy_pass http://a; }\nlocation /api { proxy_pass http://b; } }");
    check_matches(&text, &["a - -", "b - /api"]);
    check_left_out(
        &text,
        &[
            "line 4: `location /api`: here and in what follows",
            "line 4: `location /api`: Ringway matches whole segments of paths: nginx sends /apix to upstream b",
        ],
    );
}

#[test]
fn what_nginx_answers_itself_says_where_it_goes_here() {
    let text = two("server { location / { proxy_pass http://a; }\nlocation /static/ { root /srv; }\n\
         location ~ \\.php$ { return 403; }\n\
         location = /health { return 200; } }\nserver { listen 80; server_name x.example; return 301 https://y; }\n\
         upstream c { hash $arg_b consistent; server 10.0.0.1; }\n\
         server { listen 81; location /b { proxy_pass http://b; } }");
    let left_out = left_out(&text);
    for (line, part) in [
        (4, "`location /static/`: `root /srv` answers there, which does not hash; in Ringway"),
        (5, "nginx does not hash requests that it takes (`return 403` answers there"),
        (6, "`location = /health`"),
        (7, "`server x.example`: `return 301 https://y` answers there"),
    ] {
        let found =
            left_out.iter().any(|left_out| left_out.starts_with(&format!("line {line}: ")) && left_out.contains(part));
        assert!(found, "line {line} {part}: {left_out:#?}");
    }
}

#[test]
fn nodes_get_the_host_that_nginx_sends() {
    let host = |header: &str| {
        let text = format!(
            "upstream u {{ hash $request_uri consistent; server 10.0.0.1; }} server {{ server_name a.example;\n\
             location / {{ proxy_pass http://u; {header} }} }}"
        );
        import(&text).pools()[0].host.clone()
    };
    for (header, expected) in [
        ("", Some("u")),
        ("proxy_set_header X-A b;", Some("u")),
        ("proxy_set_header Host $http_host;", None),
        ("proxy_set_header host $host;", None),
        ("proxy_set_header Host app.internal:81;", Some("app.internal:81")),
        ("proxy_set_header Host $server_name;", Some("a.example")),
        ("proxy_set_header Host $other;", None),
    ] {
        assert_eq!(host(header).as_deref(), expected, "{header}");
    }
}

#[test]
fn times_are_carried_over() {
    let text =
        two("proxy_connect_timeout 500ms; server { proxy_read_timeout 1m30s; location / { proxy_pass http://a; } }");
    assert!(pools(&text).contains(r#"timeouts = { connect = "500ms", head = "1m 30s" }"#));
    assert_eq!(refusal("proxy_read_timeout soon;"), "line 1: `soon` is not a time such as 30s or 500ms");
}

#[test]
fn a_time_that_ringway_does_not_have_is_left_out_with_the_reason() {
    for time in ["0", "25h", "2w", "'1d 1s'"] {
        let text = upstream("hash $request_uri consistent;").replace(
            "location / {",
            &format!("proxy_read_timeout 5s; location / {{\nproxy_read_timeout {time};\nproxy_connect_timeout {time};"),
        );
        assert!(!pools(&text).contains("timeouts"), "{time}: {}", pools(&text));
        let list = left_out(&text).join("\n");
        for line in ["line 3: `proxy_read_timeout ", "line 4: `proxy_connect_timeout "] {
            let found = list.lines().any(|told| told.starts_with(line) && told.contains("from 1ms to a day"));
            assert!(found, "{time}: {list}");
        }
    }
}

#[test]
fn listeners_without_tls_are_carried_over() {
    let text =
        two("server { listen 80; listen [::]:80; listen 127.0.0.1:8081; listen 443 ssl http2; listen unix:/run/a;\n\
         location / { proxy_pass http://a; } }");
    assert!(import(&text).to_toml("").contains(r#"listen = ["[::]:80", "127.0.0.1:8081"]"#));
    check_left_out(&text, &["line 2: `b`", "`listen 443 ssl http2`: Ringway has no TLS yet", "`listen unix:/run/a`"]);
}

#[test]
fn settings_that_need_nothing_are_not_mentioned() {
    let text = "user www-data; worker_processes auto; events { worker_connections 1024; }\nhttp { include mime.types; \
                sendfile on; gzip off; access_log off; log_format a '$b'; server_names_hash_bucket_size 64;\n\
                gzip on; unheard_of a b; }\nstream { server { listen 1; } }";
    let include = |_: &str| Ok(vec![("mime.types".to_owned(), "types { text/html html; }".to_owned())]);
    let imported = read(text, &include).unwrap();
    let left_out: Vec<String> = imported.left_out().iter().map(ToString::to_string).collect();
    let expected = ["line 3: `gzip on`", "line 3: `unheard_of a b`", "line 4: `stream`"];
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    assert!(left_out.iter().zip(expected).all(|(line, part)| line.contains(part)), "{left_out:?}");
}

#[test]
fn included_files_are_read_where_they_are_named() {
    let include = |pattern: &str| match pattern {
        "conf.d/*.conf" => Ok(vec![("conf.d/a.conf".to_owned(), upstream("hash $uri;"))]),
        "self" => Ok(vec![("self".to_owned(), "\ninclude self;".to_owned())]),
        "broken" => Ok(vec![("broken".to_owned(), "a {\n b;\n".to_owned())]),
        _ => Ok((0..100).map(|at| (at.to_string(), format!("{pattern}{}", " ".repeat(1 << 20)))).collect()),
    };
    let imported = read("http { include conf.d/*.conf; }", &include).unwrap();
    assert!(imported.left_out()[0].to_string().starts_with("conf.d/a.conf line 1: `upstream u: hash $uri`"));
    for (text, why) in [
        ("\ninclude self;", "self line 2: self includes itself"),
        ("include broken;", "broken line 3: the file ends before the block of line 1 is closed"),
        ("include '# much';", "line 1: included files add up to over"),
        ("include a b;", "line 1: `include` takes one file"),
    ] {
        let refused = read(text, &include).expect_err(text).to_string();
        assert!(refused.starts_with(why), "{refused}");
    }
}

#[test]
fn a_dump_is_read_with_the_names_of_its_files() {
    let dump = format!(
        "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n\
         # configuration file /etc/nginx/nginx.conf:\nhttp {{\n  include conf.d/*.conf;\n}}\n\n\
         # configuration file /etc/nginx/conf.d/a.conf:\n\n{}\n\n\
         # configuration file /etc/nginx/conf.d/b.txt:\n}}\n",
        upstream("hash $uri;")
    );
    let left_out = left_out(&dump);
    assert!(left_out[0].starts_with("/etc/nginx/conf.d/a.conf line 2: `upstream u: hash $uri`"), "{left_out:?}");
    let refused = refusal("# configuration file /etc/nginx/nginx.conf:\ninclude a.conf;");
    assert_eq!(refused, "/etc/nginx/nginx.conf line 1: /etc/nginx/a.conf is not among the files of this dump");
}

#[test]
fn bad_files_are_answered_with_their_line_and_the_reason() {
    let deep = "a {".repeat(100);
    for (text, why) in [
        ("http {\n  upstream u {\n", "line 3: the file ends before the block of line 2 is closed"),
        ("a b\nc", "line 2: the file ends within `a b c`"),
        ("a;\n}", "line 2: unexpected `}`; no block is open"),
        ("a {\n b; c}", "line 2: the file ends within `c}`"),
        ("a {\n b \n }", "line 3: unexpected `}`; `b` has no `;`"),
        ("\n;", "line 2: unexpected `;`"),
        ("{", "line 1: unexpected `;` or `{`"),
        ("a;\nb 'c", "line 2: the quote ' that begins here is never closed"),
        ("a \u{0}", "line 1: there is a zero byte"),
        (deep.as_str(), "line 1: blocks are nested deeper than 32"),
        ("upstream u { hash $uri; server a weight=0; }", "line 1: `weight=0` is not a number from 1"),
        ("upstream u { hash $uri; server a wieght=1; }", "line 1: invalid parameter `wieght=1`"),
        ("upstream u { hash $uri consistnet; server a; }", "line 1: `hash` takes a key"),
        ("upstream u { hash $uri; server; }", "line 1: `server` takes an address"),
        ("server { listen 99999; }", "line 1: `99999` is no address with a port"),
        ("server {\nlocation a b c { } }", "line 2: `location` takes a path"),
        ("server { location ! /a { } }", "line 1: `!` is not one of"),
        ("include x;", "line 1: nothing is there to include"),
    ] {
        let refused = refusal(text);
        assert!(refused.starts_with(why), "{text:?}: {refused}");
    }
}

#[test]
fn a_small_file_that_stands_for_many_pools_is_cut_off() {
    let addresses: String = (0..100).map(|at| format!("server 10.0.0.{at};")).collect();
    let upstreams = ["a", "b"].map(|name| format!("upstream {name} {{ hash $request_uri consistent; {addresses} }}"));
    let names: String = (0..300).map(|at| format!(" h{at}")).collect();
    let locations: String =
        (0..300).map(|at| format!("location /{at}/ {{ proxy_pass http://{}; }}", ["a", "b"][at % 2])).collect();
    let default = "server { location / { proxy_pass http://a; } }";
    let text = format!("{} {default} server {{ server_name {names}; {locations} }}", upstreams.concat());
    let imported = import(&text);
    assert_eq!(imported.pools().len(), 1_000);
    let is_said = |part| imported.left_out().iter().filter(|left_out| left_out.why.contains(part)).count();
    assert_eq!(is_said("over 1000 pools"), 1, "{:?}", imported.left_out());
}

#[test]
fn what_is_too_much_to_compare_says_so() {
    let locations: String = (0..5_000).map(|at| format!("location /{at} {{ return 200; }}")).collect();
    let text = two(&format!("server {{ location / {{ proxy_pass http://a; }} {locations} }}"));
    check_left_out(&text, &["line 2: `b`", "line 3: `server`: it has too many names and locations"]);
}

#[test]
fn what_no_location_of_a_server_takes_goes_to_the_pools_of_others_here() {
    let text = two("server { listen 8081 default_server; location /special { proxy_pass http://b; }\n\
         location / { proxy_pass http://b; } }\n\
         server { listen 8081; server_name x.com; location /api/ { proxy_pass http://a; } }");
    let left_out = left_out(&text);
    let expected = "line 5: `server x.com`: nginx sends / nowhere; in Ringway x.com/ goes to pool b";
    assert!(left_out.contains(&expected.to_owned()), "{left_out:#?}");
}

#[test]
fn a_host_that_is_named_on_another_listener_only_is_asked_on_all() {
    let text = two("server { listen 8081; server_name _; location / { proxy_pass http://a; } }\n\
         server { listen 8082; server_name x.com; location / { proxy_pass http://b; } }\n\
         server { listen 8082; server_name y.com; location /y { proxy_pass http://b; } }");
    let left_out = left_out(&text);
    for part in [
        "line 3: `location /`: Ringway has another pool for it, or none: nginx sends / to upstream a; in Ringway \
         x.com/ goes to pool b",
        "line 3: `server`: nginx sends /y to upstream a; in Ringway x.com/y goes to pool b",
        "line 5: `server y.com`: nginx sends / nowhere; in Ringway y.com/ goes to pool a",
    ] {
        assert!(left_out.contains(&part.to_owned()), "{part} is not in {left_out:#?}");
    }
}

#[test]
fn a_server_that_rewrites_is_carried_over() {
    let text = two("server { rewrite ^/old/(.*) /$1;\nlocation / { proxy_pass http://a; } }");
    check_matches(&text, &["a - -", "b b.invalid -"]);
    check_left_out(&text, &["line 2: `b`", "line 3: `rewrite ^/old/(.*) /$1`: Ringway answers nothing itself"]);
}

#[test]
fn what_holds_for_a_file_as_a_whole_is_said_once() {
    let location = |path, to| {
        let field = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for";
        format!("\nlocation {path} {{ proxy_pass http://{to}; {field}; }}")
    };
    let locations = [location("/", "a"), location("/b/", "b"), location("/b/a/", "a")].concat();
    check_left_out(
        &two(&format!("server {{ {locations} }}")),
        &["line 4: `proxy_set_header X-Forwarded-For", "line 5: `location /b/`: here and in what follows"],
    );
}

#[test]
fn slashes_that_are_not_merged_are_named() {
    let text = upstream("hash $request_uri consistent;") + "merge_slashes off;";
    check_left_out(&text, &["line 2: `merge_slashes off`: Ringway matches and passes paths as they came"]);
}

#[test]
fn a_host_field_that_clients_of_http_2_may_not_send_is_named() {
    for hash in ["$http_host", "$http_host$request_uri"] {
        let text = upstream(&format!("hash {hash} consistent;"));
        check_left_out(&text, &["line 1: `upstream u: hash $http_host"]);
    }
}

#[test]
fn a_map_for_upgrades_is_named_when_it_makes_something_else() {
    let left_out_of = |entries: &str| {
        let map = format!("map $http_upgrade $connection_upgrade {{ {entries} }}\n");
        left_out(&(map + &upstream("hash $request_uri consistent;"))).len()
    };
    for (entries, expected) in [
        ("default upgrade; '' close;", 0),
        ("default Upgrade; '' \"\";", 0),
        ("default keep-alive; websocket upgrade;", 1),
        ("default close;", 1),
        ("default upgrade; h2c close;", 1),
    ] {
        assert_eq!(left_out_of(entries), expected, "{entries}");
    }
}
