import dataclasses
import math

import cv2
import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.photos import decode_photo, encode_image
from faketagger_tf.photos.canvas import LANDMARKS
from faketagger_tf.photos.faces import Face, detect_faces
from faketagger_tf.tagging import compare
from faketagger_tf.tagging.search import DIRECTIONS, PLACES
from faketagger_tf.tagging.tagger import Canvas, Tagger

PAYLOAD = 0x1F2E3D4C
# What is tagged with it reads in copies that are smaller than a photo to be tagged.
SMALL_CANVAS = dataclasses.replace(support.CORRELATION, image_size=64, psnr=28.0)


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def tagged(tagger, astronaut):
    return tagger.embed(astronaut, PAYLOAD)


def payloads(tagger, photo):
    return [reading.payload for reading in tagger.read(photo)]


def jpeg(photo, quality):
    return decode_photo(encode_image(photo, ".jpg", quality))


def rotate(photo, degrees):
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_CUBIC)


def test_reading_carries_its_evidence(tagger, tagged):
    (reading,) = tagger.read(tagged)
    assert reading.payload == PAYLOAD
    assert reading.found and reading.crc_ok
    assert reading.p_value < 1e-6
    assert reading.bit_error_estimate == reading.corrected_bits / 64
    left, top, width, height = reading.box
    # The astronaut's face, whose eyes are at about (204, 101) and (246, 103).
    assert left < 204 and left + width > 246 and top < 101 < top + height
    assert reading.corners.shape == (4, 2)


def test_nothing_is_found_in_an_untagged_photo(tagger, astronaut):
    assert tagger.read(astronaut) == []
    (reading,) = tagger.examine(astronaut)
    assert not reading.found and reading.p_value > 1e-6


def test_pixels_outside_the_canvas_keep_their_value(tagger, astronaut, tagged):
    (canvas,) = tagger.find_canvases(astronaut)
    inside = np.zeros(astronaut.shape[:2], np.uint8)
    corners = np.rint(canvas.corners(128)).astype(np.int32)
    cv2.fillConvexPoly(inside, corners, 1)
    inside = cv2.dilate(inside, np.ones((5, 5), np.uint8)) > 0
    changed = (tagged != astronaut).any(2)
    assert changed[inside].mean() > 0.5
    assert not changed[~inside].any()


def test_strength_in_the_canvas_is_as_asked_for(tagger, astronaut):
    (canvas,) = tagger.find_canvases(astronaut)
    tagged = tagger.embed(astronaut, PAYLOAD, strength=36.0, canvases=[canvas])
    error = np.square(tagged.astype(float) - astronaut).sum()
    pixels = canvas.side(128) ** 2 * 3
    # Resampling smooths the residual a little, and its border fades.
    assert 35.5 < 10 * math.log10(255**2 * pixels / error) < 38.0


@pytest.mark.parametrize(
    "change",
    [
        lambda photo: jpeg(photo, 75),
        lambda photo: cv2.resize(
            photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC
        ),
        lambda photo: np.ascontiguousarray(photo[20:350, 60:420]),
        lambda photo: rotate(photo, 10),
        lambda photo: rotate(photo, -15),
    ],
    ids=["jpeg", "double", "crop", "rotate", "rotate_back"],
)
def test_the_face_undoes_geometry(tagger, tagged, change):
    assert payloads(tagger, change(tagged)) == [PAYLOAD]


def test_search_finds_a_canvas_whose_landmarks_have_moved(tagger, astronaut):
    (canvas,) = tagger.find_canvases(astronaut)
    shift = np.array([canvas.side(128) * 0.03, 0])
    moved = Face(canvas.face.box, canvas.face.landmarks + shift, 1.0)
    tagged = tagger.embed(astronaut, PAYLOAD, canvases=[canvas])
    off = support.correlation_tagger(detect=lambda photo: [moved])
    here = off._read_at(tagged, off.find_canvases(tagged), 1e-6)[0]
    assert not here.found
    assert payloads(off, tagged) == [PAYLOAD]


def mirror(photo):
    return np.ascontiguousarray(photo[:, ::-1])


def test_a_mirrored_suspect_is_read(tagger, tagged):
    (straight,) = tagger.read(tagged)
    (mirrored,) = tagger.read(jpeg(mirror(tagged), 90))
    assert mirrored.payload == PAYLOAD
    assert (straight.mirrored, mirrored.mirrored) == (False, True)
    # Where it lies in the photo as given: the same canvas, seen from the other side.
    # Landmarks of the two copies differ by a pixel or so.
    expected = straight.corners[[1, 0, 3, 2]] * (-1, 1) + (512, 0)
    np.testing.assert_allclose(mirrored.corners, expected, atol=4)
    left, _, width, _ = straight.box
    assert mirrored.box[0] == pytest.approx(512 - left - width, abs=4)
    # What the decoder was shown there is the canvas that was tagged.
    shown = tagger.canvas_image(mirror(tagged), mirrored.canvas).astype(int)
    original = tagger.canvas_image(tagged, straight.canvas)
    assert (
        np.abs(shown - original).mean() < np.abs(shown - original[:, ::-1]).mean() / 4
    )


def test_a_mirrored_photo_without_a_face_is_read(tagger):
    tagged = tagger.embed(skimage.data.coffee(), 7)
    (reading,) = tagger.read(mirror(tagged))
    assert (reading.payload, reading.mirrored) == (7, True)
    assert reading.box == (100.0, 0.0, 400.0, 400.0)


def test_a_mirrored_tag_on_the_middle_is_found_beside_a_face(tagger, astronaut):
    middle = [tagger.centred_canvas(astronaut)]
    tagged = tagger.embed(astronaut, 5, canvases=middle)
    (reading,) = tagger.read(mirror(tagged))
    assert (reading.payload, reading.mirrored) == (5, True)


def test_a_mirrored_suspect_is_compared(tagger, tagged):
    (face,) = compare.verify(tagger, tagged, mirror(tagged))
    assert face.intact and face.suspect.mirrored
    assert face.changed_face < 0.01 and face.changed_around < 0.01


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_photo_is_read_where_it_lies(tagger, tagged, turns, mirrored):
    (straight,) = tagger.read(tagged)
    suspect = mirror(tagged) if mirrored else tagged
    suspect = np.ascontiguousarray(np.rot90(suspect, turns))
    (reading,) = tagger.read(suspect)
    assert (reading.payload, reading.mirrored) == (PAYLOAD, mirrored)
    # A point of a 512-pixel square after a mirror and each turn counterclockwise.
    points = straight.corners.copy()
    if mirrored:
        points = points[[1, 0, 3, 2]] * [-1, 1] + [512, 0]
    for _ in range(turns):
        points = points[:, ::-1] * [1, -1] + [0, 512]
    # Landmarks of a mirrored or turned copy wander by a pixel or two.
    np.testing.assert_allclose(reading.corners, points, atol=5)
    left, top, width, height = reading.box
    low, high = reading.corners.min(0), reading.corners.max(0)
    assert (low < (left + width / 2, top + height / 2)).all()
    assert (high > (left + width / 2, top + height / 2)).all()


def test_four_directions_have_four_times_the_p_value(tagger, astronaut):
    noise = np.random.default_rng(3).integers(0, 256, (130, 150, 3), np.uint8)
    for photo, directions in ((astronaut, 1), (noise, DIRECTIONS)):
        (reading,) = tagger.examine(photo)
        agreeing = tagger.config.crc_bits if reading.crc_ok else 0
        alone = tagger.presence.p_value(reading.surprise, agreeing)
        assert reading.p_value == pytest.approx(min(1, directions * alone))
        assert reading.canvas.directions == directions


def test_a_photo_is_not_looked_at_in_more_places_than_are_counted(monkeypatch):
    shown = []
    tagger = support.correlation_tagger(detect=lambda photo: [])
    decode = tagger.networks.decode

    def counting(canvases):
        shown.append(len(canvases))
        return decode(canvases)

    monkeypatch.setitem(tagger.networks.__dict__, "decode", counting)
    noise = np.random.default_rng(4).integers(0, 256, (130, 150, 3), np.uint8)
    tagger.examine(noise)
    assert PLACES - 20 < sum(shown) <= DIRECTIONS * PLACES


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_without_a_face_is_read(turns):
    tagger = support.correlation_tagger(detect=lambda photo: [])
    tagged = tagger.embed(skimage.data.coffee(), 7)
    (reading,) = tagger.read(np.ascontiguousarray(np.rot90(tagged, turns)))
    assert (reading.payload, reading.mirrored) == (7, False)
    (reading,) = tagger.read(np.ascontiguousarray(np.rot90(mirror(tagged), turns)))
    assert (reading.payload, reading.mirrored) == (7, True)


def test_turns_are_looked_for_only_where_a_face_leaves_doubt(astronaut):
    looked = []

    def detect(photo):
        looked.append(photo.shape)
        return detect_faces(photo)

    tagger = support.correlation_tagger(detect=detect)
    wide = np.ascontiguousarray(astronaut[:300])
    assert tagger.find_canvases(wide)[0].directions == 1
    assert looked == [(300, 512, 3)]
    tagger.find_canvases(np.ascontiguousarray(np.rot90(wide)))
    assert looked[1:] == [(512, 300, 3), (300, 512, 3), (512, 300, 3), (300, 512, 3)]


def test_a_turned_suspect_is_compared(tagger, tagged):
    suspect = np.ascontiguousarray(np.rot90(tagged))
    (face,) = compare.verify(tagger, tagged, suspect)
    assert face.intact and not face.suspect.mirrored
    assert face.changed_face < 0.01 and face.changed_around < 0.01


def test_canvases_that_are_black_outside(astronaut):
    config = dataclasses.replace(support.CORRELATION, outside="black")
    tagger = support.correlation_tagger(config)
    close = np.ascontiguousarray(astronaut[40:160, 160:290])
    (canvas,) = tagger.find_canvases(close)
    assert canvas.face and canvas.corners(128).min() < -10
    image = tagger.canvas_image(close, canvas)
    assert not image[0].any() and image[64].any()
    repeated = support.correlation_tagger().canvas_image(close, canvas)
    assert repeated[0].any()
    np.testing.assert_array_equal(image[40:88, 40:88], repeated[40:88, 40:88])
    assert payloads(tagger, tagger.embed(close, PAYLOAD)) == [PAYLOAD]


def test_without_a_face_the_middle_is_tagged(tagger):
    photo = skimage.data.coffee()
    tagged = tagger.embed(photo, 7)
    (reading,) = tagger.read(tagged)
    assert reading.payload == 7
    assert reading.box == (100.0, 0.0, 400.0, 400.0)
    assert not (tagged != photo)[:, :90].any()


def test_each_face_of_a_group_is_tagged_even_if_canvases_overlap(tagger, astronaut):
    face = astronaut[0:220, 130:320]
    near = np.hstack([face[:, :150], face[:, 40:]])
    (first, second) = tagger.find_canvases(near)
    assert first.face and second.face
    tagged = tagger.embed(near, PAYLOAD, canvases=[first, second])
    readings = tagger.read(tagged)
    assert [reading.payload for reading in readings] == [PAYLOAD] * 2
    # No pixel was written twice: nowhere is the change the sum of two residuals.
    alone = [tagger.embed(near, PAYLOAD, canvases=[c]) for c in (first, second)]
    assert ((tagged == alone[0]) | (tagged == alone[1])).all()
    both = (alone[0] != near) & (alone[1] != near)
    assert both.any()


def test_smallest_photo_and_large_photo(tagger):
    rng = np.random.default_rng(3)
    for shape in ((96, 96), (96, 300), (1500, 2100)):
        grain = rng.integers(90, 160, (*shape, 3)).astype(np.uint8)
        photo = cv2.GaussianBlur(grain, (0, 0), 5)
        canvases = [tagger.centred_canvas(photo)]
        tagged = tagger.embed(photo, PAYLOAD, canvases=canvases)
        assert tagged.shape == photo.shape
        assert tagger._read_at(tagged, canvases, 1e-6)[0].payload == PAYLOAD


def test_strips_do_not_show(tagger, astronaut, monkeypatch):
    canvases = tagger.find_canvases(astronaut)
    whole = tagger.embed(astronaut, PAYLOAD, canvases=canvases)
    monkeypatch.setattr("faketagger_tf.tagging.paste.STRIP", 17)
    strips = tagger.embed(astronaut, PAYLOAD, canvases=canvases)
    assert np.abs(whole.astype(int) - strips).max() <= 1
    assert (whole != strips).mean() < 0.01


def test_another_key_reads_nothing(astronaut):
    first = support.correlation_tagger(key=b"first key of sixteen bytes")
    second = support.correlation_tagger(key=b"second key of sixteen bytes")
    tagged = first.embed(astronaut, PAYLOAD)
    assert payloads(first, tagged) == [PAYLOAD]
    assert payloads(second, tagged) == []
    assert payloads(support.correlation_tagger(), tagged) == []


def test_moves_are_about_the_middle_of_the_canvas():
    canvas = Canvas(np.array([[1.0, 0, 0], [0, 1, 0]]))
    moved = canvas.move(128, 0.0, 0.0, 2.0, 90.0)
    corners = moved.corners(128)
    np.testing.assert_allclose(corners.mean(0), [64, 64], atol=1e-9)
    np.testing.assert_allclose(moved.side(128), 256)
    shifted = canvas.move(128, 0.25, 0.0, 1.0, 0.0)
    np.testing.assert_allclose(shifted.corners(128).mean(0), [96, 64])


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((200, 200), np.uint8), "uint8 RGB"),
        (np.zeros((200, 200, 3), np.float32), "float32"),
        (np.zeros((23, 200, 3), np.uint8), "200x23"),
        ("photo.jpg", "str"),
    ],
)
def test_refuses_what_is_no_photo(tagger, photo, message):
    with pytest.raises(ValueError, match=message):
        tagger.embed(photo, 1)
    with pytest.raises(ValueError, match=message):
        tagger.read(photo)
    with pytest.raises(ValueError, match=message):
        tagger.logits(photo)


def test_a_photo_to_be_tagged_is_larger_than_one_that_is_read(tagger):
    small = np.zeros((95, 200, 3), np.uint8)
    sentence = (
        "A photo to be tagged must have at least 96 pixels in each direction. "
        "Received: 200x95."
    )
    for refuse in (lambda: tagger.embed(small, 1), lambda: tagger.find_canvases(small)):
        with pytest.raises(ValueError) as error:
            refuse()
        assert str(error.value) == sentence
    with pytest.raises(ValueError, match=r"^A photo must have at least 24 .*200x23\.$"):
        tagger.read(small[:23])
    assert tagger.read(small) == []
    (canvas,) = tagger.find_canvases(small, reading=True)
    assert canvas.face is None and canvas.side(128) == 95


@pytest.fixture(scope="module")
def portrait():
    """A tagger of small canvases, what it tagged, and where."""
    tagger = support.correlation_tagger(SMALL_CANVAS)
    photo = np.ascontiguousarray(skimage.data.astronaut()[:240, 110:350])
    (canvas,) = tagger.find_canvases(photo)
    return tagger, tagger.embed(photo, PAYLOAD), canvas


def reduced(photo, side):
    return cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("side", [95, 60, 48])
def test_a_copy_too_small_to_be_tagged_is_read_where_it_lies(portrait, side):
    tagger, tagged, canvas = portrait
    copy = reduced(tagged, side)
    (reading,) = tagger.read(copy)
    assert reading.payload == PAYLOAD and reading.canvas.face
    # In the copy's own pixels. Landmarks of a copy wander, and the networks' sums are
    # taken in another order on another processor: by less than a pixel here.
    scale = side / 240
    np.testing.assert_allclose(reading.corners, canvas.corners(64) * scale, atol=1.5)
    np.testing.assert_allclose(
        reading.box, np.multiply(canvas.face.box, scale), atol=2.5
    )
    (found,) = tagger.find_canvases(copy, reading=True)
    assert (reading.canvas.side(64) < 48) == (side <= 60)
    np.testing.assert_allclose(found.corners(64), reading.corners, atol=1.5)


def test_a_small_copy_is_read_as_its_enlargement_is(portrait):
    tagger, tagged, _ = portrait
    copy = reduced(tagged, 72)
    large = cv2.resize(copy, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    (reading,), (enlarged,) = tagger.read(copy), tagger.read(large)
    assert reading.payload == enlarged.payload == PAYLOAD
    np.testing.assert_allclose(2 * reading.corners, enlarged.corners, atol=2)
    np.testing.assert_allclose(2 * np.array(reading.box), enlarged.box, atol=4)


def test_a_small_copy_is_compared_with_the_payloads_that_were_issued(portrait):
    tagger, tagged, _ = portrait
    copy = reduced(tagged, 60)
    (reading,) = tagger.examine(copy, payloads=[7, PAYLOAD])
    assert reading.found and reading.registered_payload == PAYLOAD
    assert reading.registered_p_value < 1e-9
    (places,) = tagger.logits(copy)
    nearest = tagger.index([7, PAYLOAD]).search(places, PLACES, tagger.registered)
    assert nearest.payload == PAYLOAD and nearest.p_value < 1e-9


def test_nothing_is_found_in_a_small_untagged_photo(portrait):
    tagger, _, _ = portrait
    photo = np.ascontiguousarray(skimage.data.astronaut()[:240, 110:350])
    for side in (80, 40):
        assert tagger.read(reduced(photo, side)) == []


def faces_of(*sides):
    """A detector that finds faces with canvases of so many photo pixels a side."""
    found = []
    for number, side in enumerate(sides):
        box = side / 1.9
        left, top = 20 + 40 * number, 30
        points = LANDMARKS * box + (left, top)
        found.append(Face((left, top, box, box), points, 0.99))
    return lambda photo: found


def test_small_faces_are_read_where_there_are_no_large_ones(astronaut):
    both = support.correlation_tagger(detect=faces_of(60, 30))
    (canvas,) = both.find_canvases(astronaut, reading=True)
    assert canvas.side(128) == pytest.approx(60) and canvas.directions == 1
    small = support.correlation_tagger(detect=faces_of(30, 20))
    (canvas,) = small.find_canvases(astronaut, reading=True)
    assert canvas.side(128) == pytest.approx(30) and canvas.directions == DIRECTIONS
    # Tagged is the centred square.
    (canvas,) = small.find_canvases(astronaut)
    assert canvas.face is None and canvas.side(128) == 512


def test_the_middle_is_searched_beside_small_faces(astronaut):
    detect = faces_of(30)
    tagger = support.correlation_tagger(
        SMALL_CANVAS, detect=lambda photo: detect(photo) if len(photo) > 200 else []
    )
    photo = np.ascontiguousarray(astronaut[:240, 110:310])
    # A step of the grid: the middle moves by half of what is cut off.
    cropped = np.ascontiguousarray(tagger.embed(photo, PAYLOAD)[10:])
    (reading,) = tagger.read(cropped)
    assert reading.payload == PAYLOAD and reading.canvas.face is None
    straight = [tagger.centred_canvas(cropped)]
    assert not tagger.read_straight(cropped, straight)[0].found


def test_refuses_bad_arguments(tagger, astronaut):
    with pytest.raises(ValueError, match="payload"):
        tagger.embed(astronaut, 1 << 32)
    with pytest.raises(ValueError, match="psnr"):
        tagger.embed(astronaut, 1, strength=5)
    with pytest.raises(ValueError, match="fpr"):
        tagger.read(astronaut, fpr=0)
    with pytest.raises(ValueError, match="no tagger"):
        Tagger.load("no-such-preset")


def test_importing_the_package_does_not_import_tensorflow():
    import subprocess
    import sys

    program = (
        "import sys, faketagger_tf, faketagger_tf.cli;"
        "assert 'tensorflow' not in sys.modules;"
        "assert 'Tagger' in faketagger_tf.__all__"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
