//! CUBIC as RFC 9438 has it.
//!
//! quinn-proto brings a CUBIC of its own, whose Reno-friendly window starts from a `w_max` that fast
//! convergence has lowered: after every second loss it stands still for some eight round trips. With windows
//! of a few dozen packets, as 0.1 % loss leaves them at 100 ms, that is 10 to 15 % less than TCP gets.
//!
//! Windows are bytes, as in the RFC's §4.1 with segments of the path's MTU.

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Multiplicative decrease, RFC 9438 §4.6.
const BETA: f64 = 0.7;
/// How aggressive the growth is, in segments per cubic second, §5.
const C: f64 = 0.4;
/// Additive increase which is as fair as Reno's with a decrease of [`BETA`], §4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// Ten full datagrams of the smallest MTU, RFC 9002 §7.2.
const INITIAL_WINDOW: u64 = 12_000;

#[derive(Debug, Default)]
pub struct CubicConfig;

impl ControllerFactory for CubicConfig {
    fn build(self: Arc<Self>, _now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Cubic::new(current_mtu))
    }
}

/// One stage of congestion avoidance, from the end of a recovery to the next loss.
#[derive(Debug, Clone)]
struct Epoch {
    start: Instant,
    /// Where the cubic function has its plateau, and how many seconds after the start.
    origin: f64,
    k: f64,
    /// What Reno would have by now.
    w_est: f64,
}

#[derive(Debug, Clone)]
pub struct Cubic {
    mtu: u64,
    window: f64,
    ssthresh: f64,
    /// Window before the last decrease, and the same after fast convergence.
    cwnd_prior: f64,
    w_max: f64,
    epoch: Option<Epoch>,
    /// Losses of what was sent up to here belong to a decrease that was made.
    recovery_start: Option<Instant>,
    /// Since when the application has given too little: such time does not count.
    idle_since: Option<Instant>,
}

impl Cubic {
    fn new(mtu: u16) -> Self {
        Self {
            mtu: mtu.into(),
            window: INITIAL_WINDOW as f64,
            ssthresh: f64::INFINITY,
            cwnd_prior: 0.0,
            w_max: 0.0,
            epoch: None,
            recovery_start: None,
            idle_since: None,
        }
    }

    fn minimum(&self) -> f64 {
        2.0 * self.mtu as f64
    }

    fn acknowledged(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: Duration) {
        if app_limited {
            self.idle_since.get_or_insert(now);
            return;
        }
        if self.recovery_start.is_some_and(|start| sent <= start) {
            return;
        }
        if self.window < self.ssthresh {
            self.window += bytes as f64;
            self.idle_since = None;
        } else {
            self.avoid_congestion(now, bytes as f64, rtt);
        }
    }

    fn avoid_congestion(&mut self, now: Instant, bytes: f64, rtt: Duration) {
        let mss = self.mtu as f64;
        let window = self.window;
        // Without a loss behind it (slow start ended by other means) growth starts from the window itself.
        let origin = self.w_max.max(window);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            start: now,
            origin,
            k: ((origin - window) / mss / C).cbrt(),
            w_est: window,
        });
        if let Some(idle_since) = self.idle_since.take() {
            epoch.start += now.saturating_duration_since(idle_since);
        }
        let (k, origin) = (epoch.k, epoch.origin);
        let cubic = |at: f64| C * (at - k).powi(3) * mss + origin;
        let elapsed = now.saturating_duration_since(epoch.start).as_secs_f64();

        // §4.3: once it has what it had, Reno's own increase.
        let alpha = if epoch.w_est < self.cwnd_prior { ALPHA } else { 1.0 };
        epoch.w_est += alpha * mss * bytes / window;
        if cubic(elapsed) < epoch.w_est {
            self.window = window.max(epoch.w_est);
        } else {
            // §4.4, §4.5: towards where the function is a round trip from now, at most half as much again.
            let target = cubic(elapsed + rtt.as_secs_f64()).clamp(window, 1.5 * window);
            self.window += (target - window) * bytes / window;
        }
    }
}

impl Controller for Cubic {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.acknowledged(now, sent, bytes, app_limited, rtt.get());
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, _lost_bytes: u64) {
        if self.recovery_start.is_some_and(|start| sent <= start) {
            return;
        }
        self.recovery_start = Some(now);
        self.epoch = None;
        self.idle_since = None;
        self.cwnd_prior = self.window;
        // §4.7, fast convergence: a window that did not get back to where it was leaves room for others.
        self.w_max = if self.window < self.w_max { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.ssthresh = (self.window * BETA).max(self.minimum());
        self.window = self.ssthresh;
        if is_persistent_congestion {
            self.recovery_start = None;
            self.window = self.minimum();
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
        metrics.ssthresh = Some(self.ssthresh as u64);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MTU: u16 = 1_200;
    const RTT: Duration = Duration::from_millis(100);

    /// Acknowledge one window, sent a round trip ago, packet by packet.
    fn round(cubic: &mut Cubic, now: &mut Instant) {
        let sent = *now;
        *now += RTT;
        let mut left = cubic.window();
        while left > 0 {
            let bytes = left.min(MTU.into());
            cubic.acknowledged(*now, sent, bytes, false, RTT);
            left -= bytes;
        }
    }

    fn lose(cubic: &mut Cubic, now: Instant) {
        cubic.on_congestion_event(now, now, false, MTU.into());
    }

    #[test]
    fn slow_start_doubles_each_round_trip() {
        let (mut cubic, mut now) = (Cubic::new(MTU), Instant::now());
        for rounds in 1..6 {
            round(&mut cubic, &mut now);
            assert_eq!(cubic.window(), INITIAL_WINDOW << rounds);
        }
    }

    #[test]
    fn a_loss_takes_three_tenths_once_in_a_round_trip() {
        let (mut cubic, mut now) = (Cubic::new(MTU), Instant::now());
        round(&mut cubic, &mut now);
        let sent = now;
        now += RTT;
        lose(&mut cubic, now);
        assert_eq!(cubic.window(), 16_800);
        // Another packet of the same window.
        cubic.on_congestion_event(now, sent, false, MTU.into());
        assert_eq!(cubic.window(), 16_800);
        // Its acknowledgements do not grow what was just lowered.
        cubic.acknowledged(now, sent, MTU.into(), false, RTT);
        assert_eq!(cubic.window(), 16_800);
    }

    #[test]
    fn a_small_window_grows_at_least_as_reno_would_after_two_losses() {
        // RFC 9438 §4.3: with fast convergence behind it, W_est starts at the window there is.
        let (mut cubic, mut now) = (Cubic::new(MTU), Instant::now());
        for _ in 0..2 {
            round(&mut cubic, &mut now);
            now += RTT;
            lose(&mut cubic, now);
        }
        now += RTT;
        let before = cubic.window() as f64;
        for rounds in 1..=5 {
            round(&mut cubic, &mut now);
            let reno = before + ALPHA * f64::from(MTU) * f64::from(rounds);
            assert!(cubic.window() as f64 >= 0.95 * reno, "round {rounds}: {} < {reno}", cubic.window());
        }
    }

    #[test]
    fn the_window_returns_to_where_it_was_lost_and_goes_on() {
        let (mut cubic, mut now) = (Cubic::new(MTU), Instant::now());
        for _ in 0..6 {
            round(&mut cubic, &mut now);
        }
        let lost_at = cubic.window();
        now += RTT;
        lose(&mut cubic, now);
        now += RTT;
        for _ in 0..120 {
            round(&mut cubic, &mut now);
        }
        assert!(cubic.window() > lost_at, "{} after 12 s, lost at {lost_at}", cubic.window());
    }

    proptest! {
        #[test]
        fn the_window_stays_a_number_above_two_segments(
            events in prop::collection::vec((0u8..5, 0u64..500, 0u64..200_000, any::<bool>()), 1..300),
        ) {
            let (mut cubic, start) = (Cubic::new(MTU), Instant::now());
            let mut now = start;
            for (kind, wait, bytes, flag) in events {
                let sent = now;
                now += Duration::from_millis(wait);
                match kind {
                    0 => cubic.on_congestion_event(now, sent, flag, bytes),
                    1 => cubic.on_mtu_update(if flag { 1_452 } else { 6_400 }),
                    _ => cubic.acknowledged(now, sent, bytes, flag && kind == 2, Duration::from_millis(wait)),
                }
                prop_assert!(cubic.window.is_finite());
                prop_assert!(cubic.window >= 2.0 * 1_200.0);
            }
        }
    }
}
