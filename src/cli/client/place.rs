//! Where the server is to be found.

use std::path::PathBuf;

use crate::{
    cli::{exit::Fault, flags::Given, server::tree},
    config,
};

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
    Ok(main.socket.value.into())
}
