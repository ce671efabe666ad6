//! BBR: the window follows a model of the path, its bandwidth and its shortest round trip, and not single losses.
//!
//! After draft-ietf-ccwg-bbr (BBRv3), of which this is the half that quinn-proto has room for: its pacer sends
//! 1.25 windows in a round trip whatever a controller would like, so that all is said by the window. Where the
//! draft paces at the bandwidth, the window here is what is in flight at that rate: the bandwidth times the round
//! trip as it is, of which what is above the shortest counts by [`YIELD`], so that a queue of our own drains.
//!
//! Losses count as congestion only if they are many and a queue is to be seen in the round trips, or if they are
//! very many: those of a radio do not slow it down, those of a short queue do.
//!
//! Windows are bytes, rates bytes in a second.

mod delivery;
mod filters;
#[cfg(test)]
mod line;
#[cfg(test)]
mod tests;

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::delivery::{Delivery, Sample};
use self::filters::{Largest, ShortestRtt};

/// Ten full datagrams of the smallest MTU, RFC 9002 §7.2.
const INITIAL_WINDOW: u64 = 12_000;
/// Packets that are in flight at the least, so that acknowledgements go on coming.
const MINIMUM: f64 = 4.0;
/// Packets above what the path holds: one that is being acknowledged with the next, and one that quinn-proto
/// wants as room.
const SPARE: f64 = 3.0;

/// Multiples of what the path holds. Those of the draft, where the window can be what it has as pace.
const STARTUP_GAIN: f64 = 2.77;
const UP_GAIN: f64 = 1.25;
const DOWN_GAIN: f64 = 0.9;
const PROBE_RTT_GAIN: f64 = 0.5;
/// How much of a queue we keep up with. At 1 it would never drain; at 0 who fills it would get all of the path.
const YIELD: f64 = 0.6;
/// Timers and batches of packets are no finer: shorter round trips count as this much longer.
const GRAIN: Duration = Duration::from_millis(1);

/// Losses, of what was in flight: more of them are congestion if there is a queue, and in any case.
const LOSS: f64 = 0.02;
const HEAVY_LOSS: f64 = 0.15;
/// Startup ends by that many in a round.
const STARTUP_LOSSES: u32 = 6;
/// A queue is to be seen when round trips are longer by this share of the shortest one.
const QUEUE: u32 = 16;
/// What a round with congestion leaves, and what stays free of what was too much.
const BETA: f64 = 0.7;
const HEADROOM: f64 = 0.9;

/// Growth in a round that says that there is more to be had, and rounds without it that say there is not.
const STARTUP_GROWTH: f64 = 1.25;
const UP_GROWTH: f64 = 1.1;
const STARTUP_ROUNDS: u32 = 3;
const UP_ROUNDS: u32 = 2;

/// From one probe for bandwidth to the next; up to half as much again, so that flows do not move in step.
const PROBE_BANDWIDTH: Duration = Duration::from_secs(2);
/// How long a probe for the round trip stays low, and a round trip at the least.
const PROBE_RTT: Duration = Duration::from_millis(200);
/// Rounds in each half of the filter for aggregation.
const AGGREGATION_ROUNDS: u64 = 5;

#[derive(Debug, Default)]
pub struct BbrConfig;

impl ControllerFactory for BbrConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Bbr::new(now, current_mtu))
    }
}

/// What it is about to find out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// How much the path carries at all: twice as much in each round.
    Startup,
    /// Nothing: the queue that startup has made goes.
    Drain,
    /// The shortest round trip, and what others want: a little less than the path holds, for a round.
    Down,
    /// Nothing: what the path holds.
    Cruise,
    /// The same, without regard to short-lived bounds, for a round: a probe begins with a full path.
    Refill,
    /// Whether there is more to be had by now.
    Up,
    /// The shortest round trip, when it has not been seen for long.
    ProbeRtt,
}

/// From a send to its acknowledgement, the draft's §2.5.
#[derive(Clone, Debug, Default)]
struct Round {
    number: u64,
    /// It ends with what is sent once so much is delivered.
    end: u64,
    /// Where it began, and what was lost since then.
    delivered: u64,
    lost: u64,
    losses: u32,
    /// A router has marked packets instead of dropping them.
    marked: bool,
}

/// Bandwidth that no longer grows.
#[derive(Clone, Debug, Default)]
struct Plateau {
    bandwidth: f64,
    rounds: u32,
}

/// Acknowledgements that come in heaps: what is in flight must last until the next heap. The draft's §4.5.
#[derive(Clone, Debug)]
struct Aggregation {
    since: Instant,
    acked: f64,
    extra: Largest,
    turned: u64,
}

#[derive(Clone, Debug)]
pub struct Bbr {
    mtu: u64,
    window: f64,
    phase: Phase,
    phase_round: u64,
    /// What was sent before has nothing to say about it.
    phase_start: Instant,
    /// When a probe for bandwidth is due, or that for the round trip over.
    phase_end: Instant,
    delivery: Delivery,
    round: Round,
    plateau: Plateau,
    /// Of this cycle of probes and the one before.
    bandwidth: Largest,
    shortest_rtt: ShortestRtt,
    rtt: Duration,
    aggregation: Aggregation,
    /// More in flight was too much: for good, or until the next probe.
    ceiling: f64,
    short_ceiling: f64,
}

impl Bbr {
    fn new(now: Instant, mtu: u16) -> Self {
        Self {
            mtu: mtu.into(),
            window: INITIAL_WINDOW as f64,
            phase: Phase::Startup,
            phase_round: 0,
            phase_start: now,
            phase_end: now,
            delivery: Delivery::new(now),
            round: Round::default(),
            plateau: Plateau::default(),
            bandwidth: Largest::default(),
            shortest_rtt: ShortestRtt::new(now),
            rtt: Duration::ZERO,
            aggregation: Aggregation { since: now, acked: 0.0, extra: Largest::default(), turned: 0 },
            ceiling: f64::INFINITY,
            short_ceiling: f64::INFINITY,
        }
    }

    fn sent(&mut self, now: Instant, bytes: u64) {
        self.delivery.on_sent(now, bytes, self.rtt);
    }

    fn acknowledged(&mut self, now: Instant, sent: Instant, bytes: u64, rtt: Duration) {
        self.rtt = rtt;
        self.delivery.on_ack(now, sent, bytes);
    }

    fn batch_acknowledged(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let shortest = if self.shortest_rtt.is_known() { self.shortest_rtt.get() } else { Duration::ZERO };
        let Some(sample) = self.delivery.end_acks(now, in_flight, app_limited, shortest) else { return };
        self.shortest_rtt.add(now, sample.rtt);
        if let Some(rate) = sample.rate
            && (!sample.app_limited || rate > self.bandwidth.get())
        {
            self.bandwidth.add(rate);
        }
        self.aggregate(now, sample.acked);
        let round_ended = sample.delivered_before >= self.round.end;
        if round_ended {
            self.judge_round();
        }
        self.advance(now, &sample, round_ended);
        if round_ended {
            let delivered = self.delivery.delivered();
            self.round = Round { number: self.round.number + 1, end: delivered, delivered, ..Round::default() };
        }
        self.follow(sample.acked, app_limited);
    }

    /// Losses outside of probes say that others want more of the path: take no more than was delivered.
    fn judge_round(&mut self) {
        let delivered = (self.delivery.delivered() - self.round.delivered) as f64;
        let probing = matches!(self.phase, Phase::Startup | Phase::Refill | Phase::Up);
        if !probing && self.is_too_much(delivered + self.round.lost as f64) {
            self.short_ceiling = delivered.max(BETA * self.window);
        }
    }

    fn advance(&mut self, now: Instant, sample: &Sample, round_ended: bool) {
        let rounds = self.round.number - self.phase_round;
        match self.phase {
            Phase::Startup => {
                if round_ended && !sample.app_limited && self.has_plateau(STARTUP_GROWTH, STARTUP_ROUNDS) {
                    self.enter(now, Phase::Drain);
                }
            }
            Phase::Drain => {
                if self.delivery.in_flight() as f64 <= self.target() {
                    self.cruise(now);
                }
            }
            Phase::Down => {
                if round_ended && rounds > 0 {
                    self.cruise(now);
                }
            }
            Phase::Cruise => {
                if self.shortest_rtt.is_doubtful(now) && !sample.app_limited {
                    self.enter(now, Phase::ProbeRtt);
                    self.phase_end = now + PROBE_RTT.max(self.rtt);
                } else if now >= self.phase_end {
                    self.short_ceiling = f64::INFINITY;
                    self.enter(now, Phase::Refill);
                }
            }
            Phase::Refill => {
                if round_ended && rounds > 0 {
                    self.plateau = Plateau { bandwidth: self.bandwidth.get(), rounds: 0 };
                    if !sample.app_limited {
                        self.bandwidth.turn();
                    }
                    self.enter(now, Phase::Up);
                }
            }
            Phase::Up => {
                if round_ended {
                    let over = self.has_plateau(UP_GROWTH, UP_ROUNDS);
                    if self.ceiling < self.target() {
                        // In the first round it was not yet reached.
                        self.ceiling *= if rounds > 0 { UP_GROWTH } else { 1.0 };
                    } else if over {
                        self.enter(now, Phase::Down);
                    }
                }
            }
            Phase::ProbeRtt => {
                if self.delivery.in_flight() as f64 > self.target() {
                    self.phase_end = self.phase_end.max(now + self.rtt);
                } else if now >= self.phase_end {
                    self.shortest_rtt.looked(now);
                    self.short_ceiling = f64::INFINITY;
                    self.cruise(now);
                }
            }
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.phase_round = self.round.number;
        self.phase_start = now;
        self.round = Round { lost: 0, losses: 0, marked: false, ..self.round };
    }

    fn cruise(&mut self, now: Instant) {
        self.enter(now, Phase::Cruise);
        // Chance enough: the count of bytes is different for every flow.
        self.phase_end = now + PROBE_BANDWIDTH + Duration::from_millis(self.delivery.delivered() % 1_000);
    }

    /// At the end of a round: whether bandwidth has not grown for some.
    fn has_plateau(&mut self, growth: f64, rounds: u32) -> bool {
        let bandwidth = self.bandwidth.get();
        if bandwidth >= self.plateau.bandwidth * growth {
            self.plateau = Plateau { bandwidth, rounds: 0 };
        } else {
            self.plateau.rounds += 1;
        }
        self.plateau.rounds >= rounds
    }

    fn aggregate(&mut self, now: Instant, acked: u64) {
        let expected = |since: Instant| self.bandwidth.get() * (now - since).as_secs_f64();
        let heap = &mut self.aggregation;
        if heap.acked <= expected(heap.since) {
            heap.since = now;
            heap.acked = 0.0;
        }
        heap.acked += acked as f64;
        heap.extra.add((heap.acked - expected(heap.since)).min(self.window));
        if self.round.number >= heap.turned + AGGREGATION_ROUNDS {
            heap.extra.turn();
            heap.turned = self.round.number;
        }
    }

    /// What the path holds without a queue.
    fn held(&self) -> f64 {
        let rtt = if self.shortest_rtt.is_known() { self.shortest_rtt.get() } else { self.rtt };
        self.bandwidth.get() * (rtt + GRAIN).as_secs_f64()
    }

    /// What keeps the bandwidth up in the presence of a queue, of others that is: as far as it is longer than
    /// `spare`, and up to as long as the line itself.
    fn held_with_queue(&self, spare: f64) -> f64 {
        let bandwidth = self.bandwidth.get();
        let queue = bandwidth * self.queueing().saturating_sub(GRAIN).as_secs_f64();
        self.held() + spare + YIELD * (queue - spare).clamp(0.0, self.held())
    }

    fn queueing(&self) -> Duration {
        self.rtt.saturating_sub(self.shortest_rtt.get())
    }

    fn minimum(&self) -> f64 {
        MINIMUM * self.mtu as f64
    }

    /// Where the window goes, but for its ceilings.
    fn target(&self) -> f64 {
        let spare = SPARE * self.mtu as f64 + self.aggregation.extra.get().min(self.held());
        match self.phase {
            Phase::Startup => (STARTUP_GAIN * self.held() + spare).max(2.0 * INITIAL_WINDOW as f64),
            Phase::Drain => self.held() + spare,
            Phase::Down => DOWN_GAIN * self.held() + spare,
            Phase::Cruise | Phase::Refill => self.held_with_queue(spare),
            Phase::Up => UP_GAIN * self.held_with_queue(spare),
            Phase::ProbeRtt => PROBE_RTT_GAIN * self.held(),
        }
    }

    fn follow(&mut self, acked: u64, app_limited: bool) {
        let ceiling = match self.phase {
            Phase::Startup | Phase::Up => self.ceiling,
            _ => (HEADROOM * self.ceiling).min(self.short_ceiling),
        };
        let target = self.target().min(ceiling).max(self.minimum());
        if self.phase == Phase::Startup && app_limited {
            // Nothing was tried: what it would have come to is not known.
            self.window = self.window.min(target);
        } else {
            self.window = target.min(self.window + acked as f64);
        }
    }

    fn is_too_much(&self, in_flight: f64) -> bool {
        let lost = self.round.lost as f64;
        let queue_seen = self.queueing() > self.shortest_rtt.get() / QUEUE + GRAIN;
        self.round.marked || lost > HEAVY_LOSS * in_flight || (queue_seen && lost > LOSS * in_flight)
    }

    fn lost(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.delivery.on_lost(bytes);
        if sent < self.phase_start {
            return;
        }
        self.round.lost += bytes;
        self.round.losses += 1;
        self.round.marked |= bytes == 0;
        let in_flight = self.delivery.at(sent).map_or(self.window, |send| send.in_flight as f64);
        if !self.is_too_much(in_flight) {
            return;
        }
        match self.phase {
            Phase::Startup if self.round.losses >= STARTUP_LOSSES || self.round.marked => {
                let delivered = (self.delivery.delivered() - self.round.delivered) as f64;
                self.ceiling = delivered.max(self.held());
                self.enter(now, Phase::Drain);
            }
            Phase::Up => {
                self.ceiling = (in_flight - self.round.lost as f64).max(BETA * self.held());
                self.enter(now, Phase::Down);
            }
            _ => {}
        }
    }

    /// Nothing came through for long: the path is another one.
    fn restart(&mut self, now: Instant) {
        *self = Self { rtt: self.rtt, ..Self::new(now, self.mtu as u16) };
        self.window = self.minimum();
    }
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.sent(now, bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _app_limited: bool, rtt: &RttEstimator) {
        self.acknowledged(now, sent, bytes, rtt.get());
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _largest_acked: Option<u64>) {
        self.batch_acknowledged(now, in_flight, app_limited);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        if is_persistent_congestion {
            self.restart(now);
        } else {
            self.lost(now, sent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.window = self.window.max(self.minimum());
    }

    fn window(&self) -> u64 {
        self.window as u64
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
