//! As whom the directory is read; and the gate before the password, so that nobody's account is locked by us.

use super::{
    conversation::Trouble,
    refusal::{Judged, Refusal},
    text, ticket,
};
use exchange_preflight_checks::model::{
    evidence::{Reason, Stage},
    plan::{Logon, LogonWay},
};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

/// A password. It is wiped from memory at its end, and it cannot be printed.
pub struct Password(Zeroizing<String>);

impl Password {
    /// An empty one is refused: a simple bind with it succeeds as nobody (RFC 4513 section 5.1.2).
    pub fn new(text: Zeroizing<String>) -> Result<Self, String> {
        if text.is_empty() { Err("the password is empty".into()) } else { Ok(Self(text)) }
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// What a run logs on with.
pub struct Credential {
    /// The realm of the domain that is looked at.
    pub(super) realm: String,
    pub(super) way: LogonWay,
    pub(super) identity: Identity,
    pub(super) gate: Arc<Gate>,
}

/// Who logs on.
pub(super) enum Identity {
    /// A user with a password.
    User(User, Password),
    /// Whoever is logged on to this machine; the domain is the one that is looked at.
    Ticket { domain: String },
}

impl Credential {
    /// Can anybody log on so? The error is a sentence for whoever typed it.
    pub fn possible(logon: &Logon) -> Result<(), String> {
        match (logon.way, &logon.user) {
            (LogonWay::Ticket, _) if !ticket::IS_BUILT_IN => Err(
                "--logon ticket is not in this build: it takes cargo build --release --locked --features system-gssapi; \
                 --logon kerberos asks for the password instead"
                    .into(),
            ),
            (LogonWay::Ticket, _) => Ok(()),
            (_, Some(user)) => User::read(user, "").map(drop),
            (_, None) => Err("who logs on? state --user reader@contoso.com, or --logon ticket".into()),
        }
    }

    /// The error is a sentence for whoever typed it. `domain` is where a user without a domain belongs.
    pub fn new(logon: &Logon, domain: &str, password: Option<Password>) -> Result<Self, String> {
        Self::possible(logon)?;
        let identity = match (logon.way, &logon.user, password) {
            (LogonWay::Ticket, ..) => Identity::Ticket { domain: domain.into() },
            (_, Some(user), Some(password)) => Identity::User(User::read(user, domain)?, password),
            _ => return Err("a password is needed to log on".into()),
        };
        Ok(Self { realm: domain.to_uppercase(), way: logon.way, identity, gate: Arc::default() })
    }
}

/// A user, as the domain knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// For a simple bind (MS-ADTS section 5.1.1.1.1).
    pub(super) bind_name: String,
    /// For Kerberos: with an `@` in it, it is an enterprise name, which the KDC looks up as a UPN (RFC 6806 section 5).
    pub(super) principal: String,
    /// The domain whose KDC knows it: a DNS or a NetBIOS name.
    pub(super) domain: String,
}

impl User {
    /// `reader@contoso.com`, `CONTOSO\reader` or `reader`. The suffix of a UPN may be any that the forest allows, so it is
    /// part of the name, and the domain that is looked at is asked.
    fn read(user: &str, domain: &str) -> Result<Self, String> {
        let of = |bind_name: String, principal: &str, domain: &str| {
            let (principal, domain) = (principal.to_owned(), domain.to_owned());
            Ok(Self { bind_name, principal, domain })
        };
        match user.split_once('\\') {
            Some(("", _) | (_, "")) => Err(format!("{user:?} is no user; write reader@contoso.com or CONTOSO\\reader")),
            Some((netbios, name)) => of(user.to_owned(), name, netbios),
            None if user.contains('@') => of(user.to_owned(), user, domain),
            None => of(format!("{user}@{domain}"), user, domain),
        }
    }
}

/// The gate before the password: one conversation tries it while the others wait, and the first server that says yes or no
/// decides. A refused password is never sent again, whatever the protocol and the server: that is how accounts are locked.
/// LDAP and Kerberos have one gate.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Untried,
    Accepted,
    Closed(Reason),
}

impl Gate {
    /// Why nobody may try any more.
    pub(super) fn closed(&self) -> Option<Trouble> {
        match &*self.state() {
            State::Closed(reason) => Some(Trouble::new(Stage::Bind, reason.clone())),
            State::Untried | State::Accepted => None,
        }
    }

    /// Waits for the turn, as long as nobody knows whether the password is right.
    pub(super) async fn enter(self: &Arc<Self>, server: &str) -> Result<Attempt, Trouble> {
        let attempt = |turn| Attempt { gate: Arc::clone(self), server: server.into(), turn, is_sent: false };
        if !matches!(*self.state(), State::Untried) {
            return self.closed().map_or_else(|| Ok(attempt(None)), Err);
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Meanwhile it may have been decided.
        let is_decided = matches!(*self.state(), State::Accepted);
        self.closed().map_or_else(|| Ok(attempt((!is_decided).then_some(turn))), Err)
    }

    /// The first who closes it has the word.
    fn close(&self, reason: Reason) {
        let mut state = self.state();
        if !matches!(*state, State::Closed(_)) {
            *state = State::Closed(reason);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

/// The right to send the password once. Dropped after it was sent and before anybody answered, it closes the gate: nobody
/// knows whether it was counted.
#[derive(Debug)]
pub(super) struct Attempt {
    gate: Arc<Gate>,
    server: String,
    /// Held while others wait.
    turn: Option<OwnedMutexGuard<()>>,
    is_sent: bool,
}

impl Attempt {
    /// Some server took the password before: it is right, and no try of it locks the account.
    pub(super) fn is_known_good(&self) -> bool {
        self.turn.is_none()
    }

    /// From here on silence counts as a try; but not of a password that is right, of which no try locks the account.
    pub(super) fn sent(&mut self) {
        self.is_sent = !self.is_known_good();
    }

    /// The server took it: all others may go on.
    pub(super) fn accepted(&mut self) {
        self.is_sent = false;
        self.turn = None;
        let mut state = self.gate.state();
        if matches!(*state, State::Untried) {
            *state = State::Accepted;
        }
    }

    /// The server does not let us log on. Only where it judged the password, or the user before any other server took the
    /// password, nobody tries any more.
    pub(super) fn answered(&mut self, refusal: &Refusal) -> Trouble {
        let is_final = match refusal.of {
            Judged::Password => true,
            Judged::User => !self.is_known_good(),
            Judged::Nobody => false,
        };
        if is_final {
            return self.refused(&refusal.why);
        }
        self.undecided();
        Trouble::new(Stage::Bind, Reason::ServerSaid(text::cut(&refusal.why)))
    }

    /// The server refused it, for these words.
    fn refused(&mut self, why: &str) -> Trouble {
        self.is_sent = false;
        let why = text::cut(&format!("{why}; {} refused it, and no other server is asked", self.server));
        self.gate.close(Reason::ServerSaid(why.clone()));
        Trouble::new(Stage::Bind, Reason::ServerSaid(why))
    }

    /// The server answered, and judged no password.
    pub(super) fn undecided(&mut self) {
        self.is_sent = false;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_sent {
            let why = "the password was sent and no answer came, which may count as a wrong one; it is not sent again";
            self.gate.close(Reason::Local(text::cut(&format!("{why}; it went to {}", self.server))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{task::yield_now, time::Duration};

    fn gate() -> Arc<Gate> {
        Arc::default()
    }

    async fn enter(gate: &Arc<Gate>) -> Result<Attempt, Trouble> {
        gate.enter("dc1.contoso.com").await
    }

    #[test]
    fn users_are_written_in_three_ways() {
        let read = |user| User::read(user, "contoso.com").map(|user| (user.bind_name, user.principal, user.domain));
        let all = |one: &str, two: &str, three: &str| Ok((one.into(), two.into(), three.into()));
        assert_eq!(read("reader"), all("reader@contoso.com", "reader", "contoso.com"));
        assert_eq!(read("CONTOSO\\reader"), all("CONTOSO\\reader", "reader", "CONTOSO"));
        assert_eq!(read("reader@mail.example"), all("reader@mail.example", "reader@mail.example", "contoso.com"));
        for none in ["\\reader", "CONTOSO\\"] {
            assert!(read(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn an_empty_password_is_none() {
        assert!(Password::new(String::new().into()).is_err());
    }

    #[tokio::test]
    async fn the_first_refusal_decides_for_all() {
        let gate = gate();
        let mut first = enter(&gate).await.expect("nobody has tried");
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { enter(&gate).await.err() }
        });
        yield_now().await;
        assert!(!waiting.is_finished(), "others wait for the first");
        first.sent();
        let told = first.refused("wrong password");
        drop(first);
        assert_eq!(waiting.await.expect("it ends").as_ref(), Some(&told));
        assert_eq!(gate.closed().as_ref(), Some(&told));
        assert_eq!(enter(&gate).await.err(), Some(told));
    }

    #[tokio::test]
    async fn after_a_yes_nobody_waits_and_a_no_still_closes() {
        let gate = gate();
        let mut first = enter(&gate).await.expect("nobody has tried");
        first.sent();
        first.accepted();
        let mut second = enter(&gate).await.expect("it was taken");
        let third = enter(&gate).await.expect("nobody waits");
        second.sent();
        second.refused("locked");
        drop((first, third));
        assert!(gate.closed().is_some());
    }

    #[tokio::test]
    async fn one_ill_server_does_not_speak_for_all() {
        let refusal = |of| Refusal { of, why: "no".into() };
        let gate = gate();
        let mut ill = enter(&gate).await.expect("nobody has tried");
        ill.answered(&refusal(Judged::Nobody));
        drop(ill);
        assert_eq!(gate.closed(), None);
        let mut good = enter(&gate).await.expect("nobody judged the password");
        good.sent();
        good.accepted();
        let mut behind = enter(&gate).await.expect("it was taken");
        behind.answered(&refusal(Judged::User));
        let mut silent = enter(&gate).await.expect("the password is right");
        silent.sent();
        drop(silent);
        assert_eq!(gate.closed(), None);
        behind.answered(&refusal(Judged::Password));
        assert!(gate.closed().is_some());
    }

    #[tokio::test]
    async fn the_first_server_judges_users() {
        let gate = gate();
        let mut first = enter(&gate).await.expect("nobody has tried");
        first.answered(&Refusal { of: Judged::User, why: "no such user".into() });
        assert!(gate.closed().is_some());
    }

    #[tokio::test]
    async fn what_was_not_sent_is_no_try_and_silence_after_it_is_one() {
        let gate = gate();
        drop(enter(&gate).await.expect("nobody has tried"));
        let mut undecided = enter(&gate).await.expect("the turn came back");
        undecided.sent();
        undecided.undecided();
        drop(undecided);
        let mut silent = enter(&gate).await.expect("nobody judged the password");
        silent.sent();
        drop(silent);
        assert!(matches!(enter(&gate).await.err(), Some(Trouble { reason: Reason::Local(_), .. })));
    }

    #[tokio::test]
    async fn who_waits_takes_over_from_whom_nobody_answered() {
        let gate = gate();
        let first = enter(&gate).await.expect("nobody has tried");
        let next = tokio::time::timeout(Duration::from_mins(1), async {
            let (entered, ()) = tokio::join!(enter(&gate), async { drop(first) });
            entered.is_ok()
        });
        assert_eq!(next.await, Ok(true));
    }
}
