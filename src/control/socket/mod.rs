//! Both ends of the control socket.
//!
//! The server's end ([`listen`]) has a thread that accepts and one for each client; every request
//! is handed into a callback as [`Asked`] and answered through its [`ReplyTo`], at once or later.
//! The client's end is a [`Connection`]. `door.rs` makes and guards the socket file, `line.rs`
//! reads and writes lines with limits in length and time.

mod client;
mod door;
mod line;
mod peer;
mod server;

use std::time::Duration;

pub use client::{AskError, Connection, OpenError};
pub use door::{Door, ListenError, answers};
pub use peer::Peer;
pub use server::{Asked, Listener, ReplyTo, listen, reply_to};

/// A request of somebody who may order is at most so long: what a shell can pass, and some.
pub const REQUEST_MAX: usize = 4 << 20;
/// A request of somebody who may only ask.
pub const REQUEST_MAX_GUEST: usize = 64 << 10;
/// A reply is at most so long: several million bans.
pub const REPLY_MAX: usize = 512 << 20;
/// So many clients are served at once.
pub const CLIENTS_MAX: usize = 64;
/// So many of them may be some that only ask: they cannot lock out those who order.
pub const GUESTS_MAX: usize = 32;
/// A client that asks nothing is sent away after this.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A line that has begun must have ended after this.
pub const LINE_MAX: Duration = Duration::from_secs(10);
/// A client must have taken its reply after this.
pub const TAKING_MAX: Duration = Duration::from_secs(60);
/// A request must have been answered after this: a reload of everything, or a stop that lifts a
/// million bans.
pub const ANSWER_MAX: Duration = Duration::from_secs(600);
/// When the server ends, replies that are on their way get so long.
pub const CLOSING_MAX: Duration = Duration::from_secs(2);
