//! Of peers that are gone, as ICMP tells, and of those that are not.

use super::*;
use crate::engine::connection::Conn;
use crate::engine::suspicion::{INTERVAL, PATIENCE};
use crate::icmp::{Quote, Unreachable};
use crate::socket::canonical;

impl Bench {
    fn conn(&self, which: usize) -> &Conn {
        self.engines[which].connections.values().next().unwrap()
    }

    fn suspects(&self, which: usize) -> bool {
        self.conn(which).suspicion.is_some()
    }

    /// Connected, a stream open, and every packet acknowledged.
    fn quiet(keep_alive: u64) -> Self {
        let mut bench = Self::with(Transport { keep_alive, ..transport() });
        let id = bench.connect();
        assert!(matches!(bench.engines[0].open(id, Dir::Bi, b"question", false), Open::Opened(..)));
        bench.until(|bench| bench.count(1, record::OPENED) == 1);
        for _ in 0..100 {
            bench.turn(0);
            bench.turn(1);
            std::thread::yield_now();
        }
        bench
    }

    /// The ids that the sides have for it.
    fn ids(&self) -> [u32; 2] {
        [0, 1].map(|which| self.engines[which].connections.ids()[0])
    }

    /// ICMP in the name of the peer of `which`.
    fn forge(&mut self, which: usize, quote: Option<Quote>, now: Instant) {
        let destination = self.conn(which).remote;
        self.engines[which].unreachable(&Unreachable { destination, quote }, now);
    }

    /// Have `which` suspect its peer, and ask it. Gives how the question begins.
    fn ask(&mut self, which: usize) -> Quote {
        // Nothing is left that would clear it at once.
        self.turn(which);
        self.forge(which, None, Instant::now());
        self.turn(which);
        self.conn(which).suspicion.as_ref().unwrap().sent[0]
    }

    /// When it ends if nothing comes, once it believes that.
    fn ends(&self, which: usize) -> Option<Instant> {
        self.conn(which).suspicion.as_ref()?.ends
    }

    fn reason(&self, which: usize) -> Kind {
        let id = self.told[which].iter().find(|told| told[0] == record::CLOSED).unwrap()[1];
        self.engines[which].close_reason(id).unwrap().kind
    }

    /// Turn `which` alone until its connection has ended.
    fn until_closed(&mut self, which: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.count(which, record::CLOSED) == 0 {
            assert!(Instant::now() < deadline, "it has not ended");
            self.turn(which);
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_dial_fails_when_its_retransmission_is_refused_too() {
    let mut bench = Bench::new();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    bench.dial(closed);
    bench.until_closed(0);
    assert_eq!(bench.reason(0), Kind::Unreachable);
    // RFC 9002 §6.2.2: three times 333 ms.
    assert!(begun.elapsed() >= Duration::from_millis(999));
    assert_eq!(bench.engines[0].send_errors.0, 0, "what was said of one datagram failed another");
}

#[test]
fn a_dial_of_which_somebody_says_so_who_has_not_seen_it_succeeds() {
    let mut bench = Bench::new();
    let remote = bench.engines[1].socket().local_address();
    bench.dial(remote);
    let begun = Instant::now();
    for count in 0..3_000 {
        let quote = (count % 2 == 0).then_some([count as u8; 20]);
        bench.forge(0, quote, begun + Duration::from_millis(count));
    }
    assert!(bench.suspects(0));
    bench.until(|bench| bench.count(0, record::CONNECTED) == 1);
    assert!(!bench.suspects(0));
}

#[test]
fn either_side_ends_once_nobody_listens_at_the_others_port() {
    for (which, gone) in [(0, 1), (1, 0)] {
        let mut bench = Bench::quiet(1_000);
        let id = bench.ids()[which];
        bench.engines[gone] = engine(false, transport());
        assert!(matches!(bench.engines[which].open(id, Dir::Uni, b"are you there?", true), Open::Opened(..)));
        let begun = Instant::now();
        bench.until_closed(which);
        assert_eq!(bench.reason(which), Kind::Unreachable);
        assert!(begun.elapsed() >= PATIENCE);
    }
}

#[test]
fn a_flood_of_icmp_has_it_ask_once_a_second_and_ends_nothing() {
    let mut bench = Bench::quiet(0);
    for which in [0, 1] {
        let begun = Instant::now();
        for round in 1..=3 {
            let mut asked = 0;
            for count in 0..1_000 {
                let suspected = bench.suspects(which);
                let quote = (count % 2 == 0).then_some([count as u8; 20]);
                bench.forge(which, quote, begun + round * INTERVAL + count * Duration::from_micros(900));
                asked += u32::from(bench.suspects(which) && !suspected);
                assert!(bench.ends(which).is_none());
                if count == 500 {
                    bench.until(|bench| !bench.suspects(which));
                }
            }
            assert_eq!(asked, 1);
        }
        assert_eq!(bench.count(which, record::CLOSED), 0);
    }
}

#[test]
fn an_answer_clears_what_was_believed() {
    for which in [0, 1] {
        let mut bench = Bench::quiet(10_000);
        // As a firewall says of a peer that lives.
        let quote = bench.ask(which);
        bench.forge(which, Some(quote), Instant::now());
        assert!(bench.ends(which).is_some());
        bench.until(|bench| !bench.suspects(which));
        assert_eq!(bench.count(which, record::CLOSED), 0);
    }
}

#[test]
fn a_client_has_the_time_in_which_it_would_speak_by_itself() {
    let keep_alive = Duration::from_secs(100);
    for which in [0, 1] {
        let mut bench = Bench::quiet(100_000);
        let quote = bench.ask(which);
        bench.forge(which, Some(quote), Instant::now());
        let (conn, ends) = (bench.conn(which), bench.ends(which).unwrap());
        assert_eq!(ends >= conn.last_received + keep_alive + PATIENCE, conn.server);
    }
    let mut bench = Bench::quiet(0);
    let quote = bench.ask(1);
    bench.forge(1, Some(quote), Instant::now());
    assert_eq!(bench.ends(1), None, "nobody knows when it speaks");
}

#[test]
fn icmp_of_an_address_that_the_client_has_left_is_nothing() {
    let mut bench = Bench::quiet(0);
    let [_, far] = bench.ids();
    let old = bench.conn(1).remote;
    drop(bench.engines[0].rebind(Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap()));
    // The server learns of it last.
    assert!(matches!(bench.engines[1].open(far, Dir::Uni, b"where are you?", true), Open::Opened(..)));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bench.suspects(1) {
        assert!(Instant::now() < deadline);
        bench.turn(1);
    }
    let remembered = bench.conn(1).suspicion.as_ref().unwrap().sent;
    bench.until(|bench| !bench.suspects(1) && bench.count(0, record::OPENED) == 1);
    let new = bench.conn(1).remote;
    assert_ne!(new, old);
    assert_eq!(bench.engines[1].by_remote.iter().collect::<Vec<_>>(), [&(canonical(new), far)]);
    let later = Instant::now() + 2 * INTERVAL;
    for quote in remembered {
        bench.engines[1].unreachable(&Unreachable { destination: old, quote: Some(quote) }, later);
    }
    assert!(!bench.suspects(1));
    assert_eq!(bench.count(1, record::CLOSED), 0);
}
