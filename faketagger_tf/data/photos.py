"""Sets of photos: who is in them, which split they belong to, where the face is."""

from __future__ import annotations

import collections
import csv as csv_module
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from concurrent import futures

import numpy as np
from absl import logging

from faketagger_tf.photos.canvas import (
    canvas_square,
    crop_canvas,
    similarity_from_landmarks,
    warp_canvas,
)
from faketagger_tf.photos.codec import list_photos, read_photo

SPLITS = ("train", "validation", "test")
# From this many people on, a split is drawn by person even where identities are named.
MANY_PEOPLE = 20


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo file.

    Attributes:
        path: the image file.
        person: who is shown; a person never crosses a split.
        identity: the face-swap identity that the photo trains ("" for none): a person,
            or a group of people.
        split: "train", "validation" or "test".
        box: the face as (left, top, width, height) in pixels; None where unknown.
        landmarks: the face's five points (x, y) in pixels, in the order of
            `photos.canvas.LANDMARKS`; None where unknown (see `data.landmarks`).
        ita: individual typology angle in degrees, a rough measure of skin tone (dark
            skin is low); None where unknown.
    """

    path: str
    person: str
    identity: str = ""
    split: str = "train"
    box: tuple[float, float, float, float] | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    ita: float | None = None


@dataclasses.dataclass(frozen=True)
class PhotoSet:
    """An immutable sequence of photos."""

    photos: tuple[Photo, ...]

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[Photo]:
        return iter(self.photos)

    def __getitem__(self, index: int) -> Photo:
        return self.photos[index]

    def people(self) -> list[str]:
        """Returns the names of the people, sorted."""
        return sorted({photo.person for photo in self.photos})

    def identities(self) -> list[str]:
        """Returns the names of the identities, sorted, without ""."""
        return sorted({photo.identity for photo in self.photos} - {""})

    def of_split(self, split: str) -> PhotoSet:
        """Returns the photos of one split; "" returns all."""
        if split not in ("", *SPLITS):
            raise ValueError(
                f"split must be empty or one of {', '.join(SPLITS)}. "
                f"Received: {split!r}."
            )
        if not split:
            return self
        return PhotoSet(tuple(p for p in self.photos if p.split == split))

    def spread(self, limit: int) -> PhotoSet:
        """Returns `limit` photos, evenly from first to last; all of them for 0."""
        count = min(limit, len(self)) or len(self)
        return PhotoSet(
            tuple(self.photos[i * len(self) // count] for i in range(count))
        )

    def of_identity(self, identity: str) -> PhotoSet:
        """Returns the photos of one identity."""
        return PhotoSet(tuple(p for p in self.photos if p.identity == identity))


def find_photos(
    data: str | os.PathLike, split: str = "", csv: str | os.PathLike = ""
) -> PhotoSet:
    """Finds the photos of a folder.

    Three layouts are understood:

    - a CSV file with the columns `file` and `person`, and optionally `identity`,
      `split`, `face_x`, `face_y`, `face_w`, `face_h`, `ita`; files are relative to
      the CSV. It is `csv`, or the one .csv file in the folder;
    - sub-folders only: each is one person and one identity of its own;
    - photos in the folder itself: all below it are taken as one mixed set, each file
      a person of its own, with no identity.

    Several folders, joined by commas, are one set of photos.

    Without a split column, 80% / 10% / 10% are drawn by hash: of people; or, where
    fewer than 20 people each have an identity, of files within each person, so that
    every identity is in every split. The draw does not depend on the machine, but
    adding photos may move others.

    Args:
        data: the folder; may be "" where `csv` is given.
        split: "train", "validation" or "test"; "" returns all.
        csv: path of the CSV file.

    Raises:
        ValueError: the folder is missing or holds no photo (of that split), or the CSV
            is missing, lacks columns or has bad values.
    """
    folder = os.fspath(data)
    if "," in folder and not csv and not os.path.exists(folder):
        parts = [find_photos(part, csv="") for part in folder.split(",")]
        photos = PhotoSet(tuple(photo for part in parts for photo in part))
        return photos.of_split(split)
    table = os.fspath(csv)
    if not table:
        if not os.path.isdir(folder):
            raise ValueError(
                f"The folder of photos does not exist. Received: {folder!r}."
            )
        tables = [n for n in sorted(os.listdir(folder)) if n.lower().endswith(".csv")]
        if len(tables) == 1:
            table = os.path.join(folder, tables[0])
    photos = _from_csv(table) if table else _from_folder(folder)
    if not photos:
        raise ValueError(
            "The data must hold at least one JPEG, PNG, WebP or BMP photo. "
            f"Received: {table or folder!r}."
        )
    chosen = PhotoSet(tuple(photos)).of_split(split)
    if not chosen:
        raise ValueError(
            f"The data have no photo in the split {split!r}. "
            f"Received: {len(photos)} photos of other splits in {table or folder!r}."
        )
    return chosen


def group_people(
    photos: PhotoSet,
    groups: int = 2,
    people_per_group: int | None = None,
    seed: int = 0,
) -> PhotoSet:
    """Makes composite identities "A", "B", ...: disjoint random groups of people.

    Args:
        photos: any photos; their identities are replaced.
        groups: how many identities to make, up to 26.
        people_per_group: None shares all people out equally; what is left is dropped.
        seed: of the draw.

    Raises:
        ValueError: there are too few people.
    """
    people = photos.people()
    if not 1 <= groups <= 26:
        raise ValueError(f"groups must be from 1 to 26. Received: {groups!r}.")
    if people_per_group is None:
        people_per_group = len(people) // groups
    if people_per_group < 1 or groups * people_per_group > len(people):
        raise ValueError(
            f"{groups} groups of {people_per_group or 'one'} need more people. "
            f"Received: photos of {len(people)} people."
        )
    order = np.random.default_rng(seed).permutation(len(people))
    names = {
        people[person]: chr(ord("A") + place // people_per_group)
        for place, person in enumerate(order[: groups * people_per_group])
    }
    return PhotoSet(
        tuple(
            dataclasses.replace(photo, identity=names[photo.person])
            for photo in photos
            if photo.person in names
        )
    )


def padded_size(image_size: int, margin: float) -> int:
    """Returns the side of a canvas with `margin`: image_size * (1 + margin)."""
    if not 0 <= margin <= 1:
        raise ValueError(f"margin must be from 0 to 1. Received: {margin!r}.")
    return round(image_size * (1 + margin))


def read_canvas(
    photo: Photo,
    image_size: int,
    canvas_scale: float = 1.9,
    margin: float = 0.0,
    outside: str = "repeat",
) -> np.ndarray:
    """Reads one photo's canvas: [S', S', 3] uint8 with S' = `padded_size`.

    With landmarks it is the canvas that `tagging` cuts, which may be turned and reach
    over the photo's border; otherwise an upright square around the box, or the largest
    one. The margin is taken from around it, of an upright square as far as the photo
    reaches. `outside` is `warp_canvas`'s.
    """
    pixels = read_photo(photo.path)
    height, width = pixels.shape[:2]
    size = padded_size(image_size, margin)
    scale = canvas_scale * size / image_size
    if photo.landmarks:
        matrix = similarity_from_landmarks(np.array(photo.landmarks), size, scale)
        return warp_canvas(pixels, matrix, size, outside)
    try:
        square = canvas_square(width, height, photo.box, scale)
    except ValueError as error:
        raise ValueError(f"The photo {photo.path!r} has a bad box: {error}") from None
    return crop_canvas(pixels, square, size)


def load_canvases(
    photos: PhotoSet,
    image_size: int,
    canvas_scale: float = 1.9,
    margin: float = 0.0,
    outside: str = "repeat",
) -> tuple[np.ndarray, PhotoSet, list[tuple[str, str]]]:
    """Reads the canvases of all photos into memory.

    Args:
        photos: the photos.
        image_size: side S of the canvas in pixels.
        canvas_scale: side of the canvas over that of the face box.
        margin: extra border as a fraction of S, for random crops in training.
        outside: what lies beyond a photo's border, see `photos.warp_canvas`.

    Returns:
        (canvases, kept, skipped): [N, S', S', 3] uint8 with S' = `padded_size`, the
        photos that were read in the same order, and (path, reason) of the bad ones,
        which are also logged.

    Raises:
        ValueError: no photo could be read.
    """
    size = padded_size(image_size, margin)

    def load(photo: Photo) -> np.ndarray | str:
        try:
            return read_canvas(photo, image_size, canvas_scale, margin, outside)
        except ValueError as error:
            return str(error)

    canvases = np.empty([len(photos), size, size, 3], np.uint8)
    kept, skipped = [], []
    with futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for photo, result in zip(photos, pool.map(load, photos), strict=True):
            if isinstance(result, str):
                skipped.append((photo.path, result))
            else:
                canvases[len(kept)] = result
                kept.append(photo)
    if skipped:
        logging.warning(
            "Skipped %d of %d photos. First: %s",
            len(skipped),
            len(photos),
            "; ".join(reason for _, reason in skipped[:5]),
        )
    if not kept:
        raise ValueError(
            f"None of the {len(photos)} photos could be read. First: {skipped[0][1]}"
            if skipped
            else "At least one photo is needed. Received: an empty set."
        )
    return canvases[: len(kept)], PhotoSet(tuple(kept)), skipped


def _from_csv(table: str) -> list[Photo]:
    folder = os.path.dirname(table)
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = list(csv_module.DictReader(file))
    except (OSError, UnicodeDecodeError, csv_module.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"Cannot read the CSV file {table!r}: {reason}.") from None
    if not rows:
        return []
    missing = {"file", "person"} - set(rows[0])
    if missing:
        raise ValueError(
            f"The CSV file {table!r} must have the columns file and person. "
            f"Received: {', '.join(str(name) for name in rows[0])}."
        )
    photos = []
    for line, row in enumerate(rows, 2):
        split = row.get("split") or ""
        if split not in ("", *SPLITS):
            raise ValueError(
                f"Line {line} of {table!r} must name the split "
                f"{', '.join(SPLITS)} or none. Received: {split!r}."
            )
        values = [row.get(f"face_{name}") for name in "xywh"]
        tone = row.get("ita") or None
        try:
            box = tuple(float(v) for v in values) if all(values) else None
            ita = None if tone is None else float(tone)
        except ValueError:
            raise ValueError(
                f"Line {line} of {table!r} must give the face as four numbers and ita "
                f"as one. Received: {values} and {tone!r}."
            ) from None
        if not row["file"] or not row["person"]:
            raise ValueError(
                f"Line {line} of {table!r} must name a file and a person. "
                f"Received: {row['file']!r} and {row['person']!r}."
            )
        path = os.path.join(folder, row["file"])
        identity = row.get("identity") or ""
        photos.append(Photo(path, row["person"], identity, split, box, ita=ita))
    splits = {photo.person: set() for photo in photos}
    for photo in photos:
        splits[photo.person].add(photo.split)
    for person, found in splits.items():
        if len(found) > 1:
            raise ValueError(
                f"A person must be in one split only; {table!r} has {person!r} in "
                f"{', '.join(repr(name) for name in sorted(found))}."
            )
    if not any(photo.split for photo in photos):
        return _draw_splits(photos, folder)
    if not all(photo.split for photo in photos):
        raise ValueError(
            f"The CSV file {table!r} must give a split for every photo or for none."
        )
    return photos


def _from_folder(folder: str) -> list[Photo]:
    paths = list_photos(folder)
    names = [os.path.relpath(path, folder).split(os.sep) for path in paths]
    mixed = any(len(name) == 1 for name in names)
    photos = []
    for path, name in zip(paths, names, strict=True):
        if mixed:
            person, identity = os.path.splitext("/".join(name))[0], ""
        else:
            person = identity = name[0]
        photos.append(Photo(path, person, identity))
    return _draw_splits(photos, folder)


def _draw_splits(photos: list[Photo], folder: str) -> list[Photo]:
    """Draws the split of each photo; see `find_photos`."""
    people = {photo.person for photo in photos}
    few = len(people) < MANY_PEOPLE and all(photo.identity for photo in photos)
    units = collections.defaultdict(set)
    keys = []
    for photo in photos:
        file = os.path.relpath(photo.path, folder or ".").replace(os.sep, "/")
        stratum, unit = (photo.person, file) if few else ("", photo.person)
        units[stratum].add(unit)
        keys.append((stratum, unit))
    split = {}
    for stratum, members in units.items():
        order = sorted(members, key=lambda m: hashlib.sha256(m.encode()).digest())
        # One unit in ten, and at least one from three units on.
        tenth = max(round(len(order) / 10), int(len(order) >= 3))
        for place, unit in enumerate(order):
            name = ("test", "validation", "train")[
                min(place // tenth, 2) if tenth else 2
            ]
            split[stratum, unit] = name
    return [
        dataclasses.replace(photo, split=split[key])
        for photo, key in zip(photos, keys, strict=True)
    ]
