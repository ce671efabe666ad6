//! TLS as our engine has it: 1.3 only, X25519MLKEM768 first, self-signed Ed25519 leaves on both sides, the
//! server's key pinned, no resumption.

use crate::Failure;
use crate::arguments::Arguments;
use crate::work::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The leaf and key named by `certificate=` and `key=`, both DER.
fn identity(arguments: &Arguments) -> Result<Identity, Failure> {
    let certificate = CertificateDer::from(std::fs::read(arguments.text("certificate")?)?);
    let key = PrivatePkcs8KeyDer::from(std::fs::read(arguments.text("key")?)?);
    Ok((vec![certificate], key.into()))
}

pub fn server(arguments: &Arguments) -> Result<rustls::ServerConfig, Failure> {
    let (chain, key) = identity(arguments)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Ed25519Leaf { provider, pin: None }))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub fn client(arguments: &Arguments) -> Result<rustls::ClientConfig, Failure> {
    let (chain, key) = identity(arguments)?;
    let pin = public_key(&CertificateDer::from(std::fs::read(arguments.text("peer")?)?))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Ed25519Leaf { provider, pin: Some(pin) }))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The SubjectPublicKeyInfo of a leaf, DER.
fn public_key(leaf: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let parsed =
        webpki::EndEntityCert::try_from(leaf).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(parsed.subject_public_key_info().as_ref().to_vec())
}

/// Any leaf whose holder signs with it, or only the one whose key is pinned. Names and dates are ignored.
#[derive(Debug)]
struct Ed25519Leaf {
    provider: Arc<CryptoProvider>,
    pin: Option<Vec<u8>>,
}

impl Ed25519Leaf {
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let key = public_key(leaf)?;
        match &self.pin {
            Some(pin) if *pin != key => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(()),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for Ed25519Leaf {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
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
        vec![SignatureScheme::ED25519]
    }
}

impl ServerCertVerifier for Ed25519Leaf {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
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
        vec![SignatureScheme::ED25519]
    }
}
