//! Proofs that a service takes a Kerberos ticket: one logon to an SMTP server (RFC 4954, RFC 4752) or a website (RFC 4559), and
//! nothing after it. They are asked for only where the user said so (`--prove-login`), for a refusal is written into the server's log.
//!
//! Tokens are no part of what is kept.

use super::{
    smtp::{Exchange, SmtpReply},
    ticket::RealmKdc,
    web::HttpsReply,
};
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// `AUTH GSSAPI`, once, inside TLS where the server has it; then QUIT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SmtpLogin {
    /// The SPN that the ticket is for.
    pub spn: String,
    /// Whose ticket; with the ticket of the current logon the system chooses by itself.
    pub kdc: RealmKdc,
}

/// The session, with `(token)` for what a token was, and whether the server proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpLoginReply {
    /// All that was said.
    pub session: SmtpReply,
    /// A token of the server could be read with the session's key: it holds the key of the SPN's account.
    pub is_proven: bool,
    /// The error that the server's token held (RFC 4121 section 4.1: a KRB-ERROR), by its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<i64>,
}

impl SmtpLoginReply {
    /// The server's last word on the logon: not that it waits for more, and not what it says to who gives up. `None` where no logon
    /// was begun, or none ended.
    pub fn verdict(&self) -> Option<&Exchange> {
        const GO_ON: u16 = 334;
        let begun = self.session.exchanges.iter().skip_while(|exchange| !exchange.command.starts_with("AUTH "));
        let mut said = begun.filter(|exchange| exchange.command != "*" && exchange.code() != Some(GO_ON));
        said.next()
    }

    /// Was a logon begun at all?
    pub fn is_begun(&self) -> bool {
        self.session.exchanges.iter().any(|exchange| exchange.command.starts_with("AUTH "))
    }
}

/// One GET with `Authorization: Negotiate`, bound to the TLS channel (RFC 5929 `tls-server-end-point`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpLogin {
    /// The name that TLS and the header `Host` carry.
    pub name: String,
    /// What is fetched.
    pub path: String,
    /// The SPN that the ticket is for.
    pub spn: String,
    /// Whose ticket.
    pub kdc: RealmKdc,
}

/// The answer, without its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpLoginReply {
    /// The answer to the GET.
    pub answer: HttpsReply,
    /// See [`SmtpLoginReply::is_proven`].
    pub is_proven: bool,
    /// See [`SmtpLoginReply::error`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<i64>,
}
