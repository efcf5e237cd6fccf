//! `sentryban-sensor`: the sensor alone, as the `portsentry` command.

pub mod flags;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::flags::TOOL;
use super::{
    CONFIG,
    exit::{self, Fault},
    flags::{Asked, Given},
};
use crate::{
    config::{
        self, Finding, Tree,
        sensor::{Places, SensorSpec, read_sensor},
    },
    daemon::{helper, sensor},
    place::{Located, Place},
    sensor::Mode,
};

/// Runs the program with its arguments, the name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|argument| argument == helper::ARGUMENT) {
        return match helper::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    match run(arguments.into_iter().map(with_two_dashes)) {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            // Nobody is left to tell if stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{}: {}", TOOL.name, fault.text);
            ExitCode::from(fault.code)
        }
    }
}

/// portsentry's modes have one dash.
fn with_two_dashes(argument: OsString) -> OsString {
    let mode = argument.to_str().and_then(|text| text.strip_prefix('-')).and_then(Mode::of);
    match mode {
        Some(mode) => format!("--{mode}").into(),
        None => argument,
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<u8, Fault> {
    let given = match TOOL.ask(arguments)? {
        Asked::Text(text) => {
            io::stdout().lock().write_all(text.as_bytes())?;
            return Ok(0);
        }
        Asked::Work(given) => given,
    };
    let places = places(&given)?;
    let (spec, findings) = read(&places);
    let mut err = io::stderr().lock();
    for finding in &findings {
        let _ = writeln!(err, "{finding}");
    }
    drop(err);
    if spec.broken {
        let text = "the configuration has faults: nothing is watched";
        return Err(Fault::new(exit::CONFIG, text));
    }
    if given.is_set("test") {
        return Ok(0);
    }
    if [spec.settings.tcp, spec.settings.udp] == [None; 2] {
        return Err(Fault::usage(format!(
            "no mode is set: write one of -tcp, -stcp, -atcp and one of -udp, -sudp, -audp, or set \
             TCP_MODE and UDP_MODE in {}",
            places.defaults
        )));
    }
    if let Some(file) = given.raw("read") {
        let path = PathBuf::from(file);
        return match sensor::replay(spec.settings, &path) {
            Ok(None) => Ok(0),
            Ok(Some(unread)) => {
                let sensor::Unread { packets, link } = unread;
                let text = format!(
                    "--read {}: {packets} packets have link type {link}, which is not read here: capture \
                     them as Ethernet, raw IP, BSD loopback or Linux cooked (tcpdump -y EN10MB)",
                    path.display()
                );
                Err(Fault::new(exit::NOINPUT, text))
            }
            Err(error) => {
                let text = format!("--read {}: {error}", path.display());
                Err(Fault::new(exit::NOINPUT, text))
            }
        };
    }
    let again = Box::new(move || read(&places));
    let foreground = given.is_set("foreground");
    // In the background `/` is where we are.
    let pidfile = given.raw("pidfile").map(std::path::absolute).transpose()?;
    sensor::guard_alone(sensor::Alone { spec, again, foreground, pidfile, warn })?;
    Ok(0)
}

fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}: warning: {text}", TOOL.name);
}

/// The modes and the file that were named.
fn places(given: &Given) -> Result<Places, Fault> {
    let at = Place::command_line();
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|mode| given.is_set(mode.word())).collect();
    for (nth, mode) in modes.iter().enumerate() {
        if let Some(other) = modes.iter().skip(nth + 1).find(|one| one.proto() == mode.proto()) {
            let proto = mode.proto();
            return Err(Fault::usage(format!("-{mode} and -{other}: write one mode for {proto}")));
        }
    }
    let chosen = match given.text("config")? {
        None => None,
        Some(file) if Path::new(&file).is_file() => {
            let path = std::path::absolute(&file).unwrap_or_else(|_| PathBuf::from(&file));
            Some(Located::new(path.to_string_lossy().into_owned(), at.clone()))
        }
        Some(file) => {
            return Err(Fault::new(exit::CONFIG, format!("--config {file}: no such file")));
        }
    };
    let modes = modes.into_iter().map(|mode| Located::new(mode, at.clone())).collect();
    Ok(Places { chosen, modes, ..Places::default() })
}

/// What is written about the sensor, in its own files and in the server's.
fn read(places: &Places) -> (SensorSpec, Vec<Finding>) {
    let dir = PathBuf::from(CONFIG);
    let tree = Tree::new(dir.is_dir().then_some(dir));
    let (main, _) = config::read_main(&tree);
    read_sensor(&main.sensor, places)
}
