"""A caption stands below its picture and leaves the picture as it is."""

import numpy as np

from faketagger_tf.photos import captioned
from faketagger_tf.photos.caption import LINE, MARGIN

PICTURE = np.random.default_rng(1).integers(0, 255, (40, 90, 3), np.uint8)


def test_the_picture_is_kept_and_the_words_are_below():
    shown = captioned(PICTURE, "tagged")
    assert shown.shape == (40 + LINE + 6, 90 + MARGIN, 3)
    np.testing.assert_array_equal(shown[:40, :90], PICTURE)
    assert shown[40:].min() < 128 < shown[40:].max() == 255


def test_a_long_caption_goes_on_in_the_next_line():
    shown = captioned(PICTURE, "a caption that is longer than its picture", lines=2)
    first, second = shown[40 : 40 + LINE], shown[40 + LINE + 4 :]
    assert first.min() < 128 and second.min() < 128
    short = captioned(PICTURE, "short", lines=2)
    assert short.shape == shown.shape and short[40 + LINE + 4 :].min() == 255
