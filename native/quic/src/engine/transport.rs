//! Settings of one connection, and how much is buffered to be sent on it.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::NewRenoConfig;
use quinn_proto::{MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::bbr::BbrConfig;
use crate::cubic::CubicConfig;

/// Send window of a fresh connection, in bytes; it grows with the congestion window.
pub(super) const INITIAL_SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// Bytes in a nanosecond that a path may carry: 16 Gbit/s. The congestion window of one without loss grows
/// as long as it is used, and what is buffered beyond the path's own delay only leaves the processor's cache.
const FASTEST: u64 = 2;
/// Long enough to bound nothing.
pub(super) const UNKNOWN_RTT: Duration = Duration::from_secs(1);

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
    pub(super) fn config(&self) -> Arc<TransportConfig> {
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
            Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig)),
        };
        Arc::new(config)
    }
}

/// Bytes to buffer for a path, so that it never waits for us.
pub(super) fn send_window(congestion_window: u64, shortest_rtt: Duration, ceiling: u64) -> u64 {
    let useful = (shortest_rtt.as_nanos() as u64).saturating_mul(FASTEST);
    congestion_window.saturating_mul(2).min(useful).min(ceiling)
}
