//! Why a connection ended, as JavaScript is told.

use quinn_proto::ConnectionError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Application = 1,
    Transport = 2,
    Timeout = 3,
    Reset = 4,
    Version = 5,
    Dropped = 6,
    Internal = 7,
    /// Nobody listens at the peer's port.
    Unreachable = 8,
}

#[derive(Clone, Debug)]
pub struct Reason {
    pub kind: Kind,
    pub by_peer: bool,
    /// Application code, or QUIC transport error code (RFC 9000 §20.1; 0x100 + TLS alert).
    pub code: u64,
    pub text: String,
}

/// Longest text of a peer that is kept, in bytes.
const MAX_TEXT: usize = 1024;

impl Reason {
    pub fn local(code: u64, text: &[u8]) -> Self {
        Self { kind: Kind::Application, by_peer: false, code, text: printable(text) }
    }

    pub fn of(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, by_peer: false, code: 0, text: text.into() }
    }

    /// A close of the application without a text, in two words of a record: 1 or 2 (by the peer), and the code.
    pub fn short(&self) -> Option<(u32, u32)> {
        let plain = self.kind == Kind::Application && self.text.is_empty();
        plain.then(|| Some((1 + u32::from(self.by_peer), u32::try_from(self.code).ok()?)))?
    }
}

impl From<ConnectionError> for Reason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self {
                kind: Kind::Application,
                by_peer: true,
                code: close.error_code.into_inner(),
                text: printable(&close.reason),
            },
            ConnectionError::ConnectionClosed(close) => Self {
                kind: Kind::Transport,
                by_peer: true,
                code: close.error_code.into(),
                text: printable(&close.reason),
            },
            ConnectionError::TransportError(error) => {
                Self { kind: Kind::Transport, by_peer: false, code: error.code.into(), text: error.reason }
            }
            ConnectionError::TimedOut => Self::of(Kind::Timeout, "idle time passed"),
            ConnectionError::Reset => Self::of(Kind::Reset, "stateless reset"),
            ConnectionError::VersionMismatch => Self::of(Kind::Version, "no common QUIC version"),
            ConnectionError::LocallyClosed => Self::local(0, b""),
            ConnectionError::CidsExhausted => Self::of(Kind::Internal, "connection ids exhausted"),
        }
    }
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]).into_owned()
}
