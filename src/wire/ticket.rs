//! The ticket of whoever is logged on to this machine: on Windows by its own SSPI, elsewhere by the system's GSSAPI where it is
//! built in. Both may ask the network and wait, so they are asked on a thread of their own.

pub(super) use imp::{Ticket, token};

/// Is it known to this build?
pub(super) const IS_BUILT_IN: bool = cfg!(any(windows, feature = "system-gssapi"));

#[cfg(any(windows, feature = "system-gssapi"))]
mod imp {
    use crate::wire::{
        conversation::Trouble,
        security::{Establish, Layer, Sealing, Target, is_open},
        text,
    };
    use cross_krb5::{ClientCtx, InitiateFlags, K5Ctx as _, PendingClientCtx, Step};
    use exchange_preflight_checks::model::evidence::{Reason, Stage};
    use tokio::task::spawn_blocking;

    /// A context of the current logon's.
    pub(in crate::wire) struct Ticket {
        principal: String,
        target: Target,
        state: State,
        is_first: bool,
    }

    /// The first token for a service, which holds its ticket.
    pub(in crate::wire) async fn token(spn: &str, domain: &str) -> Result<Vec<u8>, Trouble> {
        let target = Target { spn: spn.into(), layer: Layer::Open, bindings: None };
        let (token, _) = Ticket::new(target, domain)?.establish(&[]).await?;
        token.ok_or_else(|| Trouble::new(Stage::Bind, Reason::Local("the system's Kerberos has nothing to say".into())))
    }

    enum State {
        Beginning,
        Pending(PendingClientCtx),
        Established(ClientCtx),
    }

    impl Ticket {
        /// For a session with a service, which is in the domain.
        #[expect(clippy::unnecessary_wraps, reason = "in another build there is none")]
        pub(in crate::wire) fn new(target: Target, domain: &str) -> Result<Self, Trouble> {
            // Without a realm MIT's library takes the default one of krb5.conf, which may be another or missing.
            let realm = if cfg!(windows) { String::new() } else { format!("@{}", domain.to_uppercase()) };
            let principal = format!("{}{realm}", target.spn);
            Ok(Self { principal, target, state: State::Beginning, is_first: true })
        }

        fn context(&mut self) -> Result<&mut ClientCtx, String> {
            match &mut self.state {
                State::Established(context) => Ok(context),
                State::Beginning | State::Pending(_) => Err("the context is not established".into()),
            }
        }
    }

    impl Establish for Ticket {
        async fn establish(&mut self, token: &[u8]) -> Result<(Option<Vec<u8>>, bool), Trouble> {
            let (before, principal, token) =
                (std::mem::replace(&mut self.state, State::Beginning), self.principal.clone(), token.to_vec());
            let Target { layer, bindings, .. } = self.target.clone();
            let flags = match layer {
                Layer::Sealed => InitiateFlags::empty(),
                Layer::Open => InitiateFlags::DISABLE_CONFIDENTIALITY,
            };
            let stepping = spawn_blocking(move || -> Result<_, String> {
                let said = |error| format!("{error:#}");
                let State::Pending(pending) = before else {
                    let begun = ClientCtx::new(flags, None, &principal, bindings.as_deref());
                    let (pending, token) = begun.map_err(said)?;
                    return Ok((State::Pending(pending), Some(token.to_vec())));
                };
                match pending.step(&token).map_err(said)? {
                    Step::Finished((context, token)) => {
                        Ok((State::Established(context), token.map(|token| token.to_vec())))
                    }
                    Step::Continue((pending, token)) => Ok((State::Pending(pending), Some(token.to_vec()))),
                }
            });
            let stepped = stepping.await.unwrap_or_else(|_| Err("the system's Kerberos broke down".into()));
            let (state, token) = stepped.map_err(|why| {
                // MIT's library puts this before every error.
                let why = why.replace("Unspecified GSS failure.  Minor code may provide more information", "");
                let why: String = text::quoted(why.trim()).chars().take(LONGEST_WORDS).collect();
                let why = format!(
                    "no ticket is to be had ({why}); if the SPN exists (setspn -Q), log on anew (kinit), or use --logon kerberos"
                );
                Trouble::new(Stage::Bind, Reason::Local(text::cut(&why)))
            })?;
            self.state = state;
            Ok((token, matches!(self.state, State::Established(_))))
        }
    }

    /// What the system says leaves room for what to do.
    const LONGEST_WORDS: usize = 100;

    impl Sealing for Ticket {
        fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
            let token = self.context()?.wrap(true, message).map_err(|error| format!("{error:#}"))?;
            Ok(token.to_vec())
        }

        fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
            let token = self.context()?.wrap(false, message).map_err(|error| format!("{error:#}"))?;
            Ok(token.to_vec())
        }

        fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
            // Only the first may be unsealed: the offer of layers.
            if !std::mem::take(&mut self.is_first) && is_open(token) {
                return Err("it is not sealed".into());
            }
            let message = self.context()?.unwrap(token).map_err(|error| format!("{error:#}"))?;
            Ok(message.to_vec())
        }
    }
}

#[cfg(not(any(windows, feature = "system-gssapi")))]
mod imp {
    use crate::wire::{
        conversation::Trouble,
        security::{Establish, Layer, Sealing, Target},
    };
    use exchange_preflight_checks::model::evidence::{Reason, Stage};
    use std::convert::Infallible;

    /// There is none.
    pub(in crate::wire) struct Ticket(Infallible);

    pub(in crate::wire) async fn token(spn: &str, domain: &str) -> Result<Vec<u8>, Trouble> {
        let target = Target { spn: spn.into(), layer: Layer::Open, bindings: None };
        match Ticket::new(target, domain)?.0 {}
    }

    impl Ticket {
        pub(in crate::wire) fn new(_target: Target, _domain: &str) -> Result<Self, Trouble> {
            Err(Trouble::new(Stage::Bind, Reason::Local("--logon ticket is not built in".into())))
        }
    }

    impl Establish for Ticket {
        async fn establish(&mut self, _token: &[u8]) -> Result<(Option<Vec<u8>>, bool), Trouble> {
            match self.0 {}
        }
    }

    impl Sealing for Ticket {
        fn wrap(&mut self, _message: &[u8]) -> Result<Vec<u8>, String> {
            match self.0 {}
        }

        fn sign(&mut self, _message: &[u8]) -> Result<Vec<u8>, String> {
            match self.0 {}
        }

        fn unwrap(&mut self, _token: &[u8]) -> Result<Vec<u8>, String> {
            match self.0 {}
        }
    }
}
