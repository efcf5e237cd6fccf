//! Capture where there is none: on this system packets cannot be seen, only ports be bound.
//!
//! It has the face of the real one (`capture.rs`), so that nobody else has to know.

#[path = "capture/program.rs"]
mod program;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

pub use program::{INSTRUCTIONS_MAX, Instruction, SNAP_BYTES, Wanted, compile};

/// Nobody has one.
#[derive(Debug)]
pub enum Capture {}

impl Capture {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn open() -> io::Result<Capture> {
        let text = "this system's packets cannot be seen by this version; the modes tcp and udp \
                    work";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// As that of Linux.
    ///
    /// # Errors
    ///
    /// None.
    pub fn want(&mut self, _: &Wanted) -> io::Result<bool> {
        match *self {}
    }

    /// As that of Linux.
    ///
    /// # Errors
    ///
    /// None.
    pub fn receive(&mut self, _: usize, _: impl FnMut(&[u8])) -> io::Result<usize> {
        match *self {}
    }

    /// As that of Linux.
    pub fn lost(&mut self) -> u64 {
        match *self {}
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
