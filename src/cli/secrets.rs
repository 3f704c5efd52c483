//! Files with secrets in the data directory.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::CliError;

/// Only the owner may read and write.
const MODE: u32 = 0o600;

/// Writes a line to a file that only its owner can read, whatever the umask, and whatever the file was before.
pub(super) fn write(path: &Path, secret: &str) -> Result<(), CliError> {
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(MODE).open(path)?;
        // The mode above is that of a new file only, and the umask may take something away from it.
        file.set_permissions(Permissions::from_mode(MODE))?;
        writeln!(file, "{secret}")?;
        file.sync_all()
    };
    written().map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}
