//! `Position`: how far a source has been read, in a form that a database can keep.

/// How far one file has been read, and by what it is known again. The offset stands behind a
/// newline (or behind what was kept of an overlong line).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Mark {
    /// Number of the device; 0 where it is not known.
    pub device: u64,
    /// Number of the file on its device.
    pub inode: u64,
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
    /// A log file. Behind the present one stand those that were rotated away, as long as somebody
    /// may still be writing into them; at most [`LINGERING_MAX`].
    File(Mark, Vec<Mark>),
    /// The journal: the cursor of the last entry.
    Journal(String),
}

/// So many rotated files of a log are looked after.
pub const LINGERING_MAX: usize = 4;

impl Position {
    /// As bytes, to be stored and given back to [`Position::from_row`].
    pub fn to_row(&self) -> Vec<u8> {
        Vec::new()
    }

    /// What [`Position::to_row`] made; `None` for anything else.
    pub fn from_row(_row: &[u8]) -> Option<Position> {
        None
    }

    /// Bytes read of the present file; 0 for the journal.
    pub fn offset(&self) -> u64 {
        match self {
            Position::File(mark, _) => mark.offset,
            Position::Journal(_) => 0,
        }
    }
}
