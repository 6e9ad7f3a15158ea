//! `certificate-named`: does a certificate bear the names by which its server is reached?

use crate::{
    facts::{
        certificate::Cover,
        smtp::Upgrade,
        spn::{Spn, class},
    },
    model::{
        certificates::{Leaf, Shown, judge_leaves, listener_needs},
        check::{Check, Need},
        connectors::Connectors,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        holder::Holder,
        listeners::{Facing, Service, quote},
        meta::{Basis, Fold, Meta, Tier},
        organisation::Told,
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::SocketAddr;

/// See the module.
pub struct Named;

static META: Meta = Meta {
    id: "certificate-named",
    area: "certificate",
    title: "Certificates bear the right names",
    question: "Is every name by which peers outside reach a server in the certificate that it shows?",
    healthy: "each stated name is in the subject alternative name, itself or by a wildcard of its own depth",
    why: "A peer that verifies compares the name that it asked for with the subject alternative name, and with nothing else (RFC 9525): the common name counts nowhere any more, and *.contoso.com is not for a.b.contoso.com.",
    remedy: &[
        "Renew the certificate with all names: New-ExchangeCertificate -GenerateRequest -DomainName <NAME>,<NAME>",
        "Or let the connector show the certificate that has them: Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I><ISSUER><S><SUBJECT>\"",
    ],
    references: &[
        "RFC 9525 sections 2 and 6.3",
        "RFC 6125 appendix B",
        "Selection of inbound STARTTLS certificates (Microsoft Learn)",
    ],
    symptoms: &[
        "550 5.7.64 TenantAttribution",
        "SubjectMismatch",
        "454 4.7.5 Certificate validation failure",
        "450 4.4.317",
        "MSExchangeTransport event 12014",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Named {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        listener_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        judge_leaves(&META, estate, evidence, |_, leaf| judge(leaf, estate, evidence))
    }
}

fn judge(leaf: &Leaf<'_>, estate: &Estate, evidence: &Evidence) -> Finding {
    let worst = leaf.shown.iter().filter_map(|shown| worst_name(leaf, shown)).max_by_key(|(verdict, ..)| *verdict);
    if let Some((verdict, code, said, name)) = worst {
        let seen = format!("{}: {said}; its names are {}", leaf.at(), names(leaf));
        let holder = Holder::of(leaf, estate);
        let renew = format!("If none of them has {name}, have one issued with all names that are used.");
        let steps = holder.look().into_iter().chain(holder.pin()).chain([renew]);
        return steps.fold(Finding::new(&META, leaf.subject(), verdict, seen).code(code), Finding::remedy);
    }
    let own: Vec<_> = leaf.shown.iter().filter_map(|shown| own_name(leaf, shown, estate, evidence)).collect();
    if let Some(OwnName { said, name, .. }) = own.iter().find(|own| !own.is_explained) {
        let seen = format!("{}: {said}; its names are {}", leaf.at(), names(leaf));
        let finding = Finding::new(&META, leaf.subject(), Verdict::Warn, seen)
            .code("own-name-missing")
            // Where the name is the wrong one, that is the trouble.
            .suspects(Trouble::SpnWrong(Spn::new(class::SMTPSVC, name).to_string()));
        let holder = Holder::of(leaf, estate);
        return holder.look().into_iter().chain(holder.pin()).fold(finding, Finding::remedy);
    }
    let note = own.first().map(|own| format!("; {}", own.said)).unwrap_or_default();
    let stated: BTreeSet<_> = leaf.shown.iter().flat_map(|shown| asked_names(shown)).map(String::as_str).collect();
    let stated: Vec<_> = stated.into_iter().collect();
    if stated.is_empty() && !own.is_empty() {
        return Finding::new(&META, leaf.subject(), Verdict::Pass, format!("{}{note}", leaf.at()));
    }
    if stated.is_empty() {
        // Peers inside ask for no name.
        let said = format!("{}: no name by which it is reached was stated; its names are {}", leaf.at(), names(leaf));
        return Finding::new(&META, leaf.subject(), Verdict::Skip, said);
    }
    Finding::new(&META, leaf.subject(), Verdict::Pass, format!("{}: it bears {}{note}", leaf.at(), stated.join(", ")))
}

/// The name by which a server answers EHLO is not in the certificate that it shows.
struct OwnName {
    name: String,
    said: String,
    /// Its connector names this certificate, so somebody wants it so.
    is_explained: bool,
}

/// `None` where the name is there, or nothing is certain: without the directory it is not known whether TlsCertificateName wants
/// it so, and beside other connectors it is not known which one answered.
fn own_name(leaf: &Leaf<'_>, shown: &Shown, estate: &Estate, evidence: &Evidence) -> Option<OwnName> {
    if shown.upgrade != Some(Upgrade::StartTls) {
        return None;
    }
    let to = &shown.listener.to;
    let name = shown.listener.first_look(evidence).talked()?.own_name()?;
    // Exchange itself also takes the common name, and a wildcard for more than one label.
    if leaf.certificate.covers(&name) != Cover::No {
        return None;
    }
    let connectors = Connectors::of(&to.host, estate, evidence)?.at(SocketAddr::new(to.address?, to.port));
    let [connector] = connectors.as_slice() else { return None };
    if connector.fqdn.as_ref().unwrap_or(&to.host) != &name {
        return None;
    }
    let port = to.port;
    let is_explained = match &connector.pin {
        Told::Unread => return None,
        Told::NotSet => false,
        // One that names another is the trouble of `certificate-pinned`.
        Told::Is(_) => connector.pinned().filter(|pin| pin.names(leaf.certificate)).map(|_| true)?,
    };
    let why = if is_explained { "its connector names this certificate" } else { "its connector names none" };
    let said =
        format!("on {port} the server answers EHLO as {}, which is not among its names, and {why}", quote(&name));
    Some(OwnName { name, said, is_explained })
}

/// The stated names that are asked for here: of a web server the one for which it showed this certificate, of the internal
/// transport certificate none.
fn asked_names(shown: &Shown) -> impl Iterator<Item = &String> {
    let is_everybodys = shown.facing() == shown.listener.facing;
    let names = shown.listener.names.iter().filter(move |_| is_everybodys);
    names.filter(|name| shown.asked.as_ref().is_none_or(|asked| asked == *name))
}

type Word = (Verdict, &'static str, String, String);

fn worst_name(leaf: &Leaf<'_>, shown: &Shown) -> Option<Word> {
    // Of the other two some peers still take the certificate.
    let missing = match (shown.facing(), shown.listener.service) {
        (Facing::Outside, Service::Smtp) => Verdict::Fail,
        _ => Verdict::Warn,
    };
    let words = asked_names(shown).filter_map(|name| {
        let (verdict, code, said) = match leaf.certificate.covers(name) {
            Cover::Yes => return None,
            Cover::CommonNameOnly => (
                Verdict::Warn,
                "common-name-only",
                format!("{name} is its common name alone, which nobody looks at any more"),
            ),
            Cover::WildcardTooHigh => {
                (Verdict::Warn, "wildcard-too-deep", format!("its wildcard stands for one label, and {name} has more"))
            }
            Cover::No => (missing, "name-missing", format!("{name} is not among its names")),
        };
        Some((verdict, code, said, name.clone()))
    });
    words.max_by_key(|(verdict, ..)| *verdict)
}

fn names(leaf: &Leaf<'_>) -> String {
    const FEW: usize = 6;
    // The longest that DNS can carry (RFC 1035 section 2.3.4); a hostile certificate may hold a page.
    const LONGEST: usize = 253;
    let names = &leaf.certificate.dns_names;
    let shown: Vec<String> = names.iter().take(FEW).map(|name| name.chars().take(LONGEST).collect()).collect();
    match names.len() {
        0 => "none".into(),
        count if count > FEW => format!("{} and {} more", shown.join(", "), count - FEW),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::connector::TransportRole::FrontEnd,
        model::{
            connectors::testing::{EVERYBODY, connector, estate, heard, words},
            organisation::ReceiveConnector,
        },
    };

    /// Bears ex01.contoso.com and *.contoso.com.
    const OWN: &[u8] = include_bytes!("../../tests/chains/samples/server.der");
    /// Bears no DNS name; its common name is mail.contoso.com.
    const OTHER: &[u8] = include_bytes!("../../tests/chains/samples/pinned.der");

    fn judge(pin: Told<String>, shown: &[u8]) -> Option<String> {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        let front = connector("EX01", "Front", 25, FrontEnd, 31, &EVERYBODY);
        estate.organisation.receive_connectors = [ReceiveConnector { pin, ..front }].into();
        heard(&mut evidence, ("EX01", "10.0.0.1", 25), Upgrade::StartTls, &["STARTTLS"], Some(shown));
        let said = words(Named.judge(&estate, &evidence)).into_iter().find(|said| said.contains("sha1:"))?;
        let word = said.split(' ').filter(|word| !word.starts_with("sha1:")).collect::<Vec<_>>().join(" ");
        Some(word)
    }

    #[test]
    fn a_pin_explains_another_name() {
        let subject = "<S>CN=mail.contoso.com + OU=Mail, E=post@contoso.com, OU=\"R+D\", O=\"Contoso, Ltd.\", L=Zürich, S=Kent, \
            PostalCode=8000, SERIALNUMBER=3014267, OID.1.3.6.1.4.1.311.60.2.1.3=US, OID.2.5.4.15=Private Organization, C=US";
        assert_eq!(judge(Told::NotSet, OWN).as_deref(), Some("skip"));
        assert_eq!(judge(Told::NotSet, OTHER).as_deref(), Some("warn own-name-missing"));
        assert_eq!(judge(Told::Is(subject.into()), OTHER).as_deref(), Some("pass"));
        assert_eq!(judge(Told::Is("<S>CN=else".into()), OTHER).as_deref(), Some("skip"));
        assert_eq!(judge(Told::Unread, OTHER).as_deref(), Some("skip"));
    }
}
