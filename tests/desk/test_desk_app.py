"""What the desk answers, from photos over the wire to records in SQLite."""

import base64
import hashlib
import html.parser
import json
import re
import time

import cv2
import numpy as np
import pytest
import support
from prometheus_client.parser import text_string_to_metric_families

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import decode_photo, encode_image
from faketagger_tf.registry.access import revoke_key
from faketagger_tf.registry.reader import RegisteredReader


@pytest.fixture(scope="module")
def tagged(desk, photo):
    """(the answer to a tagging, the tagged pixels)."""
    fields = {"owner": "Zoë", "note": 'a "note"', "extension": ".png"}
    answer = desk.call(
        "POST", "/v1/tag", photo=photo, scope="tag", name="face.jpg", fields=fields
    )
    assert answer.status == 200, answer.data
    return answer, decode_photo(answer.data)


def trace(desk, photo, **options):
    options.setdefault("scope", "trace")
    answer = desk.call("POST", "/v1/trace", photo=photo, **options)
    assert answer.status == 200, answer.data
    return answer.json()


def test_a_tagged_photo_has_the_record_that_is_in_its_header(desk, tagged, photo):
    answer, pixels = tagged
    payload = answer.headers["x-faketagger-payload"]
    record = desk.registry.show(payload)
    assert record.state == "written" and record.file == "face.png"
    assert (record.owner, record.note) == ("Zoë", 'a "note"')
    assert record.sha256_original == hashlib.sha256(photo).hexdigest()
    assert record.sha256_tagged == hashlib.sha256(answer.data).hexdigest()
    assert answer.headers["content-type"] == "image/png"
    assert "face.png" in answer.headers["content-disposition"]
    told = json.loads(answer.headers["x-faketagger-record"])
    assert told["payload"] == payload and told["owner"] == "Zoë"
    (reading,) = desk.desk.tagger.read(pixels)
    assert reading.payload == int(payload, 16)
    shown = desk.call("GET", answer.headers["location"], scope="trace").json()
    assert shown.pop("thumbnail") and told.pop("thumbnail") is None
    assert shown == told


def test_tagging_as_json(desk, photo):
    answer = desk.call(
        "POST",
        "/v1/tag",
        photo=photo,
        scope="tag",
        name=r"C:\photos\ä.webp",
        fields={"quality": "90", "promise": "archive"},
        headers={"Accept": "application/json"},
    ).json()
    data = base64.b64decode(answer["photo"])
    assert answer["media_type"] == "image/webp" and data[8:12] == b"WEBP"
    assert answer["record"]["sha256_tagged"] == hashlib.sha256(data).hexdigest()
    assert answer["record"]["file"] == "ä.webp"
    assert answer["faces"] == 1 and answer["unread_faces"] == []
    # What of the promise is kept by a tagger without training is not the desk's.
    assert isinstance(answer["broken"], list)
    (reading,) = desk.desk.tagger.read(decode_photo(data))
    assert reading.payload == int(answer["record"]["payload"], 16)


def test_what_cannot_be_tagged(desk, tagged, photo):
    def ask(photo, name="a.png", **fields):
        answer = desk.call(
            "POST", "/v1/tag", photo=photo, scope="tag", name=name, fields=fields
        )
        return answer.status, answer.json().get("error", "")

    def issued():
        return [r for r in desk.registry.search(limit=100) if r.state != "abandoned"]

    before = issued()
    assert ask(b"no photo")[0] == 422
    # So weak a tag that another one reads over it at once.
    weak = 0.5 * decode_photo(photo) + 0.5 * tagged[1]
    weak = encode_image(weak.round().astype(np.uint8), ".png")
    status, sentence = ask(weak)
    assert status == 422 and "carries a tag already" in sentence
    status, sentence = ask(photo, extension=".gif")
    assert status == 422 and "Received: .gif" in sentence
    status, sentence = ask(photo, promise="gold")
    assert status == 422 and "promise must be one of archive" in sentence
    for quality in ("0", "101", "high", "9" * 50, "²"):
        status, sentence = ask(photo, quality=quality)
        assert status == 422 and sentence.startswith("quality must be a whole number")
    status, sentence = ask(photo, owner="a\0b")
    assert status == 422 and sentence.startswith("owner must be text")
    assert issued() == before
    answer = desk.call(
        "POST",
        "/v1/tag",
        photo=weak,
        scope="tag",
        fields={"retag": "true"},
    )
    assert answer.status == 200
    # A format that is read alone becomes a JPEG.
    answer = desk.call("POST", "/v1/tag", photo=photo, scope="tag", name="x.jfif")
    assert answer.headers["content-type"] == "image/jpeg"


def test_tracing_says_what_the_library_says(desk, tagged):
    time.sleep(1.1)  # By when the reader has noticed the latest payloads.
    small = cv2.resize(tagged[1], (230, 230), interpolation=cv2.INTER_AREA)
    suspect = encode_image(np.ascontiguousarray(small[:, ::-1]), ".jpg", 90)
    answer = trace(desk, suspect)
    reader = RegisteredReader(desk.desk.tagger, desk.registry)
    (finding,) = reader.examine(decode_photo(suspect))
    (made,) = answer["readings"]
    payload = tagged[0].headers["x-faketagger-payload"]
    assert made["found"] and made["payload"] == payload == finding.record.payload
    assert made["p_value"] == finding.reading.p_value < 1e-6
    assert made["registered_p_value"] == finding.reading.registered_p_value < 1e-6
    assert answer["payloads"] == len(reader.payloads()) >= 1
    assert answer["false_positive_rate"] == 1e-6
    assert made["mirrored"] is True
    assert made["record"]["owner"] == "Zoë" and made["record"]["note"] == 'a "note"'
    assert made["change"]["verdict"] == finding.change.verdict == "same photo"
    assert made["in_words"].startswith("This is the photo on record; no change")
    assert answer["in_words"] == "A tag was found, with its record."
    blind, registered, rate = made["sure_in_words"]
    assert "once in " in blind and f"(N = {answer['payloads']})" in registered
    assert "once in 1 million" in rate
    assert answer["tagger"]["format_version"] == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer["tagger"]["release"])
    for address in (made["record"]["thumbnail"], made["heat_map"]["picture"]):
        kind, _, data = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert decode_photo(base64.b64decode(data)).shape == (256, 256, 3)
    assert "cannot show smaller changes" in made["heat_map"]["in_words"]


def test_tracing_an_untagged_photo(desk, tagged, photo):
    answer = trace(desk, photo)
    assert answer["in_words"] == "No tag was found."
    (made,) = answer["readings"]
    assert not made["found"] and made["payload"] is None and made["record"] is None
    assert made["change"] is made["heat_map"] is None
    assert made["p_value"] > 1e-6 and made["registered_p_value"] > 1e-6


def test_notes_of_a_damaged_suspect(desk, tagged):
    data = encode_image(tagged[1], ".jpg", 95)
    answer = trace(desk, data[: len(data) * 9 // 10])
    assert any("truncated" in note for note in answer["notes"])


def test_a_tag_that_is_not_on_record(desk, tagged):
    pixels = draw_photo(identity_from_seed(3), np.random.default_rng(3), 320)[0]
    free = next(v for v in range(9) if desk.registry.show(f"0x{v:08X}") is None)
    other = encode_image(desk.desk.tagger.embed(pixels, free), ".png")
    answer = trace(desk, other)
    assert answer["in_words"] == "A tag was found, but no record."
    assert answer["readings"][0]["in_words"].endswith("has not issued its payload.")


def transplanted(desk, payload):
    pixels = draw_photo(identity_from_seed(5), np.random.default_rng(5), 320)[0]
    return encode_image(desk.desk.tagger.embed(pixels, payload), ".png")


def test_the_public_sees_records_of_what_it_has(start, photo):
    with start(public_trace=True) as desk:
        tagged = desk.call(
            "POST",
            "/v1/tag",
            photo=photo,
            scope="tag",
            fields={"owner": "Zoë", "note": "private"},
        )
        (made,) = trace(desk, tagged.data, scope=None)["readings"]
        record = made["record"]
        assert record["owner"] == "Zoë" and record["thumbnail"] and made["heat_map"]
        assert record["note"] == record["file"] == record["sha256_original"] == ""
        # Open tags can be forged by everybody; that must not bring up the record.
        forged = transplanted(desk, tagged.headers["x-faketagger-payload"])
        answer = trace(desk, forged, scope=None)
        (made,) = answer["readings"]
        assert made["found"] and made["change"]["verdict"] == "another photo"
        assert made["record"] is None and made["heat_map"] is None
        assert "Zo" not in json.dumps(answer) and "private" not in json.dumps(answer)
        assert "another photo altogether" in made["in_words"]
        (made,) = trace(desk, forged, scope="trace")["readings"]
        assert made["record"]["note"] == "private" and made["heat_map"] is None
        for path in ("/v1/records", tagged.headers["location"]):
            assert desk.call("GET", path).status == 401
        # A wrong key is no way to be nobody.
        assert desk.call("POST", "/v1/trace", photo=photo, scope="x").status == 401


def test_scopes(desk, tagged, photo):
    location = tagged[0].headers["location"]
    routes = {
        ("POST", "/v1/trace"): "trace",
        ("POST", "/v1/tag"): "tag",
        ("GET", "/v1/records"): "admin",
        ("GET", location): "trace",
        ("GET", f"{location}/thumbnail"): "trace",
    }
    for (method, path), needed in routes.items():
        for scope in (None, "ft_wrong", "trace", "tag", "admin"):
            given = {"photo": b"no photo"} if method == "POST" else {}
            answer = desk.call(method, path, scope=scope, **given)
            if scope in (None, "ft_wrong"):
                assert answer.status == 401
            elif scope in (needed, "admin"):
                assert answer.status == (422 if given else 200)
            else:
                assert answer.status == 403 and needed in answer.error


def test_a_revoked_key_opens_nothing(start):
    with start() as desk:
        assert desk.call("GET", "/v1/records", scope="admin").status == 200
        revoke_key(desk.registry, "admin")
        assert desk.call("GET", "/v1/records", scope="admin").status == 401


def test_one_record_and_its_thumbnail(desk, tagged):
    payload = tagged[0].headers["x-faketagger-payload"]
    record = desk.registry.show(payload)
    for spelled in (payload, payload.lower(), payload[2:]):
        answer = desk.call("GET", f"/v1/records/{spelled}", scope="trace")
        assert answer.json()["payload"] == payload
    answer = desk.call("GET", f"/v1/records/{payload}/thumbnail", scope="trace")
    assert answer.data == record.thumbnail
    assert answer.headers["content-type"] == "image/jpeg"
    free = next(v for v in range(9) if desk.registry.show(f"0x{v:08X}") is None)
    answer = desk.call("GET", f"/v1/records/{free:x}", scope="trace")
    assert answer.status == 404 and f"0x{free:08X}" in answer.error
    for wrong in ("xyz", "1FFFFFFFF", "%FF", "..%2f..%2fetc"):
        answer = desk.call("GET", f"/v1/records/{wrong}", scope="trace")
        assert answer.status in (404, 422), wrong


def test_history_pages_and_search(start):
    from faketagger_tf.registry import Record

    with start() as desk:
        made = [
            desk.registry.reserve(
                Record(preset="p", file=f"{n}.png", owner=f"Owner {n % 3}", note="50%"),
                32,
            ).payload
            for n in range(45)
        ]

        def ask(query):
            return desk.call("GET", f"/v1/records?{query}", scope="admin").json()

        seen, query = [], "limit=20"
        while query:
            page = ask(query)
            seen += [record["payload"] for record in page["records"]]
            cursor = page["next"]
            query = cursor and "limit=20&before=" + cursor.replace("+", "%2B")
        assert seen == made[::-1]
        assert len(ask("search=oWNER%201")["records"]) == 15
        assert [r["file"] for r in ask("search=44.png")["records"]] == ["44.png"]
        assert len(ask("search=" + made[7][4:])["records"]) == 1
        assert len(ask("search=50%25&limit=100")["records"]) == 45
        assert ask("search=5_%25")["records"] == []  # No pattern, but letters.
        for wrong in ("before=x", "before=2026-01-01_0x1", "limit=0", "limit=x"):
            answer = desk.call("GET", f"/v1/records?{wrong}", scope="admin")
            assert answer.status == 422 and answer.error.endswith(".")


def test_a_registry_that_fails(start, photo):
    import sqlalchemy as sa

    with start() as desk:
        with desk.registry.begin() as connection:
            connection.execute(sa.text("DROP TABLE faces"))
            connection.execute(sa.text("DROP TABLE records"))
        for answer in (
            desk.call("GET", "/healthz"),
            desk.call("GET", "/v1/records", scope="admin"),
            desk.call("POST", "/v1/tag", photo=photo, scope="tag"),
        ):
            assert answer.status == 503 and answer.headers["retry-after"]
            assert answer.error == "The registry does not answer; try again later."


def test_a_fault_of_ours_is_one_sentence(desk, photo, monkeypatch):
    monkeypatch.setattr(desk.desk, "trace", lambda *arguments: 1 / 0)
    answer = desk.call("POST", "/v1/trace", photo=photo, scope="trace")
    assert (answer.status, answer.error) == (500, "The desk failed; see its log.")


def test_unknown_routes_and_methods(desk):
    answer = desk.call("GET", "/v1/nothing")
    assert (answer.status, answer.error) == (404, "GET /v1/nothing: Not Found.")
    assert desk.call("DELETE", "/v1/trace").status == 405


class Page(html.parser.HTMLParser):
    """What a page loads and what it says."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.words = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.loaded += [
            value for name, value in attributes if name in ("src", "href", "srcset")
        ]

    def handle_data(self, data):
        self.words += data


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(desk, path):
    answer = desk.call("GET", path)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    page = Page(answer.data.decode())
    assert page.loaded
    for address in page.loaded:
        assert address.startswith("/") or address == "data:,"
        if address.startswith("/page/"):
            assert desk.call("GET", address).status == 200


def test_the_interface_is_described_without_a_script(desk):
    schema = desk.call("GET", "/openapi.json").json()
    docs = Page(desk.call("GET", "/docs").data.decode()).words
    paths = set(schema["paths"])
    assert paths == {
        "/v1/trace",
        "/v1/tag",
        "/v1/records",
        "/v1/records/{payload}",
        "/v1/records/{payload}/thumbnail",
        "/c2pa/v1/matches/byBinding",
        "/c2pa/v1/matches/byContent",
        "/c2pa/v1/manifests/{activeManifestId}",
        "/c2pa/v1/services/supportedAlgorithms",
        "/c2pa/v1/services/capabilities",
        "/c2pa/v1/services/status",
        "/.well-known/c2pa-soft-binding-resolution",
        "/healthz",
        "/metrics",
    }
    assert all(path in docs for path in paths)
    fields = schema["components"]["schemas"]["ReadingAnswer"]["properties"]
    assert {"p_value", "registered_p_value", "change", "record"} <= set(fields)
    assert "registered_p_value" in docs and "multipart/form-data" in docs


def test_every_answer_has_the_headers_of_a_guarded_page(desk):
    for answer in (
        desk.call("GET", "/"),
        desk.call("GET", "/page/desk.js"),
        desk.call("GET", "/nothing"),
        desk.call("GET", "/v1/records", scope="admin"),
        desk.call("POST", "/v1/trace", photo=b""),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_metrics(start, photo):
    with start() as desk:
        desk.call("POST", "/v1/trace", photo=photo, scope="trace")
        desk.call("POST", "/v1/trace", photo=b"x", scope="trace")
        desk.call("GET", "/v1/records/0x1", scope="trace")
        desk.call("GET", "/no/such/route")
        answer = desk.call("GET", "/metrics")
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.data.decode())
        for sample in family.samples
    }

    def count(name, **labels):
        return found[(name, *sorted(labels.items()))]

    photos = "faketagger_photos_total"
    assert count(photos, work="trace", outcome="done") == 1
    assert count(photos, work="trace", outcome="refused") == 1
    assert count("faketagger_photos_pending") == 0
    requests = "faketagger_requests_total"
    assert count(requests, method="POST", route="/v1/trace", status="200") == 1
    one = "/v1/records/{payload}"  # And not a series for every payload.
    assert count(requests, method="GET", route=one, status="404") == 1
    assert count(requests, method="none", route="none", status="404") == 1


def test_routers_of_others_have_the_desk_and_its_limits(start):
    from fastapi import APIRouter, Request

    router = APIRouter()

    @router.post("/other")
    async def other(request: Request):
        body = await request.body()
        return {"bytes": len(body), "bits": request.app.state.desk.fpr}

    with start(routers=[router], max_body=1000, rate="2/minute") as desk:
        assert desk.call("POST", "/other", b"abc").json() == {"bytes": 3, "bits": 1e-6}
        assert desk.call("POST", "/other", bytes(2000)).status == 413
        assert desk.call("POST", "/other", b"abc").status == 429


def test_the_command_serves_without_tensorflow(tmp_path, photo):
    """The shipped preset, in a process that cannot import what trains."""
    import subprocess
    import sys

    import desk_server

    from faketagger_tf.registry import init_registry
    from faketagger_tf.registry.access import add_key

    url = f"sqlite:///{tmp_path}/tags.db"
    with init_registry(url) as registry:
        key = add_key(registry, "all", ["admin"])
    text = support.program(
        support.TRAINING,
        "import sys; from faketagger_tf.cli.main import main; sys.exit(main(sys.argv))",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, "serve", f"--registry={url}", "--port=0"],
        cwd=support.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        host, port = re.search(r"http://([\d.]+):(\d+)/", line).groups()

        def ask(path, photo, name):
            return desk_server.call(
                (host, int(port)), {}, "POST", path, photo=photo, scope=key, name=name
            )

        tagged = ask("/v1/tag", photo, "a.jpg")
        assert tagged.status == 200, tagged.data
        (made,) = ask("/v1/trace", tagged.data, "b.jpg").json()["readings"]
        assert made["record"]["payload"] == tagged.headers["x-faketagger-payload"]
        assert made["record"]["preset"] == "face128"
        assert made["change"]["verdict"] == "same photo"
    finally:
        process.terminate()
        assert process.wait(timeout=30) in (0, -15)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "--registry must be given"),
        (["--registry=sqlite:///{folder}/none.db"], "holds no registry yet"),
        (["--registry={url}", "--rate=often"], "A rate must be"),
        (["--registry={url}", "--port=70000"], "from 0 to 65535"),
        (["--registry={url}", "--certificate=c.pem"], "Received: 'c.pem' and None"),
        (["--registry={url}", "--tsa=http://x"], "needs --certificate and --private"),
        (["--registry={url}", "--domain=newsroom"], "Received: 'newsroom'"),
        (["--registry={url}", "--host=192.0.2.1"], "Cannot listen on 192.0.2.1:8000"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, capsys, monkeypatch, flags, sentence):
    from faketagger_tf.cli import common
    from faketagger_tf.cli.main import main
    from faketagger_tf.registry import init_registry

    monkeypatch.delenv("FAKETAGGER_REGISTRY", raising=False)
    monkeypatch.setattr(common, "load_tagger", lambda v: support.correlation_tagger())
    url = f"sqlite:///{tmp_path}/tags.db"
    init_registry(url).close()
    flags = [flag.format(url=url, folder=tmp_path) for flag in flags]
    assert main(["faketagger", "serve", *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
