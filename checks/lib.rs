//! What can be wrong with an estate that carries mail, and how one tells.
//!
//! Everything here is pure: rules read recorded evidence. The crate is `no_std`, so that the compiler itself keeps
//! sockets, files, the clock, the environment and hash order out.
//!
//! To add a check: its file, its two lines below, its fixtures. The registry test refuses a check that is half added.
#![no_std]
extern crate alloc;

/// One file a protocol: its questions, what answers them, parsing and arithmetic without opinion.
pub mod facts {
    pub mod account;
    pub mod census;
    pub mod certificate;
    pub mod chain;
    pub mod connector;
    pub mod directory;
    pub mod distinguished;
    pub mod dns;
    pub mod export;
    pub mod kerberos;
    pub mod login;
    pub mod net;
    pub mod ntp;
    pub mod protocol_log;
    pub mod quorum;
    pub mod raw;
    pub mod replication;
    pub mod search;
    pub mod smb;
    pub mod smtp;
    pub mod spn;
    pub mod ticket;
    pub mod time;
    pub mod tls;
    pub mod trust;
    pub mod verification;
    pub mod web;
}

/// The shapes that data takes on its way from a question to a verdict.
pub mod model {
    pub mod accounts;
    pub mod ask;
    pub mod cause;
    pub mod census;
    pub mod certificates;
    pub mod check;
    pub mod clocks;
    pub mod connectors;
    pub mod estate;
    pub mod evidence;
    pub mod fetch;
    pub mod finding;
    pub mod held;
    pub mod holder;
    pub mod hybrid;
    pub mod informants;
    pub mod inputs;
    pub mod kdcs;
    pub mod link;
    pub mod listeners;
    pub mod logins;
    pub mod meta;
    pub mod organisation;
    pub mod outgoing;
    pub mod outside;
    pub mod plan;
    pub mod principals;
    pub mod reach;
    pub mod replicas;
    pub mod selection;
    pub mod stock;
    #[cfg(test)]
    pub(crate) mod testing;
    pub mod tickets;
}

/// Hosts as such.
pub mod host {
    pub mod answers;
}

/// Clocks: KB 979174, cause 1.
pub mod clock {
    pub mod agreement;
    pub mod source;
    pub mod witnesses;
}

/// Domain controllers: are they found, reached, ready?
pub mod directory {
    pub mod located;
    pub mod logon;
    pub mod reachable;
    pub mod ready;
}

/// Sites of Active Directory.
pub mod site {
    pub mod has_gc;
}

/// Kerberos: KB 979174, cause 4.
pub mod kerberos {
    pub mod encryption;
    pub mod reachable;
    pub mod realm;
    pub mod ticket;
    pub mod trust;
}

/// Replication between controllers: KB 979174, cause 2.
pub mod replication {
    pub mod agreement;
    pub mod links;
    pub mod progress;
}

/// SMTP between servers: KB 979174, cause 6.
pub mod smtp {
    pub mod connector_scope;
    pub mod exchange_auth;
    pub mod identity;
    pub mod kerberos_login;
    pub mod reachable;
    pub mod starttls;
}

/// Service principal names: KB 979174, cause 3.
pub mod spn {
    pub mod owner;
    pub mod registered;
    pub mod unique;
    pub mod unshadowed;
}

/// Servers that carry mail, as such.
pub mod server {
    pub mod account;
    pub mod addresses;
}

/// Certificates: KB 2888788, renewals.
pub mod certificate {
    pub mod complete;
    pub mod current;
    pub mod internal;
    pub mod named;
    pub mod oauth;
    pub mod pinned;
    pub mod single;
    pub mod strong;
    pub mod trusted;
    pub mod unrevoked;
    pub mod usage;
}

/// Mail between servers and Exchange Online: 550 5.7.64.
pub mod hybrid {
    pub mod endpoint;
    pub mod inbound_name;
    pub mod presented;
    pub mod receive_domain;
    pub mod sender_address;
    pub mod sender_domain;
    pub mod sender_name;
}

/// Web services of Exchange: event 71 of OWA.
pub mod web {
    pub mod internal_url;
    pub mod kerberos_login;
    pub mod spn;
}

/// Every check, in the order of the report.
pub static CHECKS: &[&dyn model::check::Check] = &[
    &host::answers::Answers,
    &clock::agreement::Agreement,
    &clock::source::Source,
    &clock::witnesses::Witnesses,
    &directory::located::Located,
    &directory::reachable::Reachable,
    &directory::ready::Ready,
    &directory::logon::LogOn,
    &site::has_gc::HasGc,
    &kerberos::reachable::Reachable,
    &kerberos::realm::Realm,
    &kerberos::ticket::Ticket,
    &kerberos::trust::Trust,
    &kerberos::encryption::Encryption,
    &replication::links::Links,
    &replication::agreement::Agreement,
    &replication::progress::Progress,
    &spn::registered::Registered,
    &spn::owner::Owner,
    &spn::unique::Unique,
    &spn::unshadowed::Unshadowed,
    &smtp::reachable::Reachable,
    &smtp::starttls::StartTls,
    &smtp::exchange_auth::ExchangeAuth,
    &smtp::connector_scope::ConnectorScope,
    &smtp::identity::Identity,
    &smtp::kerberos_login::SmtpKerberosLogin,
    &server::account::ServerAccount,
    &server::addresses::Addresses,
    &certificate::trusted::Trusted,
    &certificate::complete::Complete,
    &certificate::current::Current,
    &certificate::named::Named,
    &certificate::strong::Strong,
    &certificate::usage::Usage,
    &certificate::single::Single,
    &certificate::internal::Internal,
    &certificate::pinned::Pinned,
    &certificate::unrevoked::Unrevoked,
    &certificate::oauth::OAuth,
    &hybrid::sender_name::SenderName,
    &hybrid::sender_domain::SenderDomain,
    &hybrid::sender_address::SenderAddress,
    &hybrid::presented::Presented,
    &hybrid::inbound_name::InboundName,
    &hybrid::receive_domain::ReceiveDomain,
    &hybrid::endpoint::HybridEndpoint,
    &web::internal_url::InternalUrl,
    &web::spn::WebSpn,
    &web::kerberos_login::WebKerberosLogin,
];
