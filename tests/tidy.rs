//! The house rules that a machine can check, read off the source tree itself.
//!
//! The table of floors in the header of `src/lib.rs` is the law: a room imports only from lower
//! floors, and a room marked `(pure)` there touches no clock, disk, network, process or thread.
//! Every message names what to write instead. Each rule is shown to fire at the end of this file;
//! a new rule starts with its row there. How a source is read: `tidy/code.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "tidy/code.rs"]
mod code;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use code::Code;

/// A file is split before it grows beyond this; most stay below half.
const LINES_MAX: usize = 800;

#[test]
fn the_source_tree_keeps_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let house = House::read(&fs::read_to_string(root.join("src/lib.rs")).unwrap());
    assert!(house.rooms.len() >= 5, "src/lib.rs: its table of floors is not readable any more");

    let files = tree(root);
    assert!(files.len() >= 10, "too few files below {}: is this the source?", root.display());
    let mut faults: Vec<Fault> = files.iter().flat_map(|file| file_faults(file, &house)).collect();
    faults.extend(program_faults(&files));
    let text: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(faults.is_empty(), "{} fault(s):\n{}", faults.len(), text.join("\n"));
}

/// What is wrong, where, and what to write instead.
#[derive(Eq, PartialEq)]
struct Fault {
    path: String,
    line: usize,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// One file of the tree, its path written with `/` from the root.
struct File {
    path: String,
    text: String,
}

fn file_faults(file: &File, house: &House) -> Vec<Fault> {
    let mut faults = words(file);
    let source = file.path.ends_with(".rs");
    if source || file.path.ends_with(".py") || file.path.ends_with(".sh") {
        faults.extend(too_long(file));
    }
    if ["rs", "py", "sh", "md", "toml", "conf"].iter().any(|end| has_end(&file.path, end)) {
        faults.extend(blanks(file));
    }
    if source {
        let code = Code::read(&file.text);
        faults.extend(header(file));
        faults.extend(leftovers(file, &code));
        faults.extend(floors(file, &code, house));
        faults.extend(clock(file, &code));
        faults.extend(purity(file, &code, house));
    }
    faults.dedup(); // two names out of one `use` group are one fault
    faults
}

// ---- the rules ---------------------------------------------------------------------------------

/// Imports run down: `crate::x` only where x stands on a lower floor than the file's own room.
fn floors(file: &File, code: &Code, house: &House) -> Vec<Fault> {
    let Some(room) = room_of(&file.path) else { return Vec::new() };
    let Some(floor) = house.floor(room) else {
        let text = format!("the room {room} is on no floor: enter it in the table of src/lib.rs");
        return vec![file.fault(1, text)];
    };
    let mut faults = Vec::new();
    for path in code.paths("crate") {
        let Some(other) = path.parts.get(1).filter(|other| *other != room) else { continue };
        let line = code.line(path.at);
        match house.floor(other) {
            Some(below) if below < floor => (),
            Some(same) if same == floor => faults.push(file.fault(
                line,
                format!(
                    "{room} and {other} stand on one floor and do not know each other: move what \
                     both need to a lower floor, or hand it in from above"
                ),
            )),
            Some(above) => faults.push(file.fault(
                line,
                format!(
                    "{room} (floor {floor}) imports from {other} (floor {above}): imports run \
                     down; take it as an argument or move it to a lower floor"
                ),
            )),
            // Constants of the crate itself, such as `crate::VERSION`.
            None => (),
        }
    }
    let depth = module_depth(&file.path);
    for (at, supers) in code.super_chains() {
        let here = depth + usize::from(code.is_test(at));
        if supers >= here {
            let text = "`super` leaves the room: write `crate::…`, so that the floor can be seen";
            faults.push(file.fault(code.line(at), text.to_owned()));
        }
    }
    faults
}

/// Only `src/time.rs` reads a clock; everybody else is told what time it is.
fn clock(file: &File, code: &Code) -> Vec<Fault> {
    if !file.path.starts_with("src/") || file.path == "src/time.rs" {
        return Vec::new();
    }
    let words = ["SystemTime::now", "Instant::now", "Local::now", "Utc::now"];
    code.outside_tests(&words)
        .map(|(line, word)| {
            let text = format!(
                "{word} reads a clock: take `now: Timestamp` as an argument (the face on top calls \
                 `time::now`, and `time::Stopwatch` measures)"
            );
            file.fault(line, text)
        })
        .collect()
}

/// A pure room gets everything as an argument and gives everything back as a value.
fn purity(file: &File, code: &Code, house: &House) -> Vec<Fault> {
    if !room_of(&file.path).is_some_and(|room| house.is_pure(room)) {
        return Vec::new();
    }
    const BANNED: [(&str, &str); 11] = [
        ("std::fs", "take the bytes as an argument; `config` and `cli` read files"),
        ("std::io::stdin", "take the bytes as an argument; `cli` reads them"),
        ("std::io::stdout", "return the text; `cli` prints it"),
        ("std::thread", "stay on the caller's thread; whoever reads the log owns the threads"),
        ("std::process", "return what is to be run; another room runs it"),
        ("std::net::TcpStream", "take the bytes as an argument"),
        ("std::net::TcpListener", "take the bytes as an argument"),
        ("std::net::UdpSocket", "take the bytes as an argument"),
        ("std::net::ToSocketAddrs", "mark the failure as one to look up; a resolver does so"),
        ("crate::time::now", "take `now: Timestamp` as an argument"),
        ("crate::time::Stopwatch", "let the caller measure"),
    ];
    let mut faults = Vec::new();
    for path in code.paths("std").into_iter().chain(code.paths("crate")) {
        if code.is_test(path.at) {
            continue;
        }
        let written = path.parts.join("::");
        for (banned, instead) in BANNED {
            if written == banned || written.starts_with(&format!("{banned}::")) {
                let text = format!("{banned} in a pure room: {instead}");
                faults.push(file.fault(code.line(path.at), text));
            }
        }
    }
    // The same behind an import of the parent: `use std::net; … net::TcpStream`.
    let words = ["fs::", "thread::", "process::", "TcpStream::", "TcpListener::", "UdpSocket::"];
    let tail = ["time::now(", "to_socket_addrs("];
    for (line, word) in code.outside_tests(&words).chain(code.outside_tests(&tail)) {
        if !faults.iter().any(|fault| fault.line == line) {
            let text = format!("`{word}` in a pure room: take its result as an argument");
            faults.push(file.fault(line, text));
        }
    }
    faults
}

/// Every module says first what it is.
fn header(file: &File) -> Vec<Fault> {
    let first = file.text.lines().next().unwrap_or_default();
    if first.strip_prefix("//!").is_some_and(|text| !text.trim().is_empty()) {
        return Vec::new();
    }
    vec![file.fault(1, "begins without `//!`: say in a line what this module is".to_owned())]
}

fn too_long(file: &File) -> Vec<Fault> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    let text = format!("{lines} lines: split it by what it names, {LINES_MAX} is the end");
    vec![file.fault(lines, text)]
}

fn leftovers(file: &File, code: &Code) -> Vec<Fault> {
    let rows = [
        ("dbg!", "take it out"),
        ("todo!", "write it, or leave the whole thing out"),
        ("unimplemented!", "write it, or return an error that says so"),
    ];
    let macros = rows.iter().flat_map(|(word, instead)| {
        let found = code.find(word).map(move |at| (code.line(at), *word, *instead));
        found.collect::<Vec<_>>()
    });
    let marks = [concat!("FIX", "ME"), concat!("TO", "DO")];
    let comments = file.text.lines().enumerate().flat_map(|(number, line)| {
        let found = marks.iter().filter(move |mark| has_word(line, mark));
        found.map(move |mark| (number + 1, *mark, "mend it now, or write it down as a known limit"))
    });
    macros
        .chain(comments)
        .map(|(line, word, instead)| file.fault(line, format!("{word} left over: {instead}")))
        .collect()
}

fn blanks(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        if line.contains('\t') {
            let text = "a tab: write blanks, or \\t inside of a text";
            faults.push(file.fault(number + 1, text.to_owned()));
        }
        if line.ends_with([' ', '\t']) {
            faults.push(file.fault(number + 1, "blanks at the end of the line: cut them".into()));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let last = file.text.lines().count();
        faults.push(file.fault(last, "no newline at the end: add one".to_owned()));
    }
    faults
}

/// Words that would tie the project to one machine, or to text that is not ours.
fn words(file: &File) -> Vec<Fault> {
    let rows = [
        (concat!("/wo", "rk/"), "a path of one machine: carry the data over into the project"),
        (concat!("/tmp", "/h/"), "a path of one machine: carry the data over into the project"),
        (
            concat!("general public", " license"),
            "text under a licence that is not ours: write anew",
        ),
        (concat!("Fail2Ban filter", " for"), "the head of a fail2ban filter: write our own"),
        (concat!("Fail2Ban", " configuration file"), "the head of a fail2ban file: write our own"),
    ];
    let mut faults = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let low = line.to_ascii_lowercase();
        for (word, why) in rows {
            if low.contains(&word.to_ascii_lowercase()) {
                faults.push(file.fault(number + 1, format!("`{word}`: {why}")));
            }
        }
    }
    faults
}

/// Every program is named in the README and has a man page.
fn program_faults(files: &[File]) -> Vec<Fault> {
    let readme = files.iter().find(|file| file.path == "README.md");
    let mut faults = Vec::new();
    for file in files {
        let Some(name) = file.path.strip_prefix("src/bin/").and_then(|n| n.strip_suffix(".rs"))
        else {
            continue;
        };
        if !readme.is_some_and(|readme| readme.text.contains(name)) {
            faults.push(file.fault(1, format!("README.md does not name {name}: say what it does")));
        }
        let page = format!("man/{name}.");
        let is_page = |file: &File| file.path.starts_with(&page) && !has_end(&file.path, "in");
        if !files.iter().any(is_page) {
            faults.push(file.fault(1, format!("no man page {page}N: render it with `make man`")));
        }
    }
    faults
}

// ---- the house ---------------------------------------------------------------------------------

/// The rooms and floors, as the header of `src/lib.rs` shows them.
struct House {
    rooms: Vec<Room>,
}

struct Room {
    name: String,
    floor: u8,
    pure: bool,
}

impl House {
    /// Rows look like ``//! | 4 | [`scan`] (pure) · [`config`] (reads files) |``.
    fn read(lib: &str) -> House {
        let mut rooms = Vec::new();
        for row in lib.lines().filter_map(|line| line.strip_prefix("//! |")) {
            let Some((floor, cells)) = row.split_once('|') else { continue };
            let Ok(floor) = floor.trim().parse() else { continue };
            for cell in cells.split('·') {
                let Some(name) = cell.split('`').nth(1) else { continue };
                let pure = cell.contains("(pure)");
                rooms.push(Room { name: name.to_owned(), floor, pure });
            }
        }
        House { rooms }
    }

    fn floor(&self, room: &str) -> Option<u8> {
        if room == "bin" {
            return Some(u8::MAX);
        }
        self.rooms.iter().find(|known| known.name == room).map(|known| known.floor)
    }

    fn is_pure(&self, room: &str) -> bool {
        self.rooms.iter().any(|known| known.name == room && known.pure)
    }
}

/// `src/date/zone.rs` and `src/date.rs` are in the room `date`; `src/lib.rs` is the house itself.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let room = inside.split('/').next()?;
    let room = room.strip_suffix(".rs").unwrap_or(room);
    (room != "lib").then_some(room)
}

/// How many `super` lead from the top of this file to the crate.
fn module_depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').count()
}

// ---- reading -----------------------------------------------------------------------------------

impl File {
    fn fault(&self, line: usize, text: String) -> Fault {
        Fault { path: self.path.clone(), line, text }
    }
}

fn has_end(path: &str, end: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == end)
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// All text files that belong to the project.
fn tree(root: &Path) -> Vec<File> {
    let mut files = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            let skipped = ["target", "corpus", "artifacts", ".git", "__pycache__"];
            if name == "Cargo.lock" || skipped.contains(&name.rsplit('/').next().unwrap()) {
                continue;
            }
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) {
                files.push(File { path: name, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

// ---- each rule fires ---------------------------------------------------------------------------

const LIB: &str = "//! | 7 | [`cli`] and the bins |\n\
                   //! | 4 | [`scan`] (pure) · [`config`] (reads files) |\n\
                   //! | 3 | [`filter`] (pure) |\n\
                   //! | 1 | [`net`] (pure) · [`time`] |\n";

fn faults_in(path: &str, body: &str) -> Vec<String> {
    let text = match has_end(path, "rs") {
        true => format!("//! A module.\n{body}\n"),
        false => format!("{body}\n"),
    };
    let file = File { path: path.to_owned(), text };
    file_faults(&file, &House::read(LIB)).iter().map(Fault::to_string).collect()
}

#[test]
fn every_rule_fires_once_and_says_what_to_write() {
    let machine_path = concat!("read /wo", "rk/data");
    let licence = concat!("# GNU General Public", " License, version 2");
    let mark = concat!("// FIX", "ME: later");
    let long = "// line\n".repeat(LINES_MAX);
    let rows = [
        // where, what stands there, what the message must say
        ("src/filter/a.rs", "use crate::scan::Scanner;", "imports run down"),
        ("src/filter/a.rs", "use crate::{net, scan::Scan};", "imports run down"),
        ("src/filter/a.rs", "fn f() -> crate::scan::Scan {}", "imports run down"),
        ("src/filter/a.rs", "use super::super::scan::Scan;", "write `crate::…`"),
        ("src/scan.rs", "use super::config::Jail;", "write `crate::…`"),
        ("src/scan.rs", "use crate::config::Jail;", "do not know each other"),
        ("src/scan.rs", "use crate::{filter::Filter, config};", "do not know each other"),
        ("src/attic.rs", "", "table of src/lib.rs"),
        ("src/scan.rs", "use std::fs;", "bytes as an argument"),
        ("src/net.rs", "use std::{fmt, net::{IpAddr, UdpSocket}};", "bytes as an argument"),
        ("src/scan.rs", "fn f() { std::thread::spawn(g); }", "caller's thread"),
        ("src/scan.rs", "use std::process::{Command, Stdio};", "another room runs it"),
        ("src/scan.rs", "use std::net;\nfn f() { net::TcpStream::connect(a); }", "as an argument"),
        ("src/scan.rs", "use crate::time::{Timestamp, now};", "now: Timestamp"),
        ("src/scan.rs", "use crate::time;\nfn f() { time::now(); }", "as an argument"),
        ("src/scan.rs", "fn f(h: &str) { h.to_socket_addrs(); }", "as an argument"),
        ("src/cli/a.rs", "fn f() { SystemTime::now(); }", "`time::now`"),
        ("src/config/a.rs", "fn f() { std::time::Instant::now(); }", "`time::Stopwatch`"),
        ("src/config/a.rs", "fn f() { dbg!(1); }", "take it out"),
        ("tests/a.rs", "fn f() { todo!() }", "leave the whole thing out"),
        ("src/cli/a.rs", "fn f() { unimplemented!() }", "return an error"),
        ("src/cli/a.rs", mark, "known limit"),
        ("src/cli/a.rs", "fn f() {\t}", "write blanks"),
        ("filters/a.conf", "[Definition] ", "cut them"),
        ("src/cli/a.rs", long.as_str(), "split it"),
        ("tests/logs/a", machine_path, "carry the data over"),
        ("filters/a.conf", licence, "write anew"),
    ];
    for (path, body, expected) in rows {
        let faults = faults_in(path, body);
        assert_eq!(faults.len(), 1, "{path}: {body:.60?} gives {faults:#?}");
        assert!(faults[0].contains(expected), "{path}: {body:.60?} says {}", faults[0]);
    }
}

#[test]
fn a_module_without_a_header_is_found() {
    for text in ["use std::fmt;\n", "//!\n", "// not the module's\n", "\n//! too late\n"] {
        let file = File { path: "src/net.rs".into(), text: text.into() };
        let faults = file_faults(&file, &House::read(LIB));
        assert_eq!(faults.len(), 1, "{text:?}");
        assert!(faults[0].text.contains("`//!`"), "{text:?} says {}", faults[0]);
    }
}

#[test]
fn a_program_that_nobody_mentions_is_found() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let files = [file("README.md", "one"), file("src/bin/one.rs", ""), file("man/one.1", "")];
    assert!(program_faults(&files).is_empty());
    let files = [file("README.md", "one"), file("src/bin/two.rs", ""), file("man/two.1.in", "")];
    let texts: Vec<String> = program_faults(&files).iter().map(Fault::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("README.md") && texts[1].contains("make man"), "{texts:?}");
}

#[test]
fn what_is_allowed_stays_allowed() {
    let rows = [
        ("src/scan.rs", "use crate::{filter::Filter, net::Cidr, time::Timestamp};"),
        ("src/scan.rs", "use crate::VERSION;"),
        ("src/cli/regex.rs", "use crate::{config, scan::Scanner, time};\nfn f() { time::now(); }"),
        ("src/bin/a.rs", "fn main() { sentryban::cli::run() }"),
        ("src/config/ini.rs", "use super::Place;\nuse std::fs;"),
        ("src/time.rs", "fn now() { SystemTime::now(); }"),
        ("src/filter/a.rs", "// crate::scan is above, std::fs is far away\nfn f() {}"),
        ("src/filter/a.rs", "/* /* crate::scan */ std::fs */ fn f() {}"),
        (
            "src/filter/a.rs",
            r##"const A: &str = r#"" std::fs::read "#; const B: &[u8] = b"\"fs::";"##,
        ),
        ("src/filter/a.rs", "fn f<'a>(c: &'a str) -> bool { c == '\"' } // std::fs"),
        ("src/net.rs", "#[cfg(test)]\nmod tests { use super::*; fn f() { std::fs::read(p); } }"),
        ("src/net.rs", "use std::net::{IpAddr, Ipv4Addr};"),
        ("tests/a.rs", "use std::{fs, process::Command};"),
        ("Makefile", "run:\n\tcargo run"),
        ("tests/logs/a", "a\tlog line "),
    ];
    for (path, body) in rows {
        let faults = faults_in(path, body);
        assert!(faults.is_empty(), "{path}: {body:?} gives {faults:#?}");
    }
}

#[test]
fn behind_the_tests_of_a_file_its_rules_hold_again() {
    let body = "#[cfg(test)]\nmod tests { fn f() { std::fs::read(p); } }\nuse std::fs;";
    let faults = faults_in("src/scan.rs", body);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with("src/scan.rs:4:"), "{faults:#?}");
}
