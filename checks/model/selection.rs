//! Which certificate Exchange shows, and why: the rules of its selection, inbound (STARTTLS) and outbound, as a pure choice among
//! the certificates of a server. ("Selection of inbound STARTTLS certificates" and "Selection of outbound anonymous TLS
//! certificates", Microsoft Learn; what those leave open, as facts of 2013, never decides alone.)
//!
//! 1. A connector that names one (TlsCertificateName) shows that one: the first that fits issuer and subject. If none fits, none
//!    is shown: STARTTLS vanishes, with event 12014.
//! 2. Else the connector's Fqdn, else the server's own name, has to be among the names of the certificate, and the certificate
//!    has to have the service SMTP. Of several, those that an authority signed come before those that signed themselves, and
//!    the newest first. Whether a root is trusted is for the *server* to say: so a company's own certificate may outrank a public one
//!    (KB 2888788).

use crate::{
    facts::{connector::CertificateName, dns::canonical_name},
    model::stock::{Stock, Stocked},
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::cmp::Reverse;
use jiff::Timestamp;

/// What a connector goes by.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its TlsCertificateName.
    pub pin: Option<&'a str>,
    /// Its Fqdn.
    pub fqdn: Option<&'a str>,
    /// The server's own full name.
    pub host: &'a str,
}

/// By what a certificate was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The connector names it.
    Pin(CertificateName),
    /// The connector names something that is no name of a certificate; Exchange would refuse to set that, and finds none.
    Nonsense(String),
    /// This name, of the connector or of the server.
    Name(String),
}

/// What comes of it.
#[derive(Clone, Debug)]
pub enum Choice<'s> {
    /// This one.
    One(&'s Stocked),
    /// Whichever of these it comes upon first: the connector names them alike. The newest is first here.
    Any(Vec<&'s Stocked>),
    /// None that is known fits.
    Nothing,
}

/// A choice, and how sure it is.
#[derive(Clone, Debug)]
pub struct Selected<'s> {
    /// By what.
    pub by: By,
    /// What.
    pub choice: Choice<'s>,
    /// All that matters is known: all certificates of the server, and of those that fit whether they may be shown.
    pub is_certain: bool,
    /// Others that fit and were passed over, the best of them first.
    pub others: Vec<&'s Stocked>,
}

impl<'s> Selected<'s> {
    /// The one that is shown, where there is no doubt which.
    pub fn one(&self) -> Option<&'s Stocked> {
        if let Choice::One(one) = self.choice { Some(one) } else { None }
    }
}

/// Chooses, at an instant.
pub fn select<'s>(stock: &'s Stock, wanted: &Wanted<'_>, now: Timestamp) -> Selected<'s> {
    if let Some(pin) = wanted.pin {
        let Some(name) = CertificateName::read(pin) else {
            let by = By::Nonsense(pin.to_string());
            return Selected { by, choice: Choice::Nothing, is_certain: true, others: Vec::new() };
        };
        return by_pin(stock, name, now);
    }
    let name = wanted.fqdn.filter(|fqdn| !fqdn.is_empty()).unwrap_or(wanted.host);
    by_name(stock, canonical_name(name), now)
}

/// The service SMTP is not asked for: a certificate that is named without it is taken, and TLS fails (`UnknownCredentials`, KB
/// 4051498).
fn by_pin(stock: &Stock, name: CertificateName, now: Timestamp) -> Selected<'_> {
    let fits = |one: &&Stocked| name.fits(&one.subject, &one.issuer) && one.has_key != Some(false);
    let (mut alive, mut dead): (Vec<_>, Vec<_>) =
        stock.certificates.values().filter(fits).partition(|one| is_alive(one, now) != Some(false));
    alive.sort_by_key(|one| Reverse(one.not_before));
    dead.sort_by_key(|one| Reverse(one.not_before));
    let is_certain = stock.is_whole && alive.iter().all(|one| is_alive(one, now).is_some());
    let (choice, others) = match (alive.len(), dead.len()) {
        (0, 0) => (Choice::Nothing, Vec::new()),
        (0, _) => (Choice::One(dead.remove(0)), dead),
        (1, _) => (Choice::One(alive.remove(0)), dead),
        _ => (Choice::Any(alive), dead),
    };
    Selected { by: By::Pin(name), choice, is_certain, others }
}

fn by_name(stock: &Stock, name: String, now: Timestamp) -> Selected<'_> {
    let may = |one: &&Stocked| one.serves_smtp != Some(false) && one.has_key != Some(false) && is_taken(one);
    let mut fit: Vec<&Stocked> = stock.certificates.values().filter(|one| bears(one, &name)).filter(may).collect();
    // Alive before dead, signed by an authority before self-signed, the newest first.
    fit.sort_by_key(|one| (is_alive(one, now) == Some(false), one.is_self_signed, Reverse(one.not_before)));
    let is_told = |one: &&Stocked| one.serves_smtp.is_some() && one.not_before.is_some();
    let is_certain = stock.is_whole && fit.iter().all(is_told);
    let choice = if fit.is_empty() { Choice::Nothing } else { Choice::One(fit.remove(0)) };
    Selected { by: By::Name(name), choice, is_certain, others: fit }
}

/// Is it one of those that the server itself rejects?
fn is_taken(one: &Stocked) -> bool {
    const REJECTED: [&str; 4] = ["untrusted", "revoked", "invalid", "pendingrequest"];
    let status = one.status.as_deref().unwrap_or_default().to_lowercase();
    one.is_self_signed || !REJECTED.contains(&status.as_str())
}

/// Is the instant within its life, if that is told?
pub fn is_alive(one: &Stocked, now: Timestamp) -> Option<bool> {
    Some(one.not_before? <= now && now <= one.not_after?)
}

/// Does it bear this name, by itself or by a wildcard? Its common name counts here.
pub fn bears(one: &Stocked, name: &str) -> bool {
    let common = one.subject.common_name().map(str::to_lowercase);
    let mut patterns = one.names.iter().map(String::as_str).chain(common.as_deref());
    patterns.any(|pattern| is_named(pattern, name))
}

/// Does a name of a certificate, perhaps with a leading `*.`, stand for this one? A wildcard stands for one label.
pub fn is_named(pattern: &str, name: &str) -> bool {
    let below = pattern.strip_prefix("*.").zip(name.split_once('.'));
    pattern == name || below.is_some_and(|(domain, (_, parent))| domain == parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::export::{ExportedCertificate, Services},
        model::stock::testing::stock_of,
    };

    const NOW: &str = "2026-11-23T00:00:00Z";

    fn row(thumbprint: u8, issuer: &str, subject: &str, since: &str) -> ExportedCertificate {
        ExportedCertificate {
            server: "ex01.contoso.com".into(),
            thumbprint: hex::encode([thumbprint; 20]),
            subject: subject.into(),
            issuer: issuer.into(),
            services: Some(Services(16)),
            not_before: since.parse().ok(),
            not_after: "2027-11-01T00:00:00Z".parse().ok(),
            has_private_key: Some(true),
            ..ExportedCertificate::default()
        }
    }

    fn chosen(rows: &[ExportedCertificate], pin: Option<&str>) -> String {
        let stock = stock_of(rows);
        let wanted = Wanted { pin, fqdn: Some("Mail.contoso.com"), host: "ex01.contoso.com" };
        let selected = select(&stock, &wanted, NOW.parse().unwrap());
        assert!(selected.is_certain);
        let names = |all: &[&Stocked]| all.iter().map(|one| one.thumbprint[..2].to_string()).collect::<Vec<_>>();
        match &selected.choice {
            Choice::One(one) => names(&[one]).concat(),
            Choice::Any(any) => names(any).join("|"),
            Choice::Nothing => "-".into(),
        }
    }

    const PUBLIC: &str = "CN=Public CA, O=Trust, C=US";
    const COMPANY: &str = "CN=Company CA";
    const MAIL: &str = "CN=mail.contoso.com";

    #[test]
    fn a_company_s_certificate_outranks_a_public_one_when_it_is_newer() {
        let public = row(1, PUBLIC, MAIL, "2026-10-01T00:00:00Z");
        let company = row(2, COMPANY, MAIL, "2026-11-01T00:00:00Z");
        assert_eq!(chosen(&[public.clone(), company.clone()], None), "02");
        let pin = "<I>C=US, O=trust, CN=public ca<S>cn=MAIL.contoso.com";
        assert_eq!(chosen(&[public.clone(), company.clone()], Some(pin)), "01");
        let untrusted = ExportedCertificate { status: Some("Untrusted".into()), ..company.clone() };
        assert_eq!(chosen(&[public.clone(), untrusted], None), "01");
        let web = ExportedCertificate { services: Some(Services(8)), ..company };
        assert_eq!(chosen(&[public, web], None), "01");
    }

    #[test]
    fn what_signed_itself_comes_last_and_what_is_dead_after_it() {
        let own = row(1, MAIL, MAIL, "2026-11-01T00:00:00Z");
        let old = row(2, PUBLIC, MAIL, "2020-01-01T00:00:00Z");
        assert_eq!(chosen(&[own.clone(), old.clone()], None), "02");
        let dead = ExportedCertificate { not_after: "2026-01-01T00:00:00Z".parse().ok(), ..old };
        assert_eq!(chosen(&[own, dead.clone()], None), "01");
        assert_eq!(chosen(&[dead], None), "02", "expired, and shown all the same (event 12016)");
        assert_eq!(chosen(&[], None), "-");
    }

    #[test]
    fn a_pin_that_fits_two_fits_any() {
        let old = row(1, PUBLIC, MAIL, "2026-01-01T00:00:00Z");
        let new = row(2, PUBLIC, MAIL, "2026-11-01T00:00:00Z");
        let pin = alloc::format!("<I>{PUBLIC}<S>{MAIL}");
        assert_eq!(chosen(&[old.clone(), new.clone()], Some(&pin)), "02|01");
        assert_eq!(chosen(core::slice::from_ref(&old), Some(&pin)), "01");
        let keyless = ExportedCertificate { has_private_key: Some(false), ..new };
        assert_eq!(chosen(&[old.clone(), keyless], Some(&pin)), "01");
        assert_eq!(chosen(core::slice::from_ref(&old), Some("<I>CN=Other<S>CN=mail.contoso.com")), "-");
        assert_eq!(chosen(&[old], Some("mail.contoso.com")), "-");
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        assert!(is_named("*.contoso.com", "mail.contoso.com") && is_named("mail.contoso.com", "mail.contoso.com"));
        assert!(!is_named("*.contoso.com", "contoso.com") && !is_named("*.contoso.com", "a.b.contoso.com"));
    }
}
