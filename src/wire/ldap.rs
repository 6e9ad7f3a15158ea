//! LDAP over TCP: ldap3 asks and reads, behind [`pump`](super::pump) and a fence.

use super::{
    clock::Clock,
    conversation::{Outcome, Trouble, Wire},
    fence::fenced,
    frame::LONGEST_FRAME,
    message,
    pump::{Limits, pump},
    tcp, text,
};
use exchange_preflight_checks::{
    facts::{
        directory::{ROOT_DSE_ATTRIBUTES, RootDseReply},
        time::Span,
    },
    model::{
        ask::Facts,
        evidence::{Reason, Stage},
    },
};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, SearchResult, StdStream};
use std::{collections::BTreeMap, io, net::SocketAddr, pin::pin, sync::Arc};
use tokio::time::timeout;

/// Far more than any root DSE has.
const LARGEST_ROOT_DSE: usize = 1024 * 1024;

/// Reads the root DSE, which any directory shows to a stranger.
pub(super) async fn root_dse(wire: &Wire, to: SocketAddr) -> Outcome {
    match find(wire, to).await {
        Ok(found) => found.into(),
        Err(trouble) => trouble.into(),
    }
}

async fn find(wire: &Wire, to: SocketAddr) -> Result<Found, Trouble> {
    let server = tcp::connect(to, &wire.budgets).await?;
    let (ours, theirs) = pair().await.map_err(|error| Trouble::broken(&error))?;
    let left = Arc::new(LARGEST_ROOT_DSE.into());
    let limits = Limits { left, longest: LONGEST_FRAME, idle: wire.budgets.reply };
    let mut searching = pin!(fenced(search(theirs, wire.clock)));
    let both = async {
        tokio::select! {
            searched = &mut searching => (searched, Ok(())),
            // The answer may have been whole before the server went away, so ldap3 has the last word.
            pumped = pump(server, ours, limits) => (searching.await, pumped),
        }
    };
    match timeout(wire.budgets.reply, both).await {
        Ok((Ok(Ok(found)), _)) => Ok(found),
        Ok((_, Err(why))) => Err(why),
        Ok((Ok(Err(error)), Ok(()))) => Err(Trouble::not_the_protocol(text::quoted(&error.to_string()))),
        Ok((Err(_panicked), Ok(()))) => Err(Trouble::not_the_protocol("an LDAP message that says nothing sensible")),
        Err(_) => Err(Trouble::new(Stage::Reply, Reason::Silent)),
    }
}

/// What a search brought.
struct Found {
    span: Span,
    entries: Vec<SearchEntry>,
    result: LdapResult,
}

/// Everything of ldap3 is in here, driver and all, as any of it may panic.
async fn search(stream: Stream, clock: Clock) -> Result<Found, ldap3::LdapError> {
    let (connection, mut ldap) = client(stream).await?;
    let searching = async move {
        let sent = clock.now();
        let attributes = ROOT_DSE_ATTRIBUTES.to_vec();
        let SearchResult(entries, result) = ldap.search("", Scope::Base, "(objectClass=*)", attributes).await?;
        let span = Span { sent, received: clock.now() };
        let is_entry = |entry: &ldap3::ResultEntry| !entry.is_ref() && !entry.is_intermediate();
        let entries = entries.into_iter().filter(is_entry).map(SearchEntry::construct).collect();
        Ok(Found { span, entries, result })
    };
    // The driver ends when `ldap` is dropped, with the search.
    tokio::join!(searching, connection.drive()).0
}

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        let trouble = (found.result.rc != 0).then(|| message::refusal(&found.result));
        let mut entries = found.entries.into_iter();
        match (entries.next(), entries.next(), trouble) {
            (None, _, Some(trouble)) => trouble.into(),
            (None, _, None) => {
                let why = "it shows its root DSE to nobody who has not logged on";
                Trouble::new(Stage::Reply, Reason::ServerSaid(why.into())).into()
            }
            (Some(entry), None, trouble) => {
                let reply = RootDseReply { span: found.span, attributes: attributes(entry) };
                Self { facts: Some(Facts::RootDse(reply)), trouble }
            }
            (Some(_), Some(_), _) => Trouble::not_the_protocol("two entries for the one root DSE").into(),
        }
    }
}

/// ldap3 on its end of a stream.
pub(super) async fn client(stream: Stream) -> Result<(LdapConnAsync, Ldap), ldap3::LdapError> {
    let settings = LdapConnSettings::new().set_std_stream(wrap(stream));
    LdapConnAsync::with_settings(settings, URL).await
}

/// ldap3 puts an attribute aside as binary when any of its values is not UTF-8; its other values are text all the same.
fn attributes(entry: SearchEntry) -> BTreeMap<String, Vec<String>> {
    let mut attributes: BTreeMap<_, _> = entry.attrs.into_iter().collect();
    for (name, values) in entry.bin_attrs {
        attributes.insert(name, values.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect());
    }
    // What nobody asked for is no answer.
    attributes.retain(|name, _| ROOT_DSE_ATTRIBUTES.iter().any(|asked| asked.eq_ignore_ascii_case(name)));
    attributes
}

#[cfg(unix)]
const URL: &str = "ldapi:///";
#[cfg(unix)]
pub(super) type Stream = std::os::unix::net::UnixStream;

#[cfg(unix)]
fn wrap(stream: Stream) -> StdStream {
    StdStream::Unix(stream)
}

/// A stream inside this process: our end, and ldap3's.
#[cfg(unix)]
#[expect(clippy::unused_async, reason = "elsewhere it takes a connection")]
pub(super) async fn pair() -> io::Result<(tokio::net::UnixStream, Stream)> {
    let (ours, theirs) = Stream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((tokio::net::UnixStream::from_std(ours)?, theirs))
}

#[cfg(not(unix))]
const URL: &str = "ldap://localhost";
#[cfg(not(unix))]
pub(super) type Stream = std::net::TcpStream;

#[cfg(not(unix))]
fn wrap(stream: Stream) -> StdStream {
    StdStream::Tcp(stream)
}

/// A stream inside this process: our end, and ldap3's. Another program could knock at the port meanwhile, so only the
/// connection that is our own is taken.
#[cfg(not(unix))]
pub(super) async fn pair() -> io::Result<(tokio::net::TcpStream, Stream)> {
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let ours = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
    loop {
        let (theirs, peer) = listener.accept().await?;
        if peer == ours.local_addr()? {
            return Ok((ours, theirs.into_std()?));
        }
    }
}
