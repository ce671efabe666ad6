//! What is ready, written out for JavaScript.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quinn_proto::{Dir, VarInt};

use super::batch::{Batch, SMALL_READ};
use super::connection::{Current, Phase, Place, Stream};
use super::holes::{Arrival, End, Got};
use super::{Engine, Ready, record};

/// Longest read of one stream before the next one has its turn, in bytes.
const READ_BUDGET: usize = 256 * 1024;

impl Engine {
    /// Write records of what happened into `records`, bytes into the slabs from the given offsets.
    /// Returns (records, end of the large slab, end of the small slab).
    pub fn drain(
        &mut self,
        records: &mut [u32],
        large: &mut [u8],
        large_start: usize,
        small: &mut [u8],
        small_start: usize,
    ) -> (usize, usize, usize) {
        // JavaScript has worked through the last batch: what it removed is known there too.
        self.streams.reuse();
        self.connections.reuse();
        let mut batch =
            Batch { records, count: 0, large, large_at: large_start, small, small_at: small_start, full: false };
        while batch.has_room() {
            let Some(ready) = self.ready.pop_front() else { break };
            // A panic ends the connection it came from; the records of the others must not go with it.
            if catch_unwind(AssertUnwindSafe(|| self.drain_one(ready, &mut batch))).is_err() {
                self.recover();
            }
            self.current = None;
        }
        (batch.count, batch.large_at, batch.small_at)
    }

    fn drain_one(&mut self, ready: Ready, batch: &mut Batch<'_>) {
        match ready {
            Ready::Connection(kind, id, a, b) => batch.push(kind, id, a, b),
            Ready::Stream(kind, stream, code) => {
                batch.push(kind, stream, code as u32, (code >> 32) as u32);
                if self.streams.get(stream).is_some_and(Stream::is_done) {
                    self.forget_stream(stream);
                }
            }
            Ready::Failed => batch.push(record::FAILED, 0, 0, 0),
            Ready::Accept(id, dir) => self.drain_accepts(id, dir, batch),
            Ready::Datagrams(id) => self.drain_datagrams(id, batch),
            Ready::Read(stream) => self.drain_stream(stream, batch),
        }
    }

    fn drain_accepts(&mut self, id: u32, dir: Dir, batch: &mut Batch<'_>) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        self.current = Some(Current::of(id, conn));
        let mut accepted = false;
        loop {
            if !batch.has_room() {
                self.ready.push_front(Ready::Accept(id, dir));
                break;
            }
            let Some(stream) = conn.proto.streams().accept(dir) else { break };
            let stopped = match dir {
                Dir::Bi => conn.proto.send_stream(stream).stopped().ok().flatten(),
                Dir::Uni => None,
            };
            let entry = Stream {
                connection: id,
                id: stream,
                sending: dir == Dir::Bi && stopped.is_none(),
                finishing: false,
                receiving: true,
                flowing: true,
                claimed: false,
                watched: false,
                read_queued: true,
                write_blocked: false,
                read: 0,
                arrival: Arrival::InOrder,
            };
            match self.streams.insert_with(|_| entry) {
                Some(handle) => {
                    conn.streams.insert(stream, handle);
                    batch.push(record::OPENED, id, handle, (dir == Dir::Uni).into());
                    if let Some(code) = stopped {
                        let _ = conn.proto.send_stream(stream).reset(code);
                        self.ready.push_back(Ready::Stream(record::STOPPED, handle, code.into_inner()));
                    }
                    self.ready.push_back(Ready::Read(handle));
                    accepted = true;
                }
                None => {
                    let _ = conn.proto.recv_stream(stream).stop(VarInt::from_u32(0));
                }
            }
        }
        // Room follows use: 4,096 slots for a peer that needs 3 would cost 381 KiB.
        let limit = conn.proto.max_concurrent_streams(dir);
        if limit < conn.stream_ceiling && conn.proto.streams().remote_open_streams(dir) * 4 >= limit * 3 {
            let raised = (limit * 2).clamp(1, conn.stream_ceiling);
            conn.proto.set_max_concurrent_streams(dir, VarInt::from_u64(raised).unwrap_or(VarInt::MAX));
            accepted = true;
        }
        // The keep-alive of the first stream has to be armed, too.
        if accepted {
            self.touch(id);
        }
    }

    fn drain_datagrams(&mut self, id: u32, batch: &mut Batch<'_>) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        self.current = Some(Current::of(id, conn));
        loop {
            // Of the protocol's size, which is not known before it is taken.
            if !batch.has_room_for_datagram() {
                self.ready.push_front(Ready::Datagrams(id));
                batch.full = true;
                return;
            }
            let Some(datagram) = conn.proto.datagrams().recv() else { break };
            let (slab, at, flag) = batch.room_for(datagram.len());
            if datagram.len() <= slab.len() {
                slab[..datagram.len()].copy_from_slice(&datagram);
                batch.advance(datagram.len(), flag);
                batch.push(record::DATAGRAM, id, at as u32, datagram.len() as u32 | flag);
            }
        }
        conn.datagrams_queued = false;
    }

    fn drain_stream(&mut self, stream: u32, batch: &mut Batch<'_>) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        entry.read_queued = false;
        if !entry.flowing || !entry.receiving {
            return;
        }
        let (id, connection) = (entry.id, entry.connection);
        let Some(conn) = self.connections.get_mut(connection) else { return };
        self.current = Some(Current::of(connection, conn));
        assert!(conn.panic_at != Some(Place::Drain), "injected");
        let start = batch.large_at;
        // Nobody has asked yet: a taste, which is all that most requests have.
        let budget = if entry.claimed { READ_BUDGET.min(batch.large.len() - start) } else { SMALL_READ };
        let Got { length, end, transmit } = entry.arrival.read(conn, id, &mut batch.large[start..start + budget]);
        entry.read += length as u64;
        let closed = conn.phase == Phase::Closed;
        if length > 0 || matches!(end, End::Fin) {
            let fin = if matches!(end, End::Fin) { record::FIN } else { 0 };
            let (at, flag) = batch.keep(length);
            batch.push(record::DATA, stream, at as u32, length as u32 | fin | flag);
        }
        let receiving = match end {
            End::More if entry.claimed => {
                entry.read_queued = true;
                self.ready.push_back(Ready::Read(stream));
                true
            }
            End::More => true,
            End::Blocked if closed => {
                batch.push(record::LOST, stream, 0, 0);
                false
            }
            End::Blocked => {
                if length == 0 {
                    Self::watch_hole(conn, stream, entry.read, &mut entry.arrival);
                }
                true
            }
            End::Reset(code) => {
                batch.push(record::RESET, stream, code as u32, (code >> 32) as u32);
                false
            }
            End::Fin | End::Gone => false,
        };
        entry.receiving = receiving;
        if length > 0 && !entry.claimed {
            entry.flowing = false;
        }
        // Of a connection that ended, a stream is kept until JavaScript has heard of the end.
        if entry.is_done() && !closed {
            self.forget_stream(stream);
        }
        if transmit {
            self.touch(connection);
        }
    }
}
