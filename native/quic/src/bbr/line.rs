//! A line in the computer's head: a rate, a delay, a queue and losses, and flows that share it. Deterministic.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Bbr;

pub(super) const MTU: u64 = 1_452;
/// Time goes on by this much: as with real programs, what happens within it happens at once.
const TICK: Duration = Duration::from_micros(200);

#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Bits in a second.
    pub rate: f64,
    pub round_trip: Duration,
    /// In multiples of what the line holds.
    pub queue: f64,
    /// The chance of a packet to be lost.
    pub loss: f64,
}

impl Shape {
    pub(super) fn held(&self) -> f64 {
        self.rate / 8.0 * self.round_trip.as_secs_f64()
    }
}

struct Packet {
    flow: usize,
    number: u64,
    arrives: Instant,
}

pub(super) struct Flow {
    pub bbr: Bbr,
    /// Bits in a second that the application has; infinite: it always has more.
    pub offered: f64,
    next: u64,
    /// Sent and neither acknowledged nor lost, by number.
    flying: VecDeque<(u64, Instant)>,
    tokens: f64,
    budget: f64,
    rtt: Duration,
    last_heard: Instant,
    app_limited: bool,
    pub delivered: u64,
}

pub(super) struct Line {
    pub now: Instant,
    pub shape: Shape,
    pub flows: Vec<Flow>,
    queue: VecDeque<Packet>,
    /// Of the rate, in bytes.
    credit: f64,
    /// Behind the queue, and their acknowledgements.
    travelling: VecDeque<Packet>,
    random: u64,
    /// Counts since they were cleared.
    pub sent: u64,
    pub dropped: u64,
    queued: f64,
    ticks: u64,
}

/// What a stretch of time has come to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of the line's rate, without what was lost.
    pub used: f64,
    /// Of the packets: by a full queue.
    pub dropped: f64,
    /// Mean length of the queue in multiples of what the line holds.
    pub queue: f64,
    /// Of each flow in what was delivered.
    pub shares: Vec<f64>,
}

impl Line {
    pub(super) fn new(shape: Shape, flows: usize) -> Self {
        let now = Instant::now();
        let flow = |_| Flow {
            bbr: Bbr::new(now, MTU as u16),
            offered: f64::INFINITY,
            next: 0,
            flying: VecDeque::new(),
            tokens: 10.0 * MTU as f64,
            budget: 0.0,
            rtt: Duration::from_millis(333),
            last_heard: now,
            app_limited: false,
            delivered: 0,
        };
        Self {
            now,
            shape,
            flows: (0..flows).map(flow).collect(),
            queue: VecDeque::new(),
            credit: 0.0,
            travelling: VecDeque::new(),
            random: 1,
            sent: 0,
            dropped: 0,
            queued: 0.0,
            ticks: 0,
        }
    }

    /// Let it run, and say what came of it.
    pub(super) fn run(&mut self, time: Duration) -> Outcome {
        let end = self.now + time;
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.delivered).collect();
        (self.sent, self.dropped, self.queued, self.ticks) = (0, 0, 0.0, 0);
        while self.now < end {
            self.tick();
        }
        let delivered: Vec<f64> =
            self.flows.iter().zip(before).map(|(flow, before)| (flow.delivered - before) as f64).collect();
        let all: f64 = delivered.iter().sum();
        Outcome {
            used: all * 8.0 / self.shape.rate / time.as_secs_f64(),
            dropped: self.dropped as f64 / self.sent as f64,
            queue: self.queued / self.ticks as f64 / self.shape.held(),
            shares: delivered.iter().map(|one| one / all).collect(),
        }
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.arrive();
        for at in 0..self.flows.len() {
            self.send(at);
        }
        self.depart();
        self.queued += self.queue.len() as f64 * MTU as f64;
        self.ticks += 1;
    }

    /// Acknowledgements of what has arrived, one for each flow and tick.
    fn arrive(&mut self) {
        let mut acked: Vec<Vec<u64>> = self.flows.iter().map(|_| Vec::new()).collect();
        while self.travelling.front().is_some_and(|packet| packet.arrives <= self.now) {
            if let Some(packet) = self.travelling.pop_front() {
                acked[packet.flow].push(packet.number);
            }
        }
        for (flow, acked) in self.flows.iter_mut().zip(acked) {
            flow.on_acks(self.now, &acked);
        }
    }

    fn send(&mut self, at: usize) {
        let held = self.shape.held();
        let flow = &mut self.flows[at];
        let window = flow.bbr.window;
        // As quinn-proto's pacer does.
        let rate = 1.25 * window / flow.rtt.as_secs_f64();
        let burst = (window * 0.002 / flow.rtt.as_secs_f64()).clamp(10.0 * MTU as f64, 256.0 * MTU as f64);
        flow.tokens = (flow.tokens + rate * TICK.as_secs_f64()).min(burst);
        flow.budget = (flow.budget + flow.offered / 8.0 * TICK.as_secs_f64()).min(100.0 * MTU as f64);
        let mtu = MTU as f64;
        loop {
            flow.app_limited = flow.budget < mtu;
            let fits = (flow.in_flight() + MTU) as f64 <= window;
            if flow.app_limited || !fits || flow.tokens < mtu {
                break;
            }
            flow.tokens -= mtu;
            flow.budget -= mtu;
            flow.bbr.sent(self.now, MTU);
            flow.flying.push_back((flow.next, self.now));
            let packet = Packet { flow: at, number: flow.next, arrives: self.now };
            flow.next += 1;
            self.sent += 1;
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let lost = ((self.random >> 33) as f64) < self.shape.loss * (1u64 << 31) as f64;
            if (self.queue.len() as f64 + 1.0) * mtu > (self.shape.queue * held).max(10.0 * mtu) {
                self.dropped += 1;
            } else if !lost {
                self.queue.push_back(packet);
            }
        }
    }

    fn depart(&mut self) {
        self.credit += self.shape.rate / 8.0 * TICK.as_secs_f64();
        while self.credit >= MTU as f64 {
            let Some(mut packet) = self.queue.pop_front() else {
                self.credit = 0.0;
                break;
            };
            self.credit -= MTU as f64;
            packet.arrives = self.now + self.shape.round_trip;
            self.travelling.push_back(packet);
        }
    }
}

impl Flow {
    fn in_flight(&self) -> u64 {
        self.flying.len() as u64 * MTU
    }

    fn on_acks(&mut self, now: Instant, acked: &[u64]) {
        let Some(&largest) = acked.last() else {
            if !self.flying.is_empty() && now > self.last_heard + 3 * self.rtt {
                self.give_up(now);
            }
            return;
        };
        self.last_heard = now;
        let mut newest = None;
        for &number in acked {
            if let Ok(at) = self.flying.binary_search_by_key(&number, |flying| flying.0)
                && let Some((_, sent)) = self.flying.remove(at)
            {
                self.bbr.acknowledged(now, sent, MTU, self.rtt);
                self.delivered += MTU;
                newest = Some(sent);
            }
        }
        let Some(newest) = newest else { return };
        self.bbr.batch_acknowledged(now, self.in_flight(), self.app_limited);
        self.rtt = if self.delivered < 10 * MTU { now - newest } else { (7 * self.rtt + (now - newest)) / 8 };
        let mut lost = None;
        while self.flying.front().is_some_and(|flying| flying.0 + 3 <= largest) {
            if let Some((_, sent)) = self.flying.pop_front() {
                lost = Some((sent, lost.map_or(0, |(_, bytes)| bytes) + MTU));
            }
        }
        if let Some((sent, bytes)) = lost {
            self.bbr.lost(now, sent, bytes);
        }
    }

    /// Nothing was heard for long.
    fn give_up(&mut self, now: Instant) {
        self.flying.clear();
        self.bbr.restart(now);
        self.last_heard = now;
    }
}
