import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from faketagger_tf import drawn
from faketagger_tf.data import find_photos, load_canvases
from faketagger_tf.photos import similarity_from_landmarks


@pytest.fixture(scope="module")
def canvases():
    faces = drawn.default_identities(4)
    return {name: drawn.draw_canvases(face, 10, 1) for name, face in faces.items()}


def test_drawing_is_deterministic(canvases):
    face = drawn.default_identities()["A"]
    np.testing.assert_array_equal(drawn.draw_canvases(face, 10, 1), canvases["A"])
    # Photo n does not depend on how many are drawn.
    np.testing.assert_array_equal(drawn.draw_canvases(face, 3, 1), canvases["A"][:3])
    assert not np.array_equal(drawn.draw_canvases(face, 3, 2), canvases["A"][:3])
    assert drawn.identity_from_seed(5) == drawn.identity_from_seed(5)
    assert drawn.identity_from_seed(5) != drawn.identity_from_seed(6)


def test_canvases_have_shape_contrast_and_variety(canvases):
    for batch in canvases.values():
        assert batch.shape == (10, 128, 128, 3) and batch.dtype == np.uint8
        assert len({canvas.tobytes() for canvas in batch}) == 10
        # Neither flat nor burnt out, like a photo.
        assert (batch.std((1, 2, 3)) > 20).all()
        assert (np.mean(batch > 250, (1, 2, 3)) < 0.1).all()
        assert (np.mean(batch < 3, (1, 2, 3)) < 0.25).all()


def test_an_identity_resembles_itself_most(canvases):
    """Nearest neighbour by the face's colours, coarse in space: who is it?"""

    def describe(batch):
        face = batch[:, 24:104, 24:104].astype(float)
        return face.reshape(-1, 8, 10, 8, 10, 3).mean((2, 4)).reshape(len(batch), -1)

    features = np.concatenate([describe(batch) for batch in canvases.values()])
    names = np.repeat(list(canvases), 10)
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1)
    same = names[:, None] == names[None]
    other = distance[~same].mean()
    np.fill_diagonal(distance, np.nan)
    assert np.nanmean(distance[same]) < 0.75 * other
    np.fill_diagonal(distance, np.inf)
    assert np.mean(names[distance.argmin(1)] == names) > 0.85


def test_box_fits_a_canvas_and_holds_the_landmarks():
    for seed in range(12):
        face = drawn.identity_from_seed(seed)
        rng = np.random.default_rng(seed)
        photo, (left, top, width, height), points = drawn.draw_photo(face, rng, 160)
        assert photo.shape == (160, 160, 3) and photo.dtype == np.uint8
        assert width == height and 1.9 * width <= 160
        side = 1.9 * width
        middle = left + width / 2, top + height / 2
        assert all(side / 2 - 5 <= value <= 160 - side / 2 + 5 for value in middle)
        inside = (points - [left, top]) / [width, height]
        assert (inside > 0.1).all() and (inside < 0.95).all()
        # Viewer's left first: eyes over nose over mouth.
        assert points[0, 0] < points[1, 0] and points[3, 0] < points[4, 0]
        assert points[:2, 1].max() < points[2, 1] < points[3:, 1].min()
        # The canvas of the landmarks is that of the box, but for the pose.
        matrix = similarity_from_landmarks(points, 128, 1.9)
        place = matrix @ [*middle, 1]
        assert np.abs(place - 64).max() < 13
        scale = np.hypot(*matrix[:, 0]) * 1.9 * width / 128
        assert 0.8 < scale < 1.3


def test_landmarks_lie_on_the_features():
    """Frontal eyes are darker than the cheeks under them, on light skin."""
    face = dataclasses.replace(drawn.DEFAULT_IDENTITIES[0], hair_style="bald")
    darker = []
    for seed in range(10):
        photo, box, points = drawn.draw_photo(face, np.random.default_rng(seed), 256)
        grey = photo.mean(-1)
        for x, y in points[:2]:
            below = y + 0.2 * box[3]
            darker.append(grey[int(y), int(x)] < 0.8 * grey[int(below), int(x)])
    assert np.mean(darker) >= 0.9


@pytest.mark.parametrize("style", drawn.HAIR_STYLES)
@pytest.mark.parametrize("beard", drawn.BEARDS)
def test_every_style_is_drawn(style, beard):
    face = dataclasses.replace(
        drawn.DEFAULT_IDENTITIES[0], hair_style=style, beard=beard, glasses=2, age=0.9
    )
    plain = dataclasses.replace(face, beard="none", hair_style="bald", glasses=0)
    first, second = (
        drawn.draw_photo(who, np.random.default_rng(0), 96)[0].astype(int)
        for who in (face, plain)
    )
    assert np.abs(first - second).mean() > 0.3


def test_a_drawn_folder_is_a_data_folder(tmp_path):
    paths = drawn.write_drawn_folder(tmp_path, identities=2, count=5, size=96)
    assert len(paths) == 10 and all(os.path.exists(path) for path in paths)
    found = find_photos(tmp_path)
    assert found.identities() == ["A", "B"] and len(found) == 10
    result, _, skipped = load_canvases(found, 64)
    assert result.shape == (10, 64, 64, 3) and not skipped


def test_bad_arguments_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="Identities"):
        drawn.default_identities(27)
    with pytest.raises(ValueError, match="size"):
        drawn.draw_photo(drawn.Identity(), np.random.default_rng(0), 32)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write the folder"):
        drawn.write_drawn_folder(tmp_path / "file", count=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Error: There is nothing to do"),
        (["--folder=out", "--size=8"], "Error: size"),
        (["--no_such_flag"], "Error: Unknown command line flag"),
    ],
)
def test_the_commands_mistakes_are_one_sentence_and_code_2(
    tmp_path, arguments, sentence
):
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "faketagger_tf.drawn", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == ""
