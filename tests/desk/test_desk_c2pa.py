"""The desk with C2PA: it signs what it tags, and finds the manifests of suspects."""

import builtins
import io
import json
import time
import urllib.parse
import uuid

import cv2
import jsonschema
import numpy as np
import pytest
import skimage.data

pytest.importorskip("c2pa", reason="pip install -r requirements-c2pa.txt")

import c2pa
import desk_server

from faketagger_tf.desk import answers
from faketagger_tf.photos import decode_photo, encode_image
from faketagger_tf.provenance.binding import encode_value
from faketagger_tf.provenance.certificates import (
    load_credentials,
    write_dev_certificate,
)
from faketagger_tf.provenance.claims import check_photo
from faketagger_tf.provenance.signing import PhotoSigner
from faketagger_tf.registry.reader import RegisteredReader
from faketagger_tf.tagging.tagger import Tagger

API = "/c2pa/v1"
ALGORITHM = "com.newsroom.faketagger.face128"


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    chain, key = folder / "chain.pem", folder / "key.pem"
    write_dev_certificate(chain, key)
    return PhotoSigner(load_credentials(chain, key), "com.newsroom")


@pytest.fixture(scope="module")
def signing(signer, tmp_path_factory):
    """A desk with the shipped preset, which signs."""
    folder = tmp_path_factory.mktemp("signing")
    tagger = Tagger.load("face128")
    with desk_server.running(tagger, folder, signer=signer) as desk:
        yield desk


@pytest.fixture(scope="module")
def tagged(signing):
    """The answer to a tagging: a signed JPEG."""
    photo = encode_image(skimage.data.astronaut(), ".png")
    answer = signing.call(
        "POST", "/v1/tag", photo=photo, scope="tag", fields={"extension": ".jpg"}
    )
    assert answer.status == 200, answer.data
    time.sleep(1.1)  # By when the reader has noticed the payload.
    return answer


@pytest.fixture(scope="module")
def suspect(tagged):
    """Its pixels as a platform writes them: without metadata, JPEG 75."""
    suspect = encode_image(decode_photo(tagged.data), ".jpg", 75)
    assert check_photo(suspect, "image/jpeg") is None
    return suspect


def by_content(desk, photo, scope="trace", **query):
    path = f"{API}/matches/byContent?{urllib.parse.urlencode(query)}"
    return desk.call(
        "POST", path, photo, scope=scope, headers={"Content-Type": "image/jpeg"}
    )


def test_sign_strip_recompress_and_find_the_manifest(signing, tagged, suspect):
    claim = check_photo(tagged.data, "image/jpeg")
    assert claim.sound and claim.algorithm == ALGORITHM
    assert claim.title == "photo.jpg"
    assert tagged.headers["x-faketagger-manifest"] == claim.manifest_id
    payload = tagged.headers["x-faketagger-payload"]
    assert signing.registry.show(payload).size == len(tagged.data)

    answer = by_content(signing, suspect)
    assert answer.status == 200, answer.data
    (found,) = answer.json()["matches"]
    assert found["manifestId"] == claim.manifest_id
    assert 60 <= found["similarityScore"] <= 100
    answer = signing.call("GET", f"{API}/manifests/{claim.manifest_id}", scope="trace")
    assert answer.headers["content-type"] == "application/c2pa"

    # What came back is what was signed: C2PA's own reader says so, given the photo.
    with c2pa.Reader("image/jpeg", io.BytesIO(tagged.data), answer.data) as own:
        assert own.get_validation_state() == "Valid"
        assert json.loads(own.json())["active_manifest"] == claim.manifest_id
    with c2pa.Reader("image/jpeg", io.BytesIO(suspect), answer.data) as other:
        assert other.get_validation_state() == "Invalid"

    value = encode_value(int(payload, 16).to_bytes(4, "big"))
    query = urllib.parse.urlencode({"alg": ALGORITHM, "value": value})
    answer = signing.call("GET", f"{API}/matches/byBinding?{query}", scope="trace")
    (same,) = answer.json()["matches"]
    assert same == {"manifestId": claim.manifest_id, "similarityScore": 100}


def test_a_trace_tells_what_the_manifest_claims(signing, tagged, suspect):
    answer = signing.call("POST", "/v1/trace", photo=suspect, scope="trace").json()
    schema = signing.call("GET", "/openapi.json").json()
    about = {"$ref": "#/components/schemas/TraceAnswer"}
    jsonschema.validate(answer, schema | about)
    told = answer["readings"][0]["manifest"]
    claim = check_photo(tagged.data, "image/jpeg")
    assert told["id"] == claim.manifest_id and told["algorithm"] == claim.algorithm
    assert told["signer"] == claim.signer and told["state"] == "unchecked"
    assert told["actions"] == ["c2pa.opened", "c2pa.watermarked.bound"]
    assert claim.signer in told["in_words"] and "nobody has checked" in told["in_words"]


def test_tagging_as_json_names_the_manifest(start, signer, photo):
    with start(signer=signer) as desk:
        answer = desk.call(
            "POST",
            "/v1/tag",
            photo=photo,
            scope="tag",
            headers={"Accept": "application/json"},
        ).json()
        assert desk.call("GET", f"{API}/manifests/{answer['manifest']}").status == 401
        path = f"{API}/manifests/{answer['manifest']}"
        assert desk.call("GET", path, scope="trace").status == 200
        # A file that has no place for a manifest is refused.
        refused = desk.call(
            "POST", "/v1/tag", photo=photo, scope="tag", fields={"extension": ".bmp"}
        )
        assert refused.status == 422 and "Received: BMP" in refused.error


def test_keys_and_their_scopes(desk, start, photo):
    query = urllib.parse.urlencode({"alg": "x", "value": "AA=="})
    asked = [
        (f"{API}/matches/byBinding?{query}", None),
        (f"{API}/matches/byBinding", b'{"alg": "x", "value": "AA=="}'),
        (f"{API}/matches/byContent", photo),
        (f"{API}/manifests/urn:c2pa:none", None),
    ]
    expected = [400, 400, 200, 404]  # An unknown algorithm, nothing found, nothing.

    def statuses(desk, scope):
        answered = [
            desk.call(
                "GET" if body is None else "POST",
                path,
                body,
                scope=scope,
                headers={"Content-Type": "image/png"},
            )
            for path, body in asked
        ]
        assert all(a.status == 200 or a.error.endswith(".") for a in answered)
        return [a.status for a in answered]

    assert statuses(desk, None) == [401] * 4
    assert statuses(desk, "no-such-key") == [401] * 4
    assert statuses(desk, "tag") == [403] * 4
    assert statuses(desk, "trace") == statuses(desk, "admin") == expected
    # A payload is a number that can be guessed: that needs a key all the same.
    with start(public_trace=True) as public:
        assert statuses(public, None) == [401, 401, *expected[2:]]
        assert statuses(public, "tag") == [403] * 4
        assert statuses(public, "trace") == expected
    with start(public_trace=True, public_bindings=True) as public:
        assert statuses(public, None) == expected
    # Who may ask for nothing may ask what there is.
    for path in ("supportedAlgorithms", "capabilities", "status"):
        assert desk.call("GET", f"{API}/services/{path}").status == 200
    assert desk.call("GET", f"{API}/services/status").json()["status"] == "ok"


def test_the_desks_limits_hold_for_its_photos(start, photo, pixels):
    with start(max_pixels=pixels.shape[0] * pixels.shape[1] - 1) as desk:
        answer = by_content(desk, photo)
        assert answer.status == 413 and "pixels" in answer.error
    with start(max_body=len(photo) - 1) as desk:
        assert by_content(desk, photo).status == 413
    with start(rate="1/minute") as desk:
        assert by_content(desk, photo).status == 200
        answer = by_content(desk, photo)
        assert answer.status == 429 and answer.headers["retry-after"]
    with start(jobs=1, queue=1) as desk:
        desk.desk.pool.pending = 2  # As if two photos were there.
        assert by_content(desk, photo).status == 503
        desk.desk.pool.pending = 0
        assert by_content(desk, photo).status == 200
        counted = desk.desk.metrics.photos.labels("match", "done")
        assert counted._value.get() == 1


def test_a_photo_by_content_takes_one_of_its_addresses_places(start, photo):
    with start(address_slots=1) as desk:
        with desk.desk._slots.take("127.0.0.1"):
            assert by_content(desk, photo).status == 429
        assert by_content(desk, photo).status == 200


def test_where_the_desk_says_it_is(start):
    path = "/.well-known/c2pa-soft-binding-resolution"
    with start(public_url="https://tags.newsroom.com/", domain="com.newsroom") as desk:
        told = desk.call("GET", path).json()
        assert told["apiEndpoint"] == f"https://tags.newsroom.com{API}"
        told = desk.call("GET", f"{API}/services/supportedAlgorithms").json()
        assert told["watermarks"] == [{"alg": "com.newsroom.faketagger.unpublished"}]


def test_without_a_key_another_photo_brings_up_no_manifest(signing, tagged, signer):
    """A tag that was forged onto another photo tells nobody whose it is."""
    payload = tagged.headers["x-faketagger-payload"]
    other = cv2.rotate(skimage.data.astronaut(), cv2.ROTATE_180)[:256, 128:384]
    tagger = signing.desk.tagger
    forged = tagger.embed(np.ascontiguousarray(other), int(payload, 16))
    (finding,) = RegisteredReader(tagger, signing.registry).examine(forged)
    assert finding.change.verdict == "another photo" and finding.manifest

    def answer(public):
        return answers.ReadingAnswer.of(finding, None, 32, 1e-6, public)

    assert answer(False).manifest.id == finding.manifest.id
    assert answer(True).manifest is None


def test_without_a_key_a_forged_tag_brings_up_no_manifest_by_content(
    start, signer, photo
):
    """Otherwise all manifests could be had by writing one payload after the other."""
    other = cv2.rotate(skimage.data.astronaut(), cv2.ROTATE_180)[:256, 128:384]
    with start(signer=signer, public_trace=True) as desk:
        tagged = desk.call("POST", "/v1/tag", photo=photo, scope="tag")
        manifest = tagged.headers["x-faketagger-manifest"]
        payload = int(tagged.headers["x-faketagger-payload"], 16)
        time.sleep(1.1)  # By when the reader has noticed the payload.
        forged = desk.desk.tagger.embed(np.ascontiguousarray(other), payload)
        forged = encode_image(forged, ".png")
        hint = {
            "hintAlg": desk.desk.describe().algorithm,
            "hintValue": encode_value(payload.to_bytes(4, "big")),
        }
        for query in ({}, hint):
            (match,) = by_content(desk, forged, **query).json()["matches"]
            assert match["manifestId"] == manifest
            answer = by_content(desk, forged, scope=None, **query)
            assert answer.status == 200 and answer.json()["matches"] == []
        # Who has the photo has its manifest.
        copy = encode_image(decode_photo(tagged.data), ".jpg", 90)
        (match,) = by_content(desk, copy, scope=None).json()["matches"]
        assert match["manifestId"] == manifest
        assert desk.call("GET", f"{API}/manifests/{manifest}").status == 200


def test_ids_of_manifests_cannot_be_guessed(tagged):
    """They open a manifest to everybody: random UUIDs, of 122 bits."""
    prefix, _, number = tagged.headers["x-faketagger-manifest"].rpartition(":")
    assert prefix == "urn:c2pa" and uuid.UUID(number).version == 4


def test_a_desk_with_a_trust_list(start, signer, photo):
    with start(signer=signer, anchors=signer.credentials.chain) as desk:
        tagged = desk.call("POST", "/v1/tag", photo=photo, scope="tag")
        time.sleep(1.1)
        answer = desk.call("POST", "/v1/trace", photo=tagged.data, scope="trace")
        told = answer.json()["readings"][0]["manifest"]
        assert told["state"] == "trusted"
        assert "is on this desk's trust list" in told["in_words"]


def test_without_c2pas_library_the_manifest_is_given_out_all_the_same(
    signing, suspect, tagged, monkeypatch
):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name == "faketagger_tf.provenance.claims":
            raise ModuleNotFoundError("No module named 'c2pa'", name="c2pa")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    answer = signing.call("POST", "/v1/trace", photo=suspect, scope="trace").json()
    told = answer["readings"][0]["manifest"]
    assert told["id"] == tagged.headers["x-faketagger-manifest"]
    assert told["signer"] is told["state"] is told["actions"] is None
    path = f"{API}/manifests/{told['id']}"
    assert signing.call("GET", path, scope="trace").status == 200
