//! SMTP up to the point where mail would begin: greeting, EHLO, STARTTLS, X-ANONYMOUSTLS (RFC 5321, RFC 3207, MS-SMTPNTLM).

use super::{
    time::{Reading, Span, WHOLE_SECOND},
    tls::{Offer, TlsSeen},
};
use crate::facts::raw::Raw;
use alloc::{string::String, vec::Vec};
use jiff::fmt::rfc2822;
use serde::{Deserialize, Serialize};

/// Greets, says EHLO, begins TLS, says EHLO again inside, and quits. No mail is offered and nobody logs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SmtpSession {
    /// By which command TLS begins, where the server offers it.
    pub upgrade: Upgrade,
    /// What is offered in TLS.
    pub offer: Offer,
}

/// How TLS begins inside SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upgrade {
    /// STARTTLS (RFC 3207): the certificate for everybody.
    StartTls,
    /// X-ANONYMOUSTLS: between Exchange servers, with the internal transport certificate.
    AnonymousTls,
}

impl Upgrade {
    /// The command, which is also the keyword in the EHLO reply.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::StartTls => "STARTTLS",
            Self::AnonymousTls => "X-ANONYMOUSTLS",
        }
    }
}

/// One command with its reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The command as we sent it; empty for the greeting, which comes unasked.
    pub command: String,
    /// Our instants: of the greeting, just before the connection was opened and just after the greeting was in.
    pub span: Span,
    /// The lines of the reply as they came, without their line ends: `250-SIZE 37748736`.
    pub lines: Vec<String>,
    /// It went through TLS.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_inside: bool,
}

/// A session, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpReply {
    /// Every command with its reply, in their order.
    pub exchanges: Vec<Exchange>,
    /// What the server sent behind its consent to begin TLS, before any TLS: whoever takes it for an answer inside TLS
    /// can be made to believe anything (the class of CVE-2011-0411). Empty in a healthy server.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub injected: Raw,
    /// What the server showed while TLS began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSeen>,
}

fn is_empty(raw: &Raw) -> bool {
    raw.0.is_empty()
}

impl Exchange {
    /// The code of the reply: that of its last line, as long as all lines agree (RFC 5321 section 4.2.1).
    pub fn code(&self) -> Option<u16> {
        let codes: Option<Vec<u16>> = self.lines.iter().map(|line| code(line)).collect();
        let codes = codes?;
        let last = *codes.last()?;
        codes.iter().all(|code| *code == last).then_some(last)
    }

    /// The text of each line, without code and separator.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.get(4..).unwrap_or_default())
    }

    fn verb(&self) -> &str {
        self.command.split(' ').next().unwrap_or_default()
    }
}

/// The code of one line: three digits, and behind them a space, a hyphen or nothing (RFC 5321 section 4.2).
pub fn code(line: &str) -> Option<u16> {
    let (code, rest) = line.split_at_checked(3)?;
    let is_code =
        code.bytes().all(|byte| byte.is_ascii_digit()) && matches!(rest.bytes().next(), None | Some(b' ' | b'-'));
    is_code.then(|| code.parse().ok()).flatten()
}

impl SmtpReply {
    /// The greeting.
    pub fn greeting(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.command.is_empty())
    }

    /// The reply to EHLO before TLS.
    pub fn hello(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.verb() == "EHLO" && !exchange.is_inside)
    }

    /// The reply to EHLO inside TLS.
    pub fn hello_inside(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.verb() == "EHLO" && exchange.is_inside)
    }

    /// The reply to STARTTLS or X-ANONYMOUSTLS.
    pub fn upgrade(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| matches!(exchange.verb(), "STARTTLS" | "X-ANONYMOUSTLS"))
    }

    /// The parameters of a keyword that the server offers before TLS; `None` where it does not offer it.
    pub fn offers(&self, keyword: &str) -> Option<Vec<&str>> {
        offers(self.hello()?, keyword)
    }

    /// The name by which the server calls itself: the first word of its reply to EHLO, lower case. The SPN that a peer asks
    /// for is made of it (event 2017 of `MSExchangeTransport`: "The target is SMTPSVC/...").
    pub fn own_name(&self) -> Option<String> {
        let hello = self.hello().filter(|hello| hello.code() == Some(250))?;
        let name = hello.texts().next()?.split_whitespace().next()?;
        Some(name.trim_end_matches('.').to_lowercase())
    }

    /// Does it greet as Exchange does, unless its greeting was set by hand?
    pub fn is_exchange(&self) -> bool {
        self.greeting().is_some_and(|greeting| greeting.texts().any(|text| text.contains("Microsoft ESMTP")))
    }

    /// The server's clock, of whole seconds, where the greeting shows it: `220 ex01 Microsoft ESMTP MAIL Service ready at
    /// Wed, 11 Jan 2023 16:59:51 +0100`.
    pub fn reading(&self) -> Option<Reading> {
        let greeting = self.greeting()?;
        let (_, date) = greeting.texts().find_map(|text| text.split_once(" ready at "))?;
        // Exchange shows its zone as a number; of a name, one that nobody knows would pass for UTC (RFC 2822 section 4.3).
        let (_, zone) = date.trim_end().rsplit_once(' ')?;
        let date = Some(date.trim()).filter(|_| zone.starts_with(['+', '-']))?;
        let server_time = rfc2822::parse(date).ok()?.timestamp();
        Some(Reading { span: greeting.span, server_time, quantum: WHOLE_SECOND })
    }
}

/// The parameters of a keyword in a reply to EHLO (RFC 5321 section 4.1.1.1: keywords know no letter case).
pub fn offers<'h>(hello: &'h Exchange, keyword: &str) -> Option<Vec<&'h str>> {
    if hello.code() != Some(250) {
        return None;
    }
    hello.texts().skip(1).find_map(|text| {
        let mut words = text.split_whitespace();
        words.next().filter(|first| first.eq_ignore_ascii_case(keyword))?;
        Some(words.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn exchange(command: &str, lines: &[&str]) -> Exchange {
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        Exchange {
            command: command.to_string(),
            span,
            lines: lines.iter().map(ToString::to_string).collect(),
            is_inside: false,
        }
    }

    fn reply(greeting: &str, hello: &[&str]) -> SmtpReply {
        let exchanges = vec![exchange("", &[greeting]), exchange("EHLO me", hello)];
        SmtpReply { exchanges, injected: Raw::default(), tls: None }
    }

    #[test]
    fn a_dated_banner_is_a_clock() {
        let dated = |banner| reply(banner, &[]).reading().map(|reading| reading.server_time.as_second());
        let banner = "220 ex01.contoso.com Microsoft ESMTP MAIL Service ready at Wed, 11 Jan 2023 16:59:51 +0100";
        assert_eq!(dated(banner), Some(1_673_452_791));
        for undated in [
            "220 mail.contoso.com ESMTP",
            "220 x Microsoft ESMTP MAIL Service ready at Thu, 11 Jan 2023 16:59:51 +0100",
            "220 x Microsoft ESMTP MAIL Service ready at Wed, 11 Jan 2023 16:59:51 MARS",
            "220 x Microsoft ESMTP MAIL Service ready at Wed, 11 Jan 2023 16:59:51 PST",
            "220 x Microsoft ESMTP MAIL Service ready at ",
        ] {
            assert_eq!(dated(undated), None, "{undated}");
        }
    }

    #[test]
    fn keywords_are_found_whatever_their_case() {
        let hello = ["250-EX01.contoso.com Hello [10.0.0.1]", "250-x-exps GSSAPI NTLM", "250-SIZE", "250 STARTTLS"];
        let reply = reply("220 x", &hello);
        assert_eq!(reply.offers("X-EXPS"), Some(vec!["GSSAPI", "NTLM"]));
        assert_eq!(reply.offers("STARTTLS"), Some(vec![]));
        assert_eq!(reply.offers("EX01.contoso.com"), None, "the first line is no keyword");
        assert_eq!(reply.own_name().as_deref(), Some("ex01.contoso.com"));
    }

    #[test]
    fn a_reply_whose_lines_disagree_has_no_code() {
        assert_eq!(exchange("EHLO me", &["250-ex01", "550 no"]).code(), None);
        assert_eq!(exchange("EHLO me", &["250-ex01", "250 no"]).code(), Some(250));
        assert_eq!(exchange("EHLO me", &["25", "250 no"]).code(), None);
        assert_eq!(exchange("EHLO me", &[]).code(), None);
    }

    proptest! {
        #[test]
        fn any_lines_are_read_or_refused(greeting in ".{0,60}", lines in proptest::collection::vec(".{0,30}", 0..5)) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let reply = reply(&greeting, &lines);
            let _ = (reply.reading(), reply.own_name(), reply.offers("STARTTLS"), reply.is_exchange());
        }
    }
}
