//! Accounts in a domain: what the bits of their attributes mean.

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

/// `msDS-SupportedEncryptionTypes` (MS-KILE section 2.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptionTypes(pub i64);

impl EncryptionTypes {
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
        assert!(is_disabled(4098) && !is_disabled(4096));
    }

    #[test]
    fn a_conflict_is_told_by_its_name() {
        assert!(is_conflict("CN=EX02\\0ACNF:2ad3a5e2-0e0a-4a64-9b3a-1d3c0e8ff0b1,CN=Computers,DC=contoso,DC=com"));
        assert!(!is_conflict("CN=EX02,OU=CNF:x,DC=contoso,DC=com"));
    }
}
