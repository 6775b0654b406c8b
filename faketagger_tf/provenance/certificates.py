"""Certificates and private keys for signing, and a chain for tests.

write_dev_certificate("chain.pem", "key.pem")
credentials = load_credentials("chain.pem", "key.pem")
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faketagger_tf.files import write_atomic

DEV_DAYS = 365
# C2PA asks for a purpose; this is the one that every reader knows.
PURPOSE = ExtendedKeyUsageOID.EMAIL_PROTECTION
_BACKDATED = datetime.timedelta(hours=1)  # For clocks that do not agree.
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_KEYS = "an EC key on P-256, P-384 or P-521, Ed25519, or RSA of at least 2048 bits"


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What a photo is signed with.

    Attributes:
        chain: certificates as PEM, the signer's own first.
        key: the private key as PEM (PKCS 8), never shown.
        algorithm: C2PA's name of the signature, "es256" for instance.
        tsa: URL of a time-stamp authority (RFC 3161), or None. It is asked once for
            each photo, which is the only time that signing uses the network.
    """

    chain: str
    key: str = dataclasses.field(repr=False)
    algorithm: str = "es256"
    tsa: str | None = None


def load_credentials(
    certificate: str | os.PathLike,
    private_key: str | os.PathLike,
    tsa: str | None = None,
) -> Credentials:
    """Reads a certificate chain and its private key.

    Args:
        certificate: a PEM file, the signer's own certificate first.
        private_key: a PEM file without a passphrase.
        tsa: URL of a time-stamp authority, or None.

    Raises:
        ValueError: a file cannot be read, holds something else, the key is not that of
            the certificate, or the certificate is not valid today.

    Example:
        >>> write_dev_certificate("chain.pem", "key.pem")
        >>> load_credentials("chain.pem", "key.pem").algorithm
        'es256'
    """
    name = os.fspath(certificate)
    certificates = _read(certificate, "certificate")
    secret = _read(private_key, "private key")
    try:
        chain = x509.load_pem_x509_certificates(certificates)
    except ValueError:
        raise ValueError(
            f"The certificate must be a PEM file. Received: {name!r}."
        ) from None
    try:
        key = serialization.load_pem_private_key(secret, password=None)
    except (ValueError, TypeError) as error:
        locked = isinstance(error, TypeError)
        raise ValueError(
            "The private key must be a PEM file without a passphrase. Received: "
            f"{os.fspath(private_key)!r}{', which has one' if locked else ''}."
        ) from None
    algorithm = _algorithm(key)
    if chain[0].public_key() != key.public_key():
        raise ValueError(
            "The private key is not that of the first certificate. "
            f"Received: {os.fspath(private_key)!r} and {name!r}."
        )
    now = datetime.datetime.now(datetime.UTC)
    first, last = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if not first <= now <= last:
        raise ValueError(
            f"The certificate is not valid today. Received: {name!r}, valid from "
            f"{first:%Y-%m-%d} to {last:%Y-%m-%d}."
        )
    if tsa is not None and not tsa.startswith(("http://", "https://")):
        raise ValueError(
            f"The time-stamp authority must be a URL. Received: {tsa!r}. "
            "Accepted: http://... or https://..."
        )
    return Credentials("".join(map(_pem, chain)), _key_pem(key), algorithm, tsa)


def load_anchors(path: str | os.PathLike) -> str:
    """Reads the certificates of a trust list: what `claims.read_claim` trusts.

    Args:
        path: a PEM file with one certificate or more, as C2PA's trust list is one.

    Returns:
        The certificates as PEM, without anything else that the file holds.

    Raises:
        ValueError: the file cannot be read, or holds no certificate.

    Example:
        >>> write_dev_certificate("chain.pem", "key.pem")
        >>> load_anchors("chain.pem").count("BEGIN CERTIFICATE")
        2
    """
    data = _read(path, "trust list")
    try:
        return "".join(map(_pem, x509.load_pem_x509_certificates(data)))
    except ValueError:
        raise ValueError(
            "A trust list must be a PEM file of certificates. "
            f"Received: {os.fspath(path)!r}."
        ) from None


def write_dev_certificate(
    certificate: str | os.PathLike,
    private_key: str | os.PathLike,
    *,
    name: str = "faketagger test signer",
    days: int = DEV_DAYS,
    overwrite: bool = False,
) -> None:
    """Makes a chain for tests: a root of its own, and a signer's certificate.

    Nobody trusts the root: a reader calls what is signed with it "valid, but by an
    untrusted signer". The root's key is thrown away, so that nothing else can be
    signed with it. For photos that are published, buy a certificate of an authority on
    the C2PA trust list.

    Args:
        certificate: the chain's file, the signer first and the root last.
        private_key: the signer's key; its file can be read and written by its owner
            alone (mode 600).
        name: of the signer.
        days: from now until the certificates expire.
        overwrite: replace files that are there.

    Raises:
        ValueError: a file is there already or cannot be written, the files are one, or
            the name or the days are not accepted.

    Example:
        >>> write_dev_certificate("chain.pem", "key.pem")
        >>> oct(os.stat("key.pem").st_mode & 0o777)
        '0o600'
    """
    if not 1 <= days <= 3650:
        raise ValueError(f"days must be from 1 to 3650. Received: {days!r}.")
    if not 1 <= len(name) <= 64:
        raise ValueError(
            f"A signer's name must have 1 to 64 characters. Received: {name!r}."
        )
    if os.path.realpath(certificate) == os.path.realpath(private_key):
        raise ValueError(
            "The certificate and the private key must be two files. "
            f"Received: {os.fspath(certificate)!r} for both."
        )
    for path in (certificate, private_key):
        if os.path.lexists(path) and not overwrite:
            raise ValueError(
                f"The file exists already. Received: {os.fspath(path)!r}. "
                "Accepted: another name, or --overwrite."
            )
    root_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name(f"{name[:52]} (test root)")
    root = (
        _certificate(issuer, issuer, root_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        root_key.public_key()
    )
    signer = (
        _certificate(_name(name), issuer, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([PURPOSE]), critical=True)
        .add_extension(authority, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    write_atomic(private_key, lambda path: _write_private(path, _key_pem(key)))
    write_atomic(certificate, _pem(signer) + _pem(root))


def _read(path: str | os.PathLike, what: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"Cannot read the {what} {os.fspath(path)!r}: {error.strerror}."
        ) from None


def _algorithm(key) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise ValueError(
        f"C2PA does not sign with such a key. Received: {type(key).__name__}. "
        f"Accepted: {_KEYS}."
    )


def _name(text: str) -> x509.Name:
    # C2PA wants an organization; every name says what the certificate is for.
    organization = "FOR TESTS ONLY"
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def _certificate(subject, issuer, public_key, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False
        )
    )


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**(dict.fromkeys(names, False) | wanted))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _write_private(path: str, text: str) -> None:
    os.chmod(path, 0o600)  # Before there is anything to read.
    with open(path, "w") as file:
        file.write(text)
