//! What was given comes from files and out of recordings, which may come from anybody. Names in it enter printed commands, so they
//! have to be names; and nothing of it is longer than Exchange lets it be.

use super::export::is_domain;
use crate::plan_file::host_name;
use exchange_preflight_checks::{
    facts::{
        dns::is_host_name,
        export::Services,
        protocol_log::{LoggedCertificate, is_thumbprint},
    },
    model::inputs::{HybridPlan, Inputs, Supposed},
};
use std::net::IpAddr;

/// `rangeUpper` of what names a certificate (facts of the schema); names of connectors have 64.
const LONGEST_TEXT: usize = 1024;
const LONGEST_NAME: usize = 256;

/// A certificate has not more names than this; authorities stop at a few hundred.
const MOST_NAMES: usize = 4096;

/// Refuses what no file of ours would have brought. The error names the field.
pub fn sound(inputs: &Inputs, hybrid: &HybridPlan) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut check = |is_sound: bool, field: &str| {
        if !is_sound && wrong.is_empty() {
            wrong.push(format!("what was given has a value in {field} that cannot be one"));
        }
    };
    for row in inputs.certificates.iter().flatten() {
        check(is_host_name(&row.server), "certificates.server");
        check(is_thumbprint(&row.thumbprint) && is_lower(&row.thumbprint), "certificates.thumbprint");
        check(is_text(&row.subject) && is_text(&row.issuer), "certificates.subject");
        check(are_names(&row.domains), "certificates.domains");
        check(row.services.is_none_or(|services| services.0 < 1 << Services::NAMES.len()), "certificates.services");
        check(row.status.as_deref().is_none_or(is_name), "certificates.status");
    }
    for row in inputs.inbound.iter().flatten() {
        check(is_name(&row.name), "inbound.name");
        check(row.certificate_name.as_deref().is_none_or(is_domain), "inbound.certificate_name");
        check(are_names(&row.sender_domains), "inbound.sender_domains");
    }
    for row in inputs.outbound.iter().flatten() {
        check(is_name(&row.name), "outbound.name");
        check(row.smart_hosts.iter().all(|host| is_host(host)), "outbound.smart_hosts");
        check(row.tls_domain.as_deref().is_none_or(is_domain), "outbound.tls_domain");
        check(row.tls_settings.as_deref().is_none_or(is_name), "outbound.tls_settings");
        check(are_names(&row.recipient_domains), "outbound.recipient_domains");
    }
    for row in inputs.accepted_domains.iter().flatten() {
        check(is_domain(&row.name), "accepted_domains.name");
        check(row.kind.as_deref().is_none_or(is_name), "accepted_domains.kind");
    }
    for row in inputs.send_connectors.iter().flatten() {
        check(is_name(&row.name), "send_connectors.name");
        check(row.fqdn.as_deref().is_none_or(is_domain), "send_connectors.fqdn");
        check(row.pin.as_deref().is_none_or(is_text), "send_connectors.pin");
        check(row.sources.iter().all(|source| is_host_name(source)), "send_connectors.sources");
        check(row.smart_hosts.iter().all(|host| is_host(host)), "send_connectors.smart_hosts");
        check(are_names(&row.address_spaces), "send_connectors.address_spaces");
        check(row.tls_domain.as_deref().is_none_or(is_domain), "send_connectors.tls_domain");
    }
    for session in inputs.send_log.iter().flatten() {
        check(session.server.as_deref().is_none_or(is_host_name), "send_log.server");
        check(is_name(&session.connector), "send_log.connector");
        check(session.remote_name.as_deref().is_none_or(is_host_name), "send_log.remote_name");
        check([&session.sent, &session.received].into_iter().flatten().all(is_logged), "send_log.sent");
        check(are_names(&session.refusals), "send_log.refusals");
    }
    if let Some(Supposed { on, removed, .. }) = &inputs.supposed {
        check(on.iter().all(|host| host_name(host).is_ok()), "supposed.on");
        check(removed.iter().all(|thumbprint| is_thumbprint(thumbprint)), "supposed.removed");
    }
    for file in &inputs.files {
        check(is_text(&file.name) && is_name(&file.kind), "files");
    }
    check(hybrid.sender_domains.iter().all(|domain| is_domain(domain)), "hybrid.sender_domains");
    wrong.pop().map_or(Ok(()), Err)
}

fn is_logged(certificate: &LoggedCertificate) -> bool {
    // A log may break off before the thumbprint.
    (certificate.thumbprint.is_empty() || is_thumbprint(&certificate.thumbprint) && is_lower(&certificate.thumbprint))
        && is_text(&certificate.subject)
        && is_text(&certificate.issuer)
        && certificate.serial.as_deref().is_none_or(is_text)
        && are_names(&certificate.names)
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= LONGEST_TEXT && !text.chars().any(char::is_control)
}

fn is_name(text: &str) -> bool {
    text.chars().count() <= LONGEST_NAME && is_text(text)
}

fn are_names(names: &[String]) -> bool {
    names.len() <= MOST_NAMES && names.iter().all(|name| is_name(name))
}

fn is_host(host: &str) -> bool {
    is_host_name(host) || host.parse::<IpAddr>().is_ok()
}
