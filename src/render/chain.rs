//! A certificate in text: its chain with who signed whom, and what peers make of it.

use super::{
    escape::printable,
    text::{INDENT, LABEL, WIDTH, count, labelled, wrapped},
};
use crate::sightings::{Break, Link, Origin, Peer, PeerWord, SeenCertificate, Stance};
use exchange_preflight_checks::{
    facts::{
        certificate::Signed,
        trust::{FOREST, MOZILLA, SYSTEM},
    },
    model::{
        certificates::Trust,
        listeners::{Facing, Service},
    },
};
use jiff::{SignedDuration, Timestamp};
use std::io::{self, Write};

/// What parts the facts about a certificate.
const GAP: &str = "   ";
/// Of a name so much is drawn: a common name has no more (RFC 5280 appendix A.1, ub-common-name).
const LONGEST_NAME: usize = 64;
/// Of URLs and reasons, which hold text of certificates, so much.
const LONGEST_TEXT: usize = 200;

/// Writes the chain and what peers make of it.
pub fn certificate(certificate: &SeenCertificate, out: &mut dyn Write) -> io::Result<()> {
    chain(certificate, out)?;
    peers(certificate, out)
}

/// Writes where it was shown, too.
pub fn listed(one: &SeenCertificate, out: &mut dyn Write) -> io::Result<()> {
    let name = one.chain.first().map_or("", |leaf| leaf.subject.as_str());
    wrapped(&clipped(name, LONGEST_NAME), "  ", INDENT, out)?;
    labelled("sha1", &one.thumbprint, out)?;
    labelled("shown", &one.places.join(", "), out)?;
    if !one.tls.is_empty() {
        let staple = if one.stapled { ", with an OCSP answer stapled" } else { "" };
        labelled("by", &format!("{}{staple}", one.tls.join(", ")), out)?;
    }
    certificate(one, out)
}

fn chain(certificate: &SeenCertificate, out: &mut dyn Write) -> io::Result<()> {
    if let Some(place) = &certificate.told_of {
        labelled("chain", &format!("as seen at {place}; elsewhere it differs"), out)?;
    }
    for (level, link) in certificate.chain.iter().enumerate() {
        let label = if level == 0 && certificate.told_of.is_none() { "chain" } else { "" };
        let signs = match link.signature {
            _ if level == 0 => "",
            Some(Signed::No) => "NOT signed by  ",
            _ => "signed by  ",
        };
        let step = "  ".repeat(level);
        let first = format!("{INDENT}{label:<LABEL$}{step}{signs}");
        let rest = " ".repeat(first.len());
        columns(&facts_of(link, level, certificate), &first, &rest, out)?;
    }
    Ok(())
}

/// What is drawn of one certificate, each fact for itself so that a line breaks between them.
fn facts_of(link: &Link, level: usize, certificate: &SeenCertificate) -> Vec<String> {
    let mut facts = vec![clipped(&link.subject, LONGEST_NAME)];
    match (link.life, &link.key) {
        // A root counts because a store holds it; its dates are told where they break the chain.
        (Some((born, dies)), _)
            if level > 0 && link.origin == Origin::Store && (born..=dies).contains(&certificate.now) => {}
        (Some(life), Some(key)) if level == 0 => {
            facts.push(format!("{key}, {}", lifetime(life, certificate.now, true)));
        }
        (Some(life), _) => facts.push(lifetime(life, certificate.now, false)),
        (None, _) => {}
    }
    facts.extend(link.weakness.as_ref().map(|weakness| format!("WEAK: {weakness}")));
    facts.extend(link.breaks.iter().map(|one| mark(*one).to_string()));
    match &link.origin {
        Origin::Sent if link.is_self_signed && level == 0 => facts.push("signed by itself".into()),
        // A root need not be sent.
        Origin::Sent | Origin::Fetched(_) | Origin::Elsewhere if link.is_self_signed => {
            facts.push("a root that is not known".into());
        }
        Origin::Sent => {}
        Origin::Fetched(Some(url)) => facts.push(format!("NOT SENT; {}", clipped(url, LONGEST_TEXT))),
        Origin::Fetched(None) => facts.push("NOT SENT".into()),
        Origin::Elsewhere => facts.push("NOT SENT; another server sends it".into()),
        Origin::Store => facts.push(format!("root: {}", stores(certificate))),
        Origin::Missing(Some(url)) => facts.push(format!("not sent and not known; {}", clipped(url, LONGEST_TEXT))),
        Origin::Missing(None) => facts.push("not sent and not known".into()),
        Origin::TooFar => facts.push("and so on: the chain has no end".into()),
    }
    match link.signature {
        Some(Signed::No) => facts.push("it has the name, and another key".into()),
        Some(Signed::NotCheckable) => facts.push("a signature that cannot be checked here".into()),
        Some(Signed::Yes) | None => {}
    }
    facts
}

/// What stands beside the certificate that breaks the chain.
fn mark(one: Break) -> &'static str {
    match one {
        Break::Revoked => "REVOKED",
        Break::NotAnAuthority => "NOT AN AUTHORITY",
        Break::NotForServers => "NOT FOR SERVERS",
        Break::OnlyAnyUsage => "FOR \"ANY\" USAGE ONLY",
        Break::KeyMayNotSign => "KEY MAY NOT SIGN",
        Break::PathTooLong => "PATH TOO LONG",
        Break::NameNotAllowed => "NAME NOT ALLOWED",
    }
}

/// What a certificate says of itself may be long, and cannot pretend to be a column of ours.
fn clipped(text: &str, longest: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let text = printable(&words.join(" ")).into_owned();
    let clipped: String = text.chars().take(longest).collect();
    if clipped.len() < text.len() { clipped + "..." } else { clipped }
}

fn lifetime((born, dies): (Timestamp, Timestamp), now: Timestamp, is_counted: bool) -> String {
    let day = |instant: Timestamp| instant.strftime("%Y-%m-%d");
    if dies < now {
        return format!("EXPIRED {} ({} ago)", day(dies), span(now.duration_since(dies)));
    }
    if now < born {
        return format!("ONLY FROM {} (in {})", day(born), span(born.duration_since(now)));
    }
    if is_counted {
        return format!("until {} ({} left)", day(dies), span(dies.duration_since(now)));
    }
    format!("until {}", day(dies))
}

/// Whole days; below two, hours.
fn span(duration: SignedDuration) -> String {
    let hours = usize::try_from(duration.as_hours()).unwrap_or(0);
    if hours < 48 { count(hours, "hour") } else { count(hours / 24, "day") }
}

fn stores(certificate: &SeenCertificate) -> String {
    let name = |trust: &Trust| match trust.store.as_str() {
        MOZILLA => "Mozilla's list".to_string(),
        SYSTEM => "this machine".to_string(),
        FOREST => "the forest".to_string(),
        other => format!("the store {other}"),
    };
    let mut names: Vec<_> = certificate.stores.iter().map(name).collect();
    if names.is_empty() {
        // The root whose name the issuer bears, with another key.
        return "of a store".into();
    }
    if certificate.facing == Facing::Outside && certificate.stores.iter().all(|trust| !trust.is_public) {
        names.push("no public list".into());
    }
    names.join(", ")
}

fn peers(certificate: &SeenCertificate, out: &mut dyn Write) -> io::Result<()> {
    let inside = match certificate.service {
        _ if certificate.facing != Facing::Inside => None,
        Service::Smtp | Service::Web => Some("Exchange servers know each other by Kerberos, not by this certificate"),
        Service::Directory => Some("Exchange knows controllers by Kerberos, not by this certificate"),
    };
    let mut lines = Vec::new();
    match (inside, certificate.service) {
        (Some(known), Service::Smtp) if certificate.peers.is_empty() => {
            lines.push(format!("{known}: peers inside do not verify it."));
        }
        (Some(known), _) if certificate.peers.is_empty() => {
            lines.push(format!("{known}; a client that verifies has to be given it."));
        }
        (Some(known), _) => {
            let by_name = certificate.asked_for.as_ref().map(|name| format!(" who ask for {name}"));
            lines.push(format!("{known}. Of others{}:", by_name.unwrap_or_default()));
        }
        (None, _) => {}
    }
    match certificate.peers.as_slice() {
        words if words.iter().all(|word| word.stance == Stance::Accepts) && !words.is_empty() => {
            let all: Vec<_> = words.iter().map(|word| called(word.peer, certificate.service)).collect();
            lines.push(format!("accepted by {}", all.join(", ")));
        }
        words => lines.extend(words.iter().map(|word| peer(word, certificate))),
    }
    let mut label = "peers";
    for line in lines {
        labelled(label, &line, out)?;
        label = "";
    }
    Ok(())
}

fn called(peer: Peer, service: Service) -> &'static str {
    match (peer, service) {
        (Peer::StrictLinux, Service::Smtp) => "a strict Linux sender",
        (Peer::StrictLinux, _) => "a strict Linux client",
        (Peer::Windows, Service::Smtp) => "a Windows sender",
        (Peer::Windows, _) => "a Windows client",
        (Peer::ExchangeOnline, _) => "Exchange Online",
    }
}

fn peer(word: &PeerWord, certificate: &SeenCertificate) -> String {
    // "The same" is the one right above, which alone a reader sees at once.
    let before = certificate.peers.iter().take_while(|other| other.peer != word.peer).last();
    let is_told = before.is_some_and(|other| other.stance == word.stance);
    let who = called(word.peer, certificate.service);
    let who = match (&word.stance, word.peer) {
        (Stance::Untold(_), _) if is_told => return format!("{who}: unknown for the same reason"),
        (Stance::Untold(why), _) => return format!("{who}: unknown, {}", clipped(why, LONGEST_TEXT)),
        (_, Peer::ExchangeOnline) => format!("{who}, if a connector of it demands a certificate,"),
        _ => who.to_string(),
    };
    let has = |of: fn(&Origin) -> bool| certificate.chain.iter().any(|link| of(&link.origin));
    match &word.stance {
        Stance::Refuses(_) if is_told => format!("{who} refuses for the same reason"),
        Stance::Refuses(why) => format!("{who} refuses: {}", clipped(why, LONGEST_TEXT)),
        _ if word.peer == Peer::Windows && has(|origin| *origin == Origin::Elsewhere) => {
            format!("{who} accepts if it has what is not sent")
        }
        _ if word.peer == Peer::Windows && has(|origin| matches!(origin, Origin::Fetched(_))) => {
            format!("{who} accepts: it fetches what is not sent")
        }
        _ => format!("{who} accepts"),
    }
}

/// Facts side by side, as many as a line holds.
fn columns(facts: &[String], first: &str, rest: &str, out: &mut dyn Write) -> io::Result<()> {
    let (mut indent, mut line) = (first, String::new());
    for fact in facts.iter().map(|fact| printable(fact)) {
        let width = indent.chars().count() + line.chars().count() + GAP.len() + fact.chars().count();
        if !line.is_empty() && width > WIDTH {
            wrapped(&line, indent, rest, out)?;
            (indent, line) = (rest, String::new());
        }
        let gap = if line.is_empty() { "" } else { GAP };
        line = format!("{line}{gap}{fact}");
    }
    wrapped(&line, indent, rest, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn at(year: i16, month: i8, day: i8) -> Timestamp {
        jiff::tz::TimeZone::UTC.to_timestamp(date(year, month, day).at(0, 0, 0, 0)).unwrap()
    }

    fn link(subject: &str, issuer: &str, dies: Timestamp, origin: Origin) -> Link {
        Link {
            subject: subject.into(),
            issuer: Some(issuer.into()),
            key: Some("RSA 2048".into()),
            life: Some((at(2026, 1, 1), dies)),
            is_self_signed: subject == issuer,
            weakness: None,
            breaks: Vec::new(),
            origin,
            signature: None,
        }
    }

    fn word(peer: Peer, stance: Stance) -> PeerWord {
        PeerWord { peer, stance }
    }

    fn seen(chain: Vec<Link>, stores: &[(&str, bool)], peers: Vec<PeerWord>) -> SeenCertificate {
        let store = |(store, is_public): &(&str, bool)| Trust { store: (*store).into(), is_public: *is_public };
        SeenCertificate {
            thumbprint: "0123456789abcdef0123456789abcdef01234567".into(),
            vantage: "vm".into(),
            now: at(2026, 11, 23),
            places: vec!["ex01.contoso.com:25".into(), "ex02.contoso.com:25".into()],
            service: Service::Smtp,
            facing: Facing::Outside,
            told_of: None,
            told_at: "ex01.contoso.com:25".into(),
            tls: vec!["TLS 1.2", "TLS 1.3"],
            stapled: false,
            chain,
            stores: stores.iter().map(store).collect(),
            asked_for: Some("mail.contoso.com".into()),
            peers,
        }
    }

    fn drawn(one: &SeenCertificate) -> String {
        let mut out = Vec::new();
        certificate(one, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn incomplete() -> SeenCertificate {
        let url = Some("http://pki.contoso.com/issuing.crt".to_string());
        let chain = vec![
            link("mail.contoso.com", "Lab Issuing CA 1", at(2027, 1, 3), Origin::Sent),
            Link {
                signature: Some(Signed::Yes),
                ..link("Lab Issuing CA 1", "Lab Root CA 1", at(2031, 5, 1), Origin::Fetched(url))
            },
            Link {
                signature: Some(Signed::Yes),
                ..link("Lab Root CA 1", "Lab Root CA 1", at(2041, 5, 1), Origin::Store)
            },
        ];
        let no_root = || Stance::Refuses("no root that it knows stands above it".into());
        let peers = vec![
            word(Peer::StrictLinux, no_root()),
            word(Peer::Windows, Stance::Accepts),
            word(Peer::ExchangeOnline, no_root()),
        ];
        seen(chain, &[(MOZILLA, true), (SYSTEM, false)], peers)
    }

    #[test]
    fn what_is_not_sent_is_seen_at_once_and_whom_it_stops() {
        let mut out = Vec::new();
        listed(&incomplete(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
          mail.contoso.com
              sha1      0123456789abcdef0123456789abcdef01234567
              shown     ex01.contoso.com:25, ex02.contoso.com:25
              by        TLS 1.2, TLS 1.3
              chain     mail.contoso.com   RSA 2048, until 2027-01-03 (41 days left)
                          signed by  Lab Issuing CA 1   until 2031-05-01
                                     NOT SENT; http://pki.contoso.com/issuing.crt
                            signed by  Lab Root CA 1
                                       root: Mozilla's list, this machine
              peers     a strict Linux sender refuses: no root that it knows stands
                        above it
                        a Windows sender accepts: it fetches what is not sent
                        Exchange Online, if a connector of it demands a certificate,
                        refuses: no root that it knows stands above it
        ");
    }

    #[test]
    fn peers_inside_do_not_verify_what_exchange_signed_itself() {
        let alone = link("EX01", "EX01", at(2031, 5, 1), Origin::Sent);
        let inside = SeenCertificate { facing: Facing::Inside, ..seen(vec![alone], &[], Vec::new()) };
        insta::assert_snapshot!(drawn(&inside), @r"
        chain     EX01   RSA 2048, until 2031-05-01 (1620 days left)
                  signed by itself
        peers     Exchange servers know each other by Kerberos, not by this
                  certificate: peers inside do not verify it.
        ");
        let directory = SeenCertificate { service: Service::Directory, ..inside };
        assert!(drawn(&directory).contains("Exchange knows controllers by Kerberos"));
    }

    #[test]
    fn others_than_servers_are_told_of_where_only_those_inside_are_stated() {
        let one = SeenCertificate { facing: Facing::Inside, ..incomplete() };
        let text = drawn(&one);
        assert!(text.contains("by Kerberos") && text.contains("ask for mail.contoso.com:"), "{text}");
        let web = SeenCertificate { service: Service::Web, facing: Facing::Clients, ..incomplete() };
        assert!(drawn(&web).contains("a strict Linux client refuses") && !drawn(&web).contains("Kerberos"));
    }

    #[test]
    fn every_way_to_end_is_drawn() {
        let leaf = || link("mail.contoso.com", "Issuing", at(2027, 1, 3), Origin::Sent);
        let above =
            |origin, signature| Link { signature: Some(signature), ..link("Issuing", "Root", at(2031, 5, 1), origin) };
        let unknown =
            |origin| Link { issuer: None, key: None, life: None, ..link("Issuing", "", at(2031, 5, 1), origin) };
        for (end, said) in [
            (
                above(Origin::Sent, Signed::No),
                "NOT signed by Issuing until 2031-05-01 it has the name, and another key",
            ),
            (above(Origin::Store, Signed::No), "root: of a store"),
            (above(Origin::Sent, Signed::NotCheckable), "cannot be checked here"),
            (above(Origin::Elsewhere, Signed::Yes), "NOT SENT; another server sends it"),
            (unknown(Origin::Missing(Some("http://x.example/".into()))), "not sent and not known; http://x.example/"),
            (unknown(Origin::TooFar), "no end"),
            (link("Root", "Root", at(2031, 5, 1), Origin::Sent), "a root that is not known"),
            (link("Issuing", "Root", at(2026, 11, 22), Origin::Sent), "EXPIRED 2026-11-22 (24 hours ago)"),
            (Link { weakness: Some("a signature with SHA-1".into()), ..leaf() }, "WEAK: a signature with SHA-1"),
            (Link { breaks: vec![Break::Revoked, Break::NotAnAuthority], ..leaf() }, "REVOKED NOT AN AUTHORITY"),
            (
                link("Root", "Root", at(2026, 11, 1), Origin::Store),
                "Root EXPIRED 2026-11-01 (22 days ago) root: of a store",
            ),
        ] {
            let text = drawn(&seen(vec![leaf(), end], &[], Vec::new()));
            let in_one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(in_one_line.contains(said), "{said}: {text}");
        }
        let company =
            seen(vec![leaf(), above(Origin::Store, Signed::Yes)], &[(SYSTEM, false), ("own", false)], Vec::new());
        assert!(drawn(&company).contains("root: this machine, the store own, no public list"));
        let unborn = Link { life: Some((at(2026, 11, 25), at(2027, 1, 1))), ..leaf() };
        assert!(drawn(&seen(vec![unborn], &[], Vec::new())).contains("ONLY FROM 2026-11-25 (in 2 days)"));
    }

    #[test]
    fn the_place_is_named_where_others_send_another_chain() {
        let one = SeenCertificate { told_of: Some("ex02.contoso.com:25".into()), ..incomplete() };
        assert!(drawn(&one).starts_with("      chain     as seen at ex02.contoso.com:25; elsewhere it differs\n"));
    }

    #[test]
    fn what_a_certificate_calls_itself_stays_text_and_within_the_page() {
        let hostile = "\u{1b}[2J mail\u{202e}   root: Mozilla's list ".repeat(300);
        let chain = (0..9).map(|_| link(&hostile, "Root", at(2027, 1, 3), Origin::Sent)).collect();
        let refusal = Stance::Refuses(hostile.clone());
        let text = drawn(&seen(chain, &[], vec![word(Peer::StrictLinux, refusal)]));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.contains("\\u{1b}[2J"), "{text}");
        assert!(!text.contains("   root:"), "it pretends to be a column of ours: {text}");
    }
}
