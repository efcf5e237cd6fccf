//! Lift: removes all that is ours from every firewall, whatever the configuration says: the
//! emergency exit when the daemon is dead.

use super::exec::{Done, Executor, Failed};
use crate::action::{
    plan::{Command, Step, Work},
    sets::NFT_TABLE,
};

/// Chains and sets of ours begin with one of these.
const CHAINS: [&str; 2] = ["sb-", "sbs-"];
const SETS: [&str; 4] = ["sb4-", "sb6-", "sbn4-", "sbn6-"];

/// What was found and removed, or not.
#[derive(Debug, Default)]
pub struct Lifted {
    /// What is gone, for people.
    pub gone: Vec<String>,
    /// What could not be removed, and why. A tool that is not installed is no fault.
    pub faults: Vec<String>,
}

/// Removes tables, chains and sets of ours.
pub fn lift(executor: &mut dyn Executor) -> Lifted {
    let mut lifted = Lifted::default();
    let table = format!("delete table inet {NFT_TABLE}\n");
    let nft = Command::words("nft -f -").stdin(table);
    let there = Command::words("nft -t list table inet").args([NFT_TABLE]);
    if ask(executor, there).is_some_and(|done| !done.stdout.is_empty()) {
        lifted.note(format!("nftables: table inet {NFT_TABLE}"), run(executor, nft));
    }
    for tool in ["iptables", "ip6tables"] {
        let Some(rules) = ask(executor, Command::new([tool, "-w", "-S"])) else { continue };
        let (chains, text) = without_ours(&rules.stdout);
        if !chains.is_empty() {
            let restore = Command::new([&format!("{tool}-restore"), "--noflush", "-w"]);
            let result = run(executor, restore.stdin(text));
            lifted.note(format!("{tool}: {}", chains.join(", ")), result);
        }
    }
    if let Some(names) = ask(executor, Command::words("ipset list -n")) {
        let ours = |name: &&str| SETS.iter().any(|prefix| name.starts_with(prefix));
        for name in names.stdout.lines().filter(ours) {
            let result = run(executor, Command::words("ipset destroy").args([name]));
            lifted.note(format!("ipset: {name}"), result);
        }
    }
    lifted
}

impl Lifted {
    fn note(&mut self, what: String, result: Result<Done, Failed>) {
        match result {
            Ok(_) => self.gone.push(what),
            Err(failed) => self.faults.push(format!("{what}: {}", failed.text)),
        }
    }
}

fn run(executor: &mut dyn Executor, command: Command) -> Result<Done, Failed> {
    executor.run(&Step { work: Work::Command(command), of: None })
}

/// What a question says; nothing if the tool is not there or knows nothing.
fn ask(executor: &mut dyn Executor, command: Command) -> Option<Done> {
    run(executor, command).ok()
}

/// Our chains in what `iptables -S` printed, and the text that removes them.
fn without_ours(rules: &str) -> (Vec<String>, String) {
    let ours = |name: &str| CHAINS.iter().any(|prefix| name.starts_with(prefix));
    let chains: Vec<String> = rules
        .lines()
        .filter_map(|line| line.strip_prefix("-N "))
        .filter(|name| ours(name))
        .map(str::to_owned)
        .collect();
    let mut text = "*filter\n".to_owned();
    for line in rules.lines().filter_map(|line| line.strip_prefix("-A ")) {
        let target = line.rsplit_once(" -j ").map(|(_, target)| target);
        if target.is_some_and(ours) {
            text += &format!("-D {line}\n");
        }
    }
    chains.iter().for_each(|chain| text += &format!(":{chain} - [0:0]\n-X {chain}\n"));
    (chains, text + "COMMIT\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_goes() {
        let rules = "-P INPUT ACCEPT\n-N sb-sshd\n-N f2b-sshd\n-A INPUT -p tcp -j sb-sshd\n\
                     -A INPUT -j f2b-sshd\n-A sb-sshd -s 192.0.2.1/32 -j DROP\n";
        let (chains, text) = without_ours(rules);
        assert_eq!(chains, ["sb-sshd"]);
        assert_eq!(
            text,
            "*filter\n-D INPUT -p tcp -j sb-sshd\n:sb-sshd - [0:0]\n-X sb-sshd\nCOMMIT\n"
        );
    }
}
