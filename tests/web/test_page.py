"""The page in headless Chromium reads what Python reads; run by `make test-web`.

Needs `npm ci` in web/, and Chromium (`CHROMIUM` names it if not /usr/bin/chromium).
"""

import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import spread_spectrum

from export import tflite
from faketagger_tf import lite
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.messages import MessageCode
from faketagger_tf.photos import canvas_square, crop_canvas, read_photo, write_image
from faketagger_tf.tagging.networks import keras_networks
from faketagger_tf.tagging.tagger import Tagger

WEB = pathlib.Path(__file__).parents[2] / "web"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
needs_browser = pytest.mark.skipif(
    not (WEB / "node_modules").is_dir() or not pathlib.Path(CHROMIUM).exists(),
    reason="needs `npm ci` in web/ and Chromium",
)


def node(*arguments, **options):
    run = subprocess.run(
        ["node", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        **options,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@needs_node
@pytest.mark.parametrize("lengths", [(8, 16, 3), (32, 64, 4), (13, 70, 0)])
def test_soft_decoder_is_pythons(lengths, tmp_path):
    payload_bits, message_bits, crc_bits = lengths
    code = MessageCode(payload_bits, message_bits, crc_bits)
    rng = np.random.default_rng(0)
    payload = code.random_payloads(60, rng)
    noise = rng.normal(0, 1.0, (60, message_bits))
    logits = 2.0 * code.encode(payload) - 1 + noise * np.linspace(0.1, 1.2, 60)[:, None]
    generator = tflite._hex_rows(code.layout.generator_matrix())
    eye = np.eye(payload_bits, dtype=np.uint8)
    about = {
        "payload_bits": payload_bits,
        "message_bits": message_bits,
        "generator": generator,
        "payload_generator": tflite._hex_rows(code.encode(eye)),
        "crc_bits": crc_bits,
        "presence": {"threshold": 3.0, "rate": 0.1, "scale": 1.2},
    }
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"about": about, "logits": logits.tolist()}))
    program = (
        f"import {{ decode, pValue }} from {json.dumps((WEB / 'codec.js').as_uri())};"
        "import { readFileSync } from 'node:fs';"
        f"const job = JSON.parse(readFileSync({json.dumps(str(job))}, 'utf8'));"
        "console.log(JSON.stringify(job.logits.map((row) => {"
        "  const word = decode(job.about, row);"
        "  const p = pValue(job.about, word);"
        "  return { ...word, p, payload: word.payload.toString() }; })));"
    )
    made = json.loads(node("--input-type=module", "-e", program))
    read = code.decode(logits, order=2)
    wrong = (np.array(read.payload_bits) != payload).any(axis=1)
    assert not wrong.all()
    assert [int(word["payload"]) for word in made] == read.payloads
    assert [word["codeBits"] for word in made] == read.code_bits.tolist()
    assert [word["crcOk"] for word in made] == read.crc_ok.tolist()
    assert [word["correctedBits"] for word in made] == read.corrected_bits.tolist()
    np.testing.assert_allclose([w["score"] for w in made], read.score, atol=1e-9)
    p_values = lite.p_values(about, read)
    np.testing.assert_allclose([w["p"] for w in made], p_values, rtol=1e-6)
    assert min(p_values) < 1e-4 * max(p_values)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(what the page said, the photos' paths, folder with decoder.tflite, tagger)."""
    folder = tmp_path_factory.mktemp("page")
    encoder, decoder = spread_spectrum.build()
    config = spread_spectrum.CONFIG
    tagger = Tagger(
        config, keras_networks(config, encoder, decoder), detect=lambda photo: []
    )
    tflite.write_model(
        str(folder / "decoder.tflite"), tflite.convert_decoder(config, decoder)
    )
    tflite.write_model(
        str(folder / "encoder.tflite"), tflite.convert_encoder(config, encoder)
    )
    node(WEB / "build.mjs", folder / "site", folder)
    paths = []
    sizes = [(200, 150), (240, 320), (128, 128), (97, 131), (96, 96)]
    for number, (height, width) in enumerate(sizes):
        rng = np.random.default_rng(number)
        photo, _, _ = draw_photo(identity_from_seed(number), rng, 320)
        top, left = (320 - height) // 2, (320 - width) // 2
        photo = np.ascontiguousarray(photo[top : top + height, left : left + width])
        for tagged in (False, True):
            image = tagger.embed(photo, 0x10 + number) if tagged else photo
            suffix = "jpg" if number % 2 else "png"
            path = folder / f"photo{number}{'-tagged' * tagged}.{suffix}"
            write_image(path, image, 92 if suffix == "jpg" else None)
            paths.append(path)
    (folder / "text.png").write_text("not an image")
    job = {
        "photos": [str(path) for path in paths],
        "noImage": str(folder / "text.png"),
        "tag": {
            "photo": str(paths[0]),
            "payload": "0xA7",
            "output": str(folder / "out.png"),
        },
    }
    (folder / "job.json").write_text(json.dumps(job))
    said = json.loads(node(WEB / "drive.mjs", folder / "site", folder / "job.json"))
    return said, paths, folder, tagger


@needs_browser
def test_bits_of_ten_photos_are_pythons(page):
    said, paths, folder, _ = page
    assert len(paths) == len(said["readings"]) == 10
    decoder = str(folder / "decoder.tflite")
    expected = lite.read_files(decoder, list(map(str, paths)))
    decode = lite.load_decoder(decoder)
    for path, reading in zip(paths, said["readings"], strict=True):
        python = expected[str(path)]
        number = int(path.name[5])
        photo = read_photo(path)
        square = canvas_square(photo.shape[1], photo.shape[0])
        canvas = crop_canvas(photo, square, spread_spectrum.CONFIG.image_size)
        logits = decode(canvas[None] / np.float32(255))[0]
        np.testing.assert_allclose(reading["logits"], logits, atol=0.004)
        # A single grey level decides about what is nearer to zero than that.
        sure = np.abs(logits) > 0.004
        bits = np.array(list(reading["bits"])) == "1"
        np.testing.assert_array_equal(bits[sure], logits[sure] > 0, str(path))
        assert sure.mean() > 0.5
        # Without a tag the best word is a near tie, which the page's smaller search
        # (order 2 against 3) and single grey levels decide differently.
        if "tagged" in path.name:
            assert sure.all()
            assert reading["codeBits"] == python.code_bits[0].tolist(), path
            assert reading["checksum"] == "right"
            assert int(reading["payload"], 16) == python.payloads[0] == 0x10 + number


@needs_browser
def test_page_tags_a_photo_that_python_reads(page):
    said, paths, folder, tagger = page
    assert said["tagged"] == "0xA7"
    tagged = read_photo(folder / "out.png")
    assert tagger.examine(tagged)[0].payload == 0xA7
    expected = tagger.embed(read_photo(paths[0]), 0xA7).astype(int)
    assert np.abs(tagged - expected).mean() < 0.2


@needs_browser
def test_page_is_offline_and_speaks_clearly(page):
    said = page[0]
    assert said["hosts"] == ["127.0.0.1"]
    assert said["noImage"] == "text.png is no image that this browser can read."
    assert len(said["moved"]) == spread_spectrum.CONFIG.message_bits
    assert said["moved"] != said["readings"][0]["logits"]
