//! The command line of `sentryban-regex`: fail2ban-regex's, and a few words of our own.
//!
//! [`TOOL`] is the table, [`Options`] what comes out of it: every value already has its type.

use std::{ffi::OsString, path::PathBuf};

use super::out::Form;
use crate::{
    cli::{
        exit::Fault,
        flags::{Asked, Flag, Given, Takes, Tool, Word},
        nearest::did_you_mean,
    },
    filter::UseDns,
    time::Timestamp,
};

/// How many lines of a kind the report prints before it says "too many", unless `--maxlines` sets
/// another number.
pub const PRINTED_LINES: u64 = 20;

/// Words for `--log-level`, from silent to chatty.
const LOG_LEVELS: &[&str] =
    &["critical", "error", "warning", "notice", "info", "debug", "tracedebug", "heavydebug"];

/// The tool.
pub const TOOL: Tool = Tool {
    name: "sentryban-regex",
    about: "Tests failregexes and filters against a log: what matches, what is ignored, what is \
            missed, and who would be counted",
    usage: "[OPTIONS] LOG REGEX [IGNOREREGEX]",
    words: &[
        Word {
            id: "LOG",
            short_doc: "A log file, - for stdin, systemd-journal, or a line of a log in quotes",
            long_doc: "\
What to read: the path of a log file;
.B \\-
for standard input;
.B systemd\\-journal
for the journal, with options in brackets if need be
.RB ( systemd\\-journal[journalpath=/srv/journal] );
or one or more lines of a log.
A text that holds a blank and is not the name of a file is taken for a line;
any other text is a path, and it is an error if nothing is there.",
        },
        Word {
            id: "REGEX",
            short_doc: "A failregex, the path of a filter, or the name of a filter or jail with options",
            long_doc: "\
What to look for.
A text with a failure id in it
.RB ( <HOST> ,
.BR <ADDR> ,
.BR <F\\-ID> ,
.B (?P<host>
and so on) is a failregex.
A text with a slash, or one that ends in
.B .conf
or
.BR .local ,
is the path of a filter file, relative or absolute.
Anything else is the name of a jail or of a filter.
Path and name may be followed by options in brackets:
.BR 'sshd[mode=aggressive]' .",
        },
        Word {
            id: "IGNOREREGEX",
            short_doc: "An ignoreregex, or the path of a filter whose ignoreregexes are taken",
            long_doc: "\
An expression for lines that do not count even though they match.
It takes the place of the filter's own
.BR ignoreregex .
If the text is the path of a filter file, the ignoreregexes of that file are taken.",
        },
    ],
    flags: FLAGS,
    frame: include_str!("../../../man/sentryban-regex.1.in"),
};

const fn flag(
    id: &'static str,
    takes: Takes,
    short_doc: &'static str,
    long_doc: &'static str,
) -> Flag {
    Flag { id, short: None, long: &[], takes, short_doc, long_doc }
}

const FLAGS: &[Flag] = &[
    Flag {
        short: Some('c'),
        long: &["config"],
        ..flag(
            "config",
            Takes::Value("DIR"),
            "Directory of the configuration, where names of filters and jails are looked up",
            "\
Directory of the configuration, in which names of filters and jails are looked up.
The default is
.IR /etc/sentryban ,
on BSD
.IR /usr/local/etc/sentryban .
What is not found there is taken from the filters that are built in.",
        )
    },
    Flag {
        short: Some('d'),
        long: &["datepattern"],
        ..flag(
            "datepattern",
            Takes::Value("PATTERN"),
            "Pattern of the dates, instead of the filter's",
            "Pattern of the dates, instead of the filter's; see\n.BR sentryban\\-filter (5).",
        )
    },
    Flag {
        long: &["timezone", "TZ"],
        ..flag(
            "timezone",
            Takes::Value("ZONE"),
            "Zone of dates that name none: UTC+0200, GMT, Z, CET",
            "\
Zone of dates that name none, as a fixed offset or an abbreviation:
.BR UTC+0200 ,
.BR GMT ,
.BR Z ,
.BR CET .
Without it such dates are local time, as the variable
.B TZ
sets it.",
        )
    },
    Flag {
        short: Some('e'),
        long: &["encoding"],
        ..flag(
            "encoding",
            Takes::Value("NAME"),
            "Character encoding of the log (default: UTF-8)",
            "\
Character encoding of the log, such as
.B UTF\\-8
(the default) or
.BR ISO\\-8859\\-1 .
What does not decode is replaced, not fatal.",
        )
    },
    Flag {
        short: Some('r'),
        long: &["raw"],
        ..flag(
            "raw",
            Takes::Nothing,
            "Take host names as they stand",
            "\
Take host names as they stand.
.B sentryban\\-regex
never looks names up; the flag is kept so that command lines for fail2ban\\-regex work.",
        )
    },
    Flag {
        long: &["usedns"],
        ..flag(
            "usedns",
            Takes::Value("WORD"),
            "Whether <HOST> also takes names: yes, warn, no or raw",
            "\
What
.B <HOST>
takes: with
.B yes
and
.B warn
addresses and host names, with
.B no
addresses only, with
.B raw
names as they stand.",
        )
    },
    Flag {
        short: Some('L'),
        long: &["maxlines"],
        ..flag(
            "maxlines",
            Takes::Value("N"),
            "How many lines one failure may span, instead of the filter's number",
            "\
How many lines one failure may span, instead of the filter's
.BR maxlines .
The report then also prints at most so many missed or ignored lines (otherwise 20).",
        )
    },
    Flag {
        short: Some('m'),
        long: &["journalmatch"],
        ..flag(
            "journalmatch",
            Takes::Value("MATCH"),
            "Journal fields to select by, instead of the filter's (only with systemd-journal)",
            "\
Journal fields to select by, instead of the filter's
.BR journalmatch :
.BR '_SYSTEMD_UNIT=ssh.service + _COMM=sshd' .
Of use with
.B systemd\\-journal
only.",
        )
    },
    Flag {
        short: Some('l'),
        long: &["log-level"],
        ..flag(
            "log-level",
            Takes::Value("LEVEL"),
            "How much to say about the run itself: critical (default) to heavydebug",
            "\
How much to say on standard error about the run itself:
.B critical
(the default),
.BR error ,
.BR warning ,
.BR notice ,
.BR info ,
.BR debug ,
.B tracedebug
or
.BR heavydebug .",
        )
    },
    Flag {
        short: Some('v'),
        long: &["verbose"],
        ..flag(
            "verbose",
            Takes::Count,
            "List every hit, every expression and every date template; more with -vv",
            "\
List every hit with its time, expressions and date templates without hits, too,
and what prefregex captured.
Given twice, the options with which the filter was read are shown as well.",
        )
    },
    Flag {
        long: &["verbosity"],
        ..flag(
            "verbosity",
            Takes::Value("N"),
            "The same as a number, 0 to 4",
            "The same as a number, from 0 to 4.",
        )
    },
    Flag {
        long: &["verbose-date", "VD"],
        ..flag(
            "verbose-date",
            Takes::Nothing,
            "Show pattern and expression of each date template",
            "",
        )
    },
    Flag {
        short: Some('D'),
        long: &["debuggex"],
        ..flag(
            "debuggex",
            Takes::Nothing,
            "Print a debuggex.com address for each line and expression",
            "\
Print, for each line and each expression, the address under which debuggex.com draws the two.
Nothing is sent anywhere.",
        )
    },
    Flag {
        long: &["no-check-all"],
        ..flag(
            "no-check-all",
            Takes::Nothing,
            "Stop at the first expression that matches, as the server does",
            "\
Stop at the first expression that matches a line, as the server does.
Without it a line is counted for every expression that matches it.",
        )
    },
    Flag {
        short: Some('o'),
        long: &["out"],
        ..flag(
            "out",
            Takes::Value("FORM"),
            "Print failures only: id, ip, msg, row, json, a group's name, or a text with <tags>",
            "\
Print nothing but the failures found, one a line, as the server would see them
(the first expression that matches counts).
.I FORM
is one of
.BR id ,
.BR ip ,
.BR msg ,
.BR row ,
.BR json ,
.BR matches ,
the name of a captured group
.RB ( host ,
.BR user ,
.BR ip4 ,
\\&...), or a text with tags:
.BR '<time> <ip> <F\\-USER>' .
See OUTPUT FORMS.",
        )
    },
    Flag {
        short: Some('i'),
        long: &["invert"],
        ..flag(
            "invert",
            Takes::Nothing,
            "With --out: print the lines that hold no failure",
            "With\n.BR \\-\\-out :\nprint the lines that hold no failure instead of those that do.",
        )
    },
    Flag {
        long: &["print-no-missed"],
        ..flag("print-no-missed", Takes::Nothing, "Do not print missed lines", "")
    },
    Flag {
        long: &["print-no-ignored"],
        ..flag("print-no-ignored", Takes::Nothing, "Do not print ignored lines", "")
    },
    Flag {
        long: &["print-all-matched"],
        ..flag("print-all-matched", Takes::Nothing, "Print all matched lines", "")
    },
    Flag {
        long: &["print-all-missed"],
        ..flag("print-all-missed", Takes::Nothing, "Print all missed lines, however many", "")
    },
    Flag {
        long: &["print-all-ignored"],
        ..flag("print-all-ignored", Takes::Nothing, "Print all ignored lines, however many", "")
    },
    Flag {
        short: Some('t'),
        long: &["log-traceback"],
        ..flag(
            "log-traceback",
            Takes::Nothing,
            "Accepted for the sake of old command lines; without effect",
            "",
        )
    },
    Flag {
        long: &["full-traceback"],
        ..flag(
            "full-traceback",
            Takes::Nothing,
            "Accepted for the sake of old command lines; without effect",
            "",
        )
    },
    Flag {
        long: &["now"],
        ..flag(
            "now",
            Takes::Value("EPOCH"),
            "Take this moment, in unix seconds, for the present",
            "\
Take this moment, in seconds since 1970, for the present.
It decides which year a date without one belongs to, and makes the output repeatable.",
        )
    },
    Flag {
        long: &["no-progress"],
        ..flag(
            "no-progress",
            Takes::Nothing,
            "No progress bar",
            "\
No progress bar.
There is one only for a long log, only on a terminal, and only on standard error.",
        )
    },
];

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
    /// `-l`, lower-case, one of the known words.
    pub log_level: String,
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
    fn read(given: &Given) -> Result<Options, Fault> {
        let (Some(log), Some(regex)) = (given.raw("LOG"), given.text("REGEX")?) else {
            return Err(Fault::usage(format!(
                "both LOG and REGEX are needed: {} {}\n  for example: {0} /var/log/auth.log sshd",
                TOOL.name, TOOL.usage
            )));
        };
        if log.is_empty() || regex.is_empty() {
            return Err(Fault::usage("LOG and REGEX must not be empty"));
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
            ignoreregex: given.text("IGNOREREGEX")?,
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

fn log_level(given: &Given) -> Result<String, Fault> {
    let Some(word) = given.text("log-level")? else { return Ok("critical".to_owned()) };
    let level = word.to_lowercase();
    let is_number = level.parse::<u8>().is_ok();
    if is_number || level == "msg" || LOG_LEVELS.contains(&level.as_str()) {
        return Ok(level);
    }
    Err(Fault::usage(format!(
        "--log-level {word}: write one of {}{}",
        LOG_LEVELS.join(", "),
        did_you_mean(&level, LOG_LEVELS.iter().copied())
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
        assert_eq!(
            (o.log.to_str(), o.regex.as_str(), o.ignoreregex),
            (Some("a.log"), "<HOST>", None)
        );
        assert_eq!((o.config, o.datepattern, o.timezone, o.encoding), (None, None, None, None));
        assert_eq!((o.usedns, o.maxlines, o.journalmatch, o.now), (None, None, None, None));
        assert!(!o.raw && !o.verbose_date && !o.debuggex && !o.invert);
        assert!(o.check_all && o.progress && o.out.is_none());
        assert_eq!((o.verbose, o.log_level.as_str()), (0, "critical"));
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
        assert_eq!(o.log_level, "info");
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
    fn faults_say_what_to_write() {
        let rows: &[(&[&str], &str)] = &[
            (&[], "both LOG and REGEX are needed"),
            (&["a.log"], "both LOG and REGEX are needed"),
            (&["a.log", ""], "must not be empty"),
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
