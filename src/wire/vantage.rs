//! Who and where we are.

use exchange_preflight_checks::model::evidence::{Evidence, Vantage};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

/// So many of the hosts that were asked are enough to learn from which addresses of ours.
const ENOUGH: usize = 64;

/// This machine's name, and the addresses from which it reaches those it asked.
pub fn here(evidence: &Evidence) -> Vantage {
    let asked: BTreeSet<IpAddr> = evidence.iter().filter_map(|observation| observation.ask.to.address).collect();
    let ours: BTreeSet<IpAddr> = asked.into_iter().take(ENOUGH).filter_map(address_towards).collect();
    let host = gethostname::gethostname().to_string_lossy().to_lowercase();
    Vantage { host, addresses: ours.into_iter().collect() }
}

/// Connecting a datagram socket sends nothing; it only makes the system choose the address that it would send from.
fn address_towards(remote: IpAddr) -> Option<IpAddr> {
    const ANY_PORT: u16 = 9;
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((remote, ANY_PORT)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
