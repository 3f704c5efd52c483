//! Lists the database functions of `migrations/functions/`, the read models of `projections/`, the reactions of
//! `reactions/` and the templates of mails, so that a new one need not be listed anywhere else, and generates the
//! services that tonic calls.

#[path = "build/enums.rs"]
mod enums;
#[path = "build/services.rs"]
mod services;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, error, fs, io};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=projections");
    println!("cargo::rerun-if-changed=reactions");
    println!("cargo::rerun-if-changed=templates");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let folders = sorted(Path::new("projections"))?;
    fs::write(out.join("models.rs"), models(&folders)?)?;
    services::write(&out)?;
    let functions = sorted(Path::new("migrations/functions"))?;
    fs::write(out.join("functions.rs"), functions_of(&functions)?)?;
    let reactions = sorted(Path::new("reactions"))?;
    fs::write(out.join("reactions.rs"), reactions_of(&reactions)?)?;
    let templates = sorted(Path::new("templates"))?;
    fs::write(out.join("templates.rs"), templates_of(&templates)?)?;
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
    list(folders, |code, name, folder| {
        let (table, fold) = (format!("{folder}/table.sql"), format!("{folder}/fold.sql"));
        writeln!(code, "({name:?}, {}, {}),", included(&table), included(&fold))
    })
}

/// An array of `(name, create statement)`, one entry for each file.
fn functions_of(files: &[PathBuf]) -> Result<String, Box<dyn error::Error>> {
    list(files, |code, name, file| writeln!(code, "({name:?}, {}),", included(file)))
}

/// An array of `(name, fold.sql)`, one entry for each folder.
fn reactions_of(entries: &[PathBuf]) -> Result<String, Box<dyn error::Error>> {
    let folders: Vec<PathBuf> = entries.iter().filter(|entry| entry.is_dir()).cloned().collect();
    list(&folders, |code, name, folder| {
        let fold = format!("{folder}/fold.sql");
        writeln!(code, "({name:?}, {}),", included(&fold))
    })
}

/// An array of `(name with its ending, content)`, one entry for each file.
fn templates_of(files: &[PathBuf]) -> Result<String, Box<dyn error::Error>> {
    list(files, |code, _, file| {
        let name = file.rsplit('/').next().unwrap_or(file);
        writeln!(code, "({name:?}, {}),", included(file))
    })
}

/// An array with one element for each path; `entry` writes it from the file's name, without an extension, and
/// its path.
fn list(
    paths: &[PathBuf],
    entry: impl Fn(&mut String, &str, &str) -> std::fmt::Result,
) -> Result<String, Box<dyn error::Error>> {
    let mut code = String::from("[\n");
    for path in paths {
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a path without name")?;
        entry(&mut code, name, path.to_str().ok_or("a path that is not text")?)?;
    }
    code.push(']');
    Ok(code)
}

/// An expression that includes the text of a file by its path relative to this folder: a copied build folder
/// must not refer to the original.
fn included(path: &str) -> String {
    format!(r#"include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/{path}"))"#)
}
