//! What it means that a directory or a KDC refuses, and what to do: each a sentence.

use super::text;
use exchange_preflight_checks::{facts::kerberos::describe_error, model::plan::LogonWay};
use ldap3::LdapResult;

/// What a server that does not let us log on says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Whom it judges.
    pub(super) of: Judged,
    /// In words, with what to do.
    pub(super) why: String,
}

/// Whom a refusal judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The user with the password: whoever tries again may lock the account.
    Password,
    /// The user, whatever the password. Where another server has taken the password, this one is behind or ill.
    User,
    /// Nobody: the server is ill, or wants another way.
    Nobody,
}

/// The result of a bind that is no success (RFC 4511 appendix A; the diagnostic message of Active Directory ends in `data`
/// and a Win32 error, MS-ADTS section 5.1.1.1).
pub(super) fn of_bind(result: &LdapResult, way: LogonWay) -> Refusal {
    let with_password = matches!(way, LogonWay::Ldaps | LogonWay::Starttls);
    let is_final = |why: &str| Refusal { of: Judged::Password, why: why.into() };
    let open = |why: &str| Refusal { of: Judged::Nobody, why: why.into() };
    match (result.rc, data(&result.text)) {
        (49, Some(0x8009_0346)) => is_final("it demands channel binding (80090346); use --logon kerberos"),
        (49, Some(0x52e)) => is_final("wrong user or password (data 52e); check both"),
        (49, Some(0x525)) => is_final("there is no such user (data 525); write reader@contoso.com or CONTOSO\\reader"),
        (49, Some(0x530)) => is_final("this user may not log on at this hour (data 530); use another"),
        (49, Some(0x531)) => is_final("this user may not log on from this machine (data 531); use another"),
        (49, Some(0x532)) => is_final("the password has expired (data 532); set a new one"),
        (49, Some(0x533)) => is_final("the account is disabled (data 533); enable it, or use another"),
        (49, Some(0x701)) => is_final("the account has expired (data 701); prolong it, or use another"),
        (49, Some(0x773)) => is_final("the password must be changed first (data 773); log on with it once elsewhere"),
        (49, Some(0x775)) => is_final("the account is locked (data 775); Unlock-ADAccount, and find who locks it"),
        // The ticket was taken by the KDC, so that it is no password that is refused here.
        (49, _) if !with_password => open(&format!(
            "it does not take the ticket ({}); look at its clock and at the SPNs and the password of its own account",
            result_text(result)
        )),
        (49, _) => is_final(&format!("it refuses user or password ({})", result_text(result))),
        (8, _) if with_password => {
            open("it takes no password even over TLS (8, strongerAuthRequired); use --logon kerberos")
        }
        (8, _) => open("it does not take a sealed session (8, strongerAuthRequired); use --logon ldaps"),
        (13, _) => open("it wants TLS (13, confidentialityRequired); use --logon ldaps"),
        (7, _) => open(&format!("it knows no way of logging on such as this (7); use {}", other(way))),
        (51 | 52, _) => open(&format!("it is busy or going down ({}); try again later", result_text(result))),
        (_, _) if with_password => is_final(&format!("it does not log us on ({})", result_text(result))),
        (_, _) => open(&format!("it does not log us on ({})", result_text(result))),
    }
}

/// The result of a search that is neither success nor "no such object".
pub(super) fn of_search(result: &LdapResult) -> String {
    match result.rc {
        1 if result.text.contains("bind") || result.text.contains("authentication") => {
            "it shows this to nobody who has not logged on (1, operationsError); run it again".into()
        }
        3 => "the search took longer than it allows (3, timeLimitExceeded; MaxQueryDuration); try at a quieter hour"
            .into(),
        4 => "it shows no more at once (4, sizeLimitExceeded; MaxPageSize)".into(),
        10 => "another server holds it, and referrals are not followed (10); look at the domain that was stated".into(),
        11 => "one of its limits is reached (11, adminLimitExceeded); see its LDAP policies".into(),
        50 => "this user may not read it (50, insufficientAccessRights); log on as another".into(),
        51 | 52 => format!("it is busy or going down ({}); run it again later", result_text(result)),
        12 | 53 => format!("it cannot go on with the search ({}; MaxResultSetSize); run it again", result_text(result)),
        _ => format!("the search failed ({})", result_text(result)),
    }
}

/// What a KDC that gives no ticket says (RFC 4120 section 7.5.9; MS-KILE section 3.3.5). `spn` is whom the ticket was for.
pub(super) fn of_kdc(code: i64, spn: Option<&str>) -> Refusal {
    let of_user = |why: &str| Refusal { of: Judged::User, why: why.into() };
    let open = |why: String| Refusal { of: Judged::Nobody, why };
    if let Some(spn) = spn {
        return open(match code {
            7 => format!("the KDC knows no SPN {spn}, or knows it twice (7); setspn -Q {spn}"),
            14 => format!("the KDC and the account of {spn} share no way of encrypting (14); allow AES for it"),
            37 => format!("the KDC's clock moves (37); set it right, then ask for {spn} again"),
            _ => format!("the KDC gives no ticket for {spn} ({code}, {})", describe_error(code)),
        });
    }
    match code {
        6 => of_user("the KDC knows no such user (6); a user is written as reader@contoso.com or CONTOSO\\reader"),
        12 => of_user("this user may not log on now or from here (12); use another"),
        14 => open("the KDC finds no AES key of the account (14); set its password anew, or use --logon ldaps".into()),
        18 => of_user(
            "the account is locked, disabled or expired (18), --logon ldaps tells which; Unlock-ADAccount, Enable-ADAccount or Clear-ADAccountExpiration",
        ),
        23 => of_user("the password has expired or must be changed (23); set a new one"),
        24 => Refusal { of: Judged::Password, why: "wrong password (24); check it".into() },
        29 | 52 => open(format!("the KDC cannot answer now ({code}, {})", describe_error(code))),
        37 => open("the KDC's clock moves (37); set it right".into()),
        68 => open("this user is of another realm (68); use --logon ldaps, or look at that domain".into()),
        _ => open(format!("the KDC lets nobody log on ({code}, {})", describe_error(code))),
    }
}

/// A KDC that wants to see the password names no key that we could make of it.
pub(super) fn no_aes() -> Refusal {
    let why = "the account has no AES key that we can use; set its password anew, or use --logon ldaps";
    Refusal { of: Judged::User, why: why.into() }
}

fn other(way: LogonWay) -> &'static str {
    match way {
        LogonWay::Kerberos | LogonWay::Ticket => "--logon ldaps",
        LogonWay::Ldaps | LogonWay::Starttls => "--logon kerberos",
    }
}

/// Number and words of the server, short enough to leave room for ours.
pub(super) fn result_text(result: &LdapResult) -> String {
    const ROOM: usize = 70;
    let words: String = text::quoted(result.text.trim_end_matches('\0')).chars().take(ROOM).collect();
    if words.is_empty() { result.rc.to_string() } else { format!("{}: {words}", result.rc) }
}

/// The number behind the last `data`, in hexadecimal; Active Directory says so why it refuses.
fn data(message: &str) -> Option<u32> {
    let lower = message.to_ascii_lowercase();
    let mut words = lower.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut found = None;
    while let Some(word) = words.next() {
        if word == "data" {
            found = words.next().and_then(|number| u32::from_str_radix(number, 16).ok()).or(found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn result(rc: u32, text: &str) -> LdapResult {
        LdapResult { rc, matched: String::new(), text: text.into(), refs: vec![], ctrls: vec![] }
    }

    #[test]
    fn the_words_of_active_directory_are_told_apart() {
        let said = "80090308: LdapErr: DSID-0C09042F, comment: AcceptSecurityContext error, data 52e, v3839\0";
        let refusal = of_bind(&result(49, said), LogonWay::Ldaps);
        assert!(refusal.of == Judged::Password && refusal.why.contains("wrong user or password"), "{refusal:?}");
        let said = "80090346: LdapErr: DSID-0C09075C, comment: AcceptSecurityContext error, data 80090346, v4563";
        assert!(of_bind(&result(49, said), LogonWay::Starttls).why.contains("channel binding"));
        let said = "8009030C: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, Data 775, v1db1";
        assert!(of_bind(&result(49, said), LogonWay::Ldaps).why.contains("locked"));
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for (code, word) in [
            ("525", "no such user"),
            ("530", "hour"),
            ("531", "machine"),
            ("532", "expired"),
            ("533", "disabled"),
            ("701", "account has expired"),
            ("773", "changed"),
        ] {
            let refusal = of_bind(&result(49, &format!("comment, data {code}, v4563")), LogonWay::Ldaps);
            assert!(refusal.of == Judged::Password && refusal.why.contains(word), "{refusal:?}");
        }
    }

    /// Whoever is no judge of passwords must not close the gate for those who are.
    #[test]
    fn only_a_judgement_of_the_password_is_final() {
        for (code, way, is_final) in [
            (49, LogonWay::Ldaps, true),
            (49, LogonWay::Kerberos, false),
            (8, LogonWay::Ldaps, false),
            (8, LogonWay::Kerberos, false),
            (13, LogonWay::Starttls, false),
            (51, LogonWay::Ldaps, false),
            (80, LogonWay::Ldaps, true),
        ] {
            assert_eq!(of_bind(&result(code, ""), way).of == Judged::Password, is_final, "{code} {way:?}");
        }
        assert_eq!(of_kdc(24, None).of, Judged::Password);
        for code in [6, 12, 18, 23] {
            assert_eq!(of_kdc(code, None).of, Judged::User, "{code}");
        }
        for code in [9, 14, 29, 31, 37, 52, 60, 68, 4711] {
            assert_eq!(of_kdc(code, None).of, Judged::Nobody, "{code}");
        }
        assert_eq!(of_kdc(7, Some("ldap/dc1.contoso.com")).of, Judged::Nobody);
    }

    #[test]
    fn the_number_is_found_wherever_it_stands() {
        for (message, number) in [
            ("error, data 52e, v3839", Some(0x52e)),
            ("DATA  80090346", Some(0x8009_0346)),
            ("data base, data 0/57 x", Some(0)),
            ("metadata 52e", None),
            ("data", None),
            ("data 123456789abc", None),
            ("", None),
        ] {
            assert_eq!(data(message), number, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn any_refusal_is_a_short_sentence(rc: u32, text in ".{0,300}", code: i64) {
            for sentence in [of_bind(&result(rc, &text), LogonWay::Ldaps).why, of_search(&result(rc, &text)), of_kdc(code, None).why] {
                prop_assert!(sentence.chars().count() <= 200, "{sentence}");
                prop_assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            }
        }
    }
}
