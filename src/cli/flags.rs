//! One table per tool: parser, `--help`, man page and completions are all rendered from it.
//!
//! A flag is written down once, as a [`Flag`] row; its order is the order of the docs. A tool is a
//! [`Tool`]: its name, what stands on its command line, its flags and the frame of its man page.
//! [`Tool::ask`] turns arguments into what was asked for. The page itself is rendered in
//! `man.rs`; tables stand beside their tool (`regex/flags.rs`).

use std::{ffi::OsString, str::FromStr};

use clap::{
    Arg, ArgAction, ArgMatches, Command, builder::ValueParser, error::ErrorKind,
    parser::ValueSource,
};

use super::{exit::Fault, man};

/// What stands behind a flag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    /// Nothing: the flag is there or not.
    Nothing,
    /// Nothing, but it may be given several times (`-vvv`).
    Count,
    /// One value, shown under this name.
    Value(&'static str),
}

/// One flag of one tool.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The id under which the parsed value is asked for; usually the long name.
    pub id: &'static str,
    /// Short letter, or none.
    pub short: Option<char>,
    /// Long names; the first is shown first. May be empty where there is only a letter.
    pub long: &'static [&'static str],
    /// What follows.
    pub takes: Takes,
    /// One line for `--help`.
    pub short_doc: &'static str,
    /// A paragraph for the man page, in roff; empty means the short text.
    pub long_doc: &'static str,
}

/// A flag without names yet: `Flag { long: &["json"], ..flag("json", …) }`.
pub const fn flag(
    id: &'static str,
    takes: Takes,
    short_doc: &'static str,
    long_doc: &'static str,
) -> Flag {
    Flag { id, short: None, long: &[], takes, short_doc, long_doc }
}

/// A word of the command line that is no flag.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The id under which it is asked for; also its name in the docs. With `...` behind the name
    /// it takes all that follows, whatever it looks like, and must be the last.
    pub id: &'static str,
    /// True if it must be there. The docs show it; to insist on it is the tool's business, which can
    /// say better what is missing.
    pub required: bool,
    /// One line for `--help`.
    pub short_doc: &'static str,
    /// A paragraph for the man page, in roff; empty means the short text.
    pub long_doc: &'static str,
}

/// Everything that a command line, its help and its man page are made of.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The program's name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// What follows the name in a usage line: `[OPTIONS] LOG REGEX [IGNOREREGEX]`.
    pub usage: &'static str,
    /// Words, in order.
    pub words: &'static [Word],
    /// Flags of this tool; [`COMMON`] ones come behind them.
    pub flags: &'static [Flag],
    /// Flags that people know from elsewhere and that do nothing here yet: no text shows them, and
    /// whoever gives one is told so.
    pub later: &'static [Flag],
    /// The frame of its man page, with `@OPTIONS@` and `@VERSION@`.
    pub frame: &'static str,
}

/// Flags that every tool has.
pub const COMMON: &[Flag] = &[
    Flag {
        id: "bare-version",
        short: Some('V'),
        long: &[],
        takes: Takes::Nothing,
        short_doc: "Print the bare version number and exit",
        long_doc: "",
    },
    Flag {
        id: "version",
        short: None,
        long: &["version"],
        takes: Takes::Nothing,
        short_doc: "Print name and version and exit",
        long_doc: "",
    },
    Flag {
        id: "help",
        short: Some('h'),
        long: &["help"],
        takes: Takes::Nothing,
        short_doc: "Print this help and exit",
        long_doc: "Print a short help and exit.",
    },
];

/// What a tool's texts have beside its flags.
#[derive(Clone, Copy)]
pub struct More {
    /// What `--help` shows behind the flags.
    pub help: fn() -> String,
    /// The completions of a shell, if they are not those of the flags alone.
    pub completions: fn(&str) -> Option<String>,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Asked {
    /// A text to print (help, version, man page, completions), and nothing else to do.
    Text(String),
    /// Work, with these arguments.
    Work(Given),
}

/// The parsed arguments, by id.
#[derive(Debug)]
pub struct Given(ArgMatches);

impl Tool {
    /// Parses the arguments (the first is the program's own name).
    ///
    /// # Errors
    /// Exit code 64 with a text that names the wrong argument, the one that was probably meant,
    /// and the usage.
    pub fn ask(&self, args: impl IntoIterator<Item = OsString>) -> Result<Asked, Fault> {
        self.ask_more(args, More { help: String::new, completions: |_| None })
    }

    /// The same, for a tool that has more to tell than its flags.
    ///
    /// # Errors
    /// As [`Tool::ask`].
    pub fn ask_more(
        &self,
        args: impl IntoIterator<Item = OsString>,
        more: More,
    ) -> Result<Asked, Fault> {
        let lenient = self.command().mut_args(|arg| arg.required(false));
        let matches = match lenient.try_get_matches_from(args) {
            Ok(matches) => matches,
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                return Ok(Asked::Text(error.render().to_string()));
            }
            Err(error) => {
                let text = error.render().to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
                return Err(Fault::usage(text));
            }
        };
        let given = Given(matches);
        let text = if given.is_set("help") {
            format!("{}{}", self.command().render_help(), (more.help)())
        } else if given.is_set("version") {
            format!("{} {}\n", self.name, crate::VERSION)
        } else if given.is_set("bare-version") {
            format!("{}\n", crate::VERSION)
        } else if given.is_set("man") {
            man::render(self.frame, Some(self))
        } else if let Some(shell) = given.text("completions")? {
            match (more.completions)(&shell) {
                Some(script) => script,
                None => self.completions(&shell)?,
            }
        } else if let Some(flag) = self.later.iter().find(|flag| given.was_typed(flag)) {
            return Err(Fault::usage(format!(
                "{} is not there yet\n  what is: {} --help",
                flag.name(),
                self.name
            )));
        } else {
            return Ok(Asked::Work(given));
        };
        Ok(Asked::Text(text))
    }

    /// All flags that are shown: the tool's own and the common ones.
    pub fn shown_flags(&self) -> impl Iterator<Item = &Flag> {
        self.flags.iter().chain(COMMON)
    }

    /// The table as clap wants it. Long flags may be cut short as long as they stay unique, and of
    /// a flag given twice the last counts: both as in fail2ban's tools.
    pub fn command(&self) -> Command {
        let hidden = |id: &'static str| Arg::new(id).long(id).hide(true);
        Command::new(self.name)
            .about(self.about)
            .override_usage(format!("{} {}", self.name, self.usage))
            .after_help(format!("More, with examples: man {}", self.name))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .infer_long_args(true)
            .args_override_self(true)
            .args(self.words.iter().map(|word| {
                let arg = Arg::new(word.id)
                    .required(word.required)
                    .help(word.short_doc)
                    .value_parser(ValueParser::os_string());
                match word.id.strip_suffix("...") {
                    Some(name) => arg.value_name(name).num_args(1..).trailing_var_arg(true),
                    None => arg.value_name(word.id),
                }
            }))
            .args(self.shown_flags().map(Flag::arg))
            .args(self.later.iter().map(|flag| flag.arg().hide(true)))
            .arg(hidden("man").action(ArgAction::SetTrue))
            .arg(hidden("completions").value_name("SHELL").value_parser(ValueParser::os_string()))
    }

    fn completions(&self, shell: &str) -> Result<String, Fault> {
        let Ok(shell) = clap_complete::Shell::from_str(shell) else {
            return Err(Fault::usage(format!(
                "--completions {shell}: write one of bash, elvish, fish, powershell, zsh"
            )));
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut self.command(), self.name, &mut script);
        Ok(String::from_utf8_lossy(&script).into_owned())
    }
}

impl Flag {
    fn arg(&self) -> Arg {
        let mut arg = Arg::new(self.id).help(self.short_doc);
        if let Some(short) = self.short {
            arg = arg.short(short);
        }
        if let Some((first, others)) = self.long.split_first() {
            arg = arg.long(*first).visible_aliases(others.iter().copied());
        }
        match self.takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::Count => arg.action(ArgAction::Count),
            Takes::Value(name) => arg
                .action(ArgAction::Set)
                .value_name(name)
                .value_parser(ValueParser::os_string())
                .allow_hyphen_values(true),
        }
    }

    /// The flag as it is typed, for messages: its long name if it has one.
    pub fn name(&self) -> String {
        match (self.long.first(), self.short) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(short)) => format!("-{short}"),
            (None, None) => self.id.to_owned(),
        }
    }
}

impl Given {
    /// True if a flag without value is there.
    pub fn is_set(&self, id: &str) -> bool {
        self.0.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false)
    }

    fn was_typed(&self, flag: &Flag) -> bool {
        self.0.value_source(flag.id) == Some(ValueSource::CommandLine)
    }

    /// How often a counted flag is there.
    pub fn count(&self, id: &str) -> u8 {
        self.0.try_get_one::<u8>(id).ok().flatten().copied().unwrap_or(0)
    }

    /// All values of a word that takes what follows.
    ///
    /// # Errors
    /// If one of them is not UTF-8.
    pub fn list(&self, id: &str) -> Result<Vec<String>, Fault> {
        let values = self.0.try_get_many::<OsString>(id).ok().flatten().into_iter().flatten();
        let text = |value: &OsString| {
            value.clone().into_string().map_err(|value| {
                Fault::usage(format!("{}: the text is not UTF-8", value.to_string_lossy()))
            })
        };
        values.map(text).collect()
    }

    /// A value as it was typed, whatever its bytes.
    pub fn raw(&self, id: &str) -> Option<OsString> {
        self.0.try_get_one::<OsString>(id).ok().flatten().cloned()
    }

    /// A value as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&self, id: &str) -> Result<Option<String>, Fault> {
        match self.raw(id).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(raw)) => Err(Fault::usage(format!(
                "{}: not UTF-8: '{}'",
                id,
                crate::cli::terminal::plain(&raw.to_string_lossy())
            ))),
        }
    }

    /// A value as a number (or anything else that reads itself from text).
    ///
    /// # Errors
    /// If it does not read so; `wanted` says in the message what to write.
    pub fn parsed<T: FromStr>(&self, id: &str, wanted: &str) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(id)? else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Fault::usage(format!("--{id} {text}: write {wanted}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "demo",
        about: "Shows flags",
        usage: "[OPTIONS] FILE",
        words: &[Word { id: "FILE", required: true, short_doc: "What to read", long_doc: "" }],
        flags: &[
            Flag {
                id: "verbose",
                short: Some('v'),
                long: &["verbose"],
                takes: Takes::Count,
                short_doc: "Say more",
                long_doc: "",
            },
            Flag {
                id: "timezone",
                short: None,
                long: &["timezone", "TZ"],
                takes: Takes::Value("ZONE"),
                short_doc: "The zone",
                long_doc: "",
            },
        ],
        later: &[Flag {
            id: "fly",
            short: Some('f'),
            long: &["fly"],
            takes: Takes::Value("WHERE"),
            short_doc: "",
            long_doc: "",
        }],
        frame: ".TH DEMO 1\n@OPTIONS@",
    };

    fn ask(args: &[&str]) -> Result<Asked, Fault> {
        TOOL.ask(std::iter::once("demo").chain(args.iter().copied()).map(OsString::from))
    }

    fn work(args: &[&str]) -> Given {
        match ask(args).unwrap() {
            Asked::Work(given) => given,
            Asked::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_table_is_sound_for_clap() {
        TOOL.command().debug_assert();
    }

    #[test]
    fn flags_mix_with_words_and_the_last_one_counts() {
        let given = work(&["-v", "a.log", "--TZ", "UTC", "--timezone=-x", "-vv"]);
        assert_eq!(given.count("verbose"), 3);
        assert_eq!(given.text("timezone").unwrap().as_deref(), Some("-x"));
        assert_eq!(given.text("FILE").unwrap().as_deref(), Some("a.log"));
        assert_eq!(work(&["-"]).text("FILE").unwrap().as_deref(), Some("-"));
        assert_eq!(work(&["--verb"]).count("verbose"), 1, "long flags may be cut short");
    }

    #[test]
    fn a_wrong_flag_names_the_right_one() {
        let fault = ask(&["--timezoen", "x"]).unwrap_err();
        assert_eq!(fault.code, 64);
        assert!(fault.text.contains("--timezone"), "{fault}");
        assert!(fault.text.contains("demo [OPTIONS] FILE"), "{fault}");
    }

    #[test]
    fn a_flag_for_later_says_so_and_is_not_shown() {
        for args in [&["-f", "south"][..], &["--fly=south", "a.log"], &["--fl", "-x"]] {
            let fault = ask(args).unwrap_err();
            assert_eq!(fault.code, 64);
            assert_eq!(fault.text, "--fly is not there yet\n  what is: demo --help", "{args:?}");
        }
        assert!(!TOOL.command().render_help().to_string().contains("--fly"));
        assert!(matches!(ask(&["-f", "x", "-V"]), Ok(Asked::Text(_))));
    }

    #[test]
    fn help_version_man_and_completions_are_texts() {
        for (args, expected) in [
            (&["-V"][..], format!("{}\n", crate::VERSION)),
            (&["--version"], format!("demo {}\n", crate::VERSION)),
        ] {
            match ask(args).unwrap() {
                Asked::Text(text) => assert_eq!(text, expected),
                Asked::Work(_) => panic!("{args:?}"),
            }
        }
        for (args, part) in [
            (&["--help"][..], "Say more"),
            (&["-h"], "[alias: --TZ]"),
            (&["--man"], "\\-\\-timezone"),
            (&["--completions", "bash"], "_demo"),
        ] {
            match ask(args).unwrap() {
                Asked::Text(text) => assert!(text.contains(part), "{args:?}: {text}"),
                Asked::Work(_) => panic!("{args:?}"),
            }
        }
        assert_eq!(ask(&["--completions", "ksh"]).unwrap_err().code, 64);
    }
}
