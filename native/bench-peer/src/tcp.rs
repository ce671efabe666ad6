//! Plain TCP: the two programs at the ends of a forwarded port. They must cost little, as every byte they
//! handle takes processor time from the forwarder that is measured.
//!
//! A client begins with 9 bytes: what it wants (`d`: the server sends, `u`: the client sends), and how many
//! bytes (u64, little-endian; 0: until the connection ends). An upload is answered with the count, u64.
//! With `via=A` it goes through the SOCKS 5 proxy there.

use crate::Failure;
use crate::arguments::Arguments;
use crate::usage::Stopwatch;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const CHUNK: usize = 262_144;
const DOWNLOAD: u8 = b'd';
const UPLOAD: u8 = b'u';

pub fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.optional("listen")?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind(address)?;
    println!("READY {}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that leaves in the middle ends its own thread only.
            std::thread::spawn(move || answer(stream).ok());
        }
    });
    // Our parent keeps our input open for as long as it wants us.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let bytes = u64::from_le_bytes(head[1..].try_into()?);
    let bytes = if bytes == 0 { u64::MAX } else { bytes };
    if head[0] == UPLOAD {
        let total = receive(&mut stream, bytes)?;
        stream.write_all(&total.to_le_bytes())?;
    } else {
        send(&mut stream, bytes)?;
    }
    Ok(())
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    println!("READY");
    let mut given: Option<SocketAddr> = arguments.optional("to")?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (command, arguments) = Arguments::command(&line)?;
        given = arguments.optional("to")?.or(given);
        let server = Way { to: given.ok_or("missing to=...")?, via: arguments.optional("via")? };
        let answer = match command {
            "download" => download(server, arguments.required("bytes")?)?,
            "upload" => upload(server, arguments.required("bytes")?)?,
            "rate" => rate(server, arguments.required("warmup")?, arguments.required("measure")?)?,
            "connections" => connections(server, arguments.required("count")?, arguments.required("parallel")?)?,
            other => {
                return Err(format!("unknown command {other:?}: expected download, upload, rate or connections").into());
            }
        };
        println!("{{{answer}}}");
    }
    Ok(())
}

/// A server, and the proxy in front of it.
#[derive(Clone, Copy)]
struct Way {
    to: SocketAddr,
    via: Option<SocketAddr>,
}

fn begin(server: Way, what: u8, bytes: u64) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(server.via.unwrap_or(server.to))?;
    stream.set_nodelay(true)?;
    if server.via.is_some() {
        ask_proxy(&mut stream, server.to)?;
    }
    let mut head = vec![what];
    head.extend(bytes.to_le_bytes());
    stream.write_all(&head)?;
    Ok(stream)
}

/// RFC 1928: no login, and CONNECT to an IPv4 address.
fn ask_proxy(stream: &mut TcpStream, target: SocketAddr) -> Result<(), Failure> {
    let SocketAddr::V4(target) = target else { return Err("expected an IPv4 address behind a proxy".into()) };
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    if method != [5, 0] {
        return Err(format!("the proxy wants a login: {method:?}").into());
    }
    let mut request = vec![5, 1, 0, 1];
    request.extend(target.ip().octets());
    request.extend(target.port().to_be_bytes());
    stream.write_all(&request)?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    match reply {
        [5, 0, 0, 1, ..] => Ok(()),
        _ => Err(format!("the proxy refused, or told no IPv4 address: {reply:?}").into()),
    }
}

/// Connections that have a byte come each, `parallel` at a time.
fn connections(server: Way, count: usize, parallel: usize) -> Result<String, Failure> {
    let watch = Stopwatch::start();
    let one_by_one = || -> Result<(), Failure> {
        for _ in 0..count / parallel {
            download_some(server, 1)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel).map(|_| scope.spawn(one_by_one)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread failed")?)
    })?;
    Ok(watch.fields())
}

fn download(server: Way, bytes: u64) -> Result<String, Failure> {
    let watch = Stopwatch::start();
    download_some(server, bytes)?;
    Ok(watch.fields())
}

fn download_some(server: Way, bytes: u64) -> Result<(), Failure> {
    let mut stream = begin(server, DOWNLOAD, bytes)?;
    match receive(&mut stream, bytes)? {
        total if total == bytes => Ok(()),
        total => Err(format!("the connection ended after {total} of {bytes} bytes").into()),
    }
}

fn upload(server: Way, bytes: u64) -> Result<String, Failure> {
    let watch = Stopwatch::start();
    let mut stream = begin(server, UPLOAD, bytes)?;
    send(&mut stream, bytes)?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    if count != bytes.to_le_bytes() {
        return Err(format!("the server counted {} of {bytes} bytes", u64::from_le_bytes(count)).into());
    }
    Ok(watch.fields())
}

/// Download for `warmup` and then `measure` seconds; what came in the latter, and in each of its seconds.
fn rate(server: Way, warmup: f64, measure: f64) -> Result<String, Failure> {
    let mut stream = begin(server, DOWNLOAD, 0)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = vec![0; CHUNK];
    let begin = Instant::now();
    let (from, to) = (Duration::from_secs_f64(warmup), Duration::from_secs_f64(warmup + measure));
    let mut total = 0;
    let mut seconds: Vec<u64> = Vec::new();
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Err("the connection ended during the measurement".into()),
            Ok(length) => length as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => return Err(error.into()),
        };
        let now = begin.elapsed();
        if now >= to {
            let list: Vec<String> = seconds.iter().map(u64::to_string).collect();
            return Ok(format!("\"seconds\":{measure},\"bytes\":{total},\"eachSecond\":[{}]", list.join(",")));
        }
        if now >= from {
            total += read;
            let at = (now - from).as_secs() as usize;
            seconds.resize(seconds.len().max(at + 1), 0);
            seconds[at] += read;
        }
    }
}

fn receive(stream: &mut TcpStream, bytes: u64) -> Result<u64, Failure> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    while total < bytes {
        let most = (bytes - total).min(CHUNK as u64) as usize;
        match stream.read(&mut buffer[..most])? {
            0 => break,
            length => total += length as u64,
        }
    }
    Ok(total)
}

fn send(stream: &mut TcpStream, bytes: u64) -> Result<(), Failure> {
    let buffer = vec![1; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK as u64) as usize;
        stream.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    Ok(())
}
