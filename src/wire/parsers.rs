//! A door for tests and fuzz targets to what parses the bytes of strangers. Nothing else of the program goes through it.
#![doc(hidden)]

use super::{frame, hello, http_login, kdc_messages, message, proof};

/// LDAP: the guard of frames, and what reads those that it lets through.
pub fn ldap(input: &[u8]) {
    let _ = frame::check_within(4096, input);
    for message in message::read_all(input).into_iter().flatten() {
        let operation = message.operation;
        let _ =
            (message::attributes(operation.clone()), message::entry_of(operation.clone()), message::result(operation));
    }
}

/// TLS: what a server sends until its certificate is in, in two pieces.
pub fn tls_flight(input: &[u8]) {
    let (first, rest) = input.split_at(input.len() / 2);
    let _ = hello::read(&[first, rest]);
}

/// Kerberos: what a KDC says to whoever has logged on, the keys that it names, and a security context's tokens.
pub fn kdc(input: &[u8]) {
    for exchange in [kdc_messages::Exchange::Authentication, kdc_messages::Exchange::TicketGranting] {
        let _ = kdc_messages::read(exchange, input, None, &[1]);
    }
    let _ = kdc_messages::Recipe::read(input);
    let _ = kdc_messages::shown(input);
    let _ = proof::error_in(input);
    let _ = http_login::response_in(input.to_vec());
}
