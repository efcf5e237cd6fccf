//! What could come next on a command line.

use super::{Arg, COMMANDS, Command, is_value};

/// The words that could follow those typed so far, sorted. `jails` is asked for the names of the
/// jails where one could stand.
pub fn candidates(typed: &[String], jails: impl FnOnce() -> Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut wants_jail = false;
    for command in COMMANDS {
        if !begins(command, typed) {
            continue;
        }
        let next = match command.words.get(typed.len()) {
            Some(word) => vec![*word],
            None => behind(command, typed),
        };
        for word in next {
            match word {
                "JAIL" => wants_jail = true,
                word if is_value(word) => {}
                word => found.extend(word.split('|').filter(|w| !is_value(w)).map(str::to_owned)),
            }
        }
    }
    if wants_jail {
        found.extend(jails());
    }
    found.sort();
    found.dedup();
    found
}

fn begins(command: &Command, typed: &[String]) -> bool {
    command.literals().all(|(at, word)| typed.get(at).is_none_or(|typed| typed == word))
}

/// What may stand behind the words of a command: switches while only switches were typed, then the
/// argument whose turn it is.
fn behind(command: &Command, typed: &[String]) -> Vec<&'static str> {
    let rest = typed.get(command.words.len()..).unwrap_or_default();
    let is_switch = |word: &String| command.switches.contains(&word.as_str());
    let switches = rest.iter().take_while(|word| is_switch(word)).count();
    let mut next: Vec<&str> = Vec::new();
    if switches == rest.len() {
        let unused = command.switches.iter().filter(|switch| !rest.iter().any(|w| w == *switch));
        next.extend(unused);
    }
    let at = (rest.len() - switches).min(command.args.len().saturating_sub(1));
    match command.args.get(at) {
        Some(Arg::Many(name) | Arg::Any(name)) => next.push(name),
        Some(Arg::One(name) | Arg::Maybe(name)) if at == rest.len() - switches => next.push(name),
        _ => {}
    }
    next
}
