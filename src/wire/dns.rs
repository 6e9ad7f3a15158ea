//! DNS: lookups by hickory-resolver, past every cache and hosts file, as what the name server says is the evidence.

use super::{
    budget::Budgets,
    conversation::{Trouble, Wire},
    dns_runtime::Runtime,
    text,
};
use exchange_preflight_checks::{
    facts::dns::{DnsAnswer, DnsLookup, Record, RecordKind, canonical_name},
    model::{
        ask::Endpoint,
        evidence::{Reason, Stage},
    },
};
use hickory_resolver::{
    Resolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use std::net::{IpAddr, SocketAddr};
use tokio::time::timeout;

/// The resolver that lookups go to when they name none: the stated one, else the system's, else why there is none.
pub(super) struct Configured {
    resolver: Result<Lookups, String>,
}

/// hickory's resolver, and the runtime below it.
struct Lookups {
    hickory: Resolver<Runtime>,
    runtime: Runtime,
}

impl Configured {
    pub(super) fn new(stated: Option<SocketAddr>, budgets: &Budgets) -> Result<Self, String> {
        let resolver = match stated {
            Some(server) => Ok(build(one_server(server), ResolverOpts::default(), budgets)?),
            None => system(budgets),
        };
        Ok(Self { resolver })
    }
}

/// Asks for records of one name. "There is none" is an answer too.
pub(super) async fn look_up(wire: &Wire, to: &Endpoint, lookup: &DnsLookup) -> Result<DnsAnswer, Trouble> {
    let local = |why| Trouble::new(Stage::Resolve, Reason::Local(why));
    // The dot at the end keeps the system's search list out.
    let name = Name::from_str_relaxed(format!("{}.", lookup.name.trim_end_matches('.'))).map_err(|error| {
        local(text::quoted(&format!("`{}` is no name that DNS can carry ({error}); state another", lookup.name)))
    })?;
    let of_its_own;
    let resolver = match (to.address, &wire.resolver.resolver) {
        (Some(address), _) => {
            let server = SocketAddr::new(address, to.port);
            of_its_own = build(one_server(server), ResolverOpts::default(), &wire.budgets).map_err(local)?;
            &of_its_own
        }
        (None, Ok(resolver)) => resolver,
        (None, Err(why)) => return Err(local(why.clone())),
    };
    match timeout(wire.budgets.connect, resolver.hickory.lookup(name, record_type(lookup.records))).await {
        Ok(Ok(found)) => Ok(answer(found.answers().iter().filter_map(|record| fact(&record.data, lookup.records)))),
        Ok(Err(error)) => no_records(&error, &resolver.runtime),
        Err(_) => Err(Trouble::new(Stage::Connect, Reason::Silent)),
    }
}

fn one_server(server: SocketAddr) -> ResolverConfig {
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut name_server.connections {
        connection.port = server.port();
    }
    ResolverConfig::from_parts(None, vec![], vec![name_server])
}

/// The resolver that this machine is set to use.
fn system(budgets: &Budgets) -> Result<Lookups, String> {
    const ADVICE: &str = "set one up, or name one with --resolver";
    let (config, options) = read_system_conf()
        .map_err(|error| text::quoted(&format!("this machine has no resolver that can be used ({error}); {ADVICE}")))?;
    if config.name_servers().is_empty() {
        return Err(format!("this machine is set to use no resolver; {ADVICE}"));
    }
    build(config, options, budgets)
}

fn build(config: ResolverConfig, mut options: ResolverOpts, budgets: &Budgets) -> Result<Lookups, String> {
    // Two tries fill the budget; within each hickory sends again by itself, and to two servers at a time.
    options.timeout = budgets.connect / 2;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // Ports of its own choice make Windows ask its user for permission.
    options.os_port_selection = true;
    let runtime = Runtime::default();
    let mut builder = Resolver::builder_with_config(config, runtime.clone());
    *builder.options_mut() = options;
    let hickory = builder.build().map_err(|error| text::quoted(&format!("the resolver cannot be used: {error}")))?;
    Ok(Lookups { hickory, runtime })
}

fn record_type(records: RecordKind) -> RecordType {
    match records {
        RecordKind::Srv => RecordType::SRV,
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
        RecordKind::Mx => RecordType::MX,
        RecordKind::Cname => RecordType::CNAME,
    }
}

fn answer(records: impl Iterator<Item = Record>) -> DnsAnswer {
    let mut records: Vec<_> = records.collect();
    records.sort_unstable();
    records.dedup();
    if records.is_empty() { DnsAnswer::NoRecords } else { DnsAnswer::Records(records) }
}

/// A record of the kind that was asked for; an answer may hold a CNAME on the way to it as well.
fn fact(data: &RData, asked: RecordKind) -> Option<Record> {
    match (data, asked) {
        (RData::SRV(srv), RecordKind::Srv) => Some(Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: canonical_name(&srv.target.to_utf8()),
        }),
        (RData::A(address), RecordKind::A) => Some(Record::Address(IpAddr::V4(address.0))),
        (RData::AAAA(address), RecordKind::Aaaa) => Some(Record::Address(IpAddr::V6(address.0))),
        (RData::MX(mx), RecordKind::Mx) => {
            Some(Record::Mx { preference: mx.preference, exchange: canonical_name(&mx.exchange.to_utf8()) })
        }
        (RData::CNAME(alias), RecordKind::Cname) => Some(Record::Alias(canonical_name(&alias.0.to_utf8()))),
        _ => None,
    }
}

fn no_records(error: &NetError, runtime: &Runtime) -> Result<DnsAnswer, Trouble> {
    let said = |what: String| Trouble::new(Stage::Reply, Reason::ServerSaid(text::quoted(&what)));
    Err(match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => return Ok(DnsAnswer::NoSuchName),
            ResponseCode::NoError => return Ok(DnsAnswer::NoRecords),
            code => said(code.to_string()),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => said(code.to_string()),
        NetError::Dns(other) => said(other.to_string()),
        NetError::Timeout => Trouble::new(Stage::Connect, Reason::Silent),
        _ if error.is_connection_closed() => Trouble::new(Stage::Reply, Reason::Closed),
        // hickory says "no connections" where each server's socket failed, and forgets how.
        NetError::NoConnections | NetError::Io(_) => {
            Trouble::new(Stage::Connect, runtime.last_failure().unwrap_or(Reason::Silent))
        }
        other => Trouble::not_the_protocol(text::quoted(&other.to_string())),
    })
}
