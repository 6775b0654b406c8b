import cv2
import numpy as np
import pytest
import skimage.data

from faketagger_tf.photos import similarity_from_landmarks
from faketagger_tf.photos.faces import _suppress, _suppress_inner, detect_faces

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
    from mtcnn import MTCNN

    (theirs,) = MTCNN().detect_faces(astronaut)
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


def test_suppression_keeps_the_best_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [2, 2, 6, 6.0]])
    scores = np.array([0.8, 0.9, 0.7, 0.6])
    assert _suppress(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert _suppress_inner(boxes, scores).tolist() == [1, 2]


def test_refuses_other_arrays():
    with pytest.raises(ValueError, match="uint8 RGB"):
        detect_faces(np.zeros((100, 100), np.uint8))
