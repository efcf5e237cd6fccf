//! What LOG, REGEX and IGNOREREGEX mean.
//!
//! One text may be a file, a line, an expression or a name. The rules stand in
//! sentryban-regex(1); they are decided here over a closure that says whether a file is there, so
//! that they can be tested as a table. Nothing is guessed at silently: a path at which nothing is
//! is an error that names it, never a line.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::cli::{
    exit::{self, Fault},
    nearest::nearest,
    terminal::plain,
};

/// LOG.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogTarget {
    /// `-`.
    Stdin,
    /// `systemd-journal`, with what stood in brackets behind it (`[journalflags=1]`), or nothing.
    Journal(String),
    /// The text itself: one line, or several joined by newlines. Raw bytes, as a log holds them.
    Lines(Vec<u8>),
    /// A path. Not yet known to exist: see [`LogTarget::check`].
    File(PathBuf),
}

/// REGEX or IGNOREREGEX.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegexTarget {
    /// A failregex or ignoreregex.
    Expression(String),
    /// A filter file that exists, with its options (`[mode=aggressive]`, brackets included, or
    /// nothing).
    File {
        /// Where it is.
        path: PathBuf,
        /// Options in brackets, as typed; may be empty.
        options: String,
    },
    /// The name of a jail or filter, to be looked up in the configuration.
    Name {
        /// The name.
        name: String,
        /// Options in brackets, as typed; may be empty.
        options: String,
    },
}

/// Decides what LOG means. `is_file` says whether something is there, of whatever kind.
pub fn log_target(log: &OsStr, is_file: impl Fn(&Path) -> bool) -> LogTarget {
    if log == "-" {
        return LogTarget::Stdin;
    }
    if is_file(Path::new(log)) {
        return LogTarget::File(log.into());
    }
    let text = log.to_string_lossy();
    if let Some(options) = text.strip_prefix("systemd-journal")
        && (options.is_empty() || options.starts_with('['))
    {
        return LogTarget::Journal(options.to_owned());
    }
    if text.contains([' ', '\t', '\n']) {
        return LogTarget::Lines(bytes_of(log));
    }
    LogTarget::File(log.into())
}

#[cfg(unix)]
fn bytes_of(text: &OsStr) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(text).to_vec()
}

#[cfg(not(unix))]
fn bytes_of(text: &OsStr) -> Vec<u8> {
    text.to_string_lossy().into_owned().into_bytes()
}

impl LogTarget {
    /// Makes sure that a file can be read, before anything else is done.
    ///
    /// # Errors
    /// Nothing at the path, or a directory, or no right to it: exit code 66 (77 for the right).
    pub fn check(&self) -> Result<(), Fault> {
        let LogTarget::File(path) = self else { return Ok(()) };
        let name = plain(&path.to_string_lossy()).into_owned();
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Fault::new(
                exit::NOINPUT,
                format!("{name}: is a directory; name a log file in it"),
            )),
            // A pipe that is opened twice has lost its writer: only files are tried.
            Ok(found) if !found.is_file() => Ok(()),
            Ok(_) => match std::fs::File::open(path) {
                Ok(_) => Ok(()),
                Err(error) => Err(unreadable(&name, &error)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Fault::new(
                exit::NOINPUT,
                format!(
                    "{name}: no such file{}\n  a line of a log is given in quotes and holds a \
                     blank, or comes through '-' (stdin)",
                    sibling_hint(path)
                ),
            )),
            Err(error) => Err(unreadable(&name, &error)),
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Fault {
    let code = match error.kind() {
        std::io::ErrorKind::PermissionDenied => exit::NOPERM,
        _ => exit::NOINPUT,
    };
    Fault::new(code, format!("{name}: cannot be read: {error}"))
}

/// Decides what REGEX means. `config` is the directory of the configuration, in which a bare file
/// name (`sshd.conf`, `filter.d/sshd.conf`) is looked up if it is not here.
///
/// # Errors
/// A path at which there is no file: exit code 66. A text that can be neither expression, path nor
/// name: exit code 64.
pub fn regex_target(
    text: &str,
    config: &Path,
    is_file: impl Fn(&Path) -> bool,
) -> Result<RegexTarget, Fault> {
    let (name, options) = split_options(text);
    // `sshd[failregex="^<HOST>"]` has a tag, but inside of a name's options.
    let named =
        is_name_like(name) && (options.is_empty() || options.contains('=') || options == "[]");
    if has_failure_id(if named { name } else { text }) {
        return Ok(RegexTarget::Expression(text.to_owned()));
    }
    if is_path_like(name) {
        let candidates = candidates(name, config);
        if let Some(path) = candidates.iter().find(|path| is_file(path)) {
            return Ok(RegexTarget::File { path: path.clone(), options: options.to_owned() });
        }
        // `a/b (c)` is an expression that forgot its host rather than a path.
        if !named && !Path::new(name).is_absolute() {
            return Err(no_failure_id(text));
        }
        if Path::new(name).is_dir() {
            let what = format!("{}: is a directory; name a filter file in it", plain(name));
            return Err(Fault::new(exit::NOINPUT, what));
        }
        let tried: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        return Err(Fault::new(
            exit::NOINPUT,
            format!(
                "{}: no such filter file (tried {}){}\n  if it is meant as a failregex, it lacks \
                 a failure id: put <HOST> where the address stands",
                plain(name),
                plain(&tried.join(", ")),
                sibling_hint(Path::new(name))
            ),
        ));
    }
    if named {
        return Ok(RegexTarget::Name { name: name.to_owned(), options: options.to_owned() });
    }
    if let Some((name, _)) = text.split_once('[')
        && is_name_like(name)
        && !text.contains(']')
    {
        return Err(Fault::usage(format!(
            "{}: the options of '{name}' are not closed: write {name}[option=value]",
            plain(text)
        )));
    }
    Err(no_failure_id(text))
}

/// Decides what IGNOREREGEX means: an expression unless it is the path of a file.
pub fn ignore_target(text: &str, is_file: impl Fn(&Path) -> bool) -> RegexTarget {
    let (name, options) = split_options(text);
    if is_path_like(name) && is_file(Path::new(name)) {
        return RegexTarget::File { path: name.into(), options: options.to_owned() };
    }
    RegexTarget::Expression(text.to_owned())
}

fn no_failure_id(text: &str) -> Fault {
    Fault::usage(format!(
        "no failure id in '{}'\n  a failregex says with <HOST>, <ADDR> or <F-ID>…</F-ID> who is \
         to be counted; a filter is given by its name or path",
        plain(text)
    ))
}

/// Cuts `name[options]` apart; options are empty where there are none.
fn split_options(text: &str) -> (&str, &str) {
    match text.find('[') {
        Some(at) if text.trim_end().ends_with(']') => text.split_at(at),
        _ => (text, ""),
    }
}

/// Names of filters, jails and their files; a regex hardly ever looks so.
fn is_name_like(name: &str) -> bool {
    let allowed = |letter: char| letter.is_alphanumeric() || "/_-.+@~".contains(letter);
    !name.is_empty() && name.chars().all(allowed)
}

fn is_path_like(name: &str) -> bool {
    name.contains('/') || name.ends_with(".conf") || name.ends_with(".local")
}

/// True if the expression says who is to be counted: the tags and groups of which fail2ban wants
/// one (the list stands in sentryban-filter(5)).
fn has_failure_id(text: &str) -> bool {
    const TAGS: &[&str] = &["HOST", "ADDR", "IP4", "IP6", "DNS", "CIDR", "SUBNET"];
    const CAPTURES: &[&str] =
        &["ID", "HOST", "IP4", "IP6", "DNS", "ADDR", "SUBNET", "CIDR", "MLFID"];
    const GROUPS: &[&str] = &["host", "fid", "ip4", "ip6", "dns", "mlfid"];
    text.split('<').skip(1).any(|rest| {
        let tag = rest.split('>').next().unwrap_or_default();
        let closed = tag.len() < rest.len();
        let capture = tag.strip_prefix("F-").map(|name| name.strip_suffix('/').unwrap_or(name));
        closed && (TAGS.contains(&tag) || capture.is_some_and(|name| CAPTURES.contains(&name)))
    }) || ["(?P<", "(?<"].iter().any(|opening| {
        text.split(opening)
            .skip(1)
            .any(|rest| GROUPS.contains(&rest.split('>').next().unwrap_or_default()))
    })
}

/// Where a filter file may be: as typed, with an ending put behind, and in the configuration.
fn candidates(name: &str, config: &Path) -> Vec<PathBuf> {
    let endings: &[&str] = if name.ends_with(".conf") || name.ends_with(".local") {
        &[""]
    } else {
        &["", ".conf", ".local"]
    };
    let mut places = vec![PathBuf::from(name)];
    if !name.contains('/') {
        places.push(config.join("filter.d").join(name));
    } else if Path::new(name).parent() == Some(Path::new("filter.d")) {
        places.push(config.join(name));
    }
    let with = |place: &PathBuf, ending: &&str| {
        let mut path = OsString::from(place);
        path.push(ending);
        PathBuf::from(path)
    };
    places.iter().flat_map(|place| endings.iter().map(move |e| with(place, e))).collect()
}

/// "did you mean": the name beside the missing file that comes nearest, or the first directory on
/// the way that is not there.
fn sibling_hint(path: &Path) -> String {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(folder);
    if let Err(error) = &entries
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return format!("\n  {} cannot be looked into: {error}", plain(&folder.to_string_lossy()));
    }
    let Ok(entries) = entries else {
        return match path.ancestors().skip(1).find(|above| above.is_dir()) {
            Some(above) if !above.as_os_str().is_empty() => {
                format!("\n  {} exists, nothing further", plain(&above.to_string_lossy()))
            }
            _ => String::new(),
        };
    };
    // A folder with more names than this is a spool, and the nearest name means nothing there.
    let names: Vec<String> = entries
        .take(10_000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    // What is there under this very name is of no use, else nobody would ask.
    let others = names.iter().map(String::as_str).filter(|name| *name != wanted);
    match nearest(&wanted, others) {
        Some(name) => {
            format!("\n  did you mean '{}'?", plain(&folder.join(name).to_string_lossy()))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_a_file_a_line_the_journal_or_stdin() {
        let files = ["a.log", "my log", "systemd-journal.log"];
        let lines = |text: &str| LogTarget::Lines(text.as_bytes().to_vec());
        let journal = |options: &str| LogTarget::Journal(options.to_owned());
        let file = |path: &str| LogTarget::File(path.into());
        let rows = [
            ("-", LogTarget::Stdin),
            ("a.log", file("a.log")),
            ("missing.log", file("missing.log")),
            ("/var/log/messages", file("/var/log/messages")),
            ("my log", file("my log")),
            ("Nov 20 10:00:00 gate x: y", lines("Nov 20 10:00:00 gate x: y")),
            ("one\ntwo", lines("one\ntwo")),
            ("systemd-journal", journal("")),
            ("systemd-journal[journalflags=1]", journal("[journalflags=1]")),
            ("systemd-journal.log", file("systemd-journal.log")),
            ("systemd-journals", file("systemd-journals")),
        ];
        for (text, expected) in rows {
            let is_file = |path: &Path| files.iter().any(|file| Path::new(file) == path);
            assert_eq!(log_target(OsStr::new(text), is_file), expected, "{text}");
        }
    }

    #[test]
    fn regex_is_an_expression_a_file_or_a_name() {
        let files = [
            "filters/portsentry.conf",
            "my.conf",
            "/c/filter.d/sshd.conf",
            "/c/filter.d/odd.local",
            "dir/noending",
        ];
        let expression = |text: &str| Ok(RegexTarget::Expression(text.to_owned()));
        let file = |path: &str, options: &str| {
            Ok(RegexTarget::File { path: path.into(), options: options.to_owned() })
        };
        let name = |name: &str, options: &str| {
            Ok(RegexTarget::Name { name: name.to_owned(), options: options.to_owned() })
        };
        let rows = [
            ("<HOST>", expression("<HOST>")),
            ("Connect from host: [^/]+/<HOST>", expression("Connect from host: [^/]+/<HOST>")),
            ("/<HOST>", expression("/<HOST>")),
            ("x <ADDR>", expression("x <ADDR>")),
            ("x <F-ID>y</F-ID>", expression("x <F-ID>y</F-ID>")),
            ("x <F-ID/>", expression("x <F-ID/>")),
            ("<F-MLFID>x</F-MLFID> y", expression("<F-MLFID>x</F-MLFID> y")),
            ("(?P<host>x)", expression("(?P<host>x)")),
            ("a/b (?P<ip4>x)", expression("a/b (?P<ip4>x)")),
            ("<SUBNET>[a=b]", expression("<SUBNET>[a=b]")),
            ("filters/portsentry.conf", file("filters/portsentry.conf", "")),
            ("filters/portsentry.conf[x=1]", file("filters/portsentry.conf", "[x=1]")),
            ("filters/portsentry", file("filters/portsentry.conf", "")),
            ("dir/noending", file("dir/noending", "")),
            ("my.conf", file("my.conf", "")),
            ("sshd.conf", file("/c/filter.d/sshd.conf", "")),
            ("filter.d/sshd.conf", file("/c/filter.d/sshd.conf", "")),
            ("filter.d/odd", file("/c/filter.d/odd.local", "")),
            ("sshd", name("sshd", "")),
            ("sshd[mode=aggressive]", name("sshd", "[mode=aggressive]")),
            ("sshd[failregex='x <HOST>']", name("sshd", "[failregex='x <HOST>']")),
            ("filters/portsentri.conf", Err((66, "no such filter file"))),
            ("/no/such.conf", Err((66, "/no/such.conf: no such filter file"))),
            ("a/b (c)", Err((64, "no failure id"))),
            ("Failed password", Err((64, "put"))),
            ("<USER>", Err((64, "no failure id"))),
            ("sshd[]", name("sshd", "[]")),
            ("sshd[mode=", Err((64, "the options of 'sshd' are not closed"))),
            ("/", Err((66, "/: is a directory; name a filter file"))),
            ("(?P<user>x)", Err((64, "no failure id"))),
        ];
        for (text, expected) in rows {
            let is_file = |path: &Path| files.iter().any(|file| Path::new(file) == path);
            match (regex_target(text, Path::new("/c"), is_file), expected) {
                (Err(fault), Err((code, part))) => {
                    assert_eq!(fault.code, code, "{text}: {fault}");
                    let part = if part == "put" { "no failure id in 'Failed" } else { part };
                    assert!(fault.text.contains(part), "{text}: {fault}");
                }
                (found, expected) => {
                    assert_eq!(found.ok(), expected.ok(), "{text}");
                }
            }
        }
    }

    #[test]
    fn ignoreregex_is_an_expression_unless_its_file_is_there() {
        let is_file = |path: &Path| path == Path::new("f/x.conf");
        assert_eq!(
            ignore_target("f/x.conf", is_file),
            RegexTarget::File { path: "f/x.conf".into(), options: String::new() }
        );
        for text in ["f/y.conf", "test", "a/b"] {
            assert_eq!(ignore_target(text, is_file), RegexTarget::Expression(text.to_owned()));
        }
    }

    #[test]
    fn a_log_that_cannot_be_read_is_named_with_its_nearest_sibling() {
        let folder = std::env::temp_dir().join(format!("sentryban-target-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("messages"), "x\n").unwrap();
        let check = |name: &str| LogTarget::File(folder.join(name)).check();
        assert_eq!(check("messages"), Ok(()));
        let missing = check("mesages").unwrap_err();
        assert_eq!(missing.code, 66);
        assert!(missing.text.contains("mesages: no such file\n  did you mean"), "{missing}");
        assert!(missing.text.contains("/messages'?"), "{missing}");
        let directory = LogTarget::File(folder.clone()).check().unwrap_err();
        assert_eq!(directory.code, 66);
        assert!(directory.text.contains("is a directory"), "{directory}");
        let deep = check("not/here/x").unwrap_err();
        assert!(deep.text.contains("exists, nothing further"), "{deep}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
