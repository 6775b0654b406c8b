"""What is said of a manifest on record that was tampered with, or is another's."""

import dataclasses
import datetime
import time

import numpy as np
import pytest
import skimage.data
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from faketagger_tf.photos import write_image
from faketagger_tf.provenance.certificates import (
    PURPOSE,
    Credentials,
    load_anchors,
    write_dev_certificate,
)
from faketagger_tf.provenance.claims import read_claim
from faketagger_tf.provenance.signing import PhotoSigner
from faketagger_tf.registry import init_registry
from faketagger_tf.registry.jobs import tag_into_registry
from faketagger_tf.registry.manifests import recover_manifest, store_manifest
from faketagger_tf.registry.reader import RegisteredReader, recovered_claim


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims")
    photo = np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])
    write_image(folder / "photo.png", photo)
    with init_registry(f"sqlite:///{folder}/tags.db") as registry:
        registry.folder = folder
        yield registry


@pytest.fixture(scope="module")
def tag(registry, tagger):
    def tag(name, credentials):
        """The manifest on record of a newly tagged photo."""
        signer = PhotoSigner(credentials, "com.newsroom") if credentials else None
        row = tag_into_registry(
            tagger,
            registry,
            registry.folder / "photo.png",
            registry.folder / name,
            signer=signer,
        )
        return recover_manifest(registry, row["payload"]) if signer else row["payload"]

    return tag


@pytest.fixture(scope="module")
def manifests(tag, credentials):
    return tag("a.png", credentials), tag("b.png", credentials)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_states(manifests, certificate, tmp_path):
    """Whose certificate leads to an anchor is trusted; unasked, nobody is."""
    others = tmp_path / "chain.pem", tmp_path / "key.pem"
    write_dev_certificate(*others)
    for anchors, state in (
        ("", "unchecked"),
        (load_anchors(certificate[0]), "trusted"),
        (load_anchors(others[0]), "not trusted"),
    ):
        claim = recovered_claim(manifests[0], anchors)
        assert (claim.sound, claim.state) == (True, state)


def test_no_tampered_manifest_holds(manifests, certificate):
    """One bit is another, at places all over the store."""
    manifest, anchors = manifests[0], load_anchors(certificate[0])
    store, sound = manifest.store, recovered_claim(manifests[0], anchors)
    at = store.index(manifest.algorithm.encode())
    places = [at, *np.linspace(0, len(store) - 1, 60).astype(int)]
    states = []
    for place in places:
        damaged = dataclasses.replace(manifest, store=flipped(store, int(place)))
        claim = recovered_claim(damaged, anchors)
        states.append(claim.state)
        # What is not covered by the signature, such as padding, says nothing.
        assert claim.state == "invalid" or claim == sound
    assert states[0] == "invalid" and states.count("invalid") > 30
    for data in (b"", b"no store", store[:-9], store[8:]):
        claim = recovered_claim(dataclasses.replace(manifest, store=data), anchors)
        assert claim.state == "invalid" and claim.problems
        assert claim.manifest_id


def test_the_manifest_of_another_photo_does_not_hold(manifests, certificate):
    one, other = manifests
    anchors = load_anchors(certificate[0])
    for swapped in (
        dataclasses.replace(one, store=other.store),
        dataclasses.replace(other, payload=one.payload),
        dataclasses.replace(one, algorithm="com.other.mark"),
    ):
        claim = recovered_claim(swapped, anchors)
        assert claim.state == "invalid"
        assert claim.problems[-1] == "it names another tag"


def test_a_damaged_manifest_keeps_nobody_from_reading(registry, tag, tagger, manifests):
    payload = tag("c.png", None)
    store_manifest(
        registry,
        dataclasses.replace(
            manifests[0], id="urn:c2pa:c", payload=payload, store=b"damaged"
        ),
    )
    reader = RegisteredReader(tagger, registry)
    (row,) = reader.trace_file(registry.folder / "c.png", 1e-6)
    assert row["payload"] == payload and row["verdict"] == "same photo"
    assert row["manifest_state"] == "invalid"
    assert row["manifest_problems"] == ["it is damaged"]


def test_an_expired_certificate_is_told(tag):
    """Without a time-stamp nobody knows that the photo was signed in time."""
    credentials, root, end = short_lived(3)
    manifest = tag("expired.png", credentials)
    assert read_claim(manifest.store, root).state == "trusted"
    # C2PA's library counts whole seconds.
    while datetime.datetime.now(datetime.UTC) <= end + datetime.timedelta(seconds=1):
        time.sleep(0.1)
    claim = recovered_claim(manifest, root)
    assert claim.state == "invalid"
    assert "signingCredential.expired" in claim.problems
    assert claim.signer == "FOR TESTS ONLY, short"


def short_lived(seconds):
    """Credentials whose certificate expires soon, its root, and when it does."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    end = now + datetime.timedelta(seconds=seconds)
    pem = serialization.Encoding.PEM

    def name(text):
        return x509.Name(
            [
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "FOR TESTS ONLY"),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
            ]
        )

    def usage(**wanted):
        names = "digital_signature content_commitment key_encipherment "
        names += "data_encipherment key_agreement key_cert_sign crl_sign "
        names += "encipher_only decipher_only"
        return x509.KeyUsage(**(dict.fromkeys(names.split(), False) | wanted))

    def builder(subject, key, until):
        return (
            x509.CertificateBuilder(name("root"), name(subject), key.public_key(), 7)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(until)
        )

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = (
        builder("root", root_key, now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(usage(key_cert_sign=True), True)
        .sign(root_key, hashes.SHA256())
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = (
        builder("short", key, end)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(usage(digital_signature=True), True)
        .add_extension(x509.ExtendedKeyUsage([PURPOSE]), True)
        .add_extension(issuer, False)
        .sign(root_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = leaf.public_bytes(pem) + root.public_bytes(pem)
    return (
        Credentials(chain.decode(), secret.decode()),
        root.public_bytes(pem).decode(),
        end,
    )


def test_trust_lists(certificate, tmp_path):
    chain, key = certificate
    assert load_anchors(chain).count("BEGIN CERTIFICATE") == 2
    for path, words in (
        (key, "must be a PEM file of certificates"),
        (tmp_path / "none.pem", "Cannot read the trust list"),
        (tmp_path, "Cannot read the trust list"),
    ):
        with pytest.raises(ValueError, match=words):
            load_anchors(path)
