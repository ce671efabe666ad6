//! What JavaScript does with connections, and how they are forgotten.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{ClientConfig, Dir, EndpointEvent, VarInt};

use super::Engine;
use super::connection::Phase;
use super::transport::Transport;
use crate::reason::{Kind, Reason};
use crate::socket::canonical;

/// Streams that a peer may have open when its limit is raised from none.
const FIRST_STREAMS: u64 = 16;

impl Engine {
    pub fn connect(
        &mut self,
        mut config: ClientConfig,
        transport: Option<Transport>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<u32, String> {
        let now = Instant::now();
        let (transport, transport_config) = match transport {
            Some(transport) => {
                let config = transport.config();
                (transport, config)
            }
            None => (self.transport.clone(), self.transport_config.clone()),
        };
        config.transport_config(transport_config);
        let remote = self.socket.destination(remote).map_err(|error| error.to_string())?;
        let (handle, proto) =
            self.proto.connect(now, config, remote, server_name).map_err(|error| error.to_string())?;
        let id = self.add(handle, proto, false, &transport, true, now).ok_or("too many connections")?;
        self.touch(id);
        Ok(id)
    }

    /// Have the peer answer, and tell by PONG of the first acknowledgement from now on. False: the connection
    /// has ended.
    pub fn ping(&mut self, id: u32) -> bool {
        let Some(conn) = self.connections.get_mut(id) else { return false };
        if conn.phase != Phase::Connected {
            return false;
        }
        conn.proto.ping();
        let acks = conn.proto.stats().frame_rx.acks;
        conn.pinged.get_or_insert(acks);
        self.touch(id);
        true
    }

    pub fn send_datagram(&mut self, id: u32, data: &[u8]) -> bool {
        let Some(conn) = self.connections.get_mut(id) else { return false };
        if conn.phase != Phase::Connected {
            return false;
        }
        let sent = conn.proto.datagrams().send(Bytes::copy_from_slice(data), false).is_ok();
        if sent {
            self.touch(id);
        }
        sent
    }

    pub fn max_datagram(&mut self, id: u32) -> usize {
        match self.connections.get_mut(id) {
            Some(conn) if conn.phase == Phase::Connected => conn.proto.datagrams().max_size().unwrap_or(0),
            _ => 0,
        }
    }

    pub fn set_limits(&mut self, id: u32, streams: Option<u64>, receive: Option<u64>, send: Option<u64>) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if let Some(ceiling) = streams {
            conn.stream_ceiling = ceiling;
            for dir in [Dir::Bi, Dir::Uni] {
                let limit = conn.proto.max_concurrent_streams(dir);
                // From nothing there is no use that the limit could follow.
                if limit == 0 && ceiling > 0 {
                    conn.proto.set_max_concurrent_streams(
                        dir,
                        VarInt::from_u64(ceiling.min(FIRST_STREAMS)).unwrap_or(VarInt::MAX),
                    );
                }
                if limit > ceiling {
                    conn.proto.set_max_concurrent_streams(dir, VarInt::from_u64(ceiling).unwrap_or(VarInt::MAX));
                }
            }
        }
        if let Some(window) = receive {
            conn.receive_window = window;
            conn.proto.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        }
        if let Some(window) = send {
            conn.send_window_ceiling = window;
            if conn.send_window > window {
                conn.send_window = window;
                conn.proto.set_send_window(window);
            }
        }
        self.touch(id);
    }

    pub fn close(&mut self, id: u32, code: u64, text: &[u8]) {
        self.end(id, code, text, Reason::local(code, text));
    }

    /// JavaScript lost the connection without closing it.
    pub fn drop_connection(&mut self, id: u32) {
        self.end(id, 0, b"", Reason::of(Kind::Dropped, "collected without having been closed"));
    }

    fn end(&mut self, id: u32, code: u64, text: &[u8], reason: Reason) {
        let now = Instant::now();
        self.with_connection(id, |engine, conn| {
            if conn.phase != Phase::Closed {
                let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
                conn.proto.close(now, code, Bytes::copy_from_slice(text));
                engine.lost(id, conn, reason);
            }
        });
        self.forget_streams(id);
        self.touch(id);
    }

    /// JavaScript is done with a connection that has ended.
    pub fn release(&mut self, id: u32) {
        self.forget_streams(id);
        match self.connections.get_mut(id) {
            Some(conn) => conn.released = true,
            // Lost in a panic: only its place is left.
            None => drop(self.connections.remove(id)),
        }
        self.reap(id);
    }

    /// Forget the connection once the endpoint, JavaScript and every stream have.
    pub(super) fn reap(&mut self, id: u32) {
        if let Some(conn) = self.connections.get(id)
            && conn.drained
            && conn.released
            && conn.streams.is_empty()
        {
            let (at, remote) = (conn.armed, conn.remote);
            self.by_remote.remove(&(canonical(remote), id));
            self.connections.remove(id);
            if let Some(at) = at {
                self.timers.remove(&(at, id));
            }
        }
    }

    /// End a handshake that was admitted, to make room. The client gets no answer: its address may be
    /// forged, and what it holds here is freed at once.
    pub fn drop_handshake(&mut self, handshake: u32) {
        let Some(id) = self.handshaking.remove(&handshake) else { return };
        let Some(conn) = self.connections.get(id) else { return };
        if conn.phase != Phase::Handshake {
            return;
        }
        let (handle, armed, drained) = (conn.handle, conn.armed, conn.drained);
        self.by_remote.remove(&(canonical(conn.remote), id));
        if let Some(at) = armed {
            self.timers.remove(&(at, id));
        }
        if !drained {
            self.proto.handle_event(handle, EndpointEvent::drained());
        }
        self.connections.remove(id);
        self.handshakes -= 1;
    }

    pub fn close_all(&mut self, code: u64, text: &[u8]) {
        self.accepting = false;
        self.closing = true;
        for id in self.connections.ids() {
            self.close(id, code, text);
        }
    }

    /// Every connection probes its path anew.
    pub fn address_changed(&mut self) {
        for id in self.connections.ids() {
            if let Some(conn) = self.connections.get_mut(id)
                && !conn.server
                && conn.phase == Phase::Connected
            {
                conn.proto.local_address_changed();
                self.touch(id);
            }
        }
    }
}
