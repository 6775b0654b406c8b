"""The shipped presets do on photos they never saw what their cards say."""

import json

import cv2
import numpy as np
import pytest
import skimage.data

from faketagger_tf import lite, load_preset
from faketagger_tf.data.load import load_split
from faketagger_tf.deepfake import swap_faces
from faketagger_tf.evaluation import canvases as evaluation
from faketagger_tf.evaluation.visibility import measure_visibility
from faketagger_tf.manipulations import Context, parse_chains
from faketagger_tf.models import build_informed_encoder
from faketagger_tf.photos import decode_photo, encode_image
from faketagger_tf.presets import (
    PRESETS,
    list_presets,
    list_swaps,
    load_faceswap,
    load_swaps,
)
from faketagger_tf.tagging.tagger import Tagger

PAYLOAD = 0x1F2E3D4C


@pytest.fixture(scope="module")
def tagger():
    return Tagger.load("face128")


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def tagged(tagger, astronaut):
    return tagger.embed(astronaut, PAYLOAD)


def test_what_is_shipped():
    assert list_presets() == ["face128", "seed64"]
    for name in list_presets():
        config, _, _ = load_preset(name)
        assert config.preset == name
        card = (PRESETS / name / "card.md").read_text()
        assert "public domain" in card and "@@" not in card
        files = [path for path in (PRESETS / name).iterdir() if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 20e6
    unseen = {"unseen_narrow", "unseen_skips", "unseen_large"}
    assert {"one", "two", "three"} | unseen <= set(list_swaps())


def test_unknown_preset():
    """Such as one that an earlier release had."""
    with pytest.raises(ValueError, match=r"no preset 'portrait128'.*face128, seed64"):
        load_preset("portrait128")


def test_strength_is_the_cards(astronaut, tagged):
    # What the eye sees, the mean over the whole photo; a busy one hides much.
    assert measure_visibility(astronaut, tagged)["flip_mean"] < 0.03


def test_a_deepfake_saved_as_jpeg_is_traced(tagger, tagged):
    config, model = load_faceswap("unseen_skips")
    fake, count = swap_faces(tagged, config, model, config.identities[-1])
    assert count == 1
    assert np.abs(fake.astype(int) - tagged).max() > 60
    suspect = decode_photo(encode_image(fake, ".jpg", 75))
    (reading,) = tagger.read(suspect)
    assert reading.payload == PAYLOAD and reading.p_value < 1e-6


@pytest.mark.parametrize(
    "change",
    [
        lambda photo: photo[30:420, 60:400],
        lambda photo: cv2.resize(photo, None, fx=0.5, fy=0.5),
        lambda photo: decode_photo(encode_image(photo, ".jpg", 50)),
        lambda photo: photo[:, ::-1],
    ],
    ids=["crop", "half", "jpeg50", "mirrored"],
)
def test_everyday_changes(tagger, tagged, change):
    suspect = np.ascontiguousarray(change(tagged))
    assert [r.payload for r in tagger.read(suspect)] == [PAYLOAD]


def test_a_grey_copy_keeps_the_tag(tagger, tagged):
    grey = cv2.cvtColor(tagged, cv2.COLOR_RGB2GRAY)
    suspect = decode_photo(encode_image(np.dstack([grey] * 3), ".jpg", 75))
    assert [r.payload for r in tagger.read(suspect)] == [PAYLOAD]


def test_untagged_photos_have_no_tag(tagger, astronaut):
    for photo in (astronaut, skimage.data.coffee(), skimage.data.chelsea()):
        assert tagger.read(photo) == []
        assert all(r.p_value > 1e-4 for r in tagger.examine(photo))


def read_drawings(name, specs) -> dict:
    """The report of a preset on 48 drawings, which are nothing like photos."""
    config, encoder, decoder = load_preset(name)
    covers, _ = load_split(
        "drawn",
        "test",
        image_size=config.image_size,
        canvas_scale=config.canvas_scale,
        outside=config.outside,
    )
    path = PRESETS / name / "decoder.tflite"
    report, _ = evaluation.evaluate(
        config,
        build_informed_encoder(config, encoder, decoder),
        {
            "keras": evaluation.keras_decode(decoder),
            "file": lite.load_decoder(str(path)),
        },
        covers[:48],
        parse_chains(specs),
        Context(swaps=load_swaps(["unseen_narrow"]), face_region=config.face_region),
    )
    assert report["decoders"]["file"]["largest_logit_difference"] < 1e-3
    about = json.loads(path.with_suffix(".tflite.json").read_text())
    assert about["message_bits"] == config.message_bits
    assert about["payload_bits"] == config.payload_bits
    return report


def test_drawn_faces_which_no_training_saw():
    specs = ["identity", "jpeg(50)", "faceswap(unseen_narrow:A>B)|jpeg(75)"]
    rows = read_drawings("face128", specs)["manipulations"]
    for row in rows.values():
        assert row["bit_accuracy"] > 0.98, rows
        assert row["word_error_rate"] == 0, rows
    assert rows["identity"]["bit_accuracy"] > 0.99


def test_the_psnr_of_seed64_is_the_cards():
    report = read_drawings("seed64", ["identity"])
    # Rounded to uint8, and clipped where a drawing is black or white.
    assert report["psnr"] == pytest.approx(36.15, abs=0.3)
    # The encoder knows portraits alone: .957 of the bits here, .998 of theirs.
    assert report["manipulations"]["identity"]["bit_accuracy"] > 0.93
