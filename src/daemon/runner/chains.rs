//! Chains: makes the chain of a jail where there is none, and takes it away, by the crate
//! `iptables`.
//!
//! That crate starts the tool once a rule and knows no limit of time; so its calls run on a thread
//! beside ours, and a tool that hangs is ended. What is more than a chain that comes or goes is
//! none of its business: a chain that stands is changed by one `iptables-restore`, since packets
//! must not meet it half-written, and so are its elements, of which there may be thousands; and one
//! `iptables -S` of our own, which is bounded, answers all questions, where the crate needs a
//! process for each of them and takes every failure for a no.

use std::{
    error::Error,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use iptables::{IPTables, error::IptablesError};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::gettid,
};

use super::{
    exec::{Failed, Why},
    process::{self, Ran},
    tools::failure,
};
use crate::{
    action::{plan::TIMEOUT_S, sets::IptablesGuard},
    ticket::Family,
};

/// Where our chains are.
const TABLE: &str = "filter";

/// What is done after a failure has so long, in seconds.
const GRACE_S: u64 = 2;

type Answer = Result<(), Box<dyn Error>>;

/// Makes the chain of a jail, its first rules, and the jumps to it, in this order: until the first
/// jump stands no packet meets the chain. To be called where there is neither chain nor jump; what
/// was made until something failed is taken away again.
///
/// # Errors
///
/// What the tool said, or that it took longer than [`TIMEOUT_S`].
pub fn make(guard: &IptablesGuard) -> Result<(), Failed> {
    let own = guard.clone();
    let made = limited(guard.family, TIMEOUT_S, move |tool| fill(tool, &own));
    if made.is_err() {
        // Half a chain would be taken for a whole one the next time.
        let (chain, jumps) = (guard.chain.clone(), guard.jumps());
        let _ = limited(guard.family, GRACE_S, move |tool| remove_all(tool, &chain, &jumps));
    }
    made
}

fn fill(tool: &IPTables, guard: &IptablesGuard) -> Answer {
    tool.new_chain(TABLE, &guard.chain)?;
    for rule in guard.head() {
        tool.append(TABLE, &guard.chain, &rule)?;
    }
    for (parent, rule) in guard.jumps() {
        tool.insert(TABLE, &parent, &rule, 1)?;
    }
    Ok(())
}

/// Tries all of it, whatever fails.
fn remove_all(tool: &IPTables, chain: &str, jumps: &[(String, String)]) -> Answer {
    for (parent, rule) in jumps {
        let _ = tool.delete(TABLE, parent, rule);
    }
    tool.flush_chain(TABLE, chain)?;
    tool.delete_chain(TABLE, chain)
}

/// Takes the jumps that were found away, then the chain, if it stands.
///
/// # Errors
///
/// What the tool said, or that it took longer than [`TIMEOUT_S`].
pub fn remove(guard: &IptablesGuard, found: &str) -> Result<(), Failed> {
    let jumps: Vec<(String, String)> = guard
        .jumps_found(found)
        .filter_map(|jump| jump.split_once(' '))
        .map(|(parent, rule)| (parent.to_owned(), rule.to_owned()))
        .collect();
    let (chain, stands) = (guard.chain.clone(), guard.stands(found));
    limited(guard.family, TIMEOUT_S, move |tool| {
        for (parent, rule) in &jumps {
            tool.delete(TABLE, parent, rule)?;
        }
        if stands {
            tool.flush_chain(TABLE, &chain)?;
            tool.delete_chain(TABLE, &chain)?;
        }
        Ok(())
    })
}

/// Lets the crate work on a thread, and ends what it started when it took too long. The thread
/// comes from ours, so it has our network namespace and our rights.
fn limited(
    family: Family,
    limit_s: u64,
    work: impl FnOnce(&IPTables) -> Answer + Send + 'static,
) -> Result<(), Failed> {
    let cmd = match family {
        Family::Inet4 => "iptables",
        Family::Inet6 => "ip6tables",
    };
    let (begun, began) = sync_channel(1);
    let (said, heard) = sync_channel(1);
    let run = move || {
        let _ = begun.send(gettid());
        // Every iptables since 1.4.20 of 2013 has both; to ask for its version is a process more.
        let tool = IPTables { cmd, has_check: true, has_wait: true, is_numeric: true };
        let _ = said.send(work(&tool).map_err(|error| reason(cmd, error.as_ref())));
    };
    let system = |text: String| Failed { text, why: Why::System };
    let worker = thread::Builder::new().name(cmd.to_owned()).spawn(run);
    let worker = worker.map_err(|error| system(format!("{cmd}: no thread: {error}")))?;
    let gone = || system(format!("{cmd}: its thread is gone"));
    let thread = began.recv().map_err(|_| gone())?;
    match heard.recv_timeout(Duration::from_secs(limit_s)) {
        Ok(answer) => {
            let _ = worker.join();
            answer
        }
        Err(RecvTimeoutError::Disconnected) => Err(gone()),
        Err(RecvTimeoutError::Timeout) => {
            // A child that is not waited for keeps its number. With it the thread ends, as a
            // failure ends its work; what it may try after that is ended as well.
            for _ in 0..GRACE_S * 20 {
                children(thread).into_iter().for_each(|child| {
                    let _ = kill_process(child, Signal::KILL);
                });
                if worker.is_finished() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            let text = format!("{cmd} took longer than {limit_s} s and was ended");
            Err(Failed { text, why: Why::Slow })
        }
    }
}

/// The processes that a thread of ours started and has not waited for.
fn children(thread: Pid) -> Vec<Pid> {
    let path = format!("/proc/self/task/{}/children", thread.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// What the crate's error says, as our own runner would put it.
fn reason(cmd: &str, error: &(dyn Error + 'static)) -> Failed {
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return process::not_started(cmd, error);
    }
    match error.downcast_ref::<IptablesError>() {
        Some(error) => {
            let ran = Ran { code: error.code, stderr: error.msg.clone(), stdout: String::new() };
            failure(cmd, &ran)
        }
        None => Failed { text: format!("{cmd}: {error}"), why: Why::Refused },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_ended() {
        // The crate's own calls start the tool that is installed; a program that sleeps stands in.
        let failed = limited(Family::Inet4, 1, |_| {
            std::process::Command::new("sleep").arg("987").output()?;
            Err("ended".into())
        });
        let failed = failed.unwrap_err();
        assert_eq!(
            (failed.why, &*failed.text),
            (Why::Slow, "iptables took longer than 1 s and was ended")
        );
    }

    #[test]
    fn its_errors_read_as_ours_do() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let failed = reason("ip6tables", &missing);
        assert_eq!(failed.why, Why::Missing);
        assert!(failed.text.contains("apt install iptables"), "{}", failed.text);
        let refused =
            IptablesError { code: 4, msg: "Permission denied (you must be root)\n".into() };
        let failed = reason("iptables", &refused);
        assert_eq!(failed.why, Why::Refused);
        assert!(failed.text.contains("(exit code 4): run as root"), "{}", failed.text);
    }
}
