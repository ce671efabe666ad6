//! QUIC and TLS for Node.js, on Node's own event loop.
//!
//! From the bottom up: `uv` (libuv's functions), `icmp` (who is not there), `socket`, `table`, `hello` (the ClientHello),
//! `tls` and `session` (a TLS configuration chosen by it), `reason`, `cubic`, `engine` (connections and
//! streams over quinn-proto), `runtime` (the engine on the loop), `api` (what JavaScript calls), `calls` (what
//! it calls for every request).

// In tests nobody is there to call the exported functions.
#![cfg_attr(test, allow(dead_code))]

mod api;
mod bbr;
mod calls;
mod cubic;
mod engine;
mod hello;
mod icmp;
mod reason;
mod runtime;
mod session;
mod socket;
mod table;
mod tls;
mod uv;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
