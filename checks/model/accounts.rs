//! Accounts that hold names of services: who they are, and the searches of a global catalog that find them.
//!
//! The searches are narrow on purpose, a server or a name at a time: a scan of all SPNs is what attackers do first, and products
//! that watch over identities notice it. Who wants it all the same has it taken once, by [`census`](super::census).

use crate::{
    facts::{
        account::{is_conflict, is_disabled},
        dns::is_host_name,
        search::{DirectoryEntries, DirectorySearch, Entry, SearchScope, domain_of_dn, filter, leaf},
        spn::{self, Spn, class},
    },
    model::{
        estate::Estate,
        evidence::Evidence,
        informants::{Found, Holding, found},
        plan::{ServerRole, ServerState},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

/// What every search of a global catalog asks for: all of it is in the partial attribute set.
const ATTRIBUTES: [&str; 9] = [
    "objectGUID",
    "objectClass",
    "sAMAccountName",
    "servicePrincipalName",
    "userPrincipalName",
    "userAccountControl",
    "dNSHostName",
    "memberOf",
    "cn",
];

/// Services whose SPNs Exchange registers for its computer (KB 979174, step 3; recorded accounts of 2016 and 2019).
pub const CUSTOMARY: [&str; 6] = [class::SMTPSVC, class::SMTP, "exchangeMDB", "exchangeRFR", "exchangeAB", class::HOST];

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its objectGUID, which stays the same whatever it is called.
    pub guid: String,
    /// Its distinguished name.
    pub dn: String,
    /// `EX01$`
    pub name: String,
    /// `servicePrincipalName`, as it is spelt.
    pub spns: Vec<String>,
    /// `userPrincipalName`.
    pub upn: Option<String>,
    /// `userAccountControl` says so; unknown where that is not shown.
    pub is_disabled: Option<bool>,
    /// `dNSHostName`, lower case.
    pub host: Option<String>,
    /// The groups of which it is a member; unknown where none is shown.
    pub groups: Vec<String>,
    /// It is a computer's.
    pub is_computer: bool,
}

impl Account {
    fn read(entry: &Entry) -> Option<Self> {
        let text = |attribute| entry.text(attribute).map(ToString::to_string);
        Some(Self {
            guid: entry.guid()?,
            dn: entry.dn.clone(),
            name: text("sAMAccountName").or_else(|| leaf(&entry.dn))?,
            spns: entry.texts("servicePrincipalName").map(ToString::to_string).collect(),
            upn: text("userPrincipalName"),
            is_disabled: entry.number("userAccountControl").map(is_disabled),
            host: text("dNSHostName").map(|host| host.to_lowercase()),
            groups: entry.texts("memberOf").map(ToString::to_string).collect(),
            is_computer: entry.is_a("computer"),
        })
    }

    /// Does it hold this SPN?
    pub fn holds(&self, spn: &Spn) -> bool {
        let key = spn.key();
        self.spns.iter().any(|held| spn::key(held) == key)
    }

    /// Does it say that it is this host's, or say nothing and is called like it?
    pub fn claims(&self, host: &str) -> bool {
        match &self.host {
            Some(own) => own == host,
            None => self.name.strip_suffix('$').is_some_and(|name| name.eq_ignore_ascii_case(netbios_name(host))),
        }
    }

    /// It is what was left when two controllers created one object.
    pub fn is_conflict(&self) -> bool {
        is_conflict(&self.dn)
    }

    /// Its domain, by its distinguished name.
    pub fn domain(&self) -> Option<String> {
        let at = self.dn.to_ascii_uppercase().find("DC=")?;
        domain_of_dn(self.dn.get(at..)?)
    }
}

/// All accounts that searches of a global catalog found, by objectGUID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<String, Account>);

impl Accounts {
    /// What the evidence shows. An account is the same whichever search found it.
    pub fn seen(estate: &Estate, evidence: &Evidence) -> Self {
        let mut accounts = BTreeMap::new();
        for (ask, search, answer) in evidence.all::<DirectorySearch>() {
            let is_of_catalog = estate.plan.logon.as_ref().is_some_and(|logon| ask.to.port == logon.way.catalog_port());
            let entries = answer.facts().filter(|_| is_of_catalog && search.scope == SearchScope::Subtree);
            for account in entries.into_iter().flat_map(|found| &found.entries).filter_map(Account::read) {
                accounts.entry(account.guid.clone()).or_insert(account);
            }
        }
        Self(accounts)
    }

    /// What one search found, whatever else is known.
    pub fn told(found: &DirectoryEntries) -> Self {
        let accounts = found.entries.iter().filter_map(Account::read);
        Self(accounts.map(|account| (account.guid.clone(), account)).collect())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Account> {
        self.0.values()
    }

    /// Who holds this SPN, letter case aside.
    pub fn holders(&self, spn: &Spn) -> Vec<&Account> {
        self.all().filter(|account| account.holds(spn)).collect()
    }

    /// The computer account of a host: the one that says so itself, else the one with its short name.
    pub fn of_host(&self, host: &str) -> Option<&Account> {
        let computers = || self.all().filter(|account| account.is_computer && !account.is_conflict());
        let by_host = computers().find(|account| account.host.as_deref() == Some(host));
        by_host.or_else(|| computers().find(|account| account.claims(host)))
    }
}

/// Members of the domain that hand mail to one another, and are meant to work: those whose SPNs and accounts must be right.
pub fn peers(estate: &Estate) -> BTreeSet<&str> {
    let peers = estate.servers.iter().filter(|(_, server)| {
        server.role == ServerRole::Mailbox && server.state == ServerState::Active && is_host_name(&server.name)
    });
    peers.map(|(host, _)| host.as_str()).collect()
}

/// The SPN that peers ask a ticket for before they hand mail to this host.
pub fn needed(host: &str) -> Spn {
    Spn::new(class::SMTPSVC, host)
}

/// The SPNs that Exchange registers for this host, the needed one among them.
pub fn customary(host: &str) -> Vec<Spn> {
    let names = [host, short_name(host)];
    let of_class = |class: &&'static str| -> Vec<Spn> { names.iter().map(|name| Spn::new(class, name)).collect() };
    CUSTOMARY.iter().flat_map(of_class).collect()
}

/// The SPN by which front ends and clients reach a web service of this name.
pub fn web(name: &str) -> Spn {
    Spn::new(class::HTTP, name)
}

/// `ex01.contoso.com` -> `ex01`
pub fn short_name(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

/// By this name a computer has its account (MS-SAMR section 3.1.1.6): the first 15 characters of `short_name`.
pub fn netbios_name(host: &str) -> &str {
    const LONGEST: usize = 15;
    let short = short_name(host);
    short.get(..LONGEST).unwrap_or(short)
}

/// Everything about one server: its computer account with its twins, whoever holds one of its SPNs, and whoever has one for a
/// user principal name. Not by `dNSHostName`, which no controller has an index of: one such term makes it walk all objects.
pub fn search_of_host(host: &str) -> DirectorySearch {
    let short = short_name(host);
    let mut parts: Vec<String> = Vec::new();
    let account = netbios_name(host).to_uppercase();
    parts.push(filter::equal("sAMAccountName", &format!("{account}$")));
    // What is left of two objects that became one is called by both (MS-DRSR section 4.1.10.6.9).
    parts.push(filter::begins("cn", &format!("{account}\nCNF:")));
    let spns = customary(host).into_iter().chain([web(host), web(short)]);
    parts.extend(spns.map(|spn| filter::equal("servicePrincipalName", &spn.to_string())));
    let shadows = [needed(host), Spn::new(class::SMTP, host), web(host)];
    parts.extend(shadows.into_iter().map(|spn| filter::begins("userPrincipalName", &spn.to_string())));
    DirectorySearch::below("", filter::any_of(parts), &ATTRIBUTES)
}

/// Everything about a name by which web clients reach servers.
pub fn search_of_name(name: &str) -> DirectorySearch {
    let spns = [web(name), Spn::new(class::HOST, name)];
    let mut parts: Vec<String> = Vec::new();
    parts.extend(spns.iter().map(|spn| filter::equal("servicePrincipalName", &spn.to_string())));
    parts.push(filter::begins("userPrincipalName", &web(name).to_string()));
    DirectorySearch::below("", filter::any_of(parts), &ATTRIBUTES)
}

/// Every SPN of SMTP: few accounts have one, and a twin that only looks like a server's is found in no other way.
pub fn search_of_mail() -> DirectorySearch {
    let parts = [class::SMTP, class::SMTPSVC].map(|class| filter::begins("servicePrincipalName", &format!("{class}/")));
    DirectorySearch::below("", filter::any_of(parts), &ATTRIBUTES)
}

/// Objects by their objectGUIDs.
pub fn search_of_objects(guids: &[[u8; 16]]) -> DirectorySearch {
    let parts = guids.iter().map(|guid| filter::equal_bytes("objectGUID", guid));
    DirectorySearch::below("", filter::any_of(parts), &ATTRIBUTES)
}

/// What no global catalog holds of an account: encryption types and the age of its password. Asked of its own domain.
pub fn search_of_keys(dn: &str) -> DirectorySearch {
    let attributes =
        ["objectGUID", "sAMAccountName", "msDS-SupportedEncryptionTypes", "pwdLastSet", "userAccountControl"];
    DirectorySearch::of(dn, &attributes)
}

/// The names by which web clients reach servers, as virtual directories and the plan have them; those of servers themselves are
/// not among them.
pub fn namespaces(estate: &Estate) -> BTreeSet<String> {
    let of_directory = estate.organisation.virtual_directories.iter().filter_map(|directory| {
        let host = directory.host.as_deref()?;
        estate.servers.get(host).filter(|server| server.state == ServerState::Active)?;
        host_of_url(directory.internal_url.value()?)
    });
    let stated =
        estate.servers.values().filter(|server| server.state == ServerState::Active).flat_map(|server| &server.web);
    let names = of_directory.chain(stated.map(|name| name.to_lowercase()));
    names
        .filter(|name| {
            is_host_name(name) && name.parse::<core::net::IpAddr>().is_err() && !estate.servers.contains_key(name)
        })
        .collect()
}

/// The active servers that hand this name out to web clients.
pub fn users_of_namespace<'e>(name: &str, estate: &'e Estate) -> BTreeSet<&'e str> {
    let directories = estate.organisation.virtual_directories.iter();
    let of_directory = directories.filter_map(|directory| {
        let is_it = host_of_url(directory.internal_url.value()?).as_deref() == Some(name);
        directory.host.as_deref().filter(|_| is_it)
    });
    let has_it = |web: &Vec<String>| web.iter().any(|stated| stated.eq_ignore_ascii_case(name));
    let stated = estate.servers.iter().filter(|(_, server)| has_it(&server.web)).map(|(host, _)| host.as_str());
    let is_active = |host: &&str| estate.servers.get(*host).is_some_and(|server| server.state == ServerState::Active);
    of_directory.chain(stated).filter(is_active).collect()
}

/// The host of a URL, lower case.
pub fn host_of_url(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host =
        if let Some(inner) = host.strip_prefix('[') { inner.split(']').next()? } else { host.split(':').next()? };
    (!host.is_empty()).then(|| host.trim_end_matches('.').to_lowercase())
}

/// What a search of a global catalog said, for whoever only wants to know whether all was told.
pub fn is_told(search: &DirectorySearch, estate: &Estate, evidence: &Evidence) -> bool {
    matches!(found(search, Holding::Catalog, estate, evidence), Found::Told(_, None, _))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(guid: &str, name: &str, host: Option<&str>, spns: &[&str]) -> (String, Account) {
        let account = Account {
            guid: guid.into(),
            dn: format!("CN={name},DC=contoso,DC=com"),
            name: format!("{name}$"),
            host: host.map(ToString::to_string),
            spns: spns.iter().map(ToString::to_string).collect(),
            is_computer: true,
            ..Account::default()
        };
        (guid.into(), account)
    }

    #[test]
    fn two_spellings_on_one_account_are_one_holder() {
        let spellings = ["SmtpSvc/ex01.contoso.com", "SMTPSVC/EX01.contoso.com"];
        let accounts = Accounts([account("1", "EX01", None, &spellings), account("2", "EX02", None, &[])].into());
        assert_eq!(accounts.holders(&needed("ex01.contoso.com")).len(), 1);
        assert_eq!(accounts.holders(&needed("ex02.contoso.com")).len(), 0);
    }

    #[test]
    fn the_account_that_names_its_host_comes_first() {
        let of_other_domain = account("1", "EX01", Some("ex01.fabrikam.com"), &[]);
        let accounts = Accounts([of_other_domain, account("2", "EX01", Some("ex01.contoso.com"), &[])].into());
        assert_eq!(accounts.of_host("ex01.contoso.com").map(|account| account.guid.as_str()), Some("2"));
        assert_eq!(
            accounts.of_host("ex01.example.com"),
            None,
            "another domain's server of this name is no other server"
        );
    }

    #[test]
    fn a_long_name_is_cut_in_an_account_and_nothing_without_an_index_is_asked_for() {
        let search = search_of_host("exchangeserver-berlin.contoso.com");
        assert!(search.filter.contains("(sAMAccountName=EXCHANGESERVER-$)"), "{}", search.filter);
        assert!(!search.filter.contains("dNSHostName"), "{}", search.filter);
        let accounts = Accounts([account("1", "EXCHANGESERVER-", None, &[])].into());
        assert!(accounts.of_host("exchangeserver-berlin.contoso.com").is_some());
    }

    #[test]
    fn the_domain_of_an_account_is_in_its_name() {
        assert_eq!(account("1", "EX01", None, &[]).1.domain().as_deref(), Some("contoso.com"));
    }

    #[test]
    fn hosts_are_read_from_urls() {
        let host = |url| host_of_url(url);
        assert_eq!(host("https://Mail.contoso.com/owa").as_deref(), Some("mail.contoso.com"));
        assert_eq!(host("https://10.0.0.1:444/owa").as_deref(), Some("10.0.0.1"));
        assert_eq!(host("https://[fd53::1]/owa").as_deref(), Some("fd53::1"));
        assert_eq!(host("https:///owa"), None);
    }
}
