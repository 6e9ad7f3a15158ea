//! Every protocol against a server that plays from a script on loopback: the kind ones, and above all the others.

#![allow(clippy::panic, reason = "these are tests, helpers and all")]

mod census;
mod cldap;
mod directory;
mod dns;
mod fetch;
mod https;
mod kdc;
mod kerberos;
mod ldap;
mod ntp;
mod script;
mod smb;
mod smtp;
mod stores;
mod tcp;
mod tickets;
mod tls;
