//! `Slab`: values under small numbers that stay theirs, in chunks that are never moved, so that a
//! table of a hundred thousand addresses grows without ever being copied.

/// So many values are laid out at once.
const CHUNK: usize = 1024;

/// Values under numbers; the numbers of removed ones are given out again.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    count: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { chunks: Vec::new(), free: Vec::new(), count: 0 }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// One above the greatest number ever given out.
    pub(super) fn end(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let last = self.chunks.last().map_or(0, Vec::len);
        u32::try_from(full + last).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let number = number as usize;
        self.chunks.get_mut(number / CHUNK)?.get_mut(number % CHUNK)?.as_mut()
    }

    /// Puts a value in; its callers keep far below the 2³² values that have numbers.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.count += 1;
        if let Some(number) = self.free.pop() {
            let place = number as usize;
            if let Some(chunk) = self.chunks.get_mut(place / CHUNK)
                && let Some(slot) = chunk.get_mut(place % CHUNK)
            {
                *slot = Some(value);
                return number;
            }
        }
        let number = self.end();
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(Some(value)),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Some(value));
                self.chunks.push(chunk);
            }
        }
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let place = number as usize;
        let value = self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)?.take()?;
        self.count -= 1;
        match self.count {
            0 => *self = Slab::default(), // what a flood took is given back
            _ => self.free.push(number),
        }
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.chunks.iter().flatten().enumerate();
        slots.filter_map(|(number, slot)| Some((u32::try_from(number).ok()?, slot.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        let slots = self.chunks.iter_mut().flatten().enumerate();
        slots.filter_map(|(number, slot)| Some((u32::try_from(number).ok()?, slot.as_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_are_given_out_again() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..3000).map(|value| slab.insert(value)).collect();
        assert_eq!((slab.len(), slab.end()), (3000, 3000));
        assert_eq!(slab.remove(numbers[1500]), Some(1500));
        assert_eq!((slab.remove(1500), slab.get(1500)), (None, None));
        assert_eq!(slab.get(2999), Some(&2999));
        assert_eq!(slab.insert(7), 1500);
        assert_eq!(slab.iter().map(|(_, value)| value).sum::<i32>(), 3000 * 2999 / 2 - 1500 + 7);
        for number in 0..3000 {
            slab.remove(number);
        }
        assert_eq!((slab.len(), slab.end(), slab.insert(1)), (0, 0, 0));
    }
}
