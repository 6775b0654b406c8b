"""How good the deepfakes are: sharp, faces still, and of somebody else.

    python -m faketagger_tf.evaluation.swaps --data=photos --output=build/swaps

Each photo is scaled so that the face's canvas has 256 pixels, its face is swapped by
each model of `--swap_model`, the shipped ones by default, and by graphics. Measured are

- *sharpness*: the mean gradient (Sobel) of luma within the ellipse that is exchanged,
  over that of the same pixels before: 1 is as sharp as the photo, and noise counts too;
- *a face*: the share of photos in which the detector finds a face whose middle lies in
  the middle of the one that was there;
- *identity*: the share of the face's fingerprint, 256 bits of a perceptual hash, that
  differs from the photo's own; the registry calls a face changed above .16. JPEG 50 and
  another person's face are measured beside it.

`--output` receives a table, and a picture: a row a photo, a column a model, each with
its name.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable

import cv2
import numpy as np
from tqdm import tqdm

from faketagger_tf.data import find_photos
from faketagger_tf.deepfake import MASK, swap_faces, swap_faces_by_graphics
from faketagger_tf.evaluation.changes import scale
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.names import printable
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import (
    captioned,
    decode_photo,
    encode_image,
    read_photo,
    similarity_from_landmarks,
    warp_canvas,
    write_image,
)
from faketagger_tf.photos.faces import Face, detect_faces
from faketagger_tf.presets import list_swaps, load_faceswap
from faketagger_tf.registry.fingerprint import (
    FACE,
    SCALE,
    compare,
    fingerprint,
    fingerprint_matrix,
)
from faketagger_tf.registry.records import FaceRecord

CANVAS = 256  # Pixels that the face's canvas is scaled to.
REGION = (
    0.5  # Of the canvas: the crop whose ellipse is measured, as most models have it.
)
SHOWN = 4  # Photos in the picture.
JPEG, ANOTHER, GRAPHICS = "JPEG 50", "another person's photo", "graphics"


@dataclasses.dataclass(frozen=True)
class SwapsOptions(Checked):
    """What the command can be told."""

    data: str = option("", "Folder of photos.", required=True)
    swap_model: tuple[str, ...] = option(
        (), "A face-swap model's name or folder; repeat the flag; by default all."
    )
    split: str = option("test", "Split to measure; empty for all.")
    limit: int = option(40, "Photos at most.", low=2)
    output: str = option("build/swaps", "Report to write, without .md, and .jpg.")


def measure_sharpness(photo: np.ndarray, face: Face) -> float:
    """Mean gradient of luma where a face would be exchanged, per canvas pixel.

    Args:
        photo: uint8 `[H, W, 3]`.
        face: where to look.

    Example:
        >>> face = Face((0, 0, 9, 9), np.random.rand(5, 2) * 99, 1.0)
        >>> measure_sharpness(np.full((99, 99, 3), 7, np.uint8), face)
        0.0
    """
    grey = cv2.cvtColor(_canvas(photo, face), cv2.COLOR_RGB2GRAY)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    place = (np.arange(CANVAS) + 0.5) / CANVAS - 0.5
    x, y = place / (MASK[0] * REGION), place / (MASK[1] * REGION)
    inside = x[None] ** 2 + y[:, None] ** 2 < 1
    return float(np.hypot(across, down)[inside].mean())


def _canvas(photo: np.ndarray, face: Face) -> np.ndarray:
    matrix = similarity_from_landmarks(face.landmarks, CANVAS, SCALE)
    return warp_canvas(photo, matrix, CANVAS)


def is_face_at(photo: np.ndarray, face: Face) -> bool:
    """Whether a face is found whose middle lies in the middle half of `face`."""
    size = np.ptp(face.landmarks, axis=0).max()
    middle = face.landmarks.mean(0)
    return any(
        np.hypot(*(found.landmarks.mean(0) - middle)) < size / 4
        for found in detect_faces(photo)
    )


@dataclasses.dataclass(frozen=True)
class Original:
    """A photo's face, measured once, to compare what becomes of it.

    Attributes:
        face: where it is.
        matrix: the fingerprint's place, see `registry.fingerprint`.
        record: what a registry would keep of it.
        sharpness: from `measure_sharpness`.

    Example:
        >>> original = Original.measure(photo, detect_faces(photo)[0])  # doctest: +SKIP
        >>> original.compare(photo)["sharpness"]  # doctest: +SKIP
        1.0
    """

    face: Face
    matrix: np.ndarray
    record: FaceRecord
    sharpness: float

    @classmethod
    def measure(cls, photo: np.ndarray, face: Face) -> Original:
        """Measures a face of a photo, uint8 `[H, W, 3]`."""
        height, width = photo.shape[:2]
        matrix = fingerprint_matrix(width, height, face.landmarks)
        record = FaceRecord(face.box, (), *fingerprint(photo, matrix))
        return cls(face, matrix, record, measure_sharpness(photo, face))

    def compare(self, changed: np.ndarray) -> dict:
        """What a changed photo, as large as this one, is like at the face's place.

        Returns:
            {"sharpness": over the photo's, "face": bool, "identity": 0 to about 0.5}.
        """
        return {
            "sharpness": measure_sharpness(changed, self.face) / self.sharpness,
            "face": is_face_at(changed, self.face),
            "identity": compare(changed, self.matrix, self.record).face,
        }


def make_swaps(names) -> dict[str, Callable[[np.ndarray, Face], np.ndarray]]:
    """Name -> what puts another face in the place of one.

    Args:
        names: of models, as `presets.load_faceswap` takes them.

    Raises:
        ValueError: as `load_faceswap`.
    """
    swaps = {}
    for name in names:
        config, model = load_faceswap(name)

        def swap(photo, face, config=config, model=model):
            return swap_faces(photo, config, model, config.identities[-1], [face])[0]

        swaps[str(name)] = swap
    swaps[GRAPHICS] = lambda photo, face: swap_faces_by_graphics(photo, faces=[face])[0]
    return swaps


def load_scaled(options: SwapsOptions) -> list[tuple[np.ndarray, Face]]:
    """Photos with a face, scaled so that its canvas has `CANVAS` pixels.

    Raises:
        ValueError: fewer than two photos show a face.
    """
    scaled = []
    for entry in find_photos(options.data, options.split).spread(options.limit):
        try:
            photo = read_photo(entry.path)
        except ValueError as error:
            print(f"{printable(entry.path)} is left out: {error}", file=sys.stderr)
            continue
        faces = detect_faces(photo)
        if faces:
            matrix = similarity_from_landmarks(faces[0].landmarks, CANVAS, SCALE)
            photo = scale(photo, float(np.hypot(matrix[0, 0], matrix[1, 0])))
            faces = detect_faces(photo)
        if faces:
            scaled.append((photo, faces[0]))
    if len(scaled) < 2:
        raise ValueError(
            "--data must hold at least two photos of faces. "
            f"Received: {options.data!r} with {len(scaled)}."
        )
    return scaled


def measure_swaps(photos, swaps) -> tuple[list[dict], list[np.ndarray]]:
    """Measures every swap on every photo.

    Args:
        photos: from `load_scaled`.
        swaps: from `make_swaps`.

    Returns:
        A row a swap and a row a reference, and a picture of each of the first photos:
        its canvas, and what each swap made of it, captions below.
    """
    found: dict[str, list[dict]] = {name: [] for name in (JPEG, ANOTHER, *swaps)}
    pictures = []
    originals = [Original.measure(photo, face) for photo, face in photos]
    for number, (photo, face) in enumerate(tqdm(photos, unit="photo", disable=None)):
        original = originals[number]
        copy = decode_photo(encode_image(photo, ".jpg", 50))
        found[JPEG].append(original.compare(copy))
        next_one = (number + 1) % len(photos)
        other = originals[next_one]
        found[ANOTHER].append(
            {
                "sharpness": other.sharpness / original.sharpness,
                "face": True,
                "identity": compare(
                    photos[next_one][0], other.matrix, original.record
                ).face,
            }
        )
        shown = {"photo": _canvas(photo, face)}
        for name, swap in swaps.items():
            try:
                changed = swap(photo, face)
            except ValueError:  # The face lies outside of the photo.
                shown[name] = np.full_like(shown["photo"], 128)
                continue
            found[name].append(original.compare(changed))
            shown[name] = _canvas(changed, face)
        if number < SHOWN:
            named = (captioned(x, os.path.basename(name)) for name, x in shown.items())
            pictures.append(np.hstack(list(named)))
    rows = []
    for name, part in found.items():
        if part:
            rows.append(
                {
                    "swap": name,
                    "photos": len(part),
                    "sharpness": float(np.median([each["sharpness"] for each in part])),
                    "face": float(np.mean([each["face"] for each in part])),
                    "identity": float(np.mean([each["identity"] for each in part])),
                    "changed": float(np.mean([e["identity"] > FACE for e in part])),
                }
            )
    return rows, pictures


def markdown_swaps(rows: list[dict]) -> str:
    """Returns the rows of `measure_swaps` as Markdown."""
    titles = ["swap", "photos", "sharpness", "a face is found", "identity moved by"]
    return markdown_table(
        [*titles, f"by more than {FACE:g}"],
        (
            [
                row["swap"],
                row["photos"],
                f"{row['sharpness']:.2f}",
                f"{100 * row['face']:.0f}%",
                f"{row['identity']:.2f}",
                f"{100 * row['changed']:.0f}%",
            ]
            for row in rows
        ),
    )


def main(options: SwapsOptions) -> None:
    """Runs the command; see the module's docstring."""
    swaps = make_swaps(options.swap_model or list_swaps())
    rows, pictures = measure_swaps(load_scaled(options), swaps)
    text = markdown_swaps(rows)
    report = {"options": dataclasses.asdict(options), "rows": rows}
    write_image(options.output + ".jpg", np.vstack(pictures))
    write_report(options.output, report, text)
    print(text)


if __name__ == "__main__":
    run_command(SwapsOptions(), main)
