"""The weakest tag that survives named copies."""

import dataclasses

import cv2
import numpy as np
import pytest

from faketagger_tf.photos import similarity_from_landmarks
from faketagger_tf.tagging import promise
from faketagger_tf.tagging.assure import tag_as_promised
from faketagger_tf.tagging.promise import Copy, choose_strengths, make_copy
from faketagger_tf.tagging.search import Canvas
from tests.support import CORRELATION, correlation_tagger

PAYLOAD = 0x1F2E3D4C
SIZE = 128


@pytest.fixture(scope="module")
def tagger():
    return correlation_tagger(
        dataclasses.replace(CORRELATION, strongest=36.0, weakest=66.0)
    )


@pytest.fixture
def photo():
    """A soft picture: what it shows hardly disturbs the tag."""
    noise = np.random.default_rng(3).normal(128, 300, (330, 410, 3))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 12), 0, 255).astype(np.uint8)


def square(left, top, side):
    scale = SIZE / side
    return Canvas(np.array([[scale, 0, -left * scale], [0, scale, -top * scale]]))


@pytest.mark.parametrize("margins", [promise.MARGINS, (0.0, 1e-7)])
def test_the_weakest_level_that_keeps_the_promise_is_found(
    tagger, photo, monkeypatch, margins
):
    """Beside an exhaustive search over all levels; by either margin."""
    monkeypatch.setattr(promise, "MARGINS", margins)
    canvas = square(40, 30, 250)
    copies = (Copy("JPEG 90", qualities=(90,)),)
    monkeypatch.setitem(promise.PROMISES, "web", copies)
    (choice,) = choose_strengths(tagger, photo, PAYLOAD, [canvas])
    config = tagger.config
    levels = np.linspace(config.strongest, config.weakest, promise.LEVELS)
    kept = []
    for level in levels:
        tagged = tagger.embed(photo, PAYLOAD, float(level), [canvas])
        seen, place = make_copy(copies[0], tagged, canvas, SIZE)
        margin = margins[0] or margins[1]
        kept.append(tagger.p_values(seen, [place], PAYLOAD)[0] <= margin)
    # Neither the strongest nor the weakest, or this would show nothing.
    assert kept[0] and not kept[-1]
    assert choice == promise.Choice(float(levels[np.flatnonzero(kept)[-1]]))


@pytest.mark.parametrize("copies", [("small", "as it is"), ("small",)])
def test_what_cannot_be_kept_is_named_and_has_no_say(
    tagger, photo, monkeypatch, copies
):
    """Where something can be kept; where nothing can, the tag is the strongest."""
    made = {"small": Copy("small", scale=0.05), "as it is": Copy("as it is")}
    monkeypatch.setitem(promise.PROMISES, "web", tuple(made[name] for name in copies))
    canvases = [square(0, 0, 128), square(150, 60, 128)]
    for choice in choose_strengths(tagger, photo, PAYLOAD, canvases):
        assert choice.broken == ("small",)
        strongest = tagger.config.strongest
        assert (choice.strength > strongest) == ("as it is" in copies)
        assert choice.strength >= strongest


def test_faces_of_one_photo_have_strengths_of_their_own(tagger, photo, monkeypatch):
    monkeypatch.setitem(promise.PROMISES, "web", (Copy("JPEG 90", qualities=(90,)),))
    photo[:, 205:] = np.random.default_rng(1).integers(0, 256, (330, 205, 3))
    quiet, busy = square(10, 100, 180), square(215, 100, 180)
    first, second = choose_strengths(tagger, photo, PAYLOAD, [quiet, busy])
    assert first.strength > second.strength
    tagged = tagger.embed(
        photo, PAYLOAD, [first.strength, second.strength], [quiet, busy]
    )
    change = np.abs(tagged.astype(int) - photo)
    assert change[:, 215:395].mean() > change[:, 10:190].mean()


@pytest.mark.parametrize("check", [True, False])
def test_the_tag_that_was_tried_is_the_one_that_is_added(
    tagger, photo, monkeypatch, check
):
    """It is drawn once: neither the file's tag nor a refusal draws another one."""
    drawn = []
    encode = tagger.networks.run_encoder

    def watch(inputs):
        drawn.append(len(inputs["cover"]))
        return encode(inputs)

    watched = dataclasses.replace(tagger.networks, run_encoder=watch)
    monkeypatch.setattr(tagger, "networks", watched)
    monkeypatch.setitem(promise.PROMISES, "web", (Copy("JPEG 90", qualities=(90,)),))
    canvases = [tagger.centred_canvas(photo)]
    result = tag_as_promised(
        tagger, photo, PAYLOAD, promise="web", canvases=canvases, check=check
    )
    assert drawn == [1] and not result.unread and result.canvases == canvases
    (choice,) = result.choices
    # This tagger's residual is one pattern times its strength.
    strengths = [choice.strength]
    expected = tagger.embed(photo, PAYLOAD, strengths, canvases)
    # One level of rounding: float32 sums in another order.
    assert np.abs(result.pixels.astype(int) - expected).max() <= 1


def test_a_promise_and_a_strength_exclude_each_other(tagger, photo):
    with pytest.raises(ValueError, match=r"give one of the two. Received: 'web' and 4"):
        tag_as_promised(tagger, photo, PAYLOAD, 40.0, "web")
    made = tag_as_promised(tagger, photo, PAYLOAD, 40.0, check=False)
    np.testing.assert_array_equal(made.pixels, tagger.embed(photo, PAYLOAD, 40.0))
    assert not made.choices and not made.data


def test_copies_know_where_their_canvas_lies(photo):
    """Corners that are marked in the photo are found in its copies."""
    face = [[150, 140], [210, 150], [180, 180], [150, 205], [205, 212]]
    matrix = similarity_from_landmarks(np.array(face, float), SIZE, 1.9)
    canvas = Canvas(matrix)
    photo[:] = 90
    for x, y in canvas.corners(SIZE):
        cv2.circle(photo, (round(x), round(y)), 4, (255, 255, 255), -1)
    for copy in (
        Copy("grey", grey=True),
        Copy("smaller", scale=0.6, qualities=(80, 70)),
        Copy("pasted", pasted=True),
    ):
        seen, place = make_copy(copy, photo, canvas, SIZE)
        assert seen.shape[0] == round(copy.scale * photo.shape[0])
        for x, y in place.corners(SIZE):
            assert seen[round(y), round(x)].min() > 150
    # Luma alone, and where the face was, its mirror image.
    photo[130:220, 140:180] = (200, 40, 40)
    grey, _ = make_copy(Copy("grey", grey=True), photo, canvas, SIZE)
    assert (grey == grey[..., :1]).all()
    pasted, _ = make_copy(Copy("pasted", pasted=True), photo, canvas, SIZE)
    assert (pasted != photo).any()
    outside = np.ones(photo.shape[:2], bool)
    x, y = canvas.corners(SIZE).mean(0).astype(int)
    reach = round(0.5 * canvas.side(SIZE))
    outside[y - reach : y + reach, x - reach : x + reach] = False
    np.testing.assert_array_equal(pasted[outside], photo[outside])


def test_large_faces_cost_no_more_than_middling_ones(tagger, monkeypatch):
    """Copies of a large canvas are made of a smaller one."""
    seen = []
    original = promise.make_copy

    def watch(copy, photo, *rest):
        seen.append(photo.shape)
        return original(copy, photo, *rest)

    monkeypatch.setattr(promise, "make_copy", watch)
    photo = np.full((1500, 1500, 3), 120, np.uint8)
    choose_strengths(tagger, photo, PAYLOAD, [square(100, 100, 1200)], "archive")
    most = promise.MOST_SIDE * (1 + 2 * promise._GRID / 1200)
    assert seen and max(max(shape) for shape in seen) <= most + 1


def test_what_is_refused(tagger, photo):
    with pytest.raises(ValueError, match=r"archive, web, strict\. Received: 'all'"):
        choose_strengths(tagger, photo, PAYLOAD, [square(0, 0, 128)], "all")
    with pytest.raises(ValueError, match="one per canvas"):
        tagger.embed(photo, PAYLOAD, [40.0, 41.0], [square(0, 0, 128)])
    with pytest.raises(ValueError, match=r"from 0 \(weakest\) to 1"):
        tagger.decibels(2)
    learned = dataclasses.replace(tagger.config, strength="learned")
    other = correlation_tagger()
    other.config = learned
    with pytest.raises(ValueError, match="learned"):
        choose_strengths(other, photo, PAYLOAD, [square(0, 0, 128)])
