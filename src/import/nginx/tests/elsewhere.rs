//! What is said of locations whose requests go elsewhere in Ringway.

use super::*;

#[test]
fn all_borders_of_a_location_where_requests_go_elsewhere_are_told() {
    let text = two("server { listen 80; location / { proxy_pass http://a; }\n\
         location /v1 { proxy_pass http://b; } }\n\
         server { listen 81; server_name x.com; location /v1/ { proxy_pass http://a; } }");
    let left_out = left_out(&text);
    let expected = "line 4: `location /v1`: Ringway has another pool for it, or none: nginx sends /v1/x to upstream b; \
                    in Ringway x.com/v1/x goes to pool a-2; Ringway matches whole segments of paths: nginx sends \
                    /v1x to upstream b; in Ringway /v1x goes to pool a";
    assert!(left_out.contains(&expected.to_owned()), "{left_out:#?}");
}

#[test]
fn of_many_differences_at_a_location_a_few_are_told() {
    let other = |at: u8| format!("server {{ listen 81; server_name h{at}; location / {{ proxy_pass http://a; }} }}\n");
    let others: String = (0..8).map(other).collect();
    let first = "server { listen 80; location / { proxy_pass http://a; } location /x { return 404; } }";
    let left_out = left_out(&two(&format!("{first}\n{others}")));
    let is_told =
        |line: &&String| line.contains("`location /x`: `return 404`") && line.ends_with("; and 5 more like these");
    assert!(left_out.iter().any(|line| is_told(&line)), "{left_out:#?}");
}

#[test]
fn a_regular_expression_says_whether_nginx_hashes_what_it_takes() {
    let text = two("server { location / { proxy_pass http://a; }\nlocation ~ ^/rooms/ { proxy_pass http://b; }\n\
         location ~* \\.png$ { root /srv; }\nlocation ~ \\.php$ { proxy_pass http://nobody; } }");
    let left_out = left_out(&text);
    for (line, part) in [
        (4, "nginx hashes requests that it takes, over upstream b; Ringway sends them where"),
        (5, "nginx does not hash requests that it takes (`root /srv` answers there, which does not hash)"),
        (6, "nginx does not hash requests that it takes (nobody does not hash); Ringway hashes"),
    ] {
        let is_it = |told: &String| told.starts_with(&format!("line {line}: `location ~")) && told.contains(part);
        assert!(left_out.iter().any(is_it), "line {line} {part}: {left_out:#?}");
    }
}
