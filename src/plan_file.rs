//! What an administrator states: the plan file, and how it becomes a Plan together with flags and environment.

use exchange_preflight_checks::{
    CHECKS,
    facts::{
        dns::{canonical_name, is_host_name},
        trust::{FOREST, MOZILLA, SYSTEM},
    },
    model::inputs::{HybridPlan, Inputs},
    model::plan::{
        ClockLimits, Logon, LogonWay, Plan, PlannedServer, Selection, ServerRole, ServerState, SpnScope, StatedStore,
    },
};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Range,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What was stated so far, in one place or another; nothing of it has to be.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the user by itself")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The Active Directory domain.
    pub domain: Option<String>,
    /// The name server.
    pub resolver: Option<SocketAddr>,
    /// Servers that carry mail.
    pub servers: Vec<PlannedServer>,
    /// Trust stores. The path of a file is as it was stated: from the folder of the plan.
    pub stores: Vec<StatedStore>,
    /// See [`Plan::outlive`].
    pub outlive: Option<SignedDuration>,
    /// See [`Plan::forbid_old_tls`].
    pub forbid_old_tls: bool,
    /// The clock's limits.
    pub clock: ClockLimits,
    /// See [`Plan::logon`].
    pub logon: Option<Logon>,
    /// See [`Plan::spn_scan`].
    pub spn_scan: SpnScope,
    /// See [`Plan::prove_login`]. No plan file states it: it is said each time.
    pub prove_login: bool,
    /// See [`Plan::exchange_vantage`].
    pub exchange_vantage: bool,
    /// See [`Plan::deep`].
    pub deep: bool,
    /// Which checks.
    pub selection: Selection,
    /// See [`Plan::hybrid`].
    pub hybrid: HybridPlan,
    /// Files of exports and logs. The path of each is as it was stated: from the folder of the plan.
    pub input_files: Vec<String>,
    /// What they hold, once they are read.
    pub inputs: Inputs,
}

impl Draft {
    /// The plan, once the domain is known.
    pub fn into_plan(self, domain: String) -> Plan {
        let Self {
            domain: _,
            resolver,
            servers,
            stores,
            outlive,
            forbid_old_tls,
            clock,
            logon,
            spn_scan,
            prove_login,
            exchange_vantage,
            deep,
            selection,
            hybrid,
            input_files: _,
            inputs,
        } = self;
        Plan {
            domain,
            resolver,
            servers,
            clock,
            stores,
            outlive,
            forbid_old_tls,
            logon,
            spn_scan,
            prove_login,
            exchange_vantage,
            deep,
            selection,
            hybrid,
            inputs,
        }
    }
}

/// A mistake in a plan file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

/// Reads a plan file. All mistakes are told at once, in their order.
pub fn parse(text: &str) -> Result<Draft, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, mistakes: Vec::new() };
    for error in errors {
        reader.mistake(error.span().unwrap_or_default(), error.message().to_string());
    }
    let draft = reader.plan(document.get_ref());
    let mut mistakes = reader.mistakes;
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    if mistakes.is_empty() { Ok(draft) } else { Err(mistakes) }
}

/// A host's or domain's name as plans and flags take it: a DNS name, in letters, digits, hyphens and underscores.
pub fn host_name(text: &str) -> Result<String, String> {
    let name = canonical_name(text);
    if let Some((host, _)) =
        name.split_once(':').filter(|(host, port)| is_host_name(host) && port.parse::<u16>().is_ok())
    {
        return Err(format!("{text:?} has a port; write {host} alone, its ports are known"));
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} is an address; a name is needed, because certificates and SPNs hold names"));
    }
    if !is_host_name(&name) {
        return Err(format!("{text:?} is no DNS name; an international name is written in its xn-- form"));
    }
    Ok(name)
}

/// A name server: an address, with a port if it is not 53.
pub fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    address
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is no address; write 10.0.0.10, 10.0.0.10:5353 or [fd00::10]:53"))
}

/// The id of a check, or the name of an area.
pub fn check_or_area(text: &str) -> Result<String, String> {
    let known = CHECKS.iter().map(|check| check.meta()).any(|meta| meta.id == text || meta.area == text);
    if known {
        Ok(text.to_string())
    } else {
        Err(format!("{text:?} is neither a check nor an area; `list` names them"))
    }
}

/// A span of life such as `14d`, `36h` or `2w`; a day has 24 hours.
pub fn life(text: &str) -> Result<SignedDuration, String> {
    let span: Option<Span> = text.parse().ok();
    let parsed = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let parsed = parsed.filter(SignedDuration::is_positive);
    parsed.ok_or_else(|| format!("{text:?} is no span of life; write 14d, 36h or 2w"))
}

/// What a trust store may be called: it stands in reports and recordings.
pub fn store_name(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if text.is_empty() || !is_plain {
        return Err(format!("{text:?} is no name for a store; use letters, digits, dots, hyphens and underscores"));
    }
    if [FOREST, MOZILLA, SYSTEM].contains(&text) {
        return Err(format!("{text:?} is the name of a store that is always asked; choose another"));
    }
    Ok(text.to_string())
}

/// A user of the directory. What it is called there is the directory's matter; what cannot be typed is none.
pub fn user(text: &str) -> Result<String, String> {
    let is_plain =
        !text.trim().is_empty() && text.chars().count() <= LONGEST_USER && !text.chars().any(char::is_control);
    if !is_plain || text.starts_with('\\') || text.ends_with(['\\', '@']) {
        return Err(format!("{text:?} is no user; write reader@contoso.com or CONTOSO\\reader"));
    }
    Ok(text.to_string())
}

/// A UPN has 64 characters before the `@` and a domain behind it.
const LONGEST_USER: usize = 320;

/// The ways of logging on, by their words.
const WAYS: [(&str, LogonWay); 4] = [
    (LogonWay::Kerberos.word(), LogonWay::Kerberos),
    (LogonWay::Ldaps.word(), LogonWay::Ldaps),
    (LogonWay::Starttls.word(), LogonWay::Starttls),
    (LogonWay::Ticket.word(), LogonWay::Ticket),
];

/// A way of logging on.
pub fn logon_way(text: &str) -> Result<LogonWay, String> {
    let way = WAYS.iter().find(|(word, _)| *word == text).map(|(_, way)| *way);
    way.ok_or_else(|| format!("{text:?} is none of {}", WAYS.map(|(word, _)| word).join(", ")))
}

/// How many SPNs are looked at.
pub fn spn_scope(text: &str) -> Result<SpnScope, String> {
    match text {
        "targeted" => Ok(SpnScope::Targeted),
        "forest" => Ok(SpnScope::Forest),
        _ => Err(format!("{text:?} is none of targeted, forest")),
    }
}

/// An address, as peers see it.
fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no address; write 203.0.113.7"))
}

/// A file that is read later, perhaps with its server: `EX01=SEND20261122-1.LOG`.
fn input_file(text: &str) -> Result<String, String> {
    let file = text.split_once('=').map_or(text, |(_, file)| file);
    if file.trim().is_empty() { Err(format!("{text:?} names no file")) } else { Ok(text.to_string()) }
}

/// A duration such as `5m`, `90s` or `1h 30m`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed = text.parse::<SignedDuration>().ok().filter(SignedDuration::is_positive);
    parsed.ok_or_else(|| format!("{text:?} is no duration; write 5m, 90s or 1h 30m"))
}

/// The keys of a plan.
const KEYS: &str = "domain, resolver, logon, spn-scan, server, store, outlive, clock, exchange-vantage, deep, forbid-old-tls, only, \
                    skip, inputs, hybrid";

/// A month of logs of eight servers.
pub const MOST_FILES: usize = 256;

/// An organisation has not more domains than this that one states, nor addresses.
const MOST_SENDERS: usize = 256;

/// So many names of one server are asked for; more would be more connections than a server is to bear.
const MOST_NAMES: usize = 4;

/// Walks the document and gathers mistakes instead of stopping at the first.
struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn plan(&mut self, document: &DeTable<'_>) -> Draft {
        let mut draft = Draft::default();
        for (key, value) in document {
            match key.get_ref().as_ref() {
                "domain" => draft.domain = self.parsed(value, "a DNS name", host_name),
                "resolver" => draft.resolver = self.parsed(value, "an address", resolver),
                "server" => draft.servers = self.tables(value, "[[server]]", Self::server, |server| &server.name),
                "store" => draft.stores = self.tables(value, "[[store]]", Self::store, |store| &store.name),
                "outlive" => draft.outlive = self.parsed(value, "a span of life such as \"14d\"", life),
                "forbid-old-tls" => draft.forbid_old_tls = self.boolean(value),
                "clock" => draft.clock = self.clock(value),
                "logon" => draft.logon = Some(self.logon(value)),
                "spn-scan" => {
                    draft.spn_scan = self.parsed(value, "a scope", spn_scope).unwrap_or_default();
                }
                "exchange-vantage" => draft.exchange_vantage = self.boolean(value),
                "deep" => draft.deep = self.boolean(value),
                "only" => draft.selection.only = self.checks(value),
                "skip" => draft.selection.skip = self.checks(value),
                "inputs" => {
                    draft.input_files =
                        self.list(value, "files", "certificates.json", MOST_FILES, "a path", input_file);
                }
                "hybrid" => draft.hybrid = self.hybrid(value),
                other => {
                    self.unknown_key(key, other, KEYS);
                }
            }
        }
        draft
    }

    /// Tables of one kind, each with a name of its own.
    fn tables<T>(
        &mut self,
        value: &Value<'_>,
        head: &str,
        read: impl Fn(&mut Self, &Value<'_>) -> Option<T>,
        name_of: impl Fn(&T) -> &str,
    ) -> Vec<T> {
        let DeValue::Array(items) = value.get_ref() else {
            self.mistake(value.span(), format!("write each as a table of its own, headed {head}"));
            return Vec::new();
        };
        let mut tables: Vec<T> = Vec::new();
        for item in items {
            let Some(table) = read(self, item) else { continue };
            if tables.iter().any(|other| name_of(other) == name_of(&table)) {
                self.mistake(item.span(), format!("{} is there twice", name_of(&table)));
            } else {
                tables.push(table);
            }
        }
        tables
    }

    fn server(&mut self, item: &Value<'_>) -> Option<PlannedServer> {
        let table = self.table(item)?;
        let (mut name, mut role, mut state) = (None, ServerRole::default(), ServerState::default());
        let (mut outward, mut web, mut client_auth) = (Vec::new(), Vec::new(), false);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.parsed(value, "a DNS name", host_name)),
                "role" => {
                    let roles = [
                        ("mailbox", ServerRole::Mailbox),
                        ("edge", ServerRole::Edge),
                        ("gateway", ServerRole::Gateway),
                    ];
                    role = self.one_of(value, &roles);
                }
                "state" => {
                    let states = [
                        ("active", ServerState::Active),
                        ("maintenance", ServerState::Maintenance),
                        ("retired", ServerState::Retired),
                    ];
                    state = self.one_of(value, &states);
                }
                "outward" => outward = self.names(value),
                "web" => web = self.names(value),
                "client-auth" => client_auth = self.boolean(value),
                other => self.unknown_key(key, other, "name, role, state, outward, web, client-auth"),
            }
        }
        if name.is_none() {
            self.mistake(item.span(), "a server needs its name: name = \"ex01.contoso.com\"".into());
        }
        Some(PlannedServer { name: name??, role, state, outward, web, client_auth })
    }

    fn names(&mut self, value: &Value<'_>) -> Vec<String> {
        self.list(value, "names", "mail.contoso.com", MOST_NAMES, "a DNS name", host_name)
    }

    /// A list of texts of one kind, and not too many of them.
    fn list<T>(
        &mut self,
        value: &Value<'_>,
        of: &str,
        example: &str,
        most: usize,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let DeValue::Array(items) = value.get_ref() else {
            self.mistake(value.span(), format!("write a list of {of}: [{example:?}]"));
            return Vec::new();
        };
        if items.len() > most {
            self.mistake(value.span(), format!("{} {of} are too many; at most {most}", items.len()));
        }
        items.iter().filter_map(|item| self.parsed(item, what, &parse)).collect()
    }

    fn hybrid(&mut self, value: &Value<'_>) -> HybridPlan {
        let mut hybrid = HybridPlan::default();
        for (key, value) in self.table(value).into_iter().flatten() {
            match key.get_ref().as_ref() {
                "sender-domains" => {
                    hybrid.sender_domains =
                        self.list(value, "domains", "contoso.com", MOST_SENDERS, "a domain", host_name);
                }
                "egress" => {
                    hybrid.egress = self.list(value, "addresses", "203.0.113.7", MOST_SENDERS, "an address", address);
                }
                other => self.unknown_key(key, other, "sender-domains, egress"),
            }
        }
        hybrid
    }

    fn store(&mut self, item: &Value<'_>) -> Option<StatedStore> {
        let (mut name, mut file, mut public) = (None, None, false);
        for (key, value) in self.table(item)? {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.parsed(value, "a name", store_name)),
                "file" => file = Some(self.parsed(value, "a path", |text| Ok(text.to_string()))),
                "public" => public = self.boolean(value),
                other => self.unknown_key(key, other, "name, file, public"),
            }
        }
        if name.is_none() || file.is_none() {
            let what = "a store needs a name and a file: name = \"company\", file = \"company-root.pem\"";
            self.mistake(item.span(), what.into());
        }
        Some(StatedStore { name: name??, file: file??, public })
    }

    fn logon(&mut self, value: &Value<'_>) -> Logon {
        let mut logon = Logon { user: None, way: LogonWay::default() };
        for (key, value) in self.table(value).into_iter().flatten() {
            match key.get_ref().as_ref() {
                "user" => logon.user = self.parsed(value, "a user", user),
                "way" => logon.way = self.one_of(value, &WAYS),
                "password" => {
                    let what = "a plan holds no password; it is asked for, or given by --password-fd or in \
                                EXCHANGE_PREFLIGHT_PASSWORD";
                    self.mistake(key.span(), what.into());
                }
                other => self.unknown_key(key, other, "user, way"),
            }
        }
        logon
    }

    fn clock(&mut self, value: &Value<'_>) -> ClockLimits {
        let mut limits = ClockLimits::default();
        for (key, value) in self.table(value).into_iter().flatten() {
            match key.get_ref().as_ref() {
                "limit" => limits.limit = self.parsed(value, "a duration", duration).unwrap_or(limits.limit),
                "warn" => limits.warn = self.parsed(value, "a duration", duration).unwrap_or(limits.warn),
                other => self.unknown_key(key, other, "limit, warn"),
            }
        }
        if limits.warn > limits.limit {
            self.mistake(value.span(), "clock.warn is beyond clock.limit, so that it could never warn".into());
        }
        limits
    }

    fn checks(&mut self, value: &Value<'_>) -> BTreeSet<String> {
        let DeValue::Array(items) = value.get_ref() else {
            self.mistake(value.span(), "write a list: [\"clock\", \"kerberos-realm\"]".into());
            return BTreeSet::new();
        };
        items.iter().filter_map(|item| self.parsed(item, "a check or an area", check_or_area)).collect()
    }

    fn boolean(&mut self, value: &Value<'_>) -> bool {
        if let DeValue::Boolean(boolean) = value.get_ref() {
            return *boolean;
        }
        self.mistake(value.span(), "write true or false".into());
        false
    }

    fn one_of<T: Copy + Default>(&mut self, value: &Value<'_>, choices: &[(&str, T)]) -> T {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let pick = |text: &str| {
            let choice = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
            choice.ok_or_else(|| format!("{text:?} is none of {}", words.join(", ")))
        };
        self.parsed(value, &words.join(" or "), pick).unwrap_or_default()
    }

    fn parsed<T>(&mut self, value: &Value<'_>, what: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = match value.get_ref() {
            DeValue::String(text) => parse(text),
            _ => Err(format!("write {what}, in quotation marks")),
        };
        parsed.map_err(|wrong| self.mistake(value.span(), wrong)).ok()
    }

    fn table<'v, 'i>(&mut self, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.mistake(value.span(), "a table is needed here".into());
        None
    }

    fn unknown_key<T>(&mut self, key: &Spanned<T>, name: &str, known: &str) {
        self.mistake(key.span(), format!("there is no key {name:?} here; known are {known}"));
    }

    fn mistake(&mut self, span: Range<usize>, what: String) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        self.mistakes.push(Mistake { line, column, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "domain = \"10.0.0.1\"\ndomian = \"contoso.com\"\n\n[clock]\nlimit = \"soon\"\n\n[[server]]\nrole = \"hub\"\n";
        let mistakes = parse(text).unwrap_err();
        let places: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.column)).collect();
        assert_eq!(places, [(1, 10), (2, 1), (5, 9), (7, 1), (8, 8)]);
    }

    #[test]
    fn a_server_twice_and_a_warning_beyond_the_limit_are_mistakes() {
        let text = "[[server]]\nname = \"ex01.contoso.com\"\n[[server]]\nname = \"EX01.contoso.com.\"\n[clock]\nwarn = \"10m\"\n";
        assert_eq!(parse(text).unwrap_err().len(), 2);
    }

    #[test]
    fn a_plan_says_who_logs_on_and_never_with_what() {
        let text = "[logon]\nuser = \"CONTOSO\\\\reader\"\nway = \"ldaps\"\n";
        let logon = Logon { user: Some("CONTOSO\\reader".into()), way: LogonWay::Ldaps };
        assert_eq!(parse(text).map(|draft| draft.logon), Ok(Some(logon)));
        let mistakes = parse("[logon]\nuser = \"\\\\\"\nway = \"ntlm\"\npassword = \"secret\"\n").unwrap_err();
        let places: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.column)).collect();
        assert_eq!(places, [(2, 8), (3, 7), (4, 1)]);
        assert!(mistakes.iter().all(|mistake| !mistake.what.contains("secret")));
    }

    #[test]
    fn the_smallest_plan_is_empty() {
        assert_eq!(parse(""), Ok(Draft::default()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_plan_or_a_list_of_mistakes(text in "[a-z\\[\\]=\"{}.,#\\n 0-9é]{0,80}") {
            if let Err(mistakes) = parse(&text) {
                prop_assert!(!mistakes.is_empty());
                prop_assert!(mistakes.iter().all(|m| m.line <= text.matches('\n').count() + 1 && m.column >= 1));
            }
        }

        #[test]
        fn a_host_name_is_canonical_once_and_for_all(text in "[A-Za-z0-9._-]{1,70}") {
            if let Ok(name) = host_name(&text) {
                prop_assert_eq!(host_name(&name), Ok(name.clone()));
            }
        }
    }
}
