//! What is asked, of whom. Equal Asks are asked once.

use crate::facts::{
    census::{SpnScan, SpnScanned},
    directory::{NetlogonPing, NetlogonReply, RootDse, RootDseReply},
    dns::{DnsAnswer, DnsLookup},
    kerberos::{AsReq, KdcReply, Kpasswd},
    login::{HttpLogin, HttpLoginReply, SmtpLogin, SmtpLoginReply},
    net::{Connect, Connected, Transport},
    ntp::{NtpReply, NtpTime},
    search::{DirectoryEntries, DirectorySearch},
    smb::{SmbNegotiate, SmbReply},
    smtp::{SmtpReply, SmtpSession},
    ticket::{ServiceTicket, TicketGranting, TicketReply},
    tls::{TlsSeen, TlsSession},
    trust::{PlatformTrust, PlatformWord, RootsFound, RootsNamed},
    web::{HttpFetch, HttpFile, HttpsGet, HttpsReply},
};
use alloc::string::String;
use core::{cmp::Ordering, fmt, net::IpAddr};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Makes the two sums over all protocols and ties each question to the facts that answer it. A new protocol is one line.
macro_rules! kinds {
    ($($kind:literal: $question:ident => $facts:ident, $doc:literal;)*) => {
        /// A question on protocol level.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Question { $(#[doc = $doc] #[serde(rename = $kind)] $question($question),)* }

        /// What a question brought to light, as the wire said it.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Facts { $(#[doc = $doc] #[serde(rename = $kind)] $question($facts),)* }

        impl Question {
            /// The names that kinds of question have in a recording, for good.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The name of this kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$question(_) => $kind,)* }
            }
        }

        $(impl Query for $question {
            type Facts = $facts;

            fn of(question: &Question) -> Option<&Self> {
                if let Question::$question(query) = question { Some(query) } else { None }
            }

            fn facts(facts: &Facts) -> Option<&$facts> {
                if let Facts::$question(facts) = facts { Some(facts) } else { None }
            }
        }

        impl From<$question> for Question {
            fn from(question: $question) -> Self { Self::$question(question) }
        })*
    };
}

kinds! {
    "dns": DnsLookup => DnsAnswer, "A lookup, and its records.";
    "ntp": NtpTime => NtpReply, "NTP time.";
    "kerberos": AsReq => KdcReply, "A Kerberos AS-REQ without a name.";
    "kpasswd": Kpasswd => KdcReply, "The Kerberos password service.";
    "root_dse": RootDse => RootDseReply, "The root DSE of a directory server.";
    "netlogon": NetlogonPing => NetlogonReply, "The DC locator's ping.";
    "smb": SmbNegotiate => SmbReply, "The first exchange of SMB2.";
    "connect": Connect => Connected, "Nothing but a TCP connection.";
    "smtp": SmtpSession => SmtpReply, "An SMTP session without mail.";
    "tls": TlsSession => TlsSeen, "The beginning of TLS.";
    "https": HttpsGet => HttpsReply, "One GET over TLS.";
    "fetch": HttpFetch => HttpFile, "A file over plain HTTP.";
    "search": DirectorySearch => DirectoryEntries, "A search by somebody who has logged on.";
    "spn_scan": SpnScan => SpnScanned, "All SPNs of a forest.";
    "ticket_granting": TicketGranting => TicketReply, "A ticket-granting ticket.";
    "service_ticket": ServiceTicket => TicketReply, "A ticket for a service.";
    "smtp_login": SmtpLogin => SmtpLoginReply, "One logon to an SMTP server.";
    "http_login": HttpLogin => HttpLoginReply, "One logon to a website.";
    "roots": RootsNamed => RootsFound, "Roots of a trust store, asked of this machine.";
    "platform_trust": PlatformTrust => PlatformWord, "The platform's own word on a chain, asked of this machine.";
}

impl Question {
    /// What carries it. A lookup begins with a datagram.
    pub fn transport(&self) -> Transport {
        match self {
            // What is asked of this machine leaves by no transport, and holds no permit for a connection.
            Self::RootsNamed(_)
            | Self::PlatformTrust(_)
            | Self::DnsLookup(_)
            | Self::NtpTime(_)
            | Self::NetlogonPing(_) => Transport::Udp,
            Self::AsReq(AsReq { transport, .. })
            | Self::Kpasswd(Kpasswd { transport })
            | Self::TicketGranting(TicketGranting { transport })
            | Self::ServiceTicket(ServiceTicket { transport, .. })
            | Self::RootDse(RootDse { transport }) => *transport,
            Self::SmbNegotiate(_)
            | Self::Connect(_)
            | Self::SmtpSession(_)
            | Self::TlsSession(_)
            | Self::HttpsGet(_)
            | Self::HttpFetch(_)
            | Self::SmtpLogin(_)
            | Self::HttpLogin(_)
            | Self::SpnScan(_)
            | Self::DirectorySearch(_) => Transport::Tcp,
        }
    }
}

/// One protocol's question, and the type of what answers it.
pub trait Query: Into<Question> + Clone + 'static {
    /// What answers it.
    type Facts: 'static;

    /// The question, if it is of this kind.
    fn of(question: &Question) -> Option<&Self>;

    /// The facts, if they are of this kind.
    fn facts(facts: &Facts) -> Option<&Self::Facts>;
}

/// Where a question goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The host's name: lower case, without the dot at its end.
    pub host: String,
    /// The address asked. `None` for the resolver that this machine is set to use.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// This machine itself, which knows trust stores.
    pub fn this_machine() -> Self {
        Self { host: "this-machine".into(), address: None, port: 0 }
    }

    /// The resolver that the machine is set to use; the library behind it knows its addresses.
    pub fn system_resolver() -> Self {
        Self { host: "system-resolver".into(), address: None, port: 53 }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{} ({address})", self.host, self.port),
            None => write!(f, "{}", self.host),
        }
    }
}

/// One question to one server. Equal Asks are asked once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The server.
    pub to: Endpoint,
    /// The question.
    pub what: Question,
    /// 1, or more for another look on purpose (replication, aimed polling of a clock).
    pub look: u8,
    /// The instant before which it is useless to ask. It says when, not what: two Asks that differ in it alone are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}

impl Ask {
    /// The first look.
    pub fn new(to: Endpoint, what: impl Into<Question>) -> Self {
        Self { to, what: what.into(), look: 1, not_before: None }
    }

    /// Another look, on purpose, at an instant.
    pub fn again(mut self, look: u8, not_before: Timestamp) -> Self {
        self.look = look;
        self.not_before = Some(not_before);
        self
    }

    fn key(&self) -> (&Endpoint, &Question, u8) {
        (&self.to, &self.what, self.look)
    }
}

impl PartialEq for Ask {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Ask {}

impl PartialOrd for Ask {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ask {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
