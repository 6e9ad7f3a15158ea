//! Why a packet did not arrive. The error number alone cannot tell a firewall's "administratively prohibited" from a
//! host that is gone; on Linux the socket's error queue keeps the ICMP message that can (ip(7), `IP_RECVERR`).

use super::text;
use exchange_preflight_checks::model::evidence::Reason;
use std::{io, net::SocketAddr};

pub(super) use watch::Watch;

/// What a router or the host itself told us by ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux tells"))]
pub(super) enum Notice {
    /// A firewall said so.
    Prohibited,
    /// Any other reason why it could not be delivered.
    Undelivered,
}

/// What an error of connecting, sending or receiving says about the way to `to`.
pub(super) fn reason(error: &io::Error, to: SocketAddr, notice: Option<Notice>) -> Reason {
    use io::ErrorKind as Kind;
    match (error.kind(), notice) {
        (Kind::ConnectionRefused | Kind::ConnectionReset | Kind::ConnectionAborted, _) => Reason::Refused,
        (Kind::TimedOut, _) => Reason::Silent,
        (_, Some(Notice::Prohibited)) => Reason::Prohibited,
        (Kind::HostUnreachable, _) | (_, Some(Notice::Undelivered)) => Reason::Unreachable,
        // Nobody but our own routing table can have said it.
        (Kind::NetworkUnreachable, None) => Reason::NoRoute,
        // Without an IPv6 address of its own a machine finds none to send from.
        (Kind::AddrNotAvailable, None) if to.is_ipv6() => Reason::NoRoute,
        _ if is_unknown_family(error) => Reason::NoRoute,
        _ => Reason::Local(text::local_error(error)),
    }
}

/// IPv6 is switched off altogether (`EAFNOSUPPORT`, `WSAEAFNOSUPPORT`), which has no `ErrorKind`.
fn is_unknown_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(97 | 10_047))
}

#[cfg(target_os = "linux")]
mod watch {
    use super::Notice;
    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4RecvErr, Ipv6RecvErr},
    };
    use std::{
        io::IoSliceMut,
        net::SocketAddr,
        os::fd::{AsFd, AsRawFd as _, OwnedFd},
    };

    /// Keeps the ICMP errors of one socket, by a second descriptor, as connecting uses up the first.
    pub(in crate::wire) struct Watch {
        socket: Option<OwnedFd>,
        is_ipv6: bool,
    }

    impl Watch {
        /// Begins to watch. Where that fails we merely know less about a failure.
        pub(in crate::wire) fn over(socket: &impl AsFd, to: SocketAddr) -> Self {
            let watch = Self { socket: socket.as_fd().try_clone_to_owned().ok(), is_ipv6: to.is_ipv6() };
            watch.set(true);
            watch
        }

        /// Ends it: the socket treats ICMP errors as usual again.
        pub(in crate::wire) fn end(self) {
            self.set(false);
        }

        /// The notice that has come in, if any; it is taken off the queue.
        pub(in crate::wire) fn notice(&self) -> Option<Notice> {
            let socket = self.socket.as_ref()?;
            // The queue hands back the packet that failed, which nobody needs, and beside it why.
            let mut packet = [0; 64];
            let mut parts = [IoSliceMut::new(&mut packet)];
            let mut control = nix::cmsg_space!([u8; 256]);
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
            message.cmsgs().ok()?.find_map(|part| match part {
                ControlMessageOwned::Ipv4RecvErr(why, _) | ControlMessageOwned::Ipv6RecvErr(why, _) => {
                    told(why.ee_origin, why.ee_type, why.ee_code)
                }
                _ => None,
            })
        }

        fn set(&self, on: bool) {
            let Some(socket) = &self.socket else { return };
            // A refusal changes nothing but how much we know.
            let _ =
                if self.is_ipv6 { setsockopt(socket, Ipv6RecvErr, &on) } else { setsockopt(socket, Ipv4RecvErr, &on) };
        }
    }

    /// Destination unreachable: RFC 792 and RFC 1812 section 5.2.7.1, RFC 4443 section 3.1.
    fn told(origin: u8, kind: u8, code: u8) -> Option<Notice> {
        const ICMP: u8 = nix::libc::SO_EE_ORIGIN_ICMP;
        const ICMP6: u8 = nix::libc::SO_EE_ORIGIN_ICMP6;
        match (origin, kind, code) {
            (ICMP, 3, 9 | 10 | 13) | (ICMP6, 1, 1 | 5) => Some(Notice::Prohibited),
            (ICMP | ICMP6, ..) => Some(Notice::Undelivered),
            _ => None,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_firewall_is_told_from_a_router() {
            assert_eq!(told(2, 3, 13), Some(Notice::Prohibited));
            assert_eq!(told(2, 3, 1), Some(Notice::Undelivered));
            assert_eq!(told(3, 1, 1), Some(Notice::Prohibited));
            assert_eq!(told(3, 1, 0), Some(Notice::Undelivered));
            assert_eq!(told(1, 0, 0), None, "our own routing table");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod watch {
    use super::Notice;
    use std::net::SocketAddr;

    /// Other systems have no error queue: what a firewall says looks like "unreachable" there.
    pub(in crate::wire) struct Watch;

    impl Watch {
        /// Nothing to watch.
        pub(in crate::wire) fn over<S>(_socket: &S, _to: SocketAddr) -> Self {
            Self
        }

        /// Nothing to end.
        pub(in crate::wire) fn end(self) {}

        /// Nothing is known.
        #[expect(clippy::unused_self, reason = "the same shape as on Linux")]
        pub(in crate::wire) fn notice(&self) -> Option<Notice> {
            None
        }
    }
}
