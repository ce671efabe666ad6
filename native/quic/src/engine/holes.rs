//! Streams with a hole in front of what has come: how they are noticed, and read past quinn-proto's limit.
//!
//! While everything comes in order this costs a comparison for each datagram. See [`super::reassembly`] for why it
//! is there.

use quinn_proto::{Connection, ReadError, ReadableError, StreamId};

use super::Engine;
use super::connection::Conn;
use super::reassembly::Reassembly;

/// Datagrams of a connection between two looks at its streams that have holes.
const LOOK_EVERY: u64 = 256;
/// With so many datagrams behind a hole a stream is read out of order. quinn-proto looks at its limit of 1,024 spans
/// when it has 2,048 pieces.
const MANY: u64 = 1_024;
/// So few behind a hole are none: headers make that difference.
const FEW: u64 = 16;

/// How a stream's bytes are read.
pub(super) enum Arrival {
    InOrder,
    /// In order, and there was a hole when so much had come.
    Behind(Seen),
    /// Out of order, for the rest of its life.
    Reassembled(Box<Reassembled>),
}

/// What had come, and what of it had been read from the stream.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    datagrams: u64,
    bytes: u64,
    read: u64,
}

pub(super) struct Reassembled {
    reassembly: Reassembly,
    /// What quinn-proto said last.
    end: Option<End>,
}

/// Why reading stopped.
#[derive(Clone, Copy)]
pub(super) enum End {
    Blocked,
    More,
    Fin,
    Reset(u64),
    Gone,
}

/// What a read has put into its room.
pub(super) struct Got {
    pub(super) length: usize,
    pub(super) end: End,
    pub(super) transmit: bool,
}

impl Arrival {
    /// Read what is next into `room`.
    pub(super) fn read(&mut self, conn: &mut Conn, id: StreamId, room: &mut [u8]) -> Got {
        match self {
            Self::Reassembled(it) => it.read(conn, id, room),
            Self::InOrder | Self::Behind(_) => read_in_order(&mut conn.proto, id, room),
        }
    }
}

fn read_in_order(proto: &mut Connection, id: StreamId, room: &mut [u8]) -> Got {
    let mut length = 0;
    let mut stream = proto.recv_stream(id);
    let mut chunks = match stream.read(true) {
        Ok(chunks) => chunks,
        Err(ReadableError::ClosedStream) => return Got { length, end: End::Gone, transmit: false },
        Err(ReadableError::IllegalOrderedRead) => unreachable!("what is read out of order stays so"),
    };
    let end = loop {
        if length == room.len() {
            break End::More;
        }
        match chunks.next(room.len() - length) {
            Ok(Some(chunk)) => {
                room[length..length + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                length += chunk.bytes.len();
            }
            Ok(None) => break End::Fin,
            Err(ReadError::Blocked) => break End::Blocked,
            Err(ReadError::Reset(code)) => break End::Reset(code.into_inner()),
        }
    };
    Got { length, end, transmit: chunks.finalize().should_transmit() }
}

impl Reassembled {
    fn read(&mut self, conn: &mut Conn, id: StreamId, room: &mut [u8]) -> Got {
        let mut length = 0;
        let mut transmit = false;
        loop {
            transmit |= self.pull(conn, id);
            let taken = self.reassembly.take(&mut room[length..]);
            length += taken;
            conn.held = conn.held.saturating_sub(taken as u64);
            if taken == 0 || length == room.len() {
                break;
            }
        }
        let end = match self.end {
            Some(End::Fin) if !self.reassembly.is_empty() => End::More,
            Some(end) => end,
            None if length == room.len() => End::More,
            None => End::Blocked,
        };
        Got { length, end, transmit }
    }

    /// Take what has come from quinn-proto. True: the peer should hear of its credit.
    ///
    /// At the bounds one piece only: it is the first of those that are there, and may be the one that is missing. Far
    /// beyond them none, and quinn-proto's own limit ends what only an attacker does.
    fn pull(&mut self, conn: &mut Conn, id: StreamId) -> bool {
        if self.end.is_some() || self.reassembly.is_overfull() {
            return false;
        }
        let mut stream = conn.proto.recv_stream(id);
        let Ok(mut chunks) = stream.read(false) else {
            self.end = Some(End::Gone);
            return false;
        };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    self.reassembly.put(chunk.offset, &chunk.bytes);
                    conn.held += chunk.bytes.len() as u64;
                }
                Ok(None) => self.end = Some(End::Fin),
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(code)) => self.end = Some(End::Reset(code.into_inner())),
            }
            if self.end.is_some() || self.reassembly.is_full() || conn.held >= conn.receive_window {
                break;
            }
        }
        chunks.finalize().should_transmit()
    }
}

impl Engine {
    /// There is a hole at the front of `stream`, which belongs to `conn`.
    pub(super) fn watch_hole(conn: &mut Conn, stream: u32, read: u64, arrival: &mut Arrival) {
        if !matches!(arrival, Arrival::InOrder) {
            return;
        }
        let bytes = conn.proto.stats().udp_rx.bytes;
        *arrival = Arrival::Behind(Seen { datagrams: conn.received, bytes, read });
        conn.holes.push(stream);
        conn.look_at = conn.look_at.min(conn.received + LOOK_EVERY);
    }

    /// Look at the streams with holes, and take out of quinn-proto what it must not be left with.
    pub(super) fn look_at_holes(&mut self, conn: &mut Conn) {
        let bytes = conn.proto.stats().udp_rx.bytes;
        let mut streams = std::mem::take(&mut conn.holes);
        conn.held = 0;
        streams.retain(|&stream| {
            let Some(entry) = self.streams.get_mut(stream) else { return false };
            if let Arrival::Behind(seen) = entry.arrival {
                let behind = seen.waiting(conn.received, bytes, entry.read);
                if behind < FEW || !entry.receiving {
                    entry.arrival = Arrival::InOrder;
                    return false;
                }
                if behind >= MANY {
                    let reassembly = Reassembly::at(entry.read, conn.stream_receive_window);
                    entry.arrival = Arrival::Reassembled(Box::new(Reassembled { reassembly, end: None }));
                }
            }
            if let Arrival::Reassembled(it) = &entry.arrival {
                conn.held += it.reassembly.bytes();
            }
            entry.receiving
        });
        for &stream in &streams {
            if let Some(entry) = self.streams.get_mut(stream)
                && let Arrival::Reassembled(it) = &mut entry.arrival
            {
                // Who calls this sends what there is to send.
                it.pull(conn, entry.id);
            }
        }
        conn.look_at = if streams.is_empty() { u64::MAX } else { conn.received + LOOK_EVERY };
        conn.holes = streams;
    }
}

impl Seen {
    /// Datagrams that have come since, less those whose bytes have been read.
    fn waiting(self, datagrams: u64, bytes: u64, read: u64) -> u64 {
        let came = datagrams - self.datagrams;
        let bytes = (bytes - self.bytes).max(1);
        came.saturating_sub(came.saturating_mul(read - self.read) / bytes)
    }
}
