//! `Positions`: how far the lines of each source have been counted, and by whom.
//!
//! One position for each source is what the store keeps, and what nearly all jails have in common. A
//! jail that began later, or slept, is behind for a while: where it stands is kept beside, for as
//! long as that is so, in case it has to begin anew from there.

use std::{collections::HashMap, sync::Arc};

use crate::{source::Position, ticket::JailName};

/// The name of a source: a file's path, or a journal.
type Source = Arc<str>;

/// How far everything is read.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// What the store was asked for.
    loaded: bool,
    common: HashMap<Source, Common>,
    /// Jails that stand elsewhere.
    own: HashMap<(JailName, Source), Position>,
}

/// Where most readers of a source stand.
#[derive(Debug)]
struct Common {
    position: Position,
    /// Those who do; nobody is known while it is as the store had it.
    jails: Vec<JailName>,
}

impl Positions {
    /// True once [`Positions::load`] was called.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// What the store knows.
    pub fn load(&mut self, stored: Vec<(Source, Position)>) {
        self.loaded = true;
        for (source, position) in stored {
            self.common.insert(source, Common { position, jails: Vec::new() });
        }
    }

    /// The positions that the store keeps.
    pub fn common(&self) -> impl Iterator<Item = (&Source, &Position)> {
        self.common.iter().map(|(source, common)| (source, &common.position))
    }

    /// Where a jail has to begin to read, each source by itself.
    pub fn of(&self, jail: &JailName) -> Vec<(Source, Position)> {
        let position = |(source, common): (&Source, &Common)| {
            let own = self.own.get(&(Arc::clone(jail), Arc::clone(source)));
            (Arc::clone(source), own.unwrap_or(&common.position).clone())
        };
        self.common.iter().map(position).collect()
    }

    /// These jails have counted what stands before this position. Whoever else stood where they
    /// did stays there. `readers` are all that read the source, asked where nobody is known.
    pub fn move_on(
        &mut self,
        source: &Source,
        jails: Vec<JailName>,
        position: Position,
        readers: impl FnOnce() -> Vec<JailName>,
    ) {
        for jail in &jails {
            if !self.own.is_empty() {
                self.own.remove(&(Arc::clone(jail), Arc::clone(source)));
            }
        }
        let Some(common) = self.common.get_mut(source) else {
            self.common.insert(Arc::clone(source), Common { position, jails });
            return;
        };
        let before = std::mem::replace(&mut common.position, position);
        if common.jails == jails {
            return;
        }
        let stood = match common.jails.is_empty() {
            true => readers(),
            false => std::mem::take(&mut common.jails),
        };
        for jail in stood.into_iter().filter(|jail| !jails.contains(jail)) {
            self.own.entry((jail, Arc::clone(source))).or_insert_with(|| before.clone());
        }
        common.jails = jails;
    }

    /// A jail that is behind the others has counted what stands before this position.
    pub fn catch_up(&mut self, source: &Source, jail: &JailName, position: &Position) {
        self.own.insert((Arc::clone(jail), Arc::clone(source)), position.clone());
    }

    /// A jail ends: what others go on to read it has not read.
    pub fn leave(&mut self, jail: &JailName) {
        for (source, common) in &mut self.common {
            if common.jails.len() > 1 && common.jails.contains(jail) {
                common.jails.retain(|other| other != jail);
                let key = (Arc::clone(jail), Arc::clone(source));
                self.own.insert(key, common.position.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn at(seconds: i64) -> Position {
        Position::Journal(String::new(), Timestamp::from_secs(seconds))
    }

    fn of(positions: &Positions, jail: &str) -> Position {
        let found = positions.of(&jail.into());
        assert_eq!(found.len(), 1);
        found[0].1.clone()
    }

    #[test]
    fn a_jail_that_is_behind_keeps_its_own_position() {
        let source: Source = "log".into();
        let names = |names: &[&str]| names.iter().map(|name| JailName::from(*name)).collect();
        let mut positions = Positions::default();
        positions.load(vec![(Arc::clone(&source), at(1))]);
        // b has not read anything yet when a is further.
        positions.move_on(&source, names(&["a"]), at(2), || names(&["a", "b"]));
        assert_eq!([of(&positions, "a"), of(&positions, "b")], [at(2), at(1)]);
        positions.move_on(&source, names(&["a", "b"]), at(3), Vec::new);
        positions.leave(&"a".into());
        positions.move_on(&source, names(&["b"]), at(4), Vec::new);
        assert_eq!([of(&positions, "a"), of(&positions, "b")], [at(3), at(4)]);
        positions.catch_up(&source, &"a".into(), &at(5));
        positions.leave(&"a".into());
        assert_eq!([of(&positions, "a"), of(&positions, "b")], [at(5), at(4)]);
        // b sleeps, and a's position is the common one: b stays where it is.
        positions.move_on(&source, names(&["a"]), at(6), Vec::new);
        assert_eq!([of(&positions, "a"), of(&positions, "b")], [at(6), at(4)]);
        assert!(positions.common().eq([(&source, &at(6))]));
    }
}
