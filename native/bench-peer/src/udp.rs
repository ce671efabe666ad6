//! UDP: a server that sends back what comes, and a client that counts what comes back.
//!
//! Each packet begins with its number (u64, little-endian).

use crate::Failure;
use crate::arguments::Arguments;
use crate::usage::Stopwatch;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const MAX_PACKET: usize = 65_536;
/// What is not back by then is lost.
const PATIENCE: Duration = Duration::from_millis(500);

pub fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.optional("listen")?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let socket = UdpSocket::bind(address)?;
    println!("READY {}", socket.local_addr()?);
    std::thread::spawn(move || -> Result<(), Failure> {
        let mut packet = vec![0; MAX_PACKET];
        loop {
            let (length, from) = socket.recv_from(&mut packet)?;
            socket.send_to(&packet[..length], from)?;
        }
    });
    // Our parent keeps our input open for as long as it wants us.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

pub fn run(_arguments: &Arguments) -> Result<(), Failure> {
    println!("READY");
    for line in std::io::stdin().lines() {
        let line = line?;
        let (command, arguments) = Arguments::command(&line)?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(arguments.required::<SocketAddr>("to")?)?;
        let load = Load { packets: arguments.required("packets")?, size: arguments.required("size")? };
        let answer = match command {
            "flight" => flight(&socket, load, arguments.required("flight")?)?,
            "paced" => paced(&socket, load, arguments.required("rate")?)?,
            other => return Err(format!("unknown command {other:?}: expected flight or paced").into()),
        };
        println!("{{{answer}}}");
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Load {
    packets: u64,
    /// Bytes of each, 8 at least.
    size: usize,
}

/// As fast as they come back, with `flight` on their way; these are given up together when none comes back any more.
fn flight(socket: &UdpSocket, load: Load, flight: u64) -> Result<String, Failure> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let watch = Stopwatch::start();
    let mut packet = vec![0; load.size];
    let (mut sent, mut back, mut given_up) = (0, 0, 0);
    while back + given_up < load.packets {
        // Some that were given up come after all.
        while sent < load.packets && sent.saturating_sub(back + given_up) < flight {
            packet[..8].copy_from_slice(&u64::to_le_bytes(sent));
            socket.send(&packet)?;
            sent += 1;
        }
        match socket.recv(&mut packet) {
            Ok(_) => back += 1,
            Err(error) if is_silence(&error) => given_up = sent.saturating_sub(back),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("{},\"back\":{back}", watch.fields()))
}

/// `rate` a second, whether or not they come back.
fn paced(socket: &UdpSocket, load: Load, rate: f64) -> Result<String, Failure> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let watch = Stopwatch::start();
    let back = std::thread::scope(|scope| -> Result<u64, Failure> {
        let receiver = scope.spawn(|| {
            let mut packet = vec![0; load.size];
            let mut back = 0;
            while back < load.packets && socket.recv(&mut packet).is_ok() {
                back += 1;
            }
            back
        });
        let mut packet = vec![0; load.size];
        let begin = Instant::now();
        for number in 0..load.packets {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            packet[..8].copy_from_slice(&number.to_le_bytes());
            socket.send(&packet)?;
        }
        receiver.join().map_err(|_| "the receiver failed".into())
    })?;
    Ok(format!("{},\"back\":{back}", watch.fields()))
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
