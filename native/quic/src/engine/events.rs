//! What quinn-proto tells of a connection, made ready for JavaScript.

use quinn_proto::{Dir, Event, StreamEvent};

use super::connection::{Conn, Phase};
use super::transport::send_window;
use super::{Engine, Failure, Ready, record};
use crate::reason::Reason;
use crate::session::HelloData;
use crate::socket::canonical;

impl Engine {
    pub(super) fn on_event(&mut self, id: u32, conn: &mut Conn, event: Event) {
        match event {
            Event::HandshakeDataReady => {}
            // Its time was over in the same turn, and JavaScript has been told so.
            Event::Connected if conn.phase == Phase::Closed => {}
            Event::Connected => {
                conn.phase = Phase::Connected;
                conn.handshake_deadline = None;
                self.handshaking.remove(&conn.handshake);
                self.handshake_over(true);
                self.ready.push_back(Ready::Connection(record::CONNECTED, id, conn.server.into(), conn.handshake));
            }
            Event::ConnectionLost { reason } => self.lost(id, conn, reason.into()),
            Event::DatagramReceived => {
                if !conn.datagrams_queued {
                    conn.datagrams_queued = true;
                    self.ready.push_back(Ready::Datagrams(id));
                }
            }
            Event::DatagramsUnblocked => {}
            Event::Stream(event) => self.on_stream_event(id, conn, event),
        }
    }

    fn on_stream_event(&mut self, connection: u32, conn: &mut Conn, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => self.ready.push_back(Ready::Accept(connection, dir)),
            StreamEvent::Available { dir } => {
                if std::mem::take(&mut conn.waiting[dir as usize]) {
                    let unidirectional = u32::from(dir == Dir::Uni);
                    self.ready.push_back(Ready::Connection(record::AVAILABLE, connection, unidirectional, 0));
                }
            }
            StreamEvent::Readable { id } => {
                if let Some(&stream) = conn.streams.get(&id) {
                    self.queue_read(stream);
                }
            }
            StreamEvent::Writable { id } => {
                let Some(&stream) = conn.streams.get(&id) else { return };
                let Some(entry) = self.streams.get_mut(stream) else { return };
                if std::mem::take(&mut entry.write_blocked) {
                    self.ready.push_back(Ready::Stream(record::WRITABLE, stream, 0));
                }
                // An acknowledgement made room: let the window follow the path's capacity.
                conn.shortest_rtt = conn.shortest_rtt.min(conn.proto.rtt());
                let congestion_window = conn.proto.congestion_state().window();
                let window = send_window(congestion_window, conn.shortest_rtt, conn.send_window_ceiling);
                if window > conn.send_window {
                    conn.send_window = window;
                    conn.proto.set_send_window(window);
                }
            }
            StreamEvent::Finished { id } => {
                let Some(&stream) = conn.streams.get(&id) else { return };
                let Some(entry) = self.streams.get_mut(stream) else { return };
                entry.finishing = false;
                conn.unacknowledged -= 1;
                if entry.watched {
                    self.ready.push_back(Ready::Stream(record::FINISHED, stream, 0));
                } else if entry.is_done() {
                    self.streams.remove(stream);
                    conn.streams.remove(&id);
                }
                self.tell_flushed(connection, conn);
            }
            StreamEvent::Stopped { id, error_code } => {
                // A stream that is not accepted yet is asked when it is.
                let Some(&stream) = conn.streams.get(&id) else { return };
                // RFC 9000 §3.5: STOP_SENDING is answered with RESET_STREAM.
                let _ = conn.proto.send_stream(id).reset(error_code);
                let Some(entry) = self.streams.get_mut(stream) else { return };
                entry.sending = false;
                if std::mem::take(&mut entry.finishing) {
                    conn.unacknowledged -= 1;
                }
                self.ready.push_back(Ready::Stream(record::STOPPED, stream, error_code.into_inner()));
                self.tell_flushed(connection, conn);
            }
        }
    }

    /// Somebody waits until all that was ended is acknowledged, and it is.
    fn tell_flushed(&mut self, id: u32, conn: &mut Conn) {
        if conn.unacknowledged == 0 && std::mem::take(&mut conn.flushing) {
            self.ready.push_back(Ready::Connection(record::FLUSHED, id, 0, 0));
        }
    }

    /// What decrypts and acknowledges is the peer's, and not anybody's.
    pub(super) fn tell_pong(&mut self, id: u32, conn: &mut Conn) {
        if conn.pinged.is_some_and(|acks| conn.proto.stats().frame_rx.acks > acks) {
            conn.pinged = None;
            self.ready.push_back(Ready::Connection(record::PONG, id, 0, 0));
        }
    }

    /// Also in what a panic would find.
    fn handshake_over(&mut self, connected: bool) {
        self.handshakes -= 1;
        if let Some(current) = &mut self.current {
            current.handshaking = false;
            if connected {
                current.unknown = None;
            }
        }
    }

    pub(super) fn lost(&mut self, id: u32, conn: &mut Conn, reason: Reason) {
        if conn.phase == Phase::Closed {
            return;
        }
        let handshaking = conn.phase == Phase::Handshake;
        conn.phase = Phase::Closed;
        conn.handshake_deadline = None;
        if handshaking {
            self.handshaking.remove(&conn.handshake);
            self.handshake_over(false);
        }
        if handshaking && conn.server {
            let answered = conn
                .proto
                .crypto_session()
                .handshake_data()
                .and_then(|data| data.downcast::<HelloData>().ok())
                .is_some_and(|data| data.answered);
            conn.released = true;
            self.fail(Failure {
                handshake: conn.handshake,
                source: canonical(conn.remote),
                validated: conn.source_validated || answered,
                reason,
            });
            return;
        }
        let (a, b) = reason.short().unwrap_or_default();
        conn.reason = Some(reason);
        self.ready.push_back(Ready::Connection(record::CLOSED, id, a, b));
        // What has come stays readable; a stream learns of the end when it has read all.
        let streams: Vec<u32> = conn.streams.values().copied().collect();
        for stream in streams {
            self.queue_read(stream);
        }
    }

    pub(super) fn queue_read(&mut self, stream: u32) {
        if let Some(entry) = self.streams.get_mut(stream)
            && entry.flowing
            && entry.receiving
            && !entry.read_queued
        {
            entry.read_queued = true;
            self.ready.push_back(Ready::Read(stream));
        }
    }
}
