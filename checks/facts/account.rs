//! Accounts in a domain: what the bits of their attributes mean.

use jiff::Timestamp;

/// `userAccountControl` says that nobody can log on with it (`ADS_UF_ACCOUNT_DISABLE`, MS-ADTS section 2.2.16).
pub fn is_disabled(user_account_control: i64) -> bool {
    user_account_control & 0x2 != 0
}

/// Was the object renamed because two controllers created it at once (MS-DRSR section 4.1.10.6.9)? Its name then holds a line
/// feed, `CNF:` and its own GUID.
pub fn is_conflict(dn: &str) -> bool {
    let first = dn.split(',').next().unwrap_or_default();
    first.to_ascii_uppercase().contains("\\0ACNF:") || first.contains("\nCNF:")
}

/// `pwdLastSet` and its like: steps of 100 ns since 1601 (MS-DTYP section 2.3.3). `None` for 0, "never" or "at the next logon".
pub fn instant(filetime: i64) -> Option<Timestamp> {
    const STEPS_PER_SECOND: i64 = 10_000_000;
    const SECONDS_FROM_1601_TO_1970: i64 = 11_644_473_600;
    (filetime > 0).then_some(())?;
    Timestamp::from_second(filetime / STEPS_PER_SECOND - SECONDS_FROM_1601_TO_1970).ok()
}

/// `msDS-SupportedEncryptionTypes` (MS-KILE section 2.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptionTypes(pub i64);

impl EncryptionTypes {
    /// It names at least one: other bits stand in the same attribute, and without any of these a KDC goes by its default.
    pub fn names_any(self) -> bool {
        self.has_aes() || self.has_rc4() || self.0 & 0x3 != 0
    }

    /// AES with SHA-1, or one of the AES families that came later: keys that a KDC of today uses.
    pub fn has_aes(self) -> bool {
        const AES128: i64 = 0x8;
        const AES256: i64 = 0x10;
        const AES_SHA2: i64 = 0x40 | 0x80;
        self.0 & (AES128 | AES256 | AES_SHA2) != 0
    }

    /// RC4.
    pub fn has_rc4(self) -> bool {
        self.0 & 0x4 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_field_are_read() {
        assert!(EncryptionTypes(28).has_aes() && EncryptionTypes(28).has_rc4());
        assert!(EncryptionTypes(24).has_aes() && !EncryptionTypes(24).has_rc4());
        assert!(!EncryptionTypes(4).has_aes());
        assert!(EncryptionTypes(1).names_any() && !EncryptionTypes(0x20).names_any());
        assert!(is_disabled(4098) && !is_disabled(4096));
    }

    #[test]
    fn instants_begin_in_1601() {
        assert_eq!(instant(116_444_736_000_000_000), Some(Timestamp::UNIX_EPOCH));
        assert_eq!((instant(0), instant(i64::MAX)), (None, None));
    }

    #[test]
    fn a_conflict_is_told_by_its_name() {
        assert!(is_conflict("CN=EX02\\0ACNF:2ad3a5e2-0e0a-4a64-9b3a-1d3c0e8ff0b1,CN=Computers,DC=contoso,DC=com"));
        assert!(!is_conflict("CN=EX02,OU=CNF:x,DC=contoso,DC=com"));
    }
}
