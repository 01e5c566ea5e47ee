//! Unix sockets and their names in the file system.

use rustix::fs::Mode;
use std::fs;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

/// A socket's name in the file system. It goes when this value does, unless it is not ours, or no longer.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode of the file that is ours.
    owned: Option<(u64, u64)>,
}

impl SocketFile {
    /// A file that somebody else made and will remove.
    pub fn foreign(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), owned: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is removed at the end.
    pub fn is_owned(&self) -> bool {
        self.owned.is_some()
    }

    /// From now on the file is removed at the end.
    pub fn own(&mut self) -> io::Result<()> {
        self.owned = Some(identity(&self.path)?);
        Ok(())
    }

    /// From now on the file is left where it is: another process has it.
    pub fn disown(&mut self) {
        self.owned = None;
    }

    /// Moves the file to `path`, in the place of what is there.
    pub fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own socket there meanwhile.
        if self.owned.is_some_and(|owned| identity(&self.path).is_ok_and(|found| found == owned))
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

/// Listens on a path with the permissions `mode`, in the place of a socket that nobody listens on any more.
pub async fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    if is_served(path).await? {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
    }
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    // Until it has its mode, it is for nobody.
    let mask = rustix::process::umask(Mode::from_bits_truncate(0o777));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound?;
    let mut file = SocketFile::foreign(path);
    file.own()?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((listener, file))
}

/// Whether somebody listens on the socket at `path`, if there is one.
pub async fn is_served(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(false);
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Ok(_) => Ok(true),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
