//! A network namespace of a test's own: that of one thread, gone when it ends.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each test uses some")]

use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;
use sentryban::{action::sets::Change, net::Cidr};

/// Runs `body` on a thread with a network of its own, loopback up; says that it skips where that is
/// not allowed or one of `tools` is missing.
pub fn in_namespace(tools: &[&str], body: impl FnOnce() + Send + 'static) {
    for tool in tools {
        let mut version = Command::new(tool);
        version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        if version.status().is_err() {
            return crate::common::missing(tool);
        }
    }
    let thread = std::thread::spawn(|| {
        // SAFETY: only the network of this thread changes; no descriptor does.
        #[allow(unsafe_code, reason = "unshare is unsafe for what is not done here: CLONE_FILES")]
        let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
        if unshared.is_err() {
            return crate::common::skip("no right to make a network namespace");
        }
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What a command printed; it must succeed.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Gives a command a text to read; it must succeed.
pub fn feed(command: &str, input: &str) -> String {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    crate::common::answer(command, input)
}

/// An address, or a prefix.
pub fn net(text: &str) -> Cidr {
    match text.split_once('/') {
        Some((address, bits)) => Cidr::new(address.parse().unwrap(), bits.parse().unwrap()),
        None => Cidr::new(text.parse().unwrap(), 128),
    }
}

/// Puts an element into a set.
pub fn add(text: &str, timeout_s: Option<u64>) -> Change {
    Change::Add { net: net(text), timeout_s }
}

/// Takes one out.
pub fn delete(text: &str) -> Change {
    Change::Delete { net: net(text) }
}
