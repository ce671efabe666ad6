//! A server session that takes its TLS configuration when the whole ClientHello has come.
//!
//! A post-quantum ClientHello spans two datagrams, so peeking at the first packet is not enough:
//! the session collects CRYPTO data until the message is complete, asks for a decision, and only
//! then starts rustls with it.

use std::any::Any;
use std::sync::Arc;

use quinn_proto::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn_proto::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};

use crate::hello::{self, Hello, Progress};
use crate::tls::initial_server_config;

/// TLS alert `internal_error`.
const INTERNAL_ERROR: u8 = 80;

/// Chooses the configuration for a ClientHello, or an alert.
pub trait Configure: Send + Sync {
    fn configure(&self, hello: &Hello) -> Result<Arc<QuicServerConfig>, u8>;
}

/// Starts a [`Pending`] session for each connection.
pub struct ByHello {
    initial: Arc<QuicServerConfig>,
    configure: Arc<dyn Configure>,
}

impl ByHello {
    pub fn new(configure: Arc<dyn Configure>) -> Self {
        Self { initial: initial_server_config(), configure }
    }
}

impl ServerConfig for ByHello {
    fn initial_keys(&self, version: u32, destination: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        ServerConfig::initial_keys(&*self.initial, version, destination)
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.initial.retry_tag(version, original, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, parameters: &TransportParameters) -> Box<dyn Session> {
        Box::new(Pending {
            server: self,
            version,
            parameters: Box::new(*parameters),
            received: Vec::new(),
            started: None,
            encrypted: false,
            answered: false,
        })
    }
}

struct Pending {
    server: Arc<ByHello>,
    version: u32,
    parameters: Box<TransportParameters>,
    /// CRYPTO data so far; at most [`hello::MAX_HELLO`] and what one packet adds.
    received: Vec<u8>,
    started: Option<Box<dyn Session>>,
    /// The handshake has keys. From then on quinn-proto takes new CRYPTO data only under these.
    encrypted: bool,
    /// The client has sent handshake data under keys that only our answer could give it.
    answered: bool,
}

/// What a server session tells of its handshake.
pub struct HelloData {
    /// The ALPN selected.
    pub protocol: Option<Vec<u8>>,
    pub server_name: Option<String>,
    /// The client proved that it receives at its address.
    pub answered: bool,
}

impl Pending {
    fn decide(&mut self) -> Result<bool, TransportError> {
        let hello = match hello::parse(&self.received) {
            Progress::Incomplete => return Ok(false),
            Progress::Malformed(alert, reason) => return Err(failure(alert, reason)),
            Progress::Complete(hello) => hello,
        };
        let config =
            (self.server.configure).configure(&hello).map_err(|alert| failure(alert, "refused at the ClientHello"))?;
        let mut session = ServerConfig::start_session(config, self.version, &self.parameters);
        let ready = session.read_handshake(&std::mem::take(&mut self.received));
        self.started = Some(session);
        ready
    }
}

fn failure(alert: u8, reason: &str) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert), frame: None, reason: reason.into() }
}

impl Session for Pending {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        match &self.started {
            Some(session) => session.initial_keys(destination, side),
            // quinn-proto asks only for versions that `initial_keys` of the configuration took.
            None => ServerConfig::initial_keys(&*self.server.initial, self.version, destination)
                .unwrap_or_else(|_| unreachable!("the version was accepted before")),
        }
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        if let Some(session) = &mut self.started {
            // Not yet so for what follows the ClientHello in the Initial packets: anybody can forge those.
            self.answered |= self.encrypted;
            return session.read_handshake(bytes);
        }
        self.received.extend_from_slice(bytes);
        // The decision runs the user's code under quinn's frames: a panic ends this handshake only.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.decide()))
            .unwrap_or_else(|_| Err(failure(INTERNAL_ERROR, "panic while choosing a configuration")))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = self.started.as_ref()?.handshake_data()?.downcast::<HandshakeData>().ok()?;
        let HandshakeData { protocol, server_name, .. } = *data;
        Some(Box::new(HelloData { protocol, server_name, answered: self.answered }))
    }
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.started.as_ref()?.peer_identity()
    }
    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.started.as_ref()?.early_crypto()
    }
    fn early_data_accepted(&self) -> Option<bool> {
        self.started.as_ref()?.early_data_accepted()
    }
    fn is_handshaking(&self) -> bool {
        self.started.as_ref().is_none_or(|session| session.is_handshaking())
    }
    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        match &self.started {
            Some(session) => session.transport_parameters(),
            None => Ok(None),
        }
    }
    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.started.as_mut()?.write_handshake(buffer);
        self.encrypted |= keys.is_some();
        keys
    }
    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.started.as_mut()?.next_1rtt_keys()
    }
    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.started.as_ref().is_some_and(|session| session.is_valid_retry(original, header, payload))
    }
    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        match &self.started {
            Some(session) => session.export_keying_material(output, label, context),
            None => Err(ExportKeyingMaterialError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{ClientAuth, ClientTls, ServerTls, Verification};
    use quinn_proto::crypto::ClientConfig;

    const CERTIFICATE: &[u8] = include_bytes!("../testdata/ed25519.crt.der");
    const PRIVATE_KEY: &[u8] = include_bytes!("../testdata/ed25519.key.der");
    const VERSION: u32 = 1;

    struct Always(ServerTls);

    impl Configure for Always {
        fn configure(&self, hello: &Hello) -> Result<Arc<QuicServerConfig>, u8> {
            self.0.configure(&hello.alpn[0], false, false).map_err(|_| 80)
        }
    }

    /// A server's session, and a client's first message.
    fn started() -> (Box<dyn Session>, Vec<u8>) {
        let tls = ServerTls::new(vec![CERTIFICATE.into()], PRIVATE_KEY.into(), ClientAuth::None, false, None).unwrap();
        let server = Arc::new(ByHello::new(Arc::new(Always(tls))));
        let client = ClientTls::new(vec![b"test".to_vec()], Verification::Any, None, false, None).unwrap();
        let parameters = TransportParameters::read(Side::Client, &mut &[0x0f, 0][..]).unwrap();
        let mut client = client.config(false).start_session(VERSION, "unnamed.invalid", &parameters).unwrap();
        let mut hello = Vec::new();
        client.write_handshake(&mut hello);
        (server.start_session(VERSION, &parameters), hello)
    }

    fn answered(session: &dyn Session) -> Option<bool> {
        Some(session.handshake_data()?.downcast::<HelloData>().ok()?.answered)
    }

    #[test]
    fn a_hello_in_pieces_is_read_when_it_is_complete() {
        let (mut session, hello) = started();
        let (last, rest) = hello.split_last().unwrap();
        for byte in rest {
            assert!(!session.read_handshake(&[*byte]).unwrap());
            assert!(session.is_handshaking());
        }
        assert!(session.handshake_data().is_none());
        session.read_handshake(&[*last]).unwrap();
        assert_eq!(answered(&*session), Some(false));
    }

    #[test]
    fn data_after_the_hello_proves_no_address() {
        // All of it is in Initial packets, which anybody can write in anybody's name.
        let (mut session, hello) = started();
        session.read_handshake(&hello).unwrap();
        let _ = session.read_handshake(&[20, 0, 0, 32]);
        assert_eq!(answered(&*session), Some(false));
    }

    #[test]
    fn data_under_the_keys_of_our_answer_does() {
        let (mut session, hello) = started();
        session.read_handshake(&hello).unwrap();
        assert!(session.write_handshake(&mut Vec::new()).is_some());
        let _ = session.read_handshake(&[20, 0, 0, 32]);
        assert_eq!(answered(&*session), Some(true));
    }
}
