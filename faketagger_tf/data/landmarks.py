"""Where the faces of a set of photos are, found once and kept in a file.

Training and evaluation cut the canvases that the product cuts: fixed to the landmarks
that the detector finds. Finding them takes longer than reading the photo, so they are
kept beside the photos, or in the user's cache folder where the photos' is read-only.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import stat
from concurrent import futures

import numpy as np
from absl import logging
from tqdm import tqdm

from faketagger_tf.data.photos import Photo, PhotoSet
from faketagger_tf.files import write_atomic
from faketagger_tf.photos.codec import read_photo
from faketagger_tf.photos.faces import Face, detect_faces

CACHE = ".landmarks.json"
VERSION = 2  # Of the detector's results; raise it when they change.
OVERLAP = 0.2  # Least intersection over union of a listed box and a found one.


def find_landmarks(photos: PhotoSet, detect=detect_faces) -> PhotoSet:
    """Gives photos the landmarks of their face, from the cache or the detector.

    The face is the one that overlaps the photo's box most, or the largest if it has no
    box. A photo without such a face, or that cannot be read, stays as it is.

    Args:
        photos: the photos.
        detect: photo uint8 `[H, W, 3]` -> faces, largest first.

    Returns:
        The same photos in the same order, with `landmarks` where a face was found.
    """
    folders = collections.defaultdict(list)
    for photo in photos:
        folders[os.path.dirname(os.path.abspath(photo.path))].append(photo)
    faces: dict[str, list[Face]] = {}
    for folder, members in folders.items():
        faces |= _find_in_folder(pathlib.Path(folder), members, detect)
    return PhotoSet(
        tuple(
            dataclasses.replace(p, landmarks=_choose(faces.get(p.path, []), p.box))
            for p in photos
        )
    )


def cache_path(folder: pathlib.Path) -> pathlib.Path:
    """Returns the file that keeps the faces of the photos in a folder."""
    # The owner's bit rather than what is possible: root may write to anything.
    if folder.stat().st_mode & stat.S_IWUSR and os.access(folder, os.W_OK):
        return folder / CACHE
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return pathlib.Path(home) / "faketagger" / f"landmarks-{name}.json"


def _find_in_folder(
    folder: pathlib.Path, photos: list[Photo], detect
) -> dict[str, list[Face]]:
    """Path -> faces, for the photos of one folder that can be read."""
    if not folder.is_dir():
        return {}
    cache = cache_path(folder)
    entries = _read_cache(cache)
    stamps, missing = {}, []
    for photo in photos:
        try:
            state = os.stat(photo.path)
        except OSError:
            continue
        stamps[photo.path] = [state.st_size, state.st_mtime_ns]
        entry = entries.get(os.path.basename(photo.path), {})
        if entry.get("stamp") != stamps[photo.path]:
            missing.append(photo.path)

    def find(path: str) -> list[dict] | None:
        try:
            faces = detect(read_photo(path))
        except ValueError:  # Named when its canvas is read.
            return None
        return [
            {
                "box": [round(float(x), 2) for x in face.box],
                "landmarks": np.round(face.landmarks, 3).tolist(),
                "confidence": round(float(face.confidence), 4),
            }
            for face in faces
        ]

    if missing:
        with futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            results = tqdm(
                pool.map(find, missing),
                "finding faces",
                len(missing),
                unit="photo",
                disable=None,  # Unless standard error is a terminal.
            )
            for path, found in zip(missing, results, strict=True):
                if found is not None:
                    name = os.path.basename(path)
                    entries[name] = {"stamp": stamps[path], "faces": found}
        try:
            content = {"version": VERSION, "photos": entries}
            write_atomic(cache, json.dumps(content) + "\n")
        except ValueError as error:
            logging.warning("Faces will be searched anew next time: %s", error)
    return {
        path: [
            Face(tuple(f["box"]), np.array(f["landmarks"]), f["confidence"])
            for f in entries[os.path.basename(path)]["faces"]
        ]
        for path in stamps
        if os.path.basename(path) in entries
    }


def _read_cache(path: pathlib.Path) -> dict[str, dict]:
    try:
        content = json.loads(path.read_text())
        return content["photos"] if content["version"] == VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # None yet, or not ours: it is written anew.


def _choose(faces: list[Face], box) -> tuple[tuple[float, float], ...] | None:
    """The landmarks of the face that a box means; of the first without a box."""
    if box is not None:
        faces = sorted(faces, key=lambda face: -_overlap(face.box, box))[:1]
        faces = [face for face in faces if _overlap(face.box, box) >= OVERLAP]
    return tuple(map(tuple, faces[0].landmarks.tolist())) if faces else None


def _overlap(first, second) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    first, second = np.array(first, float), np.array(second, float)
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    common = np.prod(np.maximum(high - low, 0))
    return float(common / (np.prod(first[2:]) + np.prod(second[2:]) - common))
