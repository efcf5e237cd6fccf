//! `Position`: how far a source has been read, and its form in a database.

use std::fmt::Write as _;

use crate::time::Timestamp;

/// How far one file has been read, and by what it is known again. The offset stands behind a
/// newline, or within an overlong line.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Mark {
    /// Number of the device.
    pub device: u64,
    /// Number of the file on its device; 0 if there was no file.
    pub inode: u64,
    /// When the file was made, in nanoseconds since the epoch, as far as its file system knows (else
    /// 0): numbers of deleted files are given to new ones.
    pub born: u64,
    /// Bytes read.
    pub offset: u64,
    /// Hash of the file's first bytes.
    pub head: u64,
    /// How many bytes that hash covers.
    pub head_bytes: u32,
    /// Hash of the last bytes before `offset`.
    pub back: u64,
    /// How many bytes that hash covers.
    pub back_bytes: u32,
    /// `offset` stands within an overlong line, whose rest is to be skipped.
    pub in_line: bool,
}

/// How far a source has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Position {
    /// A log file. Behind the present one stand those that were rotated away, oldest first, as
    /// long as somebody may still be writing into them; at most [`LINGERING_MAX`].
    File(Mark, Vec<Mark>),
    /// The journal: the cursor of the last entry, and when that entry was written.
    Journal(String, Timestamp),
}

/// So many rotated files of one log are read on: those that were missed while others were read,
/// and the last one, into which a slow writer may still write.
pub const LINGERING_MAX: usize = 16;

impl Mark {
    /// True if both are of the same file, whatever was read of it.
    pub fn is_same_file(&self, other: &Mark) -> bool {
        (self.device, self.inode, self.born) == (other.device, other.inode, other.born)
    }

    fn write(&self, row: &mut String) {
        let _ = write!(
            row,
            " {} {} {} {} {:x} {} {:x} {} {}",
            self.device,
            self.inode,
            self.born,
            self.offset,
            self.head,
            self.head_bytes,
            self.back,
            self.back_bytes,
            u8::from(self.in_line)
        );
    }

    fn read<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Mark> {
        Some(Mark {
            device: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
            born: words.next()?.parse().ok()?,
            offset: words.next()?.parse().ok()?,
            head: u64::from_str_radix(words.next()?, 16).ok()?,
            head_bytes: words.next()?.parse().ok()?,
            back: u64::from_str_radix(words.next()?, 16).ok()?,
            back_bytes: words.next()?.parse().ok()?,
            in_line: words.next()? == "1",
        })
    }
}

impl Position {
    /// As a line of text, to be stored and given back to [`Position::from_row`]. Its first word
    /// names the form, so that a later one can be told from it.
    pub fn to_row(&self) -> String {
        match self {
            Position::File(mark, lingering) => {
                let mut row = "file1".to_owned();
                mark.write(&mut row);
                lingering.iter().for_each(|mark| mark.write(&mut row));
                row
            }
            Position::Journal(cursor, at) => format!("journal1 {} {cursor}", at.micros()),
        }
    }

    /// What [`Position::to_row`] made; `None` for anything else.
    pub fn from_row(row: &str) -> Option<Position> {
        let (form, rest) = row.split_once(' ')?;
        match form {
            "file1" => {
                let mut words = rest.split(' ').peekable();
                let mark = Mark::read(&mut words)?;
                let mut lingering = Vec::new();
                while words.peek().is_some() && lingering.len() < LINGERING_MAX {
                    lingering.push(Mark::read(&mut words)?);
                }
                Some(Position::File(mark, lingering))
            }
            "journal1" => {
                let (micros, cursor) = rest.split_once(' ')?;
                let at = Timestamp::from_micros(micros.parse().ok()?);
                Some(Position::Journal(cursor.to_owned(), at))
            }
            _ => None,
        }
    }

    /// Bytes read of the present file; 0 for the journal.
    pub fn offset(&self) -> u64 {
        match self {
            Position::File(mark, _) => mark.offset,
            Position::Journal(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_back_what_it_was_made_of() {
        let mark = Mark {
            device: 1,
            inode: u64::MAX,
            born: 5,
            offset: 7,
            head: 0xfeed,
            head_bytes: 7,
            back: 3,
            back_bytes: 7,
            in_line: true,
        };
        let rows = [
            Position::File(mark, vec![]),
            Position::File(Mark::default(), vec![mark, Mark::default()]),
            Position::Journal("s=1;i=2 3".to_owned(), Timestamp::from_micros(-5)),
        ];
        for position in rows {
            assert_eq!(Position::from_row(&position.to_row()), Some(position));
        }
        for row in
            ["", "file1", "file1 1 2", "file9 1", "journal1 x y", "file1 0 0 0 0 0 0 0 0 0 1"]
        {
            assert_eq!(Position::from_row(row), None, "{row}");
        }
    }
}
