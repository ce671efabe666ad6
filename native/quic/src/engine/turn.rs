//! Timers, and datagrams out.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{Transmit, VarInt};

use super::connection::{Conn, Phase, Place};
use super::transport::UNKNOWN_RTT;
use super::{Engine, Ready, record};
use crate::reason::{Kind, Reason};
use crate::socket::canonical;

/// Transmits (each a GSO batch) of one connection before the next one has its turn.
const TRANSMITS: usize = 8;
/// Datagrams of one GSO batch, and its most bytes.
const SEGMENTS: usize = 16;
const MAX_BATCH: usize = 65_000;

impl Engine {
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
        self.end_if_unreachable(id, conn, now);
        if conn.keep_alive_at.is_some_and(|at| at <= now) {
            conn.keep_alive_at = None;
            if conn.phase == Phase::Connected && !conn.streams.is_empty() && now >= conn.last_received + conn.keep_alive
            {
                conn.proto.ping();
            }
        }
    }

    /// True when the connection has more to send than its share of a turn.
    pub(super) fn process(&mut self, id: u32, conn: &mut Conn, now: Instant) -> bool {
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
            self.by_remote.remove(&(canonical(conn.remote), id));
            self.by_remote.insert((canonical(remote), id));
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
            if let Some(suspicion) = &mut conn.suspicion {
                suspicion.note(&self.outgoing);
            }
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

    pub(super) fn send_response(&mut self, transmit: Transmit) {
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
        sooner(conn.suspicion.as_ref().and_then(|suspicion| suspicion.ends));
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
}
