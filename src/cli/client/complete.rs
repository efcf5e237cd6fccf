//! Completions: each shell asks this program what could come next, and it asks the server for the
//! names of its jails.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use super::{flags::TOOL, place};
use crate::{
    cli::flags::Asked,
    control::{Answer, Reply, Request, commands::candidates, socket::Connection},
};

/// What the shells' scripts call this program with, before the words typed so far.
pub const ASKS: &str = "--complete-words";

/// Whoever presses the tab key does not wait for longer.
const PATIENCE: Duration = Duration::from_millis(700);

/// The script for a shell, where the flags alone are not all.
pub fn script(shell: &str) -> Option<String> {
    let text = match shell {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        _ => return None,
    };
    Some(text.replace("ASKS", ASKS))
}

// Words are compared here, not by compgen -W, which would run what is in them.
const BASH: &str = r#"_sentryban_client() {
    local current=${COMP_WORDS[COMP_CWORD]} word
    COMPREPLY=()
    while IFS= read -r word; do
        [[ $word == "$current"* ]] && COMPREPLY+=("$word")
    done < <("${COMP_WORDS[0]}" ASKS "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)
}
complete -o default -F _sentryban_client sentryban-client
"#;

const ZSH: &str = r#"#compdef sentryban-client
_sentryban_client() {
    local -a found
    found=("${(@f)$("${words[1]}" ASKS "${(@)words[2,CURRENT-1]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( $#found )); then compadd -a found; else _files; fi
}
compdef _sentryban_client sentryban-client
"#;

const FISH: &str = r#"function __sentryban_client
    set -l typed (commandline -opc)
    set -l program $typed[1]
    set -e typed[1]
    command $program ASKS $typed 2>/dev/null
end
complete -c sentryban-client -a '(__sentryban_client)'
"#;

/// The words that could follow those typed so far, one a line.
pub fn answer(typed: Vec<OsString>) -> String {
    let program = OsString::from(TOOL.name);
    // A flag that still waits for its value, and what is no flag, have nothing to offer.
    let Ok(Asked::Work(given)) = TOOL.ask(std::iter::once(program).chain(typed)) else {
        return String::new();
    };
    let words = given.list("COMMAND...").unwrap_or_default();
    let mut found: BTreeSet<String> = BTreeSet::new();
    if words.is_empty() {
        for flag in TOOL.shown_flags() {
            found.extend(flag.short.map(|letter| format!("-{letter}")));
            found.extend(flag.long.iter().map(|name| format!("--{name}")));
        }
    }
    let jails = || place::socket(&given).map(|socket| jails(&socket)).unwrap_or_default();
    found.extend(candidates(&words, jails));
    found
        .into_iter()
        .filter(|word| is_one(word))
        .fold(String::new(), |text, word| text + &word + "\n")
}

/// What a shell would take apart, or a terminal obey, is not offered.
fn is_one(word: &str) -> bool {
    !word.is_empty() && !word.chars().any(|letter| letter.is_control() || letter.is_whitespace())
}

fn jails(socket: &std::path::Path) -> Vec<String> {
    let reply = Connection::open(socket, PATIENCE)
        .ok()
        .and_then(|mut server| server.ask(&Request::Status, PATIENCE).ok());
    match reply {
        Some(Reply::Ok(Answer::Status(status))) => {
            let disabled = status.disabled.into_iter().map(|trouble| trouble.jail);
            status.jails.into_iter().chain(disabled).collect()
        }
        _ => Vec::new(),
    }
}
