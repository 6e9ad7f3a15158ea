//! Where a password may come from: a descriptor, the environment, a prompt. Never from the command line, which every user of
//! the machine can read, and never from a file of ours.

use crate::{render::escape::printable, wire::credential::Password};
use std::{
    env,
    io::{self, IsTerminal as _, Read},
};
use zeroize::Zeroizing;

/// The environment variable that is read where no descriptor is named.
const VARIABLE: &str = "EXCHANGE_PREFLIGHT_PASSWORD";

/// Active Directory takes 256 characters at the most.
const LONGEST: usize = 1024;

/// The password of a user; the error is a sentence for whoever started the program.
pub fn of(user: &str, descriptor: Option<u32>) -> Result<Password, String> {
    let password = match (descriptor, env::var_os(VARIABLE)) {
        (Some(number), _) => from_descriptor(number)?,
        (None, Some(text)) => {
            Zeroizing::new(text.into_string().map_err(|_| format!("{VARIABLE} holds no text (UTF-8)"))?)
        }
        (None, None) => prompted(user)?,
    };
    Password::new(password).map_err(|wrong| format!("{wrong}; a directory would take it for nobody's"))
}

fn prompted(user: &str) -> Result<Zeroizing<String>, String> {
    let user = printable(user);
    // What a pipe brings is nobody's answer to a prompt.
    if io::stdin().is_terminal() {
        let asked = rpassword::prompt_password(format!("Password of {user}: "));
        return asked.map(Zeroizing::new).map_err(|error| format!("the password could not be asked for: {error}"));
    }
    Err(format!(
        "the password of {user} is needed, and there is no terminal to ask for it; give it by --password-fd 3 or in {VARIABLE}"
    ))
}

/// The first line of what can be read there.
fn from_descriptor(number: u32) -> Result<Zeroizing<String>, String> {
    let unreadable = |error| format!("--password-fd {number} cannot be read: {error}");
    if number == 0 {
        return first_line(io::stdin().lock()).map_err(unreadable);
    }
    #[cfg(unix)]
    return std::fs::File::open(format!("/dev/fd/{number}")).and_then(first_line).map_err(unreadable);
    #[cfg(not(unix))]
    return Err("--password-fd takes no descriptor but 0 on this system".into());
}

fn first_line(mut from: impl Read) -> io::Result<Zeroizing<String>> {
    let no_text = || io::Error::new(io::ErrorKind::InvalidData, "it holds no line of text (UTF-8)");
    // As large as it may become: a buffer that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    while from.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        if line.len() == LONGEST {
            return Err(no_text());
        }
        line.push(byte[0]);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(std::mem::take(&mut *line)).map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        no_text()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        let read = |bytes: &[u8]| first_line(bytes).map(|line| line.to_string()).ok();
        assert_eq!(read("Grüße, Welt\nmore".as_bytes()).as_deref(), Some("Grüße, Welt"));
        assert_eq!(read(b" kept \r\n").as_deref(), Some(" kept "));
        assert_eq!(read(b"to the end").as_deref(), Some("to the end"));
        assert_eq!(read(b"\xff\n"), None);
        assert_eq!(read(&[b'x'; LONGEST + 1]), None);
    }
}
