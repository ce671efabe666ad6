//! ICMP says that nobody listens at the peer's port: a hint, since anybody can forge it, and a firewall or a NAT
//! that has forgotten a mapping says the same of a peer that lives.
//!
//! So it ends a connection only where it is believed (RFC 9000 §14.2.1, RFC 5927 §4):
//!
//! 1. It names the address where the peer is now. A connection is asked whether it lives, by a PING; a dial asks
//!    anyway, by its retransmission after 1 s (RFC 9002 §6.2.2). From then on it is noted what is sent.
//! 2. It comes again, and quotes what was sent since: who cannot see our packets cannot know that.
//! 3. Nothing comes from the peer. Any packet of its clears the suspicion.
//!
//! What is forged off the path costs a PING a second at most, and ends nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::VarInt;

use super::Engine;
use super::connection::{Conn, Phase};
use crate::icmp::{Quote, Unreachable, quote};
use crate::reason::{Kind, Reason};
use crate::socket::canonical;

/// Errors of a turn; the others wait in the kernel, which bounds them.
const ERRORS: usize = 64;
/// Connections with one remote address that one error is told.
const TOLD: usize = 64;
/// Of a connection, one in so long.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// A peer that lives is heard from in a few round trips (RFC 9000 §10.1 has three probe timeouts), but a firewall
/// that is loaded anew may take a moment.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// What came while this loop was busy waits in the socket: it is read before anything is ended.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// So many datagrams, the last ones, are known again.
const NOTED: usize = 8;

pub(super) struct Suspicion {
    since: Instant,
    pub(super) sent: [Quote; NOTED],
    /// Noted so far.
    count: usize,
    /// The connection ends then. `None`: the hint is not believed.
    pub(super) ends: Option<Instant>,
    /// That time has come.
    due: bool,
}

impl Suspicion {
    fn new(since: Instant) -> Self {
        Self { since, sent: [Quote::default(); NOTED], count: 0, ends: None, due: false }
    }

    /// A datagram, or several of one size, has been sent.
    pub(super) fn note(&mut self, datagrams: &[u8]) {
        if let Some(quote) = quote(datagrams) {
            self.sent[self.count % NOTED] = quote;
            self.count += 1;
        }
    }

    fn knows(&self, quote: &Quote) -> bool {
        self.sent[..self.count.min(NOTED)].contains(quote)
    }
}

impl Conn {
    /// True: there is something to send, or to wait for.
    fn suspect(&mut self, told: &Unreachable, now: Instant) -> bool {
        // Until its handshake is complete the address of a client may be anybody's.
        if self.phase == Phase::Closed || self.server && self.phase == Phase::Handshake {
            return false;
        }
        if let Some(mut suspicion) = self.suspicion.take() {
            let believed = suspicion.ends.is_none() && told.quote.is_some_and(|quote| suspicion.knows(&quote));
            if believed {
                suspicion.ends = self.patience_ends(suspicion.since);
            }
            self.suspicion = Some(suspicion);
            return believed;
        }
        if self.suspected.is_some_and(|at| now < at + INTERVAL) {
            return false;
        }
        self.suspected = Some(now);
        self.suspicion = Some(Box::new(Suspicion::new(now)));
        if self.phase == Phase::Connected {
            self.proto.ping();
        }
        true
    }

    /// Until when the peer that is suspected since then has to be heard from. `None`: as long as the idle time lets it.
    fn patience_ends(&self, since: Instant) -> Option<Instant> {
        if self.unanswered() {
            return Some(since);
        }
        // As `probe()` of the TypeScript has it: the variation of RFC 9002 §5.3, the latest acknowledgement.
        let probe_timeout = 3 * self.proto.rtt() + Duration::from_millis(25);
        let patience = PATIENCE.max(3 * probe_timeout);
        if !self.server {
            // Servers do not move (RFC 9000 §9).
            return Some(since + patience);
        }
        // A client behind a NAT that has forgotten it is found again by its own next packet. With a stream open it
        // sends one within this time, if it has the same settings.
        let silence = (self.keep_alive > Duration::ZERO).then_some(self.keep_alive)?;
        Some(since.max(self.last_received + silence) + patience)
    }

    /// A dial of which nothing has come back yet.
    fn unanswered(&self) -> bool {
        !self.server && self.phase == Phase::Handshake && self.received == 0
    }
}

impl Engine {
    /// Read what ICMP has told, up to a bound.
    pub fn hear(&mut self) {
        for _ in 0..ERRORS {
            match self.socket.next_unreachable() {
                Ok(Some(unreachable)) => self.unreachable(&unreachable, Instant::now()),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    pub(super) fn unreachable(&mut self, told: &Unreachable, now: Instant) {
        let remote = canonical(told.destination);
        let known = self.by_remote.range((remote, 0)..=(remote, u32::MAX));
        let ids: Vec<u32> = known.take(TOLD).map(|&(_, id)| id).collect();
        for id in ids {
            let mut changed = false;
            self.with_connection(id, |_, conn| changed = conn.suspect(told, now));
            if changed {
                self.touch(id);
            }
        }
    }

    /// Nothing came, and the time for it is over.
    pub(super) fn end_if_unreachable(&mut self, id: u32, conn: &mut Conn, now: Instant) {
        let unanswered = conn.unanswered();
        let Some(suspicion) = &mut conn.suspicion else { return };
        if suspicion.ends.is_none_or(|at| at > now) {
            return;
        }
        if !std::mem::replace(&mut suspicion.due, true) {
            suspicion.ends = Some(now + LAST_LOOK);
            return;
        }
        conn.suspicion = None;
        conn.proto.close(now, VarInt::from_u32(0), Bytes::new());
        let text = match unanswered {
            true => "nothing listens on that UDP port",
            false => "the peer is gone: nothing listens on its UDP port any more",
        };
        self.lost(id, conn, Reason::of(Kind::Unreachable, text));
    }
}
