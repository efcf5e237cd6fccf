//! The list of commands: behind `--help`, and on the man page.

use crate::control::commands::{COMMANDS, Group};

/// The column at which the text begins, and the last column.
const TEXT: usize = 34;
const WIDTH: usize = 100;

/// The list as `--help` and `help` show it.
pub fn commands() -> String {
    let mut out = String::from("\nCommands:\n");
    for group in Group::ALL {
        out.push_str(&format!("\n  {}:\n", group.title()));
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            let mut line = format!("    {}", command.usage());
            let mut begun = false;
            for word in command.doc.split(' ') {
                let at = line.chars().count();
                let is_full = begun && at + 1 + word.chars().count() > WIDTH;
                if is_full || (!begun && at + 2 > TEXT) {
                    out.push_str(&line);
                    out.push('\n');
                    line = " ".repeat(TEXT - 1);
                } else if !begun {
                    line.push_str(&" ".repeat(TEXT - 1 - at));
                }
                begun = true;
                line.push(' ');
                line.push_str(word);
            }
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// The list in roff.
pub fn roff() -> String {
    let mut out = String::new();
    let plain = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    for group in Group::ALL {
        out.push_str(&format!(".SS {}\n", group.title()));
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            out.push_str(&format!(
                ".TP\n\\fB{}\\fR\n{}.\n",
                plain(&command.usage()),
                plain(command.doc)
            ));
        }
    }
    out
}
