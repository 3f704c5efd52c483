//! `PGOPTIONS`, which libpq adds to every connection. A setting that is meant for psql must not reach the
//! connections of a server, and one that Postgres does not know would end `dev`. What the URL of the database
//! says in `options` counts.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::CliError;

const NAME: &str = "PGOPTIONS";

/// Replaces this process with the same program without the variable, if it is set. sqlx reads the variable for
/// each connection, and offers no way to leave it out; a process cannot safely change its own environment.
pub(super) fn leave_out() -> Result<(), CliError> {
    if std::env::var_os(NAME).is_none() {
        return Ok(());
    }
    tracing::info!("{NAME} is ignored; write settings into the URL, as in options=-cNAME%3DVALUE");
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe()?;
    let error = Command::new(program).arg0(name).args(arguments).env_remove(NAME).exec();
    Err(format!("cannot start again without {NAME}: {error}; unset it").into())
}
