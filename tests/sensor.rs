//! The sensor: frames in, portsentry's lines out; its configuration; floods, blocks, graces.
//!
//! - `frames`: decoding, with fragments; no frame is too odd.
//! - `golden`: the lines of portsentry 1.2 and 2.x, scan by scan.
//! - `rules`: what is watched and who is told of, and each fault of portsentry's that is not copied.
//! - `flood`: how much is written under load.
//! - `blocks`: commands: run, failed, tried again, believed only while they hold.
//! - `conf`: portsentry.conf, the ignore file, modes, `[sensor]`.
//! - `replay`: `--read` of a file of packets.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "sensor/bench.rs"]
mod bench;
#[path = "sensor/blocks.rs"]
mod blocks;
#[path = "sensor/conf.rs"]
mod conf;
#[path = "sensor/flood.rs"]
mod flood;
#[path = "sensor/frames.rs"]
mod frames;
#[path = "sensor/golden.rs"]
mod golden;
#[path = "sensor/replay.rs"]
mod replay;
#[path = "sensor/rules.rs"]
mod rules;
