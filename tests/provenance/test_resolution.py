"""The Soft Binding Resolution API over HTTP, from a real server."""

import contextlib
import http.client
import io
import json
import struct
import threading
import time
import types
import urllib.parse
import zlib

import jsonschema
import numpy as np
import pytest
import skimage.data
import support

pytest.importorskip("fastapi", reason="pip install -r requirements-serving.txt")
import c2pa
import fastapi
import uvicorn

from faketagger_tf.photos import encode_image, read_photo
from faketagger_tf.provenance.binding import encode_value
from faketagger_tf.provenance.jumbf import split_store
from faketagger_tf.provenance.resolution import resolution_router
from faketagger_tf.provenance.signing import PhotoSigner
from faketagger_tf.registry import init_registry
from faketagger_tf.registry.jobs import tag_into_registry
from faketagger_tf.registry.manifests import recover_manifest
from faketagger_tf.registry.reader import RegisteredReader

API, LIMIT = "/c2pa/v1", 200_000
NAME = "com.newsroom.faketagger.unpublished"


def strict(required: dict, **optional) -> dict:
    """A schema of an object that has no other fields."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def array(items: dict) -> dict:
    return {"type": "array", "items": items}


TEXT = {"type": "string", "minLength": 1}
VERSION = {"const": "2.4.0"}
ALGORITHMS = array(strict({"alg": TEXT}))
# The answers of C2PA 2.4's OpenAPI document.
MATCHES = strict(
    {
        "matches": array(
            strict(
                {"manifestId": {"type": "string", "pattern": "^urn:c2pa:"}},
                endpoint=TEXT,
                similarityScore={"type": "integer", "minimum": 0, "maximum": 100},
            )
        )
    }
)
SCHEMAS = {
    "/services/supportedAlgorithms": strict(
        {"watermarks": ALGORITHMS, "fingerprints": ALGORITHMS}
    ),
    "/services/capabilities": strict(
        {"c2paSpecificationVersion": VERSION, "supportedCapabilities": array(TEXT)}
    ),
    "/services/status": strict(
        {"status": {"enum": ["ok", "degraded", "down"]}},
        timestamp={"type": "string", "format": "date-time"},
    ),
}
WELL_KNOWN = strict(
    {"apiEndpoint": TEXT, "c2paSpecificationVersion": VERSION},
    capabilitiesEndpoint=TEXT,
    statusEndpoint=TEXT,
)


@contextlib.contextmanager
def serving(get_reader, **options):
    """A server of the routes alone; its `call` returns (status, headers, body)."""
    app = fastapi.FastAPI()
    app.include_router(resolution_router(get_reader, domain="com.newsroom", **options))
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline
            time.sleep(0.01)
        address = server.servers[0].sockets[0].getsockname()

        def call(path, body=None, headers=None, method=None, **query):
            connection = http.client.HTTPConnection(*address, timeout=60)
            if query:
                path = f"{path}?{urllib.parse.urlencode(query)}"
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), data

        yield call
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, credentials, tagger):
    """A registry with two signed photos, one unsigned one, and the reader of it."""
    folder = tmp_path_factory.mktemp("desk")
    face = np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])
    (folder / "photo.png").write_bytes(encode_image(face, ".png"))
    with init_registry(f"sqlite:///{folder}/tags.db") as registry:
        payloads, signer = {}, PhotoSigner(credentials, "com.newsroom")
        for name in ("a", "b", "unsigned"):
            row = tag_into_registry(
                tagger,
                registry,
                folder / "photo.png",
                folder / f"{name}.png",
                signer=None if name == "unsigned" else signer,
            )
            payloads[name] = row["payload"]
        yield types.SimpleNamespace(
            folder=folder,
            registry=registry,
            reader=RegisteredReader(tagger, registry),
            payloads=payloads,
            a=recover_manifest(registry, payloads["a"]),
            b=recover_manifest(registry, payloads["b"]),
        )


@pytest.fixture(scope="module")
def call(desk):
    with serving(lambda: desk.reader, max_bytes=LIMIT) as call:
        yield call


def matches(answer) -> list[dict]:
    status, headers, body = answer
    assert status == 200, body
    assert headers["content-type"] == "application/json"
    told = json.loads(body)
    jsonschema.validate(told, MATCHES)
    return told["matches"]


def refused(answer, status: int) -> str:
    assert answer[0] == status, answer
    sentence = json.loads(answer[2])["detail"]
    assert sentence and "\n" not in sentence
    return sentence


def post(call, path, body, kind="application/json", **query):
    return call(path, body, {"content-type": kind}, **query)


def lossy(photo: np.ndarray, quality: int = 90) -> bytes:
    """A photo without metadata, recompressed."""
    return encode_image(photo, ".jpg", quality)


def test_matches_by_binding(call, desk):
    path, value = f"{API}/matches/byBinding", encode_value(desk.a.value)
    expected = [{"manifestId": desk.a.id, "similarityScore": 100}]
    assert matches(call(path, alg=NAME, value=value)) == expected
    query = json.dumps({"alg": NAME, "value": value})
    assert matches(post(call, path, query)) == expected
    assert matches(post(call, path, query, maxResults=1)) == expected
    # A payload that was issued and not signed, and one that was never issued.
    unsigned = int(desk.payloads["unsigned"], 16).to_bytes(4, "big")
    for other in (unsigned, b"\0", b"\0" * 5):
        found = matches(call(path, alg=NAME, value=encode_value(other)))
        assert found == []


def test_queries_by_binding_that_are_refused(call, desk):
    path, value = f"{API}/matches/byBinding", encode_value(desk.a.value)
    assert "value" in refused(call(path, alg=NAME), 400)
    assert "alg" in refused(call(path, value=value), 400)
    assert "base64" in refused(call(path, alg=NAME, value="?!"), 400)
    sentence = refused(call(path, alg="com.other.mark", value=value), 400)
    assert "com.other.mark" in sentence and NAME in sentence
    for count in ("0", "-1", "many"):
        answer = call(path, alg=NAME, value=value, maxResults=count)
        assert "maxResults" in refused(answer, 400)
    assert "POST" in refused(call(path, alg=NAME, value="A" * 5000), 414)
    for body in ("", "{", "[]", "{}", '{"alg": 1, "value": "AA=="}', b"\xff"):
        assert "JSON" in refused(post(call, path, body), 400)
    query = json.dumps({"alg": NAME, "value": "?"})
    assert "base64" in refused(post(call, path, query), 400)
    assert "bytes" in refused(post(call, path, b" " * 100_000), 413)
    # What is too long for an address is not too long for a body.
    query = json.dumps({"alg": NAME, "value": "A" * 5000})
    assert matches(post(call, path, query)) == []


def test_matches_by_content(call, desk):
    path = f"{API}/matches/byContent"
    photo = read_photo(desk.folder / "a.png")
    for body, kind in (
        (lossy(photo), "image/jpeg"),
        ((desk.folder / "a.png").read_bytes(), "image/png"),
        (lossy(photo), "image/*"),
    ):
        (found,) = matches(post(call, path, body, kind))
        assert found["manifestId"] == desk.a.id
        assert found["similarityScore"] >= 60  # What counts as found has p <= 1e-6.
    body = lossy(photo)
    assert len(matches(post(call, path, body, "image/jpeg", alg=NAME))) == 1
    untagged = lossy(read_photo(desk.folder / "photo.png"))
    assert matches(post(call, path, untagged, "image/jpeg")) == []
    unsigned = lossy(read_photo(desk.folder / "unsigned.png"))
    assert matches(post(call, path, unsigned, "image/jpeg")) == []


def test_a_photo_of_two_photos_has_two_manifests(call, desk):
    path = f"{API}/matches/byContent"
    both = [read_photo(desk.folder / f"{name}.png") for name in "ab"]
    body = lossy(np.hstack(both))
    found = matches(post(call, path, body, "image/jpeg"))
    assert {each["manifestId"] for each in found} == {desk.a.id, desk.b.id}
    scores = [each["similarityScore"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert matches(post(call, path, body, "image/jpeg", maxResults=1)) == found[:1]


def test_a_hint_finds_what_is_too_weak_among_many(desk, tagger):
    """Of one payload less is needed than of all: the hint's is looked for alone."""
    photo = read_photo(desk.folder / "a.png")
    (one,) = tagger.examine(photo, payloads=[int(desk.payloads["a"], 16)])
    (many,) = desk.reader.examine(photo)
    least = min(many.reading.p_value, many.reading.registered_p_value)
    assert one.registered_p_value < least
    fpr = float(np.sqrt(one.registered_p_value * least))  # Between the two.
    body, path = encode_image(photo, ".png"), f"{API}/matches/byContent"
    hints = {
        name: {"hintAlg": NAME, "hintValue": encode_value(getattr(desk, name).value)}
        for name in "ab"
    }
    with serving(lambda: desk.reader, fpr=fpr) as call:
        assert matches(post(call, path, body, "image/png")) == []
        (found,) = matches(post(call, path, body, "image/png", **hints["a"]))
        assert found["manifestId"] == desk.a.id
        # A wrong hint, and one of another algorithm, find nothing.
        assert matches(post(call, path, body, "image/png", **hints["b"])) == []
        other = hints["a"] | {"hintAlg": "com.other.mark"}
        assert matches(post(call, path, body, "image/png", **other)) == []


def test_queries_by_content_that_are_refused(call, desk):
    path = f"{API}/matches/byContent"
    body = lossy(read_photo(desk.folder / "a.png"))
    for kind in ("application/json", "video/mp4", ""):
        assert "image/*" in refused(post(call, path, body, kind), 415)
    sentence = refused(post(call, path, b"%PDF-1.7" * 9, "image/jpeg"), 415)
    assert "known image format" in sentence
    assert refused(post(call, path, b"", "image/jpeg"), 415)
    refused(post(call, path, b"\xff\xd8\xff\xe0 no picture", "image/jpeg"), 400)
    assert str(LIMIT) in refused(post(call, path, b"x" * (LIMIT + 1), "image/png"), 413)

    def chunks():  # Without a length in advance.
        for _ in range(LIMIT // 1000 + 1):
            yield b"x" * 1000

    assert str(LIMIT) in refused(post(call, path, chunks(), "image/png"), 413)
    refused(post(call, path, body, "image/jpeg", alg="com.other.mark"), 400)
    refused(post(call, path, body, "image/jpeg", maxResults=0), 400)
    refused(post(call, path, body, "image/jpeg", hintAlg=NAME), 400)
    answer = post(call, path, body, "image/jpeg", hintAlg=NAME, hintValue="?")
    refused(answer, 400)
    assert "pixels" in refused(post(call, path, lying(), "image/png"), 413)


def lying() -> bytes:
    """A small file that claims to be a photo of 900 megapixels."""
    name, header = b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    small = encode_image(np.zeros([8, 8, 3], np.uint8), ".png")
    checksum = struct.pack(">I", zlib.crc32(name + header))
    return small[:12] + name + header + checksum + small[33:]


def test_manifests(call, desk):
    status, headers, body = call(f"{API}/manifests/{desk.a.id}")
    assert status == 200 and headers["content-type"] == "application/c2pa"
    assert body == desk.a.store
    with c2pa.Reader("application/c2pa", io.BytesIO(body)) as reader:
        assert json.loads(reader.json())["active_manifest"] == desk.a.id
    for name in ("urn:c2pa:none", "x" * 3000, urllib.parse.quote("ü/..\0")):
        assert call(f"{API}/manifests/{name}")[0] == 404
    answer = call(f"{API}/manifests/{desk.a.id}", returnActiveManifest="perhaps")
    assert "returnActiveManifest" in refused(answer, 400)


def test_the_active_manifest_alone(desk, credentials, tagger, tmp_path):
    signer = PhotoSigner(credentials, "com.newsroom")
    row = tag_into_registry(
        tagger,
        desk.registry,
        desk.folder / "b.png",
        tmp_path / "again.png",
        signer=signer,
        retag=True,
        check=False,
    )
    manifest = recover_manifest(desk.registry, row["payload"])
    assert list(split_store(manifest.store).boxes) == [desk.b.id, manifest.id]
    with serving(lambda: desk.reader) as call:
        path = f"{API}/manifests/{manifest.id}"
        assert call(path)[2] == call(path, returnActiveManifest="false")[2]
        store = split_store(call(path, returnActiveManifest="true")[2])
    assert store.boxes == {manifest.id: split_store(manifest.store).boxes[manifest.id]}


@pytest.mark.parametrize("path", SCHEMAS)
def test_services(call, path):
    status, headers, body = call(API + path)
    assert status == 200 and headers["content-type"] == "application/json"
    jsonschema.validate(json.loads(body), SCHEMAS[path])


def test_services_tell_the_truth(call):
    told = json.loads(call(f"{API}/services/supportedAlgorithms")[2])
    assert told == {"watermarks": [{"alg": NAME}], "fingerprints": []}
    told = json.loads(call(f"{API}/services/capabilities")[2])
    assert told["supportedCapabilities"] == ["queryByContent"]
    assert call(f"{API}/manifests", b"{}")[0] in (404, 405)  # Nothing is stored.
    assert json.loads(call(f"{API}/services/status")[2])["status"] == "ok"


def test_discovery(desk, call):
    path = "/.well-known/c2pa-soft-binding-resolution"
    told = json.loads(call(path)[2])
    jsonschema.validate(told, WELL_KNOWN)
    assert told["apiEndpoint"] == API
    assert call(told["statusEndpoint"])[0] == 200
    assert call(told["capabilitiesEndpoint"])[0] == 200
    url = "https://tags.newsroom.com"
    with serving(lambda: desk.reader, public_url=f"{url}/", prefix="/sbr/v1") as other:
        told = json.loads(other(path)[2])
        jsonschema.validate(told, WELL_KNOWN)
        assert told["apiEndpoint"] == f"{url}/sbr/v1"
        assert other("/sbr/v1/services/status")[0] == 200


def test_clients_that_are_not_allowed(desk):
    def authorize(request: fastapi.Request) -> None:
        if request.headers.get("authorization") != "Bearer right":
            raise fastapi.HTTPException(403, "Not allowed.")

    value = encode_value(desk.a.value)
    photo = lossy(read_photo(desk.folder / "a.png"))
    query = json.dumps({"alg": NAME, "value": value})
    with serving(lambda: desk.reader, authorize=authorize) as call:
        for key, status in (("wrong", 403), ("right", 200)):
            headers = {"authorization": f"Bearer {key}"}
            path = f"{API}/matches/byBinding"
            assert call(path, None, headers, alg=NAME, value=value)[0] == status
            assert call(path, query, headers)[0] == status
            assert call(f"{API}/manifests/{desk.a.id}", None, headers)[0] == status
            headers["content-type"] = "image/jpeg"
            assert call(f"{API}/matches/byContent", photo, headers)[0] == status
        for path in SCHEMAS:  # Who may ask for nothing may ask what there is.
            assert call(API + path)[0] == 200


def test_revoked_records_are_not_found(desk, credentials, tagger, tmp_path):
    output = tmp_path / "revoked.png"
    row = tag_into_registry(
        tagger,
        desk.registry,
        desk.folder / "photo.png",
        output,
        signer=PhotoSigner(credentials, "com.newsroom"),
    )
    manifest = recover_manifest(desk.registry, row["payload"])
    reader = RegisteredReader(tagger, desk.registry)
    with serving(lambda: reader) as call:
        value = encode_value(manifest.value)

        def ask() -> tuple:
            photo = lossy(read_photo(output))
            found = (
                call(f"{API}/matches/byBinding", alg=NAME, value=value),
                post(call, f"{API}/matches/byContent", photo, "image/jpeg"),
            )
            status = call(f"{API}/manifests/{manifest.id}")[0]
            return [len(matches(answer)) for answer in found], status

        assert ask() == ([1, 1], 200)
        desk.registry.revoke(row["payload"])
        assert ask() == ([0, 0], 404)


def test_keyed_tags_are_found_by_who_has_the_key(credentials, tmp_path):
    keyed = support.correlation_tagger(key=b"k" * 32)
    (tmp_path / "photo.png").write_bytes(
        encode_image(skimage.data.astronaut()[:260, 90:350].copy(), ".png")
    )
    output = tmp_path / "tagged.png"
    with init_registry(f"sqlite:///{tmp_path}/tags.db") as registry:
        signer = PhotoSigner(credentials, "com.newsroom")
        row = tag_into_registry(
            keyed, registry, tmp_path / "photo.png", output, signer=signer
        )
        manifest = recover_manifest(registry, row["payload"])
        assert manifest.algorithm == f"{NAME}.keyed"
        photo, found = lossy(read_photo(output)), []
        with_key = RegisteredReader(keyed, registry)
        without = RegisteredReader(support.correlation_tagger(), registry)
        for get_reader in (lambda: with_key, lambda: without):
            with serving(get_reader) as call:
                path = f"{API}/matches/byContent"
                found.append(matches(post(call, path, photo, "image/jpeg")))
    assert [[m["manifestId"] for m in each] for each in found] == [[manifest.id], []]


def test_a_registry_that_fails(credentials, tagger, tmp_path):
    database = tmp_path / "tags.db"
    with init_registry(f"sqlite:///{database}") as registry:
        reader = RegisteredReader(tagger, registry)
    database.unlink()
    (tmp_path / "tags.db").mkdir()  # Nothing that SQLite could open.
    with serving(lambda: reader) as call:
        assert json.loads(call(f"{API}/services/status")[2])["status"] == "down"
        answer = call(f"{API}/matches/byBinding", alg=NAME, value="AAAA")
        assert str(tmp_path) not in refused(answer, 500)


def test_manifests_are_given_out_without_the_library_that_signs():
    text = "import faketagger_tf.provenance.resolution"
    done = support.run_without(("c2pa", "cryptography", "tensorflow"), text)
    assert done.returncode == 0, done.stderr
