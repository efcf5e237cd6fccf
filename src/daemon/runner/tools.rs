//! Tools: does steps by the programs that every system has.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    edit,
    exec::{Done, Executor, Failed, Why},
    process::{self, Call, Ran},
};
use crate::action::{
    plan::{Command, Shell, Step, Work, shown},
    sets::{IpsetGuard, IptablesGuard, NFT_TABLE, NftGuard, SetBatch, SetVerb, Verdict},
};

/// Of what a tool prints so much is kept, in bytes.
const STDOUT_BYTES_MAX: usize = 1 << 20;

/// A listing of a million bans fits, in bytes.
const LISTING_BYTES_MAX: usize = 128 << 20;

/// A set that a rule asked until now may be busy for a moment: so often is it tried again.
const BUSY_TRIES: u32 = 20;

/// How long between, in milliseconds.
const BUSY_WAIT_MS: u64 = 25;

/// Jails make and remove what they share (the nftables table, chains of iptables) one at a time.
static SHARED: Mutex<()> = Mutex::new(());

fn shared() -> MutexGuard<'static, ()> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The executor that starts processes.
#[derive(Debug, Default)]
pub struct Tools {
    notes: Vec<String>,
    said: HashSet<String>,
}

impl Tools {
    /// An executor that has said nothing yet.
    pub fn new() -> Tools {
        Tools::default()
    }

    fn say_once(&mut self, text: String) {
        if self.said.insert(text.clone()) {
            self.notes.push(text);
        }
    }

    fn sets(&mut self, batch: &SetBatch) -> Result<Done, Failed> {
        match batch {
            SetBatch::Nft { guard, verb } => self.nft(guard, verb, batch),
            SetBatch::Ipset { guard, verb } => ipset(guard, verb, batch),
            SetBatch::Iptables { guard, verb } => iptables(guard, verb),
        }
    }

    fn nft(&mut self, guard: &NftGuard, verb: &SetVerb, batch: &SetBatch) -> Result<Done, Failed> {
        let run = |text: String, bytes| checked(&Command::words("nft -f -").stdin(text), bytes);
        match verb {
            SetVerb::Start => {
                let _one = shared();
                let first = run(batch.text(), STDOUT_BYTES_MAX);
                if guard.verdict == Verdict::Reject
                    && first.as_ref().is_err_and(|failed| failed.why == Why::Refused)
                {
                    let drops = NftGuard { verdict: Verdict::Drop, ..guard.clone() };
                    let batch = SetBatch::Nft { guard: drops, verb: SetVerb::Start };
                    let second = run(batch.text(), STDOUT_BYTES_MAX)?;
                    let why = "this kernel does not reject at prerouting: packets are dropped";
                    self.say_once(why.to_owned());
                    remove_netlinks_own(guard);
                    return Ok(second);
                }
                remove_netlinks_own(guard);
                first
            }
            SetVerb::Stop => {
                let _one = shared();
                run(batch.text(), STDOUT_BYTES_MAX)?;
                remove_netlinks_own(guard);
                // The last one out removes the table.
                let terse = Command::words("nft -t list table inet").args([NFT_TABLE]);
                let left = checked(&terse, STDOUT_BYTES_MAX)?.stdout;
                let holds = |line: &str| line.starts_with("chain ") || line.starts_with("set ");
                match left.lines().any(|line| holds(line.trim_start())) {
                    true => Ok(Done::default()),
                    false => run(format!("delete table inet {NFT_TABLE}\n"), STDOUT_BYTES_MAX),
                }
            }
            SetVerb::Check(_) => {
                let done = run(batch.text(), STDOUT_BYTES_MAX)?;
                let rule = |set: &str| format!("saddr @{set} ");
                let sets = guard.sets.all();
                match sets.iter().find(|(set, ..)| !done.stdout.contains(&rule(set))) {
                    None => Ok(Done::default()),
                    Some((set, ..)) => {
                        Err(refused(format!("the rule that asks set {set} is gone")))
                    }
                }
            }
            SetVerb::List => {
                // One by one: nft 1.0.6 forgets the first sets of a batch that lists several.
                let mut stdout = String::new();
                for line in batch.text().lines() {
                    let list = Command::words("nft").args(line.split(' '));
                    stdout += &checked(&list, LISTING_BYTES_MAX)?.stdout;
                }
                Ok(Done { stdout })
            }
            SetVerb::Change(_) | SetVerb::Flush | SetVerb::Exactly(_) => {
                run(batch.text(), STDOUT_BYTES_MAX)
            }
        }
    }
}

/// Removes the set that an earlier server had by netlink and the tool does not know: no rule asks
/// it any more, but the table could not go while it is there.
fn remove_netlinks_own(guard: &NftGuard) {
    let set = guard.sets.wide6();
    let delete = Command::words("nft delete set inet").args([NFT_TABLE, &set]);
    // Mostly there is none.
    let _ = checked(&delete, STDOUT_BYTES_MAX);
}

fn refused(text: String) -> Failed {
    Failed { text, why: Why::Refused }
}

fn ipset(guard: &IpsetGuard, verb: &SetVerb, batch: &SetBatch) -> Result<Done, Failed> {
    let restore = |text: String| {
        checked(&Command::words("ipset restore -exist").stdin(text), STDOUT_BYTES_MAX)
    };
    match verb {
        SetVerb::Start => {
            let first = restore(batch.text());
            match &first {
                // One of another size or kind is in the way: what it holds is told anew at once.
                Err(failed) if failed.text.contains("already exists") => {
                    restore(exchange_sets(guard, &batch.text()))
                }
                _ => first,
            }
        }
        SetVerb::Stop => {
            let mut tries = BUSY_TRIES;
            loop {
                match restore(batch.text()) {
                    Err(failed) if failed.text.contains("in use") && tries > 0 => {
                        tries -= 1;
                        std::thread::sleep(std::time::Duration::from_millis(BUSY_WAIT_MS));
                    }
                    other => return other,
                }
            }
        }
        SetVerb::Change(_) | SetVerb::Flush | SetVerb::Exactly(_) => restore(batch.text()),
        SetVerb::Check(nets) => {
            for set in guard.sets.of(guard.family) {
                checked(&Command::words("ipset list -t").args([set]), STDOUT_BYTES_MAX)?;
            }
            for net in nets {
                let words = ["ipset", "test", guard.sets.home(*net), &net.to_string()];
                checked(&Command::new(words), STDOUT_BYTES_MAX)?;
            }
            Ok(Done::default())
        }
        SetVerb::List => {
            let mut stdout = String::new();
            for set in guard.sets.of(guard.family) {
                let gone = &["does not exist"];
                let save = Command::words("ipset save").args([set]).forgive(gone);
                // `add sb4-sshd 192.0.2.1 timeout 600`
                let lines = checked(&save, LISTING_BYTES_MAX)?.stdout;
                for element in lines.lines().filter_map(|line| line.strip_prefix("add ")) {
                    stdout.extend(element.split(' ').nth(1));
                    stdout.push('\n');
                }
            }
            Ok(Done { stdout })
        }
    }
}

/// Makes the sets under other names, and swaps them in.
fn exchange_sets(guard: &IpsetGuard, declared: &str) -> String {
    let mut text = String::new();
    for (number, set) in guard.sets.of(guard.family).into_iter().enumerate() {
        let other = format!("sbnew-{number}");
        let line = declared.lines().find(|line| line.starts_with(&format!("create {set} ")));
        let line = line.unwrap_or_default().replacen(set, &other, 1);
        text += &format!("{line}\nswap {other} {set}\ndestroy {other}\n");
    }
    text
}

fn iptables(guard: &IptablesGuard, verb: &SetVerb) -> Result<Done, Failed> {
    let _one = shared();
    let tool = match guard.family {
        crate::ticket::Family::Inet4 => "iptables",
        crate::ticket::Family::Inet6 => "ip6tables",
    };
    let ask = Command::new([tool, "-w", "-S"]);
    let found = match verb {
        SetVerb::Change(_) | SetVerb::Flush | SetVerb::Exactly(_) => {
            let own = ask.args([&guard.chain]).forgive(&["No chain", "does not exist"]);
            let found = checked(&own, LISTING_BYTES_MAX)?.stdout;
            if found.is_empty() {
                return Err(refused(format!("chain {} is gone", guard.chain)));
            }
            found
        }
        _ => checked(&ask, LISTING_BYTES_MAX)?.stdout,
    };
    match verb {
        SetVerb::Check(nets) => match guard.missing(nets, &found) {
            None => Ok(Done::default()),
            Some(what) => Err(refused(what)),
        },
        SetVerb::List => {
            let nets = guard.elements(&found);
            Ok(Done { stdout: nets.iter().map(|(net, _)| format!("{net}\n")).collect() })
        }
        #[cfg(target_os = "linux")]
        SetVerb::Start if !guard.stands(&found) && guard.jumps_found(&found).next().is_none() => {
            super::chains::make(guard).map(|()| Done::default())
        }
        #[cfg(target_os = "linux")]
        SetVerb::Stop => super::chains::remove(guard, &found).map(|()| Done::default()),
        _ => {
            let text = guard.restore(verb, &found);
            if text.is_empty() {
                return Ok(Done::default());
            }
            let restore = Command::new([&format!("{tool}-restore"), "--noflush", "-w"]);
            checked(&restore.stdin(text), STDOUT_BYTES_MAX)
        }
    }
}

/// Runs a command and judges its end.
fn checked(command: &Command, stdout_bytes_max: usize) -> Result<Done, Failed> {
    // Messages are read by us, so they come in the language that we know.
    let env = [("LC_ALL".to_owned(), "C".to_owned())];
    let ran = process::run(Call {
        argv: &command.argv,
        stdin: &command.stdin,
        env: &env,
        timeout_s: command.timeout_s,
        stdout_bytes_max,
    })?;
    let tool = command.argv.first().map_or("", String::as_str);
    if !command.ok.contains(&ran.code) && !forgiven(command, &ran) {
        return Err(refused(complaint(tool, &ran)));
    }
    match command.expect.iter().find(|text| !ran.stdout.contains(*text)) {
        None => Ok(Done { stdout: ran.stdout }),
        Some(text) => Err(refused(format!("{tool} does not show '{text}'"))),
    }
}

/// A tool said no.
#[cfg(target_os = "linux")]
pub(super) fn failure(tool: &str, ran: &Ran) -> Failed {
    refused(complaint(tool, ran))
}

fn forgiven(command: &Command, ran: &Ran) -> bool {
    let lines = || ran.stderr.lines().filter(|line| !line.trim().is_empty());
    let known = |line: &str| command.forgive.iter().any(|text| line.contains(text.as_str()));
    !command.forgive.is_empty() && (lines().next().is_some() || known("")) && lines().all(known)
}

/// `nft: Error: … (exit code 1)`, the first lines of what it said, on one line.
fn complaint(tool: &str, ran: &Ran) -> String {
    let said = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said: String = shown(&lines.join("; ")).chars().take(400).collect();
    let low = said.to_ascii_lowercase();
    let rights = low.contains("not permitted") || low.contains("permission denied");
    let hint = match rights {
        true => ": run as root, or give CAP_NET_ADMIN",
        false => "",
    };
    match said.is_empty() {
        true => format!("{tool} ended with exit code {}{hint}", ran.code),
        false => format!("{tool}: {said} (exit code {}){hint}", ran.code),
    }
}

fn shell(shell: &Shell) -> Result<Done, Failed> {
    let argv = ["sh", "-c", &shell.script].map(str::to_owned);
    let ran = process::run(Call {
        argv: &argv,
        stdin: "",
        env: &shell.env,
        timeout_s: shell.timeout_s,
        stdout_bytes_max: STDOUT_BYTES_MAX,
    })?;
    match ran.code {
        0 => Ok(Done { stdout: ran.stdout }),
        127 => Err(Failed { why: Why::Missing, text: complaint("command not found", &ran) }),
        _ => Err(refused(complaint("command", &ran))),
    }
}

impl Executor for Tools {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        match &step.work {
            Work::Command(command) => checked(command, STDOUT_BYTES_MAX),
            Work::Unless { probe, run } => match checked(probe, STDOUT_BYTES_MAX) {
                Ok(done) => Ok(done),
                Err(failed) if failed.why == Why::Refused => checked(run, STDOUT_BYTES_MAX),
                Err(failed) => Err(failed),
            },
            Work::Shell(script) => shell(script),
            Work::Edit(change) => {
                let (done, notes) = edit::apply(change)?;
                notes.into_iter().for_each(|note| self.say_once(note));
                Ok(done)
            }
            Work::Sets(batch) => self.sets(batch),
            Work::Say(text) => {
                self.notes.push(text.clone());
                Ok(Done::default())
            }
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}
