//! A renewal step by step, in the order that is safe, as text to be copied: this program runs none of it. ("Renew an Exchange
//! Server certificate" and "Cannot remove the installed certificate", Microsoft Learn; KB 2989382.)

mod again;

use crate::{
    rehearse::{Rehearsal, Replaced},
    renewal::{Code, Leaf, Renewal, is_name, pin_fits},
};
use exchange_preflight_checks::{
    facts::{
        certificate::Key,
        export::Services,
        smtp::Upgrade,
        web::{BACK_END_PORT, HTTPS_PORT},
    },
    model::{
        certificates::{Certificates, Shown},
        connectors::{identity, in_command},
        estate::Estate,
        finding::Subject,
        holder::bound_at_back_end,
        hybrid::is_pattern,
        listeners::{Service, server_name, servers_of_2010},
        organisation::ReceiveConnector,
        outgoing::{Outgoing, outgoing, spelt_in_command},
        plan::ServerRole,
        selection::may_be_named,
        stock::{Stock, Stocked, stocks},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
};

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do, and why.
    pub said: String,
    /// Commands, each on one line.
    pub commands: Vec<String>,
}

impl Step {
    fn new(said: impl Into<String>, commands: Vec<String>) -> Self {
        Self { said: said.into(), commands }
    }
}

/// All steps; none where each server has the new one already, and nothing would change.
pub fn steps(rehearsal: &Rehearsal, renewal: Option<&Renewal>, recording: &Path) -> Vec<Step> {
    let nothing = Renewal { pairs: Vec::new(), changes: Vec::new() };
    let renewal = renewal.unwrap_or(&nothing);
    let (plan, evidence) = (&rehearsal.before.plan, &rehearsal.before.evidence);
    let estate = Estate::learn(plan, evidence);
    let guide = Guide {
        rehearsal,
        renewal,
        of_2010: servers_of_2010(&estate, evidence),
        seen: Certificates::seen(&estate, evidence),
        stocks: stocks(&estate, evidence),
        outgoing: outgoing(&estate),
        on: rehearsal.supposition().on,
        estate,
    };
    let is_there = guide.on.iter().all(|host| guide.has(host, guide.thumbprint()));
    if renewal.changes.is_empty() && is_there {
        return Vec::new();
    }
    if guide.is_dead() {
        return guide.order_anew();
    }
    let before = recording.to_str().filter(|path| is_plain(path)).unwrap_or("<BEFORE.JSON>");
    let parts = [
        guide.order_anew(),
        guide.other_key(),
        guide.unknown_servers(),
        guide.import(),
        guide.intermediates(),
        guide.enable(),
        guide.back_end(),
        guide.mail_clients(),
        guide.at_other_sources(),
        guide.name_at_receivers(),
        guide.name_at_senders(),
        guide.replicate(),
        guide.give_up_internal(),
        guide.same_names(),
        guide.restart(),
        guide.edge(),
        guide.tenant(),
        vec![again::look_again(plan, before)],
        guide.remove(),
    ];
    parts.concat()
}

/// What a certificate is used for on a server.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each duty is there or not, whatever the others are")]
struct Duties {
    smtp: bool,
    iis: bool,
    pop: bool,
    imap: bool,
    back_end: bool,
}

struct Guide<'r> {
    rehearsal: &'r Rehearsal,
    renewal: &'r Renewal,
    estate: Estate,
    seen: Rc<Certificates>,
    stocks: Rc<BTreeMap<String, Stock>>,
    outgoing: Vec<Outgoing>,
    of_2010: BTreeSet<String>,
    /// The servers that are to have it.
    on: Vec<String>,
}

impl Guide<'_> {
    fn thumbprint(&self) -> &str {
        &self.rehearsal.new.thumbprint
    }

    /// Of a server that only files name nobody tells the role: what is typed on an Edge itself, each of them takes.
    fn role(&self, host: &str) -> ServerRole {
        self.estate.servers.get(host).map_or(ServerRole::Edge, |server| server.role)
    }

    fn has(&self, host: &str, thumbprint: &str) -> bool {
        self.stocks.get(host).is_some_and(|stock| stock.certificates.contains_key(thumbprint))
    }

    /// Does a server have the new one, once the steps before are done that give it to those that are to have it?
    fn will_have_it(&self, host: &str) -> bool {
        self.on.iter().any(|on| on == host) || self.has(host, self.thumbprint())
    }

    /// Send connectors whose name moves to the new one, or means both.
    fn moving(&self) -> Vec<&Outgoing> {
        [self.senders_as(Code::PinStale), self.senders_as(Code::SameNames)].concat()
    }

    /// Servers that send by such a connector and are not to have the new one: a connector's name holds for all of its sources.
    fn other_sources(&self) -> BTreeSet<&String> {
        let sources = self.moving().into_iter().flat_map(|connector| &connector.sources);
        sources.filter(|host| !self.will_have_it(host)).collect()
    }

    /// Servers of the organisation, which one shell reaches; an Edge is in no domain, and a gateway no Exchange.
    fn of_role(&self, role: ServerRole) -> impl Iterator<Item = &String> {
        self.on.iter().filter(move |host| self.role(host) == role)
    }

    fn is_told(&self, code: Code) -> bool {
        self.renewal.changes.iter().any(|change| change.code == code)
    }

    fn subjects(&self, code: Code) -> BTreeSet<&str> {
        self.renewal.changes.iter().filter(|change| change.code == code).map(|change| change.subject.as_str()).collect()
    }

    fn is_dead(&self) -> bool {
        self.rehearsal.new.not_after < self.seen.now
    }

    /// Is it there already, with its key?
    fn is_imported(&self, host: &str) -> bool {
        let stocked = self.stocks.get(host).and_then(|stock| stock.certificates.get(self.thumbprint()));
        stocked.is_some_and(|one| one.has_key != Some(false))
    }

    /// A certificate that lost what it should bear is not mended by installing it.
    fn order_anew(&self) -> Vec<Step> {
        let losses = [(Code::NamesLost, "it lost names"), (Code::NotPublic, "peers outside do not trust it any more")];
        let mut lost: Vec<_> = losses.iter().filter(|(code, _)| self.is_told(*code)).map(|(_, what)| *what).collect();
        // That it may not be a client's is as authorities have it by now, and breaks nothing that is known.
        let may_serve = self.rehearsal.new.extended_usage.is_none_or(|usage| usage.server);
        lost.extend((!may_serve).then_some("it may not be a server's (serverAuth)"));
        lost.extend(self.is_dead().then_some("it has expired"));
        let cannot_be_named = self.is_nameless() && self.is_told(Code::PinStale);
        lost.extend(cannot_be_named.then_some(
            "connectors name the former one, and cannot name this one, which has no common name that is a domain",
        ));
        if lost.is_empty() {
            return Vec::new();
        }
        let olds = self.rehearsal.replaced.iter().flat_map(|old| old.leaf.all_names().collect::<Vec<_>>());
        let all: BTreeSet<String> = olds.chain(Leaf::from(&self.rehearsal.new).all_names()).collect();
        let names: Vec<String> = all.into_iter().filter(|name| is_name(name)).collect();
        let common = self.rehearsal.new.subject.common_name.as_deref().filter(|name| is_name(name));
        let common = common.or(names.first().map(String::as_str)).unwrap_or("<NAME>");
        let said = format!(
            "Do not install it: {}. Unless that is meant, have it issued anew, with all of these names:",
            lost.join(", ")
        );
        let request = format!(
            "New-ExchangeCertificate -GenerateRequest -PrivateKeyExportable $true -KeySize 2048 -SubjectName \"CN={common}\" -DomainName {}",
            names.join(",")
        );
        vec![Step::new(said, vec![request])]
    }

    /// No connector can name it.
    fn is_nameless(&self) -> bool {
        !may_be_named(Leaf::from(&self.rehearsal.new).subject.common_name())
    }

    /// Exchange takes keys of this kind late and only when told to. ("Exchange Server support for ECC certificates", Microsoft Learn.)
    fn other_key(&self) -> Vec<Step> {
        let is_rsa = |old: &Replaced| old.leaf.certificate.as_ref().is_none_or(|one| matches!(one.key, Key::Rsa(_)));
        let is_new_kind = matches!(self.rehearsal.new.key, Key::Ec(_)) && self.rehearsal.replaced.iter().all(is_rsa);
        let said = "It has an ECDSA key, and the former one has not. Exchange 2016 and 2019 take such certificates since the updates of \
                    April 2024, and only where support of ECC certificates was switched on; 2013 and 2010 never do. Unless that is so \
                    on every server, have one with an RSA key issued.";
        if is_new_kind { vec![Step::new(said, Vec::new())] } else { Vec::new() }
    }

    /// Servers that files alone tell of.
    fn unknown_servers(&self) -> Vec<Step> {
        let others = self.other_sources();
        let all = self.on.iter().chain(others);
        let unknown: BTreeSet<_> =
            all.filter(|host| !self.estate.servers.contains_key(*host)).map(|host| spelt_in_command(host)).collect();
        if unknown.is_empty() {
            return Vec::new();
        }
        let unknown: Vec<_> = unknown.into_iter().collect();
        let said = format!(
            "Neither the plan nor the directory knows {}. If that is a slip in the name of a file, mend it first. What is for it is typed on \
             itself; if it is no Edge server, restart MSExchangeFrontEndTransport there, too.",
            unknown.join(", ")
        );
        vec![Step::new(said, Vec::new())]
    }

    fn import(&self) -> Vec<Step> {
        let (mut steps, answered) = self.key_first();
        let is_missing = |host: &&String| !self.is_imported(host) && answered.as_ref() != Some(*host);
        let inside: Vec<_> =
            self.of_role(ServerRole::Mailbox).filter(is_missing).map(|host| self.imported(host)).collect();
        if !inside.is_empty() {
            let said = "Import it, with its key and what its authority sent along, on every server that shows it or sends by it:";
            steps.push(Step::new(said, inside));
        }
        for host in self.of_role(ServerRole::Edge).filter(is_missing) {
            steps.push(Step::new(format!("On {} itself:", spelt_in_command(host)), vec![self.imported(host)]));
        }
        for host in self.of_role(ServerRole::Gateway) {
            steps.push(Step::new(
                format!("{} is no Exchange server: install it there by its own means.", spelt_in_command(host)),
                Vec::new(),
            ));
        }
        steps
    }

    /// What an authority sends has no key: that stays on the server of the request, which others get it from. With the server that
    /// will have it by that. ("Complete a pending Exchange Server certificate request" and "Export a certificate", Microsoft Learn.)
    fn key_first(&self) -> (Vec<Step>, Option<String>) {
        let others = self.other_sources();
        let exchange = self.on.iter().filter(|host| self.role(host) != ServerRole::Gateway);
        let missing: Vec<&String> = exchange.chain(others).filter(|host| !self.is_imported(host)).collect();
        if self.rehearsal.has_key || missing.is_empty() {
            return (Vec::new(), None);
        }
        let export = |at: &str, itself: &str| {
            let file = "[System.IO.File]::WriteAllBytes('<NEW.PFX>', $pfx.FileData)";
            let pfx = format!("$pfx = Export-ExchangeCertificate{at} -Thumbprint {} -BinaryEncoded", self.thumbprint());
            format!("{pfx} -Password (Read-Host -AsSecureString); {file}{itself}")
        };
        if let Some(host) = self.stocks.keys().find(|host| self.is_imported(host)) {
            let said = format!(
                "The file that was given has no key. {} has it with its key; unless you have a PFX of it, take it from there:",
                spelt_in_command(host)
            );
            return (vec![Step::new(said, vec![export(&self.at(host), &self.itself(host))])], None);
        }
        let requested = self.requested_on();
        let (at, itself) = match &requested {
            Some(host) => (self.at(host), self.itself(host)),
            None => (" -Server <SERVER OF THE REQUEST>".to_string(), String::new()),
        };
        let complete =
            format!("Import-ExchangeCertificate{at} -FileData ([System.IO.File]::ReadAllBytes('<NEW.CER>')){itself}");
        let mut commands = vec![complete];
        if missing.iter().any(|host| Some(*host) != requested.as_ref()) {
            commands.push(export(&at, &itself));
        }
        let whose = match &requested {
            Some(host) => format!("{}, where a request for this name is pending", spelt_in_command(host)),
            None => "the server that made the request; it needs no other import".to_string(),
        };
        let said = format!(
            "The file that was given has no key: that is on {whose}. Complete the request there, and take the certificate with its \
             key from there for the others (leave this out where you have a PFX of it):"
        );
        (vec![Step::new(said, commands)], requested)
    }

    /// The one server that waits for a certificate of this name.
    fn requested_on(&self) -> Option<String> {
        let name = Leaf::from(&self.rehearsal.new).subject.common_name().map(str::to_lowercase)?;
        let is_this = |one: &Stocked| {
            one.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("PendingRequest"))
                && one.subject.common_name().map(str::to_lowercase).as_ref() == Some(&name)
        };
        let mut hosts = self.stocks.iter().filter(|(_, stock)| stock.certificates.values().any(is_this));
        let (host, _) = hosts.next()?;
        hosts.next().is_none().then(|| host.clone())
    }

    fn imported(&self, host: &str) -> String {
        let file = "-FileData ([System.IO.File]::ReadAllBytes('<NEW.PFX>')) -Password (Read-Host -AsSecureString)";
        format!("Import-ExchangeCertificate{} {file}", self.at(host))
    }

    fn enabled(&self, host: &str) -> String {
        let (at, itself) = (self.at(host), self.itself(host));
        format!(
            "Enable-ExchangeCertificate{at} -Thumbprint {} -Services {}{itself}",
            self.thumbprint(),
            self.services(host).join(",")
        )
    }

    /// Which server a cmdlet is for. An Edge is reached by none but its own shell.
    fn at(&self, host: &str) -> String {
        if self.role(host) == ServerRole::Edge { String::new() } else { format!(" -Server {}", in_shell(host)) }
    }

    fn itself(&self, host: &str) -> String {
        if self.role(host) == ServerRole::Edge {
            format!("    # on {} itself", spelt_in_command(host))
        } else {
            String::new()
        }
    }

    /// A connector's name holds for all servers that send by it: one that lacks the certificate shows none.
    fn at_other_sources(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let others = self.other_sources();
        if !others.is_empty() {
            let said = format!(
                "Before anything is named: {} by connectors that are to name the new one, and would show none without it (550 5.7.64). It has to be there first. Answer No to the question about the default SMTP certificate here, too:",
                sending(&others)
            );
            let commands = others.iter().flat_map(|host| {
                let import = format!("{}{}", self.imported(host), self.itself(host));
                [import, self.enabled(host)]
            });
            steps.push(Step::new(said, commands.collect()));
        }
        let unknown: Vec<_> = self.moving().into_iter().filter(|connector| connector.sources.is_empty()).collect();
        if !unknown.is_empty() {
            let said = "Find the servers that send by these connectors, which is not known here. Each of them, Edge servers too, has to \
                        have the new one before anything else is done to the connector:";
            let found = |connector: &&Outgoing| {
                format!("Get-SendConnector {} | Format-List SourceTransportServers", in_command(&connector.name))
            };
            steps.push(Step::new(said, unknown.iter().map(found).collect()));
        }
        steps
    }

    fn intermediates(&self) -> Vec<Step> {
        let hosts: BTreeSet<_> = self
            .subjects(Code::ChainShorter)
            .into_iter()
            .filter_map(|place| place.split(':').next())
            .map(spelt_in_command)
            .collect();
        if hosts.is_empty() {
            return Vec::new();
        }
        let hosts: Vec<_> = hosts.into_iter().collect();
        let said = format!(
            "Its intermediate has to be in the store of each server that shows it, or it is not sent; on {}:",
            hosts.join(", ")
        );
        let command = "Import-Certificate -FilePath <INTERMEDIATE.CER> -CertStoreLocation Cert:\\LocalMachine\\CA";
        vec![Step::new(said, vec![command.into()])]
    }

    fn enable(&self) -> Vec<Step> {
        let exchange: Vec<_> = self.on.iter().filter(|host| self.role(host) != ServerRole::Gateway).collect();
        if exchange.iter().all(|host| self.services(host).is_empty()) {
            return Vec::new();
        }
        let answer = if self.rehearsal.supposition().is_internal {
            ", unless that is meant: what was rehearsed here is Yes. Never -Force, which says Yes:"
        } else {
            "; never -Force, which says Yes:"
        };
        let others = if self.estate.plan.inputs.certificates.is_none() {
            ", and POP or IMAP where the former one has them (Get-ExchangeCertificate shows its Services)"
        } else {
            ""
        };
        let said = format!(
            "Give it its services{others}. Answer No when asked to overwrite the existing default SMTP certificate{answer}"
        );
        let enabled = exchange.iter().filter(|host| !self.services(host).is_empty()).map(|host| self.enabled(host));
        vec![Step::new(said, enabled.collect())]
    }

    /// What the former one is used for on a server. Unified Messaging and federation have commands of their own.
    fn duties(&self, host: &str) -> Duties {
        let olds: BTreeSet<&str> = self.rehearsal.replaced.iter().map(|old| old.leaf.thumbprint.as_str()).collect();
        let is_old =
            |shown: &&Shown| shown.listener.to.host == host && olds.contains(self.seen.leaf(shown).thumbprint.as_str());
        let mut duties = Duties::default();
        for shown in self.seen.shown.iter().filter(is_old) {
            let is_web = |port| shown.listener.service == Service::Web && shown.listener.to.port == port;
            duties.smtp |= shown.listener.service == Service::Smtp && shown.upgrade != Some(Upgrade::AnonymousTls);
            duties.iis |= is_web(HTTPS_PORT);
            duties.back_end |= is_web(BACK_END_PORT);
        }
        let stocked = self.stocks.get(host).into_iter().flat_map(|stock| stock.certificates.values());
        for services in stocked.filter(|one| olds.contains(one.thumbprint.as_str())).filter_map(|one| one.services) {
            let has = |name: &str| Services::NAMES.iter().any(|(bit, other)| *other == name && services.0 & bit != 0);
            duties.smtp |= services.smtp();
            duties.iis |= services.iis();
            duties.pop |= has("POP");
            duties.imap |= has("IMAP");
        }
        let sends = |connector: &&Outgoing| connector.sources.contains(host) && self.is_pinned(connector);
        duties.smtp |= self.outgoing.iter().any(|connector| sends(&connector));
        duties.smtp |= !duties.iis && !duties.back_end;
        duties
    }

    /// The services that are given to it.
    fn services(&self, host: &str) -> Vec<&'static str> {
        let Duties { smtp, iis, pop, imap, .. } = self.duties(host);
        let may_be_given = !self.is_wildcard();
        let all = [("SMTP", smtp), ("IIS", iis), ("POP", pop && may_be_given), ("IMAP", imap && may_be_given)];
        all.into_iter().filter(|(_, is_its)| *is_its).map(|(name, _)| name).collect()
    }

    fn is_wildcard(&self) -> bool {
        Leaf::from(&self.rehearsal.new).subject.common_name().is_some_and(|name| name.starts_with("*."))
    }

    /// POP and IMAP are given no wildcard; they look for one that bears the name that they are told. (Set-PopSettings, Microsoft Learn.)
    fn mail_clients(&self) -> Vec<Step> {
        let told = |host: &String| {
            let Duties { pop, imap, .. } = self.duties(host);
            let is_due = |is_its: bool| is_its && self.is_wildcard() && self.role(host) == ServerRole::Mailbox;
            let of =
                |what: &str| format!("Get-{what}Settings -Server {} | Format-List X509CertificateName", in_shell(host));
            [is_due(pop).then(|| of("Pop")), is_due(imap).then(|| of("Imap"))].into_iter().flatten().collect::<Vec<_>>()
        };
        let commands: Vec<String> = self.on.iter().flat_map(told).collect();
        if commands.is_empty() {
            return Vec::new();
        }
        let said = "POP and IMAP are given no certificate of a wildcard; they look for the one that bears their X509CertificateName. \
                    See that the new one bears it (Set-PopSettings, Set-ImapSettings):";
        vec![Step::new(said, commands)]
    }

    /// What Enable-ExchangeCertificate leaves alone.
    fn back_end(&self) -> Vec<Step> {
        let hosts: Vec<_> = self.on.iter().filter(|host| self.duties(host).back_end).collect();
        if hosts.is_empty() {
            return Vec::new();
        }
        let command = |host: &&String| {
            format!(
                "Invoke-Command {} {{ Import-Module WebAdministration; {} }}",
                spelt_in_command(host),
                bound_at_back_end(self.thumbprint())
            )
        };
        let said = "The site Exchange Back End (444) shows the former one, too, and Enable-ExchangeCertificate leaves that alone. Without \
                    a certificate there OWA, ECP and the Management Shell stay away:";
        vec![Step::new(said, hosts.iter().map(command).collect())]
    }

    fn is_pinned(&self, connector: &Outgoing) -> bool {
        let pin = connector.pin.value();
        pin.is_some_and(|pin| self.rehearsal.replaced.iter().any(|Replaced { leaf, .. }| pin_fits(pin, leaf)))
    }

    fn named_as(&self, code: Code) -> Vec<&ReceiveConnector> {
        let subjects = self.subjects(code);
        let all = self.estate.organisation.receive_connectors.iter();
        let subject = |one: &ReceiveConnector| Subject::Configured(one.server.clone(), one.name.clone()).to_string();
        all.filter(|connector| subjects.contains(subject(connector).as_str())).collect()
    }

    fn senders_as(&self, code: Code) -> Vec<&Outgoing> {
        let subjects = self.subjects(code);
        self.outgoing.iter().filter(|connector| subjects.contains(connector.subject().to_string().as_str())).collect()
    }

    /// `$c`, the new one, or nothing: not what it was before.
    fn fetched(&self, host: &str) -> String {
        format!("$c = $null; $c = Get-ExchangeCertificate{} -Thumbprint {}", self.at(host), self.thumbprint())
    }

    /// `$c`, for connectors of the organisation: from a server of it that has the new one, else from its file.
    fn fetched_inside(&self) -> String {
        let held = self.stocks.keys().filter(|host| self.has(host, self.thumbprint()));
        let mut hosts = self.on.iter().chain(held).filter(|host| self.role(host) == ServerRole::Mailbox);
        hosts.next().map_or_else(
            || {
                let file = "$c = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2 '<NEW.CER>'";
                file.to_string()
            },
            |host| self.fetched(host),
        )
    }

    fn name_at_receivers(&self) -> Vec<Step> {
        if self.is_nameless() {
            return Vec::new();
        }
        let mut stale = self.named_as(Code::PinStale);
        // One of a server that keeps the former one goes on naming it.
        stale.retain(|connector| connector.host.as_ref().is_some_and(|host| self.will_have_it(host)));
        if stale.is_empty() {
            return Vec::new();
        }
        let command = |connector: &&ReceiveConnector| {
            let host = connector.host.as_deref().unwrap_or_default();
            let set = format!("Set-ReceiveConnector {} -TlsCertificateName {PIN}", identity(connector));
            format!("{}; if ($c) {{ {set} }}{}", self.fetched(host), self.itself(host))
        };
        let said = "Name it where receive connectors name the former one; without that STARTTLS disappears when the former one goes:";
        vec![Step::new(said, stale.iter().map(command).collect())]
    }

    fn name_at_senders(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.is_nameless() {
            return steps;
        }
        let stale = self.senders_as(Code::PinStale);
        if !stale.is_empty() {
            let command = |connector: &&Outgoing| format!("{}; {}", self.fetched_inside(), naming(connector));
            let said = "Name it where send connectors name the former one:";
            steps.push(Step::new(said, stale.iter().map(command).collect()));
        }
        if self.subjects(Code::PinStale).contains("hybrid/TlsCertificateName") {
            let said = "Run the Hybrid Configuration Wizard again, and choose the new one on its page \"Transport Certificate\": the \
                        hybrid configuration names the former one. It sets the connectors of both sides; look at them afterwards:";
            steps.push(Step::new(said, vec!["Get-HybridConfiguration | Format-List TlsCertificateName".into()]));
        }
        steps
    }

    fn replicate(&self) -> Vec<Step> {
        if !self.is_told(Code::PinStale) || self.is_nameless() {
            return Vec::new();
        }
        let said =
            "Wait until the controllers have replicated. Where no link fails (replication-links), it can be hurried:";
        vec![Step::new(said, vec![SYNC.into()])]
    }

    /// Send connectors that name both alike, and whose sources are known. Without these nothing is to be stopped: who takes the
    /// name away while one of them runs has it send without a certificate.
    fn alike(&self) -> Vec<&Outgoing> {
        self.senders_as(Code::SameNames).into_iter().filter(|connector| !connector.sources.is_empty()).collect()
    }

    /// What goes in the midst of the order for two that bear the same names: from each source, unless it is known not to have it.
    fn removed_between(&self) -> BTreeSet<(&str, &str)> {
        let mut removed = BTreeSet::new();
        for connector in self.alike() {
            let named = |old: &&Replaced| connector.pin.value().is_some_and(|pin| pin_fits(pin, &old.leaf));
            for old in self.rehearsal.replaced.iter().filter(named) {
                let thumbprint = old.leaf.thumbprint.as_str();
                let is_gone = |host: &str| {
                    self.stocks.get(host).is_some_and(|stock| stock.is_whole) && !self.has(host, thumbprint)
                };
                let sources = connector.sources.iter().map(String::as_str).filter(|host| !is_gone(host));
                removed.extend(
                    sources.filter(|host| self.role(host) != ServerRole::Gateway).map(|host| (host, thumbprint)),
                );
            }
        }
        removed
    }

    fn removed_last(&self) -> BTreeSet<(&str, &str)> {
        let between = self.removed_between();
        let all = self.rehearsal.replaced.iter().flat_map(|Replaced { leaf, hosts, .. }| {
            hosts.iter().map(|host| (host.as_str(), leaf.thumbprint.as_str()))
        });
        let is_due = |one: &(&str, &str)| !between.contains(one) && self.role(one.0) != ServerRole::Gateway;
        all.filter(|(host, _)| self.on.iter().any(|on| on == host)).filter(is_due).collect()
    }

    /// A server cannot do without its internal transport certificate: another comes first.
    fn give_up_internal(&self) -> Vec<Step> {
        let hosts = self.without_internal();
        if hosts.is_empty() {
            return Vec::new();
        }
        let command =
            |host: &&str| format!("New-ExchangeCertificate{} -Services SMTP{}", self.at(host), self.itself(host));
        let said = "Here the former one is the internal transport certificate as well, and cannot be removed before another is. Have \
                    the server make one, and answer Yes, this once, when asked to overwrite the default SMTP certificate:";
        vec![Step::new(said, hosts.iter().map(command).collect())]
    }

    /// Servers whose internal transport certificate is among what is removed.
    fn without_internal(&self) -> BTreeSet<&str> {
        if self.rehearsal.supposition().is_internal {
            return BTreeSet::new();
        }
        let is_internal = |(host, thumbprint): &(&str, &str)| {
            let stocked = self.stocks.get(*host).and_then(|stock| stock.certificates.get(*thumbprint));
            let mut shown = self
                .seen
                .shown
                .iter()
                .filter(|shown| shown.listener.to.host == *host && shown.upgrade == Some(Upgrade::AnonymousTls));
            stocked.is_some_and(|one| one.is_internal)
                || shown.any(|shown| self.seen.leaf(shown).thumbprint == *thumbprint)
        };
        let removed = self.removed_between().into_iter().chain(self.removed_last());
        removed.filter(is_internal).map(|(host, _)| host).collect()
    }

    /// Of two that bear the same names, the right one is certain only when the other is gone.
    fn same_names(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let senders = self.alike();
        if !senders.is_empty() {
            let sources: BTreeSet<&str> =
                senders.iter().flat_map(|connector| &connector.sources).map(String::as_str).collect();
            let unset = senders
                .iter()
                .map(|one| format!("Set-SendConnector {} -TlsCertificateName $null", in_command(&one.name)));
            let removals = self.removed_between();
            let commands = [
                // Looked for first: nothing is stopped for a certificate that is not there.
                vec![self.fetched_inside(), "$c | Format-List Thumbprint,Subject,Issuer".into()],
                self.on_all(&sources, "Stop-Service MSExchangeTransport"),
                unset.collect(),
                self.synchronised(&sources),
                removals.iter().map(|(host, thumbprint)| self.removal(host, thumbprint)).collect(),
                senders.iter().map(|connector| naming(connector)).collect(),
                self.synchronised(&sources),
                self.on_all(&sources, "Start-Service MSExchangeTransport"),
            ];
            let said = "The new one has the issuer and the subject of the former one, and send connectors name both alike. In this \
                        order, in a quiet hour; go on only if the first two lines show the new one, and never take the name away \
                        while transport runs on any of these servers. Where the former one is the internal transport certificate, it \
                        is not removed before another is:";
            steps.push(Step::new(said, commands.concat()));
        }
        let receivers = self.named_as(Code::SameNames);
        if !receivers.is_empty() {
            let names: Vec<_> = receivers.iter().map(|connector| identity(connector)).collect();
            let said = format!(
                "{} name both alike, too: nothing is to be set, and which is shown is certain once the former one is removed and \
                 the services are restarted.",
                names.join(", ")
            );
            steps.push(Step::new(said, Vec::new()));
        }
        steps
    }

    fn restart(&self) -> Vec<Step> {
        let others = self.other_sources();
        let all: Vec<&String> = self.on.iter().chain(others).collect();
        let (edges, inside): (Vec<&String>, Vec<&String>) = all
            .into_iter()
            .filter(|host| self.role(host) != ServerRole::Gateway)
            .partition(|host| self.role(host) == ServerRole::Edge);
        let (old, newer): (Vec<&String>, Vec<&String>) =
            inside.into_iter().partition(|host| self.of_2010.contains(*host));
        let mut commands = Vec::new();
        for (hosts, note) in [(newer, ""), (old, "    # Exchange 2010 has no front end")] {
            let restart = |host: &&String| {
                let services = self.restarted(host).join(",");
                let host = spelt_in_command(host);
                (!services.is_empty()).then(|| format!("Invoke-Command {host} {{ Restart-Service {services} }}{note}"))
            };
            commands.extend(hosts.iter().filter_map(restart));
        }
        let restart = |host: &&String| {
            let services = self.restarted(host).join(",");
            (!services.is_empty()).then(|| format!("Restart-Service {services}{}", self.itself(host)))
        };
        commands.extend(edges.iter().filter_map(restart));
        if commands.is_empty() {
            return Vec::new();
        }
        let said = "Restart the services that show it, one server after another: they keep what they found until then.";
        vec![Step::new(said, commands)]
    }

    /// The services of Windows that show it on a server; the website takes it without.
    fn restarted(&self, host: &str) -> Vec<&'static str> {
        let has_front_end = self.role(host) == ServerRole::Mailbox && !self.of_2010.contains(host);
        let Duties { pop, imap, .. } = self.duties(host);
        let parts = [
            (!self.rehearsal.supposition().is_for_web_alone, ["MSExchangeTransport", "MSExchangeFrontEndTransport"]),
            (pop, ["MSExchangePOP3", "MSExchangePOP3BE"]),
            (imap, ["MSExchangeIMAP4", "MSExchangeIMAP4BE"]),
        ];
        let needed = parts.into_iter().filter(|(is_needed, _)| *is_needed);
        needed.flat_map(|(_, [first, second])| [Some(first), has_front_end.then_some(second)]).flatten().collect()
    }

    fn edge(&self) -> Vec<Step> {
        // Edge and organisation know each other by the certificates that servers made themselves.
        let changes_internal = !self.without_internal().is_empty();
        let is_concerned =
            |host: &&String| self.role(host) == ServerRole::Edge && (changes_internal || self.on.contains(*host));
        let edges: Vec<_> =
            self.estate.servers.keys().filter(is_concerned).map(|host| spelt_in_command(host)).collect();
        if edges.is_empty() {
            return Vec::new();
        }
        let said = format!(
            "See whether {} is still in step with the organisation. If its default certificate or that of a Mailbox server of its site changed, its subscription does not \
             hold any more (event 1036): make it anew, first on the Edge, then on a Mailbox server of its site:",
            edges.join(", ")
        );
        let commands = [
            "Test-EdgeSynchronization",
            "New-EdgeSubscription -FileName C:\\edge.xml    # on the Edge",
            "New-EdgeSubscription -FileData ([System.IO.File]::ReadAllBytes('C:\\edge.xml')) -Site \"<SITE>\"    # on a Mailbox server",
            "Start-EdgeSynchronization",
        ];
        vec![Step::new(said, commands.map(String::from).to_vec())]
    }

    fn tenant(&self) -> Vec<Step> {
        let mismatched = self.subjects(Code::TenantMismatch);
        if mismatched.is_empty() {
            return Vec::new();
        }
        let leaf = Leaf::from(&self.rehearsal.new);
        let name = leaf.all_names().find(|name| is_pattern(name)).unwrap_or_else(|| "<NAME>".into());
        let command = |subject: &&str| {
            let connector = subject.split_once('/').map_or(*subject, |(_, name)| name);
            format!("Set-InboundConnector {} -TlsSenderCertificateName {name}", in_command(connector))
        };
        let said = "Exchange Online looks for another name than the new one bears. Run the Hybrid Configuration Wizard again, or, in \
                    the shell of Exchange Online, name one that it bears and that is an accepted domain; it takes up to an hour:";
        vec![Step::new(said, mismatched.iter().map(command).collect())]
    }

    fn remove(&self) -> Vec<Step> {
        let commands: Vec<_> =
            self.removed_last().iter().map(|(host, thumbprint)| self.removal(host, thumbprint)).collect();
        if commands.is_empty() {
            return Vec::new();
        }
        let said = "Remove the former one last, when that comparison is clean and mail has flowed for a day. A certificate that \
                    connectors name, or that is the internal transport certificate, cannot be removed before:";
        vec![Step::new(said, commands)]
    }

    fn removal(&self, host: &str, thumbprint: &str) -> String {
        format!("Remove-ExchangeCertificate{} -Thumbprint {thumbprint}{}", self.at(host), self.itself(host))
    }

    /// An Edge learns of connectors from the subscription, and not from the directory.
    fn synchronised(&self, sources: &BTreeSet<&str>) -> Vec<String> {
        let has_edge = sources.iter().any(|host| self.role(host) == ServerRole::Edge);
        let edge = has_edge.then_some("Start-EdgeSynchronization");
        [SYNC].into_iter().chain(edge).map(String::from).collect()
    }

    /// A command of Windows on each of these. No session of the organisation reaches an Edge.
    fn on_all(&self, hosts: &BTreeSet<&str>, command: &str) -> Vec<String> {
        let (edges, inside): (Vec<&str>, Vec<&str>) =
            hosts.iter().partition(|host| self.role(host) == ServerRole::Edge);
        let mut commands = Vec::new();
        if !inside.is_empty() {
            let inside: Vec<_> = inside.into_iter().map(spelt_in_command).collect();
            commands.push(format!("Invoke-Command {} {{ {command} }}", inside.join(",")));
        }
        commands.extend(edges.into_iter().map(|host| format!("{command}{}", self.itself(host))));
        commands
    }
}

/// A certificate as a connector names it.
const PIN: &str = "\"<I>$($c.Issuer)<S>$($c.Subject)\"";
const SYNC: &str = "repadmin /syncall /AdeP";

/// A connector is never left naming nothing because `$c` is.
fn naming(connector: &Outgoing) -> String {
    format!("if ($c) {{ Set-SendConnector {} -TlsCertificateName {PIN} }}", in_command(&connector.name))
}

fn sending(hosts: &BTreeSet<&String>) -> String {
    let names: Vec<_> = hosts.iter().map(|host| spelt_in_command(host)).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "sends" } else { "send" })
}

/// The name that Exchange has for a server.
fn in_shell(host: &str) -> &str {
    server_name(spelt_in_command(host))
}

fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('-')
        && path.chars().all(|letter| letter.is_alphanumeric() || "-_./\\:".contains(letter))
}
