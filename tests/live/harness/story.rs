//! One story: a directory of its own, and the machine to itself.

use fastrand::Rng;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use std::fs;
use std::io;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Held from the first line of a test to its last. Declare it first, so that the programs end before their directory.
pub(crate) struct Story {
    name: &'static str,
    directory: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Story {
    /// Waits for its turn, and makes an empty directory.
    pub(crate) fn begin(name: &'static str) -> Story {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = std::env::temp_dir().join(format!("ringway-live-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).unwrap();
        Story { name, directory, _turn: turn }
    }

    /// A path in the story's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file into the story's directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Random draws; it shows their seed, to repeat a run with by `RINGWAY_SEED=N`.
    pub(crate) fn random(&self) -> Rng {
        let seed = std::env::var("RINGWAY_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        self.figure(&format!("RINGWAY_SEED={seed}"));
        Rng::with_seed(seed)
    }

    /// Shows a measured figure, past the capture of test output: figures are why one runs these.
    pub(crate) fn figure(&self, text: &str) {
        let line = format!("    {}: {text}\n", self.name);
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// A small file system of its own, for running out of space. Needs root, as mounting does.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts 64 KiB of memory.
    pub(crate) fn mount(at: PathBuf) -> SmallDisk {
        fs::create_dir_all(&at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&at).output().unwrap();
        let why = String::from_utf8_lossy(&mount.stderr);
        assert!(mount.status.success(), "this test needs a small tmpfs (as root): mount says: {why}");
        SmallDisk(at)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Ports that were free a moment ago, for programs that cannot say which one they got. They lie below the range from
/// which the system takes ports of its own, so that no connection takes one in the meantime.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let mut random = fastrand::Rng::new();
    let mut held = Vec::new();
    while held.len() < count {
        let port = random.u16(10_000..30_000);
        held.extend(TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok());
    }
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// A port of the loopback interface at which connections are refused for as long as what holds it lives.
pub(crate) fn refusing_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}
