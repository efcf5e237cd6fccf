//! What is done against a host: portsentry's three ways, with their macros filled in.
//!
//! What stands in for a macro is an address, a number or a word of ours, never text of an
//! attacker's.

use std::net::IpAddr;

use super::{
    effects::{COMMAND_TIMEOUT_S, Shell, Step},
    lines::Way,
    settings::{Block, Form, Mode, Settings},
};

/// One way to act; no step if its option lacks `$TARGET$`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Move {
    pub way: Way,
    pub step: Option<Step>,
}

impl Move {
    /// What the log says of it.
    pub fn text(&self) -> &str {
        match &self.step {
            Some(Step::Deny { line, .. }) => line,
            Some(Step::Route(shell) | Step::Run(shell)) => &shell.script,
            None => "",
        }
    }
}

/// What the settings want done, in order.
pub(super) fn moves(settings: &Settings, mode: Mode, host: IpAddr, port: u16) -> Vec<Move> {
    let fill = |text: &str, target: &str| {
        text.replace("$TARGET$", target)
            .replace("$PORT$", &port.to_string())
            .replace("$MODE$", word(settings.form, mode))
    };
    let plain = host.to_string();
    let shell = |text: &str| Shell { script: fill(text, &plain), timeout_s: COMMAND_TIMEOUT_S };
    let aimed =
        |way, text: &str, step: Step| Move { way, step: text.contains("$TARGET$").then_some(step) };
    let deny = settings.kill_hosts_deny.as_deref().map(|text| {
        // Colons part the fields of that file.
        let target = if host.is_ipv6() { format!("[{host}]") } else { plain.clone() };
        let path = settings.hosts_deny.clone();
        aimed(Way::Wrappers, text, Step::Deny { path, line: fill(text, &target) })
    });
    let route = settings.kill_route.as_deref();
    let route = route.map(|text| aimed(Way::Route, text, Step::Route(shell(text))));
    let run = settings.kill_run_cmd.as_deref();
    let run = run.map(|text| Move { way: Way::Command, step: Some(Step::Run(shell(text))) });
    let order = match (settings.block(mode.proto()), settings.kill_run_cmd_first) {
        (Block::No, _) => [None, None, None],
        (Block::Command, _) => [run, None, None],
        (Block::All, true) => [run, deny, route],
        (Block::All, false) => [deny, route, run],
    };
    order.into_iter().flatten().collect()
}

fn word(form: Form, mode: Mode) -> &'static str {
    match (form, mode.binds()) {
        (Form::One, _) => mode.word(),
        (Form::Two, true) => "connect",
        (Form::Two, false) => "stealth",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            block_tcp: Block::All,
            kill_route: Some("/sbin/ip route add blackhole $TARGET$ # $PORT$ $MODE$".to_owned()),
            kill_hosts_deny: Some("ALL: $TARGET$ : DENY".to_owned()),
            kill_run_cmd: Some("/bin/mail $TARGET$ $TARGET$".to_owned()),
            ..Settings::default()
        }
    }

    fn texts(settings: &Settings, host: &str) -> Vec<(Way, String)> {
        let moves = moves(settings, Mode::Atcp, host.parse().unwrap(), 79);
        moves.iter().map(|one| (one.way, one.text().to_owned())).collect()
    }

    #[test]
    fn macros_are_filled_in_and_the_order_is_portsentrys() {
        let deny = (Way::Wrappers, "ALL: 192.0.2.1 : DENY".to_owned());
        let route = (Way::Route, "/sbin/ip route add blackhole 192.0.2.1 # 79 atcp".to_owned());
        let run = (Way::Command, "/bin/mail 192.0.2.1 192.0.2.1".to_owned());
        let all = settings();
        let expected = [deny.clone(), route.clone(), run.clone()];
        assert_eq!(texts(&all, "192.0.2.1"), expected);
        let first = Settings { kill_run_cmd_first: true, ..all.clone() };
        assert_eq!(texts(&first, "192.0.2.1"), [run.clone(), deny, route]);
        let command = Settings { block_tcp: Block::Command, ..all.clone() };
        assert_eq!(texts(&command, "192.0.2.1"), [run]);
        let none = Settings { block_tcp: Block::No, ..all };
        assert_eq!(texts(&none, "192.0.2.1"), []);
    }

    #[test]
    fn wrappers_want_brackets_around_ipv6() {
        let [deny, route, _] = texts(&settings(), "2001:db8::1").try_into().unwrap();
        assert_eq!(deny.1, "ALL: [2001:db8::1] : DENY");
        assert_eq!(route.1, "/sbin/ip route add blackhole 2001:db8::1 # 79 atcp");
    }

    #[test]
    fn an_option_without_a_target_gives_no_step() {
        let blind = Settings { kill_route: Some("/sbin/reboot".to_owned()), ..settings() };
        let moves = moves(&blind, Mode::Atcp, "192.0.2.1".parse().unwrap(), 79);
        assert_eq!(
            moves.iter().map(|one| one.step.is_some()).collect::<Vec<_>>(),
            [true, false, true]
        );
    }
}
