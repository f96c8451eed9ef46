"""Makes the X.509 keys for signing RAUC's bundles: docs/updates.md says how they are kept.

    python -m deploy.updates.certificates FOLDER [--days N] [--name NAME]

FOLDER/rauc-ca.key stays offline, FOLDER/rauc-ca.pem is what devices trust; FOLDER/rauc-signing.key with
rauc-signing.pem signs for N days (default 400). Files that are there are kept, so a second call with rauc-signing.key
and rauc-signing.pem moved away makes a new signing key under the same authority.
"""

import datetime
import os
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.updates.keys import command

AUTHORITY_DAYS = 20 * 365
# A device whose clock was never set judges certificates by a time long past: only their ends are to count there.
BEGIN = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)

_PEM = serialization.Encoding.PEM


def make_certificates(folder: pathlib.Path, days: int, name: str) -> None:
    """What is missing of the four files in a folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key, signing_key = _key(folder / "rauc-ca.key"), _key(folder / "rauc-signing.key")
    authority, signing = folder / "rauc-ca.pem", folder / "rauc-signing.pem"
    today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if not authority.exists():
        made = _authority(authority_key, f"{name} authority", today + AUTHORITY_DAYS * DAY)
        authority.write_bytes(made.public_bytes(_PEM))
    if not signing.exists():
        above = x509.load_pem_x509_certificate(authority.read_bytes())
        made = _signer(signing_key, name, above, authority_key, today + days * DAY)
        signing.write_bytes(made.public_bytes(_PEM))


def _key(path: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        text = made.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _builder(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(BEGIN)
    return builder.add_extension(identifier, False)


def _authority(key: ec.EllipticCurvePrivateKey, name: str, end: datetime.datetime) -> x509.Certificate:
    builder = _builder(key, name).not_valid_after(end)
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True).sign(key, hashes.SHA256())


def _signer(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    above: x509.Certificate,
    above_key: ec.EllipticCurvePrivateKey,
    end: datetime.datetime,
) -> x509.Certificate:
    builder = _builder(key, name).issuer_name(above.subject).not_valid_after(end)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(above_key.public_key())
    builder = builder.add_extension(issuer, False).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), True
    )
    return builder.sign(above_key, hashes.SHA256())


if __name__ == "__main__":
    command(__doc__, make_certificates, "certificates")
