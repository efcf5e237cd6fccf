//! From the tree to the steps.

use memchr::memmem;

use super::{
    Machine, Run, Split, Start, Step, Word,
    bytes::{Bytes, First, Heads, address_bytes, first, heads, host_bytes, may_be_empty},
    conditions::{refers_to_host, resolved},
};
use crate::filter::syntax::{Assert, Expression, Node, Repetition};

/// A machine beyond this size would not be fast; the engine takes over.
const STEPS_MAX: usize = 4_000;

impl Machine {
    /// Compiles `expression`; `None` if there is something in it that only an engine knows.
    pub fn new(expression: &Expression) -> Option<Machine> {
        let node = resolved(&expression.node);
        let refers = refers_to_host(&node);
        let mut compiler = Compiler { steps: Vec::new(), ignore_case: false, refers };
        compiler.node(&node, First::OPEN)?;
        compiler.push(Step::Done)?;
        let start = start_of(&node, &compiler.steps);
        // Behind `^`, whatever takes a byte first.
        let anchored = matches!(start, Start::Anchored);
        let heads = anchored.then(|| heads(&unanchored(&node), Heads::OPEN, false));
        let first = heads.and_then(|heads| heads.first.known());
        let second = heads.and_then(|heads| heads.second.known());
        let groups = expression.groups.len();
        Some(Machine { steps: compiler.steps, groups, start, first, second })
    }

    /// The bytes with which a text must begin that matches, if that is known.
    pub fn first_bytes(&self) -> Option<Bytes> {
        self.first
    }

    /// The same of the byte behind the first.
    pub fn second_bytes(&self) -> Option<Bytes> {
        self.second
    }
}

/// The same without its `^`, which says nothing of the bytes behind it.
fn unanchored(node: &Node) -> Node {
    match node {
        Node::Assert(Assert::TextStart) => Node::Empty,
        Node::Concat(items) => match items.split_first() {
            Some((head, rest)) => {
                let mut all = vec![unanchored(head)];
                all.extend(rest.iter().cloned());
                Node::Concat(all)
            }
            None => Node::Empty,
        },
        Node::Alternate(branches) => Node::Alternate(branches.iter().map(unanchored).collect()),
        Node::Capture { node, .. } | Node::Atomic(node) => unanchored(node),
        Node::IgnoreCase(node) => Node::IgnoreCase(Box::new(unanchored(node))),
        other => other.clone(),
    }
}

fn start_of(node: &Node, steps: &[Step]) -> Start {
    if is_anchored(node) {
        return Start::Anchored;
    }
    let leading = steps.iter().find(|step| !matches!(step, Step::Save(_)));
    match (leading, first(node, First::OPEN, false).known()) {
        (Some(Step::Text(text)), _) => {
            Start::Text(Box::new(memmem::Finder::new(text).into_owned()))
        }
        // What takes nothing may also match behind the last byte, where no set finds it.
        (_, Some(set)) if !may_be_empty(node) => Start::Set(set.table()),
        _ => Start::Anywhere,
    }
}

/// True if every match begins where the text does.
fn is_anchored(node: &Node) -> bool {
    match node {
        Node::Assert(Assert::TextStart) => true,
        Node::Concat(items) => items.first().is_some_and(is_anchored),
        Node::Alternate(branches) => branches.iter().all(is_anchored),
        Node::Capture { node, .. } | Node::IgnoreCase(node) | Node::Atomic(node) => {
            is_anchored(node)
        }
        _ => false,
    }
}

struct Compiler {
    steps: Vec<Step>,
    ignore_case: bool,
    refers: bool,
}

impl Compiler {
    /// Appends a step and gives its place.
    fn push(&mut self, step: Step) -> Option<usize> {
        if self.steps.len() >= STEPS_MAX {
            return None;
        }
        self.steps.push(step);
        Some(self.steps.len() - 1)
    }

    fn patch(&mut self, place: usize, step: Step) {
        if let Some(slot) = self.steps.get_mut(place) {
            *slot = step;
        }
    }

    fn node(&mut self, node: &Node, follow: First) -> Option<()> {
        if let Some(set) = self.set_of(node) {
            return self.one(set);
        }
        match node {
            Node::Empty => {}
            Node::Char(_) | Node::Any { .. } | Node::Class(_) => {}
            Node::Assert(assert) => {
                self.push(Step::At(*assert))?;
            }
            Node::Capture { index, node, .. } => {
                self.push(Step::Save(2 * index))?;
                self.node(node, follow)?;
                self.push(Step::Save(2 * index + 1))?;
            }
            Node::IgnoreCase(node) => {
                let outer = std::mem::replace(&mut self.ignore_case, true);
                self.node(node, follow)?;
                self.ignore_case = outer;
            }
            Node::Look { ahead: false, .. } => return None,
            Node::Look { ahead: true, negative, node } => {
                let place = self.push(Step::Never)?;
                self.node(node, First::OPEN)?;
                self.push(Step::Done)?;
                let end = self.steps.len();
                self.patch(place, Step::Look { negative: *negative, end });
            }
            Node::Atomic(node) => self.atomic(|this| this.node(node, First::OPEN))?,
            Node::BackReference(group) => {
                if self.ignore_case {
                    return None;
                }
                self.push(Step::Same(*group))?;
            }
            Node::Conditional { group, yes, no } => {
                let place = self.push(Step::Never)?;
                self.node(yes, follow)?;
                let jump = self.push(Step::Never)?;
                let otherwise = self.steps.len();
                self.patch(place, Step::Need { group: *group, otherwise });
                self.node(no, follow)?;
                let end = self.steps.len();
                self.patch(jump, Step::Jump(end));
            }
            Node::Concat(items) => self.sequence(items, follow)?,
            Node::Alternate(branches) => self.alternate(branches, follow)?,
            Node::Repeat { min, max, mode, node } => {
                self.repeat(*min, *max, *mode, node, follow)?
            }
            Node::Host { node, .. } => self.host(node, follow)?,
        }
        Some(())
    }

    /// The bytes of a node that takes just one.
    fn set_of(&self, node: &Node) -> Option<Bytes> {
        let set = match node {
            Node::Char(c) => u8::try_from(*c).map_or(Bytes::NONE, Bytes::of),
            Node::Any { newline: true } => Bytes::ALL,
            Node::Any { newline: false } => Bytes::of(b'\n').not(),
            Node::Class(class) => Bytes::class(class),
            Node::Capture { .. } | Node::Concat(_) | Node::Alternate(_) => return None,
            _ => return None,
        };
        Some(if self.ignore_case { set.case_blind() } else { set })
    }

    fn one(&mut self, set: Bytes) -> Option<()> {
        if set.is_empty() {
            self.push(Step::Never)?;
            return Some(());
        }
        self.push(Step::One(set.table())).map(|_| ())
    }

    /// One after the other; neighbouring characters become one text.
    fn sequence(&mut self, items: &[Node], follow: First) -> Option<()> {
        let mut text: Vec<u8> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if let Node::Char(c) = item
                && c.is_ascii()
                && (!self.ignore_case || !c.is_ascii_alphabetic())
            {
                text.push(*c as u8);
                continue;
            }
            self.text(&mut text)?;
            let rest = items.get(index + 1..).unwrap_or_default();
            let behind = rest
                .iter()
                .rev()
                .fold(follow, |follow, item| first(item, follow, self.ignore_case));
            self.node(item, behind)?;
            self.look_for_text(rest);
        }
        self.text(&mut text)
    }

    fn text(&mut self, text: &mut Vec<u8>) -> Option<()> {
        match text.as_slice() {
            [] => Some(()),
            [byte] => {
                let set = Bytes::of(*byte);
                text.clear();
                self.one(set)
            }
            _ => {
                let text = std::mem::take(text).into_boxed_slice();
                self.push(Step::Text(text)).map(|_| ())
            }
        }
    }

    /// If the step just made is a run that may be gone back into, tells it the text that comes
    /// behind it, so that it need not try every place.
    fn look_for_text(&mut self, rest: &[Node]) {
        if self.ignore_case {
            return;
        }
        let text: Vec<u8> = rest
            .iter()
            .map_while(|item| match item {
                Node::Char(c) => u8::try_from(*c).ok().filter(u8::is_ascii),
                _ => None,
            })
            .collect();
        if text.len() < 2 {
            return;
        }
        // The end of a group takes nothing, so it may stand between.
        let before = self.steps.iter_mut().rev().find(|step| !matches!(step, Step::Save(_)));
        let Some(Step::Run(run) | Step::Lazy(run)) = before else { return };
        run.text = Some(word(text));
    }

    fn alternate(&mut self, branches: &[Node], follow: First) -> Option<()> {
        let mut jumps = Vec::new();
        let (last, others) = branches.split_last()?;
        for (index, branch) in others.iter().enumerate() {
            let place = self.push(Step::Never)?;
            let start = self.steps.len();
            self.node(branch, follow)?;
            jumps.push(self.push(Step::Never)?);
            let rest = branches.get(index + 1..).unwrap_or_default();
            let others = rest
                .iter()
                .map(|branch| first(branch, follow, self.ignore_case).known())
                .reduce(|one, other| Some(one?.or(other?)))
                .flatten();
            let split = Split {
                first: start,
                second: self.steps.len(),
                first_set: first(branch, follow, self.ignore_case).known().map(Bytes::table),
                second_set: others.map(Bytes::table),
            };
            self.patch(place, Step::Split(Box::new(split)));
        }
        self.node(last, follow)?;
        let end = self.steps.len();
        jumps.into_iter().for_each(|jump| self.patch(jump, Step::Jump(end)));
        Some(())
    }

    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        mode: Repetition,
        node: &Node,
        follow: First,
    ) -> Option<()> {
        if mode == Repetition::Possessive {
            return self
                .atomic(|this| this.repeat(min, max, Repetition::Greedy, node, First::OPEN));
        }
        if let Some(set) = self.set_of(inner(node)) {
            let max = max.map_or(usize::MAX, |max| max as usize);
            let follow = follow.known();
            let run = Run {
                set: set.table(),
                but: set.all_but(),
                min: min as usize,
                max,
                follow: follow.map(Bytes::table),
                is_final: follow.is_some_and(|follow| follow.and(set).is_empty()),
                text: None,
            };
            let step = match mode {
                Repetition::Lazy => Step::Lazy(run),
                _ => Step::Run(run),
            };
            return self.push(step).map(|_| ());
        }
        // A round that takes nothing needs rules of its own.
        if may_be_empty(node) && max != Some(1) {
            return None;
        }
        let again = first(node, First::OPEN, self.ignore_case);
        let behind = First { bytes: again.bytes.or(follow.bytes), open: again.open || follow.open };
        for round in 0..min {
            let last = round + 1 == min && max == Some(min);
            self.node(node, if last { follow } else { behind })?;
        }
        match max {
            None => {
                let place = self.push(Step::Never)?;
                self.node(node, behind)?;
                self.push(Step::Jump(place))?;
                self.branch(place, mode, again, follow);
            }
            Some(max) => {
                let mut places = Vec::new();
                for round in min..max {
                    places.push(self.push(Step::Never)?);
                    let last = round + 1 == max;
                    self.node(node, if last { follow } else { behind })?;
                }
                let end = self.steps.len();
                for place in places {
                    self.branch_to(place, end, mode, again, follow);
                }
            }
        }
        Some(())
    }

    fn branch(&mut self, place: usize, mode: Repetition, again: First, follow: First) {
        self.branch_to(place, self.steps.len(), mode, again, follow);
    }

    /// Another round, or on to `end`.
    fn branch_to(
        &mut self,
        place: usize,
        end: usize,
        mode: Repetition,
        again: First,
        follow: First,
    ) {
        let round = (place + 1, again.known());
        let on = (end, follow.known());
        let (one, other) = if mode == Repetition::Lazy { (on, round) } else { (round, on) };
        let table = |set: Option<Bytes>| set.map(Bytes::table);
        let (first_set, second_set) = (table(one.1), table(other.1));
        let split = Split { first: one.0, second: other.0, first_set, second_set };
        self.patch(place, Step::Split(Box::new(split)));
    }

    fn atomic(&mut self, inside: impl FnOnce(&mut Compiler) -> Option<()>) -> Option<()> {
        let place = self.push(Step::Never)?;
        inside(self)?;
        self.push(Step::Done)?;
        let end = self.steps.len();
        self.patch(place, Step::Atomic { end });
        Some(())
    }

    /// The quick way to an IPv4 address. The longest address is what the host in full would try
    /// first. Where what follows cannot begin with a digit or a dot, it is also the only one: any
    /// other address or name in its place would end within it, or where it ends.
    fn host(&mut self, node: &Node, follow: First) -> Option<()> {
        let Some(group) = ip4_group(node).filter(|_| !self.ignore_case && !self.refers) else {
            return self.node(node, follow);
        };
        let alone = follow.known().is_some_and(|set| set.and(address_bytes()).is_empty());
        let place = self.push(Step::Never)?;
        self.node(node, follow)?;
        let (hostlike, end) = (host_bytes().table(), self.steps.len());
        self.patch(place, Step::Address { group, hostlike, alone, end });
        Some(())
    }
}

/// Of the bytes of a text, marks and capitals are rarer in logs than letters, and those rarer than
/// blanks.
fn word(text: Vec<u8>) -> Word {
    let commonness = |byte: &u8| match byte {
        b' ' => 9,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 7,
        b'a'..=b'z' => 5,
        b'0'..=b'9' | b'.' => 6,
        b':' | b'-' | b'=' | b'/' => 4,
        b'A'..=b'Z' => 3,
        _ => 2,
    };
    let rarest = text.iter().enumerate().min_by_key(|(_, byte)| commonness(byte));
    let (offset, rare) = rarest.map_or((0, 0), |(offset, byte)| (offset, *byte));
    Word { text: text.into_boxed_slice(), rare, offset }
}

/// What a group without a name holds.
fn inner(node: &Node) -> &Node {
    match node {
        Node::Concat(items) => match items.as_slice() {
            [one] => inner(one),
            _ => node,
        },
        _ => node,
    }
}

fn ip4_group(node: &Node) -> Option<usize> {
    match node {
        Node::Capture { index, name: Some(name), .. } if &**name == "ip4" => Some(*index),
        Node::Capture { node, .. } | Node::Repeat { node, .. } => ip4_group(node),
        Node::Concat(items) | Node::Alternate(items) => items.iter().find_map(ip4_group),
        _ => None,
    }
}
