"""How good a deepfake is: the measures tell what they are named after."""

import json

import cv2
import numpy as np
import pytest
from skimage import data

from faketagger_tf.evaluation import swaps
from faketagger_tf.photos import write_image
from faketagger_tf.photos.faces import detect_faces
from tests.support import run_module


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:360, 60:400]


@pytest.fixture(scope="module")
def face(photo):
    return detect_faces(photo)[0]


def test_untouched_is_as_sharp_and_the_same_person(photo, face):
    found = swaps.Original.measure(photo, face).compare(photo)
    assert found == {"sharpness": 1.0, "face": True, "identity": 0.0}


def test_blur_is_less_sharp_and_the_same_person(photo, face):
    blurred = cv2.GaussianBlur(photo, (0, 0), 3)
    found = swaps.Original.measure(photo, face).compare(blurred)
    assert found["sharpness"] < 0.6 and found["face"]
    assert found["identity"] < swaps.FACE


def test_a_face_painted_over_is_no_face(photo, face):
    left, top, width, height = (round(x) for x in face.box)
    painted = photo.copy()
    painted[top : top + height, left : left + width] = 128
    found = swaps.Original.measure(photo, face).compare(painted)
    assert not found["face"] and found["sharpness"] < 0.5
    assert found["identity"] > swaps.FACE


@pytest.mark.parametrize("name", ["one", "two", "three", "unseen_narrow"])
def test_faces_of_shipped_models_are_sharp(name, photo, face):
    # .78 to .86 on this photo; .44 to .55 before a judge of patches trained them. Other
    # processors move the last bits of a pixel.
    changed = swaps.make_swaps([name])[name](photo, face)
    found = swaps.Original.measure(photo, face).compare(changed)
    assert found["sharpness"] > 0.7 and found["face"]
    assert found["identity"] > 0.1


def test_the_command_measures_a_model_beside_graphics(photo, tmp_path):
    for number, picture in enumerate((photo, photo[:, ::-1])):
        write_image(tmp_path / f"{number}.png", np.ascontiguousarray(picture))
    (tmp_path / "text.jpg").write_text("no photo")
    output = tmp_path / "swaps"
    result = run_module(
        "faketagger_tf.evaluation.swaps",
        f"--data={tmp_path}",
        "--split=",
        "--swap_model=unseen_skips",
        f"--output={output}",
    )
    assert result.returncode == 0, result.stderr
    assert "text.jpg is left out" in result.stderr
    rows = json.loads((tmp_path / "swaps.json").read_text())["rows"]
    rows = {row["swap"]: row for row in rows}
    assert list(rows) == ["JPEG 50", swaps.ANOTHER, "unseen_skips", "graphics"]
    # That model's faces are soft, as its card says; a donor's picture is not.
    assert rows["unseen_skips"]["sharpness"] < rows["graphics"]["sharpness"]
    assert rows["JPEG 50"]["identity"] < rows["graphics"]["identity"]
    assert (tmp_path / "swaps.jpg").stat().st_size > 10_000


def test_a_folder_without_faces_is_refused(tmp_path):
    write_image(tmp_path / "grey.png", np.full((200, 200, 3), 128, np.uint8))
    options = swaps.SwapsOptions(data=str(tmp_path), split="")
    with pytest.raises(ValueError, match="at least two photos of faces"):
        swaps.load_scaled(options)
