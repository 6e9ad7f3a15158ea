//! Arguments -> one verb -> exit code.

use anstream::StripStream;
use clap::Parser;
use exchange_preflight::{
    cli::{
        Cli, CompareArgs, DiscoverArgs, Format, Given, Output, RehearseArgs, ReplayArgs, RunArgs, SchemaOf, Target,
        Telling, Verb,
    },
    compare, discover, draft,
    inputs::{
        self,
        candidate::{self, Candidate},
    },
    password,
    plan_file::{self, Draft, store_name},
    recording::{Origin, Recording},
    rehearse::{Intention, Rehearsal},
    render::{checks, escape::printable, inputs as files, json, rehearsal, steps, text},
    renewal::Renewal,
    report::{Report, Strictness, same_estate},
    survey::{Progress, survey},
    trust_file,
    wire::{
        budget::Budgets,
        clock::Clock,
        conversation::Wire,
        credential::{Credential, Password},
        stores::Stores,
        vantage,
    },
};
use exchange_preflight_checks::{
    CHECKS,
    model::{
        check::Check,
        estate::Estate,
        inputs::Inputs,
        plan::{Logon, LogonWay, PlannedServer, ServerRole, ServerState, SpnScope, StatedStore},
    },
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio::{runtime::Builder, signal::ctrl_c, sync::Notify};
use tracing::{Level, enabled};
use tracing_subscriber::{
    filter::Targets,
    fmt,
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// Bad arguments, a bad file, or a machine on which nothing can be done.
const USAGE: u8 = 2;
/// The check that tells whether the logon was taken.
const LOGON: &str = "directory-logon";

/// Something could not be told.
const UNTOLD: u8 = 3;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(args) => run(args),
        Verb::Discover(args) => draft_plan(args),
        Verb::Replay(args) => replay(&args),
        Verb::Compare(args) => compare_two(&args),
        Verb::Rehearse(args) => rehearse(args),
        Verb::List => to_stdout(checks::list),
        Verb::Explain { about } => explain(&about),
        Verb::Schema { of: SchemaOf::Report } => to_stdout(json::report_schema),
        Verb::Schema { of: SchemaOf::Comparison } => to_stdout(json::comparison_schema),
        Verb::Schema { of: SchemaOf::Rehearsal } => to_stdout(json::rehearsal_schema),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            // A message may quote a file or the network; its own lines stay lines.
            for (index, line) in message.split('\n').enumerate() {
                let name = if index == 0 { "exchange-preflight: " } else { "" };
                anstream::eprintln!("{name}{}", printable(line));
            }
            ExitCode::from(USAGE)
        }
    }
}

/// A verb's exit code, or a sentence for the administrator.
type Done = Result<u8, String>;

fn run(args: RunArgs) -> Done {
    let RunArgs { target, only, skip, outlive, deep, exchange_vantage, spn_scan, prove_login, record, given, telling } =
        args;
    log(telling.verbose);
    let (mut draft, means) = stated(target, &given)?;
    draft.outlive = outlive.or(draft.outlive);
    draft.selection.only.extend(only);
    // Where nobody could log on, that is one alarm, and not one for each of the checks that were asked for.
    if draft.logon.is_some() && !draft.selection.only.is_empty() {
        draft.selection.only.insert(LOGON.into());
    }
    draft.selection.skip.extend(skip);
    draft.deep |= deep;
    draft.exchange_vantage |= exchange_vantage;
    draft.spn_scan = spn_scan.unwrap_or(draft.spn_scan);
    draft.prove_login = prove_login;
    let for_users = [(draft.spn_scan == SpnScope::Forest, "--spn-scan forest"), (prove_login, "--prove-login")];
    if let Some((_, flag)) = for_users.into_iter().find(|(is_wanted, _)| *is_wanted && draft.logon.is_none()) {
        return Err(format!("{flag} needs somebody who logs on; state --user reader@contoso.com, or --logon ticket"));
    }
    // What cannot be kept is known before anything is asked.
    let recorded_beside = record.as_deref().map(Recording::beside);
    let files = telling.output.iter().map(|output| &output.file).chain(&record).chain(&recorded_beside);
    files.into_iter().try_for_each(|file| can_be_written(file))?;
    let recordings = [look(draft, means, CHECKS)?];
    // A disk that is full by now must not cost the report, so it is told first.
    let told = tell(&Report::of(&recordings, telling.strictness())?, &telling);
    if let Some(file) = &record {
        recordings[0].save(file).map_err(|error| unwritable(file, &error))?;
    }
    told
}

fn draft_plan(args: DiscoverArgs) -> Done {
    let (draft, means) = stated(args.target, &Given::default())?;
    let recording = look(draft, means, &[])?;
    if recording.interrupted {
        return Ok(INTERRUPTED);
    }
    let estate = Estate::learn(&recording.plan, &recording.evidence);
    if estate.controllers.is_empty() {
        let domain = &recording.plan.domain;
        return Err(format!(
            "DNS tells no controllers of {domain}, so there is nothing to draft. `run` says what it was asked:\n  \
             exchange-preflight run --domain {domain} --only directory-located"
        ));
    }
    let plan = draft::draft(&recording.plan, &recording.evidence);
    let told = to_stdout(|out| out.write_all(plan.as_bytes()))?;
    match draft::untold(&estate, &recording.evidence) {
        Some(why) => {
            anstream::eprintln!("Only what strangers are told is in the draft: {}", printable(&why));
            Ok(UNTOLD)
        }
        None => Ok(told),
    }
}

fn replay(args: &ReplayArgs) -> Done {
    let mut recordings: Vec<_> = args.recordings.iter().map(|file| Recording::load(file)).collect::<Result<_, _>>()?;
    for recording in &mut recordings {
        give(&mut recording.plan.inputs, &args.given.inputs, Path::new(""))?;
    }
    tell(&Report::of(&recordings, args.telling.strictness())?, &args.telling)
}

fn compare_two(args: &CompareArgs) -> Done {
    let (before, after) = (Recording::load(&args.before)?, Recording::load(&args.after)?);
    same_estate(&before, &after)?;
    let notes = compare::differences(&before, &after);
    let renewal = Renewal::between(&before, &after);
    let renewal = renewal.as_ref();
    let before = Report::of(&[before], Strictness::default())?;
    let after = Report::of(&[after], Strictness::default())?;
    let changes = compare::compare(&before, &after, renewal);
    to_stdout(|out| match args.format {
        Format::Text => text::comparison(&before, &after, &changes, renewal, &notes, out),
        Format::Json => json::comparison(&changes, renewal, &notes, out),
    })?;
    Ok(compare::exit_code(&changes, renewal))
}

fn rehearse(args: RehearseArgs) -> Done {
    let RehearseArgs {
        recording: file,
        certificate,
        certificate_password_fd,
        on,
        remove,
        overwrite_default,
        trust,
        given,
        record,
        format,
    } = args;
    if let Some(record) = &record {
        [record, &Recording::beside(record)].into_iter().try_for_each(|file| can_be_written(file))?;
    }
    let mut recording = Recording::load(&file)?;
    give(&mut recording.plan.inputs, &given.inputs, Path::new(""))?;
    let stores = &mut recording.plan.stores;
    let mut roots = BTreeMap::new();
    for (name, file) in named_stores(trust)? {
        if !stores.iter().any(|store| store.name == name) {
            stores.push(StatedStore { name: name.clone(), file: file.display().to_string(), public: false });
        }
        roots.insert(name, trust_file::read(&file)?);
    }
    let Candidate { chain, has_key } = candidate::read(&certificate, certificate_password_fd)?;
    let intention = Intention { chain, has_key, on, remove, overwrites_default: overwrite_default };
    let rehearsal = Rehearsal::of(recording, intention, &Stores::new(roots))?;
    let renewal = Renewal::between(&rehearsal.before, &rehearsal.supposed);
    let renewal = renewal.as_ref();
    let judge = |recording: &Recording| Report::of(std::slice::from_ref(recording), Strictness::default());
    let (before, supposed) = (judge(&rehearsal.before)?, judge(&rehearsal.supposed)?);
    let changes = compare::compare(&before, &supposed, renewal);
    let steps = steps::steps(&rehearsal, renewal, &file);
    to_stdout(|out| match format {
        Format::Text => rehearsal::tell(&rehearsal, &supposed, &changes, renewal, &steps, out),
        Format::Json => json::rehearsal(&rehearsal, &supposed, &changes, renewal, &steps, out),
    })?;
    if let Some(record) = &record {
        rehearsal.supposed.save(record).map_err(|error| unwritable(record, &error))?;
    }
    Ok(compare::exit_code(&changes, renewal))
}

/// The files of `--trust`, each by the name of the store that it makes.
fn named_stores(trust: Vec<PathBuf>) -> Result<Vec<(String, PathBuf)>, String> {
    let named = |file: PathBuf| {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = store_name(&name).map_err(|wrong| format!("--trust {}: {wrong}", file.display()))?;
        Ok((name, file))
    };
    trust.into_iter().map(named).collect()
}

fn explain(about: &str) -> Done {
    if about.eq_ignore_ascii_case("inputs") {
        return to_stdout(files::explain);
    }
    let mut found = false;
    to_stdout(|out| {
        found = checks::explain(about, out)?;
        Ok(())
    })?;
    if found {
        Ok(0)
    } else {
        Err(format!("{about:?} is no check, area, code or event that is known; `list` names the checks"))
    }
}

/// What was stated and is in no plan.
struct Means {
    stores: Stores,
    password: Option<Password>,
}

/// What was stated: flags and environment over the plan file; and the trust stores, read from their files.
fn stated(target: Target, given: &Given) -> Result<(Draft, Means), String> {
    let Target { domain, plan, server, outward, trust, resolver, user, logon, password_fd, password } = target;
    if password.is_some() {
        return Err(
            "a password on the command line can be read by every user of this machine: it is asked for, or given by \
                    --password-fd or in EXCHANGE_PREFLIGHT_PASSWORD; if it was the right one, change it"
                .into(),
        );
    }
    let mut draft = plan.as_deref().map_or_else(|| Ok(Draft::default()), read_plan)?;
    draft.domain = domain.or(draft.domain);
    draft.resolver = resolver.or(draft.resolver);
    for name in server {
        planned(&mut draft, name, ServerRole::default());
    }
    for name in outward {
        let server = planned(&mut draft, name.clone(), ServerRole::Gateway);
        if !server.outward.contains(&name) {
            server.outward.push(name);
        }
    }
    let folder = plan.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    give(&mut draft.inputs, &draft.input_files, folder)?;
    give(&mut draft.inputs, &given.inputs, Path::new(""))?;
    let of_plan = draft.stores.iter().map(|store| (store.name.clone(), folder.join(&store.file)));
    let mut files: BTreeMap<String, PathBuf> = of_plan.collect();
    for (name, file) in named_stores(trust)? {
        let shown = file.display().to_string();
        if files.insert(name.clone(), file).is_some() {
            return Err(format!("--trust {shown}: there is a store {name} already; give the file another name"));
        }
        draft.stores.push(StatedStore { name, file: shown, public: false });
    }
    let read = files.into_iter().map(|(name, file)| Ok((name, trust_file::read(&file)?)));
    let stores = Stores::new(read.collect::<Result<_, String>>()?);
    draft.logon = logging_on(user, logon, draft.logon);
    if draft.logon.is_none() && password_fd.is_some() {
        return Err("--password-fd is whose password? state --user as well".into());
    }
    let mut password = None;
    if let Some(logon) = &draft.logon {
        // What cannot be is said before anybody is asked for anything.
        Credential::possible(logon)?;
        password::keep_no_core();
        password = logon.user.as_deref().map(|user| password::of(user, password_fd)).transpose()?;
    }
    Ok((draft, Means { stores, password }))
}

/// Reads what is given beside what the wire tells, to what was given before.
fn give(inputs: &mut Inputs, files: &[String], folder: &Path) -> Result<(), String> {
    inputs::add(inputs, files, folder).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        format!("what is given has mistakes; nothing was asked yet:{}", lines.concat())
    })
}

/// Who logs on, and how: a flag counts more than the plan, each for itself.
fn logging_on(user: Option<String>, way: Option<LogonWay>, planned: Option<Logon>) -> Option<Logon> {
    let is_wanted = user.is_some() || way.is_some() || planned.is_some();
    let planned = planned.unwrap_or(Logon { user: None, way: LogonWay::default() });
    let way = way.unwrap_or(planned.way);
    let user = user.or(planned.user).filter(|_| way != LogonWay::Ticket);
    is_wanted.then_some(Logon { user, way })
}

/// -vv shows how directories were asked. Libraries say no more than their warnings, for some print keys.
fn log(verbose: u8) {
    if verbose < 2 {
        return;
    }
    let ours = Targets::new().with_default(Level::WARN).with_target("exchange_preflight", Level::DEBUG);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(false).with_timer(fmt::time::uptime());
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
}

/// The server of this name in the plan, or a new one. A flag counts more than the file: whom somebody names now is to be asked
/// now.
fn planned(draft: &mut Draft, name: String, role: ServerRole) -> &mut PlannedServer {
    let at = draft.servers.iter().position(|known| known.name == name).unwrap_or_else(|| {
        draft.servers.push(PlannedServer::new(name, role));
        draft.servers.len() - 1
    });
    draft.servers[at].state = ServerState::Active;
    &mut draft.servers[at]
}

fn read_plan(file: &Path) -> Result<Draft, String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("the plan {shown} cannot be read: {error}"))?;
    plan_file::parse(&text).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(|mistake| format!("\n  {shown}, {mistake}")).collect();
        format!("the plan has mistakes; nothing was asked yet:{}", lines.concat())
    })
}

/// Looks at the estate on a runtime of its own, which is left in the background at the end: a look-up of the system's
/// that hangs must not hold the exit.
fn look(draft: Draft, means: Means, checks: &'static [&'static dyn Check]) -> Result<Recording, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("this machine gives no network runtime: {error}"))?;
    let recording = runtime.block_on(record(draft, means, checks));
    runtime.shutdown_background();
    recording
}

async fn record(draft: Draft, means: Means, checks: &'static [&'static dyn Check]) -> Result<Recording, String> {
    let clock = Clock::start();
    let interrupt = Arc::new(Notify::new());
    let is_surveying = Arc::new(AtomicBool::new(false));
    listen_for_the_end(Arc::clone(&interrupt), Arc::clone(&is_surveying));
    let domain = match draft.domain.clone() {
        Some(domain) => domain,
        None => find_domain(clock, &draft).await?,
    };
    let Means { stores, password } = means;
    let credential = draft.logon.as_ref().map(|logon| Credential::new(logon, &domain, password)).transpose()?;
    let wire = Arc::new(Wire::new(clock, Budgets::default(), draft.resolver, stores, credential)?);
    let plan = Arc::new(draft.into_plan(domain));
    let started = clock.now();
    // It hides itself where stderr is no terminal; a log it would tear apart.
    let bar = if enabled!(Level::DEBUG) { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let bar = bar.with_style(progress_style());
    let show = |Progress { answered, asked }| {
        bar.set_length(asked as u64);
        bar.set_position(answered as u64);
    };
    is_surveying.store(true, Ordering::Relaxed);
    let seen = survey(Arc::clone(&plan), checks, wire, clock, interrupt.notified(), show).await;
    is_surveying.store(false, Ordering::Relaxed);
    bar.finish_and_clear();
    Ok(Recording {
        tool: env!("CARGO_PKG_VERSION").into(),
        vantage: vantage::here(&seen.evidence),
        started,
        finished: clock.now(),
        interrupted: seen.interrupted,
        origin: Origin::Seen,
        plan: Arc::unwrap_or_clone(plan),
        evidence: seen.evidence,
        carried: Vec::new(),
    })
}

/// Listens to those who want the program to end, from a thread of its own, for tokio's handlers outlive every runtime: the
/// first time while the survey goes on ends it in good order; any other time ends the program.
fn listen_for_the_end(interrupt: Arc<Notify>, is_surveying: Arc<AtomicBool>) {
    thread::spawn(move || {
        let Ok(runtime) = Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            loop {
                asked_to_end().await;
                if !is_surveying.swap(false, Ordering::Relaxed) {
                    process::exit(INTERRUPTED.into());
                }
                interrupt.notify_one();
            }
        });
    });
}

/// Ctrl-C, and where there is such a signal, the one with which a supervisor ends a program.
async fn asked_to_end() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        tokio::select! {
            _ = ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    if ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn find_domain(clock: Clock, draft: &Draft) -> Result<String, String> {
    const WHAT_TO_TYPE: &str = "say which:\n  exchange-preflight run --domain contoso.com";
    let wire = Wire::new(clock, Budgets::default(), draft.resolver, Stores::default(), None)?;
    let candidates = discover::candidates(draft.logon.as_ref().and_then(|logon| logon.user.as_deref()));
    let names: Vec<_> = candidates.iter().map(|c| format!("{} ({})", printable(&c.domain), c.source)).collect();
    let Some(found) = discover::first_domain(candidates, &wire, draft.resolver).await else {
        return Err(if names.is_empty() {
            format!("no domain was stated and this machine is set up for none; {WHAT_TO_TYPE}")
        } else {
            let tried = names.join(", ");
            format!(
                "no domain was stated, and DNS knows no controllers of what this machine suggests: {tried}; {WHAT_TO_TYPE}"
            )
        });
    };
    anstream::eprintln!("The domain is {}, by {}.", found.domain, found.source);
    Ok(found.domain)
}

fn progress_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {pos} of {len} answered")
        .expect("the template is a constant and well-formed")
}

/// Prints the report, and writes the other forms that were asked for.
fn tell(report: &Report, telling: &Telling) -> Done {
    to_stdout(|out| render(report, telling.format, telling.verbose > 0, out))?;
    for Output { format, file } in &telling.output {
        let mut bytes = Vec::new();
        let written = render(report, *format, telling.verbose > 0, &mut StripStream::new(&mut bytes));
        written.and_then(|()| fs::write(file, &bytes)).map_err(|error| unwritable(file, &error))?;
    }
    Ok(report.gate.exit_code)
}

fn can_be_written(file: &Path) -> Result<(), String> {
    if file.is_dir() {
        return Err(format!("{}: is a folder; name a file in it", file.display()));
    }
    let existed = file.exists();
    let opened = fs::OpenOptions::new().create(true).append(true).open(file);
    let tried = opened.and_then(|_| if existed { Ok(()) } else { fs::remove_file(file) });
    tried.map_err(|error| unwritable(file, &error))
}

fn unwritable(file: &Path, error: &io::Error) -> String {
    format!("{}: cannot be written: {error}", file.display())
}

fn render(report: &Report, format: Format, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text::report(report, verbose, out),
        Format::Json => json::report(report, out),
    }
}

/// Prints. Colours are for terminals only (`NO_COLOR` and `CLICOLOR_FORCE` are honoured), and a reader who has seen
/// enough and closed the pipe is no error.
fn to_stdout(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Done {
    let mut out = BufWriter::new(anstream::stdout().lock());
    match print(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the output cannot be written: {error}"))
        }
        _ => Ok(0),
    }
}
