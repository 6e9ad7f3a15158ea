"""A controller's directory, opened in its own files and as the system itself. A controller that runs takes notice at once."""

import contextlib
import struct

import ldb
from cryptography.hazmat.primitives import hashes, serialization
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB


class Directory:
    def __init__(self, smb_conf):
        # By another way, all controllers that one process opens would have the settings of the last.
        self.settings = LoadParm(filename_for_non_global_lp=smb_conf)
        self.settings.set("log level", "0")
        self.settings.set("dsdb:schema update allowed", "yes")
        self.open()

    def open(self):
        """Opened again, it knows the classes that were added to its schema."""
        self.db = SamDB(url=self.settings.private_path("sam.ldb"), session_info=system_session(), lp=self.settings)
        self.domain = str(self.db.domain_dn())
        self.configuration = str(self.db.get_config_basedn())
        self.schema = str(self.db.get_schema_basedn())

    @contextlib.contextmanager
    def transaction(self):
        self.db.transaction_start()
        try:
            yield
        except BaseException:
            self.db.transaction_cancel()
            raise
        self.db.transaction_commit()

    def add(self, dn, object_class, controls=(), **attributes):
        written = {name: value if isinstance(value, (list, bytes)) else str(value) for name, value in attributes.items()}
        self.db.add({"dn": dn, "objectClass": object_class, **written}, list(controls))
        return dn

    def set(self, dn, **attributes):
        message = ldb.Message(ldb.Dn(self.db, dn))
        for name, value in attributes.items():
            message[name] = ldb.MessageElement(value if isinstance(value, list) else str(value), ldb.FLAG_MOD_REPLACE, name)
        self.db.modify(message)


def pin(certificate):
    """As TlsCertificateName has it, with names as .NET prints them."""
    issuer, subject = (whose.rfc4514_string().replace(",", ", ") for whose in (certificate.issuer, certificate.subject))
    return f"<I>{issuer}<S>{subject}"


def serialized(certificate):
    """As CryptoAPI serializes a certificate with its properties, and Exchange keeps it: for each property its id, 1, the length and
    the value."""
    thumbprint = certificate.fingerprint(hashes.SHA1())
    properties = [
        (2, key_provider(thumbprint.hex())),
        (3, thumbprint),
        (11, "Microsoft Exchange\0".encode("utf-16-le")),  # the friendly name
        (32, certificate.public_bytes(serialization.Encoding.DER)),
    ]
    return b"".join(struct.pack("<III", kind, 1, len(value)) + value for kind, value in properties)


def key_provider(container):
    """CRYPT_KEY_PROV_INFO: where the private key is, in the machine's own store."""
    container, provider = (f"{text}\0".encode("utf-16-le") for text in (container, "Microsoft RSA SChannel Cryptographic Provider"))
    start, machine_keyset, schannel, key_exchange = 28, 0x20, 12, 1
    return struct.pack("<7I", start, start + len(container), schannel, machine_keyset, 0, 0, key_exchange) + container + provider
