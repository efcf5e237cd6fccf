//! Sets of ports.

use std::fmt;

/// A set of ports, 0 included.
#[derive(Clone, Eq, PartialEq)]
pub struct PortSet(Box<[u64; WORDS]>);

const WORDS: usize = 65_536 / 64;

impl PortSet {
    /// No port.
    pub fn new() -> PortSet {
        PortSet(Box::new([0; WORDS]))
    }

    /// Every port below a number; 65536 means all.
    pub fn below(end: u32) -> PortSet {
        let mut set = PortSet::new();
        for port in 0..=u16::MAX {
            if u32::from(port) < end {
                set.insert(port);
            }
        }
        set
    }

    /// Puts a port in.
    pub fn insert(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }

    /// Takes a port out.
    pub fn remove(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word &= !(1 << (port & 63));
        }
    }

    /// True if the port is in.
    pub fn contains(&self, port: u16) -> bool {
        self.0.get(usize::from(port >> 6)).is_some_and(|word| word & 1 << (port & 63) != 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The ports, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..=u16::MAX).filter(|port| self.contains(*port))
    }

    /// The ports as ranges without gaps, both ends included, in ascending order: what a filter of
    /// the kernel is made of.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for port in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
                _ => ranges.push((port, port)),
            }
        }
        ranges
    }
}

impl Default for PortSet {
    fn default() -> PortSet {
        PortSet::new()
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> PortSet {
        let mut set = PortSet::new();
        ports.into_iter().for_each(|port| set.insert(port));
        set
    }
}

/// As configurations write them: `1,11,15-20`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_show_themselves_as_ranges() {
        let set: PortSet = [1, 11, 15, 16, 17, 65_535, 0].into_iter().collect();
        assert_eq!(set.to_string(), "0-1,11,15-17,65535");
        assert_eq!(set.len(), 7);
        assert_eq!(PortSet::below(1024).to_string(), "0-1023");
        assert_eq!(PortSet::below(65_536).to_string(), "0-65535");
        assert_eq!(PortSet::below(0).to_string(), "");
        assert!(PortSet::new().is_empty() && !set.is_empty());
    }
}
