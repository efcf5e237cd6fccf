//! Changes our section of a file of lines, as `/etc/hosts.deny`: written beside it, synced, renamed.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::exec::{Done, Failed, Why};
use crate::action::plan::{EditFile, LineChange};

/// A file beyond this is none that we would rewrite, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Two jails do not write one file at once.
static ONE: Mutex<()> = Mutex::new(());

/// Does the change; what is worth a note comes back with it.
///
/// # Errors
///
/// When the file cannot be read or written, or a check finds a line missing.
pub fn apply(edit: &EditFile) -> Result<(Done, Vec<String>), Failed> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(&edit.path);
    // What a link points to is written, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let text = read(&target).map_err(|error| failed(path, "read", &error))?;
    let section = Section::find(&text, &edit.section);
    let mut lines: Vec<&str> = section.lines.clone();
    match &edit.change {
        LineChange::Inspect => return Ok((Done::default(), inspect(path, &text))),
        LineChange::List => {
            return Ok((Done { stdout: lines.iter().map(|l| format!("{l}\n")).collect() }, vec![]));
        }
        LineChange::Check(wanted) => {
            return match wanted.iter().find(|line| !lines.contains(&line.as_str())) {
                None => Ok((Done::default(), Vec::new())),
                Some(line) => {
                    let text = format!("'{line}' is gone from {}", path.display());
                    Err(Failed { text, why: Why::Refused })
                }
            };
        }
        LineChange::Add(new) => {
            let mut known: HashSet<&str> = lines.iter().copied().collect();
            lines.extend(new.iter().map(String::as_str).filter(|line| known.insert(*line)));
        }
        LineChange::Remove(old) => {
            let old: HashSet<&str> = old.iter().map(String::as_str).collect();
            lines.retain(|line| !old.contains(line));
        }
        LineChange::Clear => lines.clear(),
    }
    if lines != section.lines {
        let new = section.with(&edit.section, &lines);
        write(&target, &new).map_err(|error| failed(path, "write", &error))?;
    }
    Ok((Done::default(), Vec::new()))
}

fn failed(path: &Path, verb: &str, error: &std::io::Error) -> Failed {
    let text = format!("cannot {verb} {}: {error}", path.display());
    Failed { text, why: Why::System }
}

fn read(path: &Path) -> std::io::Result<String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_file() => return Err(std::io::Error::other("it is no plain file")),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(std::io::Error::other("it is larger than 64 MiB"));
        }
        Ok(_) => (),
    }
    fs::read_to_string(path)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.sentryban-{}", std::process::id()));
    let attempt = || {
        let _ = fs::remove_file(&beside);
        let mut file = File::create_new(&beside)?;
        file.write_all(text.as_bytes())?;
        match fs::metadata(path) {
            Ok(meta) => {
                file.set_permissions(meta.permissions())?;
                std::os::unix::fs::fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
            }
            Err(_) => file.set_permissions(fs::Permissions::from_mode(0o644))?,
        }
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    let result = attempt();
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

/// A file cut at our section.
struct Section<'a> {
    before: &'a str,
    lines: Vec<&'a str>,
    after: &'a str,
}

impl<'a> Section<'a> {
    fn find(text: &'a str, name: &str) -> Section<'a> {
        let (begin, end) = (begin(name), end(name));
        let found = text.find(&begin).filter(|at| *at == 0 || text[..*at].ends_with('\n'));
        let parts = found.and_then(|at| {
            let (before, rest) = text.split_at_checked(at)?;
            let inside = rest.get(begin.len()..)?;
            let close = inside.find(&end)?;
            Some((before, inside.get(..close)?, inside.get(close + end.len()..)?))
        });
        match parts {
            Some((before, inside, after)) => {
                Section { before, lines: inside.lines().collect(), after }
            }
            // On top: the first line that fits an address decides.
            None => Section { before: "", lines: Vec::new(), after: text },
        }
    }

    fn with(&self, name: &str, lines: &[&str]) -> String {
        let mut text = self.before.to_owned();
        if !lines.is_empty() {
            text += &begin(name);
            lines.iter().for_each(|line| {
                text += line;
                text.push('\n');
            });
            text += &end(name);
        }
        text + self.after
    }
}

fn begin(name: &str) -> String {
    format!("# sentryban {name} begins: do not edit\n")
}

fn end(name: &str) -> String {
    format!("# sentryban {name} ends\n")
}

/// Says when lines of this file cannot keep anybody out.
fn inspect(path: &Path, text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let opens = |line: &str| {
        let words: Vec<String> =
            line.split(':').map(|word| word.trim().to_ascii_lowercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["all", "all", "allow", ..])
    };
    let allow = path.with_file_name("hosts.allow");
    if !path.ends_with("hosts.allow")
        && let Ok(text) = fs::read_to_string(&allow)
    {
        let lets_all_in = |line: &str| {
            let bare: String = line.split_whitespace().collect::<String>().to_ascii_lowercase();
            bare == "all:all" || opens(line)
        };
        if text.lines().any(lets_all_in) {
            let place = allow.display();
            let what = "lets everybody in (ALL : ALL) before hosts.deny is asked";
            notes.push(format!("{place} {what}: bans there have no effect"));
        }
    }
    let before_ours = text.split("# sentryban ").next().unwrap_or_default();
    if before_ours.lines().any(opens) && text.contains("# sentryban ") {
        let what = "lets everybody in (ALL : ALL : allow) before our lines";
        notes.push(format!("{} {what}: move that line down", path.display()));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_once_and_the_rest_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("sentryban-edit-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("hosts.deny");
        fs::write(&path, "# mine\nsshd: 198.51.100.7\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let edit = |section: &str, change| {
            let path = path.to_string_lossy().into_owned();
            apply(&EditFile { path, section: section.to_owned(), change })
        };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for _ in 0..3 {
            edit("sshd", LineChange::Add(lines("ALL: 192.0.2.1\nALL: 192.0.2.2"))).unwrap();
        }
        edit("web", LineChange::Add(lines("ALL: 192.0.2.1"))).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "# sentryban web begins: do not edit\nALL: 192.0.2.1\n# sentryban web ends\n\
             # sentryban sshd begins: do not edit\nALL: 192.0.2.1\nALL: 192.0.2.2\n\
             # sentryban sshd ends\n# mine\nsshd: 198.51.100.7\n"
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        edit("sshd", LineChange::Check(lines("ALL: 192.0.2.2"))).unwrap();
        edit("sshd", LineChange::Remove(lines("ALL: 192.0.2.2\nALL: 203.0.113.9"))).unwrap();
        assert!(edit("sshd", LineChange::Check(lines("ALL: 192.0.2.2"))).is_err());
        assert_eq!(edit("sshd", LineChange::List).unwrap().0.stdout, "ALL: 192.0.2.1\n");
        edit("sshd", LineChange::Clear).unwrap();
        edit("web", LineChange::Clear).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\nsshd: 198.51.100.7\n");
        fs::write(dir.join("hosts.allow"), "ALL : ALL : allow\n").unwrap();
        let notes = edit("sshd", LineChange::Inspect).unwrap().1;
        assert!(notes.len() == 1 && notes[0].contains("no effect"), "{notes:?}");
        let _ = fs::remove_dir_all(&dir);
    }
}
