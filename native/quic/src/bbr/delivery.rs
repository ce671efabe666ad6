//! How fast a path delivers: the samples of draft-ietf-ccwg-bbr §4.1.
//!
//! A controller is told when packets were sent and how long they are, and not which ones. So what was known at a
//! send is kept by its time, and packets sent close together share an entry: what comes of it is a sample over a
//! slightly longer stretch, at the same rate.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Entries of one round trip, and of all that are kept: what is older gives no sample.
const SENDS_OF_A_ROUND: u32 = 256;
const SENDS: usize = 1_024;

/// What was known when something was sent. Counts are bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Send {
    sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    app_limited: bool,
    /// In flight, with what was sent.
    pub in_flight: u64,
}

/// What a batch of acknowledgements tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Bytes in a second; none if the stretch was too short to tell.
    pub rate: Option<f64>,
    /// The application gave less than the window allowed: the path may carry more.
    pub app_limited: bool,
    /// Of the packet sent last, acknowledgement delay included.
    pub rtt: Duration,
    /// Bytes of this batch.
    pub acked: u64,
    /// What had been delivered when that packet was sent.
    pub delivered_before: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// All that was ever acknowledged, and when the last of it was.
    delivered: u64,
    delivered_at: Instant,
    /// When what starts the next stretch was sent.
    first_sent: Instant,
    in_flight: u64,
    /// What is sent until this much is delivered was limited by the application.
    app_limited_until: Option<u64>,
    sends: VecDeque<Send>,
    /// Of the batch in hand: bytes, and the packet sent last.
    acked: u64,
    newest: Option<(Instant, Send)>,
}

impl Delivery {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            in_flight: 0,
            app_limited_until: None,
            sends: VecDeque::new(),
            acked: 0,
            newest: None,
        }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, rtt: Duration) {
        let fresh = self.in_flight == 0;
        if fresh {
            self.first_sent = now;
            self.delivered_at = now;
        }
        self.in_flight += bytes;
        if !fresh && self.sends.back().is_some_and(|last| now < last.sent + rtt / SENDS_OF_A_ROUND) {
            return;
        }
        if self.sends.len() == SENDS {
            self.sends.pop_front();
        }
        self.sends.push_back(Send {
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            app_limited: self.app_limited_until.is_some(),
            in_flight: self.in_flight,
        });
    }

    /// What was known when a packet was sent, or a moment before it was.
    pub(super) fn at(&self, sent: Instant) -> Option<Send> {
        let behind = self.sends.partition_point(|send| send.sent <= sent);
        self.sends.get(behind.checked_sub(1)?).copied()
    }

    pub(super) fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
        self.acked += bytes;
        if self.newest.is_none_or(|(newest, _)| sent > newest)
            && let Some(send) = self.at(sent)
        {
            self.newest = Some((sent, send));
        }
    }

    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    /// The batch is complete. `in_flight` is what it leaves; a stretch shorter than `shortest` is no measure.
    pub(super) fn end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        shortest: Duration,
    ) -> Option<Sample> {
        self.in_flight = in_flight;
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        if app_limited {
            self.app_limited_until = Some(self.delivered + in_flight);
        }
        let acked = std::mem::take(&mut self.acked);
        let (sent, send) = self.newest.take()?;
        // Sent faster than it was acknowledged, or the other way round: the slower of both is true.
        let interval = (sent - send.first_sent).max(now - send.delivered_at);
        self.first_sent = sent;
        let rtt = now - sent;
        // Nothing sent so long before what has just been acknowledged gives a sample any more.
        while self.sends.get(1).is_some_and(|next| next.sent + 2 * rtt < sent) {
            self.sends.pop_front();
        }
        let measured = interval >= shortest && interval > Duration::ZERO;
        Some(Sample {
            rate: measured.then(|| (self.delivered - send.delivered) as f64 / interval.as_secs_f64()),
            app_limited: send.app_limited,
            rtt,
            acked,
            delivered_before: send.delivered,
        })
    }
}
