//! Man pages: a frame written by hand (`man/NAME.N.in`), the options filled in from the table.
//!
//! The rendered page is committed beside its frame; `tests/man.rs` compares the two and, with
//! `SENTRYBAN_BLESS=1`, writes it.

use super::{
    client,
    flags::{Flag, Takes, Tool, Word},
    regex, sensor, server,
};

/// One page of the manual.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// File name below `man/`.
    pub file: &'static str,
    /// Its frame.
    pub frame: &'static str,
    /// The tool whose options it shows, if it is a tool's page.
    pub tool: Option<&'static Tool>,
}

/// All pages.
pub const PAGES: &[Page] = &[
    Page {
        file: "sentryban-client.1",
        frame: client::flags::TOOL.frame,
        tool: Some(&client::flags::TOOL),
    },
    Page {
        file: "sentryban-regex.1",
        frame: regex::flags::TOOL.frame,
        tool: Some(&regex::flags::TOOL),
    },
    Page {
        file: "sentryban-sensor.8",
        frame: sensor::flags::TOOL.frame,
        tool: Some(&sensor::flags::TOOL),
    },
    Page {
        file: "sentryban-server.8",
        frame: server::flags::TOOL.frame,
        tool: Some(&server::flags::TOOL),
    },
    Page {
        file: "sentryban-filter.5",
        frame: include_str!("../../man/sentryban-filter.5.in"),
        tool: None,
    },
    Page {
        file: "sentryban-portsentry.conf.5",
        frame: include_str!("../../man/sentryban-portsentry.conf.5.in"),
        tool: None,
    },
    Page {
        file: "sentryban-jail.conf.5",
        frame: include_str!("../../man/sentryban-jail.conf.5.in"),
        tool: None,
    },
];

/// Fills a frame: `@VERSION@`, `@WORDS@`, `@OPTIONS@` and `@COMMANDS@` (the client's), and drops the comment that tells editors
/// of a frame what it is (lines that begin with `.\"@`).
pub fn render(frame: &str, tool: Option<&Tool>) -> String {
    let mut page: String = frame
        .lines()
        .filter(|line| !line.starts_with(".\\\"@"))
        .flat_map(|line| [line, "\n"])
        .collect();
    page = page.replace("@VERSION@", crate::VERSION);
    page = page.replace("@COMMANDS@\n", &client::help::roff());
    if let Some(tool) = tool {
        let words: String = tool.words.iter().map(word_entry).collect();
        let options: String = tool.shown_flags().map(flag_entry).collect();
        page = page.replace("@WORDS@\n", &words).replace("@OPTIONS@\n", &options);
    }
    wrapped(&page)
}

/// Breaks text lines of more than 80 bytes at a blank, which roff does not see; requests and
/// examples stay. A word with a control character in front never comes to stand first.
fn wrapped(page: &str) -> String {
    const WIDTH: usize = 80;
    let mut out = String::with_capacity(page.len() + 64);
    let mut example = false;
    for line in page.lines() {
        match line {
            ".EX" => example = true,
            ".EE" => example = false,
            _ => {}
        }
        if example || line.starts_with('.') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let mut width = 0;
        for (index, word) in line.split(' ').enumerate() {
            let fits = width + 1 + word.len() <= WIDTH || word.starts_with(['.', '\'']);
            if index > 0 {
                out.push(if fits { ' ' } else { '\n' });
                width = if fits { width + 1 } else { 0 };
            }
            out.push_str(word);
            width += word.len();
        }
        out.push('\n');
    }
    out
}

fn word_entry(word: &Word) -> String {
    format!(".TP\n.I {}\n{}\n", word.id, body(word.short_doc, word.long_doc))
}

fn flag_entry(flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!("\\fB\\-{letter}\\fR"));
    let long = flag.long.iter().map(|name| format!("\\fB\\-\\-{}\\fR", roff(name)));
    let mut heads: Vec<String> = short.into_iter().chain(long).collect();
    if let (Takes::Value(name), Some(last)) = (flag.takes, heads.last_mut()) {
        let equals = if flag.long.is_empty() { " " } else { "=" };
        last.push_str(&format!("{equals}\\fI{}\\fR", roff(name)));
    }
    format!(".TP\n{}\n{}\n", heads.join(", "), body(flag.short_doc, flag.long_doc))
}

/// The paragraph; a short text gets the full stop that `--help` leaves out.
fn body(short_doc: &str, long_doc: &str) -> String {
    match long_doc {
        "" => format!("{}.", roff(short_doc)),
        long => long.trim_end().to_owned(),
    }
}

/// Plain text as roff: a hyphen that is typed stays one, a backslash is shown.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// How a flag's head looks on the page: what `tests/man.rs` looks for.
pub fn flag_head(flag: &Flag) -> String {
    flag_entry(flag).lines().nth(1).unwrap_or_default().to_owned()
}
