//! CLDAP: a directory's questions in one datagram each (MS-ADTS section 3.1.1.3.1.5, and 6.3.3 for the locator's ping).

use super::{
    conversation::{Trouble, Wire},
    message::{self, DONE, ENTRY},
    random,
    udp::{self, Dialogue, Heard},
};
use exchange_preflight_checks::{
    facts::{
        directory::{NetlogonPing, NetlogonReply, RootDseReply},
        raw::Raw,
    },
    model::evidence::{Reason, Stage},
};
use lber::structure::StructureTag;
use std::net::SocketAddr;

type Attributes = Vec<(String, Vec<Vec<u8>>)>;

/// Asks the root DSE for its clock alone, so that the answer stays in one datagram.
pub(super) async fn root_dse(wire: &Wire, to: SocketAddr) -> Result<RootDseReply, Trouble> {
    let mut search = Search::new(message::present("objectClass"), "currentTime");
    let (span, attributes) = udp::converse(wire, to, &mut search).await?;
    let text = |values: Vec<Vec<u8>>| values.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect();
    Ok(RootDseReply { span, attributes: attributes.into_iter().map(|(name, values)| (name, text(values))).collect() })
}

/// Asks as the DC locator does: who are you, for this domain?
pub(super) async fn ping(wire: &Wire, to: SocketAddr, question: &NetlogonPing) -> Result<NetlogonReply, Trouble> {
    /// `NETLOGON_NT_VERSION_5EX` and its kin, little-endian (MS-ADTS section 6.3.1.1).
    const NT_VERSION: [u8; 4] = [0x16, 0x00, 0x00, 0x20];
    let filter = message::all_of(vec![
        message::equal("DnsDomain", question.domain.as_bytes()),
        message::equal("NtVer", &NT_VERSION),
    ]);
    let (span, attributes) = udp::converse(wire, to, &mut Search::new(filter, "Netlogon")).await?;
    let value = attributes
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("netlogon"))
        .and_then(|(_, values)| values.into_iter().next());
    match value {
        Some(netlogon) => Ok(NetlogonReply { span, netlogon: Raw(netlogon) }),
        None => Err(Trouble::not_the_protocol("an LDAP entry without the attribute that was asked for")),
    }
}

/// One search of the root DSE. Each datagram bears a number of its own, so an answer tells which one it is to.
struct Search {
    filter: StructureTag,
    attribute: &'static str,
    ids: Vec<u32>,
}

impl Search {
    fn new(filter: StructureTag, attribute: &'static str) -> Self {
        Self { filter, attribute, ids: Vec::new() }
    }

    fn judge(&self, datagram: &[u8]) -> Heard<Attributes> {
        let strange = || Trouble::strange(datagram);
        let Some(messages) = message::read_all(datagram) else { return Heard::Trouble(strange()) };
        let Some(first) = messages.first() else { return Heard::Trouble(strange()) };
        let Some(request) = self.ids.iter().position(|id| u64::from(*id) == first.id) else {
            return Heard::Stray(strange());
        };
        match told(messages) {
            Ok(told) => Heard::Answer { request: Some(request), told },
            Err(trouble) => Heard::Trouble(trouble.unwrap_or_else(strange)),
        }
    }
}

impl Dialogue for Search {
    type Told = Attributes;

    async fn request(&mut self) -> Result<Vec<u8>, Trouble> {
        let id = random::positive()?;
        self.ids.push(id);
        Ok(message::root_search(id, self.filter.clone(), self.attribute))
    }

    async fn hear(&mut self, datagram: Vec<u8>) -> Heard<Attributes> {
        self.judge(&datagram)
    }
}

/// An entry and the result after it; without an entry the result alone. `Err(None)` is what is no answer to a search.
fn told(messages: Vec<message::Message>) -> Result<Attributes, Option<Trouble>> {
    let (entries, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| m.operation.id == ENTRY);
    let mut entries = entries.into_iter();
    match (entries.next(), entries.next()) {
        (Some(entry), None) => message::attributes(entry.operation).ok_or(None),
        (Some(_), Some(_)) => Err(Some(Trouble::not_the_protocol("two entries for the one root DSE"))),
        (None, _) => {
            let done = others.into_iter().find(|m| m.operation.id == DONE).ok_or(None)?;
            let result = message::result(done.operation).ok_or(None)?;
            Err(Some(if result.rc == 0 { nothing_to_tell() } else { message::refusal(&result) }))
        }
    }
}

/// A controller answers a ping for a domain that is not its own with an empty result (MS-ADTS section 6.3.3.3).
fn nothing_to_tell() -> Trouble {
    Trouble::new(Stage::Reply, Reason::ServerSaid("it has no answer to that: it does not serve the domain".into()))
}
