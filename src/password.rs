//! Where a password may come from: a descriptor, the environment, a prompt. Never from the command line, which every user of
//! the machine can read, and never from a file of ours.

use crate::{render::escape::printable, wire::credential::Password};
use std::{
    env,
    io::{self, IsTerminal as _, Read},
};
use zeroize::Zeroizing;

/// Who asks for a password, and how it may be given.
struct Way<'w> {
    /// Of what it is.
    of: &'w str,
    /// The flag that names a descriptor.
    flag: &'static str,
    /// The environment variable that is read where no descriptor is named.
    variable: &'static str,
}

/// Active Directory takes 256 characters at the most.
const LONGEST: usize = 1024;

/// The password of a user; the error is a sentence for whoever started the program.
pub fn of(user: &str, descriptor: Option<u32>) -> Result<Password, String> {
    let way = Way { of: user, flag: "--password-fd", variable: "EXCHANGE_PREFLIGHT_PASSWORD" };
    let password = way.password(descriptor)?;
    Password::new(password).map_err(|wrong| format!("{wrong}; a directory would take it for nobody's"))
}

/// The password of a file with a certificate, which may be in need of none.
pub fn of_certificate(file: &str, descriptor: Option<u32>) -> Result<Zeroizing<String>, String> {
    let variable = "EXCHANGE_PREFLIGHT_CERTIFICATE_PASSWORD";
    Way { of: file, flag: "--certificate-password-fd", variable }.password(descriptor)
}

/// What is in memory from now on belongs in no file, should this program break down.
pub fn keep_no_core() {
    // Where the system does not let us, the file is its administrator's.
    #[cfg(unix)]
    let _ = rlimit::setrlimit(rlimit::Resource::CORE, 0, 0);
}

impl Way<'_> {
    fn password(&self, descriptor: Option<u32>) -> Result<Zeroizing<String>, String> {
        let variable = self.variable;
        match (descriptor, env::var_os(variable)) {
            (Some(number), _) => self.of_descriptor(number),
            (None, Some(text)) => {
                text.into_string().map(Zeroizing::new).map_err(|_| format!("{variable} holds no text (UTF-8)"))
            }
            (None, None) => self.prompted(),
        }
    }

    fn prompted(&self) -> Result<Zeroizing<String>, String> {
        let of = printable(self.of);
        // What a pipe brings is nobody's answer to a prompt.
        if io::stdin().is_terminal() {
            let asked = rpassword::prompt_password(format!("Password of {of}: "));
            return asked.map(Zeroizing::new).map_err(|error| format!("the password could not be asked for: {error}"));
        }
        Err(format!(
            "the password of {of} is needed, and there is no terminal to ask for it; give it by {} 3 or in {}",
            self.flag, self.variable
        ))
    }

    /// The first line of what can be read there.
    fn of_descriptor(&self, number: u32) -> Result<Zeroizing<String>, String> {
        let flag = self.flag;
        let unreadable = |error| format!("{flag} {number} cannot be read: {error}");
        if number == 0 {
            return first_line(io::stdin().lock()).map_err(unreadable);
        }
        #[cfg(unix)]
        return std::fs::File::open(format!("/dev/fd/{number}")).and_then(first_line).map_err(unreadable);
        #[cfg(not(unix))]
        return Err(format!("{flag} takes no descriptor but 0 on this system"));
    }
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
