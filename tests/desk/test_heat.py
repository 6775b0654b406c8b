"""The heat map against changes whose place is known."""

import cv2
import numpy as np
import pytest
import skimage.data

from faketagger_tf.desk.heat import make_heat_map
from faketagger_tf.photos import encode_image
from faketagger_tf.registry import FaceRecord, Record
from faketagger_tf.registry.fingerprint import make_thumbnail
from faketagger_tf.registry.jobs import describe_faces
from faketagger_tf.tagging.compare import SIDE


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def record_of(tagger, photo, **changes) -> tuple[Record, FaceRecord]:
    faces = describe_faces(photo, tagger.find_canvases(photo))
    height, width = photo.shape[:2]
    fields = {
        "width": width,
        "height": height,
        "thumbnail": make_thumbnail(photo),
        "faces": faces,
    }
    return Record(preset="", file="a.png", **fields | changes), faces[0]


def compare(tagger, photo, suspect, **changes):
    record, face = record_of(tagger, photo, **changes)
    canvas = tagger.find_canvases(suspect)[0]
    return make_heat_map(suspect, canvas, record, face, tagger.config)


def jpeg(photo, quality):
    data = np.frombuffer(encode_image(photo, ".jpg", quality), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_a_copy_is_cold(tagger, astronaut, scale):
    """At any size and after JPEG 60, next to nothing differs by 12 grey levels."""
    suspect = cv2.resize(astronaut, None, fx=scale, fy=scale)
    heat_map = compare(tagger, astronaut, jpeg(suspect, 60))
    assert heat_map.changed_face < 0.02 and heat_map.changed_around < 0.03
    assert heat_map.picture.shape == (SIDE, SIDE, 3)


def test_a_patch_is_hot_where_it_is(tagger, astronaut):
    """A patch on the chest's corner, far from the landmarks that hold the canvas."""
    canvas = tagger.find_canvases(astronaut)[0]
    enlarged = canvas.matrix * (SIDE / tagger.config.image_size)
    back = cv2.invertAffineTransform(enlarged)
    middle = np.array([200.0, 215.0])  # In the compared canvas.
    x, y = (back @ [*middle, 1]).round().astype(int)
    suspect = astronaut.copy()
    suspect[y - 12 : y + 12, x - 12 : x + 12] = (
        255 - suspect[y - 12 : y + 12, x - 12 : x + 12]
    )
    heat_map = compare(tagger, astronaut, suspect)
    hottest = np.unravel_index(heat_map.heat.argmax(), heat_map.heat.shape)
    # Half the patch in pixels of the canvas, and a little for the alignment.
    reach = 12 * np.hypot(*enlarged[0, :2]) + 6
    assert np.abs(np.array(hottest[::-1]) - middle).max() < reach
    assert heat_map.changed_around > 0.01 and heat_map.changed_face < 0.02
    # Colours there, grey where nothing has changed.
    spread = np.ptp(heat_map.picture.astype(int), axis=2)
    assert spread[hottest] > 40 and np.median(spread) < 10


def test_a_changed_face_is_hotter_than_what_surrounds_it(tagger, astronaut):
    canvas = tagger.find_canvases(astronaut)[0]
    left, top, width, height = map(int, canvas.face.box)
    suspect = astronaut.copy()
    face = suspect[top : top + height, left : left + width]
    face[:] = cv2.GaussianBlur(255 - face, (0, 0), 3)
    record, stored = record_of(tagger, astronaut)
    heat_map = make_heat_map(suspect, canvas, record, stored, tagger.config)
    assert heat_map.changed_face > 0.5 > heat_map.changed_around


def test_what_a_crop_took_away_is_not_called_changed(tagger, astronaut):
    record, face = record_of(tagger, astronaut)
    canvas = tagger.find_canvases(astronaut)[0]
    edge = int(canvas.corners(tagger.config.image_size)[:, 1].max() - 20)
    cropped = np.ascontiguousarray(astronaut[:edge])
    heat_map = make_heat_map(cropped, canvas, record, face, tagger.config)
    assert heat_map.changed_around < 0.03
    assert (heat_map.heat[-1] == 0).mean() > 0.5


def test_a_mirrored_copy_is_cold(tagger, astronaut):
    size = tagger.config.image_size
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    canvas = tagger.find_canvases(mirrored)[0].mirror(size)
    record, face = record_of(tagger, astronaut)
    heat_map = make_heat_map(mirrored, canvas, record, face, tagger.config)
    assert heat_map.changed_face < 0.02 and heat_map.changed_around < 0.03


def test_what_cannot_be_compared_has_no_map(tagger, astronaut):
    assert compare(tagger, astronaut, astronaut, thumbnail=None) is None
    assert compare(tagger, astronaut, astronaut, width=0) is None
    # The face takes 20 pixels of this thumbnail.
    small = make_thumbnail(astronaut, 40)
    assert compare(tagger, astronaut, astronaut, thumbnail=small) is None


def test_a_canvas_that_wandered_is_put_right(tagger, astronaut):
    """As a swap moves the landmarks; by far more than the smoothing hides."""
    record, face = record_of(tagger, astronaut)
    canvas = tagger.find_canvases(astronaut)[0]
    moved = canvas.move(tagger.config.image_size, 0.04, -0.03, 1.03, 2.0)
    heat_map = make_heat_map(astronaut, moved, record, face, tagger.config)
    assert heat_map.changed_face < 0.02 and heat_map.changed_around < 0.03
