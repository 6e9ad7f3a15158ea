//! `spn-unshadowed`: nothing else that a KDC finds first, or takes for the same, bears a server's name.

use crate::{
    facts::spn::{self, Spn, class, uniqueness_off},
    model::{
        accounts::{Account, Accounts, needed, peers, search_of_mail, search_of_name, web},
        census,
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{Holding, needs, unread},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{Told, searches},
        principals::{Principals, Question, beside, needs_of, of_peers, web_names},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

/// See the module.
pub struct Unshadowed;

static META: Meta = Meta {
    id: "spn-unshadowed",
    area: "spn",
    title: "Nothing stands in front of an SPN",
    question: "Is no user named like an SPN, does no SPN only look like a server's, and does the forest keep SPNs apart?",
    healthy: "no other account is called like it or holds one that looks like it",
    why: "A KDC looks for a name among user principal names before it looks among SPNs (ktpass sets such ones), and one that overlooks width, marks or what is invisible takes two different spellings for one. The ticket is then another account's, or there is none.",
    remedy: &[
        "A user called like an SPN: Set-ADUser <USER> -UserPrincipalName <USER>@<DOMAIN>",
        "An SPN that only looks like another: Set-ADObject <GUID> -Remove @{servicePrincipalName='<SPN>'}",
        "Checks of uniqueness that are switched off: set character 21 of dSHeuristics of CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration,... back to 0",
    ],
    references: &[
        "MS-KILE section 3.3.5.1.1",
        "MS-ADTS section 6.1.1.2.4.1.2",
        "MS-ADTS section 3.1.1.5.1.3",
        "CVE-2026-25177",
        "Microsoft KB 5008382",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
        "KRB_AP_ERR_MODIFIED (41)",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Unshadowed {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let service = estate.informants.first().map(searches::service);
        let service = service
            .iter()
            .flat_map(|search| needs(&Subject::Estate, search, Holding::Domain, estate, evidence).collect::<Vec<_>>());
        let mail = search_of_mail();
        let mail = needs(&Subject::Estate, &mail, Holding::Catalog, estate, evidence);
        let needs = needs_of(&questions(estate, evidence), estate, evidence).into_iter();
        needs.chain(mail).chain(service).chain(census::needs(estate, evidence)).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let spellings = Spellings::of(&principals, census::is_wanted(estate));
        let questions = questions(estate, evidence);
        let mut findings = beside(&META, &questions, estate, evidence);
        let untold: BTreeSet<Subject> =
            findings.iter().flat_map(|finding| finding.speaks_for.iter().chain([&finding.subject])).cloned().collect();
        let watched = watched(estate, evidence);
        let told = watched.iter().filter(|watched| !untold.contains(&watched.subject()));
        findings.extend(told.map(|watched| judge_spn(watched, &spellings, &principals)));
        findings.extend(spellings.strange.values().map(|held| judge_strange(held, &watched, &spellings, &principals)));
        if !untold.contains(&Subject::Estate) {
            findings.push(judge_estate(estate, evidence));
        }
        census::join(findings, judge_census(estate, evidence))
    }
}

fn questions(estate: &Estate, evidence: &Evidence) -> Vec<Question> {
    let names = web_names(estate, evidence).into_iter();
    let names = names.map(|name| (Subject::Spn(web(&name).to_string()), search_of_name(&name)));
    of_peers(estate, |host| Subject::Spn(needed(host).to_string())).into_iter().chain(names).collect()
}

/// An SPN in front of which nothing may stand.
struct Watched {
    spn: Spn,
    /// Whose search tells of it.
    about: Spn,
    if_shadowed: Verdict,
}

impl Watched {
    fn subject(&self) -> Subject {
        Subject::Spn(self.about.to_string())
    }
}

fn watched(estate: &Estate, evidence: &Evidence) -> Vec<Watched> {
    let of_peer = |host: &str| {
        let watched = |spn, if_shadowed| Watched { spn, about: needed(host), if_shadowed };
        let mail = Spn::new(class::SMTP, host);
        [watched(needed(host), Verdict::Fail), watched(mail, Verdict::Warn), watched(web(host), Verdict::Warn)]
    };
    let of_name = |name: String| Watched { spn: web(&name), about: web(&name), if_shadowed: Verdict::Warn };
    let peers = peers(estate).into_iter().flat_map(of_peer);
    peers.chain(web_names(estate, evidence).into_iter().map(of_name)).collect()
}

/// What is held and how people are called, so that every name is compared with all.
struct Spellings<'a> {
    /// Users' names, without the realm behind it.
    users: BTreeMap<String, Vec<&'a Account>>,
    /// SPNs that are not plain ASCII, by how they look.
    looks: BTreeMap<String, Vec<(String, &'a Account)>>,
    /// The same by themselves, with the first of those who hold them.
    strange: BTreeMap<String, (String, &'a Account)>,
    /// Of a census, plain ones that look like one of these, by how they look.
    plain: BTreeMap<String, Vec<(String, &'a Account)>>,
}

impl<'a> Spellings<'a> {
    fn of(principals: &Principals<'a>, is_census: bool) -> Self {
        let mut spellings =
            Self { users: BTreeMap::new(), looks: BTreeMap::new(), strange: BTreeMap::new(), plain: BTreeMap::new() };
        for account in principals.all() {
            if let Some(upn) = &account.upn {
                let name = upn.split_once('@').map_or(upn.as_str(), |(name, _)| name);
                spellings.users.entry(spn::key(name)).or_default().push(account);
            }
            for held in account.spns.iter().filter(|held| !held.is_ascii()) {
                spellings.looks.entry(spn::look(held)).or_default().push((held.clone(), account));
                spellings.strange.entry(spn::key(held)).or_insert_with(|| (held.clone(), account));
            }
        }
        if is_census && !spellings.strange.is_empty() {
            let plain = |account: &'a Account| {
                account.spns.iter().filter(|held| held.is_ascii()).map(move |held| (held, account))
            };
            for (held, account) in principals.all().flat_map(plain) {
                let look = spn::look(held);
                if spellings.looks.contains_key(&look) {
                    spellings.plain.entry(look).or_default().push((held.clone(), account));
                }
            }
        }
        spellings
    }

    /// What others hold that looks like a strange one and is none, and of which nothing else tells.
    fn doubles(&self, (spn, holder): &(String, &'a Account), watched: &[Watched]) -> Vec<&(String, &'a Account)> {
        let is_watched = |held: &str| watched.iter().any(|watched| watched.spn.key() == spn::key(held));
        let alike = self.plain.get(&spn::look(spn)).into_iter().flatten();
        alike.filter(|(held, account)| account.guid != holder.guid && !is_watched(held)).collect()
    }

    /// Others that are called like it. Whoever holds the SPN may be: then both lead to one account.
    fn shadows(&self, spn: &Spn, principals: &Principals<'a>) -> Vec<&'a Account> {
        let holders = principals.holders(spn);
        let named = self.users.get(&spn.key()).into_iter().flatten();
        named.filter(|account| !holders.iter().any(|holder| holder.guid == account.guid)).copied().collect()
    }

    /// Others that hold one that looks like it.
    fn twins(&self, spn: &Spn, principals: &Principals<'a>) -> Vec<&(String, &'a Account)> {
        let holders = principals.holders(spn);
        let alike = self.looks.get(&spn::look(&spn.to_string())).into_iter().flatten();
        alike.filter(|(_, account)| !holders.iter().any(|holder| holder.guid == account.guid)).collect()
    }
}

fn judge_spn(watched: &Watched, spellings: &Spellings<'_>, principals: &Principals<'_>) -> Finding {
    let spn = &watched.spn;
    let finding = |verdict, seen: String| Finding::new(&META, Subject::Spn(spn.to_string()), verdict, seen);
    let shadows = spellings.shadows(spn, principals);
    if let [first, ..] = shadows[..] {
        let seen = format!("it is the user principal name of {}", principals.describe_all(&shadows));
        return finding(watched.if_shadowed, seen)
            .code("upn")
            .is(Trouble::SpnWrong(spn.to_string()))
            .remedy("Give that account a name of its own:")
            .remedy(format!(
                "    Set-ADObject {} -Replace @{{userPrincipalName='<USER>@<DOMAIN>'}}",
                principals.identity(first)
            ))
            .remedy("If it was made with ktpass for an SPN, see first who uses that keytab.");
    }
    let twins = spellings.twins(spn, principals);
    if twins.is_empty() {
        return finding(Verdict::Pass, "nobody is called like it, and nothing looks like it".to_string());
    }
    // What a directory overlooks is the same to it; letters of another script it keeps apart, and only people do not.
    let plain = spn::folded(&spn.to_string());
    let is_same = twins.iter().any(|(twin, _)| spn::folded(twin) == plain);
    let verdict = if is_same { watched.if_shadowed } else { Verdict::Warn };
    let named: Vec<_> =
        twins.iter().map(|(twin, holder)| format!("{} on {}", spelt(twin), principals.describe(holder))).collect();
    let finding = finding(verdict, format!("what looks like it: {}", named.join("; ")))
        .code("confusable")
        .is(Trouble::SpnWrong(spn.to_string()));
    twins.iter().fold(finding, |finding, (twin, holder)| remove(finding, twin, holder, principals))
}

fn judge_strange<'a>(
    held: &(String, &'a Account),
    watched: &[Watched],
    spellings: &Spellings<'a>,
    principals: &Principals<'a>,
) -> Finding {
    const SHOWN: usize = 3;
    let (spn, holder) = held;
    let doubles = spellings.doubles(held, watched);
    let named = doubles
        .iter()
        .take(SHOWN)
        .map(|(double, holder)| format!("{} on {}", spelt(double), principals.describe(holder)));
    let named = named.collect::<Vec<_>>().join("; ");
    let like = if doubles.is_empty() { String::new() } else { format!(", which looks like {named}") };
    let seen = format!("{} on {}{like}", spelt(spn), principals.describe(holder));
    let finding = Finding::new(&META, Subject::Spn(spn.clone()), Verdict::Warn, seen)
        .expected("letters, digits and marks of ASCII, which nothing takes for others")
        .code(if doubles.is_empty() { "not-ascii" } else { "confusable" });
    let look = spn::look(spn);
    let alike = watched.iter().map(|watched| watched.spn.to_string()).filter(|watched| spn::look(watched) == look);
    let finding = alike.fold(finding, |finding, spn| finding.suspects(Trouble::SpnWrong(spn)));
    remove(finding, spn, holder, principals)
}

fn remove(finding: Finding, spn: &str, holder: &Account, principals: &Principals<'_>) -> Finding {
    finding.remedy("Unless somebody knows what it is for (PowerShell; the letters are spelt by number):").remedy(
        format!(
            "    Set-ADObject {} -Remove @{{servicePrincipalName={}}}",
            principals.identity(holder),
            in_powershell(spn)
        ),
    )
}

/// Each letter that is not ASCII by its number.
fn spelt(spn: &str) -> String {
    const LONGEST: usize = 300;
    let spell = |letter: char| -> String {
        if letter.is_ascii_graphic() { letter.to_string() } else { letter.escape_unicode().to_string() }
    };
    spn.chars().take(LONGEST).map(spell).collect()
}

/// A string for PowerShell that holds any letter: plain ones as they are, others as UTF-16 by number.
fn in_powershell(spn: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:".contains(letter);
    let mut units = [0; 2];
    let mut text = String::from("\"");
    for letter in spn.chars() {
        if is_plain(letter) {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut units) {
                // Writing to a String never fails.
                let _ = write!(text, "$([char]0x{unit:04x})");
            }
        }
    }
    text.push('"');
    text
}

/// How far the census came, if one was wanted, and what it says of names that nobody but people can mistake.
fn judge_census(estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let pass = || {
        let scanned = census::scanned(estate, evidence)?;
        let aliased = u64::try_from(scanned.aliased.len()).unwrap_or(u64::MAX).saturating_add(scanned.aliased_left_out);
        let by_class = match (aliased, estate.organisation.mappings.value()) {
            (_, None) => "; which classes stand for others is not told, so that aliases were not".to_string(),
            (0, _) => String::new(),
            // Whoever runs a service by an account of its own wants it so.
            (count, _) => format!(
                "; {count} sets of objects share a host by HOST and a class that it stands for, which is allowed"
            ),
        };
        let strange =
            if scanned.strange > 0 { format!("; {} are not plain ASCII", scanned.strange) } else { String::new() };
        let seen = format!("{}{strange}{by_class}", census::compared(scanned));
        Some(Finding::new(&META, Subject::Estate, Verdict::Pass, seen))
    };
    census::unread(&META, estate, evidence).or_else(pass)
}

fn judge_estate(estate: &Estate, evidence: &Evidence) -> Finding {
    let finding = |verdict, seen: &str| Finding::new(&META, Subject::Estate, verdict, seen);
    let heuristics = estate.organisation.heuristics.value();
    let switch = heuristics.and_then(|heuristics| uniqueness_off(heuristics));
    let service = estate.informants.first().map(searches::service).map(|search| (search, Holding::Domain));
    let asked: Vec<_> = service.into_iter().chain([(search_of_mail(), Holding::Catalog)]).collect();
    let untold = unread(&META, &asked, estate, evidence);
    if let Some(switch) = switch {
        let seen = format!("character 21 of dSHeuristics is {}", spelt(&switch.to_string()));
        let also = untold.as_ref().map(|finding| format!("; beside that {}", finding.seen)).unwrap_or_default();
        let verdict = if untold.is_some() { Verdict::Unknown } else { Verdict::Warn };
        return finding(verdict, &format!("{seen}: controllers let two accounts have one name{also}"))
            .expected("controllers refuse an SPN or a user principal name that another account has")
            .code("uniqueness-off")
            .remedy("It was set for a migration, as a rule. Where that is over, set the character back to 0:")
            .remedy("    $d = Get-ADObject \"CN=Directory Service,CN=Windows NT,CN=Services,$((Get-ADRootDSE).configurationNamingContext)\" -Properties dSHeuristics")
            .remedy("    Set-ADObject $d -Replace @{dSHeuristics = $d.dSHeuristics.Remove(20,1).Insert(20,'0')}");
    }
    if let Some(unread) = untold {
        return unread;
    }
    match estate.organisation.heuristics {
        Told::Unread => finding(Verdict::Unknown, "dSHeuristics of the forest is not shown to us")
            .remedy("Log on as a user of the domain who may read CN=Directory Service of the Configuration partition."),
        _ => finding(Verdict::Pass, "controllers refuse a name that another account has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{plan::SpnScope, testing::Forest};
    use proptest::prelude::*;

    #[test]
    fn in_order_nothing_is_shadowed() {
        let forest = Forest::new();
        forest.assert_steady(&Unshadowed);
        assert_eq!(forest.troubles(&Unshadowed), Vec::<String>::new());
    }

    #[test]
    fn a_user_called_like_an_spn_hides_it_with_a_realm_or_without() {
        for name in ["SMTPSVC/ex01.contoso.com", "smtpsvc/EX01.contoso.com@CONTOSO.COM"] {
            let mut forest = Forest::new();
            forest.user("svc-relay", &[("userPrincipalName", &[name])]);
            assert_eq!(forest.troubles(&Unshadowed), ["SMTPSVC/ex01.contoso.com fail upn"]);
        }
    }

    #[test]
    fn whoever_holds_it_may_be_called_so_and_a_longer_name_is_another() {
        let mut forest = Forest::new();
        forest.set("EX01", "userPrincipalName", &["SMTPSVC/ex01.contoso.com@CONTOSO.COM"]);
        forest.user("svc-relay", &[("userPrincipalName", &["SMTPSVC/ex01.contoso.company"])]);
        assert_eq!(forest.troubles(&Unshadowed), Vec::<String>::new());
    }

    #[test]
    fn a_twin_that_a_directory_takes_for_the_same_fails() {
        let mut forest = Forest::new();
        forest.user("svc-relay", &[("servicePrincipalName", &["SMTPSVC/ex01.contoso.co\u{ff4d}"])]);
        assert_eq!(
            forest.troubles(&Unshadowed),
            ["SMTPSVC/ex01.contoso.com fail confusable", "SMTPSVC/ex01.contoso.co\u{ff4d} warn not-ascii"]
        );
    }

    #[test]
    fn a_twin_that_only_people_mistake_is_a_warning() {
        let mut forest = Forest::new();
        forest.user("svc-relay", &[("servicePrincipalName", &["SMTPSVC/\u{435}x01.contoso.com"])]);
        assert_eq!(
            forest.troubles(&Unshadowed),
            ["SMTPSVC/ex01.contoso.com warn confusable", "SMTPSVC/\u{435}x01.contoso.com warn not-ascii"]
        );
    }

    #[test]
    fn names_of_the_web_only_warn() {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        forest.user("svc-web", &[("userPrincipalName", &["HTTP/mail.contoso.com@CONTOSO.COM"])]);
        assert_eq!(forest.troubles(&Unshadowed), ["HTTP/mail.contoso.com warn upn"]);
    }

    #[test]
    fn a_forest_that_keeps_nothing_apart_is_told() {
        let mut forest = Forest::new();
        let service = forest.entries.iter_mut().find(|entry| entry.dn.starts_with("CN=Directory Service,")).unwrap();
        let heuristics = crate::facts::search::Value::Text("000000000100000000021".to_string());
        service.attributes.insert("dSHeuristics".to_string(), [heuristics].into());
        assert_eq!(forest.troubles(&Unshadowed), ["estate warn uniqueness-off"]);
    }

    #[test]
    fn an_unread_catalog_is_one_unknown() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        assert_eq!(forest.troubles(&Unshadowed), ["estate unknown -"]);
        forest.plan.spn_scan = SpnScope::Forest;
        assert_eq!(forest.troubles(&Unshadowed), ["estate unknown -"]);
    }

    #[test]
    fn a_census_finds_twins_that_no_search_looks_for() {
        let mut forest = Forest::new();
        forest.computer("PC1", &[("servicePrincipalName", &["HOST/pc1"])]);
        forest.user("twin", &[("servicePrincipalName", &["HOST/\u{440}c1"])]);
        forest.user("odd", &[("servicePrincipalName", &["HOST/\u{fc}ber"])]);
        forest.user("web", &[("servicePrincipalName", &["http/pc1"])]);
        assert_eq!(forest.troubles(&Unshadowed), Vec::<String>::new());
        forest.plan.spn_scan = SpnScope::Forest;
        forest.assert_steady(&Unshadowed);
        assert_eq!(forest.troubles(&Unshadowed), ["HOST/\u{fc}ber warn not-ascii", "HOST/\u{440}c1 warn confusable"]);
        let estate = forest.finding(&Unshadowed, "estate");
        assert_eq!(estate.verdict, Verdict::Pass);
        assert!(estate.seen.contains("2 are not plain ASCII; 1 sets"), "{}", estate.seen);
    }

    #[test]
    fn a_census_that_breaks_off_hides_no_other_trouble() {
        let mut forest = Forest::new();
        forest.plan.spn_scan = SpnScope::Forest;
        forest.breaks_off_after = Some(1);
        let service = forest.entries.iter_mut().find(|entry| entry.dn.starts_with("CN=Directory Service,")).unwrap();
        let heuristics = crate::facts::search::Value::Text("000000000100000000021".to_string());
        service.attributes.insert("dSHeuristics".to_string(), [heuristics].into());
        assert_eq!(forest.troubles(&Unshadowed), ["estate unknown uniqueness-off"]);
    }

    proptest! {
        #[test]
        fn a_string_for_powershell_holds_nothing_but_words_and_numbers(spn in ".{0,20}") {
            let text = in_powershell(&spn);
            prop_assert!(text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./:\"$()[]".contains(letter)));
            prop_assert_eq!(text.matches('"').count(), 2);
            prop_assert_eq!(text.matches('$').count(), text.matches("$([char]0x").count());
        }
    }
}
