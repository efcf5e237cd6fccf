//! Listing: what stands in our table of nf_tables, asked of the kernel.

use super::{
    Netlink,
    codec::Writer,
    cover::{Cover, Piece, Span, Until},
    fault::Fault,
    nft::{self, Home, Item, Listed, Mile, Shape, kind},
};
use crate::action::sets::NftGuard;

/// What stands in our table.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether it is asleep; none if there is none.
    pub(super) table: Option<bool>,
    pub(super) chains: Vec<(String, Option<i32>)>,
    pub(super) sets: Vec<(String, Shape)>,
}

impl Found {
    pub(super) fn chain(&self, name: &str) -> Option<Option<i32>> {
        self.chains.iter().find(|chain| chain.0 == name).map(|chain| chain.1)
    }

    pub(super) fn set(&self, name: &str) -> Option<Shape> {
        self.sets.iter().find(|set| set.0 == name).map(|set| set.1)
    }

    /// Of which sets a spare one is there, left behind by somebody who died.
    pub(super) fn spared(&self, guard: &NftGuard) -> Vec<Home> {
        let has_spare = |home: &Home| self.set(&home.spare(&guard.sets)) == Some(home.shape());
        Home::ALL.into_iter().filter(has_spare).collect()
    }
}

impl Netlink {
    pub(super) fn nft_generation(&mut self) -> Result<u32, Fault> {
        let mut generation = None;
        self.socket.dump("ask for the generation", nft::generation, |message| {
            if let Some(Listed::Generation(number)) = message.as_ref().and_then(nft::listed) {
                generation = Some(number);
            }
        })?;
        generation.ok_or(Fault::NoAnswer)
    }

    pub(super) fn nft_list(
        &mut self,
        kind: u16,
        mut each: impl FnMut(Option<Listed>),
    ) -> Result<(), Fault> {
        let write = |writer: &mut Writer, seq| nft::list(writer, seq, kind);
        let asked = self.socket.dump("list our table", write, |message| match message {
            None => each(None),
            Some(message) => {
                if let Some(listed) = nft::listed(&message) {
                    each(Some(listed));
                }
            }
        });
        match asked {
            Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    pub(super) fn nft_found(&mut self) -> Result<Found, Fault> {
        let mut found = Found::default();
        self.nft_list(kind::GET_TABLE, |listed| match listed {
            Some(Listed::Table { dormant, .. }) => found.table = Some(dormant),
            _ => found.table = None,
        })?;
        if found.table.is_none() {
            return Ok(found);
        }
        self.nft_list(kind::GET_CHAIN, |listed| match listed {
            None => found.chains.clear(),
            Some(Listed::Chain { name, priority }) => found.chains.push((name, priority)),
            Some(_) => (),
        })?;
        self.nft_list(kind::GET_SET, |listed| match listed {
            None => found.sets.clear(),
            Some(Listed::Set { name, shape }) => found.sets.push((name, shape)),
            Some(_) => (),
        })?;
        Ok(found)
    }

    pub(super) fn nft_uses(&mut self) -> Result<Option<u32>, Fault> {
        let mut found = None;
        self.nft_list(kind::GET_TABLE, |listed| match listed {
            Some(Listed::Table { uses, .. }) => found = Some(uses),
            None => found = None,
            Some(_) => (),
        })?;
        Ok(found)
    }

    /// The chains of all rules in our table: a name for each rule.
    pub(super) fn nft_rules(&mut self) -> Result<Vec<String>, Fault> {
        let mut rules = Vec::new();
        self.nft_list(kind::GET_RULE, |listed| match listed {
            None => rules.clear(),
            Some(Listed::Rule(chain)) => rules.push(chain),
            Some(_) => (),
        })?;
        Ok(rules)
    }

    /// Shows each mile of a set; none when it begins anew. A set that is not there is empty.
    pub(super) fn nft_dump(
        &mut self,
        set: &str,
        mut each: impl FnMut(Option<Mile>),
    ) -> Result<(), Fault> {
        let write = |writer: &mut Writer, seq| nft::list_set(writer, seq, set);
        let asked = self.socket.dump(&format!("list set {set}"), write, |message| match message {
            None => each(None),
            Some(message) => nft::miles(&message).for_each(|mile| each(Some(mile))),
        });
        match asked {
            Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    pub(super) fn nft_items(&mut self, guard: &NftGuard, home: Home) -> Result<Vec<Item>, Fault> {
        let mut miles = Vec::new();
        self.nft_dump(&home.name(&guard.sets), |mile| match mile {
            None => miles.clear(),
            Some(mile) => miles.push(mile),
        })?;
        if home.is_interval() {
            return Ok(nft::spans(miles, home.shape()));
        }
        let item = |mile: Mile| Item { span: Span::one(mile.key), timeout_ms: mile.left_ms };
        Ok(miles.into_iter().map(item).collect())
    }

    /// What an interval set holds: as it is remembered, else as the kernel says.
    pub(super) fn nft_cover(&mut self, guard: &NftGuard, home: Home) -> Result<&mut Cover, Fault> {
        let set = home.name(&guard.sets);
        if !self.covers.contains_key(&set) {
            let now_ms = self.now_ms();
            let pieces: Vec<Piece> = self
                .nft_items(guard, home)?
                .into_iter()
                .map(|item| Piece {
                    span: item.span,
                    until: Until(item.timeout_ms.map(|left| now_ms.saturating_add(left))),
                })
                .collect();
            self.covers.insert(set.clone(), Cover::found(&pieces, home.v6()));
        }
        Ok(self.covers.entry(set).or_default())
    }

    /// Forgets what the interval sets hold, to ask the kernel again.
    pub(super) fn nft_forget(&mut self, guard: &NftGuard) {
        for home in Home::ALL.into_iter().filter(|home| home.is_interval()) {
            self.covers.remove(&home.name(&guard.sets));
        }
    }
}
