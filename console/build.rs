//! Makes a list of `assets/`: each file with a hash of its content in its name, so that browsers may keep it for good,
//! and compressed, so that no request waits for that.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=assets");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut paths: Vec<PathBuf> = fs::read_dir("assets")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut code = String::from("&[\n");
    for path in &paths {
        let (name, hashed) = asset(path, &out)?;
        let file = path.display();
        writeln!(
            code,
            "Asset {{ name: {name:?}, hashed: {hashed:?}, \
             plain: include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{file}\")), \
             gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.gz\")) }},"
        )?;
    }
    code.push(']');
    fs::write(out.join("assets.rs"), code)?;
    Ok(())
}

/// Compresses an asset, and returns its name, and its name with the hash.
fn asset(path: &Path, out: &Path) -> Result<(String, String), Box<dyn Error>> {
    let text =
        |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str().map(String::from));
    let name = text(path.file_name()).ok_or("an asset without a name")?;
    let stem = text(path.file_stem()).ok_or("an asset without a name")?;
    let extension = text(path.extension()).ok_or("an asset without an extension")?;
    let content = fs::read(path)?;
    let mut hash = String::new();
    for byte in &Sha256::digest(&content)[..6] {
        write!(hash, "{byte:02x}")?;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&content)?;
    fs::write(out.join(format!("{name}.gz")), encoder.finish()?)?;
    Ok((name, format!("{stem}.{hash}.{extension}")))
}
