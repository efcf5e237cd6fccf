//! [`Options`]: what was asked for on the command line, each value with its type.

use std::{ffi::OsString, path::PathBuf};

use super::{flags::TOOL, out::Form};
use crate::{
    cli::{
        exit::Fault,
        flags::{Asked, Given},
        nearest::did_you_mean,
    },
    filter::UseDns,
    time::Timestamp,
};

/// How many lines of a kind the report prints before it says "too many", unless `--maxlines` sets
/// another number.
pub const PRINTED_LINES: u64 = 20;

/// Words for `--log-level`, from silent to chatty, with their numbers in Python's logging.
const LOG_LEVELS: &[(&str, u8)] = &[
    ("critical", 50),
    ("error", 40),
    ("warning", WARNING),
    ("notice", 25),
    ("info", 20),
    ("debug", DEBUG),
    ("tracedebug", 7),
    ("heavydebug", 5),
];

const WARNING: u8 = 30;
const DEBUG: u8 = 10;

/// Which lines of a kind the report prints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Printed {
    /// None.
    No,
    /// All if they are fewer than the limit, else only their number.
    Few,
    /// All of them.
    All,
}

/// What was asked for, each value with its type.
#[derive(Clone, Debug)]
pub struct Options {
    /// `-c`; `None` means the default directory.
    pub config: Option<PathBuf>,
    /// `-d`.
    pub datepattern: Option<String>,
    /// `--timezone`, as typed; what it may say is known to the date room.
    pub timezone: Option<String>,
    /// `-e`, as typed.
    pub encoding: Option<String>,
    /// `-r`.
    pub raw: bool,
    /// `--usedns`.
    pub usedns: Option<UseDns>,
    /// `-L`, at least 1.
    pub maxlines: Option<u32>,
    /// `-m`.
    pub journalmatch: Option<String>,
    /// `-l` as Python's logging numbers it; `None` if it was not given.
    pub log_level: Option<u8>,
    /// `-v` and `--verbosity` together.
    pub verbose: u8,
    /// `--verbose-date`.
    pub verbose_date: bool,
    /// `-D`.
    pub debuggex: bool,
    /// False with `--no-check-all` and with `--out`: the first expression that matches wins.
    pub check_all: bool,
    /// `-o`; `None` means the report.
    pub out: Option<Form>,
    /// `-i`; without meaning for the report.
    pub invert: bool,
    /// Missed lines.
    pub missed: Printed,
    /// Ignored lines.
    pub ignored: Printed,
    /// Matched lines: [`Printed::No`] or [`Printed::All`].
    pub matched: Printed,
    /// `--now`; `None` means the clock.
    pub now: Option<Timestamp>,
    /// False with `--no-progress`.
    pub progress: bool,
    /// LOG.
    pub log: OsString,
    /// REGEX.
    pub regex: String,
    /// IGNOREREGEX.
    pub ignoreregex: Option<String>,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Request {
    /// A text to print.
    Text(String),
    /// A run.
    Run(Box<Options>),
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// Every fault of the command line, exit code 64.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, Fault> {
    match TOOL.ask(args)? {
        Asked::Text(text) => Ok(Request::Text(text)),
        Asked::Work(given) => Options::read(&given).map(|options| Request::Run(Box::new(options))),
    }
}

impl Options {
    /// True if warnings are told: unless the log level asks for graver things only.
    pub fn tells_warnings(&self) -> bool {
        self.log_level.is_none_or(|level| level <= WARNING)
    }

    /// True if the options with which a filter was read are shown.
    pub fn tells_filter_options(&self) -> bool {
        self.verbose > 1 || self.log_level.is_some_and(|level| level <= DEBUG)
    }

    fn read(given: &Given) -> Result<Options, Fault> {
        let (Some(log), Some(regex)) = (given.raw("LOG"), given.text("REGEX")?) else {
            return Err(Fault::usage(format!(
                "both LOG and REGEX are needed: {} {}\n  for example: {0} /var/log/auth.log sshd",
                TOOL.name, TOOL.usage
            )));
        };
        let ignoreregex = given.text("IGNOREREGEX")?;
        let blank = |text: &str| text.trim().is_empty();
        if log.is_empty() || blank(&regex) || ignoreregex.as_deref().is_some_and(blank) {
            return Err(Fault::usage("LOG, REGEX and IGNOREREGEX must not be empty"));
        }
        let out = match given.text("out")? {
            Some(form) if !form.is_empty() => Some(Form::parse(&form)?),
            _ => None,
        };
        let invert = given.is_set("invert");
        if invert && matches!(out, Some(Form::Json)) {
            return Err(Fault::usage(
                "--invert cannot go with --out json, which has one object per failure\n  \
                 write --out msg for the lines without one",
            ));
        }
        Ok(Options {
            config: given.raw("config").map(PathBuf::from),
            datepattern: given.text("datepattern")?,
            timezone: given.text("timezone")?,
            encoding: given.text("encoding")?,
            raw: given.is_set("raw"),
            usedns: usedns(given)?,
            // 0 is fail2ban-regex's default and means "as the filter says".
            maxlines: given
                .parsed("maxlines", "a number of lines, such as 5")?
                .filter(|&lines: &u32| lines > 0),
            journalmatch: given.text("journalmatch")?,
            log_level: log_level(given)?,
            verbose: given
                .parsed::<u8>("verbosity", "a number from 0 to 4")?
                .unwrap_or(0)
                .max(given.count("verbose")),
            verbose_date: given.is_set("verbose-date"),
            debuggex: given.is_set("debuggex"),
            check_all: !given.is_set("no-check-all") && out.is_none(),
            out,
            invert,
            missed: printed(given, "missed")?,
            ignored: printed(given, "ignored")?,
            matched: if given.is_set("print-all-matched") { Printed::All } else { Printed::No },
            now: now(given)?,
            progress: !given.is_set("no-progress"),
            log,
            regex,
            ignoreregex,
        })
    }
}

fn usedns(given: &Given) -> Result<Option<UseDns>, Fault> {
    let Some(word) = given.text("usedns")? else { return Ok(None) };
    match UseDns::parse(&word) {
        Some(usedns) => Ok(Some(usedns)),
        None => Err(Fault::usage(format!(
            "--usedns {word}: write yes, warn, no or raw{}",
            did_you_mean(&word, ["yes", "warn", "no", "raw"])
        ))),
    }
}

fn log_level(given: &Given) -> Result<Option<u8>, Fault> {
    let Some(word) = given.text("log-level")? else { return Ok(None) };
    let level = word.to_lowercase();
    let known = LOG_LEVELS.iter().find(|(name, _)| *name == level).map(|(_, number)| *number);
    if let Some(number) = known.or_else(|| level.parse().ok()) {
        return Ok(Some(number));
    }
    let names: Vec<&str> = LOG_LEVELS.iter().map(|(name, _)| *name).collect();
    Err(Fault::usage(format!(
        "--log-level {word}: write one of {}{}",
        names.join(", "),
        did_you_mean(&level, names.iter().copied())
    )))
}

fn printed(given: &Given, kind: &str) -> Result<Printed, Fault> {
    match (given.is_set(&format!("print-no-{kind}")), given.is_set(&format!("print-all-{kind}"))) {
        (true, true) => Err(Fault::usage(format!(
            "--print-no-{kind} and --print-all-{kind} contradict each other: write one of them"
        ))),
        (true, false) => Ok(Printed::No),
        (false, true) => Ok(Printed::All),
        (false, false) => Ok(Printed::Few),
    }
}

fn now(given: &Given) -> Result<Option<Timestamp>, Fault> {
    let wanted = "seconds since 1970, such as 1124013600";
    let Some(seconds) = given.parsed::<f64>("now", wanted)? else { return Ok(None) };
    // The bound is the year 9999: beyond it there is no civil date to fill in.
    if !(0.0..=253_402_300_799.0).contains(&seconds) {
        return Err(Fault::usage(format!("--now {seconds}: write {wanted}")));
    }
    Ok(Some(Timestamp::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Request, Fault> {
        super::parse(
            std::iter::once("sentryban-regex").chain(args.iter().copied()).map(OsString::from),
        )
    }

    fn options(args: &[&str]) -> Options {
        match parse(args).unwrap() {
            Request::Run(options) => *options,
            Request::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_table_is_sound_for_clap() {
        TOOL.command().debug_assert();
    }

    #[test]
    fn defaults() {
        let o = options(&["a.log", "<HOST>"]);
        assert!(o.tells_warnings() && !o.tells_filter_options());
        assert_eq!(
            (o.log.to_str(), o.regex.as_str(), o.ignoreregex),
            (Some("a.log"), "<HOST>", None)
        );
        assert_eq!((o.config, o.datepattern, o.timezone, o.encoding), (None, None, None, None));
        assert_eq!((o.usedns, o.maxlines, o.journalmatch, o.now), (None, None, None, None));
        assert!(!o.raw && !o.verbose_date && !o.debuggex && !o.invert);
        assert!(o.check_all && o.progress && o.out.is_none());
        assert_eq!((o.verbose, o.log_level), (0, None));
        assert_eq!((o.missed, o.ignored, o.matched), (Printed::Few, Printed::Few, Printed::No));
    }

    #[test]
    fn every_flag_arrives() {
        let o = options(&[
            "-c",
            "/c",
            "-d",
            "^%Y",
            "--TZ",
            "UTC+0100",
            "-e",
            "latin1",
            "-r",
            "--usedns",
            "no",
            "-L",
            "5",
            "-m",
            "_COMM=sshd",
            "-l",
            "Info",
            "-vv",
            "--VD",
            "-D",
            "--no-check-all",
            "-i",
            "--print-no-missed",
            "--print-all-ignored",
            "--print-all-matched",
            "-t",
            "--full-traceback",
            "--now",
            "1124013600.5",
            "--no-progress",
            "-o",
            "ip",
            "a.log",
            "sshd[mode=ddos]",
            "test",
        ]);
        assert_eq!(o.config, Some(PathBuf::from("/c")));
        assert_eq!(o.datepattern.as_deref(), Some("^%Y"));
        assert_eq!(o.timezone.as_deref(), Some("UTC+0100"));
        assert_eq!(o.encoding.as_deref(), Some("latin1"));
        assert_eq!(o.usedns, Some(UseDns::No));
        assert_eq!((o.maxlines, o.verbose), (Some(5), 2));
        assert_eq!(o.journalmatch.as_deref(), Some("_COMM=sshd"));
        assert_eq!(o.log_level, Some(20));
        assert!(o.raw && o.verbose_date && o.debuggex && o.invert);
        assert!(!o.check_all && !o.progress);
        assert_eq!(o.out, Some(Form::Ip));
        assert_eq!((o.missed, o.ignored, o.matched), (Printed::No, Printed::All, Printed::All));
        assert_eq!(o.now, Some(Timestamp::from_micros(1_124_013_600_500_000)));
        assert_eq!(o.ignoreregex.as_deref(), Some("test"));
        assert_eq!(options(&["--verbosity", "3", "a", "b"]).verbose, 3);
        assert_eq!(options(&["-L", "0", "a", "b"]).maxlines, None);
        assert!(!options(&["-o", "id", "a", "b"]).check_all, "--out is the server's view");
    }

    #[test]
    fn the_log_level_decides_what_is_told_besides_the_report() {
        let rows: &[(&[&str], bool, bool)] = &[
            (&["-l", "critical"], false, false),
            (&["-l", "ERROR"], false, false),
            (&["-l", "40"], false, false),
            (&["-l", "warning"], true, false),
            (&["-l", "info", "-v"], true, false),
            (&["-l", "critical", "-vv"], false, true),
            (&["-l", "debug"], true, true),
            (&["-l", "5"], true, true),
        ];
        for (flags, warnings, filter_options) in rows {
            let o = options(&[flags, &["a", "b"][..]].concat());
            assert_eq!(o.tells_warnings(), *warnings, "{flags:?}");
            assert_eq!(o.tells_filter_options(), *filter_options, "{flags:?}");
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        let rows: &[(&[&str], &str)] = &[
            (&[], "both LOG and REGEX are needed"),
            (&["a.log"], "both LOG and REGEX are needed"),
            (&["a.log", ""], "must not be empty"),
            (&["a.log", "b", " "], "must not be empty"),
            (&["a", "b", "c", "d"], "unexpected argument 'd'"),
            (&["--print-all-mised", "a", "b"], "--print-all-missed"),
            (&["--print-all-missed", "--print-no-missed", "a", "b"], "contradict"),
            (&["--print-all-ignored", "--print-no-ignored", "a", "b"], "contradict"),
            (&["--usedns", "wran", "a", "b"], "did you mean 'warn'?"),
            (&["-l", "debgu", "a", "b"], "did you mean 'debug'?"),
            (&["-L", "many", "a", "b"], "write a number of lines"),
            (&["--verbosity", "much", "a", "b"], "write a number from 0 to 4"),
            (&["--now", "today", "a", "b"], "write seconds since 1970"),
            (&["--now", "nan", "a", "b"], "write seconds since 1970"),
            (&["--now", "-1", "a", "b"], "write seconds since 1970"),
            (&["-o", "json", "-i", "a", "b"], "--invert cannot go with --out json"),
            (&["-o", "<bantime>", "a", "b"], "<bantime>"),
        ];
        for (args, part) in rows {
            let fault = parse(args).unwrap_err();
            assert_eq!(fault.code, 64, "{args:?}");
            assert!(fault.text.contains(part), "{args:?}: {fault}");
        }
    }
}
