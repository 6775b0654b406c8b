import subprocess
import sys
import textwrap
from concurrent import futures

import cv2
import numpy as np
import pytest
import skimage.data

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import similarity_from_landmarks
from faketagger_tf.photos.faces import (
    Networks,
    _suppress,
    _suppress_inner,
    detect_faces,
    run_cascade,
)

# skimage's astronaut, as MediaPipe's detector and the mtcnn package's own cascade
# place them, to about five pixels.
EYES = [(204, 101), (246, 103)]


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def test_finds_the_astronaut(astronaut):
    (face,) = detect_faces(astronaut)
    assert face.confidence > 0.9
    np.testing.assert_allclose(face.landmarks[:2], EYES, atol=5)
    eyes, nose, mouth = np.split(face.landmarks, [2, 3])
    assert eyes[:, 1].max() < nose[0, 1] < mouth[:, 1].min()
    assert eyes[0, 0] < eyes[1, 0] and mouth[0, 0] < mouth[1, 0]


def test_agrees_with_the_packages_own_cascade(astronaut):
    mtcnn = pytest.importorskip("mtcnn")
    (theirs,) = mtcnn.MTCNN().detect_faces(astronaut)
    (ours,) = detect_faces(astronaut)
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    points = [theirs["keypoints"][name] for name in names]
    np.testing.assert_allclose(ours.landmarks, points, atol=4)


@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_coordinates_are_those_of_the_photo(astronaut, scale):
    scaled = cv2.resize(
        astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    (face,) = detect_faces(scaled)
    np.testing.assert_allclose(face.landmarks[:2] / scale, EYES, atol=5)


def test_canvas_is_stable_under_rotation_and_mirroring(astronaut):
    def canvas(photo):
        (face,) = detect_faces(photo)
        return similarity_from_landmarks(face.landmarks, 128)

    height, width = astronaut.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 10, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (width, height))
    middle = np.array([64, 64, 1])
    at = cv2.invertAffineTransform(canvas(astronaut)) @ middle
    then = cv2.invertAffineTransform(canvas(turned)) @ middle
    # One and a half canvas pixels.
    assert np.hypot(*(turn @ [*at, 1] - then)) < 2.5
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    then = cv2.invertAffineTransform(canvas(mirrored)) @ middle
    assert np.hypot(width - at[0] - then[0], at[1] - then[1]) < 2.5


def test_nothing_without_a_face():
    assert detect_faces(np.full((200, 300, 3), 128, np.uint8)) == []
    assert detect_faces(skimage.data.coffee()) == []


@pytest.mark.parametrize("degrees", [30, -30])
def test_a_tilted_face_gets_the_same_canvas(astronaut, degrees):
    (face,) = detect_faces(astronaut)
    centre = face.landmarks.mean(0)
    turn = cv2.getRotationMatrix2D(tuple(centre - 0.5), degrees, 1.0)
    turned = cv2.warpAffine(
        astronaut, turn, astronaut.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
    )
    expected = (face.landmarks - centre) @ turn[:, :2].T + centre

    (tilted,) = detect_faces(turned)
    (once,) = run_cascade(Networks(), turned, upright_weight=0.0)
    drift, drift_once = (
        np.hypot(*(found.landmarks - expected).T).mean() for found in (tilted, once)
    )
    # In photo pixels, of which the eyes are 42 apart.
    assert drift < 1.0
    assert drift < 0.8 * drift_once


def frame(astronaut, *sides):
    """A grey photo of 960 pixels with the astronaut's head in squares."""
    photo = np.full((960, 960, 3), 128, np.uint8)
    head, left = astronaut[40:190, 150:300], 0
    for side in sides:
        size = (side, side)
        tile = cv2.resize(head, size, interpolation=cv2.INTER_AREA)
        photo[:side, left : left + side] = tile
        left += side
    return photo


def test_small_faces_are_found_unless_one_is_large(astronaut):
    # The face fills 0.56 of the square's side.
    small = frame(astronaut, 110, 110, 110)
    assert len(detect_faces(small)) == 3
    both = frame(astronaut, 600, 80)
    (large,) = detect_faces(both)
    assert large.box[3] > 0.25 * 960
    searched = run_cascade(Networks(), both, large_face=np.inf)
    assert [face.box[3] > 240 for face in searched] == [True, False]
    # A face of a third of the large one is still found beside it.
    assert len(detect_faces(frame(astronaut, 600, 240))) == 2


@pytest.mark.parametrize("seed", [1, 3])
def test_drawn_faces_lie_where_they_were_drawn(seed):
    rng = np.random.default_rng(seed)
    photo, box, landmarks = draw_photo(identity_from_seed(seed), rng, size=360)
    (face,) = detect_faces(photo)
    # A twelfth of the face box.
    assert np.abs(face.landmarks - landmarks).max() < box[2] / 12


def test_runs_without_tensorflow():
    code = """
        import sys
        import numpy as np, skimage.data
        from faketagger_tf.photos.faces import detect_faces
        assert len(detect_faces(skimage.data.astronaut())) == 1
        heavy = {"tensorflow", "keras", "mtcnn", "joblib"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_many_threads_find_the_same(astronaut):
    photos = [astronaut, frame(astronaut, 110, 240), frame(astronaut, 600)] * 4
    alone = [detect_faces(photo) for photo in photos]
    with futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(detect_faces, photos))
    assert sum(map(len, alone)) == 4 * (1 + 2 + 1)
    for ours, theirs in zip(together, alone, strict=True):
        assert [face.box for face in ours] == [face.box for face in theirs]
        for face, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(face.landmarks, other.landmarks)


@pytest.mark.parametrize("shape", [(1, 1), (11, 400), (96, 96), (239, 60), (2000, 30)])
def test_photos_of_any_shape(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert isinstance(detect_faces(noise), list)


def test_suppression_keeps_the_best_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [2, 2, 6, 6.0]])
    scores = np.array([0.8, 0.9, 0.7, 0.6])
    assert _suppress(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert _suppress_inner(boxes, scores, 0.5).tolist() == [1, 2]
    assert _suppress(boxes[:0], scores[:0], 0.5).tolist() == []


def test_refuses_other_arrays():
    with pytest.raises(ValueError, match="uint8 RGB"):
        detect_faces(np.zeros((100, 100), np.uint8))
