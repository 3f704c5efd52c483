//! The commands that `dev` prints. Pasted into a shell, they end with a commission on a live stream.

use std::net::SocketAddr;

/// The walk-through for a server at `address`. The commands call the running binary by its path.
pub(super) fn text(scheme: &str, address: SocketAddr, admin_key: &str) -> String {
    let program = std::env::current_exe();
    let program = program.map_or_else(|_| "tributary".into(), |path| path.display().to_string());
    include_str!("walkthrough.sh")
        .replace("@ADDRESS@", &address.to_string())
        .replace("@SCHEME@", scheme)
        .replace("@PLAINTEXT@", if scheme == "http" { "-plaintext " } else { "" })
        .replace("@KEY@", &in_quotes(admin_key))
        .replace("@PROGRAM@", &format!("'{}'", in_quotes(&program)))
}

/// The text in single quotes, quoted for a shell.
fn in_quotes(text: &str) -> String {
    text.replace('\'', r"'\''")
}
