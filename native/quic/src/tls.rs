//! TLS configurations: what a side shows, what it asks for, and how it judges the other's key.
//!
//! A server accepts any leaf whose `CertificateVerify` holds and leaves the judgement to its
//! caller. A client always has a reason to trust: a pin, or a CA and a name.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, KeyLog, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

/// Longest certificate chain of a peer that is looked at, in bytes.
pub const MAX_CHAIN: usize = 16 * 1024;

/// Configurations that a server keeps for ALPNs seen; above it, they are made anew each time.
const MAX_CACHED: usize = 64;

/// DER of an Ed25519 SubjectPublicKeyInfo before its 32 bytes of key (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// aws-lc-rs with X25519MLKEM768 first.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    None,
    Request,
    Require,
}

/// ALPN, whether we show a raw key, whether the client does.
type Negotiated = (Vec<u8>, bool, bool);

/// A server's side of TLS, without the ALPN, which is known only at the ClientHello.
pub struct ServerTls {
    x509: Arc<CertifiedKey>,
    raw: Option<Arc<CertifiedKey>>,
    client_auth: ClientAuth,
    key_log: Option<Arc<dyn KeyLog>>,
    cache: Mutex<HashMap<Negotiated, Arc<QuicServerConfig>>>,
}

impl ServerTls {
    pub fn new(
        certificates: Vec<Vec<u8>>,
        private_key: Vec<u8>,
        client_auth: ClientAuth,
        raw_public_keys: bool,
        key_log: Option<&str>,
    ) -> Result<Self, String> {
        let key = signing_key(private_key)?;
        let raw = match raw_public_keys {
            true => Some(Arc::new(raw_certified(&key)?)),
            false => None,
        };
        Ok(Self {
            x509: Arc::new(certified(certificates, key)?),
            raw,
            client_auth,
            key_log: key_log.map(open_key_log).transpose()?,
            cache: Mutex::default(),
        })
    }

    /// The configuration that selects `alpn`, showing and asking for raw keys as the client prefers.
    pub fn configure(&self, alpn: &[u8], server_raw: bool, client_raw: bool) -> Result<Arc<QuicServerConfig>, Error> {
        let server_raw = server_raw && self.raw.is_some();
        let client_raw = client_raw && self.raw.is_some() && self.client_auth != ClientAuth::None;
        let key = (alpn.to_vec(), server_raw, client_raw);
        let mut cache = self.cache.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(config) = cache.get(&key) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build(alpn, server_raw, client_raw)?);
        if cache.len() < MAX_CACHED {
            cache.insert(key, config.clone());
        }
        Ok(config)
    }

    fn build(&self, alpn: &[u8], server_raw: bool, client_raw: bool) -> Result<QuicServerConfig, Error> {
        let builder = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = match self.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            auth => builder.with_client_cert_verifier(Arc::new(Leaf {
                raw: client_raw,
                mandatory: auth == ClientAuth::Require,
                trust: Trust::Any,
            })),
        };
        let shown = match (&self.raw, server_raw) {
            (Some(raw), true) => raw.clone(),
            _ => self.x509.clone(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Shown { key: shown, raw: server_raw }));
        config.alpn_protocols = vec![alpn.to_vec()];
        // A resumed session proves no key, so there is none.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(key_log) = &self.key_log {
            config.key_log = key_log.clone();
        }
        no_suite(QuicServerConfig::try_from(config))
    }
}

/// Before the ClientHello has come: enough for Initial keys and Retry tags, which need no key of ours.
pub fn initial_server_config() -> Arc<QuicServerConfig> {
    static CONFIG: OnceLock<Arc<QuicServerConfig>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let config = rustls::ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("the provider speaks TLS 1.3")
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(NothingShown));
            Arc::new(no_suite(QuicServerConfig::try_from(config)).expect("the provider has AES-128-GCM"))
        })
        .clone()
}

/// What makes a client trust a server.
pub enum Verification {
    /// SubjectPublicKeyInfo, DER. A bare Ed25519 key of 32 bytes is taken for its SPKI.
    PublicKeys(Vec<Vec<u8>>),
    /// SHA-256 of the leaf's DER.
    CertificateSha256(Vec<Vec<u8>>),
    /// CA certificates, DER; the host name and the dates count.
    Roots(Vec<Vec<u8>>),
    /// Whoever it is. The signature is verified still.
    Any,
}

/// A client's side of TLS.
pub struct ClientTls {
    named: Arc<QuicClientConfig>,
    unnamed: Arc<QuicClientConfig>,
}

impl ClientTls {
    pub fn new(
        alpn: Vec<Vec<u8>>,
        verification: Verification,
        identity: Option<(Vec<Vec<u8>>, Vec<u8>)>,
        raw_public_keys: bool,
        key_log: Option<&str>,
    ) -> Result<Self, String> {
        let verifier: Arc<dyn ServerCertVerifier> = match verification {
            Verification::Roots(roots) => {
                if raw_public_keys {
                    return Err("cannot verify a raw public key by CA certificates: pin it instead".into());
                }
                let mut store = RootCertStore::empty();
                let (added, _) = store.add_parsable_certificates(roots.into_iter().map(CertificateDer::from));
                if added == 0 {
                    return Err("cannot verify servers: none of the CA certificates could be parsed".into());
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
                    .build()
                    .map_err(|error| error.to_string())?
            }
            Verification::PublicKeys(keys) => {
                let keys = keys.into_iter().map(spki_of).collect();
                Arc::new(Leaf { raw: raw_public_keys, mandatory: true, trust: Trust::PublicKeys(keys) })
            }
            Verification::CertificateSha256(hashes) => {
                Arc::new(Leaf { raw: raw_public_keys, mandatory: true, trust: Trust::Sha256(hashes) })
            }
            Verification::Any => Arc::new(Leaf { raw: raw_public_keys, mandatory: true, trust: Trust::Any }),
        };
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificates, private_key)) => {
                let key = signing_key(private_key)?;
                let shown = match raw_public_keys {
                    true => raw_certified(&key)?,
                    false => certified(certificates, key)?,
                };
                builder.with_client_cert_resolver(Arc::new(Shown { key: Arc::new(shown), raw: raw_public_keys }))
            }
        };
        config.alpn_protocols = alpn;
        config.resumption = Resumption::disabled();
        if let Some(path) = key_log {
            config.key_log = open_key_log(path)?;
        }
        let mut unnamed = config.clone();
        unnamed.enable_sni = false;
        let finish = |config| no_suite(QuicClientConfig::try_from(config)).map_err(|error: Error| error.to_string());
        Ok(Self { named: Arc::new(finish(config)?), unnamed: Arc::new(finish(unnamed)?) })
    }

    /// For a handshake that sends SNI, or not.
    pub fn config(&self, send_server_name: bool) -> Arc<QuicClientConfig> {
        if send_server_name { self.named.clone() } else { self.unnamed.clone() }
    }
}

fn no_suite<T, E>(result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|_| Error::General("the TLS provider lacks AES-128-GCM, which QUIC needs".into()))
}

fn signing_key(pkcs8: Vec<u8>) -> Result<Arc<dyn rustls::sign::SigningKey>, String> {
    provider()
        .key_provider
        .load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)))
        .map_err(|error| format!("cannot load the private key: expected PKCS #8 DER ({error})"))
}

fn certified(certificates: Vec<Vec<u8>>, key: Arc<dyn rustls::sign::SigningKey>) -> Result<CertifiedKey, String> {
    if certificates.is_empty() {
        return Err("cannot use the certificate chain: it is empty".into());
    }
    // Not checked against the key: tests of the other side need a mismatch, and a peer finds it at once.
    Ok(CertifiedKey::new(certificates.into_iter().map(CertificateDer::from).collect(), key))
}

fn raw_certified(key: &Arc<dyn rustls::sign::SigningKey>) -> Result<CertifiedKey, String> {
    let spki = key.public_key().ok_or("cannot use raw public keys: the private key has no public half")?;
    Ok(CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key.clone()))
}

fn spki_of(key: Vec<u8>) -> Vec<u8> {
    match key.len() {
        32 => [&ED25519_SPKI[..], &key].concat(),
        _ => key,
    }
}

#[derive(Debug)]
struct NothingShown;

impl rustls::server::ResolvesServerCert for NothingShown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Always this key, as X.509 or raw.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    raw: bool,
}

impl rustls::server::ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.clone())
    }
    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key.clone())
    }
    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
enum Trust {
    Any,
    PublicKeys(Vec<Vec<u8>>),
    Sha256(Vec<Vec<u8>>),
}

/// Judges a leaf by itself: no CA, no name, no date. The handshake's signature is always verified,
/// because a certificate alone proves nothing.
#[derive(Debug)]
struct Leaf {
    raw: bool,
    mandatory: bool,
    trust: Trust,
}

impl Leaf {
    fn check(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        let bad = Error::InvalidCertificate(CertificateError::BadEncoding);
        let length = rest.iter().fold(leaf.len(), |sum, next| sum.saturating_add(next.len()));
        if length > MAX_CHAIN {
            return Err(bad);
        }
        let parsed;
        let spki: &[u8] = if self.raw {
            leaf.as_ref()
        } else {
            parsed = webpki::EndEntityCert::try_from(leaf).map_err(|_| bad)?.subject_public_key_info();
            parsed.as_ref()
        };
        let trusted = match &self.trust {
            Trust::Any => true,
            Trust::PublicKeys(keys) => keys.iter().any(|key| key == spki),
            Trust::Sha256(hashes) => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
                hashes.iter().any(|wanted| wanted == hash.as_ref())
            }
        };
        match trusted {
            true => Ok(()),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = provider();
        let algorithms = &provider.signature_verification_algorithms;
        match self.raw {
            true => verify_tls13_signature_with_raw_key(
                message,
                &SubjectPublicKeyInfoDer::from(leaf.as_ref()),
                signed,
                algorithms,
            ),
            false => verify_tls13_signature(message, leaf, signed, algorithms),
        }
    }

    fn schemes() -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Leaf {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, rest).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, leaf, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl ServerCertVerifier for Leaf {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf, rest).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, leaf, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// Session secrets in the format of NSS, for Wireshark. One file may serve many processes: each
/// line is one append.
struct KeyLogFile(Mutex<File>);

fn open_key_log(path: &str) -> Result<Arc<dyn KeyLog>, String> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => Ok(Arc::new(KeyLogFile(Mutex::new(file)))),
        Err(error) => Err(format!("cannot open the key log {path:?}: {error}")),
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyLogFile")
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        use fmt::Write as _;
        let mut line = format!("{label} ");
        for byte in client_random {
            let _ = write!(line, "{byte:02x}");
        }
        line.push(' ');
        for byte in secret {
            let _ = write!(line, "{byte:02x}");
        }
        line.push('\n');
        if let Ok(mut file) = self.0.lock() {
            // A full disk must not end a connection: this is a debugging aid.
            let _ = file.write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use quinn_proto::Side;
    use quinn_proto::crypto::{ClientConfig, ServerConfig, Session};
    use quinn_proto::transport_parameters::TransportParameters;
    use rustls::NamedGroup;
    use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
    use rustls::pki_types::ServerName;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../testdata/ed25519.crt.der");
    const PRIVATE_KEY: &[u8] = include_bytes!("../testdata/ed25519.key.der");
    const VERSION: u32 = 1;

    /// Of a client that would resume: how many sessions it was offered.
    #[derive(Debug, Default)]
    struct Tickets(AtomicUsize);

    impl ClientSessionStore for Tickets {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }
        fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            None
        }
        fn remove_tls12_session(&self, _: &ServerName<'static>) {}
        fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            None
        }
    }

    /// How many sessions `server` offers to a client in one handshake.
    fn offered_by(server: Arc<QuicServerConfig>) -> usize {
        let tickets = Arc::new(Tickets::default());
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Leaf { raw: false, mandatory: true, trust: Trust::Any }))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"test".to_vec()];
        config.resumption = Resumption::store(tickets.clone());
        let config = Arc::new(QuicClientConfig::try_from(config).unwrap());
        let parameters = TransportParameters::read(Side::Client, &mut &[0x0f, 0][..]).unwrap();
        let mut client = config.start_session(VERSION, "unnamed.invalid", &parameters).unwrap();
        let mut server = server.start_session(VERSION, &parameters);
        // The last turn is for what follows the handshake.
        let mut after = 0;
        while after < 2 {
            after += usize::from(!client.is_handshaking() && !server.is_handshaking());
            deliver(&mut *client, &mut *server);
            deliver(&mut *server, &mut *client);
        }
        tickets.0.load(Ordering::Relaxed)
    }

    fn deliver(from: &mut dyn Session, to: &mut dyn Session) {
        loop {
            let mut flight = Vec::new();
            let keys = from.write_handshake(&mut flight);
            if !flight.is_empty() {
                to.read_handshake(&flight).unwrap();
            }
            if flight.is_empty() && keys.is_none() {
                return;
            }
        }
    }

    #[test]
    fn no_session_is_offered() {
        let tls = ServerTls::new(vec![CERTIFICATE.into()], PRIVATE_KEY.into(), ClientAuth::None, false, None).unwrap();
        assert_eq!(offered_by(tls.configure(b"test", false, false).unwrap()), 0);
    }

    #[test]
    fn one_would_be_by_a_server_as_rustls_has_it() {
        // Or the test above would show nothing.
        let key = signing_key(PRIVATE_KEY.into()).unwrap();
        let shown = certified(vec![CERTIFICATE.into()], key).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown { key: Arc::new(shown), raw: false }));
        config.alpn_protocols = vec![b"test".to_vec()];
        assert!(offered_by(Arc::new(QuicServerConfig::try_from(config).unwrap())) > 0);
    }
}
