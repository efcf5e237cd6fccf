//! Lines over a socket, each with a limit in length and in time.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::time::Stopwatch;

const CHUNK: usize = 16 << 10;

/// Why there is no line.
#[derive(Debug)]
pub enum LineError {
    /// It is longer than it may be.
    TooLong,
    /// It took too long, or nothing came at all.
    TooSlow,
    /// The other end broke off in the middle of a line.
    Half,
    /// The system said so.
    Io(io::Error),
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> LineError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => LineError::TooSlow,
            _ => LineError::Io(error),
        }
    }
}

/// The lines that come in on a stream.
#[derive(Debug)]
pub struct Lines {
    stream: UnixStream,
    /// What came in and belongs to no line that was given away.
    held: Vec<u8>,
}

impl Lines {
    /// The lines of this stream, which must be a blocking one.
    pub fn new(stream: UnixStream) -> Lines {
        Lines { stream, held: Vec::new() }
    }

    /// The stream, to write to.
    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// The next line, without its end; none if the other end has closed.
    ///
    /// # Errors
    /// If it is longer than `most` bytes, if it does not begin within `silence` or end within
    /// `whole` of its beginning, or if the system refuses.
    pub fn next(
        &mut self,
        most: usize,
        silence: Duration,
        whole: Duration,
    ) -> Result<Option<Vec<u8>>, LineError> {
        let mut chunk = [0; CHUNK];
        let mut seen = 0;
        let mut watch = Stopwatch::start();
        let mut left = if self.held.is_empty() { silence } else { whole };
        loop {
            let fresh = self.held.get(seen..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                let rest = self.held.split_off(seen + at + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                return if line.len() > most { Err(LineError::TooLong) } else { Ok(Some(line)) };
            }
            seen = self.held.len();
            if seen > most {
                return Err(LineError::TooLong);
            }
            let spent = Duration::from_secs_f64(watch.seconds());
            let Some(wait) = left.checked_sub(spent).filter(|wait| !wait.is_zero()) else {
                return Err(LineError::TooSlow);
            };
            self.stream.set_read_timeout(Some(wait))?;
            let count = match self.stream.read(&mut chunk) {
                Ok(0) if seen == 0 => return Ok(None),
                Ok(0) => return Err(LineError::Half),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if seen == 0 {
                watch = Stopwatch::start();
                left = whole;
            }
            self.held.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

/// Writes all of it, within this time.
///
/// # Errors
/// If the other end does not take it in time, went away, or the system refuses.
pub fn write(stream: &mut UnixStream, mut bytes: &[u8], within: Duration) -> Result<(), LineError> {
    let watch = Stopwatch::start();
    while !bytes.is_empty() {
        let spent = Duration::from_secs_f64(watch.seconds());
        let Some(wait) = within.checked_sub(spent).filter(|wait| !wait.is_zero()) else {
            return Err(LineError::TooSlow);
        };
        stream.set_write_timeout(Some(wait))?;
        match stream.write(bytes) {
            Ok(0) => return Err(LineError::Io(ErrorKind::WriteZero.into())),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(30);

    fn pair() -> (UnixStream, Lines) {
        let (far, near) = UnixStream::pair().unwrap();
        (far, Lines::new(near))
    }

    #[test]
    fn lines_come_out_one_by_one_and_half_a_line_never() {
        let (mut far, mut lines) = pair();
        far.write_all(b"one\n\ntwo\nhal").unwrap();
        drop(far);
        let mut next = || lines.next(100, NEVER, NEVER);
        assert_eq!(next().unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(next().unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(next().unwrap().as_deref(), Some(&b"two"[..]));
        assert!(matches!(next(), Err(LineError::Half)));
    }

    #[test]
    fn a_line_has_at_most_so_many_bytes() {
        let (mut far, mut lines) = pair();
        far.write_all(&[b'x'; 10]).unwrap();
        far.write_all(b"\n").unwrap();
        assert_eq!(lines.next(10, NEVER, NEVER).unwrap().map(|line| line.len()), Some(10));
        far.write_all(&[b'x'; 11]).unwrap();
        assert!(matches!(lines.next(10, NEVER, NEVER), Err(LineError::TooLong)));
        let (mut far, mut lines) = pair();
        far.write_all(b"01234567890\n").unwrap();
        assert!(matches!(lines.next(10, NEVER, NEVER), Err(LineError::TooLong)));
    }

    #[test]
    fn who_is_silent_or_never_ends_is_given_up() {
        let (far, mut lines) = pair();
        assert!(matches!(lines.next(10, SHORT, NEVER), Err(LineError::TooSlow)));
        let trickle = std::thread::spawn(move || {
            let mut far = far;
            // Ends when the other end is closed.
            while far.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let most = usize::MAX;
        assert!(matches!(lines.next(most, NEVER, SHORT), Err(LineError::TooSlow)));
        drop(lines);
        trickle.join().unwrap();
    }

    #[test]
    fn who_does_not_take_what_is_written_is_given_up() {
        let (_far, mut lines) = pair();
        let much = vec![0; 8 << 20];
        assert!(matches!(write(lines.stream(), &much, SHORT), Err(LineError::TooSlow)));
    }
}
