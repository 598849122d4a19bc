//! Files that appear whole or not at all.
//!
//! Bytes go to a temporary sibling; [`AtomicFile::commit`] writes them to disk
//! and renames it into place. A value dropped before that removes its sibling,
//! so that an error leaves nothing behind. Validated by `tests/files/parts.rs`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{DatasetError, Result};

/// A file under construction.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl AtomicFile {
    /// Begins a file in the folder of `path`.
    ///
    /// # Errors
    /// A folder that does not exist or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| DatasetError::format(path, "is not the name of a file"))?;
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The usual rights of a new file; the system applies the umask.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary =
            builder.tempfile_in(folder(path)).map_err(DatasetError::io(path, "create"))?;
        Ok(Self { path: path.to_path_buf(), temporary })
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything to disk and renames the file into place, over an
    /// existing one.
    ///
    /// # Errors
    /// A full disk, a folder that is gone.
    pub fn commit(self) -> Result<()> {
        self.temporary
            .as_file()
            .sync_all()
            .map_err(DatasetError::io(&self.path, "write to disk"))?;
        let path = self.path.clone();
        self.rename()?;
        // Makes the new name durable where folders can be synchronised.
        if let Ok(folder) = File::open(folder(&path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl AtomicFile {
    /// Renames the file into place without waiting for the disk: whole after the
    /// program is killed, not certain to be whole after a loss of power.
    ///
    /// # Errors
    /// A folder that is gone.
    pub fn rename(self) -> Result<()> {
        let Self { path, temporary } = self;
        let renamed = temporary.persist(&path).map(|_| ()).map_err(|e| e.error);
        renamed.map_err(DatasetError::io(&path, "rename into place"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.temporary.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.temporary.seek(to)
    }
}

impl AtomicFile {
    /// Whether a file with the same bytes already stands at the final path.
    ///
    /// # Errors
    /// The bytes that were written cannot be read back.
    pub fn stands_already(&mut self) -> Result<bool> {
        let Ok(mut found) = File::open(&self.path) else { return Ok(false) };
        let failed = || DatasetError::io(&self.path, "read back");
        let own = self.temporary.as_file_mut();
        own.seek(SeekFrom::Start(0)).map_err(failed())?;
        let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            let n = fill(own, &mut a).map_err(failed())?;
            let Ok(m) = fill(&mut found, &mut b) else { return Ok(false) };
            if n != m || a[..n] != b[..m] {
                return Ok(false);
            }
            if n == 0 {
                return Ok(true);
            }
        }
    }
}

/// Reads until `into` is full or the file ends.
fn fill(file: &mut File, into: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < into.len() {
        match file.read(&mut into[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

/// The folder of a path; the current one for a bare name.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
