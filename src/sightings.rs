//! What was seen of certificates and of the connections that showed them, as plain data: chains, who holds their roots, what
//! peers make of them. It judges nothing; that findings did.

use crate::recording::Recording;
use exchange_preflight_checks::{
    facts::{
        certificate::{Certificate, Key, Signed},
        chain::{End, Fault, Way},
        smtp::Upgrade,
        tls::{TlsSeen, TlsVersion, version_name},
        trust::{MOZILLA, RootsNamed},
        verification::{Refusal, refusal, weakness},
        web::http_url,
    },
    model::{
        ask::Endpoint,
        certificates::{Certificates, Leaf, Shown, Trust},
        estate::Estate,
        evidence::{End as Ended, Evidence, Miss, Reason, Reply, Stage, Vantage},
        finding::{Finding, Subject, Trouble},
        listeners::{Facing, Service, listeners, reason},
    },
};
use jiff::Timestamp;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// A server's own certificate, as that vantage saw it of which the findings tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCertificate {
    /// SHA-1, 40 hexadecimal digits: findings about it have it as their subject.
    pub thumbprint: String,
    /// Who saw it.
    pub vantage: String,
    /// When, by the estate's clocks.
    pub now: Timestamp,
    /// Where it was shown.
    pub places: Vec<String>,
    /// What is spoken where it matters most.
    pub service: Service,
    /// Who of all that see it looks most strictly.
    pub facing: Facing,
    /// The place of which chain and peers are told, and the vantage where there are several, if it is not the same everywhere:
    /// the worst.
    pub told_of: Option<String>,
    /// The place of which chain and peers are told.
    pub told_at: String,
    /// Versions of TLS that showed it, from the oldest.
    pub tls: Vec<&'static str>,
    /// A server sent an OCSP answer along with it.
    pub stapled: bool,
    /// The certificate itself, and who signed whom above it.
    pub chain: Vec<Link>,
    /// The stores that hold the root at its end.
    pub stores: Vec<Trust>,
    /// The name for which peers look.
    pub asked_for: Option<String>,
    /// What peers make of it. Empty where nobody verifies it: inside, servers of Exchange know each other by Kerberos.
    pub peers: Vec<PeerWord>,
}

/// One certificate of a chain, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whom it is for.
    pub subject: String,
    /// Who signed it; of what is missing, unknown.
    pub issuer: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Its first and its last instant.
    pub life: Option<(Timestamp, Timestamp)>,
    /// It signed itself.
    pub is_self_signed: bool,
    /// What is too weak about it; of a root, nothing.
    pub weakness: Option<String>,
    /// What else breaks the chain here.
    pub breaks: Vec<Break>,
    /// Where it came from.
    pub origin: Origin,
    /// Did its key sign the certificate below it? Of the lowest, and of what is missing, there is nothing to say.
    pub signature: Option<Signed>,
}

/// What breaks a chain at one of its certificates, beside its dates, its strength and its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Its authority took it back.
    Revoked,
    /// It stands above another, and is no authority.
    NotAnAuthority,
    /// Its extended usage leaves servers out.
    NotForServers,
    /// Its extended usage is "any" alone, which OpenSSL and rustls take for no server.
    OnlyAnyUsage,
    /// Its key usage forbids what it is used for.
    KeyMayNotSign,
    /// One that stands above allows fewer authorities below it.
    PathTooLong,
    /// One that stands above may not sign for its name.
    NameNotAllowed,
}

/// Where a certificate of a chain came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The server sent it.
    Sent,
    /// It was not sent; the certificate below it names this URL, and there it was.
    Fetched(Option<String>),
    /// It was not sent; another server sends it.
    Elsewhere,
    /// It is a root of a store.
    Store,
    /// It was neither sent nor found; the URL that the certificate below it names.
    Missing(Option<String>),
    /// The chain was not followed as far.
    TooFar,
}

/// Who looks at a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It verifies, and fetches nothing.
    StrictLinux,
    /// It verifies, and fetches issuers that were not sent.
    Windows,
    /// It wants the whole chain sent (Microsoft KB 3212877), where a connector of it demands a certificate.
    ExchangeOnline,
}

/// What a peer makes of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerWord {
    /// Who.
    pub peer: Peer,
    /// What it does.
    pub stance: Stance,
}

/// What a peer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It goes on.
    Accepts,
    /// It does not, for this reason.
    Refuses(String),
    /// It cannot be told, for this reason.
    Untold(String),
}

/// The connections that were made to a port that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Who made them.
    pub vantage: String,
    /// The port at one address.
    pub to: Endpoint,
    /// For what, one by one.
    pub reasons: Vec<String>,
}

/// The connections that one run made to the ports that speak TLS. `host` is what its vantage is called.
pub fn connections(recording: &Recording, host: &str) -> Vec<Connections> {
    let Recording { plan, evidence, .. } = recording;
    // Where this machine has no route or no socket, nothing leaves it.
    let is_made = |reply: &Reply| {
        !matches!(
            &reply.end,
            Ended::Miss(Miss {
                stage: Stage::Resolve | Stage::Connect,
                reason: Reason::NoRoute | Reason::Local(_),
                ..
            })
        )
    };
    let made = listeners(&Estate::learn(plan, evidence)).into_iter().map(|listener| {
        let here =
            evidence.of_host(&listener.to.host).filter(|seen| seen.ask.to == listener.to && is_made(&seen.reply));
        let reasons = here.filter_map(|seen| reason(&seen.ask)).collect();
        Connections { vantage: host.to_string(), to: listener.to, reasons }
    });
    made.filter(|connections| !connections.reasons.is_empty()).collect()
}

/// Every server's own certificate, from the vantage whose finding is told; `vantages` are those of the recordings.
pub fn certificates(recordings: &[Recording], vantages: &[Vantage], findings: &[Finding]) -> Vec<SeenCertificate> {
    let mut all: BTreeMap<String, Vec<SeenCertificate>> = BTreeMap::new();
    for (Recording { plan, evidence, .. }, vantage) in recordings.iter().zip(vantages) {
        let estate = Estate::learn(plan, evidence);
        let certificates = Certificates::seen(&estate, evidence);
        let told = evidence
            .all::<RootsNamed>()
            .filter(|(_, question, answer)| question.store == MOZILLA && answer.facts().is_some());
        let looked_up = told.map(|(_, question, _)| question.subject.0.as_slice()).collect();
        let teller = Teller { certificates: &certificates, estate: &estate, evidence, findings, looked_up };
        for leaf in certificates.leaves() {
            let thumbprint = leaf.certificate.thumbprint.clone();
            all.entry(thumbprint).or_default().push(teller.tell(&leaf, &vantage.host));
        }
    }
    let mut all: Vec<_> = all.into_values().filter_map(|seen| of_vantages(&seen, findings)).collect();
    all.sort_by(|one, other| (Reverse(one.facing), &one.places).cmp(&(Reverse(other.facing), &other.places)));
    all
}

/// One of what several vantages saw of a certificate: that of which its gravest finding tells, then the worst, then the first.
fn of_vantages(seen: &[SeenCertificate], findings: &[Finding]) -> Option<SeenCertificate> {
    let thumbprint = seen.first()?.thumbprint.clone();
    let told_from: BTreeSet<&str> = told_from(&thumbprint, findings);
    let rank = |one: &SeenCertificate| Reverse((told_from.contains(one.vantage.as_str()), refusals(&one.peers)));
    let mut told = seen.iter().min_by_key(|one| rank(one))?.clone();
    let is_alike = |other: &SeenCertificate| other.chain == told.chain && other.peers == told.peers;
    if !seen.iter().all(is_alike) {
        told.told_of = Some(format!("{} from {}", told.told_of.as_ref().unwrap_or(&told.told_at), told.vantage));
    }
    Some(told)
}

/// The vantages that saw what the gravest finding about a certificate says, the one under which it is drawn.
fn told_from<'f>(thumbprint: &str, findings: &'f [Finding]) -> BTreeSet<&'f str> {
    let is_about = |finding: &&Finding| matches!(&finding.subject, Subject::Certificate(of) if of == thumbprint);
    let troubles = findings.iter().filter(is_about).filter(|finding| finding.verdict.is_trouble());
    let Some(told) = troubles.min_by_key(|finding| (finding.because.is_some(), Reverse(finding.verdict))) else {
        return BTreeSet::new();
    };
    let places = told.places.iter().filter(|place| place.verdict == told.verdict && place.seen == told.seen);
    places.filter_map(|place| Some(place.vantage.as_ref()?.host.as_str())).collect()
}

/// How many peers do not go on.
fn refusals(peers: &[PeerWord]) -> usize {
    peers.iter().filter(|word| word.stance != Stance::Accepts).count()
}

/// Tells of the certificates that one vantage saw.
struct Teller<'a> {
    certificates: &'a Certificates,
    estate: &'a Estate,
    evidence: &'a Evidence,
    findings: &'a [Finding],
    /// The names for which the public roots were looked through.
    looked_up: BTreeSet<&'a [u8]>,
}

impl Teller<'_> {
    fn tell(&self, leaf: &Leaf<'_>, vantage: &str) -> SeenCertificate {
        let facing = leaf.facing();
        let places: BTreeSet<String> = leaf.shown.iter().map(|shown| shown.place()).collect();
        let looked_at = leaf.shown.iter().copied().filter(|shown| shown.facing() == facing);
        let told: Vec<_> = looked_at.map(|shown| (shown, self.peers(shown), self.chain(shown))).collect();
        let worst = told.iter().min_by_key(|(_, peers, _)| Reverse(refusals(peers)));
        let (shown, peers, (chain, stores)) =
            worst.expect("a certificate was shown somewhere, and the strictest of those that look there were kept");
        let is_alike = told.iter().all(|(_, other, (sent, _))| other == peers && sent == chain);
        let (tls, stapled) = self.handshakes(leaf);
        SeenCertificate {
            thumbprint: leaf.certificate.thumbprint.clone(),
            vantage: vantage.to_string(),
            now: self.certificates.now,
            places: places.into_iter().collect(),
            service: shown.listener.service,
            facing,
            told_of: (!is_alike).then(|| shown.listener.to.to_string()),
            told_at: shown.listener.to.to_string(),
            tls,
            stapled,
            chain: chain.clone(),
            stores: stores.clone(),
            asked_for: (!peers.is_empty()).then(|| asked_for(shown).to_string()),
            peers: peers.clone(),
        }
    }

    /// The versions of TLS that showed it, and whether an OCSP answer came along.
    fn handshakes(&self, leaf: &Leaf<'_>) -> (Vec<&'static str>, bool) {
        let looks = leaf.shown.iter().flat_map(|shown| {
            let asks = shown.listener.asks(self.estate, self.evidence).into_iter();
            asks.map(|ask| shown.listener.look(&ask, self.evidence))
        });
        let seen = looks.filter_map(|look| look.seen());
        let showed_it = |seen: &&TlsSeen| seen.chain.first().is_some_and(|first| first.0 == leaf.certificate.der);
        let seen: Vec<&TlsSeen> = seen.filter(showed_it).collect();
        let versions: BTreeSet<u16> = seen.iter().filter_map(|seen| seen.version).collect();
        (versions.into_iter().map(version_name).collect(), seen.iter().any(|seen| seen.has_staple))
    }

    /// The chain as far up as anything leads, and the stores that hold its end.
    fn chain(&self, shown: &Shown) -> (Vec<Link>, Vec<Trust>) {
        let certificates = self.certificates;
        let way = certificates.way_of(shown, shown.facing() == Facing::Outside);
        // Where no public root stands above it, another may.
        let way = if way.root().is_some() { way } else { certificates.way_of(shown, false) };
        let sent = certificates.others(shown);
        let mut chain = vec![Link::of(way.leaf, Origin::Sent)];
        let mut below = way.leaf;
        for step in &way.above {
            let origin = if sent.iter().any(|other| other.der == step.der) {
                Origin::Sent
            } else if certificates.is_fetched(step) {
                Origin::Fetched(issuer_url(below))
            } else {
                Origin::Elsewhere
            };
            chain.push(Link { signature: Some(Signed::Yes), ..Link::of(step, origin) });
            below = step;
        }
        let end = |issuer: &Certificate, signature| Link {
            signature: Some(signature),
            ..Link::of(issuer, self.origin_of(issuer))
        };
        match way.end {
            // It was sent along.
            End::Root(root) if root.key_der == below.key_der => {
                chain.pop();
                chain.push(Link {
                    signature: (!way.above.is_empty()).then_some(Signed::Yes),
                    ..Link::of(root, Origin::Store)
                });
            }
            End::Root(root) => chain.push(end(root, Signed::Yes)),
            End::Forged(issuer) => chain.push(end(issuer, Signed::No)),
            End::NotCheckable(issuer) => chain.push(end(issuer, Signed::NotCheckable)),
            End::SelfSigned => {}
            End::NoIssuer => chain.push(Link::unknown(below, Origin::Missing(issuer_url(below)))),
            End::TooLong => chain.push(Link::unknown(below, Origin::TooFar)),
        }
        self.mark_breaks(&mut chain, &way);
        let stores = way.root().map(|root| certificates.stores_with(root)).unwrap_or_default();
        (chain, stores)
    }

    /// Writes into the chain, which is this way drawn, what breaks it and where.
    fn mark_breaks(&self, chain: &mut [Link], way: &Way<'_>) {
        for (level, certificate) in way.below_root().enumerate() {
            let breaks = breaks_of(certificate, level > 0);
            chain[level].breaks.extend(breaks);
        }
        match &way.fault {
            // The library found it, and knows its name alone.
            Some(Fault::NotAnAuthority(name))
                if !chain.iter().any(|link| link.breaks.iter().copied().any(is_of_an_issuer)) =>
            {
                if let Some(stranger) = chain.iter_mut().skip(1).find(|link| link.subject == *name) {
                    stranger.breaks.push(Break::NotAnAuthority);
                }
            }
            // Which one allows fewer the library does not say; the lowest is the one too many.
            Some(Fault::PathLength) => {
                if let Some(lowest) = chain.get_mut(1) {
                    lowest.breaks.push(Break::PathTooLong);
                }
            }
            Some(Fault::NameConstraints) => chain[0].breaks.push(Break::NameNotAllowed),
            _ => {}
        }
        if let Some(revoked) = self.revoked(way.leaf) {
            let is_it = |step: &&Certificate| revoked.is == Some(Trouble::CertificateBad(step.thumbprint.clone()));
            let level = [way.leaf].iter().chain(&way.above).position(is_it).unwrap_or(0);
            chain[level].breaks.push(Break::Revoked);
        }
    }

    fn origin_of(&self, issuer: &Certificate) -> Origin {
        if self.certificates.stores_with(issuer).is_empty() { Origin::Sent } else { Origin::Store }
    }

    /// What peers make of it at one place.
    fn peers(&self, shown: &Shown) -> Vec<PeerWord> {
        let certificate = self.certificates.leaf(shown);
        let is_between_servers = shown.upgrade == Some(Upgrade::AnonymousTls);
        if shown.facing() == Facing::Inside && (is_between_servers || certificate.is_self_signed()) {
            return Vec::new();
        }
        // Mail comes from those who know the public roots alone; clients of the web and of the directory are the company's own.
        let is_mail = shown.listener.service == Service::Smtp;
        let name = asked_for(shown);
        let known = self.certificates.way_as_known(shown, is_mail);
        let as_sent = || self.stance(&self.certificates.way_as_sent(shown, is_mail), self.unsent(shown, &known), name);
        let as_known = || self.stance(&known, None, name);
        // Neither Exchange Online nor a Linux of today goes below TLS 1.2.
        let old = shown.version.filter(|version| shown.is_old && *version < TlsVersion::Tls12.number());
        let old =
            old.map(|version| Stance::Refuses(format!("the server speaks {} at the most", version_name(version))));
        // Without its key the handshake breaks with everybody.
        let keyless = shown.disproven.then(|| Stance::Refuses("whoever answers does not hold its key".into()));
        let old = keyless.clone().or(old);
        let revoked = self.revoked(certificate).map(|_| Stance::Refuses("it, or one above it, is revoked".into()));
        let strict = old.clone().unwrap_or_else(as_sent);
        let windows = keyless.or_else(|| revoked.clone()).unwrap_or_else(as_known);
        let online = old.or(revoked).unwrap_or_else(as_sent);
        let words = [(Peer::StrictLinux, strict), (Peer::Windows, windows), (Peer::ExchangeOnline, online)];
        let words = words.into_iter().filter(|(peer, _)| is_mail || *peer != Peer::ExchangeOnline);
        words.map(|(peer, stance)| PeerWord { peer, stance }).collect()
    }

    /// The finding that it, or one above it, is revoked.
    fn revoked(&self, certificate: &Certificate) -> Option<&Finding> {
        let is_it = |subject: &Subject| matches!(subject, Subject::Certificate(of) if *of == certificate.thumbprint);
        self.findings.iter().find(|finding| finding.code == Some("revoked") && is_it(&finding.subject))
    }

    /// The first certificate on the known way to a root that the server does not send.
    fn unsent(&self, shown: &Shown, known: &Way<'_>) -> Option<String> {
        known.root()?;
        let sent = self.certificates.others(shown);
        let missing = known.between().find(|step| !sent.iter().any(|other| other.der == step.der))?;
        Some(missing.subject.to_string())
    }

    /// What a peer makes of the way that it goes; `unsent` is what it would need to come to a root.
    fn stance(&self, way: &Way<'_>, unsent: Option<String>, name: &str) -> Stance {
        if let End::NotCheckable(issuer) = way.end {
            let what = format!(
                "the signature of \"{}\" ({}) is of a kind that cannot be checked here",
                issuer.subject, issuer.key
            );
            return Stance::Untold(what);
        }
        let refusal = refusal(way, name, self.certificates.now);
        match (refusal, unsent) {
            (Some(Refusal::NoRoot), _) if !self.looked_up.contains(way.last().issuer.der.as_slice()) => {
                Stance::Untold("the public roots were not looked through".into())
            }
            (Some(Refusal::NoRoot), Some(unsent)) if matches!(way.end, End::NoIssuer | End::Forged(_)) => {
                Stance::Refuses(format!("the intermediate \"{unsent}\" is not sent"))
            }
            (None, _) => beyond_rustls(way, self.certificates.now).map_or(Stance::Accepts, Stance::Refuses),
            (Some(Refusal::Unlawful(Fault::NotCheckable(why))), _) => {
                beyond_rustls(way, self.certificates.now).map_or(Stance::Untold(why), Stance::Refuses)
            }
            (Some(Refusal::WrongName), _) => Stance::Refuses(format!("the name {name} is not in it")),
            (Some(refusal), _) => Stance::Refuses(refusal.to_string()),
        }
    }
}

/// What OpenSSL and Windows refuse, and not every library: a root that is not in date, and a key whose usage is none of TLS
/// (OpenSSL's purpose sslserver; RFC 5280 section 4.2.1.3).
fn beyond_rustls(way: &Way<'_>, now: Timestamp) -> Option<String> {
    if let Some(root) = way.root().filter(|root| now < root.not_before || root.not_after < now) {
        return Some(Refusal::NotAlive(root.subject.to_string()).to_string());
    }
    let usage = way.leaf.key_usage.filter(|usage| !usage.signs && !usage.enciphers && !usage.agrees);
    usage.map(|_| "its key may neither sign nor encipher nor agree on keys".into())
}

/// What a certificate below the root says of itself that breaks the chain there.
fn breaks_of(certificate: &Certificate, is_issuer: bool) -> Vec<Break> {
    let mut breaks = Vec::new();
    let (usage, extended) = (certificate.key_usage, certificate.extended_usage);
    if is_issuer && !certificate.is_ca {
        breaks.push(Break::NotAnAuthority);
    } else if is_issuer && !certificate.may_issue() {
        breaks.push(Break::KeyMayNotSign);
    }
    let may_serve = usage.is_none_or(|usage| usage.signs || usage.enciphers && matches!(certificate.key, Key::Rsa(_)));
    if !is_issuer && !may_serve {
        breaks.push(Break::KeyMayNotSign);
    }
    if extended.is_some_and(|usage| !usage.server) {
        breaks.push(Break::NotForServers);
    } else if extended.is_some_and(|usage| !usage.names_server) {
        breaks.push(Break::OnlyAnyUsage);
    }
    breaks
}

/// Does it say already that an issuer may not be one?
fn is_of_an_issuer(one: Break) -> bool {
    matches!(one, Break::NotAnAuthority | Break::KeyMayNotSign)
}

impl Link {
    fn of(certificate: &Certificate, origin: Origin) -> Self {
        Self {
            subject: certificate.subject.to_string(),
            issuer: Some(certificate.issuer.to_string()),
            key: Some(certificate.key.to_string()),
            life: Some((certificate.not_before, certificate.not_after)),
            is_self_signed: certificate.is_self_signed(),
            weakness: weakness(certificate).filter(|_| origin != Origin::Store),
            breaks: Vec::new(),
            origin,
            signature: None,
        }
    }

    /// What stands above a certificate, of which only the name is known.
    fn unknown(below: &Certificate, origin: Origin) -> Self {
        let subject = below.issuer.to_string();
        Self {
            subject,
            issuer: None,
            key: None,
            life: None,
            is_self_signed: false,
            weakness: None,
            breaks: Vec::new(),
            origin,
            signature: None,
        }
    }
}

/// The name by which peers come, and of listeners without one the host's.
fn asked_for(shown: &Shown) -> &str {
    shown.listener.names.first().unwrap_or(&shown.listener.to.host)
}

/// The URL by which the issuer of a certificate can be had: the one that is followed, if it names one of that kind.
fn issuer_url(certificate: &Certificate) -> Option<String> {
    let urls = &certificate.issuer_urls;
    urls.iter().find(|url| http_url(url).is_some()).or_else(|| urls.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange_preflight_checks::{
        CHECKS,
        facts::certificate::{ExtendedUsage, KeyUsage},
        model::finding::Verdict,
    };
    use serde_json::{Value, json};

    // Ed25519. LEAF is mail.contoso.com, 2026-07-01 to 2027-01-03, and says that ISSUING stands at
    // http://pki.contoso.com/issuing.cer; ISSUING is "Lab Issuing CA 1" until 2031; ROOT is "Lab Root CA 1" until 2041.
    const LEAF: &str = "\
        3082015730820109a00302010202144dc3938b50751e262dbcf7d864f58b558325d152300506032b6570301b3119301706035504\
        030c104c61622049737375696e672043412031301e170d3236303730313030303030305a170d3237303130333030303030305a30\
        1b3119301706035504030c106d61696c2e636f6e746f736f2e636f6d302a300506032b6570032100057a2082a0fc72d1c2e96c60\
        0d450ccaf93c41a52ec7b4a58c9c1573274c7b93a35f305d301b0603551d110414301282106d61696c2e636f6e746f736f2e636f\
        6d303e06082b0601050507010104323030302e06082b060105050730028622687474703a2f2f706b692e636f6e746f736f2e636f\
        6d2f69737375696e672e636572300506032b657003410003d116d5b6b1707641248c3af67cff2172ca0e337fe5f39f56209749ea\
        4396224cfe3655982ecf4bea9e00601e503b95bc5ae69816c0fbd34e51efd0ab88a009";
    const ISSUING: &str = "\
        308201073081baa003020102021474e4efcac430035b046099c3216a284b63703d89300506032b65703018311630140603550403\
        0c0d4c616220526f6f742043412031301e170d3235303130313030303030305a170d3331303530313030303030305a301b311930\
        1706035504030c104c61622049737375696e672043412031302a300506032b657003210042c8d8afd83083ed7425c4015d5524a1\
        37ca92ab8c5c7000905d5e7f245ec75aa3133011300f0603551d130101ff040530030101ff300506032b65700341007919ee9c8d\
        49dc741e8fb71fa9654d9e870fc53ac3850d6d0051773c5507357446bf62812519382486fa8cefa02e9ba771861c776a177e7b40\
        ec5b7d3344a80d";
    const ROOT: &str = "\
        308201043081b7a00302010202144d838a23a7439ae5b71f66d5b79747991cb882ec300506032b65703018311630140603550403\
        0c0d4c616220526f6f742043412031301e170d3235303130313030303030305a170d3431303530313030303030305a3018311630\
        1406035504030c0d4c616220526f6f742043412031302a300506032b6570032100aedc93a10dafec7df0b5dddbec648085a29320\
        9330bd99dae02274e4f32fdf99a3133011300f0603551d130101ff040530030101ff300506032b657003410048e020044b4d9abc\
        1d28af4bfd8d15b04f1999e0532d984666639bec823498e771a11869f5eb31d67c2e2ac32358c9ac32f655a90c0109974f990f48\
        2162ab05";
    const WHEN: &str = "2026-11-23T00:00:00Z";

    fn told(host: &str, address: &Value, port: u16, what: &Value, facts: &Value) -> Value {
        let ask = json!({ "to": { "host": host, "address": address, "port": port }, "what": what, "look": 1 });
        json!({ "ask": ask, "reply": { "facts": facts, "end": "ok" }, "when": WHEN })
    }

    fn missed(observation: &Value, stage: &str, reason: &str) -> Value {
        let end = json!({ "miss": { "stage": stage, "reason": reason, "took": "PT1S" } });
        json!({ "ask": observation["ask"], "reply": { "end": end }, "when": WHEN })
    }

    /// A session with ex01 (1) or ex02 (2) that showed these certificates.
    fn session(server: u8, port: u16, offer: &Value, version: u16, chain: &[&str]) -> Value {
        let chain: Vec<_> = chain.iter().map(|hex| json!({ "hex": hex })).collect();
        let what = json!({ "smtp": { "upgrade": "start_tls", "offer": offer } });
        let facts = json!({ "smtp": { "exchanges": [], "tls": { "version": version, "chain": chain } } });
        told(&format!("ex0{server}.contoso.com"), &json!(format!("10.0.0.{server}")), port, &what, &facts)
    }

    fn usual(server: u8, port: u16, chain: &[&str]) -> Value {
        session(server, port, &json!("usual"), 0x0304, chain)
    }

    fn addresses() -> Vec<Value> {
        let lookup = |name: &str, kind: &str, records: Value| {
            let what = json!({ "dns": { "name": name, "records": kind } });
            told("system-resolver", &Value::Null, 53, &what, &json!({ "dns": { "records": records } }))
        };
        let names =
            [("ex01", 1), ("ex02", 2), ("pki", 9)].map(|(name, number)| (format!("{name}.contoso.com"), number));
        let of_name = |(name, number): &(String, u8)| {
            let address = json!([{ "address": format!("10.0.0.{number}") }]);
            [lookup(name, "A", address), lookup(name, "AAAA", json!([]))]
        };
        names.iter().flat_map(of_name).collect()
    }

    /// The root stands in both stores, and the issuer at its URL.
    fn found() -> Vec<Value> {
        let fetch = json!({ "fetch": { "path": "/issuing.cer" } });
        let span = json!({ "sent": WHEN, "received": WHEN });
        let file = json!({ "fetch": { "span": span, "status": 200, "body": { "hex": ISSUING } } });
        let mut found = vec![told("pki.contoso.com", &json!("10.0.0.9"), 80, &fetch, &file)];
        for (below, roots) in [(LEAF, vec![]), (ISSUING, vec![json!({ "hex": ROOT })])] {
            let issuer = Certificate::parse(&hex::decode(below).unwrap()).unwrap().issuer.der;
            for store in ["mozilla", "system"] {
                let what = json!({ "roots": { "store": store, "subject": { "hex": hex::encode(&issuer) } } });
                let facts = json!({ "roots": { "digest": "", "certificates": roots } });
                found.push(told("this-machine", &Value::Null, 0, &what, &facts));
            }
        }
        found
    }

    fn recording(observations: &[Vec<Value>]) -> Recording {
        let servers = [
            json!({ "name": "ex01.contoso.com", "outward": ["mail.contoso.com"] }),
            json!({ "name": "ex02.contoso.com" }),
        ];
        let observations = [addresses(), observations.concat()].concat();
        let recording = json!({
            "format": "exchange-preflight recording",
            "version": 1,
            "tool": "0.1.0",
            "vantage": { "host": "vm", "addresses": [] },
            "started": WHEN,
            "finished": WHEN,
            "plan": { "domain": "contoso.com", "servers": servers },
            "observations": observations,
        });
        Recording::parse(&recording.to_string()).unwrap()
    }

    fn only(recording: Recording, findings: &[Finding]) -> SeenCertificate {
        let vantage = recording.vantage.clone();
        let mut seen = certificates(&[recording], &[vantage], findings);
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }

    fn stances(certificate: &SeenCertificate) -> Vec<&str> {
        let stance = |word: &PeerWord| match &word.stance {
            Stance::Accepts => "accepts",
            Stance::Refuses(_) => "refuses",
            Stance::Untold(_) => "untold",
        };
        certificate.peers.iter().map(stance).collect()
    }

    #[test]
    fn an_issuer_that_is_not_sent_stops_those_who_fetch_nothing() {
        let seen = only(recording(&[vec![usual(1, 25, &[LEAF])], found()]), &[]);
        let url = Some("http://pki.contoso.com/issuing.cer".to_string());
        let origins: Vec<_> = seen.chain.iter().map(|link| link.origin.clone()).collect();
        assert_eq!(origins, [Origin::Sent, Origin::Fetched(url), Origin::Store]);
        assert_eq!(stances(&seen), ["refuses", "accepts", "refuses"]);
        assert_eq!(seen.stores.iter().map(|trust| trust.store.as_str()).collect::<Vec<_>>(), ["mozilla", "system"]);
        assert_eq!((seen.asked_for.as_deref(), seen.tls), (Some("mail.contoso.com"), vec!["TLS 1.3"]));
        let whole = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING])], found()]), &[]);
        assert_eq!(stances(&whole), ["accepts"; 3]);
        let with_root = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING, ROOT])], found()]), &[]);
        assert_eq!(with_root.chain, whole.chain, "a root counts because a store has it");
    }

    #[test]
    fn no_root_is_missed_where_none_was_looked_for() {
        let seen = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING])]]), &[]);
        assert_eq!(stances(&seen), ["untold"; 3]);
        assert_eq!(seen.chain.last().map(|link| &link.origin), Some(&Origin::Missing(None)));
    }

    #[test]
    fn whoever_looks_for_revoked_certificates_refuses_one() {
        let revoked = CHECKS.iter().map(|check| {
            let subject = Subject::Certificate(Certificate::parse(&hex::decode(LEAF).unwrap()).unwrap().thumbprint);
            Finding::new(check.meta(), subject, Verdict::Fail, "").code("revoked")
        });
        let revoked: Vec<_> = revoked.take(1).collect();
        let seen = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING])], found()]), &revoked);
        assert_eq!(stances(&seen), ["accepts", "refuses", "refuses"]);
    }

    #[test]
    fn a_server_of_old_is_refused_whatever_its_chain() {
        let up_to = |version: &str| json!({ "up_to": version });
        let refused = |offer: &Value| missed(&session(1, 25, offer, 0, &[]), "tls", "closed");
        let old = session(1, 25, &up_to("tls10"), 0x0301, &[LEAF, ISSUING]);
        let seen = only(recording(&[vec![refused(&json!("usual")), refused(&up_to("tls12")), old], found()]), &[]);
        assert_eq!(stances(&seen), ["refuses", "accepts", "refuses"]);
        assert_eq!(seen.tls, ["TLS 1.0"]);
    }

    #[test]
    fn what_exchange_signed_itself_concerns_nobody_inside() {
        let seen = only(recording(&[vec![usual(1, 2525, &[ROOT])]]), &[]);
        assert_eq!((seen.facing, seen.peers.len(), seen.asked_for), (Facing::Inside, 0, None));
        assert!(seen.chain.len() == 1 && seen.chain[0].is_self_signed);
        let outside = only(recording(&[vec![usual(1, 25, &[ROOT])]]), &[]);
        assert_eq!((outside.facing, outside.peers.len()), (Facing::Outside, 3));
    }

    #[test]
    fn of_several_places_those_who_look_strictly_are_told_of_and_the_worst_of_them() {
        let inside = usual(2, 25, &[LEAF]);
        let seen = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING]), inside.clone()], found()]), &[]);
        assert_eq!((seen.places.len(), seen.told_of.as_deref()), (2, None));
        assert_eq!(stances(&seen), ["accepts"; 3], "the server that sends too little is not reached from outside");
        let seen = only(recording(&[vec![usual(2, 587, &[LEAF, ISSUING]), inside], found()]), &[]);
        assert_eq!(seen.told_of.as_deref(), Some("ex02.contoso.com:25 (10.0.0.2)"));
    }

    #[test]
    fn the_intermediate_that_is_not_sent_is_named() {
        let seen = only(recording(&[vec![usual(1, 25, &[LEAF])], found()]), &[]);
        let why = "the intermediate \"Lab Issuing CA 1\" is not sent".to_string();
        assert_eq!(seen.peers[0].stance, Stance::Refuses(why));
    }

    #[test]
    fn a_root_that_is_not_in_date_stops_openssl_and_windows() {
        let expired = ROOT.replace("3431303530313030303030305a", "3236303530313030303030305a");
        assert_ne!(expired, ROOT);
        let found = serde_json::to_string(&found()).unwrap().replace(ROOT, &expired);
        let found: Vec<Value> = serde_json::from_str(&found).unwrap();
        let seen = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING])], found]), &[]);
        let why = Stance::Refuses("\"Lab Root CA 1\" is not in date".into());
        assert_eq!(seen.peers.iter().map(|word| &word.stance).collect::<Vec<_>>(), [&why; 3]);
    }

    #[test]
    fn a_usage_that_forbids_is_seen_at_the_certificate_that_bears_it() {
        let read = |text: &str| Certificate::parse(&hex::decode(text).unwrap()).unwrap();
        let (mut leaf, mut issuing) = (read(LEAF), read(ISSUING));
        assert_eq!((breaks_of(&leaf, false), breaks_of(&issuing, true)), (vec![], vec![]));
        assert_eq!(breaks_of(&leaf, true), [Break::NotAnAuthority]);
        let nothing = KeyUsage { signs: false, enciphers: false, agrees: false, signs_certificates: false };
        leaf.key_usage = Some(nothing);
        issuing.key_usage = Some(KeyUsage { signs: true, ..nothing });
        leaf.extended_usage = Some(ExtendedUsage { server: false, names_server: false, client: true });
        assert_eq!(breaks_of(&leaf, false), [Break::KeyMayNotSign, Break::NotForServers]);
        assert_eq!(breaks_of(&issuing, true), [Break::KeyMayNotSign]);
        let now = WHEN.parse().unwrap();
        let refused = |leaf: &Certificate| {
            beyond_rustls(&Way { leaf, above: Vec::new(), end: End::NoIssuer, fault: None }, now).is_some()
        };
        assert!(refused(&leaf));
        leaf.key_usage = Some(KeyUsage { agrees: true, ..nothing });
        assert!(!refused(&leaf), "OpenSSL takes it, and GnuTLS does not");
    }

    #[test]
    fn what_was_taken_back_is_marked_at_the_link_that_the_finding_names() {
        let thumbprint = Certificate::parse(&hex::decode(LEAF).unwrap()).unwrap().thumbprint;
        let revoked = |hex: &str| {
            let subject = Subject::Certificate(thumbprint.clone());
            let bad = Certificate::parse(&hex::decode(hex).unwrap()).unwrap().thumbprint;
            let finding = Finding::new(CHECKS[0].meta(), subject, Verdict::Fail, "").code("revoked");
            let finding = finding.is(Trouble::CertificateBad(bad));
            let seen = only(recording(&[vec![usual(1, 25, &[LEAF, ISSUING])], found()]), &[finding]);
            seen.chain.iter().position(|link| link.breaks == [Break::Revoked])
        };
        assert_eq!(revoked(ISSUING), Some(1));
        assert_eq!(revoked(LEAF), Some(0));
    }

    fn at_vantages(recordings: Vec<(&str, Recording)>, findings: &[Finding]) -> Vec<SeenCertificate> {
        let vantage = |host: &str| Vantage { host: host.into(), addresses: Vec::new() };
        let (vantages, recordings): (Vec<_>, Vec<_>) =
            recordings.into_iter().map(|(host, recording)| (vantage(host), recording)).unzip();
        certificates(&recordings, &vantages, findings)
    }

    #[test]
    fn of_several_vantages_the_first_that_saw_it_tells() {
        let sees = recording(&[vec![usual(1, 25, &[LEAF, ISSUING])], found()]);
        let told = at_vantages(vec![("blind", recording(&[])), ("other", sees.clone()), ("third", sees)], &[]);
        let told: Vec<_> = told.iter().map(|seen| (seen.vantage.as_str(), seen.told_of.as_deref())).collect();
        assert_eq!(told, [("other", None)]);
    }

    #[test]
    fn of_vantages_that_are_sent_different_chains_the_worst_is_told_and_named() {
        let whole = recording(&[vec![usual(1, 25, &[LEAF, ISSUING])], found()]);
        let short = recording(&[vec![usual(1, 25, &[LEAF])], found()]);
        let of = |seen: &[SeenCertificate]| (seen[0].vantage.clone(), seen[0].told_of.clone().unwrap_or_default());
        let told = at_vantages(vec![("one", whole.clone()), ("two", short.clone())], &[]);
        assert_eq!(of(&told), ("two".into(), "ex01.contoso.com:25 (10.0.0.1) from two".into()));
        assert_eq!(stances(&told[0]), ["refuses", "accepts", "refuses"]);
        // Under a finding stands the chain of which it tells.
        let subject = Subject::Certificate(told[0].thumbprint.clone());
        let mut finding = Finding::new(CHECKS[0].meta(), subject, Verdict::Fail, "bad").at(None);
        finding.places[0].vantage = Some(Vantage { host: "one".into(), addresses: Vec::new() });
        let told = at_vantages(vec![("one", whole), ("two", short)], &[finding]);
        assert_eq!(of(&told), ("one".into(), "ex01.contoso.com:25 (10.0.0.1) from one".into()));
    }

    #[test]
    fn every_connection_has_its_reason_and_what_never_left_is_none() {
        let rsa = session(1, 25, &json!("rsa_only"), 0x0304, &[LEAF]);
        let refused = missed(&usual(1, 587, &[]), "connect", "refused");
        let no_route = missed(&usual(2, 25, &[]), "connect", "no_route");
        let made = connections(&recording(&[vec![usual(1, 25, &[LEAF]), rsa, refused, no_route]]), "vm");
        let made: Vec<_> = made.iter().map(|made| (made.to.to_string(), made.reasons.len())).collect();
        let at = |port| format!("ex01.contoso.com:{port} (10.0.0.1)");
        assert_eq!(made, [(at(25), 2), (at(587), 1)]);
    }
}
