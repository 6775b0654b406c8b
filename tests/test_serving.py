"""The HTTP server, as a process of its own, with photos over the wire."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import skimage.data
import support

from export.saved_model import export_saved_model
from faketagger_tf import serving
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import canvas_square, crop_canvas, decode_photo, encode_image
from faketagger_tf.tagging.networks import keras_networks
from faketagger_tf.tagging.tagger import Tagger

pytest.importorskip("starlette", reason="pip install -r requirements-serving.txt")
pytest.importorskip("uvicorn")

PATH = "/v1/models/faketagger"
UPLOAD_SECONDS = 2


@pytest.fixture(scope="module")
def tagger():
    config = support.SPREAD
    networks = keras_networks(config, *support.spread_spectrum())
    return Tagger(config, networks, detect=lambda photo: [])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """File with what the server writes to its standard error."""
    return tmp_path_factory.mktemp("log") / "stderr"


@pytest.fixture(scope="module")
def server(tmp_path_factory, log):
    """(host, port) of a server process."""
    folder = tmp_path_factory.mktemp("serving") / "faketagger"
    export_saved_model(support.SPREAD, *support.spread_spectrum(), str(folder))
    command = [sys.executable, "-m", "faketagger_tf.serving", f"--model={folder}"]
    with log.open("w") as errors, running(command, errors) as address:
        yield address


@contextlib.contextmanager
def running(command: list[str], errors=None):
    """(host, port) of a server process."""
    process = subprocess.Popen(
        [*command, "--port=0", "--max_body_mb=2"],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "Ready.\n":
            break
    assert lines[-1:] == ["Ready.\n"], lines
    address = lines[-2].split("http://")[1].split("/")[0]
    host, port = address.split(":")
    try:
        yield host, int(port)
    finally:
        process.terminate()
        assert process.wait(timeout=20) in (0, -15)


@pytest.fixture(scope="module")
def photos(tagger):
    """JPEGs of tagged and untagged drawn photos of several sizes, with payloads."""
    made = []
    for number, (height, width) in enumerate([(200, 150), (240, 320), (128, 128)]):
        photo = drawn(number, height, width)
        made.append((encode_image(photo, ".jpg", 90), None))
        payload = 37 * number + 5
        tagged = tagger.embed(photo, payload)
        made.append((encode_image(tagged, ".jpg", 95), payload))
    return made


def drawn(number: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    photo, _, _ = draw_photo(identity_from_seed(number), rng, max(height, width))
    return np.ascontiguousarray(photo[:height, :width])


def call(server, method, path, body=None, headers=None):
    """Returns (status, parsed answer)."""
    with contextlib.closing(http.client.HTTPConnection(*server, timeout=60)) as link:
        data = json.dumps(body) if isinstance(body, dict | list) else body
        link.request(method, path, data, headers or {})
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())


def b64(data: bytes) -> dict:
    return {"b64": base64.b64encode(data).decode()}


def python_logits(tagger, data: bytes) -> np.ndarray:
    photo = decode_photo(data)
    square = canvas_square(photo.shape[1], photo.shape[0])
    canvas = crop_canvas(photo, square, tagger.config.image_size)
    return tagger.networks.decode(canvas[None] / np.float32(255))[0]


def test_reads_what_the_library_reads(server, tagger, photos):
    body = {"instances": [b64(data) for data, _ in photos]}
    status, answer = call(server, "POST", f"{PATH}:predict", body)
    assert status == 200
    assert len(answer["predictions"]) == len(photos)
    for row, (data, payload) in zip(answer["predictions"], photos, strict=True):
        expected = python_logits(tagger, data)
        np.testing.assert_allclose(row["logits"], expected, atol=0.1)
        assert row["valid"] is True
        if payload is not None:
            assert row["bits"] == (expected > 0).astype(int).tolist()
            read = tagger.code.decode(np.array([row["logits"]]))
            assert read.payloads == [payload]


def test_tags_over_http_and_reads_back(server, tagger):
    photo = drawn(9, 180, 260)
    instance = {
        "image_bytes": b64(encode_image(photo, ".png")),
        "message": tagger.code.encode([0xC3])[0].tolist(),
    }
    body = {"signature_name": "tag_bytes", "instances": [instance]}
    status, answer = call(server, "POST", f"{PATH}/versions/1:predict", body)
    assert status == 200
    row = answer["predictions"][0]
    tagged = decode_photo(base64.b64decode(row["tagged_bytes"]["b64"]))
    assert np.abs(tagged.astype(int) - tagger.embed(photo, 0xC3)).mean() < 0.2
    assert [reading.payload for reading in tagger.examine(tagged)] == [0xC3]


def test_columns_and_canvases(server, tagger):
    canvases = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3))
    body = {"signature_name": "read_canvas_uint8", "inputs": canvases.tolist()}
    status, answer = call(server, "POST", f"{PATH}:predict", body)
    assert status == 200
    expected = tagger.networks.decode((canvases / 255).astype(np.float32))
    np.testing.assert_allclose(answer["outputs"]["logits"], expected, atol=1e-4)


def test_200_requests_at_once(server, photos):
    def ask(number):
        data, _ = photos[number % len(photos)]
        rows = [b64(data)] if number % 7 else [b64(data), b64(b"garbage")]
        return call(server, "POST", f"{PATH}:predict", {"instances": rows})

    alone = [ask(number + 1)[1]["predictions"][0] for number in range(len(photos))]
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    for number, (status, answer) in enumerate(answers):
        assert status == 200
        rows = answer["predictions"]
        expected = alone[(number - 1) % len(photos)]
        np.testing.assert_allclose(rows[0]["logits"], expected["logits"], atol=1e-4)
        assert [row["valid"] for row in rows] == [True, False][: len(rows)]


def canvas_request(signature: str, value) -> dict:
    canvas = [[[value] * 3] * 64] * 64
    return {"signature_name": signature, "instances": [canvas]}


def test_integers_pass_as_floats_and_floats_out_of_range(server):
    for value in (0, 1, 0.5, 5e9):
        body = canvas_request("read_canvas", value)
        assert call(server, "POST", f"{PATH}:predict", body)[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xd8\xff\xe0 a JPEG as it is", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "either instances or inputs"),
        ({"rows": []}, "either instances or inputs"),
        ({"instances": []}, "1 to 64 rows"),
        ({"instances": [{"b64": ""}] * 65}, "1 to 64 rows"),
        ({"instances": 5}, "instances must be a list"),
        ({"instances": ["text"]}, "valid base64"),
        ({"instances": [{"b64": "%%%"}]}, "valid base64"),
        ({"instances": [{"b64": 5}]}, "valid base64"),
        (
            {"signature_name": "write", "instances": [1]},
            "There is no signature 'write'",
        ),
        ({"signature_name": [], "instances": [1, 2]}, "base64"),
        (
            {"signature_name": "tag_bytes", "instances": [{"b64": ""}]},
            "the inputs image",
        ),
        ({"signature_name": "tag_canvas", "inputs": [1]}, "the inputs cover, message"),
        ({"signature_name": "read_canvas", "instances": [[1, 2]]}, "the shape [64, 64"),
        ({"signature_name": "read_canvas", "instances": [[1], [1, 2]]}, "hold numbers"),
        ({"signature_name": "read_canvas", "instances": ["x"]}, "hold numbers"),
        (canvas_request("read_canvas", "0.5"), "float32, rows alike. Received: stri"),
        (canvas_request("read_canvas", True), "Received: booleans"),
        (canvas_request("read_canvas", None), "Received: other values"),
        (canvas_request("read_canvas", float("nan")), "finite numbers"),
        (canvas_request("read_canvas", 1e300), "finite numbers"),
        (canvas_request("read_canvas_uint8", "7"), "Received: strings"),
        (canvas_request("read_canvas_uint8", 1.7), "Received: decimal numbers"),
        (canvas_request("read_canvas_uint8", -1), "Received: -1 to -1. Accepted: 0 "),
        (canvas_request("read_canvas_uint8", 256), "Accepted: 0 to 255"),
        (
            {
                "signature_name": "tag_bytes",
                "inputs": {"image_bytes": [{"b64": ""}], "message": []},
            },
            "shape [16]",
        ),
    ],
)
def test_bad_requests_get_one_clear_sentence(server, body, message):
    status, answer = call(server, "POST", f"{PATH}:predict", body)
    assert status == 400
    assert message in answer["error"]
    assert "\n" not in answer["error"]


def test_oversized_bodies_are_refused(server):
    body = b"x" * (2 * 2**20 + 1)
    status, answer = call(server, "POST", f"{PATH}:predict", body)
    assert (status, "too large" in answer["error"]) == (413, True)
    # Without a length the server has to count.
    chunks = (b"x" * 2**16 for _ in range(40))
    with contextlib.closing(http.client.HTTPConnection(*server, timeout=60)) as link:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            link.request("POST", f"{PATH}:predict", chunks, encode_chunked=True)
        assert link.getresponse().status == 413


def test_a_client_that_goes_away_leaves_no_traceback(server, log):
    with socket.create_connection(server, timeout=60) as link:
        head = (
            f"POST {PATH}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        )
        link.sendall(head.encode() + b'{"instances": [')
        time.sleep(0.5)
    # Answered after the server has seen the client go.
    time.sleep(0.5)
    assert call(server, "GET", PATH)[0] == 200
    assert "Traceback" not in log.read_text()


def test_status_metadata_and_wrong_paths(server):
    status, answer = call(server, "GET", PATH)
    assert (status, answer["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    status, answer = call(server, "GET", f"{PATH}/metadata")
    assert call(server, "GET", f"{PATH}/versions/1/metadata") == (status, answer)
    assert call(server, "GET", f"{PATH}/versions/1") == call(server, "GET", PATH)
    tag = answer["metadata"]["tag_bytes"]
    assert tag["inputs"]["message"] == {"dtype": "float32", "shape": [-1, 16]}
    assert tag["outputs"]["tagged_bytes"] == {"dtype": "string", "shape": [-1]}
    for method, path, expected in (
        ("GET", "/v1/models/other", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("POST", f"{PATH}/versions/2:predict", 404),
        ("GET", f"{PATH}/versions/2", 404),
        ("GET", f"{PATH}/versions/2/metadata", 404),
        ("GET", "/", 404),
        ("GET", f"{PATH}:predict", 404),
        ("DELETE", PATH, 405),
    ):
        status, answer = call(server, method, path)
        assert status == expected, path
        assert answer["error"]


def test_model_that_is_not_there(tmp_path):
    from faketagger_tf.serving import load_model

    with pytest.raises(ValueError, match="no SavedModel to serve"):
        load_model(str(tmp_path), None, None, 1e-6)
    with pytest.raises(ValueError, match="no tagger"):
        load_model(None, str(tmp_path), None, 1e-6)
    for both in ((None, None), ("a", "b")):
        with pytest.raises(ValueError, match="Exactly one of --tagger and --model"):
            load_model(*both, None, 1e-6)
    with pytest.raises(ValueError, match="--key_file goes with --tagger"):
        load_model(str(tmp_path), None, "key", 1e-6)
    with pytest.raises(ValueError, match="--fpr must lie"):
        load_model(None, "face128", None, 1.0)


@pytest.fixture(scope="module")
def photo_server():
    """A server process of the library itself, in which nothing imports TensorFlow."""
    program = support.program(
        support.TRAINING,
        "import runpy; runpy.run_module('faketagger_tf.serving', None, '__main__')",
    )
    flags = ["--tagger=face128", f"--upload_seconds={UPLOAD_SECONDS}"]
    with running([sys.executable, "-c", program, *flags]) as address:
        yield address


def test_photos_are_tagged_and_traced_where_the_face_is(photo_server):
    path = "/v1/models/face128"
    astronaut = skimage.data.astronaut()
    rows = [
        {"image_bytes": b64(encode_image(astronaut, ".png")), "payload": "1F2E3D4C"},
        {"image_bytes": b64(encode_image(astronaut, ".png")), "payload": "no payload"},
        {"image_bytes": b64(b"no photo"), "payload": "0x1"},
    ]
    body = {"signature_name": "tag_photo", "instances": rows}
    status, answer = call(photo_server, "POST", f"{path}:predict", body)
    assert status == 200
    tagged, bad, broken = answer["predictions"]
    assert [row["valid"] for row in answer["predictions"]] == [True, False, False]
    assert "payload" in bad["error"] and broken["error"] and not tagged["error"]
    # A second tag would erase the first.
    again = [{"image_bytes": tagged["tagged_bytes"], "payload": "5"}]
    body = {"signature_name": "tag_photo", "instances": again}
    (row,) = call(photo_server, "POST", f"{path}:predict", body)[1]["predictions"]
    assert not row["valid"] and "carries a tag already" in row["error"]
    # Evidence is read although its end is missing, as `faketagger trace` does.
    data = base64.b64decode(tagged["tagged_bytes"]["b64"])
    cut = encode_image(decode_photo(data), ".jpg", 95)[:-2]
    body = {"instances": [b64(cut)]}
    (row,) = call(photo_server, "POST", f"{path}:predict", body)[1]["predictions"]
    assert row["valid"] and row["readings"][0]["payload"] == "0x1F2E3D4C"
    pixels = decode_photo(base64.b64decode(tagged["tagged_bytes"]["b64"]))
    # The face lies in the photo's upper half; nothing else is touched.
    assert not (pixels != astronaut)[400:].any()

    mirrored = encode_image(np.ascontiguousarray(pixels[:, ::-1]), ".jpg", 90)
    suspects = [encode_image(pixels, ".jpg", 80), mirrored]
    suspects.append(encode_image(astronaut, ".jpg", 90))
    body = {"instances": [b64(data) for data in suspects]}
    status, answer = call(photo_server, "POST", f"{path}:predict", body)
    assert status == 200
    straight, turned, plain = (row["readings"] for row in answer["predictions"])
    (first,), (second,) = straight, turned
    assert first["payload"] == second["payload"] == "0x1F2E3D4C"
    assert (first["mirrored"], second["mirrored"]) == (False, True)
    assert first["p_value"] <= 1e-6 and plain == []
    # In the photo as given: the box of the mirrored copy is the mirrored box.
    left, _, width, _ = first["box"]
    assert second["box"][0] == pytest.approx(512 - left - width, abs=5)

    status, answer = call(photo_server, "GET", f"{path}/metadata")
    about = answer["metadata"]["tag_photo"]
    assert about["inputs"]["payload"] == {"dtype": "text", "shape": [-1]}
    body = {"signature_name": "tag_photo", "inputs": {"image_bytes": [], "payload": 5}}
    status, answer = call(photo_server, "POST", f"{path}:predict", body)
    assert (status, "payload must be a list" in answer["error"]) == (400, True)


@pytest.mark.parametrize("drip", [b"", b" "])
def test_stalled_uploads_are_dropped(photo_server, drip):
    """With a bare socket: silence, and a byte now and then, which is no upload."""
    head = "POST /v1/models/face128:predict HTTP/1.1\r\nHost: x\r\n"
    head += "Content-Length: 100000\r\n\r\n"
    begun = time.monotonic()
    with socket.create_connection(photo_server, timeout=0.5) as link:
        link.sendall(head.encode() + b'{"instances": [')
        answer = b""
        # Until the server closes the connection; far longer than it may take.
        while time.monotonic() - begun < 60:
            try:
                received = link.recv(4096)
            except TimeoutError:
                link.sendall(drip)
                continue
            except ConnectionResetError:
                break
            if not received:
                break
            answer += received
    waited = time.monotonic() - begun
    assert answer.startswith(b"HTTP/1.1 408 ") and b"has stalled" in answer
    assert UPLOAD_SECONDS <= waited < 60
    assert call(photo_server, "GET", "/v1/models/face128")[0] == 200


def test_a_slow_upload_that_goes_on_is_no_stalled_one(photo_server):
    body = json.dumps({"instances": [b64(b"no photo")]}).encode()
    body += b" " * 60_000

    def pieces():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]
            time.sleep(0.4)

    begun = time.monotonic()
    headers = {"Content-Length": str(len(body))}
    with contextlib.closing(
        http.client.HTTPConnection(*photo_server, timeout=60)
    ) as link:
        link.request("POST", "/v1/models/face128:predict", pieces(), headers)
        assert link.getresponse().status == 200
    assert time.monotonic() - begun > UPLOAD_SECONDS


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 1000])
def test_base64_may_be_broken_into_lines_and_lack_its_padding(size):
    """As TensorFlow Serving takes it (absl::Base64Unescape)."""
    data = np.random.default_rng(size).bytes(size)
    lines = base64.encodebytes(data).decode()
    for text in (lines, lines.replace("\n", "\r\n"), lines.rstrip("=\n")):
        assert serving._bytes({"b64": text}, "image_bytes") == data
    for bad in ("A", "AA=", "A===", "AA=A", "A-_A", "\u00e9AAA", 5, None, ["AAAA"]):
        with pytest.raises(serving.RequestError, match="valid base64"):
            serving._bytes({"b64": bad}, "image_bytes")
