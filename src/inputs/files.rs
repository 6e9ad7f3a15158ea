//! The files that an administrator gives: which is what, and all of them together.

use super::{
    certificates,
    export::{self, HINT, Kind},
    mistake::{Mistakes, quoted},
    rows::{self, Json, Row},
    scuba,
    send_log::{self, Logs},
    sound::sound,
    text,
};
use crate::plan_file::MOST_FILES;
use exchange_preflight_checks::{
    facts::{
        distinguished::DistinguishedName,
        dns::is_host_name,
        export::{AcceptedDomain, ExportedCertificate},
    },
    model::inputs::{HybridPlan, InputFile, Inputs},
};
use std::path::{Path, PathBuf};

/// A log is closed at 10 MiB by default ("Protocol logging", Microsoft Learn); an export of 1000 certificates has 3.
const LARGEST_LOG: u64 = 64 << 20;
const LARGEST_EXPORT: usize = 16 << 20;

/// Reads files, each `FILE` or `SERVER=FILE`; paths are taken from `folder`. All mistakes in all of them are told, each with file, line
/// and field.
pub fn read(named: &[String], folder: &Path) -> Result<Inputs, Vec<String>> {
    let mut inputs = Inputs::default();
    add(&mut inputs, named, folder)?;
    Ok(inputs)
}

/// Reads files beside what was given before. What one says and another denies is a mistake, for which is newer cannot be told.
pub fn add(inputs: &mut Inputs, named: &[String], folder: &Path) -> Result<(), Vec<String>> {
    if named.len() > MOST_FILES {
        return Err(vec![format!("{} files are too many; at most {MOST_FILES} are read at once", named.len())]);
    }
    let mut given = Given { inputs, logs: Logs::default(), sentences: Vec::new() };
    for name in named {
        let (server, file) = parted(name, folder);
        given.take(name, server, text::bytes(&file, LARGEST_LOG));
    }
    given.done()
}

/// Reads the bytes of one file.
pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Inputs, Vec<String>> {
    let mut inputs = Inputs::default();
    let mut given = Given { inputs: &mut inputs, logs: Logs::default(), sentences: Vec::new() };
    given.take(name, None, Ok(bytes));
    given.done().map(|()| inputs)
}

/// What was read so far, and what is wrong with it.
struct Given<'i> {
    inputs: &'i mut Inputs,
    logs: Logs,
    sentences: Vec<String>,
}

impl Given<'_> {
    fn take(&mut self, name: &str, server: Option<&str>, bytes: Result<Vec<u8>, String>) {
        let mut mistakes = Mistakes::of(name);
        let mut of_file = Inputs::default();
        let read = match bytes {
            Ok(bytes) => one(&bytes, server, &mut of_file, &mut self.logs, &mut mistakes),
            Err(wrong) => {
                mistakes.whole(wrong);
                Vec::new()
            }
        };
        if mistakes.is_empty() {
            let files = read.into_iter().map(|(kind, rows)| InputFile { name: name.into(), kind: kind.into(), rows });
            of_file.files = files.collect();
            join(self.inputs, of_file, &mut mistakes);
        }
        self.sentences.extend(mistakes.into_sentences());
    }

    fn done(self) -> Result<(), Vec<String>> {
        let Self { inputs, logs, mut sentences } = self;
        if inputs.files.iter().any(|file| file.kind == LOG) {
            let mut sessions = inputs.send_log.take().unwrap_or_default();
            sessions.extend(logs.into_sessions());
            inputs.send_log = Some(send_log::worth_keeping(sessions));
        }
        sentences.extend(sound(inputs, &HybridPlan::default()).err());
        if sentences.is_empty() { Ok(()) } else { Err(sentences) }
    }
}

/// What a send log is called among the files.
const LOG: &str = "send log";

/// `EX01=certificates.json`. A file that bears such a name itself is only that.
fn parted<'n>(name: &'n str, folder: &Path) -> (Option<&'n str>, PathBuf) {
    let whole = folder.join(name);
    match name.split_once('=') {
        Some((server, file)) if is_host_name(server) && !whole.exists() => (Some(server), folder.join(file)),
        _ => (None, whole),
    }
}

/// Reads one file. Says what it holds, and how many rows of it.
fn one(
    bytes: &[u8],
    server: Option<&str>,
    inputs: &mut Inputs,
    logs: &mut Logs,
    mistakes: &mut Mistakes,
) -> Vec<(&'static str, usize)> {
    // DER begins so, and no text does.
    let is_binary = matches!(bytes, [0x30, length, ..] if length & 0x80 != 0);
    let decoded = if is_binary { Ok("-----BEGIN ".to_string()) } else { text::decoded(bytes) };
    let text = match decoded {
        Ok(text) => text,
        Err(wrong) => {
            mistakes.whole(wrong);
            return Vec::new();
        }
    };
    if text.contains("-----BEGIN ") {
        mistakes.whole(match certificates::held(bytes) {
            Ok(_) => {
                "is a certificate; `rehearse --certificate` takes one that is to be installed, `--trust` a root".into()
            }
            Err(wrong) => format!("is neither an export nor a log: {wrong}"),
        });
        return Vec::new();
    }
    if send_log::is_log(&text) {
        return vec![(LOG, logs.read(&text, server, mistakes))];
    }
    if text.len() > LARGEST_EXPORT {
        mistakes.whole(format!("has more than {} MiB, which no export has", LARGEST_EXPORT >> 20));
        return Vec::new();
    }
    let read = match text.trim_start().chars().next() {
        None => {
            mistakes.whole(format!("is empty: the command found nothing, or was not allowed to; {HINT}"));
            Vec::new()
        }
        Some('{' | '[') => json(&text, server, inputs, mistakes),
        Some(_) => csv(&text, server, inputs, mistakes),
    };
    if server.is_some() && mistakes.is_empty() && !read.iter().any(|(kind, _)| *kind == Kind::Certificates.command()) {
        mistakes
            .whole("SERVER= stands before certificates and logs, which are of one server; this is of the organisation");
    }
    read
}

fn json(text: &str, server: Option<&str>, inputs: &mut Inputs, mistakes: &mut Mistakes) -> Vec<(&'static str, usize)> {
    let Some(json) = Json::read(text, mistakes) else { return Vec::new() };
    if let Some(parts) = scuba::parts(json) {
        return vec![("ScubaGear", scuba::read(&parts, inputs, mistakes))];
    }
    if let Some(parts) = json.object().filter(|parts| parts.iter().any(|(name, _)| command(name).is_some())) {
        let mut read = Vec::new();
        for (name, part) in parts {
            match command(&name) {
                Some(kind) => {
                    kind.given(inputs);
                    let rows = if part.value().is_null() { Vec::new() } else { part.rows(mistakes) };
                    for row in &rows {
                        export::read(kind, row, server, inputs, mistakes);
                    }
                    read.push((kind.command(), rows.len()));
                }
                None => mistakes.field(part.line(), &name, format!("is none of {}", commands())),
            }
        }
        return read;
    }
    let rows = json.rows(mistakes);
    if rows.is_empty() && mistakes.is_empty() {
        mistakes.whole(
            "holds no row that would tell what it is of; {\"Get-InboundConnector\": []} says that there is none of a kind",
        );
    }
    each(&rows, server, inputs, mistakes)
}

fn csv(text: &str, server: Option<&str>, inputs: &mut Inputs, mistakes: &mut Mistakes) -> Vec<(&'static str, usize)> {
    let known = |header: &Row| Kind::of(header).ok_or_else(|| strange(header));
    let Some((kind, rows)) = rows::csv(text, mistakes, known) else { return Vec::new() };
    kind.given(inputs);
    for row in &rows {
        export::read(kind, row, server, inputs, mistakes);
    }
    vec![(kind.command(), rows.len())]
}

/// Rows of whatever kind, each by its own fields.
fn each(
    rows: &[Row],
    server: Option<&str>,
    inputs: &mut Inputs,
    mistakes: &mut Mistakes,
) -> Vec<(&'static str, usize)> {
    let mut read: Vec<(&'static str, usize)> = Vec::new();
    for row in rows {
        let Some(kind) = Kind::of(row) else {
            mistakes.line(row.line, strange(row));
            continue;
        };
        export::read(kind, row, server, inputs, mistakes);
        match read.iter_mut().find(|(known, _)| *known == kind.command()) {
            Some((_, count)) => *count += 1,
            None => read.push((kind.command(), 1)),
        }
    }
    read
}

fn strange(row: &Row) -> String {
    let names = quoted(&row.names().join(", "));
    format!("has the fields {names}, which make it none of {}; {HINT}", commands())
}

fn command(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.command().eq_ignore_ascii_case(name))
}

fn commands() -> String {
    Kind::ALL.map(Kind::command).join(", ")
}

/// Adds what a file holds to what others do.
fn join(inputs: &mut Inputs, given: Inputs, mistakes: &mut Mistakes) {
    let Inputs { files, certificates, inbound, outbound, accepted_domains, send_connectors, send_log: _, supposed: _ } =
        given;
    inputs.files.extend(files);
    let named = |name: &String| name.to_lowercase();
    let twice = |what: &'static str| move |name: &str| format!("{what} {} is told of twice, differently", quoted(name));
    together(
        &mut inputs.certificates,
        certificates,
        |row| format!("{}\\{}", row.server, row.thumbprint),
        same_certificate,
        twice("the certificate"),
        mistakes,
    );
    together(&mut inputs.inbound, inbound, |row| named(&row.name), same, twice("the inbound connector"), mistakes);
    together(&mut inputs.outbound, outbound, |row| named(&row.name), same, twice("the outbound connector"), mistakes);
    together(
        &mut inputs.accepted_domains,
        accepted_domains,
        |row| row.name.clone(),
        same_domain,
        twice("the domain"),
        mistakes,
    );
    together(
        &mut inputs.send_connectors,
        send_connectors,
        |row| named(&row.name),
        same,
        twice("the send connector"),
        mistakes,
    );
}

/// Each row once. `same` makes one of two, or says no where they contradict one another.
fn together<T>(
    known: &mut Option<Vec<T>>,
    given: Option<Vec<T>>,
    key: impl Fn(&T) -> String,
    same: impl Fn(&mut T, &T) -> bool,
    twice: impl Fn(&str) -> String,
    mistakes: &mut Mistakes,
) {
    let Some(given) = given else { return };
    let known = known.get_or_insert_default();
    let mut places: std::collections::HashMap<String, usize> =
        known.iter().enumerate().map(|(at, row)| (key(row), at)).collect();
    for row in given {
        let key = key(&row);
        match places.get(&key) {
            Some(at) if same(&mut known[*at], &row) => {}
            Some(_) => mistakes.whole(format!("{}; which is newer cannot be told: give one of them", twice(&key))),
            None => {
                places.insert(key, known.len());
                known.push(row);
            }
        }
    }
}

fn same<T: PartialEq>(known: &mut T, given: &T) -> bool {
    known == given
}

fn same_domain(known: &mut AcceptedDomain, given: &AcceptedDomain) -> bool {
    // A name alone denies nothing.
    if given.kind.is_none() {
        return true;
    }
    if known.kind.is_none() {
        known.clone_from(given);
    }
    known == given
}

/// What one export leaves out the other may tell.
fn same_certificate(known: &mut ExportedCertificate, given: &ExportedCertificate) -> bool {
    fn either<T: PartialEq + Clone>(known: &mut Option<T>, given: Option<&T>) -> bool {
        if known.is_none() {
            *known = given.cloned();
        }
        given.is_none() || known.as_ref() == given
    }
    fn name(known: &mut String, given: &str) -> bool {
        if known.is_empty() {
            *known = given.into();
        }
        given.is_empty() || DistinguishedName::read(known) == DistinguishedName::read(given)
    }
    if known.domains.is_empty() {
        known.domains.clone_from(&given.domains);
    }
    [
        name(&mut known.subject, &given.subject),
        name(&mut known.issuer, &given.issuer),
        given.domains.is_empty() || known.domains == given.domains,
        either(&mut known.services, given.services.as_ref()),
        either(&mut known.not_before, given.not_before.as_ref()),
        either(&mut known.not_after, given.not_after.as_ref()),
        either(&mut known.is_self_signed, given.is_self_signed.as_ref()),
        either(&mut known.has_private_key, given.has_private_key.as_ref()),
        either(&mut known.root, given.root.as_ref()),
        either(&mut known.status, given.status.as_ref()),
        either(&mut known.der, given.der.as_ref()),
    ]
    .into_iter()
    .all(|is_same| is_same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn samples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/inputs")
    }

    fn given(names: &[&str]) -> Result<Inputs, Vec<String>> {
        read(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), &samples())
    }

    fn given_text(text: &[u8]) -> Result<Inputs, Vec<String>> {
        of_bytes("given", text.to_vec())
    }

    #[test]
    fn every_sample_is_known_by_what_it_holds() {
        let names = [
            "certificates.json",
            "certificates.csv",
            "certificates-5.1.json",
            "inbound.json",
            "outbound.json",
            "accepted-domains.csv",
            "tenant.json",
            "send-connectors.json",
            "SEND20261122-1.LOG",
            "EX02=SEND20261121-1.LOG",
        ];
        let inputs = given(&names).unwrap();
        let kinds: Vec<_> = inputs.files.iter().map(|file| (file.kind.as_str(), file.rows)).collect();
        assert_eq!(
            kinds,
            [
                ("Get-ExchangeCertificate", 4),
                ("Get-ExchangeCertificate", 2),
                ("Get-ExchangeCertificate", 1),
                ("Get-InboundConnector", 2),
                ("Get-OutboundConnector", 1),
                ("Get-AcceptedDomain", 2),
                ("Get-InboundConnector", 2),
                ("Get-OutboundConnector", 1),
                ("Get-AcceptedDomain", 2),
                ("Get-SendConnector", 2),
                ("send log", 3),
                ("send log", 2),
            ]
        );
        assert_eq!(inputs.certificates.as_ref().unwrap().len(), 7);
        assert_eq!(inputs.inbound.as_ref().unwrap().len(), 2, "what is told twice and alike is told once");
        let domains: Vec<_> = inputs.accepted_domains.iter().flatten().map(|domain| domain.name.as_str()).collect();
        assert_eq!(domains, ["contoso.com", "*.contoso.net", "contoso.mail.onmicrosoft.com"]);
        let connectors = inputs.send_connectors.unwrap();
        assert_eq!(connectors[0].pin.as_deref().map(|pin| pin.starts_with("<I>CN=Fabrikam TLS CA 1")), Some(true));
        assert_eq!(
            (connectors[1].fqdn.as_deref(), connectors[1].address_spaces.as_slice()),
            (Some("mail.contoso.com"), &["SMTP:*;1".into()][..])
        );
        assert_eq!(
            (connectors[1].sources.as_slice(), connectors[1].smart_hosts.as_slice()),
            (&["EX01".into()][..], &["smtp.fabrikam.com".into()][..])
        );
        let log = inputs.send_log.unwrap();
        assert_eq!(log.iter().filter(|session| session.server.as_deref() == Some("ex02")).count(), 2);
    }

    /// The order of files changes nothing but their list.
    #[test]
    fn the_order_of_files_does_not_matter() {
        let names =
            ["SEND20261122-1.LOG", "certificates.json", "SEND20261121-1.LOG", "tenant.json", "certificates.csv"];
        let straight = given(&names).unwrap();
        let mut turned = names;
        turned.reverse();
        let turned = given(&turned).unwrap();
        assert_eq!(straight.send_log, turned.send_log);
        let sorted = |inputs: &Inputs| {
            let rows = inputs.certificates.iter().flatten();
            let mut rows: Vec<_> = rows.map(|row| format!("{row:?}")).collect();
            rows.sort();
            rows
        };
        assert_eq!(sorted(&straight), sorted(&turned));
    }

    #[test]
    fn what_two_files_deny_of_each_other_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(samples().join("inbound.json")).unwrap();
        fs::write(folder.path().join("a.json"), &text).unwrap();
        fs::write(folder.path().join("b.json"), text.replacen("mail.contoso.com", "smtp.contoso.com", 1)).unwrap();
        let mistakes = read(&["a.json".into(), "b.json".into()], folder.path()).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].starts_with("b.json: the inbound connector \"inbound from") && mistakes[0].contains("twice"),
            "{mistakes:?}"
        );
    }

    #[test]
    fn what_is_nothing_that_is_read_is_told() {
        for (names, wrong) in [
            (&["missing.json"][..], "missing.json: cannot be read"),
            (&["candidate.pem"], "is a certificate"),
            (&["candidate.der"], "is a certificate"),
            (&["candidate.pfx"], "is a certificate"),
            (&["candidate.csr"], "it holds a request (CSR)"),
            (&["README.md"], "line 1"),
            (&["RECV20261122-1.LOG"], "RECV20261122-1.LOG, line 3: this is a \"SMTP Receive Protocol Log\""),
            (&["EX01=inbound.json"], "SERVER= stands before"),
        ] {
            let mistakes = given(names).unwrap_err();
            assert!(mistakes[0].contains(wrong), "{mistakes:?}");
        }
        for (text, wrong) in [
            ("", "is empty"),
            ("[]", "holds no row"),
            ("{\"Get-InboundConnector\": [], \"Get-Mailbox\": []}", "line 1, field Get-Mailbox: is none of"),
            ("[{\"A\": 1},\n {\"B\": 1}]", "line 1: has the fields \"A\""),
            ("A,B\n1,2\n", "line 1: has the fields \"A, B\""),
        ] {
            let mistakes = given_text(text.as_bytes()).unwrap_err();
            assert!(mistakes[0].contains(wrong), "{mistakes:?}");
        }
        let none = given_text(b"{\"Get-InboundConnector\": [], \"Get-OutboundConnector\": null}").unwrap();
        assert_eq!((none.inbound, none.outbound, none.accepted_domains), (Some(Vec::new()), Some(Vec::new()), None));
    }

    fn sample(which: usize) -> Vec<u8> {
        const SAMPLES: [&str; 8] = [
            "certificates.json",
            "certificates.csv",
            "certificates-5.1.json",
            "inbound.json",
            "accepted-domains.csv",
            "tenant.json",
            "send-connectors.json",
            "scuba.json",
        ];
        fs::read(samples().join(SAMPLES[which % SAMPLES.len()])).unwrap()
    }

    /// All rows of a kind that were given.
    fn count(inputs: &Inputs) -> usize {
        inputs.files.iter().map(|file| file.rows).sum()
    }

    proptest! {
        /// A file that breaks off is refused with its name, or has lost nothing but blanks and the end of its last value.
        #[test]
        fn a_cut_file_loses_no_row_silently(which in 0usize..8, at: prop::sample::Index) {
            let bytes = sample(which);
            let whole = count(&given_text(&bytes).unwrap());
            let cut = &bytes[..at.index(bytes.len())];
            match given_text(cut) {
                Err(mistakes) => prop_assert!(mistakes.iter().all(|told| told.starts_with("given")), "{:?}", mistakes),
                // A list without quotation marks may end with every row.
                Ok(inputs) => prop_assert!(count(&inputs) == whole || which == 1 || which == 4),
            }
        }

        #[test]
        fn a_wrong_byte_is_borne(which in 0usize..8, at: prop::sample::Index, byte: u8) {
            let mut bytes = sample(which);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Err(mistakes) = given_text(&bytes) {
                prop_assert!(mistakes.iter().all(|told| told.starts_with("given") || told.starts_with("what was given")), "{:?}", mistakes);
            }
        }
    }
}
