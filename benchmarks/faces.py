"""Prints what the face detector finds, how long it takes and how steady it is.

    python -m benchmarks.faces --data=folder [--limit=60]

Beside it stands the path that it replaced: the networks in Keras, every level of the
pyramid searched, no second reading of tilted faces (needs the package `mtcnn`). Three
sets are made of the folder's photos: as they are; shrunk until the largest face is a
tenth of the frame; and montages of 30.

- found: faces of the Keras path, and the share of them that the files find again
  (intersection over union above 0.4); more: faces that only the files find.
- ms: processor time of one photo, both held to one thread; the fastest of three calls.
- corners: distance between the corners of two canvases of 128 pixels, the mean of the
  four, in canvas pixels, as median / 95th percentile. Between the two paths on the same
  photo; then for each path between the photo and a copy of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import cv2
import numpy as np
import tensorflow as tf
from absl import flags

from export.faces import load_keras_networks, named_outputs
from faketagger_tf.command import require_flag, run_main
from faketagger_tf.data import find_photos
from faketagger_tf.photos import canvas, faces
from faketagger_tf.photos.codec import read_photo

FLAGS = flags.FLAGS
SIZE = 128
CORNERS = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]], np.float64)
MONTAGE = (5, 6)  # Rows and columns.
TILE = 160

Detector = Callable[[np.ndarray], list[faces.Face]]


class KerasNetworks:
    """The three networks in Keras, with the methods of `faces.Networks`."""

    def __init__(self):
        sides = {"pnet": None, "rnet": 24, "onet": 48}
        for name, network in load_keras_networks().items():

            def call(image, name=name, network=network):
                return named_outputs(name, network, image)

            shape = [None, sides[name], sides[name], 3]
            setattr(self, name, tf.function(call, [tf.TensorSpec(shape, tf.float32)]))

    def propose(self, level):
        outputs = self.pnet(level[None])
        return outputs["box"][0].numpy(), outputs["probability"][0].numpy()

    def refine(self, patches):
        return self._batch(self.rnet, patches, ("box", "probability"))

    def locate(self, patches):
        return self._batch(self.onet, patches, ("box", "probability", "landmarks"))

    @staticmethod
    def _batch(network, patches, names):
        # Keras refuses a batch of none.
        outputs = network(
            patches if len(patches) else np.zeros([1, *patches.shape[1:]], np.float32)
        )
        return tuple(outputs[name].numpy()[: len(patches)] for name in names)


def shrink_face(photo: np.ndarray, face: faces.Face) -> np.ndarray:
    """Puts a photo in a frame, ten times as long as the face, of its own border."""
    height, width = photo.shape[:2]
    side = max(10 * max(face.box[2:]), height, width)
    ratio = 480 / side
    small = cv2.resize(photo, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    down, right = 480 - small.shape[0], 480 - small.shape[1]
    border = (down // 2, down - down // 2, right // 2, right - right // 2)
    return cv2.copyMakeBorder(small, *border, cv2.BORDER_REPLICATE)


def montages(photos: list[np.ndarray]) -> list[np.ndarray]:
    """Joins every 30 photos' centred squares, the last ones left over."""
    tiles = [
        canvas.crop_canvas(photo, canvas.canvas_square(*photo.shape[1::-1]), TILE)
        for photo in photos
    ]
    rows, columns = MONTAGE
    return [
        np.concatenate(
            [
                np.concatenate(tiles[at : at + columns], axis=1)
                for at in range(first, first + rows * columns, columns)
            ]
        )
        for first in range(0, len(tiles) - rows * columns + 1, rows * columns)
    ]


def copies(photo: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Copies of a photo by name, each with the matrix [2, 3] that leads to it."""
    height, width = photo.shape[:2]
    _, content = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])
    jpeg = np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])
    half = cv2.resize(photo, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 10, 1.0)
    # warpAffine counts from pixel centres, the matrices here from pixel borders.
    centred = turn.copy()
    centred[:, 2] += turn[:, :2] @ (0.5, 0.5) - 0.5
    turned = cv2.warpAffine(
        photo, centred, (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    shrunk = np.diag([half.shape[1] / width, half.shape[0] / height, 0])[:2]
    return {
        "JPEG 50": (jpeg, np.eye(3)[:2]),
        "half size": (half, shrunk),
        "10 degrees": (turned, turn),
    }


def corner_distance(first: faces.Face, second: faces.Face, matrix: np.ndarray) -> float:
    """Mean distance of the corners, after `matrix` has led from one to the other."""
    ours = cv2.invertAffineTransform(
        canvas.similarity_from_landmarks(first.landmarks, SIZE)
    )
    theirs = canvas.similarity_from_landmarks(second.landmarks, SIZE)
    points = CORNERS
    for step in (ours, matrix, theirs):
        points = points @ step[:, :2].T + step[:, 2]
    return float(np.hypot(*(points - CORNERS).T).mean())


def match(face: faces.Face, others: Iterable[faces.Face]) -> faces.Face | None:
    """The one of `others` that covers most of a face; None below 0.4 of the union."""
    best, most = None, 0.4
    left, top, width, height = face.box
    for other in others:
        x, y, w, h = other.box
        common = max(0, min(left + width, x + w) - max(left, x)) * max(
            0, min(top + height, y + h) - max(top, y)
        )
        overlap = common / (width * height + w * h - common)
        if overlap > most:
            best, most = other, overlap
    return best


def timed(detect: Detector, photo: np.ndarray) -> tuple[list[faces.Face], float]:
    """Faces and milliseconds."""
    times = []
    for _ in range(3):
        start = time.process_time()
        found = detect(photo)
        times.append(1e3 * (time.process_time() - start))
    return found, min(times)


def percentiles(values: list[float]) -> str:
    return "{:.2f} / {:.2f}".format(*np.percentile(values, [50, 95])) if values else ""


def measure(name: str, photos: list[np.ndarray], old: Detector, new: Detector) -> str:
    """Returns a row of the table."""
    count, again, more = 0, 0, 0
    milliseconds, between, steady = [], [], {}
    for photo in photos:
        (olds, old_ms), (news, new_ms) = timed(old, photo), timed(new, photo)
        milliseconds.append((old_ms, new_ms))
        pairs = [(face, match(face, news)) for face in olds]
        pairs = [pair for pair in pairs if pair[1]]
        count, again = count + len(olds), again + len(pairs)
        more += sum(match(face, olds) is None for face in news)
        between += [corner_distance(*pair, np.eye(3)[:2]) for pair in pairs]
        if not pairs:
            continue
        for copy, (pixels, matrix) in copies(photo).items():
            for detect, face in zip((old, new), pairs[0], strict=True):
                # The face that lies nearest: a few are lost in copies by either path.
                distances = [
                    corner_distance(face, other, matrix) for other in detect(pixels)
                ]
                if distances and min(distances) < SIZE / 8:
                    steady.setdefault((copy, detect), []).append(min(distances))
    old_ms, new_ms = np.mean(milliseconds, axis=0)
    cells = [
        name,
        len(photos),
        count,
        f"{100 * again / count:.1f}%" if count else "",
        more,
        f"{old_ms:.1f} / {new_ms:.1f} ({new_ms / old_ms:.2f})",
        percentiles(between),
    ]
    for copy in ("JPEG 50", "half size", "10 degrees"):
        cells.append(
            "; ".join(
                percentiles(steady.get((copy, which), [])) for which in (old, new)
            )
        )
    return "| " + " | ".join(map(str, cells)) + " |"


def main(argv: list[str]) -> int:
    """Runs the benchmark; see the module's docstring."""
    del argv
    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras_networks, networks = KerasNetworks(), faces.Networks()

    def old(photo):
        return faces.run_cascade(keras_networks, photo, np.inf, upright_weight=0.0)

    def new(photo):
        return faces.run_cascade(networks, photo)

    paths = [photo.path for photo in find_photos(require_flag("data"))]
    paths = paths[:: max(1, len(paths) // FLAGS.limit)][: FLAGS.limit]
    photos = [read_photo(path) for path in paths]
    found = [new(photo) for photo in photos]
    small = [
        shrink_face(photo, some[0])
        for photo, some in zip(photos, found, strict=True)
        if some
    ]
    lines = [
        "| set | photos | faces, Keras | found | more | ms, Keras / files | "
        "corners between them | JPEG 50: Keras; files | half size | 10 degrees |",
        "|" + "---|" * 10,
        measure("as they are", photos, old, new),
        measure("face a tenth of the frame", small, old, new),
        measure("montages of 30", montages(photos), old, new),
    ]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Folder of photos.")
    flags.DEFINE_integer("limit", 60, "Photos to take.", lower_bound=1)
    run_main(main)
