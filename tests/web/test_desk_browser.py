"""The desk's page in headless Chromium, on a phone; run by `make test-web`.

Needs `npm ci` in web/, and Chromium (`CHROMIUM` names it if not /usr/bin/chromium).
"""

import json
import os
import pathlib
import re

import numpy as np
import pytest
import skimage.data
import support

pytest.importorskip("fastapi", reason="pip install -r requirements-serving.txt")

import desk_server

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import decode_photo, encode_image, read_photo, write_image
from faketagger_tf.registry import Record

WEB = pathlib.Path(__file__).parents[2] / "web"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")

pytestmark = pytest.mark.skipif(
    not (WEB / "node_modules").is_dir() or not pathlib.Path(CHROMIUM).exists(),
    reason="needs `npm ci` in web/ and Chromium",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def desk(folder):
    """A desk with a photo on record, and suspects in the folder."""
    with desk_server.running(support.correlation_tagger(), folder) as desk:
        for number in range(21):
            draft = Record(preset="p", file=f"{number}.png", owner="Archive")
            desk.registry.reserve(draft, 32)
        photo = np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])
        fields = {"owner": "Zoë <b>bold</b>", "note": "for the front page"}
        tagged = desk.call(
            "POST",
            "/v1/tag",
            photo=encode_image(photo, ".png"),
            scope="tag",
            name="astronaut.png",
            fields=fields,
        )
        desk.payload = tagged.headers["x-faketagger-payload"]
        pixels = decode_photo(tagged.data)
        write_image(folder / "copy.jpg", pixels, 90)
        face = pixels[95:170, 95:175]  # Inside of the canvas, whose rest is read.
        face[:] = np.roll(face, (6, 4), (0, 1))
        write_image(folder / "edited.png", pixels)
        write_image(folder / "untagged.png", photo)
        other = draw_photo(identity_from_seed(5), np.random.default_rng(5), 320)[0]
        forged = desk.desk.tagger.embed(other, desk.payload)
        write_image(folder / "forged.png", forged)
        (folder / "text.png").write_text("not a photo")
        yield desk


@pytest.fixture(scope="module")
def drive(desk, node, folder):
    """Drives the page and returns what it said."""

    def run(key="admin", **job):
        host, port = desk.address
        job["url"] = f"http://{host}:{port}/"
        job["key"] = desk.keys.get(key, key)
        (folder / "job.json").write_text(json.dumps(job))
        said = json.loads(node(WEB / "drive-desk.mjs", folder / "job.json"))
        assert said["hosts"] == ["127.0.0.1"] and said["faults"] == []
        return said

    return run


@pytest.fixture(scope="module")
def said(drive, folder):
    names = ("copy.jpg", "edited.png", "untagged.png", "forged.png", "text.png")
    return drive(
        photos=[str(folder / name) for name in names],
        drop=str(folder / "copy.jpg"),
        searches=["front page", "0x", "nobody's", ""],
        more=True,
    )


def photo(said, folder, name):
    return said["photos"][str(folder / name)]


def test_a_copy_is_shown_beside_its_record(said, folder, desk):
    shown = photo(said, folder, "copy.jpg")
    assert shown["status"] == "Traced copy.jpg."
    assert shown["focus"] == "verdict"  # So that it is read out, and Tab goes on there.
    text = shown["text"]
    assert text.startswith("A tag was found, with its record.")
    assert f"Payload {desk.payload}" in text and "for the front page" in text
    assert "Zoë <b>bold</b>" in text  # As it is, and not as HTML.
    assert "no change of what it shows was noticed" in text
    assert text.count("once in ") == 3 and "(N = 22)" in text
    assert "cannot show smaller changes" in text
    pictures = dict(shown["pictures"])
    assert pictures.pop("The suspect, with a frame around what was read") == 260
    assert list(pictures.values()) == [256, 256] and len(pictures) == 2


def test_a_frame_is_around_what_was_read(said, folder, desk):
    (frame,) = photo(said, folder, "copy.jpg")["frames"]
    corners = np.reshape([float(v) for v in re.split("[ ,]", frame)], (4, 2))
    (reading,) = desk.desk.tagger.read(read_photo(folder / "copy.jpg"))
    np.testing.assert_allclose(corners, reading.corners, atol=0.06)


def test_dropping_a_photo_is_choosing_it(said, folder):
    chosen = photo(said, folder, "copy.jpg")
    assert said["dropped"]["text"] == chosen["text"]


def test_a_changed_face_is_said(said, folder):
    text = photo(said, folder, "edited.png")["text"]
    assert "its face has been changed" in text


def test_an_untagged_photo_has_no_record(said, folder):
    shown = photo(said, folder, "untagged.png")
    assert shown["text"].startswith("No tag was found.")
    assert "does not show that it had none" in shown["text"]
    (picture,) = shown["pictures"]
    assert picture[0].startswith("The suspect")


def test_a_forged_tag_is_called_another_photo(said, folder):
    shown = photo(said, folder, "forged.png")
    assert "This is another photo altogether" in shown["text"]
    assert not any("Heat map" in alt for alt, _ in shown["pictures"])


def test_what_is_no_photo_is_one_sentence(said, folder):
    shown = photo(said, folder, "text.png")
    assert "not in a known image format" in shown["status"] and not shown["text"]


def test_history(said, desk):
    found = said["searches"]["front page"]
    assert found["found"] == "1 shown, the newest first."
    (record,) = found["records"]
    assert record.startswith(desk.payload) and "Zoë <b>bold</b>" in record
    assert len(said["searches"]["0x"]["records"]) == 20
    assert said["searches"]["nobody's"]["found"] == "No photo was found."
    assert len(said["more"]["records"]) == 22 and not said["more"]["more"]
    assert said["start"] == "Enter a key with the scope admin to see them."


def test_it_fits_a_phone_and_has_names_for_everything(said):
    assert said["wide"] <= 360
    assert said["unnamed"] == []
    assert said["order"] == ["file"]
    assert set(said["live"]) == {"status", "found"}


def test_a_key_without_the_scope_is_told(drive, folder):
    said = drive(key="trace", photos=[str(folder / "copy.jpg")], searches=["x"])
    assert "with its record" in photo(said, folder, "copy.jpg")["text"]
    assert said["searches"]["x"]["found"] == "The key must have the scope admin."
    said = drive(key="wrong", photos=[str(folder / "copy.jpg")])
    shown = photo(said, folder, "copy.jpg")
    assert shown["status"] == "There is no such key, or it was revoked."
