//! How it ends: with the bans lifted, or left in force for whoever starts next.

use super::{Event, Guard, Inbox, Level};
use crate::{
    action::Call,
    daemon::runner::{Job, Verb, process},
    time,
};

/// Actions are given so long to do what is left to do, in seconds.
const LAST_ORDERS_S: f64 = 60.0;

/// systemd has so long to say which jobs it has, in seconds.
const ANSWER_S: u64 = 2;

/// What becomes of the bans in the firewall. In the store they stay either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// They are lifted, rules and all: the emergency exit.
    Lift,
    /// They stay in force, as far as they lapse by themselves.
    Leave,
}

impl Ending {
    pub(super) fn verb(self) -> Verb {
        match self {
            Ending::Lift => Verb::Stop,
            Ending::Leave => Verb::Leave,
        }
    }
}

impl Guard {
    /// A signal of the system's.
    pub(super) fn signal(&mut self, signal: i32) {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        match signal {
            SIGTERM => self.ending = Some(Ending::Leave),
            // Ctrl-C, or the terminal went away: whoever sat there wants out.
            // Whatever stands at its standard input: only a keyboard sends this to the foreground.
            SIGINT if self.options.foreground => self.ending = Some(Ending::Lift),
            SIGHUP if self.at_terminal => self.ending = Some(Ending::Lift),
            SIGINT => self.ending = Some(Ending::Leave),
            SIGHUP => {
                // What is wrong stands in the log.
                let _ = self.reload(None, false, false);
            }
            SIGUSR1 => self.roll_over(),
            _ => {}
        }
    }

    /// Ends everything, in order: nothing more is read, what was found is counted and written down,
    /// then the actions end, and last the store.
    pub(super) fn stop(&mut self, ending: Ending, inbox: &Inbox) {
        self.say(Level::INFO, "server", "Shutdown in progress...");
        self.log.flush();
        self.gate.close();
        self.stop_sensor();
        if let Some(reader) = self.reader.take() {
            reader.stop();
        }
        while let Some(event) = inbox.next() {
            // Nobody is told anything any more but those who asked.
            self.handle(event);
        }
        self.pressing = true;
        self.settle();
        let names: Vec<_> = self.jails.keys().cloned().collect();
        if !names.is_empty() {
            self.say(Level::INFO, "server", "Stopping all jails");
        }
        let runners: Vec<_> = self.runners.drain().collect();
        for (jail, runner) in &runners {
            if runner.order(Job::new(ending.verb(), Vec::new(), Call::at(self.now))).is_err() {
                let text = format!("[{jail}] its actions are too slow to be ended in order");
                self.log.write(self.now, Level::ERROR, "actions", format_args!("{text}"));
            }
        }
        let clock = time::Stopwatch::start();
        for (_, runner) in runners.into_iter().chain(self.leaving.drain(..)) {
            runner.finish((LAST_ORDERS_S - clock.seconds()).max(0.0));
        }
        self.now = time::now();
        while let Some(event) = inbox.next() {
            if let Event::Done(outcome) = event {
                self.take_outcome(outcome);
            }
        }
        self.pressing = true;
        self.settle();
        for name in names {
            self.say(Level::INFO, "jail", &format!("Jail '{name}' stopped"));
        }
        let _ = self.store.housekeep(self.now);
        self.tell_of_store();
        self.say(Level::INFO, "server", "Exiting sentryban");
        self.log.flush();
        for (reply_to, reply) in self.parting.drain(..) {
            reply_to.send(reply);
        }
    }
}

/// True if systemd has queued a restart of the unit that we are in.
pub(super) fn restart_is_queued() -> bool {
    let Some(unit) = own_unit() else { return false };
    let argv = ["systemctl", "list-jobs", "--no-legend"].map(str::to_owned);
    let call = process::Call {
        argv: &argv,
        stdin: "",
        env: &[],
        timeout_s: ANSWER_S,
        stdout_bytes_max: 1 << 20,
    };
    let Ok(ran) = process::run(call) else { return false };
    // ID UNIT TYPE STATE
    ran.stdout.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&unit.as_str())
            && words.get(2).is_some_and(|job| job.contains("restart"))
    })
}

/// The unit in whose control group we are.
fn own_unit() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let unit =
        groups.lines().find_map(|line| line.rsplit('/').find(|part| part.ends_with(".service")));
    unit.map(str::to_owned)
}
