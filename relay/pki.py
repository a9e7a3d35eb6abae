"""The relay's own certificate authority: it vouches for the broker's name to the bracelets, and for nothing else.

Elliptic curve P-256 with SHA-256, because every TLS library down to the one on an ESP32 has it. There is no revocation
and no client certificate: bracelets are authenticated by their messages, and on the broker by a password.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A bracelet holds the CA, and nobody can give it another one remotely. Its own clock may be years behind at first
# start. So no certificate begins in the present: if this machine's clock was ahead, bracelets would refuse the
# certificate until their own clocks reach its beginning.
CA_DAYS = 20 * 365
SERVER_DAYS = 825
BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# No relay with these rules ran before. A clock that shows an earlier time is behind, and its certificates would end too
# early.
EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# A certificate made at that time must still end before 9999, the last year that a certificate can name.
LATEST = datetime.datetime(9900, 1, 1, tzinfo=datetime.UTC)
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


@dataclass(frozen=True)
class Authority:
    """A CA certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def cert_der(self) -> bytes:
        """The form for a bracelet: MicroPython's TLS reads DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)


def create_ca(
    name: str = "Tocsin",
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
    now: datetime.datetime | None = None,
) -> Authority:
    """Create an authority. The times are UTC; by default it is valid from 1970 until 20 years after `now`, and `now` is
    the time by this machine's clock."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _authority(key, _name(name), not_before or BEGINNING, not_after or plausible(now) + _days(CA_DAYS))


def renew_ca(authority: Authority, now: datetime.datetime | None = None) -> Authority:
    """Renew an authority that was made under a wrong clock: same name, same key, valid now. A bracelet that holds the
    earlier certificate still goes by the times in that one."""
    end = max(authority.certificate.not_valid_after_utc, plausible(now) + _days(CA_DAYS))
    return _authority(authority.key, authority.certificate.subject, BEGINNING, end)


def plausible(now: datetime.datetime | None = None) -> datetime.datetime:
    """Return `now` (by default the time by this machine's clock), but not before EARLIEST and not after LATEST."""
    return min(max(now or datetime.datetime.now(datetime.UTC), EARLIEST), LATEST)


def _authority(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, start: datetime.datetime, end: datetime.datetime
) -> Authority:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def load_ca(cert_pem: bytes, key_pem: bytes) -> Authority:
    """Load an authority from the texts that its `cert_pem` and `key_pem` returned."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the CA's key is not an elliptic curve key")
    certificate = x509.load_pem_x509_certificate(cert_pem)
    if certificate.public_key() != key.public_key():
        raise ValueError("the CA's key does not belong to its certificate")
    return Authority(certificate, key)


def issue_server(
    ca: Authority,
    names: Iterable[str],
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
    now: datetime.datetime | None = None,
) -> tuple[bytes, bytes]:
    """Issue a certificate for a server with these DNS names and IP addresses; return (certificate, private key), both
    PEM."""
    listed = list(names)
    key = ec.generate_private_key(ec.SECP256R1())
    start = not_before or ca.certificate.not_valid_before_utc
    end = min(not_after or plausible(now) + _days(SERVER_DAYS), ca.certificate.not_valid_after_utc)
    start = min(start, end)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(listed[0]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in listed]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def is_fit(
    certificate_pem: bytes,
    key_pem: bytes,
    names: Iterable[str],
    until: datetime.datetime,
    since: datetime.datetime | None = None,
) -> bool:
    """Tell whether a server certificate belongs to this key, vouches for all these names, and is valid from `since`
    (by default now) to `until`."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        if certificate.public_key() != key.public_key() or not is_valid(certificate, since or plausible(), until):
            return False
        vouched = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return all(_general_name(name) in vouched for name in names)
    except (ValueError, x509.ExtensionNotFound):
        return False


def is_valid(certificate: x509.Certificate, since: datetime.datetime, until: datetime.datetime) -> bool:
    """Tell whether a certificate is valid at both times, and so between them."""
    return certificate.not_valid_before_utc <= since and until <= certificate.not_valid_after_utc


def vouches(authority_pem: bytes, certificate_pem: bytes, now: datetime.datetime) -> bool:
    """Tell whether an authority has issued a certificate and is itself valid now."""
    try:
        authority = x509.load_pem_x509_certificate(authority_pem)
        x509.load_pem_x509_certificate(certificate_pem).verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return is_valid(authority, now, now)


def is_name(text: str) -> bool:
    """Tell whether a certificate can vouch for this name: a host name in ASCII, or an IP address."""
    try:
        _general_name(text)
    except ValueError:
        return False
    return True


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _days(days: int) -> datetime.timedelta:
    return datetime.timedelta(days=days)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _HOST.fullmatch(name):
            raise ValueError("not a host name in ASCII and no IP address") from None
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
