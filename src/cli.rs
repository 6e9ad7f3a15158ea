//! The command line: what can be typed, and nothing else. It touches no file and no network.

use crate::{
    plan_file::{check_or_area, host_name, life, logon_way, resolver, spn_scope, user},
    report::{OnUnknown, Strictness},
};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use exchange_preflight_checks::model::plan::{LogonWay, SpnScope};
use jiff::SignedDuration;
use std::{net::SocketAddr, path::PathBuf};

/// Tells from the outside, in seconds, whether an Exchange estate is fit for mail to flow, and what to mend.
#[derive(Debug, Parser)]
#[command(name = "exchange-preflight", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 nothing failed and nothing is unknown; 1 something failed; 2 a mistake in what was typed \
or in a file; 3 nothing failed, but something could not be told; 130 interrupted. compare: 1 something broke or grew worse \
that fails, or a renewal changed what it should not, 3 something came that could not be told, else 0; rehearse: the same, of what \
would."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look at the estate now, and judge it
    Run(RunArgs),
    /// Draft a plan from DNS and what controllers tell anybody, for a person to review
    Discover(DiscoverArgs),
    /// Judge a recording again, offline; several recordings are several vantages of one estate
    Replay(ReplayArgs),
    /// Say what changed between two recordings of one estate
    Compare(CompareArgs),
    /// Say what a certificate would change that is not installed yet, from a recording of what is there now; nothing is asked
    /// of the network
    Rehearse(RehearseArgs),
    /// List every check
    List,
    /// Explain a check, or every check that a code or an event points to, or a word of `compare` such as pin-stale; `explain inputs`
    /// has the commands that make the files of --input
    Explain {
        /// The id of a check, an area, an SMTP code such as "454 4.7.0", an event such as 1035, words of an error, what a renewal
        /// changed, such as pin-stale, or inputs
        #[arg(value_name = "ID|CODE|EVENT|inputs", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        about: String,
    },
    /// Print the JSON schema of what --format json prints
    Schema {
        /// Of which
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
}

/// Where to look.
#[derive(Args, Debug)]
pub struct Target {
    /// The Active Directory domain; without it, the one that this machine is set up for
    #[arg(long, value_name = "DOMAIN", env = "EXCHANGE_PREFLIGHT_DOMAIN", value_parser = host_name)]
    pub domain: Option<String>,
    /// What you state about the estate, in TOML
    #[arg(long, value_name = "FILE", env = "EXCHANGE_PREFLIGHT_PLAN")]
    pub plan: Option<PathBuf>,
    /// A server that carries mail (may be given several times)
    #[arg(long, value_name = "HOST", value_parser = host_name)]
    pub server: Vec<String>,
    /// A server that mail servers outside reach by this very name (may be given several times)
    #[arg(long, value_name = "HOST", value_parser = host_name)]
    pub outward: Vec<String>,
    /// Roots of a company's own authority, in PEM or DER (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// The name server to ask, instead of the one that this machine uses
    #[arg(long, value_name = "ADDRESS[:PORT]", env = "EXCHANGE_PREFLIGHT_RESOLVER", value_parser = resolver)]
    pub resolver: Option<SocketAddr>,
    /// Log on to the directory as this user, reader@contoso.com or CONTOSO\reader; nothing but reading rights is needed
    #[arg(long, value_name = "USER", env = "EXCHANGE_PREFLIGHT_USER", value_parser = user)]
    pub user: Option<String>,
    /// How to log on: kerberos (the default; signed and sealed), ldaps or starttls (over a verified certificate), or ticket
    /// (whoever is logged on to this machine; needs no user)
    #[arg(long, value_name = "WAY", value_parser = logon_way)]
    pub logon: Option<LogonWay>,
    /// Read the password from this file descriptor, up to the end of the line; without it: the environment variable
    /// `EXCHANGE_PREFLIGHT_PASSWORD`, or a prompt
    #[arg(long, value_name = "N")]
    pub password_fd: Option<u32>,
    /// Taken only to say where a password belongs.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "", value_name = "NEVER")]
    pub password: Option<String>,
}

/// What is given beside what the wire tells.
#[derive(Args, Clone, Debug, Default)]
pub struct Given {
    /// An export of certificates, connectors or domains, or a send protocol log; what it is, it tells itself, and whose it is, if
    /// need be, SERVER (may be given several times); `explain inputs` has the commands that make them
    #[arg(long = "input", value_name = "[SERVER=]FILE")]
    pub inputs: Vec<String>,
}

/// `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Where to look.
    #[command(flatten)]
    pub target: Target,
    /// Run only this check or area (may be given several times)
    #[arg(long, value_name = "ID|AREA", value_delimiter = ',', value_parser = check_or_area)]
    pub only: Vec<String>,
    /// Do not run this check or area (may be given several times)
    #[arg(long, value_name = "ID|AREA", value_delimiter = ',', value_parser = check_or_area)]
    pub skip: Vec<String>,
    /// Certificates have to live so long from now, past the end of a change window: 14d, 36h
    #[arg(long, value_name = "SPAN", value_parser = life)]
    pub outlive: Option<SignedDuration>,
    /// Ask also what is rarely needed and shows in other people's logs: password changes over UDP, TLS 1.0 and 1.1
    #[arg(long)]
    pub deep: bool,
    /// This machine stands where an Exchange server stands: what a firewall drops here, it drops for mail
    #[arg(long)]
    pub exchange_vantage: bool,
    /// Which SPNs to look at: targeted (the default; those that servers and web clients use) or forest (all of them, once, from
    /// one global catalog; products that watch over identities notice it). Needs a user
    #[arg(long, value_name = "SCOPE", value_parser = spn_scope)]
    pub spn_scan: Option<SpnScope>,
    /// Have servers prove that they take a Kerberos ticket: one logon each to SMTP and to the web, and nothing after it. One that
    /// refuses it writes event 1035 or the like. Needs a user
    #[arg(long)]
    pub prove_login: bool,
    /// Keep all that was seen in this file, for `replay` and `compare`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// What is given beside.
    #[command(flatten)]
    pub given: Given,
    /// How to tell it.
    #[command(flatten)]
    pub telling: Telling,
}

/// `discover`.
#[derive(Args, Debug)]
pub struct DiscoverArgs {
    /// Where to look.
    #[command(flatten)]
    pub target: Target,
}

/// `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Recordings, each from a vantage
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
    /// What is given beside, for each of them.
    #[command(flatten)]
    pub given: Given,
    /// How to tell it.
    #[command(flatten)]
    pub telling: Telling,
}

/// `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// The recording before
    pub before: PathBuf,
    /// The recording after
    pub after: PathBuf,
    /// How to tell it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `rehearse`.
#[derive(Args, Debug)]
pub struct RehearseArgs {
    /// The recording before
    pub recording: PathBuf,
    /// The new certificate, with what its authority sent along, in PEM, DER, PKCS#7 or PKCS#12, of which no key is kept
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Read the password of the PKCS#12 file from this file descriptor, up to the end of the line; without it: the environment
    /// variable `EXCHANGE_PREFLIGHT_CERTIFICATE_PASSWORD`, or a prompt
    #[arg(long, value_name = "N")]
    pub certificate_password_fd: Option<u32>,
    /// A server that is to have it (may be given several times); without it, all that have one in whose place it would stand
    #[arg(long, value_name = "HOST", value_parser = host_name)]
    pub on: Vec<String>,
    /// A certificate that is to be removed there, by its thumbprint (may be given several times)
    #[arg(long, value_name = "THUMBPRINT")]
    pub remove: Vec<String>,
    /// Suppose that somebody answers Yes when asked to overwrite the default SMTP certificate
    #[arg(long)]
    pub overwrite_default: bool,
    /// Roots of a company's own authority, in PEM or DER (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// What is given beside what was recorded.
    #[command(flatten)]
    pub given: Given,
    /// Keep the supposed recording in this file, for `replay` and `compare`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How to tell it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How to tell what was found.
#[derive(Args, Debug)]
pub struct Telling {
    /// The form of what is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Write another form to a file as well (may be given several times)
    #[arg(long, value_name = "FORMAT=FILE", value_parser = output)]
    pub output: Vec<Output>,
    /// Close the gate for warnings too
    #[arg(long, value_name = "VERDICT")]
    pub fail_on: Option<FailOn>,
    /// What to make of what could not be told
    #[arg(long, value_enum, default_value_t)]
    pub on_unknown: OnUnknown,
    /// Tell one by one what passed and what was skipped, draw every certificate, and list every connection to SMTP, HTTPS and
    /// LDAPS ports with its reasons; -vv also logs on stderr how the directory was asked
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Telling {
    /// What it makes of troubles that are no Fail.
    pub fn strictness(&self) -> Strictness {
        Strictness { fail_on_warn: self.fail_on.is_some(), on_unknown: self.on_unknown }
    }
}

/// The least verdict that closes the gate.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FailOn {
    /// Warn.
    Warn,
}

/// A form of report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a machine; `schema` describes it.
    Json,
}

/// What a schema is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The report of `run` and `replay`.
    #[default]
    Report,
    /// What `compare` prints.
    Comparison,
    /// What `rehearse` prints.
    Rehearsal,
}

/// A form, and the file for it.
#[derive(Clone, Debug)]
pub struct Output {
    /// The form.
    pub format: Format,
    /// The file.
    pub file: PathBuf,
}

fn output(text: &str) -> Result<Output, String> {
    let named = text.split_once('=').filter(|(_, file)| !file.is_empty());
    let (format, file) = named.ok_or("write FORMAT=FILE, such as json=report.json")?;
    Ok(Output { format: Format::from_str(format, false)?, file: file.into() })
}
