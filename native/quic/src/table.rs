//! A table whose ids go stale: an id names one entry, never its successor in the same place.

const INDEX_BITS: u32 = 22;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const MAX_GENERATION: u32 = u32::MAX >> INDEX_BITS;

/// Up to 4 Mi entries. An id has the index in its low 22 bits and a generation above, never 0.
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Free, but not to be given again before [`Table::reuse`].
    resting: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), resting: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.resting.len()
    }

    /// Make an id for what `make` returns. `None` when the table is full.
    pub fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() as u32 > INDEX_MASK => return None,
            None => {
                self.slots.push(Slot { generation: 1, value: None });
                self.slots.len() as u32 - 1
            }
        };
        let slot = &mut self.slots[index as usize];
        let id = slot.generation << INDEX_BITS | index;
        slot.value = Some(make(id));
        Some(id)
    }

    fn slot(&mut self, id: u32) -> Option<&mut Slot<T>> {
        self.slots.get_mut((id & INDEX_MASK) as usize).filter(|slot| slot.generation == id >> INDEX_BITS)
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.slot(id)?.value.as_mut()
    }

    pub fn get(&self, id: u32) -> Option<&T> {
        self.slots.get((id & INDEX_MASK) as usize).filter(|slot| slot.generation == id >> INDEX_BITS)?.value.as_ref()
    }

    /// Take the value out and keep its place: to be put back, or removed.
    pub fn take(&mut self, id: u32) -> Option<T> {
        self.slot(id)?.value.take()
    }

    pub fn put_back(&mut self, id: u32, value: T) {
        if let Some(slot) = self.slot(id) {
            slot.value = Some(value);
        }
    }

    /// `id` has its place, also while its value is taken out.
    pub fn holds(&self, id: u32) -> bool {
        self.slots.get((id & INDEX_MASK) as usize).is_some_and(|slot| slot.generation == id >> INDEX_BITS)
    }

    /// Forget `id`; its place may be used again under another id, after the next [`Table::reuse`].
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let slot = self.slot(id)?;
        let value = slot.value.take();
        slot.generation = if slot.generation == MAX_GENERATION { 1 } else { slot.generation + 1 };
        self.resting.push(id & INDEX_MASK);
        value
    }

    /// Let the places of removed entries be given again. Whoever indexes by the low bits of an id must
    /// have heard of every removal by then.
    pub fn reuse(&mut self) {
        self.free.append(&mut self.resting);
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    pub fn ids(&self) -> Vec<u32> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some())
            .map(|(index, slot)| slot.generation << INDEX_BITS | index as u32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_nothing_once_removed_and_is_not_given_again_soon() {
        let mut table = Table::new();
        let mut before = table.insert_with(|id| id).unwrap();
        for _ in 0..3 * MAX_GENERATION {
            assert_eq!(table.get(before), Some(&before));
            assert_eq!(table.remove(before), Some(before));
            assert_eq!(table.get(before), None);
            assert_eq!(table.len(), 0);
            table.reuse();
            let next = table.insert_with(|id| id).unwrap();
            assert_ne!(next, before);
            assert_ne!(next, 0);
            before = next;
        }
    }

    #[test]
    fn a_place_is_not_given_again_before_reuse() {
        let mut table = Table::new();
        let first = table.insert_with(|_| ()).unwrap();
        table.remove(first);
        let second = table.insert_with(|_| ()).unwrap();
        assert_ne!(first & INDEX_MASK, second & INDEX_MASK);
        table.reuse();
        let third = table.insert_with(|_| ()).unwrap();
        assert_eq!(first & INDEX_MASK, third & INDEX_MASK);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn remove_twice_frees_a_place_once() {
        let mut table = Table::new();
        let first = table.insert_with(|_| 1).unwrap();
        assert_eq!(table.remove(first), Some(1));
        assert_eq!(table.remove(first), None);
        table.reuse();
        let second = table.insert_with(|_| 2).unwrap();
        let third = table.insert_with(|_| 3).unwrap();
        assert_eq!((table.get(second), table.get(third)), (Some(&2), Some(&3)));
    }
}
