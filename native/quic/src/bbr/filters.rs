//! Extremes of what was measured lately, in two halves: when the newer is full, the older goes.

use std::time::{Duration, Instant};

/// How long a shortest round trip holds once it is not seen again: one to two of these.
const HALF: Duration = Duration::from_secs(5);
/// So close to the shortest round trip, it has been seen again: the line's queue is empty.
const NEAR: u32 = 32;
const JITTER: Duration = Duration::from_micros(250);

/// The largest value of this half and the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Largest {
    newer: f64,
    older: f64,
}

impl Largest {
    pub(super) fn get(&self) -> f64 {
        self.newer.max(self.older)
    }

    pub(super) fn add(&mut self, value: f64) {
        self.newer = self.newer.max(value);
    }

    /// Begin another half. One without a value is none.
    pub(super) fn turn(&mut self) {
        if self.newer > 0.0 {
            (self.newer, self.older) = (0.0, self.newer);
        }
    }
}

/// The shortest round trip of the last 5 to 10 s in which there were any: a long one after a silence does not
/// count before others have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortestRtt {
    newer: Duration,
    older: Duration,
    turned: Instant,
    /// When it was last seen, or nearly.
    seen: Instant,
}

impl ShortestRtt {
    pub(super) fn new(now: Instant) -> Self {
        Self { newer: Duration::MAX, older: Duration::MAX, turned: now, seen: now }
    }

    /// [`Duration::MAX`] before the first.
    pub(super) fn get(&self) -> Duration {
        self.newer.min(self.older)
    }

    pub(super) fn is_known(&self) -> bool {
        self.get() < Duration::MAX
    }

    pub(super) fn add(&mut self, now: Instant, rtt: Duration) {
        if now >= self.turned + HALF {
            (self.newer, self.older, self.turned) = (rtt, self.newer, now);
        }
        if rtt <= self.get().saturating_add(JITTER.max(rtt / NEAR)) {
            self.seen = now;
        }
        self.newer = self.newer.min(rtt);
    }

    /// It may have become longer, and the line's own queue keeps that from being seen.
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        now >= self.seen + HALF
    }

    /// The line was emptied in order to see it.
    pub(super) fn looked(&mut self, now: Instant) {
        self.seen = now;
    }
}
