//! A renewal step by step, in the order that is safe, as text to be copied: this program runs none of it. ("Renew an Exchange
//! Server certificate" and "Cannot remove the installed certificate", Microsoft Learn; KB 2989382.)

use crate::{
    rehearse::{Rehearsal, Replaced},
    renewal::{Class, Leaf, Renewal, pin_fits},
};
use exchange_preflight_checks::{
    facts::{
        dns::is_host_name,
        smtp::Upgrade,
        web::{BACK_END_PORT, HTTPS_PORT},
    },
    model::{
        certificates::Certificates,
        connectors::{identity, in_command},
        estate::Estate,
        finding::Subject,
        listeners::{Service, server_name, servers_of_2010},
        organisation::ReceiveConnector,
        outgoing::{Outgoing, outgoing},
        plan::{Plan, ServerRole},
        stock::{Stock, stocks},
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

/// All steps; none where each server has the new one already.
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
    let has_it =
        |host: &String| guide.stocks.get(host).is_some_and(|stock| stock.certificates.contains_key(guide.thumbprint()));
    if guide.on.iter().all(has_it) {
        return Vec::new();
    }
    let before = recording.to_str().filter(|path| is_plain(path)).unwrap_or("<BEFORE.JSON>");
    let parts = [
        guide.order_anew(),
        guide.import(),
        guide.intermediates(),
        guide.enable(),
        guide.name_at_receivers(),
        guide.name_at_senders(),
        guide.replicate(),
        guide.same_names(),
        guide.restart(),
        guide.edge(),
        guide.tenant(),
        vec![Step::new(
            "Look again, and hold it against this recording; what is told as unwanted above must not be there:",
            vec![
                format!("exchange-preflight run{} --record after.json", as_user(plan)),
                format!("exchange-preflight compare {before} after.json"),
            ],
        )],
        guide.remove(),
    ];
    parts.concat()
}

/// As whom the recording was made, so that the next one is made alike.
fn as_user(plan: &Plan) -> String {
    let user = plan.logon.as_ref().and_then(|logon| logon.user.as_deref());
    let is_name = |user: &&str| user.chars().all(|letter| letter.is_ascii_alphanumeric() || "@.-_".contains(letter));
    match (&plan.logon, user) {
        (None, _) => String::new(),
        (Some(_), None) => " --logon ticket".into(),
        (Some(_), Some(user)) => format!(" --user {}", Some(user).filter(is_name).unwrap_or("<USER>")),
    }
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

    fn role(&self, host: &str) -> ServerRole {
        self.estate.servers.get(host).map(|server| server.role).unwrap_or_default()
    }

    /// Servers of the organisation, which one shell reaches; an Edge is in no domain, and a gateway no Exchange.
    fn of_role(&self, role: ServerRole) -> impl Iterator<Item = &String> {
        self.on.iter().filter(move |host| self.role(host) == role)
    }

    fn is_told(&self, code: &str) -> bool {
        self.renewal.changes.iter().any(|change| change.code == code)
    }

    fn subjects(&self, code: &str) -> BTreeSet<&str> {
        self.renewal.changes.iter().filter(|change| change.code == code).map(|change| change.subject.as_str()).collect()
    }

    /// A certificate that lost what it should bear is not mended by installing it.
    fn order_anew(&self) -> Vec<Step> {
        let losses = [("names-lost", "names"), ("usage-lost", "a usage"), ("not-public", "the trust of peers outside")];
        let lost: Vec<_> = losses.iter().filter(|(code, _)| self.is_told(code)).map(|(_, what)| *what).collect();
        if lost.is_empty() {
            return Vec::new();
        }
        let olds = self.rehearsal.replaced.iter().flat_map(|old| old.leaf.all_names().collect::<Vec<_>>());
        let all: BTreeSet<String> = olds.chain(Leaf::from(&self.rehearsal.new).all_names()).collect();
        let names: Vec<String> = all.into_iter().filter(|name| is_name(name)).collect();
        let common = self.rehearsal.new.subject.common_name.as_deref().filter(|name| is_name(name));
        let common = common.or(names.first().map(String::as_str)).unwrap_or("<NAME>");
        let said = format!(
            "Do not install it yet: it lost {}. Unless that is meant, have it issued anew, with all of these names:",
            lost.join(", ")
        );
        let request = format!(
            "New-ExchangeCertificate -GenerateRequest -KeySize 2048 -SubjectName \"CN={common}\" -DomainName {}",
            names.join(",")
        );
        vec![Step::new(said, vec![request])]
    }

    fn import(&self) -> Vec<Step> {
        const FILE: &str =
            "-FileData ([System.IO.File]::ReadAllBytes('<NEW.PFX>')) -Password (Read-Host -AsSecureString)";
        let mut steps = Vec::new();
        let inside = self.of_role(ServerRole::Mailbox);
        let commands: Vec<_> =
            inside.map(|host| format!("Import-ExchangeCertificate -Server {} {FILE}", server_name(host))).collect();
        if !commands.is_empty() {
            let said = "Import it, with its key and what its authority sent along, on every server that shows it or sends by it:";
            steps.push(Step::new(said, commands));
        }
        for host in self.of_role(ServerRole::Edge) {
            steps.push(Step::new(format!("On {host} itself:"), vec![format!("Import-ExchangeCertificate {FILE}")]));
        }
        for host in self.of_role(ServerRole::Gateway) {
            steps.push(Step::new(
                format!("{host} is no Exchange server: install it there by its own means."),
                Vec::new(),
            ));
        }
        steps
    }

    fn intermediates(&self) -> Vec<Step> {
        let hosts: BTreeSet<_> =
            self.subjects("chain-shorter").into_iter().filter_map(|place| place.split(':').next()).collect();
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
        if exchange.is_empty() {
            return Vec::new();
        }
        let command = |host: &&String| {
            let at = if self.role(host) == ServerRole::Edge {
                String::new()
            } else {
                format!(" -Server {}", server_name(host))
            };
            let on_it =
                if self.role(host) == ServerRole::Edge { format!("    # on {host} itself") } else { String::new() };
            format!(
                "Enable-ExchangeCertificate{at} -Thumbprint {} -Services {}{on_it}",
                self.thumbprint(),
                self.services(host)
            )
        };
        let said = if self.rehearsal.supposition().is_internal {
            "Give it its services. Answer No when asked to overwrite the existing default SMTP certificate, unless that is meant: \
             what was rehearsed here is Yes. Never -Force, which says Yes:"
        } else {
            "Give it its services. Answer No when asked to overwrite the existing default SMTP certificate; never -Force, which says Yes:"
        };
        vec![Step::new(said, exchange.iter().map(command).collect())]
    }

    /// What the former one is used for on a server.
    fn services(&self, host: &str) -> &'static str {
        let olds: BTreeSet<&str> = self.rehearsal.replaced.iter().map(|old| old.leaf.thumbprint.as_str()).collect();
        let here =
            self.seen.shown.iter().filter(|shown| {
                shown.listener.to.host == host && olds.contains(self.seen.leaf(shown).thumbprint.as_str())
            });
        let (mut smtp, mut iis) = (false, false);
        for shown in here {
            smtp |= shown.listener.service == Service::Smtp && shown.upgrade != Some(Upgrade::AnonymousTls);
            iis |=
                shown.listener.service == Service::Web && [HTTPS_PORT, BACK_END_PORT].contains(&shown.listener.to.port);
        }
        let stocked = self.stocks.get(host).into_iter().flat_map(|stock| stock.certificates.values());
        for services in stocked.filter(|one| olds.contains(one.thumbprint.as_str())).filter_map(|one| one.services) {
            smtp |= services.smtp();
            iis |= services.iis();
        }
        let sends = |connector: &&Outgoing| connector.sources.contains(host) && self.is_pinned(connector);
        smtp |= self.outgoing.iter().any(|connector| sends(&connector));
        match (smtp, iis) {
            (true, true) => "SMTP,IIS",
            (false, true) => "IIS",
            _ => "SMTP",
        }
    }

    fn is_pinned(&self, connector: &Outgoing) -> bool {
        let pin = connector.pin.value();
        pin.is_some_and(|pin| self.rehearsal.replaced.iter().any(|Replaced { leaf, .. }| pin_fits(pin, leaf)))
    }

    fn named_as(&self, code: &str) -> Vec<&ReceiveConnector> {
        let subjects = self.subjects(code);
        let all = self.estate.organisation.receive_connectors.iter();
        let subject = |one: &ReceiveConnector| Subject::Configured(one.server.clone(), one.name.clone()).to_string();
        all.filter(|connector| subjects.contains(subject(connector).as_str())).collect()
    }

    fn senders_as(&self, code: &str) -> Vec<&Outgoing> {
        let subjects = self.subjects(code);
        self.outgoing.iter().filter(|connector| subjects.contains(connector.subject().to_string().as_str())).collect()
    }

    /// `$c`, from a server that has it.
    fn fetched(&self, host: Option<&str>) -> String {
        let at = host.map(|host| format!(" -Server {}", server_name(host))).unwrap_or_default();
        format!("$c = Get-ExchangeCertificate{at} -Thumbprint {}", self.thumbprint())
    }

    fn name_at_receivers(&self) -> Vec<Step> {
        let stale = self.named_as("pin-stale");
        if stale.is_empty() {
            return Vec::new();
        }
        let command = |connector: &&ReceiveConnector| {
            let set = format!("Set-ReceiveConnector {} -TlsCertificateName {PIN}", identity(connector));
            format!("{}; {set}", self.fetched(connector.host.as_deref()))
        };
        let said = "Name it where receive connectors name the former one; without that STARTTLS disappears when the former one goes:";
        vec![Step::new(said, stale.iter().map(command).collect())]
    }

    fn name_at_senders(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let stale = self.senders_as("pin-stale");
        if !stale.is_empty() {
            let command = |connector: &&Outgoing| {
                let source = connector.sources.iter().next().map(String::as_str);
                format!(
                    "{}; Set-SendConnector {} -TlsCertificateName {PIN}",
                    self.fetched(source),
                    in_command(&connector.name)
                )
            };
            let said = "Name it where send connectors name the former one:";
            steps.push(Step::new(said, stale.iter().map(command).collect()));
        }
        if self.subjects("pin-stale").contains("hybrid/TlsCertificateName") {
            let said = "Run the Hybrid Configuration Wizard again, and choose the new one on its page \"Transport Certificate\": the \
                        hybrid configuration names the former one. It sets the connectors of both sides; look at them afterwards:";
            steps.push(Step::new(said, vec!["Get-HybridConfiguration | Format-List TlsCertificateName".into()]));
        }
        steps
    }

    fn replicate(&self) -> Vec<Step> {
        if !self.is_told("pin-stale") {
            return Vec::new();
        }
        let said =
            "Wait until the controllers have replicated. Where no link fails (replication-links), it can be hurried:";
        vec![Step::new(said, vec!["repadmin /syncall /AdeP".into()])]
    }

    /// Of two that bear the same names, the right one is certain only when the other is gone.
    fn same_names(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let senders = self.senders_as("same-names");
        let sources: BTreeSet<&String> = senders.iter().flat_map(|connector| &connector.sources).collect();
        if !senders.is_empty() {
            let hosts = listed(sources.iter().copied());
            let names = |what: &str| -> Vec<String> {
                senders
                    .iter()
                    .map(|one| format!("Set-SendConnector {} -TlsCertificateName {what}", in_command(&one.name)))
                    .collect()
            };
            let stop = format!("Invoke-Command {hosts} {{ Stop-Service MSExchangeTransport }}");
            let start = format!("Invoke-Command {hosts} {{ Start-Service MSExchangeTransport }}");
            let removals = self.removals(&sources.iter().map(|host| host.as_str()).collect());
            let source = sources.iter().next().map(|host| host.as_str());
            let commands = [
                vec![stop],
                names("$null"),
                vec!["repadmin /syncall /AdeP".into()],
                removals,
                vec![self.fetched(source)],
                names(PIN),
                vec!["repadmin /syncall /AdeP".into(), start],
            ];
            let said = "The new one has the issuer and the subject of the former one, and send connectors name both alike. In this \
                        order, in a quiet hour; never take the name away while transport runs:";
            steps.push(Step::new(said, commands.concat()));
        }
        let receivers = self.named_as("same-names");
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
        let inside: Vec<_> = self.of_role(ServerRole::Mailbox).collect();
        let (old, newer): (Vec<&String>, Vec<&String>) =
            inside.into_iter().partition(|host| self.of_2010.contains(*host));
        let mut commands = Vec::new();
        for host in newer {
            commands.push(format!(
                "Invoke-Command {host} {{ Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport }}"
            ));
        }
        for host in old {
            commands.push(format!(
                "Invoke-Command {host} {{ Restart-Service MSExchangeTransport }}    # Exchange 2010 has no front end"
            ));
        }
        for host in self.of_role(ServerRole::Edge) {
            commands.push(format!("Restart-Service MSExchangeTransport    # on {host} itself"));
        }
        if commands.is_empty() {
            return Vec::new();
        }
        let said = "Restart the services that show it, one server after another: they keep what they found until then.";
        vec![Step::new(said, commands)]
    }

    fn edge(&self) -> Vec<Step> {
        let edges: Vec<_> = self.of_role(ServerRole::Edge).cloned().collect();
        if edges.is_empty() {
            return Vec::new();
        }
        let said = format!(
            "See whether {} is still in step with the organisation. If its default certificate changed, its subscription does not \
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
        let mismatched = self.subjects("tenant-mismatch");
        if mismatched.is_empty() {
            return Vec::new();
        }
        let leaf = Leaf::from(&self.rehearsal.new);
        let name = leaf.all_names().find(|name| is_name(name)).unwrap_or_else(|| "<NAME>".into());
        let command = |subject: &&str| {
            let connector = subject.split_once('/').map_or(*subject, |(_, name)| name);
            format!("Set-InboundConnector {} -TlsSenderCertificateName {name}", in_command(connector))
        };
        let said = "Exchange Online looks for another name than the new one bears. Run the Hybrid Configuration Wizard again, or, in \
                    the shell of Exchange Online, name one that it bears and that is an accepted domain; it takes up to an hour:";
        vec![Step::new(said, mismatched.iter().map(command).collect())]
    }

    fn remove(&self) -> Vec<Step> {
        let commands = self.removals(&self.on.iter().map(String::as_str).collect());
        // What was removed in the midst of the order above does not come twice.
        let is_done = self
            .renewal
            .of(Class::Left)
            .any(|change| change.code == "same-names" && change.subject.starts_with("send "));
        if commands.is_empty() || is_done {
            return Vec::new();
        }
        let said = "Remove the former one last, when that comparison is clean and mail has flowed for a day. A certificate that \
                    connectors name, or that is the internal transport certificate, cannot be removed before:";
        vec![Step::new(said, commands)]
    }

    fn removals(&self, hosts: &BTreeSet<&str>) -> Vec<String> {
        let mut commands = Vec::new();
        for Replaced { leaf, hosts: holders, .. } in &self.rehearsal.replaced {
            for host in holders.iter().filter(|host| hosts.contains(host.as_str())) {
                commands.push(match self.role(host) {
                    ServerRole::Gateway => continue,
                    ServerRole::Edge => {
                        format!("Remove-ExchangeCertificate -Thumbprint {}    # on {host} itself", leaf.thumbprint)
                    }
                    ServerRole::Mailbox => {
                        format!(
                            "Remove-ExchangeCertificate -Server {} -Thumbprint {}",
                            server_name(host),
                            leaf.thumbprint
                        )
                    }
                });
            }
        }
        commands
    }
}

/// A certificate as a connector names it.
const PIN: &str = "\"<I>$($c.Issuer)<S>$($c.Subject)\"";

fn listed<'h>(hosts: impl Iterator<Item = &'h String>) -> String {
    hosts.cloned().collect::<Vec<_>>().join(",")
}

/// Names of certificates enter commands only if they are names.
fn is_name(name: &str) -> bool {
    is_host_name(name.strip_prefix("*.").unwrap_or(name))
}

fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('-')
        && path.chars().all(|letter| letter.is_alphanumeric() || "-_./\\:".contains(letter))
}
