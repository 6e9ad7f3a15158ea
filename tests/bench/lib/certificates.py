"""A private authority, and a certificate of it."""
import subprocess


def make_certificates(folder, subject, *names):
    """A private root, one authority below it, and one certificate for these names."""
    (folder / "openssl.cnf").write_text(AUTHORITY + "subjectAltName = " + ", ".join(f"DNS:{name}" for name in names) + "\n")

    def certificate(name, subject, extensions, *issuer):
        made = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={subject}", "-extensions", extensions]
        kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "300", "-config", "openssl.cnf"]
        subprocess.run(["openssl", "req", *kind, *made, *issuer], cwd=folder, check=True, stderr=subprocess.DEVNULL)

    certificate("root", "Estate Root", "authority")
    certificate("issuing", "Estate Issuing", "authority", "-CA", "root.pem", "-CAkey", "root.key")
    certificate("server", subject, "server", "-CA", "issuing.pem", "-CAkey", "issuing.key")
    (folder / "chain.pem").write_text((folder / "server.pem").read_text() + (folder / "issuing.pem").read_text())


AUTHORITY = """
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
