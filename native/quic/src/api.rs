//! What JavaScript calls. Free functions over numbers: they cost a tenth of class methods.
//!
//! Every entry catches panics; the error's text is then that of the panic.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::hmac;
use napi::bindgen_prelude::*;
use napi::{JsString, sys};
use napi_derive::napi;
use quinn_proto::{ClientConfig, EndpointConfig, HashedConnectionIdGenerator, ServerConfig, VarInt};
use rustls::pki_types::CertificateDer;

use crate::engine::{Congestion, Engine, Place, Transport};
use crate::reason::Reason;
use crate::runtime::{self, Callbacks, JsHooks, Runtime};
use crate::session::{ByHello, HelloData};
use crate::socket::{Socket, canonical, unspecified_v4};
use crate::table::Table;
use crate::tls::{ClientAuth, ClientTls, ServerTls, Verification};

thread_local! {
    static CLIENT_TLS: RefCell<Table<Rc<ClientTls>>> = RefCell::new(Table::new());
}

fn error(text: impl Into<String>) -> Error {
    Error::from_reason(text.into())
}

/// Use the engine of endpoint `id`; an error once it is closed.
pub(crate) fn with<R>(id: u32, f: impl FnOnce(&mut Engine) -> R) -> Result<R> {
    runtime::runtime(id)
        .ok_or_else(|| error("the endpoint is closed"))?
        .with(f)
        .map_err(error)?
        .ok_or_else(|| error("the endpoint is closed"))
}

fn bytes(list: Vec<Uint8Array>) -> Vec<Vec<u8>> {
    list.into_iter().map(|item| item.to_vec()).collect()
}

// --- TLS ---------------------------------------------------------------------------------------

#[napi(object, object_to_js = false)]
pub struct ServerTlsOptions {
    pub certificates: Vec<Uint8Array>,
    pub private_key: Uint8Array,
    /// 0 none, 1 request, 2 require
    pub client_certificate: u32,
    pub raw_public_keys: bool,
    pub key_log_file: Option<String>,
}

#[napi(catch_unwind)]
pub fn server_tls(options: ServerTlsOptions) -> Result<u32> {
    let client_auth = match options.client_certificate {
        0 => ClientAuth::None,
        1 => ClientAuth::Request,
        _ => ClientAuth::Require,
    };
    let tls = ServerTls::new(
        bytes(options.certificates),
        options.private_key.to_vec(),
        client_auth,
        options.raw_public_keys,
        options.key_log_file.as_deref(),
    )
    .map_err(error)?;
    runtime::add_server_tls(tls).ok_or_else(|| error("too many TLS configurations"))
}

#[napi(catch_unwind)]
pub fn forget_server_tls(id: u32) {
    runtime::forget_server_tls(id);
}

#[napi(object, object_to_js = false)]
pub struct ClientTlsOptions {
    /// Latin-1 bytes of each name.
    pub alpn: Vec<Uint8Array>,
    /// 0 public keys, 1 SHA-256 of the leaf, 2 CA certificates, 3 anybody
    pub trust: u32,
    pub trusted: Vec<Uint8Array>,
    pub certificates: Option<Vec<Uint8Array>>,
    pub private_key: Option<Uint8Array>,
    pub raw_public_keys: bool,
    pub key_log_file: Option<String>,
}

#[napi(catch_unwind)]
pub fn client_tls(options: ClientTlsOptions) -> Result<u32> {
    let trusted = bytes(options.trusted);
    let verification = match options.trust {
        0 => Verification::PublicKeys(trusted),
        1 => Verification::CertificateSha256(trusted),
        2 => Verification::Roots(trusted),
        _ => Verification::Any,
    };
    let identity = options.private_key.map(|key| (bytes(options.certificates.unwrap_or_default()), key.to_vec()));
    let tls = ClientTls::new(
        bytes(options.alpn),
        verification,
        identity,
        options.raw_public_keys,
        options.key_log_file.as_deref(),
    )
    .map_err(error)?;
    CLIENT_TLS
        .with_borrow_mut(|all| all.insert_with(|_| Rc::new(tls)))
        .ok_or_else(|| error("too many TLS configurations"))
}

#[napi(catch_unwind)]
pub fn forget_client_tls(id: u32) {
    let gone = CLIENT_TLS.with_borrow_mut(|all| {
        let gone = all.remove(id);
        all.reuse();
        gone
    });
    drop(gone);
}

// --- endpoint ------------------------------------------------------------------------------------

#[napi(object, object_to_js = false)]
pub struct TransportOptions {
    pub idle_timeout: f64,
    pub keep_alive: f64,
    pub handshake_timeout: f64,
    pub max_streams: f64,
    pub stream_receive_window: f64,
    pub receive_window: f64,
    pub send_window: f64,
    pub initial_mtu: u32,
    pub mtu_upper_bound: u32,
    /// 0 cubic, 1 newreno, 2 bbr
    pub congestion: u32,
    pub datagram_buffer: u32,
}

/// Longest time that is counted with, in milliseconds: 24 days.
const MAX_TIME: u64 = (1 << 31) - 1;
/// Most streams that a peer may have open: at the start, when all of them cost memory, and ever.
const MAX_STREAMS: u64 = 1 << 16;
const MAX_STREAMS_EVER: u64 = 1 << 20;

impl From<TransportOptions> for Transport {
    fn from(options: TransportOptions) -> Self {
        let time = |milliseconds: f64| (milliseconds as u64).min(MAX_TIME);
        Self {
            idle_timeout: time(options.idle_timeout),
            keep_alive: time(options.keep_alive),
            handshake_timeout: time(options.handshake_timeout),
            max_streams: (options.max_streams as u64).min(MAX_STREAMS),
            stream_receive_window: options.stream_receive_window as u64,
            receive_window: options.receive_window as u64,
            send_window: options.send_window as u64,
            // Above, the packets of a handshake are longer than the initial congestion window allows.
            initial_mtu: options.initial_mtu.clamp(1200, 10_000) as u16,
            mtu_upper_bound: options.mtu_upper_bound.clamp(1200, 65_000) as u16,
            congestion: match options.congestion {
                1 => Congestion::NewReno,
                2 => Congestion::Bbr,
                _ => Congestion::Cubic,
            },
            datagram_buffer: options.datagram_buffer as usize,
        }
    }
}

#[napi(object, object_to_js = false)]
pub struct BindOptions {
    pub address: String,
    pub port: u16,
    pub socket_buffer: u32,
    pub reset_key: Option<Uint8Array>,
    pub server: bool,
    /// Whether `admit` has something to say; else everybody is accepted. Default: it has.
    pub admits: Option<bool>,
    /// Of connections that are accepted, and of dialed ones where `connect` says nothing else.
    pub transport: TransportOptions,
}

#[napi(catch_unwind)]
pub fn bind(
    env: Env,
    options: BindOptions,
    wake: Function<'_, (), ()>,
    admit: Function<'_, (), f64>,
    configure: Function<'_, (), f64>,
) -> Result<u32> {
    let ip: IpAddr =
        options.address.parse().map_err(|_| error(format!("EINVAL: {:?} is no IP address", options.address)))?;
    let wanted = SocketAddr::new(ip, options.port);
    let buffer = options.socket_buffer as usize;
    let socket = match Socket::bind(wanted, buffer) {
        Err(failed) if matches!(failed.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            match unspecified_v4(wanted) {
                Some(fallback) => Socket::bind(fallback, buffer),
                None => Err(failed),
            }
        }
        result => result,
    }
    .map_err(|failed| error(os_error(&failed)))?;

    let mut config = match &options.reset_key {
        Some(key) => {
            let reset_key = hmac::Key::new(hmac::HMAC_SHA256, key);
            // Connection ids must be recognised after a restart too, or no reset is sent for them.
            let tag = hmac::sign(&reset_key, b"connection ids");
            let cid_key = u64::from_le_bytes(tag.as_ref()[..8].try_into().unwrap_or_default());
            let mut config = EndpointConfig::new(Arc::new(reset_key));
            config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
            config
        }
        None => EndpointConfig::default(),
    };
    config.max_udp_payload_size(65_527).map_err(|failed| error(failed.to_string()))?;

    let id = runtime::reserve().ok_or_else(|| error("too many endpoints"))?;
    let server = options.server.then(|| {
        let mut server = ServerConfig::with_crypto(Arc::new(ByHello::new(Arc::new(JsHooks { id, admits: false }))));
        server.validation_token.sent(0);
        server
    });
    let hooks = JsHooks { id, admits: options.admits.unwrap_or(true) };
    let engine = Engine::new(config, socket, Box::new(hooks), server, options.transport.into());

    let env = env.raw();
    let reference = |value: sys::napi_value| {
        let mut reference = ptr::null_mut();
        // SAFETY: a live function in the scope of this call.
        unsafe { sys::napi_create_reference(env, value, 1, &mut reference) };
        reference
    };
    let mut context = ptr::null_mut();
    // SAFETY: values of this call's scope.
    unsafe {
        let (mut name, mut resource) = (ptr::null_mut(), ptr::null_mut());
        sys::napi_create_string_utf8(env, c"quic".as_ptr(), 4, &mut name);
        sys::napi_create_object(env, &mut resource);
        sys::napi_async_init(env, resource, name, &mut context);
    }
    let callbacks = Callbacks {
        env,
        wake: reference(wake.raw()),
        admit: reference(admit.raw()),
        configure: reference(configure.raw()),
        context,
    };
    Runtime::start(id, engine, callbacks).map_err(|reason| {
        runtime::give_back(id);
        error(reason)
    })?;
    Ok(id)
}

/// `CODE: text`, as Node's own socket errors begin.
fn os_error(failed: &std::io::Error) -> String {
    let code = match failed.raw_os_error() {
        Some(libc::EADDRINUSE) => "EADDRINUSE",
        Some(libc::EACCES) => "EACCES",
        Some(libc::EADDRNOTAVAIL) => "EADDRNOTAVAIL",
        Some(libc::EAFNOSUPPORT) => "EAFNOSUPPORT",
        Some(libc::EMFILE) => "EMFILE",
        Some(libc::EPERM) => "EPERM",
        _ => "EIO",
    };
    format!("{code}: {failed}")
}

#[napi(object, object_from_js = false)]
pub struct EndpointInfo {
    pub address: String,
    pub port: u16,
    pub ipv6: bool,
    pub receive_buffer: u32,
    pub send_buffer: u32,
    pub connections: u32,
    pub handshakes: u32,
    pub streams: u32,
    /// Connections whose state the protocol still holds, closing ones included.
    pub held: u32,
    pub send_errors: f64,
    pub last_send_error: Option<String>,
}

#[napi(catch_unwind)]
pub fn endpoint_info(endpoint: u32) -> Result<EndpointInfo> {
    with(endpoint, |engine| {
        let local = engine.socket().local_address();
        let (receive, send) = engine.socket().buffers();
        let (connections, handshakes, streams, held) = engine.counts();
        EndpointInfo {
            address: local.ip().to_string(),
            port: local.port(),
            ipv6: local.is_ipv6(),
            receive_buffer: receive as u32,
            send_buffer: send as u32,
            connections: connections as u32,
            handshakes: handshakes as u32,
            streams: streams as u32,
            held: held as u32,
            send_errors: engine.send_errors.0 as f64,
            last_send_error: engine.send_errors.1.as_ref().map(os_error),
        }
    })
}

#[napi(catch_unwind)]
pub fn rebind(endpoint: u32, address: String, port: u16, socket_buffer: u32) -> Result<()> {
    let ip: IpAddr = address.parse().map_err(|_| error(format!("EINVAL: {address:?} is no IP address")))?;
    let socket =
        Socket::bind(SocketAddr::new(ip, port), socket_buffer as usize).map_err(|failed| error(os_error(&failed)))?;
    let runtime = runtime::runtime(endpoint).ok_or_else(|| error("the endpoint is closed"))?;
    runtime.rebind(socket).map_err(error)
}

#[napi(catch_unwind)]
pub fn address_changed(endpoint: u32) -> Result<()> {
    with(endpoint, Engine::address_changed)
}

#[napi(catch_unwind)]
pub fn stop_accepting(endpoint: u32) -> Result<()> {
    with(endpoint, Engine::stop_accepting)
}

/// End an admitted handshake without a word, to make room; also from inside `admit`.
#[napi(catch_unwind)]
pub fn drop_handshake(endpoint: u32, handshake: u32) {
    if let Some(runtime) = runtime::runtime(endpoint) {
        runtime.drop_handshake(handshake);
    }
}

#[napi(catch_unwind)]
pub fn set_referenced(endpoint: u32, on: bool) {
    if let Some(runtime) = runtime::runtime(endpoint) {
        runtime.set_referenced(on);
    }
}

/// Close every connection; a DRAINED record follows.
#[napi(catch_unwind)]
pub fn close_all(endpoint: u32, code: f64, reason: &[u8]) -> Result<()> {
    with(endpoint, |engine| engine.close_all(code as u64, reason))?;
    flush(endpoint);
    Ok(())
}

/// Give back the socket and all state, at once.
#[napi(catch_unwind)]
pub fn destroy(endpoint: u32) {
    if let Some(runtime) = runtime::runtime(endpoint) {
        runtime.shutdown();
    }
}

/// Send what is queued now, and not at the end of this tick.
#[napi(catch_unwind)]
pub fn flush(endpoint: u32) {
    if let Some(runtime) = runtime::runtime(endpoint) {
        runtime.run(false);
    }
}

/// Fill `records` and the slabs. `header` gets: records, end of large, end of small, 1 when there is more.
#[napi(catch_unwind)]
pub fn drain(
    endpoint: u32,
    mut header: Uint32ArraySlice<'_>,
    mut records: Uint32ArraySlice<'_>,
    mut large: Uint8ArraySlice<'_>,
    mut small: Uint8ArraySlice<'_>,
) -> Result<()> {
    // SAFETY: JavaScript's own arrays, which nothing else touches during this call.
    let (header, records, large, small) =
        unsafe { (header.as_mut(), records.as_mut(), large.as_mut(), small.as_mut()) };
    if header.len() < 4 {
        return Err(error("the header has fewer than 4 places"));
    }
    let (large_start, small_start) = (header[1] as usize, header[2] as usize);
    if large_start > large.len() || small_start > small.len() {
        return Err(error("an offset lies outside its slab"));
    }
    if large.as_ptr_range().start < small.as_ptr_range().end && small.as_ptr_range().start < large.as_ptr_range().end {
        return Err(error("the slabs share memory"));
    }
    with(endpoint, |engine| {
        let (count, large_end, small_end) = engine.drain(records, large, large_start, small, small_start);
        header[..4].copy_from_slice(&[count as u32, large_end as u32, small_end as u32, engine.has_ready().into()]);
    })
}

#[napi(object, object_from_js = false)]
pub struct HandshakeFailure {
    pub handshake: u32,
    pub address: String,
    pub port: u16,
    pub validated: bool,
    pub reason: CloseReason,
}

#[napi(catch_unwind)]
pub fn take_failure(endpoint: u32) -> Result<Option<HandshakeFailure>> {
    with(endpoint, |engine| {
        engine.take_failure().map(|failure| HandshakeFailure {
            handshake: failure.handshake,
            address: failure.source.ip().to_string(),
            port: failure.source.port(),
            validated: failure.validated,
            reason: (&failure.reason).into(),
        })
    })
}

// --- connections -----------------------------------------------------------------------------------

#[napi(object, object_from_js = false)]
pub struct CloseReason {
    pub kind: u32,
    pub by_peer: bool,
    pub code: f64,
    pub text: String,
}

impl From<&Reason> for CloseReason {
    fn from(reason: &Reason) -> Self {
        Self { kind: reason.kind as u32, by_peer: reason.by_peer, code: reason.code as f64, text: reason.text.clone() }
    }
}

#[napi(catch_unwind)]
pub fn connect(
    endpoint: u32,
    tls: u32,
    address: String,
    port: u16,
    server_name: Option<String>,
    transport: Option<TransportOptions>,
) -> Result<u32> {
    let ip: IpAddr = address.parse().map_err(|_| error(format!("EINVAL: {address:?} is no IP address")))?;
    let tls = CLIENT_TLS
        .with_borrow(|all| all.get(tls).cloned())
        .ok_or_else(|| error("the TLS configuration is of another thread"))?;
    let config = ClientConfig::new(tls.config(server_name.is_some()));
    // rustls wants a name even where none is sent or checked.
    let name = server_name.as_deref().unwrap_or("unnamed.invalid");
    let transport = transport.map(Transport::from);
    with(endpoint, |engine| engine.connect(config, transport, SocketAddr::new(ip, port), name))?.map_err(error)
}

/// The address of the peer, its port, and what the handshake found, as one Latin-1 string, which costs a tenth
/// of an object: two bytes of port, one each of the lengths of address, ALPN and server name (0: none), one
/// that is 1 for a raw public key, the three texts, and the peer's leaf.
#[napi(catch_unwind)]
pub fn connection_info<'env>(env: &'env Env, endpoint: u32, connection: u32) -> Result<Option<JsString<'env>>> {
    let info = with(endpoint, |engine| engine.connection(connection).map(describe))?;
    info.map(|info| env.create_string_latin1(info)).transpose()
}

fn describe(connection: &quinn_proto::Connection) -> Vec<u8> {
    let session = connection.crypto_session();
    let (mut alpn, mut server_name) = (None, None);
    if let Some(data) = session.handshake_data() {
        match data.downcast::<HelloData>() {
            Ok(data) => (alpn, server_name) = (data.protocol, data.server_name),
            Err(data) => {
                if let Ok(data) = data.downcast::<quinn_proto::crypto::rustls::HandshakeData>() {
                    alpn = data.protocol;
                }
            }
        }
    }
    let chain = session.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_ref().and_then(|chain| chain.first()).map_or(&[][..], |leaf| leaf);
    let remote = canonical(connection.remote_address());
    let address = remote.ip().to_string();
    let alpn = alpn.unwrap_or_default();
    // rustls gives names of at most 253 bytes (RFC 1035 §2.3.4), and none that is empty.
    let server_name = server_name.filter(|name| name.len() < 256).unwrap_or_default();
    let [high, low] = remote.port().to_be_bytes();
    let lengths = [high, low, address.len() as u8, alpn.len() as u8, server_name.len() as u8];
    [&lengths[..], &[is_raw_key(leaf).into()], address.as_bytes(), &alpn, server_name.as_bytes(), leaf].concat()
}

/// A leaf that TLS has taken is a Certificate or a SubjectPublicKeyInfo (RFC 5280 §4.1): a SEQUENCE whose first
/// part is a SEQUENCE, which in the latter alone begins with an object identifier.
fn is_raw_key(leaf: &[u8]) -> bool {
    fn inside(der: &[u8]) -> Option<&[u8]> {
        match der {
            [0x30, short, rest @ ..] if *short < 0x80 => Some(rest),
            [0x30, long, rest @ ..] => rest.get(usize::from(long & 0x7f)..),
            _ => None,
        }
    }
    inside(leaf).and_then(inside).is_some_and(|algorithm| algorithm.first() == Some(&0x06))
}

#[napi(catch_unwind)]
pub fn close_reason(endpoint: u32, connection: u32) -> Result<Option<CloseReason>> {
    with(endpoint, |engine| engine.close_reason(connection).map(CloseReason::from))
}

/// Streams of the connection that are not done.
#[napi(catch_unwind)]
pub fn stream_ids(endpoint: u32, connection: u32) -> Result<Uint32Array> {
    with(endpoint, |engine| Uint32Array::from(engine.stream_ids(connection)))
}

#[napi(catch_unwind)]
pub fn close(endpoint: u32, connection: u32, code: f64, reason: &[u8]) -> Result<()> {
    with(endpoint, |engine| engine.close(connection, code as u64, reason))
}

#[napi(catch_unwind)]
pub fn drop_connection(endpoint: u32, connection: u32) -> Result<()> {
    with(endpoint, |engine| engine.drop_connection(connection))
}

#[napi(catch_unwind)]
pub fn release(endpoint: u32, connection: u32) -> Result<()> {
    with(endpoint, |engine| engine.release(connection))
}

/// rtt (ms), mtu, congestion window, lost, sent, congestion events, bytes sent, bytes received,
/// datagrams sent, datagrams received, path changes, silence (ms)
#[napi(catch_unwind)]
pub fn statistics(endpoint: u32, connection: u32) -> Result<Option<Vec<f64>>> {
    with(endpoint, |engine| {
        engine.statistics(connection).map(|stats| {
            vec![
                stats.rtt.as_secs_f64() * 1000.0,
                stats.mtu.into(),
                stats.congestion_window as f64,
                stats.lost_packets as f64,
                stats.sent_packets as f64,
                stats.congestion_events as f64,
                stats.bytes_sent as f64,
                stats.bytes_received as f64,
                stats.datagrams_sent as f64,
                stats.datagrams_received as f64,
                stats.path_changes.into(),
                stats.silence.as_secs_f64() * 1000.0,
            ]
        })
    })
}

#[napi(catch_unwind)]
pub fn export_keying_material(
    endpoint: u32,
    connection: u32,
    label: &[u8],
    context: &[u8],
    length: u32,
) -> Result<Option<Buffer>> {
    // RFC 8446 §7.1: HKDF-Expand gives at most 255 hashes.
    if length > 255 * 32 {
        return Err(error(format!("cannot export {length} bytes of keying material: expected at most 8160")));
    }
    with(endpoint, |engine| {
        let connection = engine.connection(connection)?;
        let mut output = vec![0; length as usize];
        connection.crypto_session().export_keying_material(&mut output, label, context).ok()?;
        Some(Buffer::from(output))
    })
}

/// Negative: leave as it is.
#[napi(catch_unwind)]
pub fn set_limits(endpoint: u32, connection: u32, streams: f64, receive: f64, send: f64) -> Result<()> {
    let given = |value: f64| (value >= 0.0).then_some((value as u64).min(VarInt::MAX.into_inner()));
    with(endpoint, |engine| {
        engine.set_limits(
            connection,
            given(streams).map(|streams| streams.min(MAX_STREAMS_EVER)),
            given(receive),
            given(send),
        )
    })
}

#[napi(catch_unwind)]
pub fn send_datagram(endpoint: u32, connection: u32, data: &[u8]) -> Result<bool> {
    with(endpoint, |engine| engine.send_datagram(connection, data))
}

#[napi(catch_unwind)]
pub fn max_datagram(endpoint: u32, connection: u32) -> Result<u32> {
    with(endpoint, |engine| engine.max_datagram(connection) as u32)
}

// --- streams -------------------------------------------------------------------------------------------

#[napi(catch_unwind)]
pub fn reset(endpoint: u32, stream: u32, code: f64) -> Result<()> {
    with(endpoint, |engine| engine.reset(stream, code as u64))
}

#[napi(catch_unwind)]
pub fn stop(endpoint: u32, stream: u32, code: f64) -> Result<()> {
    with(endpoint, |engine| engine.stop(stream, code as u64))
}

#[napi(catch_unwind)]
pub fn flow(endpoint: u32, stream: u32, on: bool) -> Result<()> {
    with(endpoint, |engine| engine.flow(stream, on))
}

/// A FINISHED record follows when the stream's end is acknowledged.
#[napi(catch_unwind)]
pub fn watch(endpoint: u32, stream: u32) -> Result<()> {
    with(endpoint, |engine| engine.watch(stream))
}

/// A FLUSHED record follows; false: every stream that was ended is acknowledged already.
#[napi(catch_unwind)]
pub fn flush_streams(endpoint: u32, connection: u32) -> Result<bool> {
    with(endpoint, |engine| engine.flush_streams(connection))
}

/// A PONG record follows when the peer has acknowledged something; false: the connection has ended.
#[napi(catch_unwind)]
pub fn ping(endpoint: u32, connection: u32) -> Result<bool> {
    with(endpoint, |engine| engine.ping(connection))
}

// --- tests of the boundary -----------------------------------------------------------------------------

/// Panic inside a call: it must become that call's error.
#[napi(catch_unwind)]
pub fn panic_in_call(endpoint: u32) -> Result<()> {
    with(endpoint, |_| panic!("injected"))
}

/// Panic while a connection is being processed, or read from: it must end that connection only.
#[napi(catch_unwind)]
pub fn panic_in_connection(endpoint: u32, connection: u32, reading: bool) -> Result<()> {
    let place = if reading { Place::Drain } else { Place::Turn };
    with(endpoint, |engine| engine.inject_panic(connection, place))
}
