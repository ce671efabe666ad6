//! The engine: one UDP socket, its connections and their streams, owned by one thread.
//!
//! quinn-proto is the protocol without I/O; this file gives it datagrams and time, and turns its
//! events into batches of records for JavaScript. No task, no lock, no waker: what became ready
//! stands in a queue, and [`Engine::drain`] empties it.
//!
//! A turn is: receive, digest (fire timers, collect events), deliver to JavaScript, transmit.
//! Whatever may run the user's code inside a turn goes through [`Hooks`] and must not come back.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::congestion::{BbrConfig, NewRenoConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, EndpointEvent, Event,
    Incoming, MtuDiscoveryConfig, ReadError, ReadableError, ServerConfig, StreamEvent, StreamId, Transmit,
    TransportConfig, VarInt, WriteError,
};

use crate::cubic::CubicConfig;
use crate::reason::{Kind, Reason};
use crate::session::HelloData;
use crate::socket::{BATCH_SIZE, ReceiveBuffer, Socket, canonical};
use crate::table::Table;

/// Receive batches of a turn, each of up to 32 messages: JavaScript gets its turn even under a flood.
const RECEIVE_BATCHES: usize = 4;
/// Messages of a turn while there are handshakes: a message of theirs is a tenth of a millisecond of work, and
/// the peer waits for the answer to the first one.
const HANDSHAKE_MESSAGES: usize = 4;
/// Transmits (each a GSO batch) of one connection before the next one has its turn.
const TRANSMITS: usize = 8;
/// Datagrams of one GSO batch, and its most bytes.
const SEGMENTS: usize = 16;
const MAX_BATCH: usize = 65_000;
/// Longest read of one stream before the next one has its turn, in bytes.
const READ_BUDGET: usize = 256 * 1024;
/// Reads up to this length go to the small slab, so that they do not keep a large one alive.
pub const SMALL_READ: usize = 4 * 1024;
/// Most bytes that one write takes: the count shares a number with an id.
const MAX_WRITE: usize = (1 << 20) - 1;
/// Streams that a peer may have open when its limit is raised from none.
const FIRST_STREAMS: u64 = 16;
/// Send window of a fresh connection, in bytes; it grows with the congestion window.
const INITIAL_SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// Bytes in a nanosecond that a path may carry: 16 Gbit/s. The congestion window of one without loss grows
/// as long as it is used, and what is buffered beyond the path's own delay only leaves the processor's cache.
const FASTEST: u64 = 2;
/// Long enough to bound nothing.
const UNKNOWN_RTT: Duration = Duration::from_secs(1);

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

/// Settings of one connection. Durations in milliseconds, windows in bytes.
#[derive(Clone, Debug)]
pub struct Transport {
    pub idle_timeout: u64,
    pub keep_alive: u64,
    pub handshake_timeout: u64,
    pub max_streams: u64,
    pub stream_receive_window: u64,
    pub receive_window: u64,
    pub send_window: u64,
    pub initial_mtu: u16,
    pub mtu_upper_bound: u16,
    pub congestion: Congestion,
    pub datagram_buffer: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Congestion {
    Cubic,
    NewReno,
    Bbr,
}

impl Transport {
    fn config(&self) -> Arc<TransportConfig> {
        let var = |value: u64| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
        let mut config = TransportConfig::default();
        config
            .max_idle_timeout((self.idle_timeout > 0).then(|| var(self.idle_timeout).into()))
            .max_concurrent_bidi_streams(var(self.max_streams))
            .max_concurrent_uni_streams(var(self.max_streams))
            .stream_receive_window(var(self.stream_receive_window))
            .receive_window(var(self.receive_window))
            .send_window(self.send_window.min(INITIAL_SEND_WINDOW))
            .initial_mtu(self.initial_mtu)
            .datagram_receive_buffer_size((self.datagram_buffer > 0).then_some(self.datagram_buffer))
            .datagram_send_buffer_size(self.datagram_buffer);
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(self.mtu_upper_bound);
        config.mtu_discovery_config((self.mtu_upper_bound > self.initial_mtu).then_some(discovery));
        match self.congestion {
            Congestion::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig)),
            Congestion::NewReno => config.congestion_controller_factory(Arc::new(NewRenoConfig::default())),
            Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
        };
        Arc::new(config)
    }
}

/// Kinds of records in a batch, `[kind, id, a, b]`.
pub mod record {
    /// A dialed or accepted connection is ready. a: 1 when we are its server, b: the number of its admission.
    pub const CONNECTED: u32 = 1;
    /// The connection ended. a: 0, and the reason waits in `close_reason`; or 1, by us, or 2, by the peer, it was
    /// closed with the code b and no text.
    pub const CLOSED: u32 = 2;
    /// The peer opened a stream. id: connection, a: stream, b: 1 when unidirectional.
    pub const OPENED: u32 = 3;
    /// a: offset in the slab, b: length, with the flags below.
    pub const DATA: u32 = 4;
    /// The peer reset its side. a, b: low and high half of the code.
    pub const RESET: u32 = 5;
    /// The peer stopped reading, and our side is reset. a, b: code.
    pub const STOPPED: u32 = 6;
    /// A blocked stream takes bytes again.
    pub const WRITABLE: u32 = 7;
    /// Everything up to our FIN was acknowledged.
    pub const FINISHED: u32 = 8;
    /// The peer allows more streams. id: connection, a: 1 for unidirectional ones.
    pub const AVAILABLE: u32 = 9;
    /// id: connection, a: offset in the small or large slab, b: length, with SMALL.
    pub const DATAGRAM: u32 = 10;
    /// The connection ended, and this stream has nothing left to read.
    pub const LOST: u32 = 11;
    /// An admitted handshake ended without a connection; its reason waits in `take_failure`.
    pub const FAILED: u32 = 12;
    /// After `close_all`: every connection is gone.
    pub const DRAINED: u32 = 13;
    /// After `flush_streams`: every stream that was ended is acknowledged.
    pub const FLUSHED: u32 = 14;
    /// After `ping`: the peer has acknowledged something.
    pub const PONG: u32 = 15;

    /// In b of DATA: the stream ends here.
    pub const FIN: u32 = 1 << 31;
    /// In b of DATA and DATAGRAM: the bytes stand in the small slab.
    pub const SMALL: u32 = 1 << 30;
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Connected,
    Closed,
}

struct Conn {
    handle: ConnectionHandle,
    /// Number of its admission; 0 when dialed.
    handshake: u32,
    proto: Connection,
    server: bool,
    phase: Phase,
    /// The endpoint has forgotten it.
    drained: bool,
    /// JavaScript has let go of it.
    released: bool,
    streams: HashMap<StreamId, u32, BuildHasherDefault<IdHasher>>,
    dirty: bool,
    armed: Option<Instant>,
    handshake_deadline: Option<Instant>,
    keep_alive: Duration,
    keep_alive_at: Option<Instant>,
    last_received: Instant,
    reason: Option<Reason>,
    /// JavaScript waits for the peer's stream limit, by `Dir`.
    waiting: [bool; 2],
    datagrams_queued: bool,
    /// Streams with an end that the peer has not acknowledged.
    unacknowledged: usize,
    /// JavaScript waits until there are none.
    flushing: bool,
    /// JavaScript waits for a sign of life: more ACK frames than these.
    pinged: Option<u64>,
    /// Most streams that the peer may ever have open, each way.
    stream_ceiling: u64,
    send_window: u64,
    send_window_ceiling: u64,
    /// Of the path between these two addresses, which bounds the send window.
    shortest_rtt: Duration,
    local_ip: Option<IpAddr>,
    source_validated: bool,
    path_changes: u32,
    remote: SocketAddr,
    panic_at: Option<Place>,
}

/// Where a test lets the engine panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Turn,
    Drain,
}

impl Conn {
    /// We ended it, and until its packets have died out a peer that missed it is told again. Who never
    /// answered (UDP is blocked) is owed nothing: waiting would add 3 s to the end of a program.
    fn owes_goodbye(&self) -> bool {
        !self.drained
            && self.reason.as_ref().is_some_and(|reason| !reason.by_peer && reason.kind != Kind::Version)
            && self.proto.stats().udp_rx.datagrams > 0
    }
}

/// What stands in the table for a stream.
struct Stream {
    connection: u32,
    id: StreamId,
    /// We may write.
    sending: bool,
    /// Our FIN is queued and not yet acknowledged.
    finishing: bool,
    /// There may be something to read.
    receiving: bool,
    /// JavaScript wants bytes.
    flowing: bool,
    /// JavaScript has asked for bytes, and not only been given the first few.
    claimed: bool,
    /// JavaScript wants to hear of the acknowledgement.
    watched: bool,
    read_queued: bool,
    write_blocked: bool,
}

impl Stream {
    fn is_done(&self) -> bool {
        !self.sending && !self.finishing && !self.receiving
    }
}

/// The connection that a turn is working on.
struct Current {
    id: u32,
    handle: ConnectionHandle,
    handshake: u32,
    handshaking: bool,
    /// The endpoint has forgotten it, and may have given its handle away.
    drained: bool,
    /// What to report as a failed handshake: JavaScript has not heard of the connection.
    unknown: Option<(SocketAddr, bool)>,
}

impl Current {
    fn of(id: u32, conn: &Conn) -> Self {
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

/// Stream ids are small counters; mixing one multiplication spreads them.
#[derive(Default)]
struct IdHasher(u64);

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

/// Result of opening a stream.
pub enum Open {
    /// The stream's id, and the bytes taken.
    Opened(u32, usize),
    /// The peer's limit is reached: an AVAILABLE record follows.
    Wait,
    /// The connection has ended, or the table is full.
    Closed,
}

pub struct Statistics {
    pub rtt: Duration,
    pub mtu: u16,
    pub congestion_window: u64,
    pub lost_packets: u64,
    pub sent_packets: u64,
    pub congestion_events: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    pub path_changes: u32,
    pub silence: Duration,
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

    // --- the loop's side -------------------------------------------------------------------

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Receive what has come, up to a bound. True when there may be more.
    pub fn receive(&mut self, buffer: &mut ReceiveBuffer) -> bool {
        for _ in 0..RECEIVE_BATCHES {
            let most = if self.handshakes > 0 { HANDSHAKE_MESSAGES } else { BATCH_SIZE };
            let count = match buffer.receive(&self.socket, most) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // ICMP errors of earlier sends arrive here; the next call reads on.
                Err(_) => continue,
            };
            let now = Instant::now();
            for index in 0..count {
                let (meta, bytes) = buffer.message(index);
                let stride = meta.stride.max(1);
                let mut bytes = BytesMut::from(bytes);
                let ecn = meta.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
                while !bytes.is_empty() {
                    let datagram = bytes.split_to(stride.min(bytes.len()));
                    self.outgoing.clear();
                    let event = self.proto.handle(now, meta.addr, meta.dst_ip, ecn, datagram, &mut self.outgoing);
                    match event {
                        None => {}
                        Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                            let id = self.by_handle[handle.0];
                            self.with_connection(id, |engine, conn| {
                                conn.last_received = now;
                                if meta.dst_ip != conn.local_ip {
                                    conn.local_ip = meta.dst_ip;
                                    conn.shortest_rtt = UNKNOWN_RTT;
                                }
                                if conn.server && conn.phase == Phase::Handshake {
                                    engine.hooks.entering(canonical(conn.remote), conn.source_validated);
                                }
                                conn.proto.handle_event(event);
                                engine.tell_pong(id, conn);
                            });
                            self.touch(id);
                        }
                        Some(DatagramEvent::NewConnection(incoming)) => self.first_packet(incoming, now),
                        Some(DatagramEvent::Response(transmit)) => self.send_response(transmit),
                    }
                }
            }
            // A batch that is not full has emptied the socket: asking again would cost a call.
            if count < most {
                return false;
            }
            if most < BATCH_SIZE {
                break;
            }
        }
        true
    }

    fn first_packet(&mut self, incoming: Incoming, now: Instant) {
        let source = canonical(incoming.remote_address());
        let validated = incoming.remote_address_validated();
        let admission = match self.accepting {
            true => {
                self.last_handshake = self.last_handshake.wrapping_add(1);
                self.hooks.admit(source, validated, self.last_handshake)
            }
            false => Admission::Refuse,
        };
        self.outgoing.clear();
        match admission {
            Admission::Accept => self.accept(incoming, now, source, validated),
            Admission::Ignore => self.proto.ignore(incoming),
            Admission::Retry if incoming.may_retry() => {
                if let Ok(transmit) = self.proto.retry(incoming, &mut self.outgoing) {
                    self.send_response(transmit);
                }
            }
            Admission::Retry | Admission::Refuse => {
                let transmit = self.proto.refuse(incoming, &mut self.outgoing);
                self.send_response(transmit);
            }
        }
    }

    fn accept(&mut self, incoming: Incoming, now: Instant, source: SocketAddr, validated: bool) {
        self.hooks.entering(source, validated);
        match self.proto.accept(incoming, now, &mut self.outgoing, self.server.clone()) {
            Ok((handle, proto)) => {
                let transport = self.transport.clone();
                if let Some(id) = self.add(handle, proto, true, &transport, validated, now) {
                    self.touch(id);
                }
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.send_response(transmit);
                }
                self.fail(Failure { handshake: self.last_handshake, source, validated, reason: error.cause.into() });
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failures.push_back(failure);
        self.ready.push_back(Ready::Failed);
    }

    fn add(
        &mut self,
        handle: ConnectionHandle,
        proto: Connection,
        server: bool,
        transport: &Transport,
        source_validated: bool,
        now: Instant,
    ) -> Option<u32> {
        let remote = proto.remote_address();
        let conn = Box::new(Conn {
            handle,
            handshake: if server { self.last_handshake } else { 0 },
            proto,
            server,
            phase: Phase::Handshake,
            drained: false,
            released: false,
            streams: HashMap::default(),
            dirty: false,
            armed: None,
            handshake_deadline: (transport.handshake_timeout > 0)
                .then(|| now + Duration::from_millis(transport.handshake_timeout)),
            keep_alive: Duration::from_millis(transport.keep_alive),
            keep_alive_at: None,
            last_received: now,
            reason: None,
            waiting: [false; 2],
            datagrams_queued: false,
            unacknowledged: 0,
            flushing: false,
            pinged: None,
            stream_ceiling: transport.max_streams,
            send_window: transport.send_window.min(INITIAL_SEND_WINDOW),
            send_window_ceiling: transport.send_window,
            shortest_rtt: UNKNOWN_RTT,
            local_ip: None,
            source_validated,
            path_changes: 0,
            remote,
            panic_at: None,
        });
        let id = self.connections.insert_with(|_| conn);
        let Some(id) = id else {
            // Cannot be reached below four million connections; forget it as if it had never been.
            self.proto.handle_event(handle, EndpointEvent::drained());
            return None;
        };
        if self.by_handle.len() <= handle.0 {
            self.by_handle.resize(handle.0 + 1, 0);
        }
        self.by_handle[handle.0] = id;
        if server {
            self.handshaking.insert(self.last_handshake, id);
        }
        self.handshakes += 1;
        Some(id)
    }

    /// Fire timers, and turn what came into events for JavaScript. Nothing is sent: what JavaScript
    /// answers may go in the same packet as the acknowledgement.
    pub fn digest(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.with_connection(id, |engine, conn| {
                conn.armed = None;
                engine.on_deadline(id, conn, now);
            });
            self.touch(id);
        }
        for at in 0..self.dirty.len() {
            let id = self.dirty[at];
            self.with_connection(id, |engine, conn| {
                let handshaking = conn.phase == Phase::Handshake;
                engine.events(id, conn);
                // The last flight of a handshake must not wait: a close by JavaScript would replace it.
                if handshaking && conn.phase == Phase::Connected && engine.blocked.is_none() {
                    engine.send(conn, now);
                }
            });
        }
    }

    /// Send what connections have to send. Returns true when there is more to do at once.
    pub fn transmit(&mut self, now: Instant) -> bool {
        self.flush_blocked();
        for _ in 0..self.dirty.len() {
            let Some(id) = self.dirty.pop_front() else { break };
            let mut more = false;
            self.with_connection(id, |engine, conn| {
                conn.dirty = false;
                more = engine.process(id, conn, now);
            });
            if more {
                self.touch(id);
            }
            self.reap(id);
        }
        if self.closing && !self.connections.values().any(|conn| conn.phase != Phase::Closed || conn.owes_goodbye()) {
            self.closing = false;
            self.ready.push_back(Ready::Connection(record::DRAINED, 0, 0, 0));
        }
        !self.dirty.is_empty() && self.blocked.is_none()
    }

    fn on_deadline(&mut self, id: u32, conn: &mut Conn, now: Instant) {
        if conn.proto.poll_timeout().is_some_and(|at| at <= now) {
            conn.proto.handle_timeout(now);
        }
        if conn.handshake_deadline.is_some_and(|at| at <= now) {
            conn.handshake_deadline = None;
            conn.proto.close(now, VarInt::from_u32(0), Bytes::new());
            self.lost(id, conn, Reason::of(Kind::Timeout, "handshake time passed"));
        }
        if conn.keep_alive_at.is_some_and(|at| at <= now) {
            conn.keep_alive_at = None;
            if conn.phase == Phase::Connected && !conn.streams.is_empty() && now >= conn.last_received + conn.keep_alive
            {
                conn.proto.ping();
            }
        }
    }

    /// True when the connection has more to send than its share of a turn.
    fn process(&mut self, id: u32, conn: &mut Conn, now: Instant) -> bool {
        assert!(conn.panic_at != Some(Place::Turn), "injected");
        let mut more = false;
        loop {
            let progress = self.events(id, conn);
            if !conn.drained {
                // Behind a full socket it keeps its place in the queue.
                more = self.blocked.is_some() || self.send(conn, now);
            }
            if !progress {
                break;
            }
        }
        self.arm(id, conn, now);
        more
    }

    /// Pass on what the connection says, to the endpoint and to JavaScript. False: it said nothing.
    fn events(&mut self, id: u32, conn: &mut Conn) -> bool {
        let mut progress = false;
        while let Some(event) = conn.proto.poll_endpoint_events() {
            progress = true;
            if conn.drained {
                continue;
            }
            conn.drained = event.is_drained();
            if let (true, Some(current)) = (conn.drained, &mut self.current) {
                current.drained = true;
            }
            if let Some(event) = self.proto.handle_event(conn.handle, event) {
                conn.proto.handle_event(event);
            }
        }
        while let Some(event) = conn.proto.poll() {
            progress = true;
            self.on_event(id, conn, event);
        }
        let remote = conn.proto.remote_address();
        if remote != conn.remote {
            conn.remote = remote;
            conn.path_changes += 1;
            conn.shortest_rtt = UNKNOWN_RTT;
        }
        progress
    }

    fn send(&mut self, conn: &mut Conn, now: Instant) -> bool {
        // A GSO batch is one UDP message to the kernel: above 64 KiB it is refused whole.
        let segments = self.socket.max_segments().min(SEGMENTS).min(MAX_BATCH / conn.proto.current_mtu() as usize);
        for _ in 0..TRANSMITS {
            self.outgoing.clear();
            let Some(transmit) = conn.proto.poll_transmit(now, segments, &mut self.outgoing) else {
                return false;
            };
            if !self.send_now(&transmit) {
                let contents = std::mem::take(&mut self.outgoing);
                self.blocked = Some((transmit, contents));
                return true;
            }
        }
        true
    }

    /// False when the socket is full. Any other failure is a lost datagram.
    fn send_now(&mut self, transmit: &Transmit) -> bool {
        match self.socket.send(transmit, &self.outgoing[..transmit.size]) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.send_errors.0 += 1;
                self.send_errors.1 = Some(error);
                true
            }
        }
    }

    fn send_response(&mut self, transmit: Transmit) {
        // A full socket drops it: whoever asked asks again.
        let _ = self.send_now(&transmit);
    }

    fn flush_blocked(&mut self) {
        if let Some((transmit, contents)) = self.blocked.take() {
            let spare = std::mem::replace(&mut self.outgoing, contents);
            if !self.send_now(&transmit) {
                let contents = std::mem::replace(&mut self.outgoing, spare);
                self.blocked = Some((transmit, contents));
            }
        }
    }

    /// The socket is full: the loop should tell when it takes datagrams again.
    pub fn wants_write(&self) -> bool {
        self.blocked.is_some()
    }

    fn arm(&mut self, id: u32, conn: &mut Conn, now: Instant) {
        let mut at = if conn.drained { None } else { conn.proto.poll_timeout() };
        let mut sooner = |other: Option<Instant>| {
            if let Some(other) = other {
                at = Some(at.map_or(other, |at| at.min(other)));
            }
        };
        sooner(conn.handshake_deadline);
        if conn.keep_alive > Duration::ZERO && conn.phase == Phase::Connected && !conn.streams.is_empty() {
            let due = conn.last_received + conn.keep_alive;
            let due = if due > now { due } else { now + conn.keep_alive };
            sooner(Some(*conn.keep_alive_at.get_or_insert(due)));
        }
        if conn.armed == at {
            return;
        }
        if let Some(before) = conn.armed {
            self.timers.remove(&(before, id));
        }
        if let Some(at) = at {
            self.timers.insert((at, id));
        }
        conn.armed = at;
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
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

    // --- events ------------------------------------------------------------------------------

    fn on_event(&mut self, id: u32, conn: &mut Conn, event: Event) {
        match event {
            Event::HandshakeDataReady => {}
            Event::Connected => {
                conn.phase = Phase::Connected;
                conn.handshake_deadline = None;
                self.handshaking.remove(&conn.handshake);
                self.handshake_over(true);
                self.ready.push_back(Ready::Connection(record::CONNECTED, id, conn.server.into(), conn.handshake));
            }
            Event::ConnectionLost { reason } => self.lost(id, conn, reason.into()),
            Event::DatagramReceived => {
                if !conn.datagrams_queued {
                    conn.datagrams_queued = true;
                    self.ready.push_back(Ready::Datagrams(id));
                }
            }
            Event::DatagramsUnblocked => {}
            Event::Stream(event) => self.on_stream_event(id, conn, event),
        }
    }

    fn on_stream_event(&mut self, connection: u32, conn: &mut Conn, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => self.ready.push_back(Ready::Accept(connection, dir)),
            StreamEvent::Available { dir } => {
                if std::mem::take(&mut conn.waiting[dir as usize]) {
                    let unidirectional = u32::from(dir == Dir::Uni);
                    self.ready.push_back(Ready::Connection(record::AVAILABLE, connection, unidirectional, 0));
                }
            }
            StreamEvent::Readable { id } => {
                if let Some(&stream) = conn.streams.get(&id) {
                    self.queue_read(stream);
                }
            }
            StreamEvent::Writable { id } => {
                let Some(&stream) = conn.streams.get(&id) else { return };
                let Some(entry) = self.streams.get_mut(stream) else { return };
                if std::mem::take(&mut entry.write_blocked) {
                    self.ready.push_back(Ready::Stream(record::WRITABLE, stream, 0));
                }
                // An acknowledgement made room: let the window follow the path's capacity.
                conn.shortest_rtt = conn.shortest_rtt.min(conn.proto.rtt());
                let congestion_window = conn.proto.congestion_state().window();
                let window = send_window(congestion_window, conn.shortest_rtt, conn.send_window_ceiling);
                if window > conn.send_window {
                    conn.send_window = window;
                    conn.proto.set_send_window(window);
                }
            }
            StreamEvent::Finished { id } => {
                let Some(&stream) = conn.streams.get(&id) else { return };
                let Some(entry) = self.streams.get_mut(stream) else { return };
                entry.finishing = false;
                conn.unacknowledged -= 1;
                if entry.watched {
                    self.ready.push_back(Ready::Stream(record::FINISHED, stream, 0));
                } else if entry.is_done() {
                    self.streams.remove(stream);
                    conn.streams.remove(&id);
                }
                self.tell_flushed(connection, conn);
            }
            StreamEvent::Stopped { id, error_code } => {
                // A stream that is not accepted yet is asked when it is.
                let Some(&stream) = conn.streams.get(&id) else { return };
                // RFC 9000 §3.5: STOP_SENDING is answered with RESET_STREAM.
                let _ = conn.proto.send_stream(id).reset(error_code);
                let Some(entry) = self.streams.get_mut(stream) else { return };
                entry.sending = false;
                if std::mem::take(&mut entry.finishing) {
                    conn.unacknowledged -= 1;
                }
                self.ready.push_back(Ready::Stream(record::STOPPED, stream, error_code.into_inner()));
                self.tell_flushed(connection, conn);
            }
        }
    }

    /// Somebody waits until all that was ended is acknowledged, and it is.
    fn tell_flushed(&mut self, id: u32, conn: &mut Conn) {
        if conn.unacknowledged == 0 && std::mem::take(&mut conn.flushing) {
            self.ready.push_back(Ready::Connection(record::FLUSHED, id, 0, 0));
        }
    }

    /// What decrypts and acknowledges is the peer's, and not anybody's.
    fn tell_pong(&mut self, id: u32, conn: &mut Conn) {
        if conn.pinged.is_some_and(|acks| conn.proto.stats().frame_rx.acks > acks) {
            conn.pinged = None;
            self.ready.push_back(Ready::Connection(record::PONG, id, 0, 0));
        }
    }

    /// Also in what a panic would find.
    fn handshake_over(&mut self, connected: bool) {
        self.handshakes -= 1;
        if let Some(current) = &mut self.current {
            current.handshaking = false;
            if connected {
                current.unknown = None;
            }
        }
    }

    fn lost(&mut self, id: u32, conn: &mut Conn, reason: Reason) {
        if conn.phase == Phase::Closed {
            return;
        }
        let handshaking = conn.phase == Phase::Handshake;
        conn.phase = Phase::Closed;
        conn.handshake_deadline = None;
        if handshaking {
            self.handshaking.remove(&conn.handshake);
            self.handshake_over(false);
        }
        if handshaking && conn.server {
            let answered = conn
                .proto
                .crypto_session()
                .handshake_data()
                .and_then(|data| data.downcast::<HelloData>().ok())
                .is_some_and(|data| data.answered);
            conn.released = true;
            self.fail(Failure {
                handshake: conn.handshake,
                source: canonical(conn.remote),
                validated: conn.source_validated || answered,
                reason,
            });
            return;
        }
        let (a, b) = reason.short().unwrap_or_default();
        conn.reason = Some(reason);
        self.ready.push_back(Ready::Connection(record::CLOSED, id, a, b));
        // What has come stays readable; a stream learns of the end when it has read all.
        let streams: Vec<u32> = conn.streams.values().copied().collect();
        for stream in streams {
            self.queue_read(stream);
        }
    }

    fn queue_read(&mut self, stream: u32) {
        if let Some(entry) = self.streams.get_mut(stream)
            && entry.flowing
            && entry.receiving
            && !entry.read_queued
        {
            entry.read_queued = true;
            self.ready.push_back(Ready::Read(stream));
        }
    }

    /// Forget the connection once the endpoint, JavaScript and every stream have.
    fn reap(&mut self, id: u32) {
        if let Some(conn) = self.connections.get(id)
            && conn.drained
            && conn.released
            && conn.streams.is_empty()
        {
            let at = conn.armed;
            self.connections.remove(id);
            if let Some(at) = at {
                self.timers.remove(&(at, id));
            }
        }
    }

    fn forget_stream(&mut self, stream: u32) {
        let Some(entry) = self.streams.remove(stream) else { return };
        if let Some(conn) = self.connections.get_mut(entry.connection) {
            conn.streams.remove(&entry.id);
        }
        self.reap(entry.connection);
    }

    // --- JavaScript's side -------------------------------------------------------------------

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
        let mut length = 0;
        let mut end = End::Blocked;
        let mut transmit = false;
        match conn.proto.recv_stream(id).read(true) {
            Ok(mut chunks) => {
                loop {
                    if length == budget {
                        end = End::More;
                        break;
                    }
                    match chunks.next(budget - length) {
                        Ok(Some(chunk)) => {
                            let at = start + length;
                            batch.large[at..at + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                            length += chunk.bytes.len();
                        }
                        Ok(None) => {
                            end = End::Fin;
                            break;
                        }
                        Err(ReadError::Blocked) => break,
                        Err(ReadError::Reset(code)) => {
                            end = End::Reset(code.into_inner());
                            break;
                        }
                    }
                }
                transmit = chunks.finalize().should_transmit();
            }
            Err(ReadableError::ClosedStream) => end = End::Gone,
            Err(ReadableError::IllegalOrderedRead) => unreachable!("every read is ordered"),
        }
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
            End::Blocked => true,
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

    pub fn connect(
        &mut self,
        mut config: ClientConfig,
        transport: Option<Transport>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<u32, String> {
        let now = Instant::now();
        let (transport, transport_config) = match transport {
            Some(transport) => {
                let config = transport.config();
                (transport, config)
            }
            None => (self.transport.clone(), self.transport_config.clone()),
        };
        config.transport_config(transport_config);
        let remote = self.socket.destination(remote).map_err(|error| error.to_string())?;
        let (handle, proto) =
            self.proto.connect(now, config, remote, server_name).map_err(|error| error.to_string())?;
        let id = self.add(handle, proto, false, &transport, true, now).ok_or("too many connections")?;
        self.touch(id);
        Ok(id)
    }

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

    /// Have the peer answer, and tell by PONG of the first acknowledgement from now on. False: the connection
    /// has ended.
    pub fn ping(&mut self, id: u32) -> bool {
        let Some(conn) = self.connections.get_mut(id) else { return false };
        if conn.phase != Phase::Connected {
            return false;
        }
        conn.proto.ping();
        let acks = conn.proto.stats().frame_rx.acks;
        conn.pinged.get_or_insert(acks);
        self.touch(id);
        true
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

    pub fn send_datagram(&mut self, id: u32, data: &[u8]) -> bool {
        let Some(conn) = self.connections.get_mut(id) else { return false };
        if conn.phase != Phase::Connected {
            return false;
        }
        let sent = conn.proto.datagrams().send(Bytes::copy_from_slice(data), false).is_ok();
        if sent {
            self.touch(id);
        }
        sent
    }

    pub fn max_datagram(&mut self, id: u32) -> usize {
        match self.connections.get_mut(id) {
            Some(conn) if conn.phase == Phase::Connected => conn.proto.datagrams().max_size().unwrap_or(0),
            _ => 0,
        }
    }

    pub fn set_limits(&mut self, id: u32, streams: Option<u64>, receive: Option<u64>, send: Option<u64>) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if let Some(ceiling) = streams {
            conn.stream_ceiling = ceiling;
            for dir in [Dir::Bi, Dir::Uni] {
                let limit = conn.proto.max_concurrent_streams(dir);
                // From nothing there is no use that the limit could follow.
                if limit == 0 && ceiling > 0 {
                    conn.proto.set_max_concurrent_streams(
                        dir,
                        VarInt::from_u64(ceiling.min(FIRST_STREAMS)).unwrap_or(VarInt::MAX),
                    );
                }
                if limit > ceiling {
                    conn.proto.set_max_concurrent_streams(dir, VarInt::from_u64(ceiling).unwrap_or(VarInt::MAX));
                }
            }
        }
        if let Some(window) = receive {
            conn.proto.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        }
        if let Some(window) = send {
            conn.send_window_ceiling = window;
            if conn.send_window > window {
                conn.send_window = window;
                conn.proto.set_send_window(window);
            }
        }
        self.touch(id);
    }

    pub fn close(&mut self, id: u32, code: u64, text: &[u8]) {
        self.end(id, code, text, Reason::local(code, text));
    }

    /// JavaScript lost the connection without closing it.
    pub fn drop_connection(&mut self, id: u32) {
        self.end(id, 0, b"", Reason::of(Kind::Dropped, "collected without having been closed"));
    }

    fn end(&mut self, id: u32, code: u64, text: &[u8], reason: Reason) {
        let now = Instant::now();
        self.with_connection(id, |engine, conn| {
            if conn.phase != Phase::Closed {
                let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
                conn.proto.close(now, code, Bytes::copy_from_slice(text));
                engine.lost(id, conn, reason);
            }
        });
        self.forget_streams(id);
        self.touch(id);
    }

    /// Drop what the peer sent and nobody read: the connection was ended here.
    fn forget_streams(&mut self, id: u32) {
        for stream in self.stream_ids(id) {
            self.streams.remove(stream);
        }
        if let Some(conn) = self.connections.get_mut(id) {
            conn.streams.clear();
        }
    }

    /// JavaScript is done with a connection that has ended.
    pub fn release(&mut self, id: u32) {
        self.forget_streams(id);
        match self.connections.get_mut(id) {
            Some(conn) => conn.released = true,
            // Lost in a panic: only its place is left.
            None => drop(self.connections.remove(id)),
        }
        self.reap(id);
    }

    /// End a handshake that was admitted, to make room. The client gets no answer: its address may be
    /// forged, and what it holds here is freed at once.
    pub fn drop_handshake(&mut self, handshake: u32) {
        let Some(id) = self.handshaking.remove(&handshake) else { return };
        let Some(conn) = self.connections.get(id) else { return };
        if conn.phase != Phase::Handshake {
            return;
        }
        let (handle, armed, drained) = (conn.handle, conn.armed, conn.drained);
        if let Some(at) = armed {
            self.timers.remove(&(at, id));
        }
        if !drained {
            self.proto.handle_event(handle, EndpointEvent::drained());
        }
        self.connections.remove(id);
        self.handshakes -= 1;
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

    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failures.pop_front()
    }

    pub fn close_reason(&self, id: u32) -> Option<&Reason> {
        self.connections.get(id)?.reason.as_ref()
    }

    pub fn connection(&self, id: u32) -> Option<&Connection> {
        self.connections.get(id).map(|conn| &conn.proto)
    }

    pub fn statistics(&self, id: u32) -> Option<Statistics> {
        let conn = self.connections.get(id)?;
        let stats = conn.proto.stats();
        Some(Statistics {
            rtt: stats.path.rtt,
            mtu: stats.path.current_mtu,
            congestion_window: stats.path.cwnd,
            lost_packets: stats.path.lost_packets,
            sent_packets: stats.path.sent_packets,
            congestion_events: stats.path.congestion_events,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            datagrams_sent: stats.udp_tx.datagrams,
            datagrams_received: stats.udp_rx.datagrams,
            path_changes: conn.path_changes,
            silence: conn.last_received.elapsed(),
        })
    }

    /// (connections known, handshakes under way, streams, connections of quinn-proto)
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        (self.connections.len(), self.handshakes, self.streams.len(), self.proto.open_connections())
    }

    pub fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    /// Every connection probes its path anew.
    pub fn address_changed(&mut self) {
        for id in self.connections.ids() {
            if let Some(conn) = self.connections.get_mut(id)
                && !conn.server
                && conn.phase == Phase::Connected
            {
                conn.proto.local_address_changed();
                self.touch(id);
            }
        }
    }

    pub fn rebind(&mut self, socket: Socket) -> Socket {
        let before = std::mem::replace(&mut self.socket, socket);
        self.blocked = None;
        self.address_changed();
        before
    }

    pub fn close_all(&mut self, code: u64, text: &[u8]) {
        self.accepting = false;
        self.closing = true;
        for id in self.connections.ids() {
            self.close(id, code, text);
        }
    }

    /// For tests of the boundary: panic as a fault in the protocol code would.
    pub fn inject_panic(&mut self, id: u32, place: Place) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.panic_at = Some(place);
        }
        self.touch(id);
    }
}

/// Bytes to buffer for a path, so that it never waits for us.
fn send_window(congestion_window: u64, shortest_rtt: Duration, ceiling: u64) -> u64 {
    let useful = (shortest_rtt.as_nanos() as u64).saturating_mul(FASTEST);
    congestion_window.saturating_mul(2).min(useful).min(ceiling)
}

/// Why reading stopped.
enum End {
    Blocked,
    More,
    Fin,
    Reset(u64),
    Gone,
}

/// Records and bytes of one crossing to JavaScript.
struct Batch<'a> {
    records: &'a mut [u32],
    count: usize,
    large: &'a mut [u8],
    large_at: usize,
    small: &'a mut [u8],
    small_at: usize,
    /// What comes next wants a fresh slab.
    full: bool,
}

/// Longest payload of a datagram (RFC 9221), which is that of a UDP packet.
const MAX_DATAGRAM: usize = 65_535;

impl Batch<'_> {
    /// Room for two records and a small read, the most that one step takes at least.
    fn has_room(&self) -> bool {
        !self.full
            && (self.count + 2) * 4 <= self.records.len()
            && self.large.len() - self.large_at >= 2 * SMALL_READ
            && self.small.len() - self.small_at >= SMALL_READ
    }

    /// Room for any datagram, or an empty batch: no slab would ever be large enough for who gives such.
    fn has_room_for_datagram(&self) -> bool {
        self.has_room() && (self.count == 0 || self.large.len() - self.large_at >= MAX_DATAGRAM)
    }

    fn push(&mut self, kind: u32, id: u32, a: u32, b: u32) {
        let at = self.count * 4;
        self.records[at..at + 4].copy_from_slice(&[kind, id, a, b]);
        self.count += 1;
    }

    /// Slab for `length` bytes, the offset in it, and its flag.
    fn room_for(&mut self, length: usize) -> (&mut [u8], usize, u32) {
        match length <= SMALL_READ {
            true => (&mut self.small[self.small_at..], self.small_at, record::SMALL),
            false => (&mut self.large[self.large_at..], self.large_at, 0),
        }
    }

    fn advance(&mut self, length: usize, flag: u32) {
        // Views start at multiples of 8, as typed arrays over them may need.
        let length = length.next_multiple_of(8);
        match flag {
            record::SMALL => self.small_at = (self.small_at + length).min(self.small.len()),
            _ => self.large_at = (self.large_at + length).min(self.large.len()),
        }
    }

    /// Keep `length` bytes that stand at the front of the large slab's rest; small ones move.
    fn keep(&mut self, length: usize) -> (usize, u32) {
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

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
