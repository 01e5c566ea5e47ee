//! The shipped systemd units: systemd understands them, and leaves little to whoever gets into the process.

use crate::program::Directory;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Output;

const UNITS: [&str; 3] = ["ringway.service", "ringway.socket", "ringway@.service"];

/// What `systemd-analyze security` may count against a service, in tenths: 0 is safe, 100 is not. What it does count is
/// that the services use the network, files in `/run` and low ports.
const EXPOSURE_MAX: u32 = 20;

#[test]
fn systemd_reads_the_units_without_a_complaint() {
    let units = installed("units-verify");
    for unit in UNITS {
        let found = analyze(&units, &["verify", "--man=no", &format!("./{unit}")]);
        assert!(found.status.success() && found.stderr.is_empty(), "{unit}: {found:?}");
    }
}

#[test]
fn the_services_are_hardly_exposed() {
    let units = installed("units-security");
    for unit in UNITS.into_iter().filter(|unit| unit.ends_with(".service")) {
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, unit];
        let found = analyze(&units, &arguments);
        assert!(found.status.success(), "{unit}:\n{}", String::from_utf8_lossy(&found.stdout));
    }
}

/// Runs `systemd-analyze` beside the units.
fn analyze(units: &Directory, arguments: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).current_dir(units.path(""));
    command.output().expect("systemd-analyze, from Debian's package systemd")
}

/// The units with the built program in the place of the installed one, for which systemd looks.
fn installed(name: &str) -> Directory {
    let units = Directory::new(name);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    for unit in UNITS {
        let text = fs::read_to_string(shipped.join(unit)).unwrap();
        fs::write(units.path(unit), text.replace("/usr/bin/ringway", env!("CARGO_BIN_EXE_ringway"))).unwrap();
    }
    units
}
