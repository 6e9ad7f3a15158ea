//! Kerberos tickets: what a KDC gives to whoever has logged on (RFC 4120 sections 3.1 and 3.3, RFC 6806, MS-KILE).
//!
//! Of a ticket only what stands outside its encryption is kept, and of its session key nothing: whoever finds a recording can
//! neither use a ticket nor guess at the key of the account that it is for.

use super::{
    kerberos::{KdcAnswer, KdcReply, KrbError},
    net::Transport,
    raw::Raw,
    time::Span,
};
use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A ticket-granting ticket, asked of this KDC by whoever logs on; AES only is offered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TicketGranting {
    /// The transport; a KDC serves both on port 88. An answer that does not fit into a datagram is asked for again over TCP.
    pub transport: Transport,
}

/// A ticket for a service, asked of this KDC with the ticket-granting ticket that it gave itself, so that no clock but its own
/// counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceTicket {
    /// The SPN, as the client spells it.
    pub spn: String,
    /// The transport of all that is asked on the way.
    pub transport: Transport,
    /// KDCs of further realms: a ticket-granting ticket for each realm is asked of the KDC before it, and the service's ticket of
    /// the last. An answer that refers to yet another realm is the end; whoever wants to follow it asks again with that realm here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<RealmKdc>,
}

/// More realms are not walked through (Windows stops after ten referrals).
pub const MOST_REALMS: usize = 8;

/// A KDC, and the realm that it serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RealmKdc {
    /// In upper case.
    pub realm: String,
    /// Its name.
    pub host: String,
    /// Its address; the port is 88.
    pub address: IpAddr,
}

/// What came of it, request by request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketReply {
    /// The requests in their order, of those that were answered. What was had before and used again stands here as well.
    pub hops: Vec<Hop>,
}

/// One request, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The realm that was asked.
    pub realm: String,
    /// What was asked for: `krbtgt/CONTOSO.COM`, `SMTPSVC/ex01.contoso.com`.
    pub wanted: String,
    /// What carried it.
    pub transport: Transport,
    /// Our instants.
    pub span: Span,
    /// The answer.
    pub answer: HopAnswer,
}

/// An answer of a KDC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopAnswer {
    /// A ticket, which could be read with our key.
    Granted(Grant),
    /// A KRB-ERROR as it came.
    Refused(Raw),
}

/// What is known of a ticket without the key of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The realm of the service.
    pub realm: String,
    /// Whom it is for: not what was wanted where the KDC refers to another realm.
    pub server: String,
    /// The encryption type of the ticket itself, by which the account's key is known (RFC 3961, section 8).
    pub etype: i64,
    /// The version of that key.
    pub kvno: Option<i64>,
    /// The encryption type of the session key.
    pub session_etype: i64,
    /// From when on it counts, by the KDC's clock.
    pub starts: Option<Timestamp>,
    /// Until when.
    pub ends: Option<Timestamp>,
}

/// Encryption types that rules tell apart (RFC 3961 section 8, RFC 8009).
pub mod etype {
    /// RC4-HMAC (RFC 4757).
    pub const RC4: i64 = 23;

    /// Is it one of the AES families?
    pub fn is_aes(etype: i64) -> bool {
        (17..=20).contains(&etype)
    }
}

impl Grant {
    /// The realm to which it refers: it is a ticket-granting ticket of another realm than the one that gave it.
    pub fn refers_to(&self, asked: &str) -> Option<&str> {
        let realm = self.server.strip_prefix("krbtgt/")?;
        (!realm.eq_ignore_ascii_case(asked)).then_some(realm)
    }
}

impl Hop {
    /// The error, if that is what came.
    pub fn error(&self) -> Option<KrbError> {
        let HopAnswer::Refused(message) = &self.answer else { return None };
        match (KdcReply { span: self.span, message: message.clone() }).answer() {
            KdcAnswer::Error(error) => Some(error),
            KdcAnswer::Ticket | KdcAnswer::NotKerberos => None,
        }
    }

    /// The ticket, if that is what came.
    pub fn grant(&self) -> Option<&Grant> {
        if let HopAnswer::Granted(grant) = &self.answer { Some(grant) } else { None }
    }
}

impl TicketReply {
    /// The last answer, which says how it ended.
    pub fn last(&self) -> Option<&Hop> {
        self.hops.last()
    }
}
