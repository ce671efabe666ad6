//! Plain TCP: the two programs at the ends of a forwarded port. They must cost little, as every byte they
//! handle takes processor time from the forwarder that is measured.
//!
//! A client begins with 9 bytes: what it wants (`d`: the server sends, `u`: the client sends), and how many
//! bytes (u64, little-endian; 0: until the connection ends). An upload is answered with the count, u64.

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
    let mut server: Option<SocketAddr> = arguments.optional("to")?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (command, arguments) = Arguments::command(&line)?;
        if let Some(address) = arguments.optional("to")? {
            server = Some(address);
        }
        let server = server.ok_or("missing to=...")?;
        let answer = match command {
            "download" => download(server, arguments.required("bytes")?)?,
            "upload" => upload(server, arguments.required("bytes")?)?,
            "rate" => rate(server, arguments.required("warmup")?, arguments.required("measure")?)?,
            other => {
                return Err(format!("unknown command {other:?}: expected download, upload or rate").into());
            }
        };
        println!("{{{answer}}}");
    }
    Ok(())
}

fn begin(server: SocketAddr, what: u8, bytes: u64) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let mut head = vec![what];
    head.extend(bytes.to_le_bytes());
    stream.write_all(&head)?;
    Ok(stream)
}

fn download(server: SocketAddr, bytes: u64) -> Result<String, Failure> {
    let watch = Stopwatch::start();
    let mut stream = begin(server, DOWNLOAD, bytes)?;
    let total = receive(&mut stream, bytes)?;
    if total != bytes {
        return Err(format!("the connection ended after {total} of {bytes} bytes").into());
    }
    Ok(watch.fields())
}

fn upload(server: SocketAddr, bytes: u64) -> Result<String, Failure> {
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
fn rate(server: SocketAddr, warmup: f64, measure: f64) -> Result<String, Failure> {
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
