//! A `sentryban-sensor` of its own in a lab, and what it reports.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each test uses some")]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::common::{
    Dir,
    lab::{Lab, wait_for},
};

/// Ports of the lists in a test's portsentry.conf.
pub const TCP_PORTS: &str = "1,11,15,79,80,111,119,143,540,635,1080,1524,2000";
pub const UDP_PORTS: &str = "1,7,9,69,161,513,635,700,31337";

pub struct Alone {
    child: Child,
    out: PathBuf,
    read: usize,
}

impl Alone {
    /// Starts one in the victim's namespace; `more` is added to its portsentry.conf.
    pub fn start(lab: &Lab, dir: &Dir, modes: &[&str], more: &str) -> Alone {
        let path = dir.path().display();
        dir.file("ignore", "127.0.0.1\n");
        let conf = format!(
            "{more}TCP_PORTS=\"{TCP_PORTS}\"\nUDP_PORTS=\"{UDP_PORTS}\"\n\
             ADVANCED_PORTS_TCP=\"1024\"\nADVANCED_PORTS_UDP=\"1024\"\n\
             ADVANCED_EXCLUDE_TCP=\"113,139\"\nADVANCED_EXCLUDE_UDP=\"520,138,137,67\"\n\
             IGNORE_FILE=\"{path}/ignore\"\nHISTORY_FILE=\"{path}/history\"\n\
             BLOCKED_FILE=\"{path}/blocked\"\nBLOCK_TCP=\"0\"\nBLOCK_UDP=\"0\"\n\
             SCAN_TRIGGER=\"0\"\n"
        );
        let conf = dir.file("portsentry.conf", conf);
        let out = dir.file(&format!("out{}", modes.concat()), "");
        let file = std::fs::File::create(&out).unwrap();
        let child = lab
            .victim(env!("CARGO_BIN_EXE_sentryban-sensor"))
            .args(modes)
            .arg("-f")
            .arg("-c")
            .arg(conf)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut alone = Alone { child, out, read: 0 };
        wait_for("the sensor listens", || {
            assert!(alone.child.try_wait().unwrap().is_none(), "it ended: {}", alone.all());
            alone.all().matches("is now active and listening.").count() >= modes.len()
        });
        alone.news();
        alone
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines so far.
    pub fn all(&self) -> String {
        String::from_utf8(std::fs::read(&self.out).unwrap()).unwrap()
    }

    /// Lines that came since this was asked last.
    pub fn news(&mut self) -> String {
        let all = self.all();
        let new = all[self.read..].to_owned();
        self.read = all.len();
        new
    }

    /// Ends it as a service manager does, and gives its last lines.
    pub fn end(mut self) -> String {
        self.signal("TERM");
        self.child.wait().unwrap();
        self.news()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
        );
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ports of the detections among lines.
pub fn ports(lines: &str) -> BTreeSet<u16> {
    let mut found = BTreeSet::new();
    for line in lines.lines().filter(|line| line.contains(" from host: ")) {
        let end = line.rsplit_once(" port: ").map(|(_, end)| end);
        found.extend(end.and_then(|end| end.trim().parse::<u16>().ok()));
    }
    found
}

/// Runs nmap from the attacker at these ports of the victim.
pub fn nmap(lab: &Lab, scan: &str, target: &str, ports: &str) {
    let out = lab
        .attacker("nmap")
        .args(scan.split_whitespace())
        .args(["-Pn", "-n", "-r", "--disable-arp-ping", "-T4", "--host-timeout", "20s", "-p"])
        .args([ports, target])
        .output()
        .unwrap();
    assert!(out.status.success(), "nmap {scan}: {}", String::from_utf8_lossy(&out.stderr));
}

/// False, said aloud, where there is no nmap.
pub fn has_nmap() -> bool {
    let has = Command::new("nmap").arg("--version").output().is_ok();
    if !has {
        crate::common::missing("nmap");
    }
    has
}
