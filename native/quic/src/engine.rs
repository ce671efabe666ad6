//! The engine: one UDP socket, its connections and their streams, owned by one thread.
//!
//! quinn-proto is the protocol without I/O; the engine gives it datagrams and time, and turns its
//! events into batches of records for JavaScript. No task, no lock, no waker: what became ready
//! stands in a queue, and [`Engine::drain`] empties it.
//!
//! A turn is: receive (`arrivals`), hear of who is gone (`suspicion`), digest (`turn`: fire timers; `events`: collect what they and the
//! datagrams led to), deliver to JavaScript (`delivery`, in a `batch` of `record`s), transmit (`turn`).
//! In between JavaScript calls into `connections` and `streams`.
//!
//! Whatever may run the user's code inside a turn goes through [`Hooks`] and must not come back.

mod arrivals;
mod batch;
mod connection;
mod connections;
mod delivery;
mod events;
mod holes;
mod reassembly;
pub mod record;
mod statistics;
mod streams;
mod suspicion;
mod transport;
mod turn;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{Connection, Dir, Endpoint, EndpointConfig, EndpointEvent, ServerConfig, Transmit, TransportConfig};

pub use self::connection::Place;
use self::connection::{Conn, Current, Stream};
pub use self::streams::Open;
pub use self::transport::{Congestion, Transport};
use crate::reason::{Kind, Reason};
use crate::socket::Socket;
use crate::table::Table;

/// What to do with a first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    Accept,
    Retry,
    Refuse,
    Ignore,
}

/// Decisions of the user, asked inside a turn.
pub trait Hooks {
    /// `handshake` numbers it, for [`Engine::drop_handshake`] and for whoever counts.
    fn admit(&self, source: SocketAddr, validated: bool, handshake: u32) -> Admission;
    /// The connection that asks for a configuration next comes from `source`.
    fn entering(&self, source: SocketAddr, validated: bool);
}

/// Something that JavaScript will hear of.
enum Ready {
    Connection(u32, u32, u32, u32),
    Accept(u32, Dir),
    Datagrams(u32),
    Read(u32),
    Stream(u32, u32, u64),
    Failed,
}

/// A handshake that ended without a connection.
pub struct Failure {
    pub handshake: u32,
    pub source: SocketAddr,
    pub validated: bool,
    pub reason: Reason,
}

pub struct Engine {
    proto: Endpoint,
    socket: Socket,
    hooks: Box<dyn Hooks>,
    server: Option<Arc<ServerConfig>>,
    /// Of connections that are accepted, and of dialed ones unless they say otherwise.
    transport: Transport,
    transport_config: Arc<TransportConfig>,
    accepting: bool,
    /// A DRAINED record is owed.
    closing: bool,
    connections: Table<Box<Conn>>,
    /// Our id of each quinn-proto handle, which are dense.
    by_handle: Vec<u32>,
    /// Connections by where their peer is, IPv4 as IPv4.
    by_remote: BTreeSet<(SocketAddr, u32)>,
    streams: Table<Stream>,
    ready: VecDeque<Ready>,
    dirty: VecDeque<u32>,
    timers: BTreeSet<(Instant, u32)>,
    failures: VecDeque<Failure>,
    handshakes: usize,
    last_handshake: u32,
    /// Connections of admitted handshakes that are under way.
    handshaking: HashMap<u32, u32>,
    outgoing: Vec<u8>,
    /// A transmit that the socket did not take.
    blocked: Option<(Transmit, Vec<u8>)>,
    /// The connection being processed: a panic is its end.
    current: Option<Current>,
    /// Datagrams that the kernel refused, and its last word.
    pub send_errors: (u64, Option<io::Error>),
}

impl Engine {
    pub fn new(
        config: EndpointConfig,
        socket: Socket,
        hooks: Box<dyn Hooks>,
        server: Option<ServerConfig>,
        transport: Transport,
    ) -> Self {
        let transport_config = transport.config();
        let server = server.map(|mut config| {
            config.transport_config(transport_config.clone());
            Arc::new(config)
        });
        Self {
            proto: Endpoint::new(Arc::new(config), server.clone(), !socket.may_fragment(), None),
            socket,
            hooks,
            accepting: server.is_some(),
            closing: false,
            server,
            transport,
            transport_config,
            connections: Table::new(),
            by_handle: Vec::new(),
            by_remote: BTreeSet::new(),
            streams: Table::new(),
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            timers: BTreeSet::new(),
            failures: VecDeque::new(),
            handshakes: 0,
            last_handshake: 0,
            handshaking: HashMap::new(),
            outgoing: Vec::new(),
            blocked: None,
            current: None,
            send_errors: (0, None),
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() && self.blocked.is_none()
    }

    fn touch(&mut self, id: u32) {
        if let Some(conn) = self.connections.get_mut(id)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Run `f` with the connection taken out of the table, so that a panic ends it and nothing else.
    fn with_connection(&mut self, id: u32, f: impl FnOnce(&mut Self, &mut Conn)) {
        let Some(mut conn) = self.connections.take(id) else { return };
        let before = self.current.replace(Current::of(id, &conn));
        f(self, &mut conn);
        self.current = before;
        self.connections.put_back(id, conn);
    }

    /// After a panic: end the connection that was being processed, whose state is not to be trusted.
    pub fn recover(&mut self) {
        let Some(Current { id, handle, handshake, handshaking, drained, unknown }) = self.current.take() else {
            return;
        };
        if handshaking {
            self.handshakes -= 1;
        }
        // Where it was not taken out of the table already.
        drop(self.connections.take(id));
        if !drained {
            self.proto.handle_event(handle, EndpointEvent::drained());
        }
        self.timers.retain(|&(_, timer)| timer != id);
        self.dirty.retain(|&dirty| dirty != id);
        self.by_remote.retain(|&(_, known)| known != id);
        match unknown {
            Some((source, validated)) => {
                self.forget_streams(id);
                self.connections.remove(id);
                if handshaking {
                    self.handshaking.remove(&handshake);
                    self.fail(Failure { handshake, source, validated, reason: Reason::of(Kind::Internal, "panic") });
                }
            }
            None => self.ready.push_back(Ready::Connection(record::CLOSED, id, 0, 0)),
        }
    }

    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failures.pop_front()
    }

    pub fn close_reason(&self, id: u32) -> Option<&Reason> {
        self.connections.get(id)?.reason.as_ref()
    }

    pub fn connection(&self, id: u32) -> Option<&Connection> {
        self.connections.get(id).map(|conn| &conn.proto)
    }

    pub fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    pub fn rebind(&mut self, socket: Socket) -> Socket {
        let before = std::mem::replace(&mut self.socket, socket);
        self.blocked = None;
        self.address_changed();
        before
    }

    /// For tests of the boundary: panic as a fault in the protocol code would.
    pub fn inject_panic(&mut self, id: u32, place: Place) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.panic_at = Some(place);
        }
        self.touch(id);
    }
}

#[cfg(test)]
mod tests;
