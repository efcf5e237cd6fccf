//! `sentryban-server`: for now its eyes only, `-t`, `-d`, `--dp` and `--str2sec`.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind};

use crate::config::{self, Finding, Tree, words};

/// Bad configuration (sysexits).
const EX_CONFIG: u8 = 78;
/// Wrong command line (sysexits).
const EX_USAGE: u8 = 64;

/// Where the configuration is looked for without `-c`.
const DEFAULT_DIR: &str =
    if cfg!(target_os = "linux") { "/etc/sentryban" } else { "/usr/local/etc/sentryban" };

/// Runs the program with its arguments, the name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let done = match command().try_get_matches_from(arguments) {
        Ok(matches) => run(&matches, &mut out, &mut err),
        Err(error) => {
            let code = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                _ => EX_USAGE,
            };
            error.print().map(|()| code)
        }
    };
    // Whoever closed the pipe has read enough.
    let code = done.and_then(|code| out.flush().map(|()| code)).unwrap_or(0);
    ExitCode::from(code)
}

fn command() -> Command {
    let flag = |id, help| Arg::new(id).action(ArgAction::SetTrue).help(help);
    Command::new("sentryban-server")
        .about("Watches logs and the wire, and bans offenders")
        .disable_version_flag(true)
        .arg(
            Arg::new("conf")
                .short('c')
                .long("conf")
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Configuration directory"),
        )
        .arg(
            flag("test", "Test the configuration, say what is wrong, and exit")
                .short('t')
                .long("test"),
        )
        .arg(flag("dump", "Print the configuration as a stream of commands").short('d'))
        .arg(
            flag("dump-pretty", "The same, broken into lines")
                .long("dp")
                .visible_alias("dump-pretty"),
        )
        .arg(
            Arg::new("str2sec")
                .long("str2sec")
                .value_name("TEXT")
                .allow_hyphen_values(true)
                .help("Print a span of time such as 1h30m in seconds"),
        )
        .arg(flag("short-version", "Print the version number").short('V'))
        .arg(flag("version", "Print name and version").long("version"))
}

fn run(matches: &ArgMatches, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    if matches.get_flag("short-version") {
        writeln!(out, "{}", crate::VERSION)?;
        return Ok(0);
    }
    if matches.get_flag("version") {
        writeln!(out, "sentryban-server {}", crate::VERSION)?;
        return Ok(0);
    }
    if let Some(text) = matches.get_one::<String>("str2sec") {
        return match words::seconds(text) {
            Ok(seconds) => writeln!(out, "{seconds}").map(|()| 0),
            Err(error) => {
                writeln!(err, "ERROR: '{text}' {error}; write a span such as 10m, 1h 30m, 2w")?;
                Ok(EX_USAGE)
            }
        };
    }
    let (tree, missing) = tree(matches.get_one::<PathBuf>("conf"));
    if let Some(dir) = missing {
        let dir = dir.display();
        writeln!(err, "ERROR: the directory {dir} does not exist; name one with -c DIR")?;
        return Ok(EX_CONFIG);
    }
    let pretty = matches.get_flag("dump-pretty");
    let dump = pretty || matches.get_flag("dump");
    if dump {
        out.write_all(config::dump(&tree, pretty).as_bytes())?;
    }
    if matches.get_flag("test") {
        let report = config::test(&tree, rival(&tree));
        out.write_all(report.text.as_bytes())?;
        return Ok(if report.passed { 0 } else { EX_CONFIG });
    }
    if !dump {
        let what = "the daemon is not built yet; what is there: -t, -d, --dp, --str2sec";
        writeln!(err, "ERROR: {what}")?;
        return Ok(EX_USAGE);
    }
    Ok(0)
}

/// A fail2ban that runs on the same tree would ban everybody a second time.
fn rival(tree: &Tree) -> Vec<Finding> {
    let (main, _) = config::read_main(tree);
    let Some(socket) = main.fail2ban_socket else { return Vec::new() };
    match std::os::unix::net::UnixStream::connect(&socket.value) {
        Err(_) => Vec::new(),
        Ok(_) => {
            let what = format!("fail2ban runs on this tree: it answers on {}", socket.value);
            let write = "stop it with `systemctl disable --now fail2ban`";
            vec![Finding::fault(socket.at, what, write)]
        }
    }
}

/// The tree to read; a directory that was asked for must exist.
fn tree(asked: Option<&PathBuf>) -> (Tree, Option<PathBuf>) {
    let dir = asked.cloned().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR));
    let exists = dir.is_dir();
    let missing = (asked.is_some() && !exists).then(|| dir.clone());
    (Tree::new(exists.then_some(dir)), missing)
}
