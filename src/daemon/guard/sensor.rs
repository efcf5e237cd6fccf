//! The sensor's post, as the guard keeps it: whether it stands, which jails hear it, and whom it
//! need not report because they are out already.

use std::sync::Arc;

use super::{Guard, Level};
use crate::{
    config::{
        JailSpec,
        jail_spec::Backend,
        sensor::{Places, SensorSpec, read_sensor},
    },
    daemon::{
        inbox::{Event, Gate, Sender},
        keeper::{self, Lines},
        reader::{Batch, Report},
        sensor::{News, Order, Output, Post, SOURCE, Start},
    },
    jail::{Act, Verb},
    net::Cidr,
    ticket::{Ban, Id, JailName},
};

/// What the guard knows of the sensor.
#[derive(Debug, Default)]
pub(super) struct Desk {
    post: Option<Post>,
    /// What the post finds comes through here. Not with the lines of logs: its end must be waited
    /// for while those go on, so it must not be waiting for us.
    gate: Gate,
    /// Why it does not stand.
    trouble: Option<String>,
    /// Bans that came or went in this turn.
    changes: Vec<(Cidr, bool)>,
}

impl Desk {
    /// Where a new post brings what it finds.
    fn output(&mut self, sender: Sender) -> Output {
        self.gate = Gate::default();
        let gate = self.gate.clone();
        Box::new(move |news| match news {
            News::Batch(batch) => gate
                .enter()
                .is_some_and(|pass| sender.send(Event::Read(Report::Batch(batch), pass)).is_ok()),
            News::Said(level, text) => sender.send(Event::Noted(level, text)).is_ok(),
        })
    }

    /// Ends the post, which may stand before the gate: nobody but us would open it.
    fn end(&mut self) {
        self.gate.close();
        if let Some(post) = self.post.take() {
            post.stop();
        }
    }
}

impl Guard {
    /// Has the post stand if it is wanted, and be told what is written about it now.
    pub(super) fn man_the_sensor(&mut self) {
        let (mut spec, findings) = read_sensor(&self.main.sensor, &Places::default());
        for finding in &findings {
            self.find(finding);
        }
        let wanted = spec.enabled.unwrap_or_else(|| !self.jails_on_sensor().is_empty());
        if !wanted || spec.broken {
            self.leave_the_sensor(&spec, wanted);
            return;
        }
        self.desk.trouble = None;
        if let Some((level, text)) = self.executors.fit(&mut spec.settings) {
            self.say(level, "sensor", text);
            if level == Level::ERROR && self.desk.post.is_some() {
                return self.say(level, "sensor", "the sensor goes on as it was");
            }
        }
        if let Some(post) = &self.desk.post {
            post.tell(Order::Reload(Box::new(spec)));
        } else if let Err(error) = self.start_post(spec) {
            let text = format!("the sensor cannot be started: {error}");
            self.say(Level::ERROR, "sensor", &text);
            self.desk.trouble = Some(text);
        }
        self.tell_all_bans();
        for spec in self.jails_on_sensor() {
            self.hear_sensor(&spec);
        }
    }

    fn leave_the_sensor(&mut self, spec: &SensorSpec, wanted: bool) {
        let stands = self.desk.post.is_some();
        let why = match (wanted, stands) {
            // What it was told before still holds.
            (true, true) => {
                let text = "the sensor goes on as it was: its configuration has faults";
                return self.say(Level::ERROR, "sensor", text);
            }
            (true, false) => "the sensor is off: its configuration has faults, see the log",
            (false, _) if spec.enabled == Some(false) => {
                "the sensor is switched off: `enabled = no` in [sensor] of sentryban.conf"
            }
            (false, _) => "the sensor is off",
        };
        if stands {
            self.stop_sensor();
            self.say(Level::INFO, "sensor", "The sensor was stopped");
        }
        if wanted {
            self.say(Level::ERROR, "sensor", why);
        }
        self.desk.trouble = Some(why.to_owned());
        for spec in self.jails_on_sensor() {
            self.wait_for_sensor(&spec.name);
        }
    }

    fn start_post(&mut self, spec: SensorSpec) -> std::io::Result<()> {
        let output = self.desk.output(self.sender.clone());
        let modes: Vec<&str> = [spec.settings.tcp, spec.settings.udp]
            .iter()
            .flatten()
            .map(|mode| mode.word())
            .collect();
        let said = format!("The sensor starts: {}", modes.join(" "));
        let executor = self.executors.executor(None);
        self.desk.post = Some(Post::start(Start { spec, terminal: false, executor, output })?);
        self.say(Level::INFO, "sensor", &said);
        Ok(())
    }

    fn jails_on_sensor(&self) -> Vec<JailSpec> {
        let jails = self.jails.values().filter(|keeper| keeper.runs() && !keeper.unstarted);
        let specs = jails.filter_map(|keeper| keeper.spec.as_ref());
        specs.filter(|spec| spec.backend.value == Backend::Sensor).cloned().collect()
    }

    /// A jail on the sensor hears it from now on, or waits for it.
    pub(super) fn hear_sensor(&mut self, spec: &JailSpec) {
        let name: JailName = spec.name.as_str().into();
        let Some(post) = &self.desk.post else { return self.wait_for_sensor(&name) };
        if let Ok(Lines::Hear(follow)) = keeper::lines(spec, Vec::new(), self.now) {
            post.tell(Order::Hear(follow));
        }
        if let Some(keeper) = self.jails.get_mut(&name) {
            keeper.missing.retain(|(source, _)| **source != *SOURCE);
        }
    }

    fn wait_for_sensor(&mut self, jail: &str) {
        let Some(trouble) = &self.desk.trouble else { return };
        let missing = (Arc::from(SOURCE), trouble.clone());
        if let Some(keeper) = self.jails.get_mut(jail) {
            keeper.missing.insert(missing);
        }
    }

    /// True once there is, or was, a reason for the sensor to stand.
    pub(super) fn knows_of_sensor(&self) -> bool {
        self.desk.post.is_some() || self.desk.trouble.is_some()
    }

    /// A jail is gone, or hears something else.
    pub(super) fn forget_sensor(&mut self, jail: &str) {
        if let Some(post) = &self.desk.post {
            post.tell(Order::Forget(jail.into()));
        }
    }

    /// Ends the post.
    pub(super) fn stop_sensor(&mut self) {
        self.desk.end();
    }

    /// Takes note of who is out now, or in again.
    pub(super) fn note_for_sensor(&mut self, act: &Act) {
        if self.desk.post.is_none() {
            return;
        }
        let nets = |bans: &[Ban]| -> Vec<Cidr> {
            bans.iter().filter_map(|ban| ban.id.network()).collect()
        };
        match &act.verb {
            Verb::Ban(bans) => self.desk.changes.extend(nets(bans).into_iter().map(|n| (n, true))),
            Verb::Unban(bans) => {
                for net in nets(bans) {
                    let id = Id::of_network(net);
                    let mut jails = self.engine.jails();
                    if !jails.any(|jail| self.engine.find_ban(jail, &id).is_some()) {
                        self.desk.changes.push((net, false));
                    }
                }
            }
            Verb::Flush => self.tell_all_bans(),
            Verb::Prolong(_) | Verb::Check => {}
        }
    }

    /// Tells the sensor what was noted.
    pub(super) fn tell_sensor(&mut self) {
        let changes = std::mem::take(&mut self.desk.changes);
        if let Some(post) = self.desk.post.as_ref().filter(|_| !changes.is_empty()) {
            post.tell(Order::Banned(changes));
        }
    }

    /// Tells the sensor of all bans that there are.
    pub(super) fn tell_all_bans(&mut self) {
        self.desk.changes.clear();
        let Some(post) = &self.desk.post else { return };
        let bans = self.engine.jails().flat_map(|jail| self.engine.bans(jail));
        post.tell(Order::AllBanned(bans.filter_map(|ban| ban.id.network()).collect()));
    }

    /// Leaves out failures that a jail on the sensor has heard of already, when the sensor's own
    /// lines come back through a log.
    pub(super) fn without_own_lines(&self, batch: &mut Batch) {
        if self.desk.post.is_none() || *batch.source == *SOURCE {
            return;
        }
        let tag = format!("portsentry[{}]:", std::process::id());
        for (jail, catch) in &mut batch.found {
            if !self.engine.counts_own_lines(jail) {
                // The host may be left out; what stands behind may be anybody's words.
                catch.drop_lines_of(&tag);
            }
        }
    }

    /// What is to be known of the sensor.
    pub(super) fn sensor_notes(&self) -> Vec<String> {
        let Some(post) = &self.desk.post else { return Vec::new() };
        let status = post.status();
        let mut notes: Vec<String> = status.trouble.into_iter().collect();
        if status.totals.dropped > 0 {
            let dropped = status.totals.dropped;
            notes.push(format!("the sensor: {dropped} packets came too fast and were not seen"));
        }
        if status.unbound > 0 {
            notes.push(format!(
                "the sensor: {} ports are in use by others and not watched",
                status.unbound
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::daemon::inbox::{BATCHES_MAX, queue};

    fn batch() -> News {
        News::Batch(Batch {
            source: SOURCE.into(),
            followers: Arc::default(),
            position: None,
            shared: false,
            found: Vec::new(),
            lines: 1,
            cut_lines: 0,
            torn_lines: 0,
            stale: 0,
        })
    }

    #[test]
    fn a_post_that_waits_for_the_loop_ends_while_the_loop_waits_for_it() {
        let (sender, inbox) = queue();
        let mut desk = Desk::default();
        let mut output = desk.output(sender);
        assert!((0..BATCHES_MAX).all(|_| output(batch())));
        // The loop holds all passes and takes nothing while it waits.
        let held: Vec<Event> = std::iter::from_fn(|| inbox.next()).collect();
        assert_eq!(held.len(), BATCHES_MAX);
        let (said, heard) = mpsc::channel();
        thread::spawn(move || said.send(output(batch())));
        desk.end();
        let taken = heard.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(taken, Ok(false), "it is told that nobody listens any more");
    }
}
