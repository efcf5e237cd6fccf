//! Where the server is to be found.

use std::path::{Path, PathBuf};

use crate::{
    cli::{exit::Fault, flags::Given, server::tree},
    config, daemon,
};

/// The socket of a server of root's.
const STOCK: &str = "/run/sentryban/sentryban.sock";

/// The socket: that of `-s`, else that of the configuration.
///
/// # Errors
/// If `-c` names no directory.
pub fn socket(given: &Given) -> Result<PathBuf, Fault> {
    if let Some(socket) = given.raw("socket") {
        return Ok(socket.into());
    }
    let tree = tree(given.raw("conf").map(PathBuf::from))?;
    let (main, _) = config::read_main(&tree);
    let socket = main.socket.value;
    // A server that is not root's lies elsewhere. Where only the system's is, it is that one's group
    // that asks.
    let own = daemon::start::user_path(&socket)
        .filter(|_| socket == STOCK && !rustix::process::geteuid().is_root())
        .filter(|own| own.exists() || !Path::new(&socket).exists());
    Ok(own.unwrap_or_else(|| socket.into()))
}
