//! Whose SPN is whose: what the searches for accounts come to, and what the checks that rest on them have in common.

use crate::{
    facts::{
        dns::is_host_name,
        search::DirectorySearch,
        spn::{self, Spn},
    },
    model::{
        accounts::{self, Account, Accounts, namespaces, peers, search_of_host, search_of_mail},
        check::Need,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Verdict},
        informants::{Holding, asks, found, needs, unread},
        meta::Meta,
        organisation::searches,
        plan::{ServerRole, ServerState},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

/// Something to be judged, and the search of a global catalog that tells of it.
pub type Question = (Subject, DirectorySearch);

/// Every peer, with the search for all that is known of it.
pub fn of_peers(estate: &Estate, subject: impl Fn(&str) -> Subject) -> Vec<Question> {
    peers(estate).into_iter().map(|host| (subject(host), search_of_host(host))).collect()
}

/// The names that web clients use. None until the servers are told: a server's own name is none of them.
pub fn web_names(estate: &Estate, evidence: &Evidence) -> BTreeSet<String> {
    if are_servers_settled(estate, evidence) { namespaces(estate) } else { BTreeSet::new() }
}

/// Has everyone who is asked for the servers answered, or failed to? Until then a name may turn out to be a server's, and a stated
/// server to be none.
pub fn are_servers_settled(estate: &Estate, evidence: &Evidence) -> bool {
    let asks = |first| asks(&searches::servers(first), Holding::Domain, estate, evidence);
    estate.informants.first().is_some_and(|first| asks(first).iter().all(|ask| evidence.holds(ask)))
}

/// What has to be asked for these.
pub fn needs_of(questions: &[Question], estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let one =
        |(subject, search): &Question| needs(subject, search, Holding::Catalog, estate, evidence).collect::<Vec<_>>();
    questions.iter().flat_map(one).collect()
}

/// What is said beside the verdicts: of what the directory did not tell, of servers that are no peers, and where there is no peer
/// at all.
pub fn beside(meta: &'static Meta, questions: &[Question], estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let strangers: BTreeMap<_, _> =
        strangers(estate, evidence).into_iter().map(|host| (search_of_host(host), host)).collect();
    let (of_strangers, questions): (Vec<_>, Vec<_>) =
        questions.iter().cloned().partition(|(_, search)| strangers.contains_key(search));
    let mut findings = untold(meta, &questions, estate, evidence);
    findings.extend(of_strangers.into_iter().map(|(subject, _)| {
        Finding::new(meta, subject, Verdict::Skip, "the directory knows no Exchange server of this name")
    }));
    if !findings.iter().any(|finding| finding.subject == Subject::Estate) {
        findings.extend(servers_unread(meta, estate, evidence));
    }
    findings.extend(bystanders(meta, estate));
    if findings.is_empty() && peers(estate).is_empty() {
        findings.push(Finding::new(
            meta,
            Subject::Estate,
            Verdict::Skip,
            "the directory shows no Exchange server to this user",
        ));
    }
    findings
}

/// Stated servers that the directory, which told all of them, does not know as Exchange servers: a balancer, a gateway.
pub fn strangers<'e>(estate: &'e Estate, evidence: &Evidence) -> BTreeSet<&'e str> {
    let known = &estate.organisation.servers;
    if known.is_empty() || is_unread(estate, evidence) {
        return BTreeSet::new();
    }
    peers(estate).into_iter().filter(|host| !known.contains_key(*host)).collect()
}

fn is_unread(estate: &Estate, evidence: &Evidence) -> bool {
    let search = estate.informants.first().map(searches::servers);
    search.is_none_or(|search| found(&search, Holding::Domain, estate, evidence).complete().is_none())
}

/// The finding about the estate where the directory did not tell which servers there are.
pub fn servers_unread(meta: &'static Meta, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    // Where nobody can be asked, it does not matter for what.
    let search = estate.informants.first().map_or_else(search_of_mail, searches::servers);
    unread(meta, &[(search, Holding::Domain)], estate, evidence)
}

/// One finding for each that was not told, or one for all where none was.
pub fn untold(meta: &'static Meta, questions: &[Question], estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let of = |search: &DirectorySearch| unread(meta, &[(search.clone(), Holding::Catalog)], estate, evidence);
    let mut untold: Vec<_> =
        questions.iter().filter_map(|(subject, search)| Some((subject.clone(), of(search)?))).collect();
    if untold.len() == questions.len() && untold.len() > 1 {
        let (_, first) = untold.swap_remove(0);
        return [questions.iter().fold(first, |finding, (subject, _)| finding.speaks_for(subject.clone()))].into();
    }
    untold.into_iter().map(|(subject, finding)| Finding { subject, ..finding }).collect()
}

/// A Skip for each server that has neither SPNs nor an account that mail between servers hangs on.
pub fn bystanders(meta: &'static Meta, estate: &Estate) -> Vec<Finding> {
    let peers = peers(estate);
    let of_plan = estate.servers.iter().filter(|(host, _)| !peers.contains(host.as_str()));
    let reasons = of_plan.map(|(host, server)| {
        let reason = match (server.state, server.role) {
            (ServerState::Maintenance, _) => "in maintenance, as you stated",
            (ServerState::Retired, _) => "retired, as you stated",
            (_, ServerRole::Edge) => "an Edge server is in no domain, so it has no account and no SPN",
            (_, ServerRole::Gateway) => "no Exchange server of the domain",
            (_, ServerRole::Mailbox) => "its name can be no host's",
        };
        (host, reason)
    });
    let organisation = &estate.organisation;
    let others = organisation.servers.iter().filter(|(host, _)| !estate.servers.contains_key(*host));
    let others = others.map(|(host, server)| {
        let is_prepared = server.is_only_provisioned();
        (host, if is_prepared { "only prepared in the directory, and not installed" } else { "it carries no mail" })
    });
    let skip = |(host, reason): (&String, &str)| Finding::new(meta, Subject::Host(host.clone()), Verdict::Skip, reason);
    reasons.chain(others).map(skip).collect()
}

/// The accounts that were found, by what they hold.
pub struct Principals<'a> {
    estate: &'a Estate,
    evidence: &'a Evidence,
    accounts: &'a Accounts,
    holders: BTreeMap<String, Vec<&'a Account>>,
}

impl<'a> Principals<'a> {
    /// Puts them in order.
    pub fn new(estate: &'a Estate, evidence: &'a Evidence, accounts: &'a Accounts) -> Self {
        let mut holders: BTreeMap<String, Vec<&'a Account>> = BTreeMap::new();
        for account in accounts.all() {
            // Two spellings on one account are one.
            let keys: BTreeSet<_> = account.spns.iter().map(|spn| spn::key(spn)).collect();
            for key in keys {
                holders.entry(key).or_default().push(account);
            }
        }
        Self { estate, evidence, accounts, holders }
    }

    /// The peers of which all was told.
    pub fn peers(&self) -> impl Iterator<Item = &'a str> {
        let (estate, evidence) = (self.estate, self.evidence);
        let strangers = strangers(estate, evidence);
        let known = peers(estate).into_iter().filter(move |host| !strangers.contains(host));
        known.filter(move |host| accounts::is_told(&search_of_host(host), estate, evidence))
    }

    /// Everyone.
    pub fn all(&self) -> impl Iterator<Item = &'a Account> {
        self.accounts.all()
    }

    /// Who holds this SPN, letter case aside.
    pub fn holders(&self, spn: &Spn) -> &[&'a Account] {
        self.holders.get(&spn.key()).map_or(&[], Vec::as_slice)
    }

    /// Each SPN that more than one account holds, lower case.
    pub fn shared(&self) -> impl Iterator<Item = (&str, &[&'a Account])> {
        let all = self.holders.iter().map(|(key, holders)| (key.as_str(), holders.as_slice()));
        all.filter(|(_, holders)| holders.len() > 1)
    }

    /// The computer account of a host. Of several that claim to be it, one that is in use.
    pub fn own(&self, host: &str) -> Option<&'a Account> {
        let in_use = self.claimants(host).find(|account| account.host.is_some() && account.is_disabled != Some(true));
        in_use.or_else(|| self.accounts.of_host(host))
    }

    /// Computer accounts that say of themselves that they are this host's, or are called like it and say nothing, without what is
    /// left of a conflict.
    pub fn claimants(&self, host: &str) -> impl Iterator<Item = &'a Account> {
        self.all().filter(move |account| account.is_computer && !account.is_conflict() && account.claims(host))
    }

    /// Those of them that may be in use, where they are several: which of them the server logs on with, only the server knows, so
    /// that nothing may be taken from any.
    pub fn rivals(&self, host: &str) -> Vec<&'a Account> {
        let rivals: Vec<_> = self.claimants(host).filter(|account| account.is_disabled != Some(true)).collect();
        if rivals.len() > 1 { rivals } else { Vec::new() }
    }

    /// How to see which of several is the server's.
    pub fn tell_apart(&self, finding: Finding, host: &str, rivals: &[&Account]) -> Finding {
        let domains: BTreeSet<_> = rivals.iter().filter_map(|rival| rival.domain()).collect();
        let named = rivals.iter().map(|rival| format!("    {}", self.describe(rival)));
        let queries = domains.iter().filter(|domain| is_host_name(domain));
        let queries = queries.map(|domain| format!("    nltest /server:{host} /sc_query:{domain}"));
        let start = finding.remedy(format!("Change neither before you have seen which of the two {host} uses:"));
        named.chain(queries).fold(start, Finding::remedy)
    }

    /// Is this a server's account, by its own word?
    pub fn is_of_server(&self, account: &Account) -> bool {
        let mut hosts = self.estate.servers.keys().chain(self.estate.organisation.servers.keys());
        account.is_computer && hosts.any(|host| account.claims(host))
    }

    /// May it be an alternate service account? Such a one is made as a computer that is none, so that it has no `dNSHostName`.
    pub fn is_like_shared(&self, account: &Account) -> bool {
        account.is_computer && account.host.is_none() && !account.is_conflict() && !self.is_of_server(account)
    }

    /// Of those who hold a name of web clients, the one that they most likely are to ask: the only one made like an alternate service
    /// account.
    pub fn likely_shared<'h>(&self, holders: &[&'h Account]) -> Option<&'h Account> {
        let mut alike = holders.iter().filter(|holder| self.is_like_shared(holder));
        let first = alike.next().copied();
        if alike.next().is_some() { None } else { first }
    }

    /// `svc-relay (CN=svc-relay,CN=Users,DC=contoso,DC=com; objectGUID ...)`
    pub fn describe(&self, account: &Account) -> String {
        const LONGEST: usize = 300;
        let dn: String = account.dn.chars().take(LONGEST).collect();
        let state = if account.is_disabled == Some(true) { ", disabled" } else { "" };
        format!("{} ({dn}; objectGUID {}{state})", account.name, account.guid)
    }

    /// The same of several.
    pub fn describe_all(&self, accounts: &[&Account]) -> String {
        const SHOWN: usize = 5;
        let shown: Vec<_> = accounts.iter().take(SHOWN).map(|account| self.describe(account)).collect();
        let more = accounts.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", shown.join(" and "))
    }

    /// An account as `Get-ADObject` and its like take it: by what no shell mistakes, and of which there is one.
    pub fn identity(&self, account: &Account) -> String {
        let server = account.domain().filter(|domain| is_host_name(domain));
        let server = server.map(|domain| format!(" -Server {domain}")).unwrap_or_default();
        format!("{}{server}", account.guid)
    }

    /// An SPN as a command takes it.
    pub fn word<'s>(&self, spn: &'s str) -> &'s str {
        in_command(spn)
    }

    /// The command that takes an SPN from an account.
    pub fn take(&self, spn: &str, account: &Account) -> String {
        let spn = in_command(spn);
        self.called(account).map_or_else(
            || format!("    Set-ADObject {} -Remove @{{servicePrincipalName='{spn}'}}", self.identity(account)),
            |(kind, name)| format!("    setspn {kind} -D {spn} {name}"),
        )
    }

    /// The command that gives it to the account, and as a rule refuses where another one holds it.
    pub fn give(&self, spn: &str, account: &Account) -> String {
        let spn = in_command(spn);
        self.called(account).map_or_else(
            || format!("    Set-ADObject {} -Add @{{servicePrincipalName='{spn}'}}", self.identity(account)),
            |(kind, name)| format!("    setspn {kind} -S {spn} {name}"),
        )
    }

    /// The command that shows what an account holds.
    pub fn show(&self, account: &Account) -> String {
        self.called(account).map_or_else(
            || format!("    Get-ADObject {} -Properties servicePrincipalName", self.identity(account)),
            |(kind, name)| format!("    setspn {kind} -L {name}"),
        )
    }

    /// Takes an SPN from all but the right one, which is to have it; where nobody knows which that is, from none.
    pub fn leave_to(&self, finding: Finding, right: Option<&Account>, spn: &str, holders: &[&Account]) -> Finding {
        let Some(right) = right else {
            return finding
                .remedy("Only one of them may have it. Find out which, and take it from the others:")
                .remedy(format!("    setspn -D {} <WRONG ACCOUNT>", in_command(spn)));
        };
        let (has_it, wrong): (Vec<_>, Vec<_>) = holders.iter().partition(|holder| holder.guid == right.guid);
        let start = finding.remedy(format!("Take it from {}, never from {}:", self.describe_all(&wrong), right.name));
        let finding = wrong.iter().fold(start, |finding, holder| finding.remedy(self.take(spn, holder)));
        if has_it.is_empty() {
            finding.remedy(self.give(spn, right))
        } else {
            finding.remedy("Then see that the right one still has it:").remedy(self.show(right))
        }
    }

    /// An account as `setspn` takes it. A bare name would be the computer's where a user has the same, and one of the domain of
    /// whoever types it. `None` where the domain's own name is not known, or a shell could take it for something else.
    fn called(&self, account: &Account) -> Option<(&'static str, String)> {
        let (kind, name) = match account.name.strip_suffix('$') {
            Some(name) if account.is_computer => ("-C", name),
            None if !account.is_computer => ("-U", account.name.as_str()),
            _ => return None,
        };
        let netbios = self.estate.organisation.domains.get(&account.domain()?)?;
        (is_word(name) && is_word(netbios)).then(|| (kind, format!("{netbios}\\{name}")))
    }
}

/// Whoever has a ticket for the wrong account keeps it for hours.
pub fn purge(finding: Finding) -> Finding {
    finding
        .remedy("Servers keep their tickets for hours; on each that asks for it, unless you can wait:")
        .remedy("    klist -li 0x3e7 purge")
}

/// Letters, digits, hyphens, underscores and dots: what no shell takes for anything but a word. No hyphen in front, either: that
/// would be a switch.
pub fn is_word(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain)
}

/// An SPN of classes and hosts as they should be is a word in a command; others are left to whoever reads them.
fn in_command(spn: &str) -> &str {
    let is_harmless = spn.split_once('/').is_some_and(|(class, host)| is_word(class) && is_host_name(host));
    if is_harmless { spn } else { "<SPN>" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_hold_nothing_but_words() {
        assert!(is_word("svc-relay.2"));
        for name in ["", "-D", "a b", "a;b", "$DUPLICATE-1", "a\u{ff11}", "a\\b"] {
            assert!(!is_word(name), "{name}");
        }
        assert_eq!(in_command("SMTPSVC/ex01.contoso.com"), "SMTPSVC/ex01.contoso.com");
        assert_eq!(in_command("SMTPSVC/ex01;calc"), "<SPN>");
        assert_eq!(in_command("RELAY"), "<SPN>");
    }

    proptest! {
        #[test]
        fn what_is_printed_into_commands_is_plain(spn in ".{0,30}") {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./<>".contains(letter);
            prop_assert!(in_command(&spn).chars().all(plain));
        }
    }
}
