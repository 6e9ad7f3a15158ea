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
    facts::{
        certificate::Key,
        connector::CertificateName,
        distinguished::DistinguishedName,
        dns::{canonical_name, is_host_name},
    },
    model::{
        listeners::quote,
        stock::{Stock, Stocked},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
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
    /// All that matters is known: all certificates of the server, of those that fit whether they may be shown, and nothing
    /// decides that is known of Exchange 2013 alone.
    pub is_certain: bool,
    /// Others that fit and were passed over, the best of them first.
    pub others: Vec<&'s Stocked>,
    /// Those that would fit, and that SMTP may not show: without its service, its key, or the server's trust.
    pub unfit: Vec<&'s Stocked>,
    /// When.
    at: Timestamp,
}

impl<'s> Selected<'s> {
    /// The one that is shown, where there is no doubt which.
    pub fn one(&self) -> Option<&'s Stocked> {
        if let Choice::One(one) = self.choice { Some(one) } else { None }
    }

    /// The same, where nothing is left open either.
    pub fn sure(&self) -> Option<&'s Stocked> {
        self.one().filter(|_| self.is_certain)
    }

    /// All of which one is shown.
    pub fn candidates(&self) -> Vec<&'s Stocked> {
        match &self.choice {
            Choice::One(one) => vec![one],
            Choice::Any(any) => any.clone(),
            Choice::Nothing => Vec::new(),
        }
    }

    /// Is it within its life, and does the server think well of it, as far as anybody tells?
    pub fn is_valid(&self, one: &Stocked) -> bool {
        is_valid(one, self.at)
    }

    /// Is its life surely over?
    pub fn is_expired(&self, one: &Stocked) -> bool {
        one.not_after.is_some_and(|end| end < self.at)
    }

    /// Why this one, or why none: what follows "it is shown because".
    pub fn words(&self) -> String {
        match (&self.by, &self.choice) {
            (By::Nonsense(text), _) => {
                format!("what the connector names, {}, is no name of a certificate", quote(text))
            }
            (By::Pin(_), Choice::One(_)) if self.others.is_empty() => {
                "it is the only one with the issuer and the subject that the connector names".into()
            }
            (By::Pin(_), Choice::One(_)) => {
                "it is the only valid one with the issuer and the subject that the connector names".into()
            }
            (By::Pin(_), Choice::Any(any)) => {
                format!(
                    "the connector names {} of them alike, and Exchange shows the one that it finds first",
                    any.len()
                )
            }
            (By::Pin(_), Choice::Nothing) => {
                let why = self.why_unfit().map(|why| format!("; {why}")).unwrap_or_default();
                format!("none has the issuer and the subject that the connector names{why}")
            }
            (By::Name(name), Choice::Nothing) => {
                let why = self.why_unfit().map(|why| format!("; {why}")).unwrap_or_default();
                format!("none that SMTP may show bears {}{why}", spelt(name))
            }
            (By::Name(name), Choice::Any(any)) => {
                format!(
                    "{} of one age bear {}, and nobody has written down which of them is shown",
                    any.len(),
                    spelt(name)
                )
            }
            (By::Name(name), Choice::One(one)) => self.why_first(one, &spelt(name)),
        }
    }

    fn why_first(&self, one: &Stocked, name: &str) -> String {
        let Some(second) = self.others.first() else { return format!("it is the only one that bears {name}") };
        let all = self.others.len() + 1;
        // Those before which it stands only because it is newer.
        let alike = |other: &&&Stocked| rank(other, self.at) == rank(one, self.at);
        let kind = 1 + self.others.iter().filter(alike).count();
        let made = if one.is_self_signed { "that signed themselves" } else { "that an authority signed" };
        if kind > 1 {
            return format!("it is the newest of {kind} {made} and that bear {name}");
        }
        if is_alive(one, self.at) != Some(false) && is_alive(second, self.at) == Some(false) {
            return format!("it is the only one of {all} that bear {name} which is valid");
        }
        if !one.is_self_signed && second.is_self_signed {
            return format!("it is the only one of {all} that bear {name} which an authority signed");
        }
        format!("it is the best of {all} that bear {name}: the others may be revoked, for all that the server knows")
    }

    fn why_unfit(&self) -> Option<String> {
        let one = self.unfit.first()?;
        let why = if one.has_key == Some(false) {
            "the server has no key of it"
        } else if one.serves_smtp == Some(false) {
            "it has not the service SMTP"
        } else {
            "the server does not trust it"
        };
        Some(format!("{} would fit, and {why}", one.thumbprint))
    }
}

/// Chooses, at an instant.
pub fn select<'s>(stock: &'s Stock, wanted: &Wanted<'_>, now: Timestamp) -> Selected<'s> {
    if let Some(pin) = wanted.pin {
        let Some(name) = CertificateName::read(pin) else {
            let by = By::Nonsense(pin.to_string());
            let (others, unfit) = (Vec::new(), Vec::new());
            return Selected { by, choice: Choice::Nothing, is_certain: true, others, unfit, at: now };
        };
        return by_pin(stock, name, now);
    }
    let name = wanted.fqdn.filter(|fqdn| !fqdn.is_empty()).unwrap_or(wanted.host);
    by_name(stock, canonical_name(name), now)
}

/// The service SMTP is not asked for: a certificate that is named without it is taken, and TLS fails (`UnknownCredentials`, KB
/// 4051498). The first valid one is taken; what becomes of one that is not is not written down.
fn by_pin(stock: &Stock, name: CertificateName, now: Timestamp) -> Selected<'_> {
    let named = stock.certificates.values().filter(|one| name.fits(&one.subject, &one.issuer));
    let (mut fit, mut unfit): (Vec<_>, Vec<_>) = named.partition(|one| one.has_key != Some(false));
    fit.sort_by_key(|one| (!is_valid(one, now), Reverse(one.not_before), &one.thumbprint));
    unfit.sort_by_key(|one| &one.thumbprint);
    let valid = fit.iter().filter(|one| is_valid(one, now)).count();
    let is_told = |one: &&Stocked| is_alive(one, now).is_some() && !one.is_only_logged();
    let is_by_status = |one: &&Stocked| is_alive(one, now) != Some(false) && !is_taken(one);
    let is_certain = stock.is_whole
        && is_pinnable(&name)
        && fit.iter().all(is_told)
        && (valid > 0 || fit.is_empty())
        && !fit.iter().any(is_by_status);
    let others = fit.split_off(valid.max(1).min(fit.len()));
    let choice = match fit.as_slice() {
        [] => Choice::Nothing,
        [one] => Choice::One(one),
        _ => Choice::Any(fit),
    };
    Selected { by: By::Pin(name), choice, is_certain, others, unfit, at: now }
}

fn by_name(stock: &Stock, name: String, now: Timestamp) -> Selected<'_> {
    let may = |one: &&Stocked| one.serves_smtp != Some(false) && one.has_key != Some(false) && is_taken(one);
    let (mut fit, mut unfit): (Vec<_>, Vec<_>) =
        stock.certificates.values().filter(|one| bears(one, &name)).partition(may);
    fit.sort_by_key(|one| (rank(one, now), Reverse(one.not_before), &one.thumbprint));
    unfit.sort_by_key(|one| &one.thumbprint);
    let is_told = |one: &&Stocked| one.serves_smtp.is_some() && one.not_before.is_some() && !one.is_only_logged();
    let is_certain = stock.is_whole
        && fit.iter().all(is_told)
        && !is_doubtful(&fit, now)
        && !unfit.iter().any(|one| would_come_first(one, &fit, now))
        && !stock.certificates.values().any(|one| perhaps_bears(one, &name) && may(&one));
    let place = |one: &Stocked| (rank(one, now), one.not_before);
    let ties = fit.iter().take_while(|one| fit.first().is_some_and(|first| place(first) == place(one))).count();
    let others = fit.split_off(ties);
    let choice = match fit.as_slice() {
        [] => Choice::Nothing,
        [one] => Choice::One(one),
        _ => Choice::Any(fit),
    };
    Selected { by: By::Name(name), choice, is_certain, others, unfit, at: now }
}

/// Which of those that fit come first: alive before dead, signed by an authority before self-signed; what may be revoked, for all that
/// the server knows, comes after what is surely not. Of equals the newest comes first.
fn rank(one: &Stocked, now: Timestamp) -> (bool, bool, bool) {
    (!is_valid(one, now), one.is_self_signed, is_status(one, &["revocationcheckfailure"]))
}

/// Does the order rest on what is known of Exchange 2013 alone? It may take an authority's certificate that has expired if it comes
/// upon it first, passes ECDSA keys over where their use is not switched on, and takes no certificate without serverAuth.
fn is_doubtful(fit: &[&Stocked], now: Timestamp) -> bool {
    let Some(first) = fit.first() else { return false };
    let is_rival = |one: &Stocked| !one.is_self_signed && !is_valid(one, now) && one.not_before > first.not_before;
    let is_odd = |one: &Stocked| {
        one.certificate.as_ref().is_some_and(|certificate| {
            !matches!(certificate.key, Key::Rsa(_)) || certificate.extended_usage.is_some_and(|usage| !usage.server)
        })
    };
    let may_be_revoked = rank(first, now).2;
    fit.len() > 1 && (fit.iter().any(|one| is_rival(one)) || may_be_revoked) || is_odd(first)
}

/// Is it one of those that the server itself rejects?
fn is_taken(one: &Stocked) -> bool {
    one.is_self_signed || !is_status(one, &["untrusted", "revoked", "invalid", "pendingrequest"])
}

/// Is it passed over for its status alone, and would it be shown if that did not count? That it counts is seen of Exchange 2013
/// alone.
fn would_come_first(one: &Stocked, fit: &[&Stocked], now: Timestamp) -> bool {
    let is_usable = one.serves_smtp != Some(false) && one.has_key != Some(false) && is_alive(one, now) != Some(false);
    let is_before = |first: &&Stocked| {
        first.is_self_signed
            || !is_valid(first, now)
            || one.not_before.is_none_or(|since| Some(since) >= first.not_before)
    };
    is_usable && !is_status(one, &["pendingrequest"]) && fit.first().is_none_or(is_before)
}

fn is_status(one: &Stocked, any: &[&str]) -> bool {
    let status = one.status.as_deref().unwrap_or_default().to_lowercase();
    any.contains(&status.as_str())
}

/// Is it alive, as far as is told, and does the server think well of it?
fn is_valid(one: &Stocked, now: Timestamp) -> bool {
    let is_dead = is_alive(one, now).map_or_else(|| is_status(one, &["dateinvalid"]), |is_alive| !is_alive);
    !is_dead && is_taken(one)
}

/// Can Exchange find a certificate by this name at all? What it reads must hold a common name that is a domain, perhaps with a
/// leading `*.` (as seen of Exchange 2013).
pub fn is_pinnable(name: &CertificateName) -> bool {
    may_be_named(DistinguishedName::read(&name.subject).common_name())
}

/// May a connector name this certificate? See [`is_pinnable`].
pub fn may_be_pinned(one: &Stocked) -> bool {
    may_be_named(one.subject.common_name())
}

/// May a connector name a certificate of this common name?
pub fn may_be_named(common_name: Option<&str>) -> bool {
    common_name.is_some_and(|name| is_host_name(name.strip_prefix("*.").unwrap_or(name)))
}

/// A name as a sentence has it: as it is where it is one.
fn spelt(name: &str) -> String {
    if is_host_name(name) { name.to_string() } else { quote(name) }
}

/// Is the instant within its life, if that is told?
pub fn is_alive(one: &Stocked, now: Timestamp) -> Option<bool> {
    Some(one.not_before? <= now && now <= one.not_after?)
}

/// Does it bear this name, by itself or by a wildcard? Its common name counts here.
pub fn bears(one: &Stocked, name: &str) -> bool {
    names_of(one).any(|pattern| is_named(&pattern, name))
}

/// All names that it bears, its common name among them; lower case.
pub fn names_of(one: &Stocked) -> impl Iterator<Item = String> {
    let common = one.subject.common_name().map(str::to_lowercase);
    one.names.iter().cloned().chain(common)
}

/// Exchange 2013 lets a wildcard stand for more than one label, which nobody has written down of later ones.
fn perhaps_bears(one: &Stocked, name: &str) -> bool {
    let is_above = |pattern: &String| {
        pattern.strip_prefix('*').is_some_and(|domain| domain.starts_with('.') && name.ends_with(domain))
    };
    !bears(one, name) && one.names.iter().any(is_above)
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
    use proptest::prelude::*;

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
        let stock = stock_of(&[public.clone(), untrusted]);
        let wanted = Wanted { pin: None, fqdn: Some("mail.contoso.com"), host: "ex01.contoso.com" };
        let selected = select(&stock, &wanted, NOW.parse().unwrap());
        assert_eq!(selected.one().map(|one| &one.thumbprint[..2]), Some("01"));
        assert!(!selected.is_certain, "that a status counts is seen of Exchange 2013 alone");
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

    #[test]
    fn the_reason_is_told_in_words() {
        let own = row(3, MAIL, MAIL, "2026-11-20T00:00:00Z");
        let public = row(1, PUBLIC, MAIL, "2026-10-01T00:00:00Z");
        let company = row(2, COMPANY, MAIL, "2026-11-01T00:00:00Z");
        let why = |rows: &[ExportedCertificate], pin: Option<&str>| {
            let wanted = Wanted { pin, fqdn: Some("mail.contoso.com"), host: "ex01.contoso.com" };
            select(&stock_of(rows), &wanted, NOW.parse().unwrap()).words()
        };
        let newest = "it is the newest of 2 that an authority signed and that bear mail.contoso.com";
        assert_eq!(why(&[own.clone(), public.clone(), company.clone()], None), newest);
        let alone = "it is the only one of 2 that bear mail.contoso.com which an authority signed";
        assert_eq!(why(&[own, public.clone()], None), alone);
        assert_eq!(why(core::slice::from_ref(&public), None), "it is the only one that bears mail.contoso.com");
        let web = ExportedCertificate { services: Some(Services(8)), ..public.clone() };
        let none = why(&[web], None);
        assert!(none.starts_with("none that SMTP may show bears mail.contoso.com; 0101"), "{none}");
        assert!(why(&[public.clone(), company], Some("<S>CN=mail.contoso.com")).starts_with("the connector names 2"));
        assert!(why(&[public], Some("mail")).contains("no name of a certificate"));
    }

    #[test]
    fn of_one_age_nobody_knows_which() {
        let of = |number| row(number, PUBLIC, MAIL, "2026-10-01T00:00:00Z");
        assert_eq!(chosen(&[of(2), of(1)], None), "01|02");
    }

    #[test]
    fn what_is_seen_of_2013_alone_is_not_certain() {
        let is_certain = |rows: &[ExportedCertificate], fqdn: &str, pin: Option<&str>| {
            let wanted = Wanted { pin, fqdn: Some(fqdn), host: "ex01.contoso.com" };
            select(&stock_of(rows), &wanted, NOW.parse().unwrap()).is_certain
        };
        let good = row(1, PUBLIC, MAIL, "2026-10-01T00:00:00Z");
        assert!(is_certain(core::slice::from_ref(&good), "mail.contoso.com", None));
        let over = ExportedCertificate {
            not_after: "2026-11-10T00:00:00Z".parse().ok(),
            ..row(2, PUBLIC, MAIL, "2026-11-01T00:00:00Z")
        };
        assert!(!is_certain(&[good.clone(), over.clone()], "mail.contoso.com", None), "expired, and newer");
        assert!(!is_certain(&[over], "mail.contoso.com", Some("<S>CN=mail.contoso.com")), "none of them is valid");
        let untrusted =
            |since| ExportedCertificate { status: Some("Untrusted".into()), ..row(4, COMPANY, MAIL, since) };
        let (older, newer) = (untrusted("2026-01-01T00:00:00Z"), untrusted("2026-11-01T00:00:00Z"));
        assert!(is_certain(&[good.clone(), older.clone()], "mail.contoso.com", None), "it would not come first anyway");
        assert!(!is_certain(&[good.clone(), newer], "mail.contoso.com", None));
        assert!(!is_certain(core::slice::from_ref(&older), "mail.contoso.com", None), "nothing else fits");
        assert!(!is_certain(&[good.clone(), older], "mail.contoso.com", Some("<S>CN=mail.contoso.com")));
        let wide = ExportedCertificate {
            domains: vec!["*.contoso.com".into()],
            ..row(3, PUBLIC, "CN=x", "2026-11-01T00:00:00Z")
        };
        assert!(!is_certain(&[good, wide], "a.mail.contoso.com", None));
    }

    fn any_row() -> impl Strategy<Value = ExportedCertificate> {
        let issuer = prop_oneof![Just(PUBLIC), Just(COMPANY), Just(MAIL)];
        let subject = prop_oneof![Just(MAIL), Just("CN=other.contoso.com"), Just("O=Contoso")];
        let since =
            prop_oneof![Just("2024-01-01T00:00:00Z"), Just("2026-10-01T00:00:00Z"), Just("2026-12-01T00:00:00Z")];
        let until = prop_oneof![Just("2026-11-01T00:00:00Z"), Just("2027-11-01T00:00:00Z")];
        let flag = proptest::option::of(any::<bool>());
        let status = proptest::option::of(prop_oneof![
            Just("Valid"),
            Just("Untrusted"),
            Just("Revoked"),
            Just("RevocationCheckFailure")
        ]);
        (any::<u8>(), issuer, subject, since, until, flag, proptest::option::of(0u32..32), status).prop_map(
            |(number, issuer, subject, since, until, has_private_key, services, status)| ExportedCertificate {
                not_after: until.parse().ok(),
                has_private_key,
                services: services.map(Services),
                status: status.map(Into::into),
                ..row(number, issuer, subject, since)
            },
        )
    }

    proptest! {
        #[test]
        fn the_choice_is_one_that_may_be_shown_and_no_order_changes_it(
            mut rows in proptest::collection::vec(any_row(), 0..8),
            pin in proptest::option::of(prop_oneof![
                Just("<S>CN=mail.contoso.com"), Just("<I>CN=Company CA<S>CN=mail.contoso.com"), Just("<S>O=Contoso"), Just("?")
            ]),
        ) {
            rows.sort_by_key(|row| row.thumbprint.clone());
            rows.dedup_by_key(|row| row.thumbprint.clone());
            let wanted = Wanted { pin, fqdn: Some("mail.contoso.com"), host: "ex01.contoso.com" };
            let now = NOW.parse().unwrap();
            let stock = stock_of(&rows);
            let selected = select(&stock, &wanted, now);
            let _ = selected.words();
            let candidates = selected.candidates();
            for one in &candidates {
                prop_assert!(one.has_key != Some(false));
                prop_assert!(pin.is_some() || one.serves_smtp != Some(false) && bears(one, "mail.contoso.com"));
                prop_assert!(selected.unfit.iter().chain(&selected.others).all(|other| other.thumbprint != one.thumbprint));
            }
            prop_assert!(!candidates.is_empty() || selected.others.is_empty());
            // What signed itself is shown only where no authority's that is valid fits.
            let is_valid_of_authority = |one: &&&Stocked| !one.is_self_signed && selected.is_valid(one);
            if pin.is_none() && candidates.iter().any(|one| one.is_self_signed) {
                prop_assert_eq!(selected.others.iter().filter(is_valid_of_authority).count(), 0);
            }
            rows.reverse();
            let again = stock_of(&rows);
            let again = select(&again, &wanted, now);
            let thumbprints = |all: &[&Stocked]| all.iter().map(|one| one.thumbprint.clone()).collect::<Vec<_>>();
            prop_assert_eq!(thumbprints(&candidates), thumbprints(&again.candidates()));
            prop_assert_eq!(thumbprints(&selected.others), thumbprints(&again.others));
        }
    }
}
