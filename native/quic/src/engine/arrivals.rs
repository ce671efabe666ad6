//! Datagrams in: to their connection, or to a first packet's decision.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, EndpointEvent, Incoming};

use super::connection::{Conn, Phase};
use super::transport::{INITIAL_SEND_WINDOW, Transport, UNKNOWN_RTT};
use super::{Admission, Engine, Failure, Ready};
use crate::socket::{BATCH_SIZE, ReceiveBuffer, canonical};

/// Receive batches of a turn, each of up to 32 messages: JavaScript gets its turn even under a flood.
const RECEIVE_BATCHES: usize = 4;
/// Datagrams of a turn, after which no further batch is received: what they bring has to be read before there is
/// too much of it behind a hole (`holes`).
const RECEIVE_DATAGRAMS: usize = 512;
/// Messages of a turn while there are handshakes: a message of theirs is a tenth of a millisecond of work, and
/// the peer waits for the answer to the first one.
const HANDSHAKE_MESSAGES: usize = 4;

impl Engine {
    /// Receive what has come, up to a bound. True when there may be more.
    pub fn receive(&mut self, buffer: &mut ReceiveBuffer) -> bool {
        let mut datagrams = 0;
        for _ in 0..RECEIVE_BATCHES {
            let most = if self.handshakes > 0 { HANDSHAKE_MESSAGES } else { BATCH_SIZE };
            let count = match buffer.receive(&self.socket, most) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // What ICMP tells of earlier sends fails one call; the next one reads on.
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
                    datagrams += 1;
                    self.outgoing.clear();
                    let event = self.proto.handle(now, meta.addr, meta.dst_ip, ecn, datagram, &mut self.outgoing);
                    match event {
                        None => {}
                        Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                            let id = self.by_handle[handle.0];
                            self.with_connection(id, |engine, conn| {
                                conn.last_received = now;
                                conn.suspicion = None;
                                if meta.dst_ip != conn.local_ip {
                                    conn.local_ip = meta.dst_ip;
                                    conn.shortest_rtt = UNKNOWN_RTT;
                                }
                                if conn.server && conn.phase == Phase::Handshake {
                                    engine.hooks.entering(canonical(conn.remote), conn.source_validated);
                                }
                                conn.proto.handle_event(event);
                                conn.received += 1;
                                if conn.received >= conn.look_at {
                                    engine.look_at_holes(conn);
                                }
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
            if most < BATCH_SIZE || datagrams >= RECEIVE_DATAGRAMS {
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

    pub(super) fn add(
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
            suspicion: None,
            suspected: None,
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
            received: 0,
            holes: Vec::new(),
            look_at: u64::MAX,
            held: 0,
            receive_window: transport.receive_window,
            stream_receive_window: transport.stream_receive_window,
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
        self.by_remote.insert((canonical(remote), id));
        if server {
            self.handshaking.insert(self.last_handshake, id);
        }
        self.handshakes += 1;
        Some(id)
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.failures.push_back(failure);
        self.ready.push_back(Ready::Failed);
    }
}
