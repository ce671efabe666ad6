use super::line::{Line, MTU, Shape};
use super::*;
use proptest::prelude::*;

const RTT: Duration = Duration::from_millis(100);

fn shape(megabits: f64, milliseconds: u64, queue: f64, loss: f64) -> Shape {
    Shape { rate: megabits * 1e6, round_trip: Duration::from_millis(milliseconds), queue, loss }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_flow_alone_fills_the_line_and_hardly_its_queue() {
    for (line, queue) in [
        // Seven packets: three more are nearly half of it.
        (shape(2.0, 40, 20.0, 0.0), 0.7),
        (shape(20.0, 20, 4.0, 0.0), 0.25),
        (shape(100.0, 100, 1.0, 0.0), 0.1),
        (shape(200.0, 10, 1.0, 0.001), 0.25),
        (shape(1_000.0, 100, 2.0, 0.001), 0.1),
    ] {
        let mut line = Line::new(line, 1);
        line.run(seconds(3));
        let outcome = line.run(seconds(15));
        assert!(outcome.used > 0.96, "{outcome:?}");
        assert!(outcome.queue < queue, "{outcome:?}");
        assert!(outcome.dropped < 0.001, "{outcome:?}");
    }
}

#[test]
fn startup_fills_the_line_in_some_round_trips_and_does_not_flood_it() {
    let mut line = Line::new(shape(100.0, 50, 1.0, 0.0), 1);
    let outcome = line.run(seconds(2));
    assert!(outcome.used > 0.7, "{outcome:?}");
    assert!(outcome.dropped < 0.05, "{outcome:?}");
}

#[test]
fn a_short_queue_is_not_flooded() {
    for (queue, used, dropped) in [(0.25, 0.95, 0.01), (0.05, 0.9, 0.04)] {
        let mut line = Line::new(shape(100.0, 100, queue, 0.0), 1);
        line.run(seconds(4));
        let outcome = line.run(seconds(20));
        assert!(outcome.used > used, "{outcome:?}");
        assert!(outcome.dropped < dropped, "{outcome:?}");
    }
}

#[test]
fn losses_without_a_queue_do_not_slow_it_down() {
    for (loss, used) in [(0.01, 0.95), (0.05, 0.8)] {
        let mut line = Line::new(shape(100.0, 100, 1.0, loss), 1);
        line.run(seconds(4));
        let outcome = line.run(seconds(20));
        assert!(outcome.used > used, "{outcome:?}");
    }
}

#[test]
fn a_rate_that_changes_is_found_again() {
    let mut line = Line::new(shape(100.0, 40, 1.0, 0.0), 1);
    line.run(seconds(5));
    line.shape.rate = 20e6;
    line.run(seconds(8));
    let outcome = line.run(seconds(5));
    assert!(outcome.used > 0.95 && outcome.queue < 0.3, "slower: {outcome:?}");
    line.shape.rate = 100e6;
    line.run(seconds(8));
    let outcome = line.run(seconds(5));
    assert!(outcome.used > 0.95, "faster: {outcome:?}");
}

#[test]
fn a_round_trip_that_gets_longer_is_found_by_looking() {
    let mut line = Line::new(shape(100.0, 20, 2.0, 0.0), 1);
    line.run(seconds(5));
    line.shape.round_trip = Duration::from_millis(80);
    line.run(seconds(15));
    let outcome = line.run(seconds(10));
    assert!(outcome.used > 0.9, "{outcome:?}");
    assert!(line.flows[0].bbr.shortest_rtt.get() > Duration::from_millis(79));
}

#[test]
fn what_the_application_does_not_send_is_not_held_against_the_path() {
    let mut line = Line::new(shape(100.0, 50, 1.0, 0.0), 1);
    line.run(seconds(3));
    line.flows[0].offered = 2e6;
    let outcome = line.run(seconds(12));
    assert!((0.019..0.03).contains(&outcome.used), "{outcome:?}");
    line.flows[0].offered = f64::INFINITY;
    let outcome = line.run(seconds(1));
    assert!(outcome.used > 0.85, "{outcome:?}");
}

#[test]
fn an_application_that_sends_little_does_not_end_startup() {
    let mut line = Line::new(shape(100.0, 50, 1.0, 0.0), 1);
    line.flows[0].offered = 2e6;
    line.run(seconds(10));
    assert_eq!(line.flows[0].bbr.phase, Phase::Startup);
    line.flows[0].offered = f64::INFINITY;
    line.run(seconds(1));
    let outcome = line.run(seconds(3));
    assert!(outcome.used > 0.9, "{outcome:?}");
}

#[test]
fn flows_beside_each_other_all_get_something() {
    for queue in [0.25, 2.0] {
        let mut line = Line::new(shape(100.0, 40, queue, 0.0), 2);
        line.run(seconds(10));
        let outcome = line.run(seconds(30));
        assert!(outcome.used > 0.95, "{outcome:?}");
        assert!(outcome.dropped < 0.02, "{outcome:?}");
        assert!(outcome.shares.iter().all(|share| *share > 0.25), "{outcome:?}");
    }
}

#[test]
fn after_an_outage_it_starts_anew() {
    let mut line = Line::new(shape(50.0, 40, 1.0, 0.0), 1);
    line.run(seconds(4));
    line.shape.loss = 1.0;
    line.run(seconds(3));
    assert_eq!(line.flows[0].bbr.window, MINIMUM * MTU as f64);
    line.shape.loss = 0.0;
    line.run(seconds(2));
    let outcome = line.run(seconds(4));
    assert!(outcome.used > 0.95, "{outcome:?}");
}

#[test]
fn a_marked_packet_ends_startup() {
    let now = Instant::now();
    let mut bbr = Bbr::new(now, MTU as u16);
    bbr.sent(now, MTU);
    bbr.acknowledged(now + RTT, now, MTU, RTT);
    bbr.batch_acknowledged(now + RTT, 0, false);
    assert_eq!(bbr.phase, Phase::Startup);
    bbr.lost(now + RTT, now, 0);
    assert_eq!(bbr.phase, Phase::Drain);
}

#[test]
fn the_shortest_round_trip_outlives_a_silence_and_one_long_one_behind_it() {
    let start = Instant::now();
    let mut shortest = ShortestRtt::new(start);
    assert!(!shortest.is_known());
    shortest.add(start, RTT);
    let later = start + seconds(60);
    shortest.add(later, 5 * RTT);
    assert_eq!(shortest.get(), RTT);
    shortest.add(later + RTT, 2 * RTT);
    shortest.add(later + seconds(5), 3 * RTT);
    assert_eq!(shortest.get(), 2 * RTT);
}

#[test]
fn a_sample_is_what_was_delivered_by_the_slower_of_sending_and_acknowledging() {
    let start = Instant::now();
    let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
    let mut delivery = Delivery::new(start);
    // Ten in 90 ms, acknowledged in 9.
    for packet in 0..10 {
        delivery.on_sent(at(10 * packet), 1_000, RTT);
    }
    for packet in 0..10 {
        delivery.on_ack(at(200 + packet), at(10 * packet), 1_000);
        let sample = delivery.end_acks(at(200 + packet), 9_000 - 1_000 * packet, false, Duration::ZERO).unwrap();
        assert_eq!(sample.rtt, Duration::from_millis(200 - 9 * packet));
        assert_eq!(sample.acked, 1_000);
    }
    assert_eq!(delivery.delivered(), 10_000);
    // All of it was sent before anything was delivered.
    delivery.on_sent(at(300), 1_000, RTT);
    delivery.on_ack(at(400), at(300), 1_000);
    let sample = delivery.end_acks(at(400), 0, true, Duration::ZERO).unwrap();
    assert_eq!((sample.rate, sample.delivered_before, sample.app_limited), (Some(10_000.0), 10_000, false));
    delivery.on_sent(at(500), 1_000, RTT);
    delivery.on_ack(at(600), at(500), 1_000);
    assert!(delivery.end_acks(at(600), 0, true, Duration::ZERO).unwrap().app_limited);
}

#[test]
fn what_is_kept_of_sends_is_bounded_and_what_is_unknown_is_no_sample() {
    let start = Instant::now();
    let mut delivery = Delivery::new(start);
    for packet in 0..10_000u64 {
        delivery.on_sent(start + Duration::from_millis(packet), 1_000, RTT);
    }
    assert!(delivery.at(start).is_none(), "gone, as too many came behind it");
    assert_eq!(delivery.at(start + seconds(9)).map(|send| send.in_flight), Some(9_001_000));
    delivery.on_ack(start + seconds(10), start, 1_000);
    assert!(delivery.end_acks(start + seconds(10), 0, false, Duration::ZERO).is_none());
}

proptest! {
    #[test]
    fn the_window_stays_a_number_of_packets_that_keep_acknowledgements_coming(
        events in prop::collection::vec((0u8..6, 0u64..2_000, 0u64..500_000, any::<bool>()), 1..300),
    ) {
        let mut now = Instant::now();
        let mut bbr = Bbr::new(now, 1_200);
        let mut sends = vec![now];
        for (kind, wait, bytes, flag) in events {
            now += Duration::from_micros(wait * wait / 10);
            let sent = sends[bytes as usize % sends.len()];
            match kind {
                0 => bbr.on_congestion_event(now, sent, flag && wait < 50, bytes),
                1 => bbr.on_mtu_update(if flag { 1_452 } else { 6_400 }),
                2 | 3 => {
                    bbr.sent(now, bytes);
                    sends.push(now);
                }
                _ => {
                    bbr.acknowledged(now, sent, bytes, Duration::from_micros(wait));
                    bbr.batch_acknowledged(now, bytes / 2, flag);
                }
            }
            prop_assert!(bbr.window.is_finite());
            prop_assert!(bbr.window >= MINIMUM * 1_200.0, "{} in {:?}", bbr.window, bbr.phase);
        }
    }
}
