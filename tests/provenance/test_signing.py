import concurrent.futures
import dataclasses
import functools
import http.server
import io
import json
import pathlib
import shutil
import subprocess
import threading

import c2pa
import corpus
import numpy as np
import pytest
import skimage.data
import support
from cryptography.hazmat.primitives.asymmetric import ec
from test_certificates import write_pair

from faketagger_tf.photos import encode_image, read_photo
from faketagger_tf.photos.parts import C2PA
from faketagger_tf.photos.photo_file import (
    decode_photo_file,
    encode_photo_file,
    read_photo_file,
)
from faketagger_tf.photos.suspect import sniff
from faketagger_tf.provenance import certificates
from faketagger_tf.provenance.binding import Binding, decode_value
from faketagger_tf.provenance.certificates import load_credentials
from faketagger_tf.provenance.claims import check_photo, read_claim
from faketagger_tf.provenance.jumbf import split_store
from faketagger_tf.provenance.signing import MEDIA_TYPES, PhotoSigner, sign_photo
from faketagger_tf.tagging.file_jobs import tag_file, tag_photo

BINDING = Binding("org.example.faketagger.face128", b"\x1f\x2e\x3d\x4c")
SIGNED = [
    pytest.param(case, extension, id=f"{case.name}{extension}")
    for case in corpus.cases()
    if not case.refused and case.name != "pages.tif"
    for extension in case.outputs
    if extension != ".bmp"
]


def noise(seed: int, extension: str = ".jpg") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return encode_image(pixels, extension)


def manifest(data: bytes) -> dict:
    """The active manifest as C2PA's own reader tells it, with the reader's verdict."""
    with c2pa.Reader(MEDIA_TYPES[sniff(data[:256])], io.BytesIO(data)) as reader:
        told = json.loads(reader.json())
    return told["manifests"][told["active_manifest"]] | {
        "state": told["validation_state"]
    }


def test_what_the_manifest_says(credentials):
    corners = [
        np.array([[10.0, 12.0], [60.0, 12.0], [60.0, 62.0], [10.0, 62.0]]),
        # Turned, and partly outside of the photo's 128 x 96 pixels.
        np.array([[100.0, 50.0], [140.0, 90.0], [100.0, 130.0], [60.0, 90.0]]),
    ]
    data, original = noise(1), noise(2, ".png")
    signed = sign_photo(
        data, original, BINDING, credentials, title="a.jpg", corners=corners
    )
    told = manifest(signed.data)
    assert told["state"] == "Valid" and told["title"] == "a.jpg"
    assert told["label"] == signed.manifest_id and told["claim_version"] == 2
    (parent,) = told["ingredients"]
    assert parent["relationship"] == "parentOf" and parent["format"] == "image/png"
    assert "thumbnail" not in parent and "thumbnail" not in told
    assertions = {each["label"]: each["data"] for each in told["assertions"]}
    assert set(assertions) == {"c2pa.actions.v2", "c2pa.soft-binding"}
    opened, bound = assertions["c2pa.actions.v2"]["actions"]
    assert opened["action"] == "c2pa.opened"
    (url,) = opened["parameters"]["ingredients"]
    assert url["url"].endswith(parent["label"])
    assert bound["action"] == "c2pa.watermarked.bound"
    # One payload and one assertion, a block for each face.
    binding = assertions["c2pa.soft-binding"]
    assert binding["alg"] == BINDING.algorithm
    assert [decode_value(each["value"]) for each in binding["blocks"]] == [
        BINDING.value
    ] * 2
    shapes = [
        each["scope"]["region"]["region"][0]["shape"] for each in binding["blocks"]
    ]
    assert [
        (s["type"], s["unit"], s["origin"], s["width"], s["height"]) for s in shapes
    ] == [
        ("rectangle", "pixel", {"x": 10.0, "y": 12.0}, 50.0, 50.0),
        ("rectangle", "pixel", {"x": 60.0, "y": 50.0}, 68.0, 46.0),
    ]


@pytest.mark.parametrize(("case", "extension"), SIGNED)
def test_all_that_a_file_holds_is_kept(case, extension, credentials):
    if case.extension == ".heic":
        pytest.importorskip("pi_heif")
    photo = decode_photo_file(case.data, case.name)
    parts = tuple(part for part in photo.parts if part.label != C2PA)
    data = encode_photo_file(dataclasses.replace(photo, parts=parts), extension)
    title = f"a{extension}"
    signed = sign_photo(data, case.data, BINDING, credentials, title=title)
    assert signed.lost == ()
    before, after = decode_photo_file(data), decode_photo_file(signed.data)
    assert np.array_equal(before.pixels, after.pixels)
    for field in ("xmp", "iptc", "icc", "trailer", "dpi"):
        assert getattr(before, field) == getattr(after, field), field
    if after.kind != "TIFF":
        assert before.exif == after.exif
    claim = check_photo(signed.data, MEDIA_TYPES[after.kind])
    assert claim.sound and not claim.trusted
    assert (claim.algorithm, claim.value) == (BINDING.algorithm, BINDING.value)


def test_a_file_of_several_pages_is_not_damaged(credentials):
    (case,) = (case for case in corpus.cases() if case.name == "pages.tif")
    with pytest.raises(ValueError, match=r"would damage the photo.*another format"):
        sign_photo(case.data, case.data, BINDING, credentials, title="a.tif")


def test_the_index_of_further_pictures_stays_right(credentials):
    (case,) = (case for case in corpus.cases() if case.name == "two.jpg")
    data = encode_photo_file(decode_photo_file(case.data), ".jpg")
    signed = sign_photo(data, case.data, BINDING, credentials, title="a.jpg")
    assert signed.changed == (
        "index of further pictures: the photo is longer by its manifest",
    )
    from PIL import Image

    pictures = []
    for file in (data, signed.data):
        image = Image.open(io.BytesIO(file))
        assert image.n_frames == 2
        image.seek(1)
        pictures.append(np.asarray(image.convert("RGB")))
    assert np.array_equal(*pictures)


def test_the_manifest_of_the_original_is_kept_byte_for_byte(credentials, tmp_path):
    first = sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg")
    second = sign_photo(noise(3), first.data, BINDING, credentials, title="b.jpg")
    third = sign_photo(second.data, second.data, BINDING, credentials, title="c.jpg")
    assert second.parents == (first.manifest_id,)
    assert third.parents == (first.manifest_id, second.manifest_id)
    boxes = split_store(third.store).boxes
    for signed in (first, second):
        own = split_store(signed.store).boxes[signed.manifest_id]
        assert boxes[signed.manifest_id] == own
    assert manifest(third.data)["state"] == "Valid"
    assert read_claim(third.store).parents == (second.manifest_id,)


def test_tagging_takes_a_manifest_along_or_says_that_it_is_lost(
    credentials, tagger, photo, tmp_path
):
    signer = PhotoSigner(credentials)
    signed = tmp_path / "signed.jpg"
    tag = functools.partial(tag_file, tagger, retag=True, check=False)
    row = tag(photo, signed, signer=signer)
    assert row["lost"] == []
    first = check_photo(signed.read_bytes(), "image/jpeg")
    # Tagged again and not signed, the manifest no longer holds; signed, it goes along.
    row = tag(signed, tmp_path / "b.jpg")
    assert row["changed"] == [C2PA]
    row = tag(signed, tmp_path / "c.jpg", signer=signer)
    assert row["changed"] == row["lost"] == []
    again = check_photo((tmp_path / "c.jpg").read_bytes(), "image/jpeg")
    assert again.sound and again.parents == (first.manifest_id,)
    # As PNG it would be lost without a signature, and --strict would refuse.
    with pytest.raises(ValueError, match="would lose something"):
        tag(signed, tmp_path / "d.png", strict=True)
    row = tag(signed, tmp_path / "d.png", strict=True, signer=signer)
    assert row["lost"] == []
    # A store without a manifest is not one that could be kept.
    (case,) = (case for case in corpus.cases() if case.name == "c2pa.jpg")
    sign = signer.for_bytes(tagger, case.data, "e.jpg")
    damaged = decode_photo_file(case.data)
    told = tag_photo(tagger, damaged, ".jpg", check=False, sign=sign)
    assert told.row["lost"] == ["C2PA manifest (damaged)"]
    with pytest.raises(ValueError, match=r"Signed.*C2PA manifest \(damaged\)"):
        tag_photo(tagger, damaged, ".jpg", check=False, sign=sign, strict=True)


def test_the_tag_reads_from_the_signed_file_and_is_named_once(credentials, tmp_path):
    """Two faces carry one payload in one assertion, each in its own block."""
    face = skimage.data.astronaut()[:260, 90:350]
    tagger = support.correlation_tagger()
    source, output = tmp_path / "two.png", tmp_path / "out.jpg"
    source.write_bytes(encode_image(np.hstack([face, face]), ".png"))
    signer = PhotoSigner(credentials, "com.newsroom")
    row = tag_file(tagger, source, output, payload=0x1F2E3D4C, signer=signer)
    assert row["faces"] == 2
    told = manifest(output.read_bytes())
    bindings = [a for a in told["assertions"] if a["label"] == "c2pa.soft-binding"]
    assert len(bindings) == 1 and len(bindings[0]["data"]["blocks"]) == 2
    assert bindings[0]["data"]["alg"] == "com.newsroom.faketagger.unpublished"
    claim = check_photo(output.read_bytes(), "image/jpeg")
    readings = tagger.read(read_photo(output))
    assert {r.payload for r in readings} == {int.from_bytes(claim.value, "big")}
    lefts = [
        block["scope"]["region"]["region"][0]["shape"]["origin"]["x"]
        for block in bindings[0]["data"]["blocks"]
    ]
    assert abs(lefts[0] - lefts[1]) == pytest.approx(260, abs=3)  # The photo's half.


def test_a_changed_photo_is_told(credentials):
    data = sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg").data
    assert check_photo(data, "image/jpeg").sound
    changed = bytearray(data)
    changed[-40] ^= 1
    claim = check_photo(bytes(changed), "image/jpeg")
    assert not claim.sound and claim.problems[-1] == "assertion.dataHash.mismatch"
    assert check_photo(noise(1), "image/jpeg") is None


def test_a_changed_store_is_told(credentials):
    store = sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg").store
    claim = read_claim(store)
    assert claim.sound and claim.problems == ("signingCredential.untrusted",)
    at = store.index(BINDING.algorithm.encode())
    other = store[:at] + b"net" + store[at + 3 :]
    assert not read_claim(other).sound
    with pytest.raises(ValueError, match="manifest cannot be read"):
        read_claim(store[: len(store) // 2])


def test_only_anchors_make_a_signer_trusted(credentials, tmp_path):
    signed = sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg")
    root = "-----BEGIN" + credentials.chain.split("-----BEGIN")[2]
    assert read_claim(signed.store, root).trusted
    assert check_photo(signed.data, "image/jpeg", root).trusted
    other = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificates.write_dev_certificate(*other)
    stranger = "-----BEGIN" + other[0].read_text().split("-----BEGIN")[2]
    claim = read_claim(signed.store, stranger)
    assert claim.sound and not claim.trusted


def test_certificates_that_c2pa_refuses(tmp_path):
    """Nothing says what this certificate is for."""
    key = ec.generate_private_key(ec.SECP256R1())
    credentials = load_credentials(*write_pair(tmp_path, key))
    with pytest.raises(ValueError, match=r"The photo cannot be signed: .*[cC]ertific"):
        sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg")


def test_files_without_a_place_for_a_manifest(credentials, tagger, photo, tmp_path):
    for data in (noise(1, ".bmp"), b"no photo"):
        with pytest.raises(ValueError, match=r"cannot be put into such a file.*JPEG"):
            sign_photo(data, noise(2), BINDING, credentials, title="a")
    output = tmp_path / "out.bmp"
    with pytest.raises(ValueError, match="Received: BMP"):
        tag_file(tagger, photo, output, signer=PhotoSigner(credentials))
    assert not output.exists()


def test_a_photo_that_changes_meanwhile(credentials, tagger, photo):
    read = read_photo_file(photo)
    pathlib.Path(photo).write_bytes(noise(1, ".png"))
    with pytest.raises(ValueError, match="was changed while it was tagged"):
        PhotoSigner(credentials).for_file(tagger, read, photo, "out.png")


def test_many_threads_sign(credentials):
    def sign(number: int) -> bool:
        binding = Binding(BINDING.algorithm, bytes([number]))
        data = noise(number)
        signed = sign_photo(data, data, binding, credentials, title=f"{number}.jpg")
        claim = check_photo(signed.data, "image/jpeg")
        return claim.sound and claim.value == bytes([number])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(sign, range(1, 25)))


CONFIGURATION = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_cert = {folder}/chain.pem
signer_key = {folder}/key.pem
certs = {folder}/chain.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """URL of a time-stamp authority that openssl runs."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    stamping = certificates.ExtendedKeyUsageOID.TIME_STAMPING
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "PURPOSE", stamping)
        certificates.write_dev_certificate(
            tmp_path / "chain.pem", tmp_path / "key.pem", name="time"
        )
    (tmp_path / "serial").write_text("01\n")
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text(CONFIGURATION.format(folder=tmp_path))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            query = tmp_path / "query"
            query.write_bytes(self.rfile.read(int(self.headers["content-length"])))
            command = ["openssl", "ts", "-reply", "-queryfile", query]
            command += ["-config", configuration]
            answer = subprocess.run(command, capture_output=True).stdout
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_time_stamp(certificate, authority):
    credentials = load_credentials(*certificate, authority)
    signed = sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg")
    claim = check_photo(signed.data, "image/jpeg")
    assert claim.sound and claim.signed_at.startswith("20")
    assert read_claim(signed.store).signed_at == claim.signed_at


def test_a_time_stamp_authority_that_does_not_answer(certificate):
    credentials = load_credentials(*certificate, "http://127.0.0.1:9/")
    with pytest.raises(ValueError, match=r"cannot be signed: .*127\.0\.0\.1:9"):
        sign_photo(noise(1), noise(2), BINDING, credentials, title="a.jpg")
