//! The JSON report, version 1. Fields may be added; none changes. These types are the contract and no inner type is:
//! `exchange-preflight schema` prints them as a JSON schema.

use crate::{
    compare::{Change, exit_code},
    rehearse::Rehearsal,
    render::steps::Step,
    renewal::{self, Leaf, Renewal},
    report::{Report, unrehearsed},
    sightings::{Break, Connections, Link, Origin, Peer, PeerWord, SeenCertificate, Stance},
};
use exchange_preflight_checks::{
    facts::certificate::Signed,
    model::{
        certificates::Trust,
        finding::{Finding, Measure, Subject, Verdict},
        listeners::{Facing, Service},
    },
};
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use std::io;

/// The judgement of an estate.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "exchange-preflight report, version 1")]
struct JsonReport {
    /// `exchange-preflight/report/1`.
    schema: &'static str,
    /// The program and its version.
    tool: String,
    /// From where was looked.
    vantages: Vec<JsonVantage>,
    /// What was examined.
    estate: JsonEstate,
    /// When the first run began, RFC 3339, by the clock of the machine that ran.
    started: String,
    /// When the last run ended.
    finished: String,
    /// May the change go on?
    gate: JsonGate,
    /// Findings that follow from no other, by verdict.
    counts: JsonCounts,
    /// Every finding, in an order that does not depend on the network.
    findings: Vec<JsonFinding>,
    /// Every server's own certificate once; what faces outside comes first.
    certificates: Vec<JsonCertificate>,
    /// Every port that speaks TLS and was connected to.
    connections: Vec<JsonConnections>,
    /// What is worth saying and judges nothing.
    notes: Vec<String>,
    /// It was supposed by a rehearsal, and not seen.
    supposed: bool,
}

/// From where was looked.
#[derive(Serialize, JsonSchema)]
struct JsonVantage {
    /// The machine's own name; of one that looked several times, with the start or the number of the run.
    host: String,
    /// Its addresses, as far as they were used.
    addresses: Vec<String>,
}

/// What was examined.
#[derive(Serialize, JsonSchema)]
struct JsonEstate {
    /// The domain.
    domain: String,
    /// The forest's root domain; null where no controller told it, or they contradict each other.
    forest: Option<String>,
}

/// May the change go on?
#[derive(Serialize, JsonSchema)]
struct JsonGate {
    /// True for exit code 0.
    open: bool,
    /// 0 nothing failed and nothing is unknown; 1 something failed; 2 nothing was judged; 3 something is unknown; 130 interrupted.
    exit_code: u8,
    /// Why, in a sentence.
    reason: String,
}

/// Findings that follow from no other, by verdict.
#[derive(Serialize, JsonSchema)]
struct JsonCounts {
    /// As it should be.
    pass: usize,
    /// Not applicable, or not to be looked at.
    skip: usize,
    /// Does not break mail now.
    warn: usize,
    /// Asked, and could not be told.
    unknown: usize,
    /// Breaks mail.
    fail: usize,
    /// Troubles that somebody answers for.
    waived: usize,
    /// Troubles that follow from another finding and are counted there.
    consequences: usize,
}

/// What one check says about one subject.
#[derive(Serialize, JsonSchema)]
struct JsonFinding {
    /// The check's id; never used again for something else.
    check: &'static str,
    /// The check's area.
    area: &'static str,
    /// The word.
    verdict: JsonVerdict,
    /// A host, an endpoint (`host:port`, `host:port/udp`), a certificate (`sha1:` and 40 hexadecimal digits), an SPN, an account,
    /// a connector or virtual directory (`EX01/Default EX01`), a site (`site/Berlin`), or `estate`; the same whatever address
    /// answered.
    subject: String,
    /// Other subjects for which it speaks as well: the endpoints at which a certificate is shown.
    speaks_for: Vec<String>,
    /// Which of the troubles that the check knows this is, kebab-case; null where there is none, or where it has no name.
    code: Option<&'static str>,
    /// The check in a few words.
    title: &'static str,
    /// What should be.
    expected: String,
    /// What is.
    seen: String,
    /// What mends it, a line a step; indented lines are commands.
    remedy: Vec<String>,
    /// The finding from which this one follows.
    because: Option<JsonKey>,
    /// Where it was seen, each with the word there.
    places: Vec<JsonPlace>,
    /// Who answers for it; null where nobody does.
    waiver: Option<String>,
    /// What the rule rests on.
    evidence: Vec<&'static str>,
    /// Numbers, each with what is not known about it.
    measured: Vec<JsonMeasure>,
}

/// The word of a check.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum JsonVerdict {
    Pass,
    Skip,
    Warn,
    Unknown,
    Fail,
}

/// A finding's identity.
#[derive(Serialize, JsonSchema)]
struct JsonKey {
    /// The check's id.
    check: &'static str,
    /// The subject.
    subject: String,
}

/// Where a finding was made.
#[derive(Serialize, JsonSchema)]
struct JsonPlace {
    /// The machine that looked.
    vantage: Option<String>,
    /// The address that was asked; null where it does not matter.
    address: Option<String>,
    /// The word there.
    verdict: JsonVerdict,
    /// What was seen there.
    seen: String,
}

/// A number in seconds, as the interval in which it surely lies.
#[derive(Serialize, JsonSchema)]
struct JsonMeasure {
    /// What was measured.
    name: &'static str,
    /// The least it can be, seconds.
    low: f64,
    /// The most it can be, seconds.
    high: f64,
}

/// A server's own certificate.
#[derive(Serialize, JsonSchema)]
struct JsonCertificate {
    /// As findings about it name it: `sha1:` and 40 hexadecimal digits.
    subject: String,
    /// The machine that saw it.
    vantage: String,
    /// When it was judged, RFC 3339, by the estate's clocks.
    now: String,
    /// Where it was shown: `host:port`, with ` (X-ANONYMOUSTLS)` where that command showed it.
    places: Vec<String>,
    /// Who of all that see it looks most strictly: `outside` (mail servers of the world), `clients` (of the web, by names that
    /// the plan states) or `inside`.
    facing: &'static str,
    /// What is spoken there: `smtp`, `web` or `directory`.
    service: &'static str,
    /// The place of which chain and peers are told, and from which vantage where there are several, if it is not the same
    /// everywhere; else null.
    told_of: Option<String>,
    /// Versions of TLS that showed it, from the oldest.
    tls: Vec<&'static str>,
    /// A server sent an OCSP answer along with it.
    stapled: bool,
    /// The certificate itself, then each that signed the one before.
    chain: Vec<JsonLink>,
    /// The stores that hold the root at its end; empty where none does.
    stores: Vec<JsonStore>,
    /// The name for which peers look; null where they do not.
    asked_for: Option<String>,
    /// What peers do. Empty where nobody verifies it: inside, servers of Exchange know each other by Kerberos.
    peers: Vec<JsonPeer>,
}

/// One certificate of a chain.
#[derive(Serialize, JsonSchema)]
struct JsonLink {
    /// Whom it is for.
    subject: String,
    /// Who signed it; null where the certificate is missing, as all that is not known of it.
    issuer: Option<String>,
    /// Its key.
    key: Option<String>,
    /// The first instant of its life, RFC 3339.
    not_before: Option<String>,
    /// The last instant of its life, RFC 3339.
    not_after: Option<String>,
    /// Whole days that are left; negative once it has expired.
    days_left: Option<i64>,
    /// What is too weak about it.
    weakness: Option<String>,
    /// What else breaks the chain here: `revoked`, `not-an-authority`, `not-for-servers`, `only-any-usage`, `key-may-not-sign`,
    /// `path-too-long`, `name-not-allowed`.
    breaks: Vec<&'static str>,
    /// `sent`; `fetched` (not sent, but found at `url`); `elsewhere` (not sent here, but by another server); `store` (a root);
    /// `missing` (neither sent nor found); `too-far` (not followed any further).
    origin: &'static str,
    /// Where the certificate below it says that this one can be had.
    url: Option<String>,
    /// Did its key sign the certificate below it: `genuine`, `forged`, `not-checkable`; null of the lowest and of what is missing.
    signature: Option<&'static str>,
}

/// A trust store.
#[derive(Serialize, JsonSchema)]
struct JsonStore {
    /// `mozilla`, `system` (this machine's) or the name that the plan gives it.
    name: String,
    /// Peers outside trust its roots.
    public: bool,
}

/// What a peer does with a certificate.
#[derive(Serialize, JsonSchema)]
struct JsonPeer {
    /// `strict-linux` (verifies and fetches nothing), `windows` (fetches issuers that were not sent), `exchange-online` (where a
    /// connector of it demands a certificate).
    peer: &'static str,
    /// `accepts`, `refuses` or `unknown`.
    does: &'static str,
    /// Why, unless it accepts.
    why: Option<String>,
}

/// The connections that were made to a port that speaks TLS.
#[derive(Serialize, JsonSchema)]
struct JsonConnections {
    /// The machine that made them.
    vantage: String,
    /// The endpoint: `host:port`.
    subject: String,
    /// The address.
    address: Option<String>,
    /// How many.
    made: usize,
    /// For what, one by one.
    reasons: Vec<String>,
}

/// What changed between two recordings.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "exchange-preflight comparison, version 1")]
struct JsonComparison {
    /// `exchange-preflight/comparison/1`.
    schema: &'static str,
    /// The program and its version.
    tool: String,
    /// 1 something broke, came or grew worse that fails, or a renewal changed what it should not; 3 something came that cannot be
    /// told; else 0.
    exit_code: u8,
    /// Why the two may differ although nothing changed.
    notes: Vec<String>,
    /// The changes, the worst kind first. Findings about a renewed certificate are held against those about its predecessor.
    changes: Vec<JsonChange>,
    /// What the renewal of a certificate changed; null where none was renewed.
    renewal: Option<JsonRenewal>,
}

/// What the renewal of a certificate changed.
#[derive(Serialize, JsonSchema)]
struct JsonRenewal {
    /// Nothing changed that was not meant to, and nothing is left but to remove the former certificate.
    complete: bool,
    /// Why, in a few words.
    reason: String,
    /// Which certificate stands in the place of which.
    certificates: Vec<JsonPair>,
    /// Each change.
    changes: Vec<JsonRenewalChange>,
}

/// A certificate, and the one in whose place it stands.
#[derive(Serialize, JsonSchema)]
struct JsonPair {
    /// The former: `sha1:` and 40 hexadecimal digits.
    old: String,
    /// The one in its place.
    new: String,
}

/// What changed by a renewal, or did not and has to.
#[derive(Serialize, JsonSchema)]
struct JsonRenewalChange {
    /// `wanted`, `unwanted`, or `left` to be done.
    class: &'static str,
    /// `renewed`; `names-lost`, `usage-lost`, `issuer-changed`, `key-changed`, `not-public`, `chain-shorter`, `left-behind`,
    /// `second-key-left-behind`, `starttls-gone`, `pin-stale`, `internal-replaced`, `tenant-mismatch`; `same-names`,
    /// `old-still-there`, `not-seen`.
    code: &'static str,
    /// The new certificate, a place (`host:port`, with ` (X-ANONYMOUSTLS)` where that command shows it), a connector, or a host.
    subject: String,
    /// A sentence.
    said: String,
}

/// One change.
#[derive(Serialize, JsonSchema)]
struct JsonChange {
    /// `broke`, `new`, `worse`, `still failing`, `fixed` or `gone`.
    change: &'static str,
    /// The check's id.
    check: &'static str,
    /// The subject.
    subject: String,
    /// What was said before.
    before: Option<JsonFinding>,
    /// What is said after.
    after: Option<JsonFinding>,
}

/// What a certificate would change that is not there yet.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "exchange-preflight rehearsal, version 1")]
struct JsonRehearsal {
    /// `exchange-preflight/rehearsal/1`.
    schema: &'static str,
    /// The program and its version.
    tool: String,
    /// 1 something would break, come or grow worse that fails, or the renewal would change what it should not; 3 something would
    /// come that cannot be told; else 0.
    exit_code: u8,
    /// What is supposed.
    supposed: JsonSupposed,
    /// What is worth saying and judges nothing.
    notes: Vec<String>,
    /// What the renewal would change, as `compare` tells it afterwards; null where nothing would.
    renewal: Option<JsonRenewal>,
    /// How findings would change, as `compare` tells it afterwards.
    changes: Vec<JsonChange>,
    /// What only the network could tell.
    unrehearsed: Vec<JsonUnrehearsed>,
    /// What to do, in this order.
    steps: Vec<JsonStep>,
}

/// What is supposed.
#[derive(Serialize, JsonSchema)]
struct JsonSupposed {
    /// The new certificate.
    certificate: JsonNew,
    /// The servers that have it.
    on: Vec<String>,
    /// Certificates that these servers have no longer.
    removed: Vec<String>,
    /// It is the internal transport certificate as well.
    overwrites_default: bool,
    /// In whose place it stands.
    replaces: Vec<JsonReplaced>,
}

/// The new certificate.
#[derive(Serialize, JsonSchema)]
struct JsonNew {
    /// As findings about it name it: `sha1:` and 40 hexadecimal digits.
    subject: String,
    /// Whom it is for, as a distinguished name.
    name: String,
    /// Who signed it.
    issuer: String,
    /// Its alternative names.
    names: Vec<String>,
    /// Its key.
    key: String,
    /// The first instant of its life, RFC 3339.
    not_before: String,
    /// The last instant of its life, RFC 3339.
    not_after: String,
}

/// A certificate in whose place the new one stands.
#[derive(Serialize, JsonSchema)]
struct JsonReplaced {
    /// `sha1:` and 40 hexadecimal digits.
    subject: String,
    /// Where it was shown, on the servers that have the new one.
    places: Vec<String>,
}

/// What cannot be rehearsed.
#[derive(Serialize, JsonSchema)]
struct JsonUnrehearsed {
    /// The check's id.
    check: &'static str,
    /// The subject.
    subject: String,
    /// Why.
    why: String,
}

/// A step.
#[derive(Serialize, JsonSchema)]
struct JsonStep {
    /// What to do, and why.
    said: String,
    /// Commands, to be copied.
    commands: Vec<String>,
}

/// Writes the report.
pub fn report(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    write(&json_report(report), out)
}

/// Writes what changed.
pub fn comparison(
    changes: &[Change<'_>],
    renewal: Option<&Renewal>,
    notes: &[String],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let comparison = JsonComparison {
        schema: "exchange-preflight/comparison/1",
        tool: format!("exchange-preflight {}", env!("CARGO_PKG_VERSION")),
        exit_code: exit_code(changes, renewal),
        notes: notes.to_vec(),
        changes: json_changes(changes),
        renewal: renewal.map(json_renewal),
    };
    write(&comparison, out)
}

/// Writes a rehearsal.
pub fn rehearsal(
    rehearsal: &Rehearsal,
    supposed_report: &Report,
    changes: &[Change<'_>],
    renewal: Option<&Renewal>,
    steps: &[Step],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let (new, leaf, supposed) = (&rehearsal.new, Leaf::from(&rehearsal.new), rehearsal.supposition());
    let certificate = JsonNew {
        subject: leaf.short(),
        name: new.subject.text.clone(),
        issuer: new.issuer.text.clone(),
        names: new.dns_names.clone(),
        key: new.key.to_string(),
        not_before: new.not_before.to_string(),
        not_after: new.not_after.to_string(),
    };
    let unrehearsed = supposed_report.findings.iter().filter_map(|finding| {
        let (check, subject) = (finding.check.id, finding.subject.to_string());
        Some(JsonUnrehearsed { check, subject, why: unrehearsed(finding)?.to_string() })
    });
    let replaces = rehearsal
        .replaced
        .iter()
        .map(|old| JsonReplaced { subject: old.leaf.short(), places: old.places.iter().cloned().collect() });
    let told = JsonRehearsal {
        schema: "exchange-preflight/rehearsal/1",
        tool: format!("exchange-preflight {}", env!("CARGO_PKG_VERSION")),
        exit_code: exit_code(changes, renewal),
        supposed: JsonSupposed {
            certificate,
            on: supposed.on,
            removed: supposed.removed.into_iter().map(|one| Subject::Certificate(one).to_string()).collect(),
            overwrites_default: supposed.is_internal,
            replaces: replaces.collect(),
        },
        notes: rehearsal.notes.clone(),
        renewal: renewal.map(json_renewal),
        changes: json_changes(changes),
        unrehearsed: unrehearsed.collect(),
        steps: steps.iter().map(|step| JsonStep { said: step.said.clone(), commands: step.commands.clone() }).collect(),
    };
    write(&told, out)
}

/// Writes the schema of a rehearsal.
pub fn rehearsal_schema(out: &mut dyn io::Write) -> io::Result<()> {
    write(&schema_for!(JsonRehearsal), out)
}

/// Writes the schema of the report.
pub fn report_schema(out: &mut dyn io::Write) -> io::Result<()> {
    write(&schema_for!(JsonReport), out)
}

/// Writes the schema of a comparison.
pub fn comparison_schema(out: &mut dyn io::Write) -> io::Result<()> {
    write(&schema_for!(JsonComparison), out)
}

fn json_changes(changes: &[Change<'_>]) -> Vec<JsonChange> {
    let told = changes.iter().filter_map(|change| {
        let finding = change.finding()?;
        Some(JsonChange {
            change: change.kind.word(),
            check: finding.check.id,
            subject: finding.subject.to_string(),
            before: change.before.map(json_finding),
            after: change.after.map(json_finding),
        })
    });
    told.collect()
}

fn json_renewal(renewal: &Renewal) -> JsonRenewal {
    let pair = |pair: &renewal::Pair| JsonPair { old: pair.old.short(), new: pair.new.short() };
    let change = |change: &renewal::Change| JsonRenewalChange {
        class: change.code.class().word(),
        code: change.code.word(),
        subject: change.subject.clone(),
        said: change.said.clone(),
    };
    JsonRenewal {
        complete: renewal.is_complete(),
        reason: renewal.reason(),
        certificates: renewal.pairs.iter().map(pair).collect(),
        changes: renewal.changes.iter().map(change).collect(),
    }
}

fn json_report(report: &Report) -> JsonReport {
    let counts = report.counts();
    let vantage = |vantage: &exchange_preflight_checks::model::evidence::Vantage| JsonVantage {
        host: vantage.host.clone(),
        addresses: vantage.addresses.iter().map(ToString::to_string).collect(),
    };
    JsonReport {
        schema: "exchange-preflight/report/1",
        tool: report.tool.clone(),
        vantages: report.vantages.iter().map(vantage).collect(),
        estate: JsonEstate { domain: report.domain.clone(), forest: report.forest.clone() },
        started: report.started.to_string(),
        finished: report.finished.to_string(),
        gate: JsonGate {
            open: report.gate.is_open(),
            exit_code: report.gate.exit_code,
            reason: report.gate.reason.clone(),
        },
        counts: JsonCounts {
            pass: counts.of(Verdict::Pass),
            skip: counts.of(Verdict::Skip),
            warn: counts.of(Verdict::Warn),
            unknown: counts.of(Verdict::Unknown),
            fail: counts.of(Verdict::Fail),
            waived: 0,
            consequences: report.findings.iter().filter(|finding| finding.because.is_some()).count(),
        },
        findings: report.findings.iter().map(json_finding).collect(),
        certificates: report.certificates.iter().map(json_certificate).collect(),
        connections: report.connections.iter().map(json_connections).collect(),
        notes: report.notes.clone(),
        supposed: report.supposed,
    }
}

fn json_finding(finding: &Finding) -> JsonFinding {
    let because = finding.because.as_ref();
    let places = finding.places.iter().map(|place| JsonPlace {
        vantage: place.vantage.as_ref().map(|vantage| vantage.host.clone()),
        address: place.address.map(|address| address.to_string()),
        verdict: json_verdict(place.verdict),
        seen: place.seen.clone(),
    });
    JsonFinding {
        check: finding.check.id,
        area: finding.check.area,
        verdict: json_verdict(finding.verdict),
        subject: finding.subject.to_string(),
        speaks_for: finding.speaks_for.iter().map(ToString::to_string).collect(),
        code: finding.code,
        title: finding.check.title,
        expected: finding.expected.clone(),
        seen: finding.seen.clone(),
        remedy: finding.remedy.clone(),
        because: because.map(|(check, subject)| JsonKey { check, subject: subject.to_string() }),
        places: places.collect(),
        waiver: None,
        evidence: finding.check.evidence.iter().map(|basis| basis.word()).collect(),
        measured: finding.measures.iter().map(json_measure).collect(),
    }
}

fn json_certificate(certificate: &SeenCertificate) -> JsonCertificate {
    let store = |trust: &Trust| JsonStore { name: trust.store.clone(), public: trust.is_public };
    JsonCertificate {
        subject: Subject::Certificate(certificate.thumbprint.clone()).to_string(),
        vantage: certificate.vantage.clone(),
        now: certificate.now.to_string(),
        places: certificate.places.clone(),
        facing: match certificate.facing {
            Facing::Outside => "outside",
            Facing::Clients => "clients",
            Facing::Inside => "inside",
        },
        service: match certificate.service {
            Service::Smtp => "smtp",
            Service::Web => "web",
            Service::Directory => "directory",
        },
        told_of: certificate.told_of.clone(),
        tls: certificate.tls.clone(),
        stapled: certificate.stapled,
        chain: certificate.chain.iter().map(|link| json_link(link, certificate.now)).collect(),
        stores: certificate.stores.iter().map(store).collect(),
        asked_for: certificate.asked_for.clone(),
        peers: certificate.peers.iter().map(json_peer).collect(),
    }
}

fn json_break(one: Break) -> &'static str {
    match one {
        Break::Revoked => "revoked",
        Break::NotAnAuthority => "not-an-authority",
        Break::NotForServers => "not-for-servers",
        Break::OnlyAnyUsage => "only-any-usage",
        Break::KeyMayNotSign => "key-may-not-sign",
        Break::PathTooLong => "path-too-long",
        Break::NameNotAllowed => "name-not-allowed",
    }
}

fn json_link(link: &Link, now: Timestamp) -> JsonLink {
    const DAY: i64 = 24 * 60 * 60;
    let (not_before, not_after) = link.life.unzip();
    let (origin, url) = match &link.origin {
        Origin::Sent => ("sent", None),
        Origin::Fetched(url) => ("fetched", url.clone()),
        Origin::Elsewhere => ("elsewhere", None),
        Origin::Store => ("store", None),
        Origin::Missing(url) => ("missing", url.clone()),
        Origin::TooFar => ("too-far", None),
    };
    JsonLink {
        subject: link.subject.clone(),
        issuer: link.issuer.clone(),
        key: link.key.clone(),
        not_before: not_before.map(|instant| instant.to_string()),
        not_after: not_after.map(|instant| instant.to_string()),
        days_left: not_after.map(|dies| dies.duration_since(now).as_secs().div_euclid(DAY)),
        weakness: link.weakness.clone(),
        breaks: link.breaks.iter().map(|one| json_break(*one)).collect(),
        origin,
        url,
        signature: link.signature.map(|signature| match signature {
            Signed::Yes => "genuine",
            Signed::No => "forged",
            Signed::NotCheckable => "not-checkable",
        }),
    }
}

fn json_peer(word: &PeerWord) -> JsonPeer {
    let peer = match word.peer {
        Peer::StrictLinux => "strict-linux",
        Peer::Windows => "windows",
        Peer::ExchangeOnline => "exchange-online",
    };
    let (does, why) = match &word.stance {
        Stance::Accepts => ("accepts", None),
        Stance::Refuses(why) => ("refuses", Some(why.clone())),
        Stance::Untold(why) => ("unknown", Some(why.clone())),
    };
    JsonPeer { peer, does, why }
}

fn json_connections(connections: &Connections) -> JsonConnections {
    let Connections { vantage, to, reasons } = connections;
    JsonConnections {
        vantage: vantage.clone(),
        subject: format!("{}:{}", to.host, to.port),
        address: to.address.map(|address| address.to_string()),
        made: reasons.len(),
        reasons: reasons.clone(),
    }
}

fn json_measure(measure: &Measure) -> JsonMeasure {
    let seconds = |duration: SignedDuration| duration.as_secs_f64();
    JsonMeasure { name: measure.name, low: seconds(measure.interval.low), high: seconds(measure.interval.high) }
}

fn json_verdict(verdict: Verdict) -> JsonVerdict {
    match verdict {
        Verdict::Pass => JsonVerdict::Pass,
        Verdict::Skip => JsonVerdict::Skip,
        Verdict::Warn => JsonVerdict::Warn,
        Verdict::Unknown => JsonVerdict::Unknown,
        Verdict::Fail => JsonVerdict::Fail,
    }
}

/// Indented JSON. JSON itself escapes only the first 32 control characters; a terminal obeys those from 0x7f on as well.
fn write(value: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    for safe in text.split_inclusive(is_late_control) {
        match safe.chars().next_back().filter(|last| is_late_control(*last)) {
            Some(last) => write!(out, "{}\\u{:04x}", safe.trim_end_matches(last), u32::from(last))?,
            None => out.write_all(safe.as_bytes())?,
        }
    }
    writeln!(out)
}

fn is_late_control(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}')
}
