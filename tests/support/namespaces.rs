//! Namespaces of a test's own: networks, mounts and processes, all gone when the first program in them is.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Runs what is added to it in new namespaces, as root there: for root, and for users where the kernel lets them make
/// namespaces. However it ends, the kernel ends all that it has started.
pub(crate) fn command() -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut command = Command::new("unshare");
    command.args((!is_root).then_some("--map-root-user"));
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command
}
