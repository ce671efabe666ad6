//! Records and bytes of one crossing to JavaScript.

use super::record;

/// Reads up to this length go to the small slab, so that they do not keep a large one alive.
pub(super) const SMALL_READ: usize = 4 * 1024;

/// Longest payload of a datagram (RFC 9221), which is that of a UDP packet.
const MAX_DATAGRAM: usize = 65_535;

/// Records and bytes of one crossing to JavaScript.
pub(super) struct Batch<'a> {
    pub(super) records: &'a mut [u32],
    pub(super) count: usize,
    pub(super) large: &'a mut [u8],
    pub(super) large_at: usize,
    pub(super) small: &'a mut [u8],
    pub(super) small_at: usize,
    /// What comes next wants a fresh slab.
    pub(super) full: bool,
}

impl Batch<'_> {
    /// Room for two records and a small read, the most that one step takes at least.
    pub(super) fn has_room(&self) -> bool {
        !self.full
            && (self.count + 2) * 4 <= self.records.len()
            && self.large.len() - self.large_at >= 2 * SMALL_READ
            && self.small.len() - self.small_at >= SMALL_READ
    }

    /// Room for any datagram, or an empty batch: no slab would ever be large enough for who gives such.
    pub(super) fn has_room_for_datagram(&self) -> bool {
        self.has_room() && (self.count == 0 || self.large.len() - self.large_at >= MAX_DATAGRAM)
    }

    pub(super) fn push(&mut self, kind: u32, id: u32, a: u32, b: u32) {
        let at = self.count * 4;
        self.records[at..at + 4].copy_from_slice(&[kind, id, a, b]);
        self.count += 1;
    }

    /// Slab for `length` bytes, the offset in it, and its flag.
    pub(super) fn room_for(&mut self, length: usize) -> (&mut [u8], usize, u32) {
        match length <= SMALL_READ {
            true => (&mut self.small[self.small_at..], self.small_at, record::SMALL),
            false => (&mut self.large[self.large_at..], self.large_at, 0),
        }
    }

    pub(super) fn advance(&mut self, length: usize, flag: u32) {
        // Views start at multiples of 8, as typed arrays over them may need.
        let length = length.next_multiple_of(8);
        match flag {
            record::SMALL => self.small_at = (self.small_at + length).min(self.small.len()),
            _ => self.large_at = (self.large_at + length).min(self.large.len()),
        }
    }

    /// Keep `length` bytes that stand at the front of the large slab's rest; small ones move.
    pub(super) fn keep(&mut self, length: usize) -> (usize, u32) {
        let from = self.large_at;
        if length <= SMALL_READ {
            let at = self.small_at;
            self.small[at..at + length].copy_from_slice(&self.large[from..from + length]);
            self.advance(length, record::SMALL);
            (at, record::SMALL)
        } else {
            self.advance(length, 0);
            (from, 0)
        }
    }
}
