//! Send protocol logs ("Protocol logging", Microsoft Learn): a row for each line of SMTP. Of a day's sessions only those are kept
//! that tell something, and of those only what does: no sender, no recipient.

use super::{
    mistake::{Mistakes, quoted},
    rows::{Lines, offset},
};
use csv::{ReaderBuilder, StringRecord};
use exchange_preflight_checks::{
    facts::{
        dns::{canonical_name, is_host_name},
        protocol_log::{CertificateRow, LoggedCertificate, SendSession, Side, is_thumbprint},
    },
    model::hybrid::is_exchange_online,
};
use jiff::Timestamp;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

/// Of one server by one connector so many sessions with refusals are kept, and of those without so many that differ; the newest.
const MOST_REFUSED: usize = 50;
const MOST_QUIET: usize = 100;

/// And so many servers and connectors, those with the newest sessions; no organisation has more.
const MOST_WAYS: usize = 1000;

/// So many sessions are gathered before what is not worth keeping goes.
const MOST_GATHERED: usize = 5000;

/// So many refusals of one session are kept.
const MOST_REFUSALS: usize = 8;

/// So many sessions go on at once; a server has no more connections.
const MOST_OPEN: usize = 4096;

/// So many characters of a connector's name or of a certificate's names are kept, and so many alternative names.
const LONGEST_NAME: usize = 256;
const LONGEST_SUBJECT: usize = 1024;
const MOST_NAMES: usize = 500;

/// Where a front end takes what it is to send on ("Mail flow and the transport pipeline", Microsoft Learn).
const FRONT_END: u16 = 717;

/// Is it a protocol log? Its first line says so.
pub fn is_log(text: &str) -> bool {
    let first = text.trim_start().lines().next().unwrap_or_default().to_ascii_lowercase();
    ["#software:", "#log-type:", "#version:", "#fields:"].iter().any(|word| first.starts_with(word))
}

/// The logs of one reading: a session may begin in one file and end in the next.
#[derive(Default)]
pub struct Logs {
    finished: Vec<SendSession>,
    /// At so many of them it is looked which are worth keeping.
    full: usize,
    /// Those whose beginning or end stands in another file.
    parted: BTreeMap<(Option<String>, String), Open>,
}

impl Logs {
    /// Reads a file, which is of this server by the word of who gave it. Says how many sessions it has.
    pub fn read(&mut self, text: &str, server: Option<&str>, mistakes: &mut Mistakes) -> usize {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut file = File { server, columns: None, open: HashMap::new(), begun: VecDeque::new(), sessions: 0 };
        let (mut record, mut lines) = (StringRecord::new(), Lines::of(text));
        while reader.read_record(&mut record).is_ok_and(|is_there| is_there) {
            let line = lines.at(offset(&record));
            // A log that is being written may end in the middle of a row.
            let is_last = usize::try_from(reader.position().byte()).is_ok_and(|end| end >= text.len());
            match file.take(&record) {
                Ok(ended) => ended.into_iter().for_each(|open| self.end(server, open)),
                Err(Wrong::Log(what)) => {
                    mistakes.line(line, what);
                    return 0;
                }
                Err(Wrong::Row(_)) if is_last && !text.ends_with('\n') => {}
                Err(Wrong::Row(what)) => mistakes.line(line, what),
            }
        }
        if file.columns.is_none() {
            mistakes.whole("has no line #Fields:, which every protocol log begins with");
        }
        let File { open, sessions, .. } = file;
        for open in open.into_values() {
            self.end(server, open);
        }
        sessions
    }

    /// All that is worth keeping, in their order.
    pub fn into_sessions(mut self) -> Vec<SendSession> {
        for open in std::mem::take(&mut self.parted).into_values() {
            self.keep(open.session);
        }
        worth_keeping(self.finished)
    }

    fn end(&mut self, server: Option<&str>, open: Open) {
        if open.has_begun && open.has_ended {
            return self.keep(open.session);
        }
        let key = (server.map(ToString::to_string), open.id.clone());
        match self.parted.remove(&key) {
            Some(other) => {
                let joined = other.joined(open);
                if joined.has_begun && joined.has_ended {
                    self.keep(joined.session);
                } else {
                    self.parted.insert(key, joined);
                }
            }
            None if self.parted.len() < MOST_OPEN => drop(self.parted.insert(key, open)),
            None => self.keep(open.session),
        }
    }

    fn keep(&mut self, mut session: SendSession) {
        // A log may break off before the thumbprint; without it nobody can tell which certificate it was.
        for side in [&mut session.sent, &mut session.received] {
            side.take_if(|certificate| certificate.thumbprint.is_empty());
        }
        // Of correspondents only what a refusal is about; mail to strangers is nobody's business.
        if session.refusals.is_empty() && !session.remote_name.as_deref().is_some_and(is_exchange_online) {
            (session.remote, session.remote_name, session.received) = (None, None, None);
        }
        self.finished.push(session);
        if self.finished.len() > self.full.max(MOST_GATHERED) {
            self.finished = worth_keeping(std::mem::take(&mut self.finished));
            // Where much is worth keeping, the next look is as far away.
            self.full = 2 * self.finished.len();
        }
    }
}

/// Of sessions that say the same the newest and the oldest, which tells since when; and the newest of all that were refused. In the
/// order of time.
pub fn worth_keeping(mut sessions: Vec<SendSession>) -> Vec<SendSession> {
    // Those of one moment have an order of their own, so that the order of files does not matter.
    sessions.sort_by_cached_key(|session| (session.when, format!("{session:?}")));
    sessions.dedup();
    sessions.reverse();
    // The last that is met is the oldest.
    let oldest: BTreeMap<_, _> = sessions.iter().map(|session| (says(session), session.when)).collect();
    let mut ways: HashMap<_, (usize, usize)> = HashMap::new();
    let mut said = BTreeSet::new();
    sessions.retain(|session| {
        let key = says(session);
        let is_oldest = oldest.get(&key) == Some(&session.when);
        let is_first = said.insert(key);
        let way = (session.server.clone(), session.local, session.connector.clone());
        if ways.len() == MOST_WAYS && !ways.contains_key(&way) {
            return false;
        }
        let (quiet, refused) = ways.entry(way).or_default();
        if session.refusals.is_empty() {
            let is_kept = (is_first || is_oldest) && *quiet < MOST_QUIET;
            *quiet += usize::from(is_kept);
            is_kept
        } else {
            *refused += 1;
            *refused <= MOST_REFUSED
        }
    });
    sessions.reverse();
    sessions
}

/// What a session says beside its time: who showed what to whom. Servers of one tenant have names of one parent.
fn says(session: &SendSession) -> impl Ord + use<> {
    let thumbprint = |certificate: &Option<LoggedCertificate>| certificate.as_ref().map(|one| one.thumbprint.clone());
    let parent =
        session.remote_name.as_deref().map(|name| name.split_once('.').map_or(name, |(_, parent)| parent).to_string());
    (
        session.server.clone(),
        session.local,
        session.connector.clone(),
        session.is_to_front_end,
        parent,
        thumbprint(&session.sent),
        session.refusals.is_empty(),
    )
}

enum Wrong {
    /// The file cannot be read.
    Log(String),
    /// This row cannot.
    Row(String),
}

/// A session of which rows still come.
struct Open {
    id: String,
    session: SendSession,
    /// Whose certificate the next rows are about, in the form of old.
    about: Option<Side>,
    has_begun: bool,
    has_ended: bool,
}

impl Open {
    /// What the two files say of one session.
    fn joined(self, other: Self) -> Self {
        let (mut first, second) = if other.session.when < self.session.when { (other, self) } else { (self, other) };
        let session = &mut first.session;
        session.local = session.local.or(second.session.local);
        session.remote = session.remote.or(second.session.remote);
        session.is_to_front_end |= second.session.is_to_front_end;
        session.remote_name = session.remote_name.take().or(second.session.remote_name);
        session.sent = session.sent.take().or(second.session.sent);
        session.received = session.received.take().or(second.session.received);
        session.refusals.extend(second.session.refusals);
        session.refusals.truncate(MOST_REFUSALS);
        session.replies.extend(second.session.replies);
        session.replies.truncate(MOST_REFUSALS);
        Self { has_begun: first.has_begun || second.has_begun, has_ended: first.has_ended || second.has_ended, ..first }
    }

    /// Takes a row. The error is what is wrong with it.
    fn take(&mut self, event: &str, data: &str, context: &str) -> Result<(), String> {
        match event {
            "+" => self.has_begun = true,
            "-" => self.has_ended = true,
            "<" if self.session.remote_name.is_none() => self.session.remote_name = banner_name(data),
            _ => {}
        }
        if event == "*"
            && let Some(row) = CertificateRow::read(context)
        {
            return self.certificate(row, data);
        }
        // What this side says holds senders and recipients; what it remarks and what the other end says, refusals.
        if event != ">" {
            self.session.heed(event == "<", data, MOST_REFUSALS);
            self.session.heed(false, context, MOST_REFUSALS);
        }
        Ok(())
    }

    fn certificate(&mut self, row: CertificateRow, data: &str) -> Result<(), String> {
        let data = data.trim();
        let cut = |longest: usize| data.chars().take(longest).collect::<String>();
        if let CertificateRow::Whole(side) | CertificateRow::Begin(side) = row {
            self.about = Some(side);
            let read = LoggedCertificate::read(data).map(bounded);
            let is_lost = matches!(row, CertificateRow::Whole(_)) && read.is_none();
            *self.side(side) = read;
            return if is_lost {
                Err(format!("names a certificate without a thumbprint: {}", quoted(data)))
            } else {
                Ok(())
            };
        }
        let Some(side) = self.about else { return Ok(()) };
        let certificate = self.side(side).get_or_insert_default();
        match row {
            CertificateRow::Subject => certificate.subject = cut(LONGEST_SUBJECT),
            CertificateRow::Issuer => certificate.issuer = cut(LONGEST_SUBJECT),
            CertificateRow::Serial => certificate.serial = Some(cut(LONGEST_NAME).to_lowercase()),
            CertificateRow::Names => {
                certificate.names = LoggedCertificate::names(data).into_iter().take(MOST_NAMES).collect();
            }
            _ if is_thumbprint(data) => certificate.thumbprint = data.to_ascii_lowercase(),
            _ => return Err(format!("{} is no thumbprint, which has 40 hexadecimal digits", quoted(data))),
        }
        Ok(())
    }

    fn side(&mut self, side: Side) -> &mut Option<LoggedCertificate> {
        match side {
            Side::Own => &mut self.session.sent,
            Side::Other => &mut self.session.received,
        }
    }
}

/// A log has its limits from whoever wrote it.
fn bounded(mut certificate: LoggedCertificate) -> LoggedCertificate {
    let cut = |text: &mut String| *text = text.chars().take(LONGEST_SUBJECT).collect();
    cut(&mut certificate.subject);
    cut(&mut certificate.issuer);
    certificate.names.truncate(MOST_NAMES);
    certificate
}

/// One file while it is read.
struct File<'f> {
    server: Option<&'f str>,
    columns: Option<Columns>,
    open: HashMap<String, Open>,
    /// The ids of those, and of some that have ended, in the order of their first rows.
    begun: VecDeque<String>,
    sessions: usize,
}

impl File<'_> {
    /// Takes a row. Gives back the sessions that ended with it.
    fn take(&mut self, record: &StringRecord) -> Result<Vec<Open>, Wrong> {
        let first = record.get(0).unwrap_or_default().trim_start_matches('\u{feff}');
        if first.starts_with('#') {
            return self.header(first, record).map(|()| Vec::new()).map_err(Wrong::Log);
        }
        let Some(columns) = &self.columns else {
            return Err(Wrong::Log("stands before the line #Fields:, which says what its columns are".into()));
        };
        let row = columns.row(record)?;
        let when: Timestamp = row
            .when
            .parse()
            .map_err(|_| Wrong::Row(format!("{} is no time; 2026-11-22T10:00:00.123Z is one", quoted(row.when))))?;
        let mut ended = Vec::new();
        if !self.open.contains_key(row.id) {
            self.sessions += 1;
            // The longest open goes first; those that have ended since are only dropped from the queue.
            while self.open.len() >= MOST_OPEN {
                let Some(id) = self.begun.pop_front() else { break };
                ended.extend(self.open.remove(&id));
            }
            if self.begun.len() >= 2 * MOST_OPEN {
                self.begun.retain(|id| self.open.contains_key(id));
            }
            self.begun.push_back(row.id.to_string());
        }
        let open = self.open.entry(row.id.to_string()).or_insert_with(|| Open {
            id: row.id.to_string(),
            session: SendSession {
                server: self.server.map(canonical_name),
                local: None,
                connector: row.connector.chars().take(LONGEST_NAME).collect(),
                remote: None,
                is_to_front_end: false,
                remote_name: None,
                when,
                sent: None,
                received: None,
                refusals: Vec::new(),
                replies: Vec::new(),
            },
            about: None,
            has_begun: false,
            has_ended: false,
        });
        open.session.local = open.session.local.or_else(|| address(row.local));
        open.session.remote = open.session.remote.or_else(|| address(row.remote));
        open.session.is_to_front_end |= row.remote.parse().is_ok_and(|at: SocketAddr| at.port() == FRONT_END);
        open.take(row.event, &row.data, row.context).map_err(Wrong::Row)?;
        if open.has_ended {
            ended.extend(self.open.remove(row.id));
        }
        Ok(ended)
    }

    fn header(&mut self, first: &str, record: &StringRecord) -> Result<(), String> {
        let (key, value) = first.split_once(':').unwrap_or((first, ""));
        if key.eq_ignore_ascii_case("#Log-type") && !value.to_ascii_lowercase().contains("smtp send protocol log") {
            return Err(format!(
                "this is a {}; the SMTP Send Protocol Log is wanted, which `exchange-preflight explain inputs` finds",
                quoted(value.trim())
            ));
        }
        if key.eq_ignore_ascii_case("#Fields") {
            let names = [value].into_iter().chain(record.iter().skip(1)).map(str::trim);
            self.columns = Some(Columns::of(&names.collect::<Vec<_>>())?);
        }
        Ok(())
    }
}

/// Where each column stands, by `#Fields:`.
struct Columns {
    when: usize,
    connector: usize,
    id: usize,
    local: usize,
    remote: usize,
    event: usize,
    data: usize,
    context: usize,
    count: usize,
}

/// A row, by its columns.
struct Row<'r> {
    when: &'r str,
    connector: &'r str,
    id: &'r str,
    local: &'r str,
    remote: &'r str,
    event: &'r str,
    data: Cow<'r, str>,
    context: &'r str,
}

impl Columns {
    fn of(names: &[&str]) -> Result<Self, String> {
        let at = |wanted: &str| {
            let at = names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
            at.ok_or_else(|| format!("the line #Fields: names no column {wanted}"))
        };
        Ok(Self {
            when: at("date-time")?,
            connector: at("connector-id")?,
            id: at("session-id")?,
            local: at("local-endpoint")?,
            remote: at("remote-endpoint")?,
            event: at("event")?,
            data: at("data")?,
            context: at("context")?,
            count: names.len(),
        })
    }

    fn row<'r>(&self, record: &'r StringRecord) -> Result<Row<'r>, Wrong> {
        let surplus = match record.len().checked_sub(self.count) {
            None => return Err(Wrong::Row(format!("has {} fields; #Fields: names {}", record.len(), self.count))),
            // Names of certificates hold commas, and not every version puts them in quotation marks.
            Some(surplus) if surplus > 0 && self.context != self.data + 1 => {
                return Err(Wrong::Row(format!("has {} fields; #Fields: names {}", record.len(), self.count)));
            }
            Some(surplus) => surplus,
        };
        let field = |at: usize| record.get(if at > self.data { at + surplus } else { at }).unwrap_or_default();
        let data = record.get(self.data).unwrap_or_default();
        let rest = (self.data + 1..=self.data + surplus).filter_map(|at| record.get(at));
        let row = Row {
            when: field(self.when),
            connector: field(self.connector),
            id: field(self.id),
            local: field(self.local),
            remote: field(self.remote),
            event: field(self.event),
            data: rest.fold(Cow::Borrowed(data), |data, more| Cow::Owned(format!("{data},{more}"))),
            context: field(self.context),
        };
        // An open quotation mark takes the rows after it for its own.
        match record.iter().find(|field| field.contains('\n')) {
            None => Ok(row),
            Some(field) => {
                let begin = field.lines().next().unwrap_or_default();
                Err(Wrong::Row(format!("a quotation mark is not closed: {}", quoted(begin))))
            }
        }
    }
}

fn address(endpoint: &str) -> Option<IpAddr> {
    endpoint.parse().map(|at: SocketAddr| at.ip()).ok()
}

/// `220 mx.fabrikam.com ESMTP`: what the other end calls itself. The reply to STARTTLS has no name in that place.
fn banner_name(data: &str) -> Option<String> {
    let mut words = data.trim().split([' ', '-']).filter(|word| !word.is_empty());
    let is_greeting = words.next() == Some("220");
    let name = words.next().map(canonical_name).filter(|_| is_greeting && data.len() > 4)?;
    let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_host_name(&name) && has_letter && name.contains('.')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEW: &str = include_str!("../../fixtures/inputs/SEND20261122-1.LOG");
    const OLD: &str = include_str!("../../fixtures/inputs/SEND20261121-1.LOG");

    fn read(texts: &[&str]) -> (Vec<SendSession>, Vec<String>) {
        let (mut logs, mut mistakes) = (Logs::default(), Mistakes::of("SEND.LOG"));
        for text in texts {
            logs.read(text, None, &mut mistakes);
        }
        (logs.into_sessions(), mistakes.into_sentences())
    }

    fn thumbprint(certificate: Option<&LoggedCertificate>) -> &str {
        certificate.map_or("", |certificate| &certificate.thumbprint)
    }

    /// Documented rows ("Protocol logging", KB 4051498), with certificates of our own.
    #[test]
    fn both_forms_of_logs_tell_who_showed_what() {
        let (sessions, mistakes) = read(&[NEW, OLD]);
        assert_eq!(mistakes, Vec::<String>::new());
        let said = |session: &SendSession| {
            let (sent, received) = (thumbprint(session.sent.as_ref()), thumbprint(session.received.as_ref()));
            format!("{} {} {sent:.4} {received:.4} {}", session.when, session.connector, session.refusals.join("; "))
        };
        assert_eq!(
            sessions.iter().map(said).collect::<Vec<_>>(),
            [
                "2026-11-21T09:00:00.1Z Outbound to Office 365 dd51 7f3b ",
                "2026-11-21T09:10:00.1Z Outbound to Office 365   454 4.7.0 TLS channel could not be established: UntrustedRoot",
                "2026-11-22T10:00:00.1Z Outbound to Office 365 dd51 7f3b ",
                "2026-11-22T10:05:00.1Z Internet b9a9  TLS negotiation failed with error UnknownCredentials",
                "2026-11-22T10:05:00.1Z Outbound to Office 365 4201 7f3b 550 5.7.64 TenantAttribution; Relay Access Denied \
                 [AM0PR04FT012.mail.protection.outlook.com 2026-11-22T10:05:00.000Z 08DE29B4B5A1C0F1]",
            ]
        );
        let first = &sessions[0];
        assert_eq!(first.remote_name.as_deref(), Some("am0pr04ft012.mail.protection.outlook.com"));
        assert_eq!((first.local, first.remote), ("10.0.0.22".parse().ok(), "192.0.2.36".parse().ok()));
        let (of_old, of_new) = (sessions[0].sent.clone().unwrap(), sessions[2].sent.clone().unwrap());
        assert_eq!(
            of_old,
            LoggedCertificate { not_before: None, not_after: None, ..of_new },
            "both forms tell the same"
        );
        assert_eq!(of_old.subject, "CN=mail.contoso.com, O=\"Contoso, Ltd.\", L=Redmond, S=Washington, C=US");
        assert!(!format!("{sessions:?}").contains('@'), "nobody who wrote or was written to is kept");
    }

    #[test]
    fn a_session_that_two_files_share_is_one() {
        let rows: Vec<_> = NEW.lines().collect();
        let (head, rows) = rows.split_at(5);
        let whole = read(&[NEW]).0;
        for cut in 0..=rows.len() {
            let part = |rows: &[&str]| [head, rows].concat().join("\r\n") + "\r\n";
            let (first, second) = (part(&rows[..cut]), part(&rows[cut..]));
            assert_eq!(read(&[&first, &second]), (whole.clone(), Vec::new()), "cut at {cut}");
            assert_eq!(read(&[&second, &first]).0, whole, "the later first, cut at {cut}");
        }
    }

    #[test]
    fn names_with_commas_outside_quotation_marks_are_joined_again() {
        let bare =
            NEW.replace("\" CN", " CN").replace("com\",Sending", "com,Sending").replace("com\",Remote", "com,Remote");
        let bare = bare.replace("\"\"Contoso, Ltd.\"\"", "\"Contoso, Ltd.\"");
        assert_ne!(bare, NEW);
        assert_eq!(read(&[&bare]), read(&[NEW]));
    }

    #[test]
    fn one_connector_does_not_crowd_out_another_and_strangers_are_not_kept() {
        let session = |connector: &str, second: i64, remote: &str| SendSession {
            server: None,
            local: "10.0.0.22".parse().ok(),
            connector: connector.into(),
            remote: "192.0.2.36".parse().ok(),
            is_to_front_end: false,
            remote_name: Some(remote.into()),
            when: Timestamp::from_second(second).unwrap(),
            sent: Some(LoggedCertificate { thumbprint: format!("{second:040x}"), ..LoggedCertificate::default() }),
            received: None,
            replies: Vec::new(),
            refusals: Vec::new(),
        };
        let mut logs = Logs::default();
        logs.keep(session("Cloud", 0, "db5.mail.protection.outlook.com"));
        for second in 1..6000 {
            logs.keep(session("Internet", second, "mx.fabrikam.com"));
        }
        let kept = logs.into_sessions();
        assert_eq!(kept.len(), 1 + MOST_QUIET);
        assert!(kept[0].connector == "Cloud" && kept[0].remote.is_some() && kept[0].remote_name.is_some());
        assert!(kept[1..].iter().all(|session| session.remote.is_none() && session.remote_name.is_none()));
    }

    #[test]
    fn what_goes_to_a_front_end_is_known_by_its_port() {
        let (sessions, _) = read(&[NEW, &NEW.replace(":25,", ":717,").replace(",08D", ",18D")]);
        let count = |is_it: bool| sessions.iter().filter(|session| session.is_to_front_end == is_it).count();
        assert!(count(true) > 0 && count(true) == count(false), "{sessions:?}");
    }

    #[test]
    fn what_is_no_send_log_is_told() {
        for (text, wrong) in [
            (
                include_str!("../../fixtures/inputs/RECV20261122-1.LOG").to_string(),
                "line 3: this is a \"SMTP Receive Protocol Log\"",
            ),
            (NEW.replace("session-id", "sesion"), "line 5: the line #Fields: names no column session-id"),
            (NEW.replacen("#Fields", "#Feilds", 1), "line 6: stands before the line #Fields:"),
            (NEW.replacen("2026-11-22T10:00:00.101Z", "yesterday", 1), "line 7: \"yesterday\" is no time"),
            (NEW.replacen(",+,,", ",+", 1), "line 6: has 7 fields"),
            (
                NEW.replacen(",\"220 AM0", ",\"220 \"\"AM0", 1).replacen("+0000\",", "+0000,", 1),
                "a quotation mark is not closed",
            ),
            ("#Software: Microsoft Exchange Server\n".into(), "has no line #Fields:"),
        ] {
            let (_, mistakes) = read(&[&text]);
            assert!(mistakes.iter().any(|told| told.contains(wrong)), "{wrong}: {mistakes:?}");
        }
    }

    proptest! {
        /// A log that is being written may end anywhere in its last row, and loses nothing before it.
        #[test]
        fn a_cut_log_keeps_all_rows_before_the_cut(at in 330usize..8000) {
            let at = at.min(NEW.len());
            let (rows, mistakes) = (NEW[..at].matches('\n').count(), read(&[&NEW[..at]]).1);
            prop_assert!(mistakes.is_empty(), "{:?}", mistakes);
            let lines: Vec<_> = NEW.lines().take(rows).collect();
            let (kept, whole) = (read(&[&NEW[..at]]).0, read(&[&(lines.join("\r\n") + "\r\n")]).0);
            prop_assert!(kept.len() >= whole.len());
        }

        #[test]
        fn any_byte_may_be_wrong(at in 0usize..8000, letter in "\\PC") {
            let mut text = NEW.to_string();
            let at = at.min(text.len() - 1);
            text.replace_range(at..=at, &letter);
            let _ = read(&[&text]);
        }
    }
}
