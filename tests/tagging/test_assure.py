import dataclasses

import numpy as np
import pytest
import support

from faketagger_tf.config import TaggerConfig
from faketagger_tf.photos import encode_image
from faketagger_tf.photos.faces import Face
from faketagger_tf.tagging import assure, paste, refine
from faketagger_tf.tagging.assure import tag_until_it_reads
from faketagger_tf.tagging.tagger import Canvas, Reading

SIZE = 128
STEP = 0.5  # Grey levels by which 40 refinement steps make a tag of the fake louder.


def canvas_at(left, top, side=SIZE, face=True):
    """An upright canvas of `side` photo pixels; its face is the middle of it."""
    scale = SIZE / side
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    box = (left + side / 4, top + side / 4, side / 2, side / 2)
    return Canvas(matrix, Face(box, np.zeros((5, 2)), 1.0) if face else None)


class LoudnessTagger:
    """Tags by brightness: a face reads once it is as bright as that face needs.

    Args:
        needs: (canvas, grey levels that its tag needs) of each face.
        photo: the photo; the reader compares with it.
        refinement: whether it can refine, as the runtime with TensorFlow does.
    """

    def __init__(self, photo, needs, strength="scheduled", refinement=True):
        self.config = TaggerConfig(image_size=SIZE, strength=strength)
        self.photo, self.needs, self.refinement = photo, needs, refinement
        self.calls = []

    def check_strength(self, psnr):
        own = None if self.config.strength == "learned" else 40.0
        return own if psnr is None else psnr

    def find_canvases(self, photo):
        return [canvas for canvas, _ in self.needs if canvas.face]

    def centred_canvas(self, photo):
        return next(canvas for canvas, _ in self.needs if canvas.face is None)

    def embed(
        self, photo, payload, strength=None, canvases=None, refine=0, residuals=None
    ):
        if refine and not self.refinement:
            raise ValueError("Refining needs TensorFlow.")
        strengths = strength or [None] * len(canvases)
        self.calls.append((strengths[0], len(canvases), refine))
        tagged = photo.copy()
        for canvas, psnr in zip(canvases, strengths, strict=True):
            (left, top), (right, bottom) = canvas.corners(SIZE)[[0, 2]].astype(int)
            tagged[top:bottom, left:right] = photo[top:bottom, left:right] + self.level(
                psnr, refine
            )
        return tagged

    @staticmethod
    def level(psnr, refine):
        # 10 grey levels at 40 dB, a level for each dB less, half a one when refined.
        return int(2 * (10 + 40 - (psnr or 40) + STEP * bool(refine)))

    def read(self, tagged):
        readings = []
        for canvas, level in self.needs:
            x, y = canvas.corners(SIZE).mean(0).astype(int)
            if int(tagged[y, x, 0]) - self.photo[y, x, 0] >= 2 * level:
                moved = canvas.corners(SIZE) + 3  # As landmarks wander.
                readings.append(Reading(7, True, 0.0, 1, 1, True, 0, 0, corners=moved))
        return readings


LEFT, RIGHT = canvas_at(10, 20), canvas_at(150, 20)
MIDDLE = canvas_at(70, 20, 150, face=False)
PHOTO = np.full((190, 290, 3), 99, np.uint8)
NEVER = 1000


def pixels_of(canvas, photo):
    (left, top), (right, bottom) = canvas.corners(SIZE)[[0, 2]].astype(int)
    return photo[top:bottom, left:right]


def test_one_pass_where_every_face_reads():
    tagger = LoudnessTagger(PHOTO, [(LEFT, 9), (RIGHT, 9)])
    result = tag_until_it_reads(tagger, PHOTO, 7)
    assert result.canvases == [LEFT, RIGHT] and result.unread == []
    assert tagger.calls == [(40.0, 2, 0)]


def test_a_face_that_never_reads_is_named_and_the_other_one_kept():
    """One face that reads was enough for the whole photo once."""
    tagger = LoudnessTagger(PHOTO, [(LEFT, 9), (RIGHT, NEVER)])
    result = tag_until_it_reads(tagger, PHOTO, 7)
    assert result.canvases == [LEFT] and result.unread == [RIGHT]
    # Refined, then stronger by 2.5 and 5 dB: the face that does not read alone.
    assert tagger.calls == [(40.0, 2, 0), (40.0, 1, 40), (37.5, 1, 40), (35.0, 1, 40)]
    # What did not help is not kept: both have the first, weakest tag.
    first = LoudnessTagger(PHOTO, []).embed(PHOTO, 7, None, [LEFT, RIGHT])
    np.testing.assert_array_equal(result.pixels, first)


@pytest.mark.parametrize(
    ("need", "calls", "level"),
    [(10.5, 2, 10.5), (12.5, 3, 13), (15, 4, 15.5)],
)
def test_the_face_that_does_not_read_is_made_louder_alone(need, calls, level):
    tagger = LoudnessTagger(PHOTO, [(LEFT, 10), (RIGHT, need)])
    result = tag_until_it_reads(tagger, PHOTO, 7)
    assert result.canvases == [LEFT, RIGHT] and not result.unread
    assert len(tagger.calls) == calls
    assert (pixels_of(LEFT, result.pixels) == 99 + 20).all()
    assert (pixels_of(RIGHT, result.pixels) == 99 + 2 * level).all()
    outside = np.ones(PHOTO.shape[:2], bool)
    for canvas in (LEFT, RIGHT):
        pixels_of(canvas, outside)[:] = False
    assert (result.pixels[outside] == 99).all()


def test_without_refinement_the_tag_is_made_stronger_at_once():
    """As in the runtime without TensorFlow."""
    tagger = LoudnessTagger(PHOTO, [(LEFT, 10), (RIGHT, 12)], refinement=False)
    result = tag_until_it_reads(tagger, PHOTO, 7)
    assert not result.unread
    assert tagger.calls == [(40.0, 2, 0), (37.5, 1, 0)]
    # Who asks for refined tags is told that there are none.
    with pytest.raises(ValueError, match="needs TensorFlow"):
        tag_until_it_reads(tagger, PHOTO, 7, refine=3)


def test_a_strength_that_is_given_is_kept():
    tagger = LoudnessTagger(PHOTO, [(LEFT, 9), (RIGHT, NEVER)])
    tag_until_it_reads(tagger, PHOTO, 7, strength=41)
    assert {psnr for psnr, _, _ in tagger.calls} == {41}
    # One strength for each canvas is where to start from.
    tagger = LoudnessTagger(PHOTO, [(LEFT, 8), (RIGHT, 11)])
    assert not tag_until_it_reads(tagger, PHOTO, 7, strength=[42.0, 41.0]).unread
    assert tagger.calls == [(42.0, 2, 0), (41.0, 1, 40), (38.5, 1, 40)]
    learned = LoudnessTagger(PHOTO, [(LEFT, 9), (RIGHT, NEVER)], strength="learned")
    tag_until_it_reads(learned, PHOTO, 7)
    assert {psnr for psnr, _, _ in learned.calls} == {None}
    # Refined from the start as far as a retry would be: there is nothing to try.
    tagger.calls.clear()
    tag_until_it_reads(tagger, PHOTO, 7, strength=41, refine=40)
    assert tagger.calls == [(41, 2, 40)]


def test_where_no_face_reads_the_centred_square_is_tagged():
    needs = [(LEFT, NEVER), (RIGHT, NEVER), (MIDDLE, 12)]
    tagger = LoudnessTagger(PHOTO, needs)
    result = tag_until_it_reads(tagger, PHOTO, 7)
    assert result.canvases == [MIDDLE] and result.unread == [LEFT, RIGHT]
    assert (pixels_of(LEFT, result.pixels)[:, :50] == 99).all()
    assert (pixels_of(MIDDLE, result.pixels) == 99 + 26).all()


def test_where_nothing_reads_it_is_an_error():
    tagger = LoudnessTagger(PHOTO, [(LEFT, NEVER), (MIDDLE, NEVER)])
    with pytest.raises(ValueError, match=r"290x190 pixels, a strength of 35\.0 dB"):
        tag_until_it_reads(tagger, PHOTO, 7)
    # A photo without a face has its square tried once, not twice.
    tagger = LoudnessTagger(PHOTO, [(MIDDLE, NEVER)])
    with pytest.raises(ValueError, match="reads back"):
        tag_until_it_reads(tagger, PHOTO, 7, canvases=[MIDDLE])
    assert len(tagger.calls) == 4


class Losing:
    """Encodes to PNG with a tag that is `lost` levels fainter; counts its calls."""

    def __init__(self, lost):
        self.lost, self.calls = lost, 0

    def __call__(self, pixels):
        self.calls += 1
        fainter = np.where(pixels > PHOTO, pixels - int(2 * self.lost), pixels)
        return encode_image(fainter.astype(np.uint8), ".png")


@pytest.mark.parametrize(
    ("need", "encoder", "loudness", "calls"),
    [
        (7, 0, 10, (1, 0)),  # Reads at once: one encoding.
        (9, 0, 13, (3, 0)),  # Refined, then stronger.
        (14, 1, 15.5, (4, 1)),  # As strong as can be, and then encoded with less loss.
    ],
)
def test_what_is_read_back_is_the_encoded_file(need, encoder, loudness, calls):
    tagger = LoudnessTagger(PHOTO, [(LEFT, need)])
    encoders = [Losing(3), Losing(0)]
    result = tag_until_it_reads(tagger, PHOTO, 7, encoders=encoders)
    assert result.canvases == [LEFT] and result.encoder == encoder
    assert (encoders[0].calls, encoders[1].calls) == calls
    assert (pixels_of(LEFT, result.pixels) == 99 + 2 * loudness).all()
    assert result.data == encoders[encoder](result.pixels)


def test_a_tag_that_no_encoding_keeps_is_an_error_or_a_named_face():
    needs = [(LEFT, 7), (RIGHT, 20), (MIDDLE, NEVER)]
    result = tag_until_it_reads(
        LoudnessTagger(PHOTO, needs), PHOTO, 7, encoders=[Losing(3), Losing(2)]
    )
    assert result.canvases == [LEFT] and result.unread == [RIGHT]
    assert result.encoder == 0  # What does not help is not done.
    with pytest.raises(ValueError, match="higher --quality"):
        tag_until_it_reads(
            LoudnessTagger(PHOTO, needs[1:]), PHOTO, 7, encoders=[Losing(3)]
        )


def test_a_wrong_payload_and_a_far_reading_do_not_count():
    tagger = LoudnessTagger(PHOTO, [(LEFT, 9), (RIGHT, 9)])
    right = tagger.read

    def read(tagged):
        first, second = right(tagged)
        wrong = dataclasses.replace(second, payload=8)
        far = dataclasses.replace(second, corners=second.corners + 70)
        return [first, wrong, far]

    tagger.read = read
    result = tag_until_it_reads(tagger, PHOTO, 7)
    assert result.canvases == [LEFT] and result.unread == [RIGHT]


def test_the_steps_are_the_refiners():
    assert assure.REFINE == refine.STEPS


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger(detect=lambda photo: [])


def test_overlapping_canvases_keep_to_their_own_pixels(tagger):
    """With the real embedding: a face's new tag stops where another one's begins."""
    photo = np.random.default_rng(0).integers(60, 200, (190, 290, 3), np.uint8)
    first, second = canvas_at(10, 20), canvas_at(90.3, 30.6)  # No ties.
    both = [first, second]
    weak, strong = (tagger.embed(photo, 7, psnr, both) for psnr in (36, 28))
    alone = tagger.embed(photo, 7, 28, [second])
    mixed = weak.copy()
    paste.copy_own(mixed, alone, second, both, SIZE)
    # Independently: of two upright canvases of one size the nearer middle owns a pixel.
    y, x = np.mgrid[:190, :290] + 0.5
    near = [
        np.maximum(abs(x - left - 64), abs(y - top - 64))
        for left, top in ((10, 20), (90.3, 30.6))
    ]
    owned = near[1] < near[0]
    assert (weak[owned] != strong[owned]).mean() > 0.2
    np.testing.assert_array_equal(mixed[owned], strong[owned])
    np.testing.assert_array_equal(mixed[~owned], weak[~owned])


def test_two_real_faces_one_of_which_is_lost(monkeypatch):
    """With the real reader, which finds one of the two faces no more."""
    monkeypatch.setattr(assure, "REFINE", 0)  # Stronger at once: quick.
    photo = np.random.default_rng(1).integers(110, 140, (190, 290, 3), np.uint8)
    tagger = support.correlation_tagger(detect=lambda photo: [])
    tagger._by_direction = lambda photo, upright: [[LEFT]]
    result = tag_until_it_reads(tagger, photo, 7, None, [LEFT, RIGHT])
    assert result.canvases == [LEFT] and result.unread == [RIGHT]
    (reading,) = tagger.read(result.pixels)
    assert reading.payload == 7
