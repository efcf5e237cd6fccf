//! A name that somebody typed: a jail's or a filter's.

use super::{
    filters::{FilterSource, read_filter},
    finding::{ConfigError, Finding},
    jails::read_jail_filter,
    nearest,
    tree::Tree,
};
use crate::{filter::FilterSpec, place::Place};

/// What a name stood for.
#[derive(Clone, Debug)]
pub struct Named {
    /// True for a jail, false for a filter.
    pub is_jail: bool,
    /// What it looks for.
    pub spec: FilterSpec,
    /// Warnings that were met.
    pub findings: Vec<Finding>,
}

/// Reads the jail of that name, enabled or not; where there is none, the filter. `options` go before
/// what the files say; `backend` is that of the log at hand.
///
/// # Errors
/// There is neither, or what there is is broken. A broken jail is not passed over for a filter of
/// its name.
pub fn read_named(
    tree: &Tree,
    name: &str,
    options: &[(String, String)],
    backend: &str,
) -> Result<Named, ConfigError> {
    if let Some(jail) = read_jail_filter(tree, name, options, backend) {
        return jail.map(|(spec, findings)| Named { is_jail: true, spec, findings });
    }
    if !tree.names("filter.d").iter().any(|known| known == name) {
        return Err(unknown(tree, name).into());
    }
    let (spec, findings) = read_filter(tree, FilterSource::Name(name), options, backend)?;
    Ok(Named { is_jail: false, spec, findings })
}

fn unknown(tree: &Tree, name: &str) -> Finding {
    let filters = tree.names("filter.d");
    let jails = tree.read("jail").map(|merged| merged.sections).unwrap_or_default();
    let jails = jails.keys().map(String::as_str).filter(|name| *name != "INCLUDES");
    let what = format!("there is neither a jail nor a filter '{name}'");
    let write = match nearest(name, jails.chain(filters.iter().map(String::as_str))) {
        Some(near) => format!("did you mean '{near}'?"),
        None if tree.root().is_dir() => {
            format!("write {}/filter.d/{name}.conf, or name a filter's file", tree.root().display())
        }
        None => format!("name a filter's file, or one that is built in: {}", filters.join(", ")),
    };
    Finding::fault(Place::command_line(), what, write)
}
