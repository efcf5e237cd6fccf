//! Files of portsentry's: who is ignored, who was blocked, what happened.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::voice::{append, open};
use crate::{
    config::sensor::SensorSpec,
    sensor::{Mode, Record, RecordFile},
};

/// A file that somebody else may fill is read up to here.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a file looked like; none for one that is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

/// The files, and how they were seen last.
#[derive(Debug, Default)]
pub struct Files {
    ignore: Option<(PathBuf, Stamp)>,
    history: Option<PathBuf>,
    blocked: Option<PathBuf>,
    modes: Vec<(Mode, Stamp)>,
    /// Files that cannot be written, which was said.
    unwritable: BTreeSet<PathBuf>,
}

impl Files {
    /// Takes the places from the configuration; forgets how the files looked.
    pub fn place(&mut self, spec: &SensorSpec) {
        let path = |one: &Option<crate::place::Located<String>>| {
            one.as_ref().map(|one| PathBuf::from(&one.value))
        };
        self.ignore = None;
        self.history = path(&spec.history);
        self.blocked = path(&spec.blocked);
        self.modes = [spec.settings.tcp, spec.settings.udp]
            .into_iter()
            .flatten()
            .map(|mode| (mode, self.blocked_file(mode).as_deref().and_then(seen)))
            .collect();
        self.unwritable.clear();
    }

    /// Empties the blocked files, as portsentry does at its start.
    ///
    /// # Errors
    /// What cannot be written, with its path.
    pub fn empty_blocked(&mut self) -> Result<(), String> {
        let mut trouble = Ok(());
        for at in 0..self.modes.len() {
            let Some(mode) = self.modes.get(at).map(|(mode, _)| *mode) else { continue };
            let Some(path) = self.blocked_file(mode) else { continue };
            if let Err(error) = fs::write(&path, "") {
                trouble = Err(format!("{}: {error}", path.display()));
                self.unwritable.insert(path.clone());
            }
            self.note(mode, seen(&path));
        }
        trouble
    }

    /// The ignore file's text if it changed; none inside if it cannot be read.
    pub fn ignored(&mut self, spec: &SensorSpec) -> Option<(PathBuf, Option<Vec<u8>>)> {
        let path = PathBuf::from(spec.ignore_file()?);
        let stamp = seen(&path);
        if self.ignore.as_ref() == Some(&(path.clone(), stamp)) {
            return None;
        }
        self.ignore = Some((path.clone(), stamp));
        let text = read(&path);
        Some((path, text))
    }

    /// The blocked files that somebody else has changed.
    pub fn changed_blocked(&mut self) -> Vec<(Mode, Vec<u8>)> {
        let mut changed = Vec::new();
        for at in 0..self.modes.len() {
            let Some((mode, stamp)) = self.modes.get(at).copied() else { continue };
            let Some(path) = self.blocked_file(mode) else { continue };
            let now = seen(&path);
            if now != stamp {
                // Noted is what it looked like before it was read: who edits it meanwhile is heard.
                self.note(mode, now);
                changed.push((mode, read(&path).unwrap_or_default()));
            }
        }
        changed
    }

    /// Writes records; what cannot be written is told once for each file.
    pub fn write(&mut self, records: &[Record]) -> Vec<String> {
        let mut trouble = Vec::new();
        for record in records {
            let path = match record.file {
                RecordFile::History => self.history.clone(),
                RecordFile::Blocked(mode) => self.blocked_file(mode),
            };
            let Some(path) = path else { continue };
            let line = format!("{}\n", record.line);
            let done = match record.file {
                RecordFile::History => append(&path, line.as_bytes()),
                RecordFile::Blocked(mode) => self.append_blocked(mode, &path, line.as_bytes()),
            };
            match done {
                Ok(()) => _ = self.unwritable.remove(&path),
                Err(error) => {
                    let text = format!("{}: {error}", path.display());
                    if self.unwritable.insert(path) {
                        trouble.push(text);
                    }
                }
            }
        }
        trouble
    }

    /// Appends to a blocked file, and notes how it looks then: unless somebody else has edited it
    /// before, or meanwhile, which has still to be looked at.
    fn append_blocked(&mut self, mode: Mode, path: &Path, line: &[u8]) -> io::Result<()> {
        let mut file = open(path)?;
        let before = file.metadata().ok().as_ref().and_then(stamp);
        file.write_all(line)?;
        let after = file.metadata().ok().as_ref().and_then(stamp);
        let known = self.modes.iter().find(|(known, _)| *known == mode).and_then(|(_, seen)| *seen);
        let is_ours = match (known, before, after) {
            (known, Some((_, length, _)), Some((_, now, _))) => {
                let was_known = known == before || known.is_none() && length == 0;
                was_known && now == length + line.len() as u64
            }
            _ => false,
        };
        if is_ours {
            self.note(mode, after);
        }
        Ok(())
    }

    fn blocked_file(&self, mode: Mode) -> Option<PathBuf> {
        let mut path = self.blocked.clone()?.into_os_string();
        path.push(format!(".{mode}"));
        Some(path.into())
    }

    /// How a blocked file looked.
    fn note(&mut self, mode: Mode, stamp: Stamp) {
        if let Some((_, known)) = self.modes.iter_mut().find(|(known, _)| *known == mode) {
            *known = stamp;
        }
    }
}

fn seen(path: &Path) -> Stamp {
    stamp(&fs::metadata(path).ok()?)
}

fn stamp(data: &fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    Some((data.modified().ok()?, data.len(), data.ino()))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let too_long = fs::metadata(path)?.len() > FILE_BYTES_MAX;
        if too_long { Err(io::Error::other("too long")) } else { fs::read(path) }
    };
    read().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_that_meets_a_line_of_ours_is_not_missed() {
        let dir = std::env::temp_dir().join(format!("sentryban-files-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("blocked.stcp");
        let mut files = Files {
            blocked: Some(dir.join("blocked")),
            modes: vec![(Mode::Stcp, None)],
            ..Files::default()
        };
        files.empty_blocked().unwrap();
        let record =
            |line: &str| Record { file: RecordFile::Blocked(Mode::Stcp), line: line.to_owned() };
        assert!(files.write(&[record("one")]).is_empty());
        assert!(files.changed_blocked().is_empty(), "what we wrote is no news");
        // Somebody empties the file, and the next line of ours comes before it was looked at.
        fs::write(&path, "").unwrap();
        files.write(&[record("two"), record("three")]);
        assert_eq!(files.changed_blocked(), [(Mode::Stcp, b"two\nthree\n".to_vec())]);
        assert!(files.changed_blocked().is_empty(), "once");
        files.write(&[record("four")]);
        assert!(files.changed_blocked().is_empty(), "and from then on as before");
        fs::remove_dir_all(&dir).unwrap();
    }
}
