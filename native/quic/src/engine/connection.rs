//! What the engine keeps of a connection and of a stream.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use quinn_proto::{Connection, ConnectionHandle, StreamId};

use super::holes::Arrival;
use super::suspicion::Suspicion;
use crate::reason::{Kind, Reason};
use crate::socket::canonical;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Handshake,
    Connected,
    Closed,
}

pub(super) struct Conn {
    pub(super) handle: ConnectionHandle,
    /// Number of its admission; 0 when dialed.
    pub(super) handshake: u32,
    pub(super) proto: Connection,
    pub(super) server: bool,
    pub(super) phase: Phase,
    /// The endpoint has forgotten it.
    pub(super) drained: bool,
    /// JavaScript has let go of it.
    pub(super) released: bool,
    pub(super) streams: HashMap<StreamId, u32, BuildHasherDefault<IdHasher>>,
    pub(super) dirty: bool,
    pub(super) armed: Option<Instant>,
    pub(super) handshake_deadline: Option<Instant>,
    pub(super) keep_alive: Duration,
    pub(super) keep_alive_at: Option<Instant>,
    pub(super) last_received: Instant,
    /// ICMP says that the peer is gone, and nothing has come since.
    pub(super) suspicion: Option<Box<Suspicion>>,
    /// When it last began to.
    pub(super) suspected: Option<Instant>,
    pub(super) reason: Option<Reason>,
    /// JavaScript waits for the peer's stream limit, by `Dir`.
    pub(super) waiting: [bool; 2],
    pub(super) datagrams_queued: bool,
    /// Streams with an end that the peer has not acknowledged.
    pub(super) unacknowledged: usize,
    /// JavaScript waits until there are none.
    pub(super) flushing: bool,
    /// JavaScript waits for a sign of life: more ACK frames than these.
    pub(super) pinged: Option<u64>,
    /// Most streams that the peer may ever have open, each way.
    pub(super) stream_ceiling: u64,
    pub(super) send_window: u64,
    pub(super) send_window_ceiling: u64,
    /// Of the path between these two addresses, which bounds the send window.
    pub(super) shortest_rtt: Duration,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) source_validated: bool,
    pub(super) path_changes: u32,
    pub(super) remote: SocketAddr,
    /// Datagrams that have come.
    pub(super) received: u64,
    /// Streams with a hole at the front, and when to look at them: by `received`.
    pub(super) holes: Vec<u32>,
    pub(super) look_at: u64,
    /// Bytes of all streams that wait behind holes, outside of quinn-proto.
    pub(super) held: u64,
    pub(super) receive_window: u64,
    pub(super) stream_receive_window: u64,
    pub(super) panic_at: Option<Place>,
}

impl Conn {
    /// We ended it, and until its packets have died out a peer that missed it is told again. Who never
    /// answered (UDP is blocked) is owed nothing: waiting would add 3 s to the end of a program.
    pub(super) fn owes_goodbye(&self) -> bool {
        !self.drained
            && self.reason.as_ref().is_some_and(|reason| !reason.by_peer && reason.kind != Kind::Version)
            && self.proto.stats().udp_rx.datagrams > 0
    }
}

/// Where a test lets the engine panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Turn,
    Drain,
}

/// The connection that a turn is working on.
pub(super) struct Current {
    pub(super) id: u32,
    pub(super) handle: ConnectionHandle,
    pub(super) handshake: u32,
    pub(super) handshaking: bool,
    /// The endpoint has forgotten it, and may have given its handle away.
    pub(super) drained: bool,
    /// What to report as a failed handshake: JavaScript has not heard of the connection.
    pub(super) unknown: Option<(SocketAddr, bool)>,
}

impl Current {
    pub(super) fn of(id: u32, conn: &Conn) -> Self {
        let known = !conn.server || (conn.phase != Phase::Handshake && !conn.released);
        Self {
            id,
            handle: conn.handle,
            handshake: conn.handshake,
            handshaking: conn.phase == Phase::Handshake,
            drained: conn.drained,
            unknown: (!known).then(|| (canonical(conn.remote), conn.source_validated)),
        }
    }
}

/// What stands in the table for a stream.
pub(super) struct Stream {
    pub(super) connection: u32,
    pub(super) id: StreamId,
    /// We may write.
    pub(super) sending: bool,
    /// Our FIN is queued and not yet acknowledged.
    pub(super) finishing: bool,
    /// There may be something to read.
    pub(super) receiving: bool,
    /// JavaScript wants bytes.
    pub(super) flowing: bool,
    /// JavaScript has asked for bytes, and not only been given the first few.
    pub(super) claimed: bool,
    /// JavaScript wants to hear of the acknowledgement.
    pub(super) watched: bool,
    pub(super) read_queued: bool,
    pub(super) write_blocked: bool,
    /// Bytes that JavaScript has been given.
    pub(super) read: u64,
    pub(super) arrival: Arrival,
}

impl Stream {
    pub(super) fn is_done(&self) -> bool {
        !self.sending && !self.finishing && !self.receiving
    }
}

/// Stream ids are small counters; mixing one multiplication spreads them.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
