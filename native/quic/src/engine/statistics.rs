//! Figures of a connection, and of the engine.

use std::time::Duration;

use super::Engine;

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

impl Engine {
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
}
