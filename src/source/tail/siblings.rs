//! What a log was called before: the files that rotation has made of it, in the same directory.
//!
//! A file is found again by its inode or by its content, whatever its name. Only the names tell
//! which files came after it: `log.2` before `log.1`, `log-20261120` before `log-20261121`.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{DirEntryExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    super::Mark,
    file::{self, Open},
};

/// So many names of a directory are looked at.
const NAMES_MAX: usize = 100_000;
/// So many files with a fitting name are remembered.
const SIBLINGS_MAX: usize = 1000;
/// So many files are looked into for a known content.
const COPIES_MAX: usize = 256;

/// A file beside the log that may be an older part of it.
#[derive(Debug)]
pub(super) struct Sibling {
    pub path: PathBuf,
    meta: Metadata,
    age: Option<Age>,
}

/// The part of a rotated file's name that says how old it is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Age {
    /// `1`: the higher, the older.
    Number(u32),
    /// `20261120`, in any spelling: the higher, the younger.
    Date(String),
}

impl Age {
    fn read(text: &str) -> Option<Age> {
        let is_known = |b: u8| b.is_ascii_digit() || b"-_.:T".contains(&b);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() || !text.bytes().all(is_known) {
            return None;
        }
        match digits.len() == text.len() && digits.len() <= 4 {
            true => Some(Age::Number(digits.parse().ok()?)),
            false => Some(Age::Date(digits)),
        }
    }

    /// True if `self` was rotated away later than `other`; false where that cannot be told.
    fn is_younger(&self, other: &Age) -> bool {
        match (self, other) {
            (Age::Number(one), Age::Number(two)) => one < two,
            (Age::Date(one), Age::Date(two)) => one.len() == two.len() && one > two,
            _ => false,
        }
    }
}

/// Age of a file called `name`, if it is what rotation makes of `log`: `log.1`, `log-20261120`,
/// or `access-20261120.log` for `access.log`.
fn age(log: &str, name: &str) -> Option<Age> {
    let between = |front: &str, end: &str| {
        let rest = name.strip_prefix(front)?.strip_suffix(end)?;
        Age::read(rest.strip_prefix(['.', '-', '_'])?)
    };
    between(log, "").or_else(|| {
        let dot = log.rfind('.').filter(|at| *at > 0)?;
        between(log.get(..dot)?, log.get(dot..)?)
    })
}

/// True if `path` is what rotation has made of `log`, or a compressed file: nothing that is written
/// to.
pub fn is_rotated(log: &Path, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(one), Some(other)) = (name(log), name(path)) else { return false };
    let packed = [".gz", ".bz2", ".xz", ".zst", ".Z", ".lz4"];
    let plain = packed.iter().find_map(|end| other.strip_suffix(end));
    log.parent() == path.parent()
        && one != other
        && (age(&one, plain.unwrap_or(&other)).is_some() || plain == Some(one.as_str()))
}

impl Sibling {
    /// True if this is the file of which `mark` tells, whatever is in it.
    pub fn is_file_of(&self, mark: &Mark) -> bool {
        file::identity(&self.meta).is_same_file(mark)
    }
}

/// The files beside `log`, but for the log itself, whose names have to do with its own, or that
/// are one of those that are looked for.
pub(super) fn siblings(log: &Path, wanted: &[Mark]) -> Vec<Sibling> {
    let mut found: Vec<Sibling> = Vec::new();
    // Behind a link the log stands among its siblings under its own name.
    let itself = fs::metadata(log).ok().map(|meta| (meta.dev(), meta.ino()));
    let mut folders = vec![log.to_path_buf()];
    // A symbolic link may lead to where the rotated files are.
    folders.extend(fs::canonicalize(log).ok().filter(|real| real != log));
    for log in folders {
        let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { continue };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let name = name.to_string_lossy();
        let stem = name.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or(&name);
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.take(NAMES_MAX).flatten() {
            let other = entry.file_name();
            let other = other.to_string_lossy();
            let is_wanted = || wanted.iter().any(|mark| mark.inode == entry.ino());
            if other == name || !(other.starts_with(stem) || is_wanted()) {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            let seen = |one: &Sibling| (one.meta.dev(), one.meta.ino()) == (meta.dev(), meta.ino());
            if itself == Some((meta.dev(), meta.ino())) {
                continue;
            }
            let fits = found.len() < SIBLINGS_MAX || is_wanted();
            if meta.is_file() && fits && !found.iter().any(seen) {
                found.push(Sibling { path: entry.path(), meta, age: age(&name, &other) });
            }
        }
    }
    found
}

/// The file of which `mark` tells, opened at it, if its content fits.
pub(super) fn same(siblings: &[Sibling], mark: &Mark) -> Option<(usize, Open)> {
    resumed(siblings, place(siblings, mark)?, mark)
}

/// The same; or else a copy of its content, as copytruncate makes one, which is none of `but`.
pub(super) fn same_or_copy(
    siblings: &[Sibling],
    mark: &Mark,
    but: &[Mark],
) -> Option<(usize, Open)> {
    let same = same(siblings, mark);
    if same.is_some() || !file::is_telling(mark) {
        return same;
    }
    let is_new = |sibling: &Sibling| !but.iter().any(|mark| sibling.is_file_of(mark));
    let copies = siblings.iter().enumerate();
    let copies = copies.filter(|(_, one)| one.meta.len() >= mark.offset && is_new(one));
    copies.take(COPIES_MAX).find_map(|(at, _)| resumed(siblings, at, mark))
}

/// The file of which `mark` tells, to be read from its beginning: it is the one, yet what was read
/// is no longer in it, so it was emptied before it was rotated away.
pub(super) fn emptied(siblings: &[Sibling], mark: &Mark) -> Option<(usize, Open)> {
    let at = place(siblings, mark).filter(|_| mark.born > 0)?;
    Some((at, Open::new(&siblings.get(at)?.path).ok()?))
}

fn resumed(siblings: &[Sibling], at: usize, mark: &Mark) -> Option<(usize, Open)> {
    let mut open = Open::new(&siblings.get(at)?.path).ok()?;
    open.resume(mark).ok()?.then_some((at, open))
}

/// Which of them is the file of which `mark` tells, by its inode.
pub(super) fn place(siblings: &[Sibling], mark: &Mark) -> Option<usize> {
    siblings.iter().position(|sibling| sibling.is_file_of(mark))
}

/// The files that were the log after `old` and before now, oldest first. If `old` is not among
/// them (it was deleted), those that were written to after it was.
pub(super) fn after(
    siblings: &[Sibling],
    old: Option<usize>,
    written: Option<(i64, i64)>,
) -> Vec<&Sibling> {
    let old_age = old.map(|at| siblings.get(at).and_then(|sibling| sibling.age.as_ref()));
    let is_after = |sibling: &&Sibling| match (&sibling.age, old_age) {
        (None, _) | (Some(_), Some(None)) => false,
        (Some(age), Some(Some(old))) => age.is_younger(old),
        (Some(_), None) => {
            let at = (sibling.meta.mtime(), sibling.meta.mtime_nsec());
            written.is_some_and(|written| at > written)
        }
    };
    let mut after: Vec<&Sibling> = siblings.iter().filter(is_after).collect();
    after.sort_by(|one, two| match (&one.age, &two.age) {
        (Some(a), Some(b)) if a.is_younger(b) => std::cmp::Ordering::Greater,
        (Some(a), Some(b)) if b.is_younger(a) => std::cmp::Ordering::Less,
        _ => {
            let at = |one: &Sibling| (one.meta.mtime(), one.meta.mtime_nsec());
            at(one).cmp(&at(two))
        }
    });
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_age() {
        let rows = [
            ("messages", "messages.1", Some(Age::Number(1))),
            ("messages", "messages-20261120", Some(Age::Date("20261120".to_owned()))),
            ("messages", "messages.2026-11-20", Some(Age::Date("20261120".to_owned()))),
            ("access.log", "access-20261120.log", Some(Age::Date("20261120".to_owned()))),
            ("access.log", "access.2.log", Some(Age::Number(2))),
            ("access.log", "access.log.10", Some(Age::Number(10))),
            ("access.log", "access.log.1.gz", None),
            ("access.log", "access.log.old", None),
            ("access.log", "access.log1", None),
            ("messages", "messages.", None),
            ("messages", "messages.99999999999999999999", Some(Age::Date("9".repeat(20)))),
        ];
        for (log, name, expected) in rows {
            assert_eq!(age(log, name), expected, "{name}");
        }
        assert!(Age::Number(1).is_younger(&Age::Number(2)));
        assert!(Age::read("20261121").unwrap().is_younger(&Age::read("20261120").unwrap()));
        assert!(!Age::Number(1).is_younger(&Age::read("20261120").unwrap()));
    }
}
