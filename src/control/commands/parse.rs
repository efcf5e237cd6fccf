//! Words into a task: which row of the table they are, and what stands in its places.

use std::fmt;

use super::{Arg, COMMANDS, Command, Task, is_value};

/// What was typed, cut up along a row of the table.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The values among its words, in order.
    values: std::vec::IntoIter<String>,
    switches: Vec<String>,
    rest: std::vec::IntoIter<String>,
}

impl Taken {
    /// The next value: first those among the words, then those behind. Empty where an argument is
    /// missing that need not be there.
    pub fn value(&mut self) -> String {
        self.maybe().unwrap_or_default()
    }

    /// The next value, if there is one.
    pub fn maybe(&mut self) -> Option<String> {
        self.values.next().or_else(|| self.rest.next())
    }

    /// All that is left.
    pub fn all(&mut self) -> Vec<String> {
        self.rest.by_ref().collect()
    }

    /// True if this switch was given.
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|given| given == switch)
    }
}

/// Words that are no command, or not like this.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Misuse {
    /// What is wrong, in one line: as fail2ban says it where it says something.
    pub text: String,
    /// What to type instead, where that is known; further lines are indented by two blanks.
    pub hint: Option<String>,
}

impl Misuse {
    /// A value that cannot be.
    pub fn new(text: impl Into<String>) -> Misuse {
        Misuse { text: text.into(), hint: None }
    }

    /// A command that is there, but not like this.
    pub fn hinted(hint: impl Into<String>) -> Misuse {
        let text = "Sorry but the command is invalid".to_owned();
        Misuse { text, hint: Some(hint.into()) }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Misuse {}

/// What these words ask for.
///
/// # Errors
/// If no command begins like this, or if too much or too little follows.
pub fn parse(words: &[String]) -> Result<Task, Misuse> {
    let fitting = || COMMANDS.iter().filter(|command| fits(command, words));
    // `set loglevel X` is the server's, although a jail could be called so.
    let weight = |command: &Command| (command.literals().count(), command.words.len());
    let Some(most) = fitting().map(weight).max() else { return Err(unknown(words)) };
    let mut misuse = unknown(words);
    // `status` and `status JAIL` begin alike: the first that takes what follows is meant.
    for command in fitting().filter(|command| weight(command) == most) {
        match take(command, words) {
            Ok(mut taken) => return (command.make)(&mut taken),
            Err(wrong) => misuse = wrong,
        }
    }
    Err(misuse)
}

fn fits(command: &Command, words: &[String]) -> bool {
    command.words.len() <= words.len()
        && command.literals().all(|(at, word)| words.get(at).is_some_and(|typed| typed == word))
}

fn take(command: &Command, words: &[String]) -> Result<Taken, Misuse> {
    let head = words.iter().zip(command.words);
    let values: Vec<String> =
        head.filter(|(_, word)| is_value(word)).map(|(typed, _)| typed.clone()).collect();
    let behind = words.get(command.words.len()..).unwrap_or_default();
    let switches = behind.iter().take_while(|word| command.switches.contains(&word.as_str()));
    let switches: Vec<String> = switches.cloned().collect();
    let rest: Vec<String> = behind.iter().skip(switches.len()).cloned().collect();
    let least = command.args.iter().filter(|arg| matches!(arg, Arg::One(_) | Arg::Many(_))).count();
    let most = match command.args.last() {
        Some(Arg::Many(_) | Arg::Any(_)) => usize::MAX,
        _ => command.args.len(),
    };
    if rest.len() < least {
        return Err(Misuse::hinted(format!("write {}", command.usage())));
    }
    if rest.len() > most {
        let quote = match most {
            0 => "",
            _ => "\n  a value with blanks in it stands in quotes",
        };
        return Err(Misuse::hinted(format!("write {}{quote}", command.usage())));
    }
    Ok(Taken { values: values.into_iter(), switches, rest: rest.into_iter() })
}

/// What is wrong with words that no command begins with: the longest beginning that some command
/// has is looked for, and what could follow it.
fn unknown(words: &[String]) -> Misuse {
    let begins = |command: &&Command, length: usize| {
        let same = |(at, word): (usize, &str)| {
            at >= length || words.get(at).is_some_and(|typed| typed == word)
        };
        command.words.len() >= length && command.literals().all(same)
    };
    let mut length = words.len();
    while length > 0 && !COMMANDS.iter().any(|command| begins(&command, length)) {
        length -= 1;
    }
    let next = COMMANDS.iter().filter(|command| begins(command, length));
    let mut next: Vec<&str> =
        next.filter_map(|command| command.words.get(length).copied()).collect();
    next.dedup();
    let begun = words.get(..length).unwrap_or_default().join(" ");
    let all = "what there is: sentryban-client help".to_owned();
    let Some(wrong) = words.get(length) else {
        return Misuse::hinted(match next.len() {
            0..=6 => format!("behind '{begun}' comes one of: {}", next.join(", ")),
            _ => all,
        });
    };
    let text = match words.first().map(String::as_str) {
        Some("set") if length > 0 => {
            format!("Invalid command '{wrong}' (no set action or not yet implemented)")
        }
        Some("get") if length > 0 => {
            "Invalid command (no get action or not yet implemented)".to_owned()
        }
        _ => "Invalid command".to_owned(),
    };
    let hint = match nearest(wrong, next.iter().copied().filter(|word| !is_value(word))) {
        Some(near) if begun.is_empty() => format!("did you mean '{near}'?"),
        Some(near) => format!("did you mean '{begun} {near}'?"),
        None => all,
    };
    Misuse { text, hint: Some(hint) }
}

/// The one of these that was meant: a slip is forgiven, and one in every three letters.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded: String = word.to_lowercase().chars().take(64).collect();
    let allowed = (folded.chars().count() / 3).max(1);
    known
        .map(|name| (strsim::damerau_levenshtein(&folded, name), name))
        .filter(|&(slips, name)| slips <= allowed && slips < name.chars().count())
        .min_by_key(|&(slips, _)| slips)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{
        commands::Show,
        protocol::{Request, Whom},
        report::Flavor,
        settings::{Change, Query},
    };

    fn typed(line: &str) -> Result<Task, Misuse> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn asked(line: &str) -> Request {
        match typed(line) {
            Ok(Task::Ask { request, .. }) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_of_one_beginning_are_told_apart() {
        let of = |jail: Option<&str>| jail.map(str::to_owned);
        assert_eq!(typed("start"), Ok(Task::Start));
        assert_eq!(asked("start a"), Request::StartJail("a".to_owned()));
        assert_eq!(asked("stop"), Request::Stop { unless_restarting: false, restarting: false });
        let stop = asked("stop --unless-restarting");
        assert_eq!(stop, Request::Stop { unless_restarting: true, restarting: false });
        assert_eq!(asked("stop a"), Request::StopJail(of(Some("a"))));
        assert_eq!(asked("stop --all"), Request::StopJail(None));
        assert_eq!(asked("status"), Request::Status);
        let status = |jail, flavor| Request::JailStatus { jail: of(jail), flavor };
        assert_eq!(asked("status --all"), status(None, Flavor::Basic));
        assert_eq!(asked("status --all short"), status(None, Flavor::Short));
        assert_eq!(asked("status a short"), status(Some("a"), Flavor::Short));
        assert_eq!(typed("restart"), Ok(Task::Restart));
        let reload = |jail, restart, unban, if_exists| Request::Reload {
            jail: of(jail),
            restart,
            unban,
            if_exists,
        };
        assert_eq!(asked("restart --unban a"), reload(Some("a"), true, true, false));
        assert_eq!(asked("reload"), reload(None, false, false, false));
        assert_eq!(asked("reload --all"), reload(None, false, false, false));
        assert_eq!(asked("reload --restart --unban --all"), reload(None, true, true, false));
        assert_eq!(asked("reload --if-exists a"), reload(Some("a"), false, false, true));
        assert_eq!(asked("unban --all"), Request::Unban(Whom::All));
        assert_eq!(asked("unban 1.2.3.4"), Request::Unban(Whom::Ids(vec!["1.2.3.4".into()])));
    }

    #[test]
    fn values_may_look_like_switches() {
        let change = |line| match asked(line) {
            Request::SetJail { change, .. } => change,
            other => panic!("{other:?}"),
        };
        assert_eq!(change("set a bantime -1"), Change::BanTime("-1".to_owned()));
        let del = change("set a delignoreip --all");
        assert_eq!(del, Change::DelIgnoreIp(vec!["--all".to_owned()]));
        let unban = |ids: &[&str], report_absent| Change::UnbanIp {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            report_absent,
        };
        assert_eq!(change("set a unbanip --report-absent x y"), unban(&["x", "y"], true));
        assert_eq!(
            change("set a unbanip x --report-absent"),
            unban(&["x", "--report-absent"], false)
        );
        assert_eq!(
            typed("get a banip --with-time"),
            Ok(Task::Ask {
                request: Request::GetJail { jail: "a".to_owned(), query: Query::BanIp },
                show: Show::WithTime
            })
        );
    }

    #[test]
    fn what_is_no_command_is_told_as_fail2ban_tells_it_and_with_a_hint() {
        let rows = [
            ("statsu", "Invalid command", "did you mean 'status'?"),
            ("bogus a b", "Invalid command", "what there is: sentryban-client help"),
            (
                "set a bogus 1",
                "Invalid command 'bogus' (no set action or not yet implemented)",
                "what there is: sentryban-client help",
            ),
            (
                "get a bantme",
                "Invalid command (no get action or not yet implemented)",
                "did you mean 'get a bantime'?",
            ),
            ("get a", "Sorry but the command is invalid", "what there is: sentryban-client help"),
            ("set a bantime", "Sorry but the command is invalid", "write set JAIL bantime TIME"),
            (
                "set a bantime 1w 2d",
                "Sorry but the command is invalid",
                "write set JAIL bantime TIME\n  a value with blanks in it stands in quotes",
            ),
            (
                "set a action b",
                "Sorry but the command is invalid",
                "write set JAIL action ACT PROPERTY [VALUE]",
            ),
            (
                "reload a b",
                "Sorry but the command is invalid",
                "write reload [--restart] [--unban] [--if-exists] [--all] [JAIL]\n  a value with blanks in it stands in quotes",
            ),
        ];
        for (line, text, hint) in rows {
            let misuse = typed(line).unwrap_err();
            assert_eq!(
                (misuse.text.as_str(), misuse.hint.as_deref()),
                (text, Some(hint)),
                "{line}"
            );
        }
        for line in ["set a idle maybe", "set a maxretry x", "ping x", "status a bogus", "unban"] {
            assert!(typed(line).is_err(), "{line}");
        }
    }
}
