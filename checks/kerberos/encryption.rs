//! `kerberos-encryption`: the kinds of keys that a KDC may use for servers, as their accounts name them.

use crate::{
    facts::{
        account::{EncryptionTypes, instant},
        net::Transport,
        ticket::etype,
    },
    model::{
        accounts::{Account, Accounts, needed, search_of_keys, search_of_name, web},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{Holding, found, needs, unread},
        kdcs::Kdcs,
        meta::{Basis, Fold, Meta, Tier},
        principals::{Principals, Question, are_servers_settled, beside, is_word, needs_of, of_peers, web_names},
        tickets::{EtypeName, WalkEnd, granting, needed_spns, needs_of_kdcs, walk},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Encryption;

static META: Meta = Meta {
    id: "kerberos-encryption",
    area: "kerberos",
    title: "Accounts take AES",
    question: "Do the accounts of servers, and the one that they share for web clients, take tickets that are encrypted with AES?",
    healthy: "msDS-SupportedEncryptionTypes names AES (28, or 24 without RC4)",
    why: "Controllers give RC4 up (CVE-2026-20833: AES alone where nothing is set, and no way back in the end). For an account that names RC4 alone they give no ticket any more, and one that names nothing hangs on their default.",
    remedy: &[
        "A server: by group policy, as Windows writes the attribute itself: Network security: Configure encryption types allowed for Kerberos; then gpupdate /force",
        "The alternate service account, if Get-ClientAccessService -IncludeAlternateServiceAccountCredentialStatus shows it (2010 and 2013: Get-ClientAccessServer): Set-ADComputer <ASA> -KerberosEncryptionType RC4,AES128,AES256, and a new password on all servers: .\\RollAlternateServiceAccountPassword.ps1 -ToEntireForest -GenerateNewPasswordFor <DOMAIN>\\<ASA>$",
    ],
    references: &[
        "MS-KILE section 2.2.7",
        "Microsoft KB 5021131",
        "Microsoft KB 5073381",
        "Configuring Kerberos authentication for load-balanced client access services (Microsoft Learn)",
    ],
    symptoms: &["KDC_ERR_ETYPE_NOSUPP (14)", "Kdcsvc events 201 to 209", "454 4.7.0 Temporary authentication failure"],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

/// An account of which the keys matter.
struct Keyholder<'a> {
    subject: Subject,
    account: &'a Account,
    is_server: bool,
}

impl Check for Encryption {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let mut all = needs_of(&questions(estate, evidence), estate, evidence);
        let keyholders = keyholders(&principals, estate, evidence);
        for keyholder in keyholders.iter().filter(|one| foreign_domain(one, estate).is_none()) {
            let search = search_of_keys(&keyholder.account.dn);
            all.extend(needs(&keyholder.subject, &search, Holding::Domain, estate, evidence));
        }
        all.extend(needs_of_tickets(&keyholders, estate, evidence));
        all
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let keyholders = keyholders(&principals, estate, evidence);
        let mut findings: Vec<_> =
            keyholders.iter().map(|keyholder| judge_keyholder(keyholder, &principals, estate, evidence)).collect();
        // A server without an account is told of by `server-account`.
        let unknown = principals.peers().filter(|host| principals.own(host).is_none()).map(|host| {
            Finding::new(
                &META,
                Subject::Host(host.to_string()),
                Verdict::Skip,
                "no account of it is shown: server-account tells of it",
            )
        });
        findings.extend(unknown);
        findings.extend(beside(&META, &questions(estate, evidence), estate, evidence));
        if !findings.iter().any(|finding| finding.subject == Subject::Estate) {
            findings.push(judge_shared(&keyholders, estate, evidence));
        }
        findings
    }
}

fn questions(estate: &Estate, evidence: &Evidence) -> Vec<Question> {
    let names = web_names(estate, evidence).into_iter().map(|name| (Subject::Estate, search_of_name(&name)));
    of_peers(estate, |host| Subject::Host(host.to_string())).into_iter().chain(names).collect()
}

/// The servers' own accounts, and those that hold a name of web clients and are made like alternate service accounts. Whether they
/// are, only the servers know.
fn keyholders<'a>(principals: &Principals<'a>, estate: &Estate, evidence: &Evidence) -> Vec<Keyholder<'a>> {
    if !are_servers_settled(estate, evidence) {
        return Vec::new();
    }
    let own = principals.peers().filter_map(|host| {
        let account = principals.own(host)?;
        Some(Keyholder { subject: Subject::Host(host.to_string()), account, is_server: true })
    });
    let names = web_names(estate, evidence);
    let holders = names.iter().flat_map(|name| principals.holders(&web(name)).to_vec());
    let shared: BTreeMap<&str, &Account> = holders
        .filter(|account| principals.is_like_shared(account))
        .map(|account| (account.guid.as_str(), account))
        .collect();
    let shared = shared.into_values().map(|account| {
        let subject = Subject::Account(account.name.clone());
        Keyholder { subject, account, is_server: false }
    });
    own.chain(shared).collect()
}

/// The tickets that `kerberos-ticket` asks for, for they show in what a KDC really makes them.
fn needs_of_tickets(keyholders: &[Keyholder<'_>], estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    if needed_spns(estate, evidence).is_empty() {
        return Vec::new();
    }
    let kdcs = Kdcs::of(estate, evidence);
    let of_estate = needs_of_kdcs(&kdcs, &[Transport::Tcp], estate).into_iter();
    let mut all: Vec<_> = of_estate.map(|need| Need { subject: Subject::Estate, ..need }).collect();
    for (kdc, _) in granting(&kdcs, estate, evidence).iter().filter(|(_, by)| by.contains(&Transport::Tcp)) {
        for keyholder in keyholders.iter().filter(|one| one.is_server && foreign_domain(one, estate).is_none()) {
            let Subject::Host(host) = &keyholder.subject else { continue };
            let asks = walk(kdc, &needed(host).to_string(), estate, evidence).asks.into_iter();
            all.extend(asks.map(|ask| Need { subject: keyholder.subject.clone(), ask }));
        }
    }
    all
}

/// In what a server's tickets come.
#[derive(Default)]
struct Issued {
    etypes: BTreeSet<i64>,
    /// A KDC has no key of the account that it may use for AES.
    is_refused: bool,
}

impl Issued {
    fn of(keyholder: &Keyholder<'_>, estate: &Estate, evidence: &Evidence) -> Self {
        const NO_ETYPE: i64 = 14;
        let mut issued = Self::default();
        let Subject::Host(host) = &keyholder.subject else { return issued };
        for (kdc, _) in granting(&Kdcs::of(estate, evidence), estate, evidence) {
            match walk(&kdc, &needed(host).to_string(), estate, evidence).end {
                WalkEnd::Granted(grant) => drop(issued.etypes.insert(grant.etype)),
                WalkEnd::Refused(error) => issued.is_refused |= error.code == NO_ETYPE,
                _ => {}
            }
        }
        issued
    }

    /// `; tickets for it come in AES-256`
    fn describe(&self) -> String {
        let names: Vec<_> = self.etypes.iter().map(|etype| EtypeName(*etype).to_string()).collect();
        if names.is_empty() { String::new() } else { format!("; tickets for it come in {}", names.join(" and ")) }
    }
}

/// Where several hold the name like this one, nobody can tell which of them it is that servers share, and `spn-unique` tells of it.
fn judge_keyholder(
    keyholder: &Keyholder<'_>,
    principals: &Principals<'_>,
    estate: &Estate,
    evidence: &Evidence,
) -> Finding {
    let is_it = |holders: &[&Account]| {
        principals.likely_shared(holders).is_some_and(|likely| likely.guid == keyholder.account.guid)
    };
    if keyholder.is_server || web_names(estate, evidence).iter().any(|name| is_it(principals.holders(&web(name)))) {
        return judge_keys(keyholder, principals, estate, evidence);
    }
    let seen = "another account like it holds the same name: spn-unique tells of it";
    Finding::new(&META, keyholder.subject.clone(), Verdict::Skip, seen)
}

/// The attribute is in no global catalog, and of other domains we ask nobody.
fn foreign_domain(keyholder: &Keyholder<'_>, estate: &Estate) -> Option<String> {
    keyholder.account.domain().filter(|domain| *domain != estate.plan.domain)
}

fn judge_keys(keyholder: &Keyholder<'_>, principals: &Principals<'_>, estate: &Estate, evidence: &Evidence) -> Finding {
    let Keyholder { subject, account, .. } = keyholder;
    let finding = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    if let Some(domain) = foreign_domain(keyholder, estate) {
        let run = if is_word(&domain) { format!("; run with --domain {domain}") } else { String::new() };
        return finding(Verdict::Skip, format!("its domain is {domain}{run}"));
    }
    let search = search_of_keys(&account.dn);
    if let Some(untold) = unread(&META, &[(search.clone(), Holding::Domain)], estate, evidence) {
        return Finding { subject: subject.clone(), ..untold };
    }
    let found = found(&search, Holding::Domain, estate, evidence);
    let entry = found.entries().and_then(|told| told.entries.first());
    // Who is shown the name is shown the rest: what is not there then is not set.
    let Some(entry) = entry.filter(|entry| entry.shows("sAMAccountName")) else {
        return finding(Verdict::Unknown, format!("{} is not shown to us", principals.describe(account)))
            .remedy("Log on as somebody who may read the account, and run again.");
    };
    let set = entry.number("pwdLastSet").and_then(instant);
    let age = set.map(|set| format!("; its password is of {}", set.strftime("%Y-%m-%d"))).unwrap_or_default();
    let types = EncryptionTypes(entry.number("msDS-SupportedEncryptionTypes").unwrap_or_default());
    let issued = Issued::of(keyholder, estate, evidence);
    let come_in = issued.describe();
    match (types.names_any(), keyholder.is_server) {
        (true, _) if types.has_aes() => {
            finding(Verdict::Pass, format!("{} names AES ({}){come_in}{age}", account.name, types.0))
        }
        _ if issued.is_refused => {
            let names = if types.names_any() { format!("no AES ({})", types.0) } else { "nothing".to_string() };
            let seen = format!("{} names {names}, and a KDC gives no ticket where AES alone is offered (14){age}", account.name);
            mend(finding(Verdict::Fail, seen), keyholder, estate)
                .code("no-aes-refused")
                .is(Trouble::NoKey(subject.clone()))
        }
        (true, _) => {
            let seen = format!("{} names no AES ({}){come_in}{age}", account.name, types.0);
            mend(finding(Verdict::Warn, seen), keyholder, estate).code("no-aes").is(Trouble::NoKey(subject.clone()))
        }
        (false, true) if issued.etypes.contains(&etype::RC4) => {
            let seen = format!("{} names nothing{come_in}, which controllers give up{age}", account.name);
            mend(finding(Verdict::Warn, seen), keyholder, estate).code("unset-rc4").is(Trouble::NoKey(subject.clone()))
        }
        (false, true) => {
            let seen = format!("{} names nothing, so controllers and Windows decide{come_in}{age}", account.name);
            finding(Verdict::Pass, seen)
        }
        (false, false) => mend(
            finding(
                Verdict::Warn,
                format!("{}, perhaps an alternate service account, names nothing, so it hangs on the controllers' default{age}", account.name),
            ),
            keyholder,
            estate,
        )
        .code("unset"),
    }
}

fn mend(finding: Finding, keyholder: &Keyholder<'_>, estate: &Estate) -> Finding {
    let guid = &keyholder.account.guid;
    if keyholder.is_server {
        return finding
            .remedy("Windows writes the attribute itself, by the policy Network security: Configure encryption types allowed for Kerberos.")
            .remedy("Have AES128 and AES256 in it; then on the server:")
            .remedy("    gpupdate /force")
            .remedy("It shows 24 or 28 then. Where the policy had them before, somebody wrote the attribute by hand; set it anew:")
            .remedy(format!("    Get-ADObject {guid} -Properties msDS-SupportedEncryptionTypes,pwdLastSet"))
            .remedy(format!("    Set-ADObject {guid} -Replace @{{'msDS-SupportedEncryptionTypes'=24}}"));
    }
    let name = keyholder.account.name.as_str();
    let name = if is_word(name.strip_suffix('$').unwrap_or(name)) { name } else { "<ACCOUNT>" };
    let netbios = estate.organisation.domains.get(&estate.plan.domain).filter(|name| is_word(name));
    let netbios = netbios.map_or("<DOMAIN>", String::as_str);
    finding
        .remedy("Only if this shows the account, which makes it an alternate service account (2010 and 2013: Get-ClientAccessServer):")
        .remedy("    Get-ClientAccessService -IncludeAlternateServiceAccountCredentialStatus | fl Name,Alternate*")
        .remedy("Name AES, and RC4 as long as anything needs it; then give it a new password on all servers:")
        .remedy(format!("    Set-ADObject {guid} -Replace @{{'msDS-SupportedEncryptionTypes'=28}}"))
        .remedy(format!(
            "    .\\RollAlternateServiceAccountPassword.ps1 -ToEntireForest -GenerateNewPasswordFor '{netbios}\\{name}'"
        ))
}

fn judge_shared(keyholders: &[Keyholder<'_>], estate: &Estate, evidence: &Evidence) -> Finding {
    let shared = keyholders.iter().filter(|keyholder| !keyholder.is_server);
    let shared: Vec<_> = shared.map(|keyholder| keyholder.account.name.as_str()).collect();
    let finding = |verdict, seen: String| Finding::new(&META, Subject::Estate, verdict, seen);
    if web_names(estate, evidence).is_empty() {
        return finding(Verdict::Skip, "no name is known that web clients use for several servers".to_string());
    }
    if shared.is_empty() {
        return finding(Verdict::Skip, "no account is made for the names that web clients use".to_string());
    }
    finding(Verdict::Pass, format!("made for the names that web clients use: {}", shared.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        plan::ServerRole,
        testing::{Forest, KdcSays},
    };

    fn with_asa(types: &[&str]) -> Forest {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        forest.computer("EXCHASA", &[("servicePrincipalName", &["HTTP/mail.contoso.com"])]);
        forest.set("EXCHASA", "msDS-SupportedEncryptionTypes", types);
        forest
    }

    #[test]
    fn aes_passes_with_rc4_or_without() {
        let mut forest = with_asa(&["24"]);
        forest.computer("FS01", &[("dNSHostName", &["fs01.contoso.com"])]);
        forest.planned("fs01.contoso.com", ServerRole::Mailbox);
        forest.assert_steady(&Encryption);
        forest.set("EX02", "msDS-SupportedEncryptionTypes", &["28"]);
        let passed = forest.words(&Encryption, |verdict| verdict != Verdict::Skip);
        assert_eq!(passed, ["EXCHASA$ pass -", "estate pass -", "ex01.contoso.com pass -", "ex02.contoso.com pass -"]);
    }

    #[test]
    fn rc4_alone_is_a_warning() {
        let mut forest = with_asa(&["4"]);
        forest.set("EX02", "msDS-SupportedEncryptionTypes", &["4"]);
        assert_eq!(forest.troubles(&Encryption), ["EXCHASA$ warn no-aes", "ex02.contoso.com warn no-aes"]);
    }

    #[test]
    fn what_kdcs_really_give_counts() {
        let (kdc, spn) = ("dc1.contoso.com", "SMTPSVC/ex02.contoso.com");
        let no_key = Trouble::NoKey(Subject::Host("ex02.contoso.com".to_string()));
        for types in [&["4"][..], &[]] {
            let mut forest = with_asa(&["28"]);
            forest.set("EX02", "msDS-SupportedEncryptionTypes", types);
            forest.kdc_says(kdc, spn, KdcSays::Error(14));
            forest.assert_steady(&Encryption);
            assert_eq!(forest.troubles(&Encryption), ["ex02.contoso.com fail no-aes-refused"]);
            assert_eq!(forest.finding(&Encryption, "ex02.contoso.com").is, Some(no_key.clone()));
        }
        let mut forest = with_asa(&["28"]);
        forest.set("EX02", "msDS-SupportedEncryptionTypes", &[]);
        assert!(forest.finding(&Encryption, "ex02.contoso.com").seen.contains("come in AES-256"));
        forest.kdc_says(kdc, spn, KdcSays::Ticket(23));
        assert_eq!(forest.troubles(&Encryption), ["ex02.contoso.com warn unset-rc4"]);
        forest.kdc_says(kdc, spn, KdcSays::Nothing);
        assert_eq!(forest.troubles(&Encryption), Vec::<String>::new());
    }

    #[test]
    fn nothing_named_matters_for_the_shared_account_only() {
        let mut forest = with_asa(&[]);
        forest.set("EX02", "msDS-SupportedEncryptionTypes", &["0"]);
        assert_eq!(forest.troubles(&Encryption), ["EXCHASA$ warn unset"]);
        assert!(forest.finding(&Encryption, "EXCHASA$").seen.contains("2024-09-"));
    }

    #[test]
    fn users_and_computers_that_are_some_are_no_shared_account() {
        let name = ("servicePrincipalName", &["HTTP/mail.contoso.com"][..]);
        let mut forest = with_asa(&["28"]);
        forest.user("svc-web", &[name]);
        forest.computer("WEB01", &[name, ("dNSHostName", &["web01.contoso.com"])]);
        forest.assert_steady(&Encryption);
        assert_eq!(forest.troubles(&Encryption), Vec::<String>::new());
    }

    #[test]
    fn of_two_shared_accounts_nobody_can_tell() {
        let mut forest = with_asa(&["4"]);
        forest.computer("OLDASA", &[("servicePrincipalName", &["HTTP/mail.contoso.com"])]);
        forest.assert_steady(&Encryption);
        assert_eq!(forest.troubles(&Encryption), Vec::<String>::new());
        assert_eq!(forest.finding(&Encryption, "EXCHASA$").verdict, Verdict::Skip);
    }

    #[test]
    fn what_is_hidden_is_not_taken_for_unset() {
        let mut forest = with_asa(&["28"]);
        // The catalog has its name from the object's own: the domain shows nothing but that there is one.
        forest.set("EXCHASA", "sAMAccountName", &[]);
        assert_eq!(forest.troubles(&Encryption), ["EXCHASA unknown -"]);
    }

    #[test]
    fn an_account_of_another_domain_is_left_to_a_run_there() {
        let mut forest = Forest::new();
        let account = forest.object("EX02");
        account.dn = "CN=EX02,CN=Computers,DC=fabrikam,DC=com".to_string();
        let finding = forest.finding(&Encryption, "ex02.contoso.com");
        assert_eq!(finding.verdict, Verdict::Skip);
        assert!(finding.seen.contains("--domain fabrikam.com"), "{}", finding.seen);
    }

    #[test]
    fn an_unread_catalog_is_one_unknown() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        assert_eq!(forest.troubles(&Encryption), ["estate unknown -"]);
    }
}
