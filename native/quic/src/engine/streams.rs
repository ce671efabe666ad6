//! What JavaScript does with streams.

use quinn_proto::{Dir, VarInt, WriteError};

use super::connection::{Phase, Stream};
use super::holes::Arrival;
use super::{Engine, Ready, record};

/// Most bytes that one write takes: the count shares a number with an id.
pub(super) const MAX_WRITE: usize = (1 << 20) - 1;

/// Result of opening a stream.
pub enum Open {
    /// The stream's id, and the bytes taken.
    Opened(u32, usize),
    /// The peer's limit is reached: an AVAILABLE record follows.
    Wait,
    /// The connection has ended, or the table is full.
    Closed,
}

impl Engine {
    pub fn open(&mut self, id: u32, dir: Dir, data: &[u8], fin: bool) -> Open {
        let Some(conn) = self.connections.get_mut(id) else { return Open::Closed };
        if conn.phase != Phase::Connected {
            return Open::Closed;
        }
        let Some(stream) = conn.proto.streams().open(dir) else {
            conn.waiting[dir as usize] = true;
            return Open::Wait;
        };
        let entry = Stream {
            connection: id,
            id: stream,
            sending: true,
            finishing: false,
            receiving: dir == Dir::Bi,
            flowing: true,
            claimed: false,
            watched: false,
            read_queued: false,
            write_blocked: false,
            read: 0,
            arrival: Arrival::InOrder,
        };
        let Some(handle) = self.streams.insert_with(|_| entry) else {
            let _ = conn.proto.send_stream(stream).reset(VarInt::from_u32(0));
            return Open::Closed;
        };
        conn.streams.insert(stream, handle);
        let taken = match data.is_empty() && !fin {
            true => 0,
            false => self.write(handle, data, fin).unwrap_or(0),
        };
        // The keep-alive of the first stream has to be armed, whether or not it has anything to say.
        self.touch(id);
        Open::Opened(handle, taken)
    }

    /// Bytes taken, all of `data` or what fits. `None`: the stream takes no more, ever.
    pub fn write(&mut self, stream: u32, data: &[u8], fin: bool) -> Option<usize> {
        let entry = self.streams.get_mut(stream)?;
        let conn = self.connections.get_mut(entry.connection)?;
        if !entry.sending || conn.phase != Phase::Connected {
            return None;
        }
        let fin = fin && data.len() <= MAX_WRITE;
        let data = &data[..data.len().min(MAX_WRITE)];
        let mut sender = conn.proto.send_stream(entry.id);
        let mut taken = 0;
        while taken < data.len() {
            match sender.write(&data[taken..]) {
                Ok(count) => taken += count,
                Err(WriteError::Blocked) => {
                    entry.write_blocked = true;
                    break;
                }
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return None,
            }
        }
        if fin && taken == data.len() {
            sender.finish().ok()?;
            entry.sending = false;
            entry.finishing = true;
            conn.unacknowledged += 1;
        }
        let connection = entry.connection;
        if taken > 0 || fin {
            self.touch(connection);
        }
        Some(taken)
    }

    pub fn reset(&mut self, stream: u32, code: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let Some(conn) = self.connections.get_mut(entry.connection) else { return };
        if entry.sending || entry.finishing {
            let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
            let _ = conn.proto.send_stream(entry.id).reset(code);
            entry.sending = false;
            let connection = entry.connection;
            if std::mem::take(&mut entry.finishing) {
                conn.unacknowledged -= 1;
                if conn.unacknowledged == 0 && std::mem::take(&mut conn.flushing) {
                    self.ready.push_back(Ready::Connection(record::FLUSHED, connection, 0, 0));
                }
            }
            if entry.is_done() {
                self.forget_stream(stream);
            }
            self.touch(connection);
        }
    }

    /// Tell by FLUSHED when every stream that was ended has been acknowledged. False: that is so already.
    pub fn flush_streams(&mut self, id: u32) -> bool {
        match self.connections.get_mut(id) {
            Some(conn) if conn.phase == Phase::Connected && conn.unacknowledged > 0 => {
                conn.flushing = true;
                true
            }
            _ => false,
        }
    }

    /// Tell by FINISHED when this stream's end is acknowledged.
    pub fn watch(&mut self, stream: u32) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.watched = true;
        }
    }

    pub fn stop(&mut self, stream: u32, code: u64) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let Some(conn) = self.connections.get_mut(entry.connection) else { return };
        if entry.receiving {
            let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
            let _ = conn.proto.recv_stream(entry.id).stop(code);
            entry.receiving = false;
            let connection = entry.connection;
            if entry.is_done() {
                self.forget_stream(stream);
            }
            self.touch(connection);
        }
    }

    /// Start or pause the flow of a stream's bytes to JavaScript.
    pub fn flow(&mut self, stream: u32, on: bool) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.flowing = on;
            if on {
                entry.claimed = true;
                self.queue_read(stream);
            }
        }
    }

    pub fn stream_ids(&self, id: u32) -> Vec<u32> {
        match self.connections.get(id) {
            Some(conn) => conn.streams.values().copied().collect(),
            // Lost in a panic, and its list with it.
            None if self.connections.holds(id) => {
                let mut ids = self.streams.ids();
                ids.retain(|&stream| self.streams.get(stream).is_some_and(|entry| entry.connection == id));
                ids
            }
            None => Vec::new(),
        }
    }

    pub(super) fn forget_stream(&mut self, stream: u32) {
        let Some(entry) = self.streams.remove(stream) else { return };
        if let Some(conn) = self.connections.get_mut(entry.connection) {
            conn.streams.remove(&entry.id);
        }
        self.reap(entry.connection);
    }

    /// Drop what the peer sent and nobody read: the connection was ended here.
    pub(super) fn forget_streams(&mut self, id: u32) {
        for stream in self.stream_ids(id) {
            self.streams.remove(stream);
        }
        if let Some(conn) = self.connections.get_mut(id) {
            conn.streams.clear();
        }
    }
}
