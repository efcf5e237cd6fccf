//! `Positions`: how far the lines of each source have been counted, and by whom.
//!
//! One position for each source is what the store keeps, and what nearly all jails have in common. A
//! jail that began later, or slept, is behind for a while: where it stands is kept beside, for as
//! long as that is so, in case it has to begin anew from there. The store keeps that, too, as soon as
//! the others have gone on, under the jail's name and the source's.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::settle;
use crate::{source::Position, store::Entry, ticket::JailName};

/// The name of a source: a file's path, or a journal.
type Source = Arc<str>;

/// How far everything is read.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// What the store was asked for.
    loaded: bool,
    common: HashMap<Source, Common>,
    /// Jails that stand elsewhere.
    own: HashMap<(JailName, Source), Own>,
    /// Sources of which the store does not know yet where a jail stands.
    unstored: HashSet<Source>,
    /// What the store is to keep of them.
    changes: Vec<Entry>,
}

/// Where a jail stands.
#[derive(Debug)]
struct Own {
    position: Position,
    /// The store knows it.
    stored: bool,
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
        for (key, position) in stored {
            match key_of(&key) {
                Some(own) => drop(self.own.insert(own, Own { position, stored: true })),
                None => drop(self.common.insert(key, Common { position, jails: Vec::new() })),
            }
        }
    }

    /// All that the store is to keep, and what it is to forget of what it knows, by name.
    pub fn all(&mut self, known: &[Source]) -> Vec<Entry> {
        let strange = |name: &&Source| key_of(name).is_some_and(|key| !self.own.contains_key(&key));
        let forget = |name: &Source| Entry::ForgetPosition { key: Arc::clone(name) };
        let mut all: Vec<Entry> = known.iter().filter(strange).map(forget).collect();
        let common = self.common.iter();
        all.extend(common.map(|(source, common)| settle::position(source, &common.position)));
        self.unstored.clear();
        for (key, own) in &mut self.own {
            own.stored = true;
            all.push(settle::position(&row(key), &own.position));
        }
        all
    }

    /// What the store is to keep, or to forget, beside the common position that moved.
    pub fn take_changes(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.changes)
    }

    /// Where a jail has to begin to read, each source by itself.
    pub fn of(&self, jail: &JailName) -> Vec<(Source, Position)> {
        let position = |(source, common): (&Source, &Common)| {
            let own = self.own.get(&(Arc::clone(jail), Arc::clone(source)));
            let position = own.map_or(&common.position, |own| &own.position);
            (Arc::clone(source), position.clone())
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
                let key = (Arc::clone(jail), Arc::clone(source));
                if self.own.remove(&key).is_some_and(|own| own.stored) {
                    self.changes.push(Entry::ForgetPosition { key: row(&key) });
                }
            }
        }
        let Some(common) = self.common.get_mut(source) else {
            self.common.insert(Arc::clone(source), Common { position, jails });
            return;
        };
        let before = std::mem::replace(&mut common.position, position);
        if common.jails == jails {
            return self.keep(source);
        }
        let stood = match common.jails.is_empty() {
            true => readers(),
            false => std::mem::take(&mut common.jails),
        };
        for jail in stood.into_iter().filter(|jail| !jails.contains(jail)) {
            let own = || Own { position: before.clone(), stored: false };
            self.unstored.insert(Arc::clone(source));
            self.own.entry((jail, Arc::clone(source))).or_insert_with(own);
        }
        common.jails = jails;
        self.keep(source);
    }

    /// The common position of a source has moved: who stays behind is remembered by the store.
    fn keep(&mut self, source: &Source) {
        if !self.unstored.remove(source) {
            return;
        }
        for (key, own) in self.own.iter_mut().filter(|((_, of), own)| of == source && !own.stored) {
            own.stored = true;
            self.changes.push(settle::position(&row(key), &own.position));
        }
    }

    /// A jail that is behind the others has counted what stands before this position.
    pub fn catch_up(&mut self, source: &Source, jail: &JailName, position: &Position) {
        let key = (Arc::clone(jail), Arc::clone(source));
        self.changes.push(settle::position(&row(&key), position));
        self.own.insert(key, Own { position: position.clone(), stored: true });
    }

    /// A jail ends: what others go on to read it has not read.
    pub fn leave(&mut self, jail: &JailName) {
        for (source, common) in &mut self.common {
            if common.jails.len() > 1 && common.jails.contains(jail) {
                common.jails.retain(|other| other != jail);
                let key = (Arc::clone(jail), Arc::clone(source));
                let own = Own { position: common.position.clone(), stored: false };
                self.own.insert(key, own);
                self.unstored.insert(Arc::clone(source));
            }
        }
    }
}

/// The name under which the store knows where a jail stands. No source begins as it does, and the
/// length says where the jail's name ends, whatever is in it.
fn row((jail, source): &(JailName, Source)) -> Arc<str> {
    format!("\t{}\t{jail}\t{source}", jail.len()).into()
}

/// What [`row`] made the name from; none where it is a source's.
fn key_of(row: &str) -> Option<(JailName, Source)> {
    let (length, rest) = row.strip_prefix('\t')?.split_once('\t')?;
    let (jail, source) = rest.split_at_checked(length.parse().ok()?)?;
    Some((jail.into(), source.strip_prefix('\t')?.into()))
}

#[cfg(test)]
#[allow(clippy::panic, reason = "a test fails by panicking")]
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
    }

    /// What a store holds after these changes and with the common position.
    fn remembered(held: &mut HashMap<Source, Position>, positions: &mut Positions) -> Positions {
        let changes = positions.take_changes();
        changed(held, changes)
    }

    fn changed(held: &mut HashMap<Source, Position>, changes: Vec<Entry>) -> Positions {
        for change in changes {
            match change {
                Entry::Position { key, value } => {
                    let row = String::from_utf8(value.to_vec()).unwrap();
                    held.insert(key, Position::from_row(&row).unwrap());
                }
                Entry::ForgetPosition { key } => assert!(held.remove(&key).is_some()),
                other => panic!("{other:?}"),
            }
        }
        let mut again = Positions::default();
        again.load(held.clone().into_iter().collect());
        again
    }

    #[test]
    fn a_jail_that_is_behind_goes_on_from_there_after_a_crash() {
        let source: Source = "/var/log/x".into();
        let names = |names: &[&str]| names.iter().map(|name| JailName::from(*name)).collect();
        let mut held = HashMap::from([(Arc::clone(&source), at(3))]);
        let mut positions = Positions::default();
        positions.move_on(&source, names(&["a", "b"]), at(3), Vec::new);
        positions.leave(&"a".into());
        assert!(positions.take_changes().is_empty(), "nobody has gone on without it");
        for second in [4, 5] {
            positions.move_on(&source, names(&["b"]), at(second), Vec::new);
            held.insert(Arc::clone(&source), at(second));
            let again = remembered(&mut held, &mut positions);
            assert_eq!([of(&again, "a"), of(&again, "b")], [at(3), at(second)]);
        }
        positions.catch_up(&source, &"a".into(), &at(4));
        let again = remembered(&mut held, &mut positions);
        assert_eq!([of(&again, "a"), of(&again, "b")], [at(4), at(5)]);
        positions.move_on(&source, names(&["a", "b"]), at(6), Vec::new);
        held.insert(Arc::clone(&source), at(6));
        let again = remembered(&mut held, &mut positions);
        assert_eq!([of(&again, "a"), of(&again, "b")], [at(6), at(6)]);
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn a_store_that_is_told_all_holds_that_and_no_more() {
        let source: Source = "/var/log/x".into();
        let names = |names: &[&str]| names.iter().map(|name| JailName::from(*name)).collect();
        let mut positions = Positions::default();
        positions.move_on(&source, names(&["a", "b"]), at(3), Vec::new);
        positions.leave(&"a".into());
        // What it missed while it could not be written, or was another one.
        let gone = row(&("c".into(), Arc::clone(&source)));
        let mut held = HashMap::from([(gone, at(1)), (Arc::clone(&source), at(1))]);
        let known: Vec<Source> = held.keys().cloned().collect();
        let all = positions.all(&known);
        let again = changed(&mut held, all);
        assert_eq!(["a", "b", "c"].map(|jail| of(&again, jail)), [at(3), at(3), at(3)]);
        assert_eq!(held.len(), 2);
        // It knows of a's, so it is told that this is over.
        positions.move_on(&source, names(&["a", "b"]), at(5), Vec::new);
        held.insert(source, at(5));
        let again = remembered(&mut held, &mut positions);
        assert_eq!((of(&again, "a"), held.len()), (at(5), 1));
    }

    #[test]
    fn whatever_a_jail_or_a_log_is_called_it_is_found_again() {
        for jail in ["a", "/a", "\t", "a\tb", "1\t/x", "é\t"] {
            for source in ["/var/log/x", "/var/log/x\ty", "systemd-journal"] {
                let (jail, source): (JailName, Source) = (jail.into(), source.into());
                let mut held = HashMap::from([(Arc::clone(&source), at(3))]);
                let mut positions = Positions::default();
                positions.load(held.clone().into_iter().collect());
                positions.catch_up(&source, &jail, &at(2));
                let again = remembered(&mut held, &mut positions);
                assert_eq!(again.of(&jail), [(Arc::clone(&source), at(2))], "{jail:?} {source:?}");
                assert_eq!(of(&again, "other"), at(3));
            }
        }
    }
}
