//! The files that a jail's `logpath` means now.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use crate::source::is_rotated;

/// True if a path has to be looked for.
pub(super) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The files that match, in the order of their names. What rotation has made of another match is
/// left out: whoever follows that one reads it, under either name.
pub(super) fn matches(pattern: &str) -> Vec<PathBuf> {
    let Ok(found) = glob::glob(pattern) else { return Vec::new() };
    let found: Vec<PathBuf> = found.flatten().filter(|path| !path.is_dir()).collect();
    let mut folders: HashMap<Option<&Path>, Vec<&PathBuf>> = HashMap::new();
    for path in &found {
        folders.entry(path.parent()).or_default().push(path);
    }
    let is_old = |path: &PathBuf| {
        let others = folders.get(&path.parent());
        others.is_some_and(|others| others.iter().any(|log| is_rotated(log, path)))
    };
    found.iter().filter(|path| !is_old(path)).cloned().collect()
}

/// The directory in which the first part of a glob is looked for.
pub(super) fn folder(pattern: &str) -> Option<&Path> {
    let plain = pattern.find(['*', '?', '[']).and_then(|at| pattern.get(..at))?;
    Some(Path::new(plain.get(..=plain.rfind('/')?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_watched_where_it_begins() {
        assert_eq!(folder("/var/log/*.log"), Some(Path::new("/var/log/")));
        assert_eq!(folder("/srv/www/*/access[0-9].log"), Some(Path::new("/srv/www/")));
        assert_eq!(folder("*.log"), None);
        assert!(is_glob("/a?b") && !is_glob("/var/log/messages"));
    }
}
