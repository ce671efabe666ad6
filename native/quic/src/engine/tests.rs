//! The engine without a loop: two of them, pumped by hand over real sockets.

use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{ClientConfig, Dir, EndpointConfig, ServerConfig, Transmit};

use super::streams::MAX_WRITE;
use super::transport::{UNKNOWN_RTT, send_window};
use super::*;
use crate::hello::Hello;
use crate::session::{ByHello, Configure};
use crate::socket::ReceiveBuffer;
use crate::tls::{ClientAuth, ClientTls, ServerTls, Verification};

#[cfg(target_os = "linux")]
mod suspicion;

/// Self-signed, Ed25519; made with `openssl req -x509 -newkey ed25519 -nodes -days 36500`.
const CERTIFICATE: &[u8] = include_bytes!("../../testdata/ed25519.crt.der");
const PRIVATE_KEY: &[u8] = include_bytes!("../../testdata/ed25519.key.der");

struct Everybody;

impl Hooks for Everybody {
    fn admit(&self, _: SocketAddr, _: bool, _: u32) -> Admission {
        Admission::Accept
    }
    fn entering(&self, _: SocketAddr, _: bool) {}
}

struct Always(ServerTls);

impl Configure for Always {
    fn configure(&self, hello: &Hello) -> Result<Arc<QuicServerConfig>, u8> {
        self.0.configure(&hello.alpn[0], false, false).map_err(|_| 80)
    }
}

fn transport() -> Transport {
    Transport {
        idle_timeout: 30_000,
        keep_alive: 0,
        handshake_timeout: 10_000,
        max_streams: 16,
        stream_receive_window: 1 << 20,
        receive_window: 1 << 20,
        send_window: 1 << 20,
        initial_mtu: 1200,
        mtu_upper_bound: 1200,
        congestion: Congestion::Cubic,
        datagram_buffer: 65_536,
    }
}

fn engine(server: bool, transport: Transport) -> Engine {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
    let server = server.then(|| {
        let tls = ServerTls::new(vec![CERTIFICATE.into()], PRIVATE_KEY.into(), ClientAuth::None, false, None).unwrap();
        ServerConfig::with_crypto(Arc::new(ByHello::new(Arc::new(Always(tls)))))
    });
    Engine::new(EndpointConfig::default(), socket, Box::new(Everybody), server, transport)
}

/// Two engines, what they have told so far, and the room to receive.
struct Bench {
    engines: [Engine; 2],
    told: [Vec<[u32; 4]>; 2],
    /// Bytes of all streams.
    read: [Vec<u8>; 2],
    buffer: ReceiveBuffer,
    records: Vec<u32>,
    slabs: [Vec<u8>; 2],
}

impl Bench {
    fn new() -> Self {
        Self::with(transport())
    }

    fn with(transport: Transport) -> Self {
        Self {
            engines: [engine(false, transport.clone()), engine(true, transport)],
            told: [Vec::new(), Vec::new()],
            read: [Vec::new(), Vec::new()],
            buffer: ReceiveBuffer::new(),
            records: vec![0; 400],
            slabs: [vec![0; 256 * 1024], vec![0; 64 * 1024]],
        }
    }

    fn turn(&mut self, which: usize) {
        let engine = &mut self.engines[which];
        let now = Instant::now();
        engine.hear();
        engine.receive(&mut self.buffer);
        engine.digest(now);
        let [large, small] = &mut self.slabs;
        let (count, _, _) = engine.drain(&mut self.records, large, 0, small, 0);
        for record in self.records.chunks(4).take(count) {
            let record = <[u32; 4]>::try_from(record).unwrap();
            if let [record::DATA, _, at, length] = record {
                let slab = if length & record::SMALL == 0 { &*large } else { &*small };
                let (at, length) = (at as usize, (length & !(record::SMALL | record::FIN)) as usize);
                self.read[which].extend_from_slice(&slab[at..at + length]);
            }
            self.told[which].push(record);
        }
        engine.transmit(now);
    }

    /// Turn both until `done`.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < deadline, "told so far: {:?}", self.told);
            self.turn(0);
            self.turn(1);
        }
    }

    fn count(&self, which: usize, kind: u32) -> usize {
        self.told[which].iter().filter(|record| record[0] == kind).count()
    }

    /// Dial from the first to the second; the id that the first has for it.
    fn connect(&mut self) -> u32 {
        let remote = self.engines[1].socket().local_address();
        self.connect_by(remote, |_| {})
    }

    fn dial(&mut self, remote: SocketAddr) -> u32 {
        let tls = ClientTls::new(vec![b"test".into()], Verification::Any, None, false, None).unwrap();
        let config = ClientConfig::new(Rc::new(tls).config(false));
        self.engines[0].connect(config, None, remote, "unnamed.invalid").unwrap()
    }

    /// As `connect`, to an address from which `carry` brings the packets on.
    fn connect_by(&mut self, remote: SocketAddr, mut carry: impl FnMut(&mut Self)) -> u32 {
        let id = self.dial(remote);
        let before = self.count(1, record::CONNECTED);
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.count(1, record::CONNECTED) == before {
            assert!(Instant::now() < deadline, "told so far: {:?}", self.told);
            carry(self);
            self.turn(0);
            self.turn(1);
        }
        id
    }
}

#[test]
fn a_connection_behind_a_full_socket_sends_when_there_is_room_again() {
    let mut bench = Bench::new();
    let first = bench.connect();
    let second = bench.connect();
    // Acknowledgements and the like are over: what follows has no other reason to be sent.
    for _ in 0..50 {
        bench.turn(0);
        bench.turn(1);
        std::thread::yield_now();
    }
    let client = &mut bench.engines[0];
    let opened = client.open(first, Dir::Uni, b"fills the socket", true);
    assert!(matches!(opened, Open::Opened(_, 16)));
    // As if the kernel had refused what the first one had to send.
    let destination = client.connection(first).unwrap().remote_address();
    let refused = Transmit { destination, ecn: None, size: 3, segment_size: None, src_ip: None };
    let opened = client.open(second, Dir::Uni, b"waits behind", true);
    assert!(matches!(opened, Open::Opened(_, 12)));
    client.blocked = Some((refused, vec![0x40, 0, 0]));
    for _ in 0..client.dirty.len() {
        let id = client.dirty.pop_front().unwrap();
        let mut more = false;
        client.with_connection(id, |engine, conn| {
            conn.dirty = false;
            more = engine.process(id, conn, Instant::now());
        });
        assert!(more, "it gave up its place in the queue");
        client.touch(id);
    }
    assert!(client.wants_write());
    assert!(!client.has_dirty(), "a full socket must not spin the loop");
    bench.until(|bench| bench.count(1, record::OPENED) == 2);
    assert!(!bench.engines[0].wants_write());
}

#[test]
fn what_ended_leaves_nothing_behind() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        let id = bench.connect();
        assert!(matches!(bench.engines[0].open(id, Dir::Bi, b"question", true), Open::Opened(..)));
        let before = bench.count(1, record::OPENED);
        bench.until(|bench| bench.count(1, record::OPENED) > before);
        bench.engines[0].close(id, 7, b"done");
        let ended = bench.count(1, record::CLOSED);
        bench.until(|bench| bench.count(1, record::CLOSED) > ended);
        bench.engines[0].release(id);
        let [_, far, ..] = *bench.told[1].iter().rfind(|record| record[0] == record::CLOSED).unwrap();
        assert_eq!(bench.engines[1].close_reason(far).unwrap().code, 7);
        bench.engines[1].release(far);
        bench.until(|bench| bench.engines.iter().all(|engine| engine.counts() == (0, 0, 0, 0)));
        assert!(bench.engines.iter().all(|engine| engine.timers.is_empty() && engine.dirty.is_empty()));
        assert!(bench.engines.iter().all(|engine| engine.by_remote.is_empty()));
    }
}

#[test]
fn a_handshake_whose_end_comes_together_with_that_of_its_time_is_over_once() {
    let mut bench = Bench::new();
    let remote = bench.engines[1].socket().local_address();
    let id = bench.dial(remote);
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.engines[0].connection(id).unwrap().is_handshaking() {
        assert!(Instant::now() < deadline);
        bench.turn(1);
        bench.engines[0].transmit(Instant::now());
        // What that brings is looked at only below.
        bench.engines[0].receive(&mut bench.buffer);
    }
    bench.engines[0].digest(Instant::now() + Duration::from_millis(transport().handshake_timeout));
    assert_eq!(bench.engines[0].counts().1, 0);
    bench.turn(0);
    assert_eq!((bench.count(0, record::CONNECTED), bench.count(0, record::CLOSED)), (0, 1));
}

#[test]
fn a_write_longer_than_one_crossing_does_not_end_early() {
    let mut bench = Bench::new();
    let id = bench.connect();
    let Open::Opened(stream, 0) = bench.engines[0].open(id, Dir::Uni, b"", false) else { panic!("not opened") };
    bench.engines[0].set_limits(id, None, None, Some(1 << 30));
    let data = vec![1; MAX_WRITE + 10];
    let taken = bench.engines[0].write(stream, &data, true).unwrap();
    assert!(taken < data.len());
    // Still writable: the end was not sent with a part.
    assert!(bench.engines[0].write(stream, b"more", false).is_some());
}

#[test]
fn send_window_follows_the_path_and_not_a_congestion_window_that_nothing_bounds() {
    const CEILING: u64 = 32 << 20;
    let (loopback, far) = (Duration::from_micros(300), Duration::from_millis(100));
    assert_eq!(send_window(1 << 40, loopback, CEILING), 600_000);
    assert_eq!(send_window(1 << 40, far, CEILING), CEILING);
    assert_eq!(send_window(1 << 20, far, CEILING), 2 << 20);
    assert_eq!(send_window(1 << 40, UNKNOWN_RTT, CEILING), CEILING);
}

/// A line between two engines: it brings on what comes, or keeps what the first one sends, and then every answer
/// until that has been given on.
struct Line {
    socket: UdpSocket,
    near: Option<SocketAddr>,
    far: SocketAddr,
    keeping: bool,
    kept: VecDeque<Vec<u8>>,
    answers: VecDeque<Vec<u8>>,
}

impl Line {
    fn to(far: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
        Self { socket, near: None, far, keeping: false, kept: VecDeque::new(), answers: VecDeque::new() }
    }

    fn carry(&mut self) {
        let mut packet = [0; 2_048];
        while let Ok((length, from)) = self.socket.recv_from(&mut packet) {
            let packet = &packet[..length];
            match from == self.far {
                true => self.answers.push_back(packet.to_vec()),
                false => {
                    self.near = Some(from);
                    match self.keeping || !self.kept.is_empty() {
                        true => self.kept.push_back(packet.to_vec()),
                        false => drop(self.socket.send_to(packet, self.far)),
                    }
                }
            }
        }
        if self.kept.is_empty() {
            for answer in self.answers.drain(..) {
                let _ = self.socket.send_to(&answer, self.near.unwrap());
            }
        }
    }
}

#[test]
fn a_stream_of_which_every_other_packet_of_thousands_is_lost_comes_through() {
    const WINDOW: u64 = 16 << 20;
    let windows =
        Transport { stream_receive_window: WINDOW, receive_window: 4 * WINDOW, send_window: 2 * WINDOW, ..transport() };
    let mut bench = Bench::with(windows);
    let mut line = Line::to(bench.engines[1].socket().local_address());
    let id = bench.connect_by(line.socket.local_addr().unwrap(), |_| line.carry());
    let Open::Opened(stream, _) = bench.engines[0].open(id, Dir::Uni, b"", false) else { panic!("not opened") };
    // As far away as this takes; the line has no delay.
    bench.engines[0].connections.get_mut(id).unwrap().proto.set_send_window(2 * WINDOW);
    let data: Vec<u8> = (0..48_000_000_u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
    let (mut sent, mut claimed, mut lost) = (0, false, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while bench.read[1].len() < data.len() {
        assert!(Instant::now() < deadline, "{} bytes came, {lost} packets were lost", bench.read[1].len());
        assert_eq!(bench.count(1, record::CLOSED), 0, "the connection was ended");
        let end = data.len().min(sent + (1 << 20));
        sent += bench.engines[0].write(stream, &data[sent..end], end == data.len()).unwrap_or(0);
        if let Some(&[_, _, far, _]) = bench.told[1].iter().find(|record| record[0] == record::OPENED)
            && !std::mem::replace(&mut claimed, true)
        {
            bench.engines[1].flow(far, true);
        }
        // Once it sends thousands in a round trip: keep them, and lose every other one.
        let window = bench.engines[0].connection(id).unwrap().congestion_state().window();
        if lost == 0 && window > 8 << 20 {
            line.keeping = line.kept.len() < 6_000;
        }
        line.carry();
        // No more at a time than a socket holds.
        if !line.keeping {
            for _ in 0..100 {
                if line.kept.pop_front().is_none() {
                    break;
                }
                lost += 1;
                if let Some(packet) = line.kept.pop_front() {
                    line.socket.send_to(&packet, line.far).unwrap();
                }
            }
        }
        bench.turn(0);
        bench.turn(1);
    }
    assert!(lost >= 3_000, "{lost} packets were lost");
    assert!(bench.read[1] == data, "the bytes are others");
    let stream = bench.engines[1].connections.values().next().unwrap();
    assert_eq!(stream.held, 0);
}
