//! `Recent`: a bounded table that forgets what was not asked for lately.

use std::{collections::HashMap, hash::Hash};

/// A table of at most so many entries, in two generations: when the young one is full, it becomes
/// the old one, and what stood in that is forgotten. Every use makes an entry young again.
#[derive(Clone, Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Copy + Eq + Hash, V: Default> Recent<K, V> {
    /// With room for `max` entries; at least half as many, the last used, are always there.
    pub fn new(max: usize) -> Recent<K, V> {
        Recent { young: HashMap::new(), old: HashMap::new(), half: (max / 2).max(1) }
    }

    /// The entry of a key, made if there is none.
    pub fn entry(&mut self, key: K) -> &mut V {
        // In this order, since a look at the length costs nothing.
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.turn();
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default())
    }

    /// The entry of a key, if there is one; it does not become younger.
    #[cfg(test)]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Begins a new generation: what is not used until the next one is forgotten.
    pub fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut table: Recent<u32, u32> = Recent::new(8);
        for key in 0..100 {
            *table.entry(7) += 1;
            *table.entry(1000 + key) += 1;
            assert!(table.len() <= 8);
        }
        assert_eq!(table.get(&7), Some(&100));
        assert_eq!(table.get(&1000), None);
        assert_eq!(table.get(&1099), Some(&1));
    }
}
