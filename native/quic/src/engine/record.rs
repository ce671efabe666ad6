//! Kinds of records in a batch, `[kind, id, a, b]`.

/// A dialed or accepted connection is ready. a: 1 when we are its server, b: the number of its admission.
pub const CONNECTED: u32 = 1;
/// The connection ended. a: 0, and the reason waits in `close_reason`; or 1, by us, or 2, by the peer, it was
/// closed with the code b and no text.
pub const CLOSED: u32 = 2;
/// The peer opened a stream. id: connection, a: stream, b: 1 when unidirectional.
pub const OPENED: u32 = 3;
/// a: offset in the slab, b: length, with the flags below.
pub const DATA: u32 = 4;
/// The peer reset its side. a, b: low and high half of the code.
pub const RESET: u32 = 5;
/// The peer stopped reading, and our side is reset. a, b: code.
pub const STOPPED: u32 = 6;
/// A blocked stream takes bytes again.
pub const WRITABLE: u32 = 7;
/// Everything up to our FIN was acknowledged.
pub const FINISHED: u32 = 8;
/// The peer allows more streams. id: connection, a: 1 for unidirectional ones.
pub const AVAILABLE: u32 = 9;
/// id: connection, a: offset in the small or large slab, b: length, with SMALL.
pub const DATAGRAM: u32 = 10;
/// The connection ended, and this stream has nothing left to read.
pub const LOST: u32 = 11;
/// An admitted handshake ended without a connection; its reason waits in `take_failure`.
pub const FAILED: u32 = 12;
/// After `close_all`: every connection is gone.
pub const DRAINED: u32 = 13;
/// After `flush_streams`: every stream that was ended is acknowledged.
pub const FLUSHED: u32 = 14;
/// After `ping`: the peer has acknowledged something.
pub const PONG: u32 = 15;

/// In b of DATA: the stream ends here.
pub const FIN: u32 = 1 << 31;
/// In b of DATA and DATAGRAM: the bytes stand in the small slab.
pub const SMALL: u32 = 1 << 30;
