//! The work, and what it looks like on a stream: the first byte says what the client wants.

/// Take everything, then answer with the count of bytes, u64, little-endian.
pub const SINK: u8 = 1;
/// Take everything, then answer with [`MESSAGE`] bytes.
pub const ANSWER: u8 = 2;
/// Bytes of a request, and of an answer.
pub const MESSAGE: usize = 100;
/// What a program that moves bulk data would write and read at once.
pub const CHUNK: usize = 65_536;

pub const ALPN: &[u8] = b"alknet-bench";
