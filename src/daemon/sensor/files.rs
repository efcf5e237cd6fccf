//! Files of portsentry's: who is ignored, who was blocked, what happened.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::voice::append;
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
            self.note(mode);
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
            if seen(&path) != stamp {
                changed.push((mode, read(&path).unwrap_or_default()));
                self.note(mode);
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
            match append(&path, format!("{}\n", record.line).as_bytes()) {
                Ok(()) => _ = self.unwritable.remove(&path),
                Err(error) => {
                    let text = format!("{}: {error}", path.display());
                    if self.unwritable.insert(path) {
                        trouble.push(text);
                    }
                }
            }
            if let RecordFile::Blocked(mode) = record.file {
                self.note(mode);
            }
        }
        trouble
    }

    fn blocked_file(&self, mode: Mode) -> Option<PathBuf> {
        let mut path = self.blocked.clone()?.into_os_string();
        path.push(format!(".{mode}"));
        Some(path.into())
    }

    /// How a blocked file looks after we have written it.
    fn note(&mut self, mode: Mode) {
        let stamp = self.blocked_file(mode).as_deref().and_then(seen);
        if let Some((_, known)) = self.modes.iter_mut().find(|(known, _)| *known == mode) {
            *known = stamp;
        }
    }
}

fn seen(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len(), data.ino()))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let too_long = fs::metadata(path)?.len() > FILE_BYTES_MAX;
        if too_long { Err(io::Error::other("too long")) } else { fs::read(path) }
    };
    read().ok()
}
