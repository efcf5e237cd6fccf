//! A configuration tree: a directory, and the compiled-in files behind it.
//!
//! What is asked for as `jail` is put together, the last one winning, from
//!
//! ```text
//! jail.conf   jail.d/*.conf (sorted)   jail.local   jail.d/*.local (sorted)
//! ```
//!
//! each with what its `[INCLUDES]` name `before` and `after` it, relative to the including file,
//! and with a `.local` twin after each included file. A file that DIR lacks is looked for among
//! the compiled-in ones. Drop-ins that are compiled in count only while the file to which they
//! belong is the compiled-in one: a `jail.conf` in DIR replaces ours whole.

use std::{
    fs,
    io::Read,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use indexmap::IndexMap;

use super::{
    builtin,
    finding::{ConfigError, Finding},
    ini::{self, Ini},
    text::Options,
};
use crate::place::Place;

/// Where the compiled-in files seem to be.
const BUILTIN_ROOT: &str = "<built-in>";

/// A configuration file beyond this is a mistake.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// How many files one name may draw in through includes; a circle is cut long before.
const FILES_MAX: usize = 500;

/// How deep includes may nest.
const INCLUDE_DEPTH_MAX: usize = 32;

/// A compiled-in file: its path within the tree, and its text.
pub type BuiltinFile = (&'static str, &'static str);

/// A directory with configuration, and what stands in for the files that it lacks.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    builtin: &'static [BuiltinFile],
}

impl Tree {
    /// A directory (or none), with the compiled-in `filters/` and `jails/` behind it.
    pub fn new(dir: Option<PathBuf>) -> Tree {
        Tree::with_builtin(dir, builtin::FILES)
    }

    /// A directory (or none), with other files behind it; `&[]` for none at all.
    pub fn with_builtin(dir: Option<PathBuf>, builtin: &'static [BuiltinFile]) -> Tree {
        Tree { root: dir.unwrap_or_else(|| PathBuf::from(BUILTIN_ROOT)), builtin }
    }

    /// The directory, or `<built-in>`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if there is a directory, and not the compiled-in files alone.
    pub fn is_on_disk(&self) -> bool {
        self.root != Path::new(BUILTIN_ROOT)
    }

    /// True if DIR itself, not the compiled-in tree, has the file.
    pub fn has_on_disk(&self, name: &str) -> bool {
        self.root.join(name).exists()
    }

    /// The names in a folder of the tree, such as `filter.d`, without `.conf` or `.local`; sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .on_disk(&self.root.join(folder), &["conf", "local"])
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        for (path, _) in self.builtin {
            let inside = path.strip_prefix(folder).and_then(|path| path.strip_prefix('/'));
            names.extend(inside.and_then(|file| file.strip_suffix(".conf")).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        names
    }

    /// Everything that belongs to `name` (`jail`, `filter.d/sshd`); `None` if there is no file.
    pub fn read(&self, name: &str) -> Option<Merged> {
        let base = self.root.join(name);
        let [conf, local, folder] = [".conf", ".local", ".d"].map(|ending| {
            let mut path = base.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        });
        let main = self.find(&conf);
        let mut files: Vec<PathBuf> = vec![conf];
        files.extend(self.on_disk(&folder, &["conf"]));
        if !matches!(main, Some(Source::Disk(_))) {
            files.extend(self.compiled_in(&folder));
        }
        files.push(local);
        files.extend(self.on_disk(&folder, &["local"]));
        let dangling = files.iter().filter(|file| {
            file.symlink_metadata().is_ok() && file.try_exists().is_ok_and(|exists| !exists)
        });
        let dangling: Vec<Finding> = dangling
            .map(|file| {
                let write = "mend the link, or remove it";
                Finding::warning(Place::new(file, 0), "this link leads nowhere", write)
            })
            .collect();
        files.retain(|file| self.find(file).is_some());
        (!files.is_empty()).then(|| {
            let mut merged = self.read_files(&files);
            dangling.into_iter().for_each(|finding| merged.note(finding));
            merged
        })
    }

    /// One file by its path, with its includes and `.local` twins, but no `.d` folder: the way in
    /// which a file that belongs to no tree is read.
    pub fn read_file(&self, path: &Path) -> Merged {
        self.read_files(&[path.to_owned()])
    }

    fn read_files(&self, files: &[PathBuf]) -> Merged {
        let mut merged = Merged::default();
        let mut order = Vec::new();
        self.collect(files, &mut Vec::new(), &mut order, &mut merged);
        for (name, ini) in order {
            merged.add(ini);
            merged.files.push(name);
        }
        merged
    }

    /// Lists the files with their includes, in the order in which they are merged.
    fn collect(
        &self,
        files: &[PathBuf],
        open: &mut Vec<PathBuf>,
        order: &mut Vec<(Arc<str>, Ini)>,
        merged: &mut Merged,
    ) {
        let mut all: Vec<PathBuf> = Vec::new();
        for file in files {
            all.push(file.clone());
            let twin = file.with_extension("local");
            if !files.contains(&twin) && self.find(&twin).is_some() {
                all.push(twin);
            }
        }
        for file in all {
            let Some((name, ini)) = self.parse(&file, merged) else { continue };
            let [before, after] =
                ["before", "after"].map(|option| self.includes(&ini, option, &file, open, merged));
            open.push(plain(&file));
            for include in before {
                self.collect(&[include], open, order, merged);
            }
            order.push((name, ini));
            for include in after {
                self.collect(&[include], open, order, merged);
            }
            open.pop();
        }
    }

    /// What `[INCLUDES] before` (or `after`) of a file names, as paths.
    fn includes(
        &self,
        ini: &Ini,
        option: &str,
        file: &Path,
        open: &[PathBuf],
        merged: &mut Merged,
    ) -> Vec<PathBuf> {
        let mut alone = Merged::default();
        alone.add(ini.clone());
        if alone.section("INCLUDES").is_none() {
            return Vec::new();
        }
        let value = match alone.get("INCLUDES", option, &Options::new()) {
            Ok(value) => value,
            Err(super::interpolate::Lack::Broken(broken)) => {
                merged.note(*broken);
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut includes = Vec::new();
        for line in value.lines().filter(|line| !line.value.is_empty()) {
            let path = folder.join(line.value);
            let named = |what: &str| format!("{option} = {} {what}", line.value);
            if open.contains(&plain(&path)) || plain(&path) == plain(file) {
                let what = named("includes a file that is just being read");
                let write = "remove it: a file cannot include itself, directly or through others";
                merged.note(Finding::warning(line.at, what, write).within("INCLUDES"));
            } else if merged.opened >= FILES_MAX || open.len() >= INCLUDE_DEPTH_MAX {
                let what = named("is one include too many");
                let write = format!(
                    "nest includes at most {INCLUDE_DEPTH_MAX} deep, {FILES_MAX} files in all"
                );
                merged.note(Finding::fault(line.at, what, write).within("INCLUDES"));
            } else if self.find(&path).is_some() {
                merged.opened += 1;
                includes.push(path);
            } else if self.find(&path.with_extension("local")).is_some() {
                merged.opened += 1;
                includes.push(path.with_extension("local"));
            } else if path.extension().is_none_or(|extension| extension != "local") {
                let what = named("names a file that does not exist");
                let write = self.near_file(&path);
                merged.note(Finding::fault(line.at, what, write).within("INCLUDES"));
            }
        }
        includes
    }

    fn near_file(&self, path: &Path) -> String {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let here = self.on_disk(folder, &["conf", "local"]);
        let here: Vec<_> =
            here.iter().filter_map(|path| path.file_name()).map(|n| n.to_string_lossy()).collect();
        match super::nearest(&name, here.iter().map(AsRef::as_ref)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => "write a path relative to this file, or remove the line".to_owned(),
        }
    }

    /// Reads one file; what is wrong with it is noted, what is good is handed on.
    fn parse(&self, path: &Path, merged: &mut Merged) -> Option<(Arc<str>, Ini)> {
        let source = self.find(path)?;
        let name: Arc<str> = source.name().into();
        let (ini, findings) = match &source {
            Source::Builtin(_, text) => ini::parse(text.as_bytes(), &name),
            Source::Disk(path) => match contents(path) {
                Ok(bytes) => ini::parse(&bytes, &name),
                Err(fault) => {
                    merged.note(fault);
                    return None;
                }
            },
        };
        for finding in findings {
            merged.note(finding);
        }
        Some((name, ini))
    }

    /// Where a path of the tree really is.
    fn find(&self, path: &Path) -> Option<Source> {
        // What cannot even be looked at is there: reading it tells why.
        if path.try_exists().unwrap_or(true) {
            return Some(Source::Disk(path.to_owned()));
        }
        let inside = plain(path);
        let inside = inside.strip_prefix(plain(&self.root)).ok()?.to_str()?;
        let (name, text) = self.builtin.iter().find(|(name, _)| *name == inside)?;
        Some(Source::Builtin(name, text))
    }

    /// The files of a folder with one of these endings, sorted; none if it cannot be listed.
    fn on_disk(&self, folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| {
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            !hidden && endings.contains(&ending)
        });
        files.sort();
        files
    }

    fn compiled_in(&self, folder: &Path) -> Vec<PathBuf> {
        let inside = |name: &&str| Path::new(name).parent().map(|at| self.root.join(at));
        let names = self.builtin.iter().map(|(name, _)| *name);
        let mut files: Vec<PathBuf> = names
            .filter(|name| inside(name).as_deref() == Some(folder) && name.ends_with(".conf"))
            .map(|name| self.root.join(name))
            .collect();
        files.sort();
        files
    }
}

enum Source {
    Disk(PathBuf),
    Builtin(&'static str, &'static str),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Source::Disk(path) => path.to_string_lossy().into_owned(),
            Source::Builtin(name, _) => format!("{BUILTIN_ROOT}/{name}"),
        }
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, Finding> {
    let fault = |what: String, write: &str| Finding::fault(Place::new(path, 0), what, write);
    let unreadable = |error: std::io::Error| {
        fault(format!("the file cannot be read: {error}"), "check its owner and mode")
    };
    let kind = fs::metadata(path).map_err(unreadable)?.file_type();
    // A pipe would block for ever. /dev/null is a way to switch a file off.
    if kind.is_dir() || !(kind.is_file() || path.canonicalize().is_ok_and(|p| p.ends_with("null")))
    {
        return Err(fault("this is not a file".to_owned(), "replace it by a file, or remove it"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let what = format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(fault(what, "a configuration is never so large; remove it"));
    }
    Ok(bytes)
}

/// A path without `.` and `..`, as far as its text tells.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Several files put together.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// `[DEFAULT]`.
    pub defaults: Options,
    /// All other sections, in the order in which they first came.
    pub sections: IndexMap<String, Options>,
    /// What an option said before a later file overrode it, by section.
    pub known: IndexMap<String, Options>,
    /// Where each section's header was last seen.
    pub headers: IndexMap<String, Place>,
    /// The files as [`Place`]s name them, in the order of merging.
    pub files: Vec<Arc<str>>,
    /// What is wrong in them.
    pub findings: Vec<Finding>,
    opened: usize,
}

impl Merged {
    /// A section by name; `KNOWN/x` is what `x` said before.
    pub fn section(&self, name: &str) -> Option<&Options> {
        match name.strip_prefix("KNOWN/") {
            Some(known) => self.known.get(known),
            None => self.sections.get(name),
        }
    }

    /// Its own value of an option, unresolved, not looking at the defaults.
    pub fn has_own(&self, section: &str, option: &str) -> bool {
        self.section(section).is_some_and(|options| options.contains_key(option))
    }

    /// Fails if anything in the files is a fault; else hands the warnings over.
    pub fn sound(&mut self) -> Result<Vec<Finding>, ConfigError> {
        let findings = std::mem::take(&mut self.findings);
        match findings.iter().any(Finding::is_fault) {
            true => Err(ConfigError { findings }),
            false => Ok(findings),
        }
    }

    fn note(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Puts a file on top of those before it.
    fn add(&mut self, ini: Ini) {
        self.defaults.extend(ini.defaults);
        for (name, section) in ini.sections {
            let (name, options) = match conditional(&name) {
                None => (name, section.options),
                Some((plain, condition)) => {
                    let renamed = section.options.into_iter();
                    let renamed = renamed.map(|(name, text)| (name + condition, text)).collect();
                    (plain.to_owned(), renamed)
                }
            };
            self.headers.insert(name.clone(), section.at);
            match self.sections.get_mut(&name) {
                None => {
                    self.sections.insert(name, options);
                }
                Some(former) => {
                    let known = self.known.entry(name).or_default();
                    let overridden = former.iter().filter(|(name, _)| options.contains_key(*name));
                    known.extend(overridden.map(|(name, text)| (name.clone(), text.clone())));
                    former.extend(options);
                }
            }
        }
    }
}

/// `Init?family=inet6` is the section `Init`, whose options get `?family=inet6` added.
pub(super) fn conditional(name: &str) -> Option<(&str, &str)> {
    let at = name.find('?')?;
    let (plain, condition) = name.split_at_checked(at)?;
    let is_word = !plain.is_empty() && plain.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_word && condition.len() > 1).then_some((plain, condition))
}
