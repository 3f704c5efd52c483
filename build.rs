//! Lists the read models of `projections/`, so that a new one needs no further mention, and generates the
//! services that tonic calls.

#[path = "build/services.rs"]
mod services;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, error, fs, io};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=projections");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let folders = sorted(&fs::canonicalize("projections")?)?;
    fs::write(out.join("models.rs"), models(&folders)?)?;
    services::write(&out)?;
    Ok(())
}

/// The entries of a directory by name.
fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}

/// An array of `(name, table.sql, fold.sql)`, one entry for each folder.
fn models(folders: &[PathBuf]) -> Result<String, Box<dyn error::Error>> {
    let mut code = String::from("[\n");
    for folder in folders {
        let name =
            folder.file_name().and_then(|name| name.to_str()).ok_or("a folder without name")?;
        let folder = folder.to_str().ok_or("a path that is not text")?;
        let (table, fold) = (format!("{folder}/table.sql"), format!("{folder}/fold.sql"));
        writeln!(code, "({name:?}, include_str!({table:?}), include_str!({fold:?})),")?;
    }
    code.push(']');
    Ok(code)
}
