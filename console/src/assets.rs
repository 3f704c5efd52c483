//! The files that pages refer to: style, script and icon. They are part of the program, under names that contain a hash
//! of their content, so that a browser may keep each for good.

/// A file that pages refer to.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name in the folder, as in `style.css`.
    pub name: &'static str,
    /// Its name with a hash of its content, as in `style.0123456789ab.css`.
    pub hashed: &'static str,
    /// The content.
    pub plain: &'static [u8],
    /// The content, compressed with gzip.
    pub gzip: &'static [u8],
}

/// Every asset.
pub const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

impl Asset {
    /// The asset whose hashed name this is.
    #[must_use]
    pub fn find(hashed: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.hashed == hashed)
    }

    /// The type of its content.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}

/// The path of an asset, below the root of the pages; empty if there is none of this name.
#[must_use]
pub fn path(name: &str) -> String {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    asset.map(|asset| format!("/assets/{}", asset.hashed)).unwrap_or_default()
}
