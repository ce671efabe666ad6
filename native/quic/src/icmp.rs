//! What ICMP tells of datagrams that were sent: that nobody listens where they went.
//!
//! Linux keeps it in the error queue of the socket (ip(7), `IP_RECVERR`). On other systems nothing is heard.
//! quinn-udp 0.6 reads the queue too, but says neither where the datagram went, only who complained of it, nor what
//! was quoted of it; and RFC 9000 §14.2.1 wants both looked at.

use std::net::SocketAddr;

/// Bytes that tell one datagram of QUIC from all others: no packet is shorter (RFC 9001 §5.4.2), and what they hold
/// of connection ids or ciphertext nobody off the path can guess.
const QUOTED: usize = 20;

/// How a datagram begins.
pub type Quote = [u8; QUOTED];

pub fn quote(datagram: &[u8]) -> Option<Quote> {
    datagram.first_chunk().copied()
}

/// ICMP "port unreachable". Anybody may have forged it.
#[derive(Debug)]
pub struct Unreachable {
    /// Where the datagram was sent to.
    pub destination: SocketAddr,
    /// `None`: too little of the datagram was quoted.
    pub quote: Option<Quote>,
}

#[cfg(target_os = "linux")]
mod queue {
    use std::ffi::c_int;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::{io, mem, ptr};

    use socket2::SockAddr;

    use super::{QUOTED, Unreachable, quote};

    /// asm-generic/socket.h: the same on x86, ARM and RISC-V.
    const SO_SELECT_ERR_QUEUE: c_int = 45;
    /// RFC 792: destination unreachable, port unreachable.
    const ICMP: (u8, u8, u8) = (libc::SO_EE_ORIGIN_ICMP, 3, 3);
    /// RFC 4443 §3.1, the same.
    const ICMP6: (u8, u8, u8) = (libc::SO_EE_ORIGIN_ICMP6, 1, 4);

    #[repr(C, align(8))]
    struct Control([u8; 256]);

    /// Have the kernel fill the queue, and poll tell of it as `POLLPRI`: of `POLLERR` alone libuv makes an error,
    /// and stops watching.
    pub fn listen(socket: &UdpSocket, dual: bool) -> bool {
        set(socket, libc::SOL_SOCKET, SO_SELECT_ERR_QUEUE)
            && (!dual || set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
            && set(socket, libc::IPPROTO_IP, libc::IP_RECVERR)
    }

    fn set(socket: &UdpSocket, level: c_int, option: c_int) -> bool {
        let on: c_int = 1;
        let length = mem::size_of::<c_int>() as libc::socklen_t;
        // SAFETY: the option takes an int, which lives during the call.
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&on).cast(), length) == 0 }
    }

    /// Take the first error off the queue: `None` is another than "port unreachable". Fails with `WouldBlock` when
    /// there is none.
    pub fn next(socket: &UdpSocket) -> io::Result<Option<Unreachable>> {
        let mut quoted = [0_u8; QUOTED];
        let mut part = libc::iovec { iov_base: quoted.as_mut_ptr().cast(), iov_len: QUOTED };
        let mut control = Control([0; 256]);
        // SAFETY: all zeroes are a valid header.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        // SAFETY: the header points to live memory of the lengths that it names; the kernel sets the name's.
        let (length, destination) = unsafe {
            SockAddr::try_init(|name, name_length| {
                header.msg_name = name.cast();
                header.msg_namelen = *name_length;
                let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
                let length = libc::recvmsg(socket.as_raw_fd(), &mut header, flags);
                *name_length = header.msg_namelen;
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            })?
        };
        // SAFETY: the kernel has filled it.
        let told = unsafe { error(&header) };
        Ok(match (told, destination.as_socket()) {
            (Some(ICMP | ICMP6), Some(destination)) => {
                Some(Unreachable { destination, quote: quote(&quoted[..length]) })
            }
            _ => None,
        })
    }

    /// Origin, type and code of the error that `header` tells of.
    ///
    /// # Safety
    /// `header` was filled by `recvmsg`, and its control messages are live.
    unsafe fn error(header: &libc::msghdr) -> Option<(u8, u8, u8)> {
        // SAFETY: by contract; each message is looked at within its length.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while let Some(head) = message.as_ref() {
                let kind = (head.cmsg_level, head.cmsg_type);
                let needed = libc::CMSG_LEN(mem::size_of::<libc::sock_extended_err>() as _);
                if matches!(kind, (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
                    && head.cmsg_len >= needed as _
                {
                    let error = ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::sock_extended_err>());
                    return Some((error.ee_origin, error.ee_type, error.ee_code));
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod queue {
    use std::io;
    use std::net::UdpSocket;

    use super::Unreachable;

    pub fn listen(_: &UdpSocket, _: bool) -> bool {
        false
    }

    pub fn next(_: &UdpSocket) -> io::Result<Option<Unreachable>> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

pub use queue::{listen, next};

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::socket::canonical;

    /// What a socket bound to `address` hears of a datagram to a port of `host` where nobody listens.
    fn heard(address: &str, dual: bool, host: &str) -> (SocketAddr, Unreachable) {
        let socket = UdpSocket::bind(address).unwrap();
        assert!(listen(&socket, dual));
        let closed = UdpSocket::bind((host, 0)).unwrap().local_addr().unwrap();
        let destination = match (dual, closed) {
            (true, SocketAddr::V4(v4)) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            _ => closed,
        };
        let datagram: Vec<u8> = (0..100).collect();
        socket.send_to(&datagram, destination).unwrap();
        // On loopback it comes while the datagram is sent.
        let error = next(&socket).unwrap().unwrap();
        assert_eq!(next(&socket).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(error.quote, quote(&datagram));
        (closed, error)
    }

    #[test]
    fn a_closed_port_is_heard_of_on_sockets_of_each_family() {
        let (closed, error) = heard("127.0.0.1:0", false, "127.0.0.1");
        assert_eq!(error.destination, closed);
        if UdpSocket::bind("[::1]:0").is_err() {
            return;
        }
        for host in ["127.0.0.1", "::1"] {
            let (closed, error) = heard("[::]:0", true, host);
            assert_eq!(canonical(error.destination), closed);
        }
    }

    #[test]
    fn a_datagram_shorter_than_a_packet_gives_no_quote() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(listen(&socket, false));
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.send_to(&[1; QUOTED - 1], closed).unwrap();
        assert!(next(&socket).unwrap().unwrap().quote.is_none());
    }
}
