//! Whatever is read as a configuration of nginx is refused, or becomes one that Ringway takes.

use super::*;
use proptest::prelude::*;

/// Pieces that configurations are made of, whole and broken.
fn pieces() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "upstream u {",
        "upstream a{",
        "hash $request_uri consistent;",
        "hash \"$host-$arg_a\";",
        "server 10.0.0.1:80;",
        "server b down;",
        "server unix:/a weight=7;",
        "server c:81 max_fails=1 backup;",
        "server {",
        "listen 80;",
        "listen 443 ssl;",
        "server_name a.b *.b .c ~x _;",
        "location / {",
        "location = /a {",
        "location /b {",
        "location ~ x {",
        "proxy_pass http://u;",
        "proxy_pass http://a/;",
        "proxy_set_header Host $host;",
        "proxy_set_header Host 'a b';",
        "proxy_read_timeout 5s;",
        "map $http_a $k {",
        "default $http_a;",
        "'' $host;",
        "hash $k;",
        "}",
        "}",
        "}",
        ";",
        "'",
        "\"",
        "\\",
        "#",
        "\n",
        "$",
        "${",
        "http {",
        "x_by_lua_block {",
        "--[[",
        "]]",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,8}", 1 => any::<String>()]
}

proptest! {
    #[test]
    fn whatever_is_read_becomes_a_config_or_an_error(pieces in prop::collection::vec(pieces(), 0..40)) {
        if let Ok(imported) = read(&pieces.join(" "), &nothing_included)
            && !imported.pools().is_empty()
        {
            let config = imported.to_toml("A test.");
            if let Err(errors) = Config::parse("config", &config) {
                prop_assert!(false, "{errors} in\n{config}");
            }
        }
    }

    #[test]
    fn a_broken_configuration_is_no_panic(cut in 0..=REAL.len(), put in "\\PC{0,4}", length in 0..40_usize) {
        let is_boundary = |at: &usize| REAL.is_char_boundary(*at);
        let start = (0..=cut).rfind(is_boundary).unwrap_or(0);
        let end = (cut + length..REAL.len()).find(is_boundary).unwrap_or(REAL.len());
        if let Ok(imported) = read(&format!("{}{put}{}", &REAL[..start], &REAL[end..]), &nothing_included)
            && !imported.pools().is_empty()
        {
            prop_assert!(Config::parse("config", &imported.to_toml("A test.")).is_ok());
        }
    }
}

const REAL: &str = include_str!("../../../../tests/live/imports/nginx/rooms.conf");
