//! What the benchmarks compare with: quinn, rustls and tokio as a Rust program uses them, and plain TCP and UDP.
//!
//! A process is steered by lines on its standard input, one command each (`bulk bytes=536870912`), and
//! answers each with one line of JSON. It prints `READY <address>` (a client: `READY`) when it can begin,
//! and ends with its input. `bench/quic-worker.ts` is the same program on our engine, and takes the same
//! commands; what they mean on the wire is in `work.rs`.
//!
//!     bench-peer quic-server certificate=F key=F [listen=A] [streams=N] [mtu=N] [buffer=N] [idle=MS]
//!     bench-peer quic-client certificate=F key=F peer=F to=A [streams=N] [mtu=N] [buffer=N] [idle=MS]
//!     bench-peer tcp-server [listen=A]
//!     bench-peer tcp-client [to=A]
//!     bench-peer udp-server [listen=A]
//!     bench-peer udp-client

mod arguments;
mod quic_client;
mod quic_server;
mod tcp;
mod tls;
mod udp;
mod usage;
mod work;

use arguments::Arguments;
use std::process::ExitCode;

const ROLES: &str = "quic-server, quic-client, tcp-server, tcp-client, udp-server or udp-client";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<(), Failure> {
    let (role, rest) = words.split_first().ok_or_else(|| format!("expected a role: {ROLES}"))?;
    let arguments = Arguments::parse(rest)?;
    match role.as_str() {
        "quic-server" => on_one_thread(quic_server::serve(arguments)),
        "quic-client" => on_one_thread(quic_client::run(arguments)),
        "tcp-server" => tcp::serve(&arguments),
        "tcp-client" => tcp::run(&arguments),
        "udp-server" => udp::serve(&arguments),
        "udp-client" => udp::run(&arguments),
        other => Err(format!("unknown role {other:?}: expected {ROLES}").into()),
    }
}

/// Node has one thread for this work, so the peer has one.
fn on_one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
