"""The places at which a face is read: how many, each once, and in which order."""

import collections
import dataclasses

import cv2
import numpy as np
import pytest

from faketagger_tf.manipulations import parse_chain
from faketagger_tf.photos import warp_canvas
from faketagger_tf.tagging import search
from faketagger_tf.tagging.search import PLACES, Canvas, tight_view

SIZE = 128
PHOTO = np.zeros((400, 500, 3), np.uint8)
# Turned, off the middle, 1.6 photo pixels per canvas pixel.
CANVAS = Canvas(np.array([[0.6, 0.1, -40.0], [-0.1, 0.6, 10.0]]))


@dataclasses.dataclass
class Read:
    canvas: Canvas
    surprise: float
    found: bool
    tight: bool


class Reader:
    """Remembers where it was asked to read; finds what `surprise` says."""

    def __init__(self, surprise=lambda canvas, tight: 0.0, finds=None):
        self.places, self._surprise = [], surprise
        self._finds = finds or (lambda canvas, tight: False)

    def __call__(self, photo, canvases, factor, tight):
        reads = [
            Read(c, self._surprise(c, tight), self._finds(c, tight), tight)
            for c in canvases
        ]
        self.places += reads
        return reads


def keys(places):
    """What tells places apart, to a hundredth of a pixel."""
    return [
        (
            place.tight,
            place.canvas.mirrored,
            *np.rint(place.canvas.corners(SIZE)[[0, 2]].ravel() * 100),
        )
        for place in places
    ]


def test_the_number_of_places():
    # Both ways the canvas and its tight view; the grid: steps of scale, turn and shift
    # of at most 2.5 in sum, those of scale counting half; from its best three on three
    # times either way in each of four directions; mirrored, what is at most one step
    # away.
    steps = [
        abs(scale) / 2 + abs(turn) + abs(down) + abs(right)
        for scale in (-2, -1, 0, 1, 2)
        for turn in (-2, -1, 0, 1, 2)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    grid = sum(0 < away <= 2.5 for away in steps)
    near = sum(0 < away <= 1 for away in steps)
    assert PLACES == 2 * 2 + grid + 3 * 3 * 8 + near == 162


@pytest.mark.parametrize("seed", range(5))
def test_each_place_is_looked_at_once(seed):
    rng = np.random.default_rng(seed)
    reader = Reader(lambda canvas, tight: rng.random())
    search.search(PHOTO, CANVAS, SIZE, reader)
    counts = collections.Counter(keys(reader.places))
    assert set(counts.values()) == {1}
    assert 0.75 * PLACES < len(reader.places) <= PLACES
    assert sum(place.canvas.mirrored for place in reader.places) == 2 + 10
    assert sum(place.tight for place in reader.places) == 2


def away_from(target: Canvas, canvas: Canvas) -> float:
    """How far a place lies from another, in canvas pixels of its corners."""
    return float(np.abs(canvas.corners(SIZE) - target.corners(SIZE)).mean() * 0.6)


@pytest.mark.parametrize("seed", range(5))
def test_a_tag_between_the_places_is_climbed_to(seed):
    """Where a tag looks the more surprising the nearer, the search ends beside it."""
    rng = np.random.default_rng(seed)
    right, down, scale, turn = rng.uniform(-0.9, 0.9, 4) * [0.025, 0.025, 0.07, 4.5]
    target = CANVAS.move(SIZE, right, down, 1 + scale, turn)
    reader = Reader(lambda canvas, tight: -away_from(target, canvas) - 99 * tight)
    best = search.search(PHOTO, CANVAS, SIZE, reader)
    places = [place.canvas for place in reader.places if not place.tight]
    grid = min(away_from(target, place) for place in places[: PLACES - 72 - 10])
    assert away_from(target, best.canvas) < min(1.5, grid)


def test_climbs_that_meet_look_once():
    between = CANVAS.move(SIZE, 0.0125, 0.0, 1.0, 0.0)
    reader = Reader(lambda canvas, tight: -away_from(between, canvas))
    search.search(PHOTO, CANVAS, SIZE, reader)
    assert len(reader.places) < PLACES - 10
    assert set(collections.Counter(keys(reader.places)).values()) == {1}


def test_a_place_further_away_is_looked_at_later_and_no_more_than_needed():
    """A tag that has turned and shifted is found, and what lies beyond left out."""
    target = CANVAS.move(SIZE, 0.0, 0.025, 1.0, -4.5).matrix

    def finds(canvas, tight):
        return bool(np.abs(canvas.matrix - target).max() < 1e-6)

    reader = Reader(finds=finds)
    found = search.search(PHOTO, CANVAS, SIZE, reader)
    np.testing.assert_allclose(found.canvas.matrix, target)
    # Four views, the rings of half a step, one, one and a half, and two.
    assert len(reader.places) == 4 + 2 + 8 + 12 + 26


def test_an_untouched_photo_is_read_once_and_a_mirrored_one_soon():
    reader = Reader(finds=lambda canvas, tight: True)
    assert search.search(PHOTO, CANVAS, SIZE, reader).canvas is CANVAS
    assert len(reader.places) == 1
    reader = Reader(finds=lambda canvas, tight: canvas.mirrored)
    found = search.search(PHOTO, CANVAS, SIZE, reader)
    assert found.canvas.mirrored and len(reader.places) == 3
    reader = Reader(finds=lambda canvas, tight: tight)
    assert search.search(PHOTO, CANVAS, SIZE, reader).tight
    assert len(reader.places) == 2


def test_the_most_surprising_reading_is_kept():
    target = CANVAS.mirror(SIZE).move(SIZE, 0.0, 0.0, 1.07, 0.0)

    def surprise(canvas, tight):
        return -float(np.abs(canvas.matrix - target.matrix).sum())

    best = search.search(PHOTO, CANVAS, SIZE, Reader(surprise))
    np.testing.assert_allclose(best.canvas.matrix, target.matrix)
    assert best.canvas.mirrored and not best.found


def test_a_large_photo_is_shrunk_for_the_grid_but_canvases_lie_in_it():
    canvas = Canvas(np.array([[0.05, 0, 0], [0, 0.05, 0]]))  # 20 pixels per pixel.
    factors = []

    def read(photo, canvases, factor, tight):
        factors.append((photo.shape[0], factor))
        for c in canvases:
            assert 0.75 < c.side(SIZE) / canvas.side(SIZE) < 1.25
        return [Read(c, 0.0, False, tight) for c in canvases]

    search.search(np.zeros((3000, 3000, 3), np.uint8), canvas, SIZE, read)
    assert set(factors) == {(3000, 1), (600, 5)}


def test_mirrored_canvases():
    mirrored = CANVAS.mirror(SIZE)
    assert mirrored.mirrored and not CANVAS.mirrored
    assert mirrored.side(SIZE) == pytest.approx(CANVAS.side(SIZE))
    # The same place of the photo, named from its top left on, clockwise.
    np.testing.assert_allclose(mirrored.corners(SIZE), CANVAS.corners(SIZE))
    back = mirrored.mirror(SIZE)
    np.testing.assert_allclose(back.matrix, CANVAS.matrix)
    photo = np.random.default_rng(0).integers(0, 256, (400, 500, 3), np.uint8)
    photo = cv2.GaussianBlur(photo, (0, 0), 3)
    ours = warp_canvas(photo, mirrored.matrix, SIZE)
    theirs = warp_canvas(photo, CANVAS.matrix, SIZE)[:, ::-1]
    # OpenCV rounds positions to 1/32 pixel.
    assert np.abs(ours.astype(int) - theirs).max() <= 3


@pytest.mark.parametrize("size", [32, 64, 128, 144])
def test_the_tight_view_is_what_training_paints(size):
    canvases = np.random.default_rng(0).random((2, size, size, 3), np.float32)
    expected = np.asarray(parse_chain("facecrop(0.625)").apply(canvases, None, None))
    np.testing.assert_array_equal(tight_view(canvases), expected)
    black = tight_view(canvases, "black")
    assert black[:, 0].max() == 0 and (black[:, size // 2, size // 2] > 0).all()


def test_quick_looks_at_the_canvas_alone():
    reader = Reader(surprise=lambda canvas, tight: canvas.mirrored + tight / 2)
    found = search.search(PHOTO, CANVAS, SIZE, reader, quick=True)
    assert len(reader.places) == 4
    assert found.canvas.mirrored and found.tight
