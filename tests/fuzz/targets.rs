//! What parses the bytes of strangers, a target each. A target that returns has borne its input.

use exchange_preflight::{
    inputs::{certificates, files},
    plan_file,
    recording::Recording,
    wire::parsers,
};
use exchange_preflight_checks::facts::{
    census::{SpnCensus, SpnScan},
    certificate::Certificate,
    connector::{CertificateName, IpRange, binding},
    directory::NetlogonReply,
    kerberos::KdcReply,
    ntp::NtpReply,
    raw::Raw,
    replication::{Neighbour, longest_pause, shown_cursor, shown_stamp, stored_cursors, stored_stamps},
    search::{dn_parts, domain_of_dn, filter, guid, leaf, parent},
    smb::SmbReply,
    smtp::{Exchange, SmtpReply},
    spn,
    time::Span,
};
use jiff::Timestamp;

/// What a parser is tried with.
type Target = fn(&[u8]);

/// The targets by name: the folders of `corpus`, and the programs of Cargo.toml.
pub(super) const TARGETS: &[(&str, Target)] = &[
    ("kdc_answer", kdc_answer),
    ("kdc_ticket", parsers::kdc),
    ("replication", replication),
    ("census", census),
    ("netlogon", netlogon),
    ("ntp", ntp),
    ("smb", smb),
    ("smtp", smtp),
    ("certificate", certificate),
    ("directory_names", directory_names),
    ("spn", spn_values),
    ("connector", connector),
    ("ldap_frame", parsers::ldap),
    ("tls_flight", parsers::tls_flight),
    ("recording", recording),
    ("plan", plan),
    ("json_export", given),
    ("csv_export", given),
    ("send_log", given),
    ("candidate", candidate),
];

/// Runs the target of this name.
pub(super) fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("every program is in the list");
    target(input);
}

const SPAN: Span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };

fn kdc_answer(input: &[u8]) {
    let reply = KdcReply { span: SPAN, message: Raw(input.to_vec()) };
    let _ = (reply.answer(), reply.reading());
}

fn replication(input: &[u8]) {
    let _ = (Neighbour::stored(input), Neighbour::shown(input), longest_pause(input));
    let _ = (stored_cursors(input), shown_cursor(input), stored_stamps(input), shown_stamp(input));
}

/// Objects one after another, a value a line.
fn census(input: &[u8]) {
    let mut census = SpnCensus::new(&SpnScan { aliases: vec!["http".into(), "cifs".into()] });
    for (at, object) in input.split(|byte| *byte == 0).enumerate() {
        let guid = u128::try_from(at).unwrap_or_default().to_le_bytes();
        let _ = census.push(&guid, object.split(|byte| *byte == b'\n'));
    }
    let counted = census.finish();
    assert!(counted.objects <= input.len() as u64 + 1);
}

fn netlogon(input: &[u8]) {
    let _ = NetlogonReply { span: SPAN, netlogon: Raw(input.to_vec()) }.netlogon();
}

fn ntp(input: &[u8]) {
    let reply = NtpReply { span: SPAN, packet: Raw(input.to_vec()) };
    let _ = (reply.header().map(|header| header.kiss_code()), reply.reading());
}

fn smb(input: &[u8]) {
    let reply = SmbReply { span: SPAN, message: Raw(input.to_vec()) };
    let _ = (reply.is_negotiate(), reply.reading());
}

fn smtp(input: &[u8]) {
    let lines: Vec<String> = String::from_utf8_lossy(input).lines().map(Into::into).collect();
    let said = |command: &str| Exchange { command: command.into(), span: SPAN, lines: lines.clone(), is_inside: false };
    let session =
        SmtpReply { exchanges: vec![said(""), said("EHLO me"), said("STARTTLS")], injected: Raw::default(), tls: None };
    let _ = (session.own_name(), session.is_exchange(), session.reading(), session.offers("AUTH"));
}

fn certificate(input: &[u8]) {
    if let Ok(certificate) = Certificate::parse(input) {
        let _ = (certificate.covers("mail.contoso.com"), certificate.signed_by(&certificate), certificate.may_issue());
    }
}

fn directory_names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = (dn_parts(&text), leaf(&text), parent(&text), domain_of_dn(&text), guid(input), filter::equal("cn", &text));
}

fn spn_values(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = (spn::key(&text), spn::look(&text), spn::folded(&text), spn::Mappings::read(text.lines()));
}

fn connector(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = (binding(&text), CertificateName::read(&text), IpRange::read(&text).map(|range| range.breadth()));
}

fn recording(input: &[u8]) {
    let _ = Recording::parse(&String::from_utf8_lossy(input));
}

fn plan(input: &[u8]) {
    let _ = plan_file::parse(&String::from_utf8_lossy(input));
}

/// A file that an administrator gives, of whatever kind.
fn given(input: &[u8]) {
    if let Err(mistakes) = files::of_bytes("given", input.to_vec()) {
        assert!(!mistakes.is_empty());
    }
}

/// A certificate that is to be installed. A store costs as many rounds of its key derivation as it says, so it is looked into by name
/// only.
fn candidate(input: &[u8]) {
    let _ = certificates::held(input);
}
