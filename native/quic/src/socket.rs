//! The UDP socket: GSO, GRO and batched receive by quinn-udp, IPv4 and IPv6 on one descriptor.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

pub use quinn_udp::BATCH_SIZE;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use crate::icmp::{self, Unreachable};

/// Bytes that one receive call may fill per message: the longest that GRO hands over.
const MESSAGE: usize = 64 * 1024;
/// What ICMP says of an earlier datagram fails one call of whatever kind (udp(7)), and the next one again when more has
/// come meanwhile.
const TRIES: usize = 4;

pub struct Socket {
    io: std::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// What ICMP says of what was sent is heard.
    hears: bool,
}

impl Socket {
    /// Bind, dual-stack where `address` is IPv6, and ask the kernel for `buffer` bytes each way.
    ///
    /// The kernel clamps the buffers to its limits silently; see [`Socket::buffers`].
    pub fn bind(address: SocketAddr, buffer: usize) -> io::Result<Self> {
        let socket = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        let io: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let sock = SockRef::from(&io);
        // A smaller buffer loses packets under load, nothing more: `doctor` reports it.
        let _ = sock.set_recv_buffer_size(buffer);
        let _ = sock.set_send_buffer_size(buffer);
        let local = io.local_addr()?;
        let hears = icmp::listen(&io, local.is_ipv6());
        Ok(Self { io, state, local, hears })
    }

    pub fn descriptor(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Bytes the kernel gave for receiving and for sending.
    pub fn buffers(&self) -> (usize, usize) {
        let sock = SockRef::from(&self.io);
        (sock.recv_buffer_size().unwrap_or(0), sock.send_buffer_size().unwrap_or(0))
    }

    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// The form of `remote` that this socket can send to.
    pub fn destination(&self, remote: SocketAddr) -> io::Result<SocketAddr> {
        match (self.local, remote) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                Ok(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into())
            }
            (SocketAddr::V4(_), SocketAddr::V6(v6)) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Ok(SocketAddr::new(v4.into(), v6.port())),
                None => Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "this endpoint is bound to IPv4")),
            },
            _ => Ok(remote),
        }
    }

    /// The next that ICMP said of a datagram of ours: `None` is nothing of interest. Fails with `WouldBlock` when
    /// there is no more.
    pub fn next_unreachable(&self) -> io::Result<Option<Unreachable>> {
        icmp::next(&self.io)
    }

    /// Hand `contents` to the kernel, or fail with `WouldBlock`.
    pub fn send(&self, transmit: &quinn_proto::Transmit, contents: &[u8]) -> io::Result<()> {
        let mut tries = if self.hears { TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.try_send(transmit, contents) {
                Err(error) if tries > 0 && error.kind() != io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn try_send(&self, transmit: &quinn_proto::Transmit, contents: &[u8]) -> io::Result<()> {
        self.state.try_send(
            UdpSockRef::from(&self.io),
            &Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
                contents,
                segment_size: transmit.segment_size,
                src_ip: transmit.src_ip,
            },
        )
    }
}

/// Room for one batch of received messages; shared by the endpoints of a thread.
pub struct ReceiveBuffer {
    memory: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl ReceiveBuffer {
    pub fn new() -> Self {
        Self { memory: vec![0; MESSAGE * BATCH_SIZE], metas: [RecvMeta::default(); BATCH_SIZE] }
    }

    /// Receive what is there, at most `most` messages and [`BATCH_SIZE`]. Fails with `WouldBlock` when there
    /// is nothing.
    pub fn receive(&mut self, socket: &Socket, most: usize) -> io::Result<usize> {
        let mut parts = self.memory.chunks_mut(MESSAGE);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        socket.state.recv(UdpSockRef::from(&socket.io), &mut slices[..most.min(BATCH_SIZE)], &mut self.metas)
    }

    /// Message `index` of the last batch: where it came from, and its datagrams, `stride` bytes each.
    pub fn message(&self, index: usize) -> (&RecvMeta, &[u8]) {
        let meta = &self.metas[index];
        let start = index * MESSAGE;
        (meta, &self.memory[start..start + meta.len.min(MESSAGE)])
    }
}

/// IPv4 as IPv4, also when a dual-stack socket saw it.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The unspecified address of a machine without IPv6.
pub fn unspecified_v4(address: SocketAddr) -> Option<SocketAddr> {
    (address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        .then(|| SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), address.port()))
}
