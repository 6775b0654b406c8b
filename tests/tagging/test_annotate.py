import numpy as np

from faketagger_tf.tagging.annotate import FOUND, NOT_FOUND, annotate
from faketagger_tf.tagging.tagger import Reading


def reading(found, left, top, side):
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side + (left, top)
    return Reading(0xABCD, found, 1e-9, 1.0, 9.0, found, 0, 0.0, corners=corners)


def test_found_and_unfound_canvases_are_drawn_on_a_copy():
    photo = np.full((200, 300, 3), 77, np.uint8)
    readings = [reading(True, 20, 20, 100), reading(False, 160, 60, 80)]
    picture = annotate(photo, readings, 32)
    assert (photo == 77).all() and picture.shape == photo.shape
    for colour, one in ((FOUND, readings[0]), (NOT_FOUND, readings[1])):
        for x, y in (one.corners[2] + one.corners[3]) / 2, one.corners[2]:
            line = picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
            # A thin line is blended with what lies below it.
            assert np.abs(line.astype(int) - colour).max(-1).min() < 30
    # Inside of the square and below its label nothing is touched.
    assert (picture[80:110, 40:110] == 77).all()
    # A black label with letters in the reading's colour.
    label = picture[20:34, 20:100].reshape(-1, 3)
    assert (label == 0).all(-1).mean() > 0.3 and (label == FOUND).all(-1).any()


def test_labels_stay_inside_the_photo():
    photo = np.full((120, 160, 3), 77, np.uint8)
    for left, top in ((-50, -50), (150, 110), (-400, 300)):
        picture = annotate(photo, [reading(True, left, top, 60)], 32)
        assert (picture == 0).all(-1).sum() > 100, (left, top)
    np.testing.assert_array_equal(annotate(photo, [], 32), photo)
