import datetime
import shutil
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from faketagger_tf.provenance.certificates import (
    load_credentials,
    write_dev_certificate,
)

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def write_pair(folder, key, *, first=-1, last=1, encryption=None):
    """A self-signed certificate, valid from `first` to `last` days from now."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(now + first * day)
        .not_valid_after(now + last * day)
        .sign(key, digest)
    )
    encryption = encryption or serialization.NoEncryption()
    (folder / "chain.pem").write_bytes(certificate.public_bytes(PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(PEM, PKCS8, encryption))
    return folder / "chain.pem", folder / "key.pem"


def test_only_the_owner_can_read_the_key(certificate):
    chain, key = certificate
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE" in key.read_text() and "PRIVATE" not in chain.read_text()


def test_the_key_is_never_shown(credentials, certificate):
    secret = certificate[1].read_text().splitlines()[1]
    assert secret in credentials.key and secret not in repr(credentials)


def test_every_name_says_what_it_is_for(certificate):
    chain = x509.load_pem_x509_certificates(certificate[0].read_bytes())
    assert len(chain) == 2
    for each in chain:
        for name in (each.subject, each.issuer):
            assert "FOR TESTS ONLY" in name.rfc4514_string()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_accepts_the_chain(certificate, tmp_path):
    leaf, root = x509.load_pem_x509_certificates(certificate[0].read_bytes())
    for name, each in (("leaf", leaf), ("root", root)):
        (tmp_path / name).write_bytes(each.public_bytes(PEM))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "smimesign"]
    result = subprocess.run(
        [*command, "-CAfile", tmp_path / "root", tmp_path / "leaf"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_files_that_are_there_are_kept(tmp_path):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    key.write_text("mine")
    with pytest.raises(ValueError, match=r"exists already.*key\.pem.*--overwrite"):
        write_dev_certificate(chain, key)
    assert key.read_text() == "mine" and not chain.exists()
    write_dev_certificate(chain, key, overwrite=True)
    assert load_credentials(chain, key).algorithm == "es256"
    with pytest.raises(ValueError, match="two files"):
        write_dev_certificate(chain, chain, overwrite=True)
    with pytest.raises(ValueError, match="days"):
        write_dev_certificate(chain, key, days=0, overwrite=True)
    with pytest.raises(ValueError, match="name"):
        write_dev_certificate(chain, key, name="", overwrite=True)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ec.generate_private_key(ec.SECP521R1()), "es512"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
)
def test_the_key_says_how_to_sign(tmp_path, key, algorithm):
    assert load_credentials(*write_pair(tmp_path, key)).algorithm == algorithm


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 1024),
        dsa.generate_private_key(2048),
    ],
)
def test_keys_that_c2pa_does_not_know(tmp_path, key):
    with pytest.raises(ValueError, match=r"does not sign with such a key\. Received"):
        load_credentials(*write_pair(tmp_path, key))


def test_files_that_do_not_fit(tmp_path, certificate):
    chain, key = certificate
    (tmp_path / "other").mkdir()
    secret = ec.generate_private_key(ec.SECP256R1())
    _, other = write_pair(tmp_path / "other", secret)
    with pytest.raises(ValueError, match="not that of the first certificate"):
        load_credentials(chain, other)
    with pytest.raises(ValueError, match="certificate must be a PEM file"):
        load_credentials(key, key)
    with pytest.raises(ValueError, match="private key must be a PEM file"):
        load_credentials(chain, chain)
    with pytest.raises(ValueError, match=r"Cannot read the certificate '.*none'"):
        load_credentials(tmp_path / "none", key)
    with pytest.raises(ValueError, match=r"Cannot read the private key '.*none'"):
        load_credentials(chain, tmp_path / "none")
    with pytest.raises(ValueError, match="must be a URL"):
        load_credentials(chain, key, "freetsa.org")
    locked = serialization.BestAvailableEncryption(b"secret")
    with pytest.raises(ValueError, match="which has one"):
        load_credentials(*write_pair(tmp_path, secret, encryption=locked))
    with pytest.raises(ValueError, match=r"not valid today\. Received.*to \d{4}-"):
        load_credentials(*write_pair(tmp_path, secret, first=-3, last=-2))
