//! `ringway import` on files: what an `include` of nginx names.

use crate::program::Directory;
use crate::program::Ran;
use crate::program::ringway;
use std::fs;

/// A file of an upstream of this name that hashes.
fn upstream(name: &str) -> String {
    format!("upstream {name} {{ hash $request_uri consistent; server 10.0.0.1:80; }}\n")
}

fn import(file: &str) -> Ran {
    ringway(["import", "nginx", file])
}

#[test]
fn names_of_included_files_begin_at_the_folder_of_the_first_one() {
    let directory = Directory::new("import-relative");
    fs::create_dir_all(directory.path("sites")).unwrap();
    directory.file("sites/site.conf", "include sites/upstreams/rooms.inc;\n");
    fs::create_dir_all(directory.path("sites/upstreams")).unwrap();
    directory.file("sites/upstreams/rooms.inc", &upstream("rooms"));
    let absolute = directory.file("docs.conf", &upstream("docs"));
    let main = directory.file("nginx.conf", &format!("http {{ include sites/site.conf; include {absolute}; }}\n"));
    let written = import(&main).ok();
    for name in ["name = \"rooms\"", "name = \"docs\""] {
        assert!(written.contains(name), "{name} is not in\n{written}");
    }
}

#[test]
fn the_files_of_a_pattern_are_read_in_the_order_of_their_names() {
    let directory = Directory::new("import-pattern");
    for name in ["20-b", "10-c", "30-a", ".hidden"] {
        directory.file(&format!("{name}.conf"), &upstream(&format!("u{name}")));
    }
    directory.file("40-d.txt", &upstream("u40-d"));
    let main = directory.file("nginx", "http { include *.conf; include none/*.conf; }\n");
    let written = import(&main).ok();
    let names: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert_eq!(names, ["\"u10-c\"", "\"u20-b\"", "\"u30-a\""], "{written}");
}

#[test]
fn a_file_that_is_not_there_is_answered_with_the_place_of_its_include() {
    let directory = Directory::new("import-missing");
    directory.file("sites.inc", "\n\ninclude nobody.conf;\n");
    let main = directory.file("nginx.conf", "http {\n include sites.inc;\n}\n");
    check_refused(&main, &format!("sites.inc line 3: cannot read {}: ", directory.path("nobody.conf")));
    let main = directory.file("nginx.conf", "http {\n include nobody.conf;\n}\n");
    check_refused(&main, &format!("nginx.conf: line 2: cannot read {}: ", directory.path("nobody.conf")));
}

#[test]
fn a_circle_of_includes_is_an_error() {
    let directory = Directory::new("import-circle");
    directory.file("a.inc", "include b.inc;\n");
    directory.file("b.inc", "\ninclude a.inc;\n");
    let main = directory.file("nginx.conf", "include a.inc;\n");
    check_refused(&main, "b.inc line 2: ");
    check_refused(&main, "a.inc includes itself");
    let itself = directory.file("self.conf", "include self.conf;\n");
    check_refused(&itself, "self.conf includes itself");
}

#[test]
fn files_within_files_have_a_depth() {
    let directory = Directory::new("import-deep");
    for depth in 0..20 {
        directory.file(&format!("{depth}.inc"), &format!("include {}.inc;\n", depth + 1));
    }
    directory.file("20.inc", &upstream("deep"));
    check_refused(
        &directory.file("nginx.conf", "include 0.inc;\n"),
        "15.inc line 1: files are included deeper than 16",
    );
    let main = directory.file("nginx.conf", "include 10.inc;\n");
    assert!(import(&main).ok().contains("name = \"deep\""));
}

#[track_caller]
fn check_refused(file: &str, expected: &str) {
    let ran = import(file);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
}

#[test]
fn names_with_underscores_reach_nodes_where_they_did() {
    let directory = Directory::new("import-underscores");
    let haproxy = "defaults\n mode http\nfrontend f\n bind :8080\n default_backend b\nbackend b\n balance uri\n \
                   hash-type consistent\n server a 10.0.0.1:80\n";
    let written = ringway(["import", "haproxy", &directory.file("haproxy.cfg", haproxy)]).ok();
    assert!(written.contains("\nunderscore-headers = \"pass\"\n"), "{written}");
    let written = import(&directory.file("nginx.conf", &format!("http {{ {} }}", upstream("b")))).stdout;
    assert!(!written.contains("underscore-headers"), "{written}");
}
