import numpy as np
import pytest
from clips import flat, moving_face

from faketagger_tf.photos.faces import detect_faces
from faketagger_tf.video.tracks import FADE, MISSES, Tracker


@pytest.fixture(scope="module")
def face():
    """The drawn face, and where it is in frame 0."""
    draw = moving_face()
    (found, *_) = detect_faces(draw(0))
    return draw, found.landmarks


def middle(track):
    return track.points.mean(0)


def test_a_face_is_followed_between_detections(face):
    """The truth is known: 2 pixels to the right and 1 down in each frame."""
    draw, _ = face
    tracker = Tracker(every=10)
    places, searched = [], []
    for index in range(16):
        (track,) = tracker.follow(draw(index))
        assert (track.number, track.weight) == (1, 1.0)
        places.append(middle(track))
        searched.append(tracker.searched)
    assert searched == [index % 10 == 0 for index in range(16)]
    steps = np.diff(places, axis=0)
    # Half a pixel: a tenth of the decoder's tolerance on a face of 100 pixels.
    assert np.abs(steps - (2, 1)).max() < 0.5
    assert np.abs(places[-1] - places[0] - (30, 15)).max() < 1.5


def test_a_still_face_sits_still(face):
    """Noise makes a detector's landmarks tremble; the track moves less."""
    draw, _ = face
    rng = np.random.default_rng(0)
    tracker, places, found = Tracker(every=2), [], []
    for _ in range(12):
        noise = rng.normal(0, 6, draw(0).shape)
        pixels = np.clip(draw(0) + noise, 0, 255).astype(np.uint8)
        (track,) = tracker.follow(pixels)
        places.append(track.points.copy())
        found.append(detect_faces(pixels)[0].landmarks)
    trembling = np.abs(np.diff(found, axis=0)).mean()
    assert np.abs(np.diff(places, axis=0)).mean() < 0.6 * trembling


def test_a_cut_starts_anew(face):
    draw, _ = face
    tracker = Tracker(every=10)
    for index in range(3):
        (first,) = tracker.follow(draw(index))
    (square,) = tracker.follow(flat(0))
    assert tracker.searched and tracker.shots == 2
    assert square.points is None and square.number == first.number + 1
    # At a cut nothing fades: the first frame carries its tag in full.
    assert square.weight == 1.0
    (again,) = tracker.follow(draw(4))
    assert tracker.shots == 3 and again.number == square.number + 1


def test_motion_is_no_cut(face):
    draw, _ = face
    tracker = Tracker(every=5)
    for index in range(0, 40, 4):  # As fast as 8 pixels a frame.
        tracker.follow(draw(index))
    assert tracker.shots == 1


def test_a_lost_face_fades_into_the_square_and_back():
    """The detector is told what to see."""
    real = detect_faces(moving_face()(0))
    see = [real] * 2 + [[]] * 30 + [real] * 20
    tracker = Tracker(every=1, detect=lambda _: see.pop(0))
    weights = []
    for _ in range(len(see)):
        tracks = tracker.follow(flat(0))
        weights.append({t.points is None: t.weight for t in tracks})
    assert weights[1] == {False: 1.0}
    # A detector that misses a face once does not make the tag flicker.
    assert weights[MISSES][False] == 1.0 and True not in weights[MISSES]
    assert weights[MISSES + 1] == {False: 1 - 1 / FADE, True: 1 / FADE}
    assert weights[20] == {True: 1.0}
    assert weights[33] == {True: 1 - 2 / FADE, False: 2 / FADE}
    assert weights[-1] == {False: 1.0}


def test_small_faces_are_passed_over(face):
    draw, _ = face
    (track,) = Tracker(smallest=300).follow(draw(0))
    assert track.points is None
