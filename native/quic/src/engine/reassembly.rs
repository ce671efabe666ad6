//! Bytes of a stream that came out of order, until what lies before them has come.
//!
//! quinn-proto reads a stream in order as long as no more than some thousand spans wait behind a hole, and ends
//! the connection at more. That many are no attack: a line of 100 Mbit/s and 100 ms whose queue runs over drops every
//! other packet of a round trip, and there are a thousand in one. A stream that gets there is read out of order
//! from then on, and put in order here.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

/// Most spans that wait: at 16 MiB behind a hole, with every other packet lost, there are 6,000.
pub(super) const MAX_SPANS: usize = 16_384;

pub(super) struct Reassembly {
    /// Offset of the next byte that is wanted.
    next: u64,
    /// By offset; none overlap, and none is empty.
    spans: BTreeMap<u64, Bytes>,
    /// In all spans.
    bytes: u64,
    /// Most bytes that wait.
    limit: u64,
}

impl Reassembly {
    /// Of a stream whose bytes up to `next` have been read.
    pub(super) fn at(next: u64, limit: u64) -> Self {
        Self { next, spans: BTreeMap::new(), bytes: 0, limit }
    }

    /// Whether little more should be put in before something is taken out.
    ///
    /// Who reads out of order lets the peer send on, past what the window allows: this is what bounds it.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.limit || self.spans.len() >= MAX_SPANS
    }

    /// Whether nothing at all should be put in.
    pub(super) fn is_overfull(&self) -> bool {
        self.bytes >= 2 * self.limit || self.spans.len() >= 2 * MAX_SPANS
    }

    /// That wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// `bytes` lie at `offset`, where none have lain before.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        debug_assert!(offset >= self.next, "bytes at {offset} come twice");
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u64;
        // A copy: theirs is a view into a whole datagram, or a batch of them.
        self.spans.insert(offset, Bytes::copy_from_slice(bytes));
    }

    /// Move what is next into `room`. Returns how much that was.
    pub(super) fn take(&mut self, room: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < room.len()
            && let Some(mut first) = self.spans.first_entry()
            && *first.key() == self.next
        {
            let length = first.get().len().min(room.len() - taken);
            room[taken..taken + length].copy_from_slice(&first.get()[..length]);
            taken += length;
            self.next += length as u64;
            self.bytes -= length as u64;
            if length == first.get().len() {
                first.remove();
            } else {
                first.get_mut().advance(length);
                let rest = first.remove();
                self.spans.insert(self.next, rest);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the order, the pieces and the reads: what comes out is what was put in, and never too early.
        #[test]
        fn pieces_in_any_order_are_put_in_theirs(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..40)
                .prop_flat_map(|pieces| (Just(pieces.clone()), Just((0..pieces.len()).collect::<Vec<_>>()).prop_shuffle())),
            start in 0_u64..1_000,
            reads in proptest::collection::vec(0_usize..40, 1..20),
        ) {
            let (pieces, order) = pieces;
            let whole: Vec<u8> = pieces.concat();
            let offsets: Vec<usize> = pieces
                .iter()
                .scan(0, |at, piece| { let here = *at; *at += piece.len(); Some(here) })
                .collect();
            let mut reassembly = Reassembly::at(start, 1 << 20);
            let mut here = vec![false; whole.len()];
            let mut got = Vec::new();
            let mut sizes = reads.iter().cycle();
            let mut read = |reassembly: &mut Reassembly, here: &[bool], got: &mut Vec<u8>| {
                let mut room = vec![0; *sizes.next().unwrap()];
                let count = reassembly.take(&mut room);
                let ready = here[got.len()..].iter().take_while(|&&is| is).count();
                assert_eq!(count, ready.min(room.len()));
                got.extend_from_slice(&room[..count]);
                count
            };
            for at in order {
                let offset = offsets[at];
                reassembly.put(start + offset as u64, &pieces[at]);
                here[offset..offset + pieces[at].len()].fill(true);
                read(&mut reassembly, &here, &mut got);
            }
            let mut room = vec![0; whole.len()];
            let count = reassembly.take(&mut room);
            got.extend_from_slice(&room[..count]);
            prop_assert_eq!(got, whole);
            prop_assert!(reassembly.is_empty());
            prop_assert_eq!(reassembly.bytes, 0);
        }
    }

    #[test]
    fn it_is_full_at_its_bytes_and_at_its_spans() {
        let mut reassembly = Reassembly::at(0, 10);
        reassembly.put(5, &[0; 9]);
        assert!(!reassembly.is_full());
        reassembly.put(20, &[0; 1]);
        assert!(reassembly.is_full());

        let mut reassembly = Reassembly::at(0, 1 << 20);
        for at in 1..MAX_SPANS as u64 {
            reassembly.put(2 * at, &[0]);
        }
        assert!(!reassembly.is_full());
        reassembly.put(0, &[0]);
        assert!(reassembly.is_full());
        assert_eq!(reassembly.take(&mut [0; 8]), 1);
        assert!(!reassembly.is_full());
    }
}
