//! `logencoding`: how a log's bytes are letters.

use std::borrow::Cow;

use encoding_rs::{CoderResult, Decoder, UTF_8};

/// An encoding by one of its usual names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Encoding(&'static encoding_rs::Encoding);

/// A name that no encoding has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownEncoding(pub String);

impl std::fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "there is no encoding '{}': write utf-8, ascii, latin-1, windows-1252, utf-16le or \
             another name of the WHATWG list",
            self.0
        )
    }
}

impl std::error::Error for UnknownEncoding {}

impl Default for Encoding {
    fn default() -> Encoding {
        Encoding(UTF_8)
    }
}

impl Encoding {
    /// Reads a name as Python and the web spell it; `auto` is UTF-8.
    ///
    /// # Errors
    ///
    /// [`UnknownEncoding`] for any other word.
    pub fn parse(name: &str) -> Result<Encoding, UnknownEncoding> {
        let word = name.trim().to_ascii_lowercase().replace('_', "-");
        let found = match word.as_str() {
            // ASCII is a part of UTF-8; what goes beyond it is replaced if it is neither.
            "auto" | "utf8" | "u8" | "ascii" | "us-ascii" | "646" | "ansi-x3.4-1968" => Some(UTF_8),
            "latin1" | "latin-1" | "latin" | "l1" | "8859" | "cp819" => {
                encoding_rs::Encoding::for_label(b"iso-8859-1")
            }
            "utf-16" | "utf16" | "u16" => Some(encoding_rs::UTF_16LE),
            "utf16le" | "utf-16-le" => Some(encoding_rs::UTF_16LE),
            "utf16be" | "utf-16-be" => Some(encoding_rs::UTF_16BE),
            other => encoding_rs::Encoding::for_label(other.as_bytes())
                .or_else(|| encoding_rs::Encoding::for_label(other.replace('-', "").as_bytes()))
                .or_else(|| windows(other)),
        };
        found.map(Encoding).ok_or_else(|| UnknownEncoding(name.trim().to_owned()))
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl Encoding {
    /// How lines end in it.
    pub fn newline(self) -> NewlineKind {
        match self.0 {
            e if e == encoding_rs::UTF_16LE => NewlineKind::WideLittle,
            e if e == encoding_rs::UTF_16BE => NewlineKind::WideBig,
            _ => NewlineKind::Byte,
        }
    }

    /// Whole lines as UTF-8. What is said to be UTF-8 already is left as it is, bad bytes and all:
    /// they are replaced where a line is looked at.
    pub fn text(self, lines: &[u8]) -> Cow<'_, [u8]> {
        if self.0 == UTF_8 {
            return Cow::Borrowed(lines);
        }
        match self.0.decode_with_bom_removal(lines).0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }
}

/// How lines end: a newline takes one byte, but for the encodings of two.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NewlineKind {
    /// `\n`.
    #[default]
    Byte,
    /// `\n\0`: UTF-16, little end first.
    WideLittle,
    /// `\0\n`: UTF-16, big end first.
    WideBig,
}

/// Python's `cp1252` is the web's `windows-1252`.
fn windows(name: &str) -> Option<&'static encoding_rs::Encoding> {
    let page = name.strip_prefix("cp")?;
    encoding_rs::Encoding::for_label(format!("windows-{page}").as_bytes())
}

/// Turns an input that is not UTF-8 into UTF-8, piece by piece.
pub struct Transcoder(Decoder);

impl Transcoder {
    /// `None` for UTF-8, which needs nothing.
    pub fn new(encoding: Encoding) -> Option<Transcoder> {
        (encoding.0 != UTF_8).then(|| Transcoder(encoding.0.new_decoder_with_bom_removal()))
    }

    /// The text of the next bytes; `last` says that no more will come.
    pub fn text(&mut self, bytes: &[u8], last: bool) -> String {
        let length = self.0.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3 + 16);
        let mut text = String::with_capacity(length);
        let mut from = 0;
        loop {
            let rest = bytes.get(from..).unwrap_or_default();
            let (result, read, _) = self.0.decode_to_string(rest, &mut text, last);
            from += read;
            match result {
                CoderResult::InputEmpty => return text,
                CoderResult::OutputFull => text.reserve(length),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_python_and_the_web_are_known() {
        for name in ["UTF-8", "utf8", "ascii", "auto", "latin-1", "ISO-8859-15", "cp1252", "koi8-r"]
        {
            assert!(Encoding::parse(name).is_ok(), "{name}");
        }
        assert!(Encoding::parse("klingon").unwrap_err().to_string().contains("'klingon'"));
    }

    #[test]
    fn a_letter_may_be_split_between_two_reads() {
        let mut transcoder = Transcoder::new(Encoding::parse("utf-16le").unwrap()).unwrap();
        let mut text = transcoder.text(&[b'a', 0, 0xe9], false);
        text.push_str(&transcoder.text(&[0, b'\n', 0], true));
        assert_eq!(text, "aé\n");
    }
}
