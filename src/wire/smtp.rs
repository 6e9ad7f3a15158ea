//! SMTP up to the point where mail would begin (RFC 5321, RFC 3207), by hand: the keywords of Exchange, by which its
//! connectors show what they are, are kept by no library. No mail is offered; who logs on is in `smtp_login`.

use super::{
    clock::Clock,
    conversation::{Outcome, Trouble, Wire},
    hello, tcp, text,
    tls::{self, FAREWELL, Keys, Way},
};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        smtp::{Exchange, SmtpReply, SmtpSession, code, offers},
        time::Span,
    },
    model::{
        ask::Facts,
        evidence::{Reason, Stage},
    },
};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

/// The longest reply line of RFC 5321 section 4.5.3.1.5 has 512 bytes; servers exceed it.
const LONGEST_LINE: usize = 2_000;
/// Ten times what a chatty server says to EHLO.
const MOST_LINES: usize = 200;
const LONGEST_REPLY: usize = 64 * 1024;

/// Goes through a session, as far as the server lets us.
pub(super) async fn session(wire: &Wire, to: SocketAddr, host: &str, question: &SmtpSession) -> Outcome {
    let mut seen = SmtpReply { exchanges: Vec::new(), injected: Raw::default(), tls: None };
    let trouble = talk(wire, to, host, question, &mut Look, &mut seen).await.err();
    let facts = (!seen.exchanges.is_empty()).then_some(Facts::SmtpSession(seen));
    Outcome { facts, trouble }
}

/// What is done where mail would begin, inside TLS and nowhere else. Who ends in trouble has taken his leave.
pub(super) trait Errand: Send {
    /// Does it. The server's last answer to EHLO is in.
    fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        dialogue: &mut Dialogue<'_, S>,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Nothing.
struct Look;

impl Errand for Look {
    async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, _: &mut Dialogue<'_, S>) -> Result<(), Trouble> {
        Ok(())
    }
}

/// A session from its greeting to QUIT, inside TLS where the server begins it.
pub(super) async fn talk(
    wire: &Wire,
    to: SocketAddr,
    host: &str,
    question: &SmtpSession,
    errand: &mut impl Errand,
    seen: &mut SmtpReply,
) -> Result<(), Trouble> {
    let opening = wire.clock.now();
    let stream = tcp::connect(to, &wire.budgets).await?;
    let hello = format!("EHLO {}", own_name(&stream));
    let pace = Pace::new(wire.budgets.reply);
    let mut dialogue = Dialogue::new(stream, wire.clock, pace, &mut seen.exchanges, false);
    dialogue.greeting(opening).await?;
    let keyword = question.upgrade.keyword();
    let is_offered = dialogue.hello(&hello).await?.is_some_and(|hello| offers(hello, keyword).is_some());
    // Where TLS is not offered, or then refused, nobody says in plain text what belongs inside.
    if !is_offered || dialogue.command(keyword).await? != 220 {
        dialogue.quit().await;
        return Ok(());
    }
    let Dialogue { stream, unread, .. } = dialogue;
    if !unread.is_empty() {
        // Taken for an answer inside TLS it could make us believe anything, so nothing more is heard of this server.
        seen.injected = Raw(unread);
        let what = format!("{} bytes in plain text behind its consent to begin TLS", seen.injected.0.len());
        return Err(Trouble::not_the_protocol(what).at(Stage::Tls));
    }
    match Way::of(question.offer) {
        Way::FirstFlight(version) => hello::look(stream, version, host, pace.until(), &mut seen.tls).await,
        Way::Through(keys) => {
            let inside = tls::begin(stream, keys, host, None, pace.until(), &mut seen.tls).await?;
            let mut dialogue = Dialogue::new(inside, wire.clock, pace, &mut seen.exchanges, true);
            if keys == Keys::Any {
                dialogue.hello(&hello).await?;
                errand.run(&mut dialogue).await?;
            }
            dialogue.quit().await;
            tls::close(dialogue.stream).await;
            Ok(())
        }
    }
}

/// The errand without TLS, which tests need not speak.
#[cfg(test)]
pub(super) async fn talk_as_if_inside(
    wire: &Wire,
    to: SocketAddr,
    errand: &mut impl Errand,
    seen: &mut SmtpReply,
) -> Result<(), Trouble> {
    let opening = wire.clock.now();
    let stream = tcp::connect(to, &wire.budgets).await?;
    let mut dialogue = Dialogue::new(stream, wire.clock, Pace::new(wire.budgets.reply), &mut seen.exchanges, true);
    dialogue.greeting(opening).await?;
    dialogue.hello("EHLO me").await?;
    errand.run(&mut dialogue).await?;
    dialogue.quit().await;
    Ok(())
}

/// The name by which we greet: this machine's own, or its address where the name is none that SMTP could carry (RFC 5321
/// section 4.1.3).
fn own_name(stream: &TcpStream) -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return name;
    }
    match stream.local_addr() {
        Ok(SocketAddr::V4(ours)) => format!("[{}]", ours.ip()),
        Ok(SocketAddr::V6(ours)) => format!("[IPv6:{}]", ours.ip()),
        Err(_) => "localhost".into(),
    }
}

/// How long stages may take: each its budget, and all together four of them, so that a server which always answers at the
/// last moment holds nobody up for minutes.
#[derive(Clone, Copy)]
struct Pace {
    stage: Duration,
    last: Instant,
}

impl Pace {
    fn new(stage: Duration) -> Self {
        Self { stage, last: Instant::now() + 4 * stage }
    }

    /// When a stage that begins now has to be over.
    fn until(self) -> Instant {
        (Instant::now() + self.stage).min(self.last)
    }
}

/// Commands and replies on a stream.
pub(super) struct Dialogue<'s, S> {
    stream: S,
    /// What came and was not read yet.
    unread: Vec<u8>,
    clock: Clock,
    pace: Pace,
    exchanges: &'s mut Vec<Exchange>,
    is_inside: bool,
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin> Dialogue<'s, S> {
    fn new(stream: S, clock: Clock, pace: Pace, exchanges: &'s mut Vec<Exchange>, is_inside: bool) -> Self {
        Self { stream, unread: Vec::new(), clock, pace, exchanges, is_inside }
    }

    /// The greeting, which comes unasked.
    async fn greeting(&mut self, opening: jiff::Timestamp) -> Result<(), Trouble> {
        let lines = self.ask(None).await.map_err(|trouble| trouble.at(Stage::Greet))?;
        // Who does not even begin with a code speaks another protocol, and what he says is no fact of SMTP.
        if lines.first().is_none_or(|first| code(first).is_none()) {
            return Err(strange_lines(&lines).at(Stage::Greet));
        }
        let said = self.keep(String::new(), opening, lines);
        match said.map_err(|trouble| trouble.at(Stage::Greet))? {
            220 => Ok(()),
            400..=599 => Err(self.refused().await.at(Stage::Greet)),
            _ => Err(strange_lines(&self.last().lines).at(Stage::Greet)),
        }
    }

    /// EHLO, or HELO for who does not know it. `None` where only HELO was understood, as then nothing is offered.
    async fn hello(&mut self, hello: &str) -> Result<Option<&Exchange>, Trouble> {
        match self.command(hello).await? {
            250 => return Ok(Some(self.last())),
            // RFC 5321 section 3.2: the command is not known, or not implemented.
            500..=504 if !self.is_inside => {}
            _ => return Err(self.refused().await),
        }
        match self.command(&hello.replacen("EHLO", "HELO", 1)).await? {
            250 => Ok(None),
            _ => Err(self.refused().await),
        }
    }

    /// Sends a command and hears its reply. 421 may come at any time, and says that the server hangs up (RFC 5321
    /// section 3.8).
    async fn command(&mut self, command: &str) -> Result<u16, Trouble> {
        let sent = self.clock.now();
        let lines = self.answer(command).await?;
        self.end(command.into(), sent, lines)
    }

    /// The same of a line of a logon, of which nothing is kept that anybody could use. The reply is given as it came.
    pub(super) async fn private(&mut self, line: &str) -> Result<(u16, Vec<String>), Trouble> {
        let sent = self.clock.now();
        let lines = self.answer(line).await?;
        let kept = lines.iter().map(|line| without_tokens(line)).collect();
        Ok((self.end(without_tokens(line), sent, kept)?, lines))
    }

    /// What the server says to a line, which it must not know before it hears it.
    async fn answer(&mut self, line: &str) -> Result<Vec<String>, Trouble> {
        if !self.unread.is_empty() {
            return Err(Trouble::not_the_protocol("an SMTP server that answers before it is asked"));
        }
        self.ask(Some(line)).await
    }

    /// An exchange is over.
    fn end(&mut self, command: String, sent: jiff::Timestamp, lines: Vec<String>) -> Result<u16, Trouble> {
        match self.keep(command, sent, lines)? {
            421 => Err(said(self.last())),
            code => Ok(code),
        }
    }

    /// Says a line, if there is one to say, and hears the reply.
    async fn ask(&mut self, line: Option<&str>) -> Result<Vec<String>, Trouble> {
        let until = self.pace.until();
        let both = async {
            if let Some(line) = line {
                self.say(line).await?;
            }
            self.read_reply().await
        };
        timeout_at(until, both).await.unwrap_or_else(|_| Err(Trouble::new(Stage::Reply, Reason::Silent)))
    }

    /// Keeps an exchange, whatever it says; its code, if the lines agree on one.
    fn keep(&mut self, command: String, sent: jiff::Timestamp, lines: Vec<String>) -> Result<u16, Trouble> {
        let span = Span { sent, received: self.clock.now() };
        self.exchanges.push(Exchange { command, span, lines, is_inside: self.is_inside });
        let kept = self.last();
        kept.code().ok_or_else(|| strange_lines(&kept.lines))
    }

    /// The last that was said.
    pub(super) fn last(&self) -> &Exchange {
        self.exchanges.last().expect("it is called after an exchange was kept")
    }

    /// The server said no. We take our leave, unless it is hanging up already.
    async fn refused(&mut self) -> Trouble {
        let trouble = said(self.last());
        if self.last().code() != Some(421) {
            self.quit().await;
        }
        trouble
    }

    /// Says goodbye; what the server says to that is nobody's business.
    pub(super) async fn quit(&mut self) {
        let leaving = async {
            self.say("QUIT").await?;
            self.read_reply().await
        };
        let _ = timeout(FAREWELL, leaving).await;
    }

    async fn say(&mut self, command: &str) -> Result<(), Trouble> {
        let line = format!("{command}\r\n");
        self.stream.write_all(line.as_bytes()).await.map_err(|error| Trouble::broken(&error))?;
        self.stream.flush().await.map_err(|error| Trouble::broken(&error))
    }

    /// Reads lines up to the one that ends the reply: any that does not go on with `-` behind its code.
    async fn read_reply(&mut self) -> Result<Vec<String>, Trouble> {
        let mut lines = Vec::new();
        let mut left = LONGEST_REPLY;
        loop {
            let line = self.read_line().await?;
            let is_last = code(&line).is_none() || line.as_bytes().get(3) != Some(&b'-');
            left = left
                .checked_sub(line.len())
                .ok_or_else(|| Trouble::not_the_protocol("an SMTP reply of more than 64 KiB"))?;
            lines.push(line);
            if is_last {
                return Ok(lines);
            }
            if lines.len() == MOST_LINES {
                return Err(Trouble::not_the_protocol("an SMTP reply of more than 200 lines"));
            }
        }
    }

    /// A line ends with LF, before which CR should stand. Everything else is kept in it: what a server does with CR and
    /// NUL is worth knowing.
    async fn read_line(&mut self) -> Result<String, Trouble> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=searched + at).collect();
                let line = &line[..line.len() - 1];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.len() > LONGEST_LINE {
                    break;
                }
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            searched = self.unread.len();
            // The CR of the longest line may be here already.
            if searched > LONGEST_LINE + 1 {
                break;
            }
            let mut chunk = [0; 2048];
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Err(Trouble::new(Stage::Reply, Reason::Closed)),
                Ok(length) => self.unread.extend(&chunk[..length]),
                Err(error) => return Err(Trouble::broken(&error)),
            }
        }
        Err(Trouble::not_the_protocol("a line of more than 2,000 bytes where SMTP was expected"))
    }
}

/// A line without the tokens in it, whoever says them: some servers repeat what they do not understand. Whatever has a
/// token's letters and its length counts as one.
fn without_tokens(line: &str) -> String {
    // The shortest, four bytes that are signed, has 32 bytes.
    const SHORTEST: usize = 40;
    let is_of_base64 = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '=');
    let mut shown = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.find(|letter| !is_of_base64(letter)).unwrap_or(rest.len()));
        shown.push_str(if word.len() < SHORTEST { word } else { "(token)" });
        let (between, behind) = behind.split_at(behind.find(is_of_base64).unwrap_or(behind.len()));
        shown.push_str(between);
        rest = behind;
    }
    shown
}

/// What the server said instead, code and text.
fn said(exchange: &Exchange) -> Trouble {
    Trouble::new(Stage::Reply, Reason::ServerSaid(text::quoted(&exchange.lines.join(" "))))
}

/// Lines that are no reply: no code, or several.
fn strange_lines(lines: &[String]) -> Trouble {
    Trouble::strange(lines.join(" ").as_bytes())
}
