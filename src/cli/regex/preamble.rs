//! The head of the report: "Running tests", and what is used for them.

use std::io::{self, Write};

use super::page::Page;
use crate::cli::python::{repr_dict, repr_text};

/// "Running tests": what the run uses, in the order in which it became known.
#[derive(Clone, Debug, Default)]
pub struct Preamble(Vec<String>);

impl Preamble {
    /// An empty one.
    pub fn new() -> Preamble {
        Preamble::default()
    }

    /// `maxlines`, from the command line or the filter.
    pub fn maxlines(&mut self, lines: u32) {
        self.uses("maxlines", &lines.to_string());
    }

    /// `datepattern` as given, and how the date room describes it (`Default Detectors`, or a name).
    pub fn datepattern(&mut self, pattern: &str, description: &str) {
        self.uses("datepattern", &format!("{pattern} : {description}"));
    }

    /// A jail of the configuration.
    pub fn jail(&mut self, name: &str) {
        self.uses("jail", name);
    }

    /// Options behind a jail's name.
    pub fn jail_options(&mut self, options: &[(String, String)]) {
        self.uses("jail/flt options", &dict(options));
    }

    /// A filter of the configuration in `basedir`, read with its `.local` and all.
    pub fn filter(&mut self, name: &str, basedir: &str) {
        self.uses("filter file", &format!("{name}, basedir: {basedir}"));
    }

    /// A filter file that stands alone.
    pub fn filter_file(&mut self, path: &str) {
        self.uses("filter file", path);
    }

    /// Options behind a filter's name or path.
    pub fn filter_options(&mut self, options: &[(String, String)]) {
        self.uses("filter options", &dict(options));
    }

    /// With `-vv`: the options as the filter was read with them.
    pub fn real_options(&mut self, options: &[(String, String)]) {
        self.0.push(format!("Real  filter options : {}", dict(options)));
    }

    /// A failregex of the command line.
    pub fn failregex(&mut self, text: &str) {
        self.uses("failregex line", &shortened(text));
    }

    /// An ignoreregex of the command line.
    pub fn ignoreregex(&mut self, text: &str) {
        self.uses("ignoreregex line", &shortened(text));
    }

    /// The log file and its encoding.
    pub fn log_file(&mut self, path: &str, encoding: &str) {
        self.uses("log file", path);
        self.uses("encoding", encoding);
    }

    /// The journal, and by which fields it is selected (may be empty).
    pub fn journal(&mut self, encoding: &str, journalmatch: &str) {
        self.0.push("Use         systemd journal".to_owned());
        self.uses("encoding", encoding);
        if !journalmatch.is_empty() {
            self.uses("journal match", journalmatch);
        }
    }

    /// Lines from the command line. One is shown as such unless a failure may span several.
    pub fn lines(&mut self, text: &str, maxlines: u32) {
        if maxlines <= 1 && !text.contains('\n') {
            self.uses("single line", &shortened(text));
            return;
        }
        let lines: Vec<&str> = text.split('\n').collect();
        // One blank less than everywhere else: so it stands in fail2ban-regex.
        self.0.push(format!("Use      multi line : {} line(s)", lines.len()));
        for (index, line) in lines.iter().enumerate() {
            if index >= 5 {
                self.0.push("| ...".to_owned());
                break;
            }
            self.0.push(format!("| {:>2}: {}", index + 1, shortened(line)));
        }
        self.0.push("`-".to_owned());
    }

    fn uses(&mut self, what: &str, value: &str) {
        self.0.push(format!("Use {what:>16} : {value}"));
    }

    /// Prints it, with its heading.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, out: &mut impl Write, to_terminal: bool) -> io::Result<()> {
        let mut page = Page { out, to_terminal };
        for line in ["", "Running tests", "=============", ""] {
            page.line(line)?;
        }
        for line in &self.0 {
            page.line(line)?;
        }
        page.line("")
    }
}

fn dict(options: &[(String, String)]) -> String {
    repr_dict(options.iter().map(|(name, value)| (name.as_str(), repr_text(value))))
}

/// At most 53 characters, the last three of a longer text being dots.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 53;
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 3).chain("...".chars()).collect()
}
