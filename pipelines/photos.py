"""What both pipelines do: find the photos, share them out by faces, keep the books."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import cv2
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from faketagger_tf.batch import HUGE, Gate, reason
from faketagger_tf.names import folded, printable
from faketagger_tf.photos.faces import DETECTION_SIZE, detect_faces
from faketagger_tf.photos.photo_file import count_pixels
from faketagger_tf.registry import RegistryError
from pipelines import storage

NAMESPACE = "faketagger"  # Of the counters.
FAILED = "failed"  # The dead letters' output.
# Faces that are handed out at once: about a quarter of a minute of tagging on one core,
# so that a worker that is lost takes little with it, and asks seldom for more.
FACES = 32
PIXELS = 4_000_000  # That take about as long as a face.

# A photo as the pipelines pass it on: its path, and the path of its output or "".
Item = tuple[str, str]


def count(name: str, amount: int = 1) -> None:
    """Adds to a counter of the job."""
    Metrics.counter(NAMESPACE, name).inc(amount)


def dead_letter(path: str, error: str) -> beam.pvalue.TaggedOutput:
    """What is said of a file that nothing can be done with: JSON, one sentence."""
    count(FAILED)
    text = json.dumps({"file": path, "error": error})
    return beam.pvalue.TaggedOutput(FAILED, text)


class ListPhotos(beam.DoFn):
    """A folder or glob -> (what outputs may not share, (path, output)).

    Args:
        extensions: of the files that are photos.
        output: path of a photo, below the root of the input, -> path of its output.
    """

    def __init__(self, extensions: tuple[str, ...], output: Callable[[str], str]):
        self._extensions, self._output = extensions, output

    def process(self, pattern: str):
        root = storage.root_of(pattern)
        for path in storage.list_files(pattern, self._extensions):
            count("found")
            try:
                path.encode()
            except UnicodeEncodeError:
                # No record, table or object store can hold it.
                error = "The file's name is not UTF-8. Accepted: after renaming it."
                yield dead_letter(printable(path), error)
                continue
            output = self._output(path[len(root) :].lstrip("/"))
            yield folded(output) if output else path, (path, output)


class RefuseCollisions(beam.DoFn):
    """(folded, items) -> the first item; the others would be written over it."""

    def process(self, group: tuple[str, Iterable[Item]]):
        _, items = group
        first, *others = sorted(items)
        yield first
        for path, output in others:
            yield dead_letter(
                path,
                f"The output {output!r} is on some disks the same file as that of "
                f"{first[0]!r}. Accepted: after renaming one.",
            )


class LookAtPhotos(beam.DoFn):
    """(path, output) -> (digest of the file, (path, output, faces))."""

    def process(self, item: Item):
        path, output = item
        try:
            data = storage.read(path)
        except Exception as error:
            yield dead_letter(path, reason(error))
            return
        count("bytes_read", len(data))
        digest = hashlib.sha256(data).hexdigest()
        yield digest, (path, output, count_faces(data))


def count_faces(data: bytes) -> int:
    """About how many faces a photo has, at least 1: what it costs to tag or trace.

    Quick, from a small copy; 1 for what OpenCV cannot decode, which the work itself
    says more about. A huge photo is not decoded for it, and weighs by its pixels.

    Example:
        >>> count_faces(b"no photo")
        1
    """
    pixels = count_pixels(data)
    if pixels > HUGE:
        return min(pixels // PIXELS, FACES)
    # A JPEG is decoded at a quarter of its size in a fraction of the time.
    for flag in (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_COLOR):
        try:
            photo = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        except cv2.error:
            return 1
        if photo is None:
            return 1
        if max(photo.shape[:2]) >= DETECTION_SIZE:
            break
    return max(1, len(detect_faces(np.ascontiguousarray(photo[..., ::-1]))))


class FindPhotos(beam.PTransform):
    """A folder or glob -> bundles of work, and dead letters.

    A bundle is a list of groups, a group the (path, output) of files with the same
    content, so that no two workers have the same photo. Each bundle holds about as many
    faces as the others, because a face is what takes time: a group photo weighs as much
    as an album of portraits.

    Args:
        extensions, output: as for `ListPhotos`.
        faces: in a bundle.
    """

    def __init__(
        self,
        extensions: tuple[str, ...],
        output: Callable[[str], str],
        faces: int = FACES,
    ):
        super().__init__()
        self._list = ListPhotos(extensions, output)
        self._faces = faces

    def expand(self, pattern):
        listed = pattern | "List" >> _with_dead_letters(self._list)
        chosen = (
            listed.main
            | "GroupOutputs" >> beam.GroupByKey()
            | "RefuseCollisions" >> _with_dead_letters(RefuseCollisions())
        )
        looked = chosen.main | "Look" >> _with_dead_letters(LookAtPhotos())
        bundles = (
            looked.main
            | "GroupCopies" >> beam.GroupByKey()
            | "Sort" >> beam.MapTuple(lambda _, group: sorted(group))
            | "Bundle"
            >> beam.BatchElements(
                self._faces, self._faces, element_size_fn=lambda group: group[0][2]
            )
            | "Share" >> beam.Reshuffle()
        )
        failed = [part[FAILED] for part in (listed, chosen, looked)]
        return bundles, failed


def _with_dead_letters(function: beam.DoFn):
    return beam.ParDo(function).with_outputs(FAILED, main="main")


class WorkOnPhotos(beam.DoFn):
    """Bundles -> rows as JSON, and dead letters; what both pipelines inherit.

    `load` is called once a process, however many threads it has; `work` for each group
    of files with the same content. A file that provokes an error is a dead letter. A
    registry that cannot be used fails the bundle, which the runner begins anew.
    """

    def __init__(self):
        self._shared = Shared()

    def load(self):
        """Returns what a process needs, its networks above all."""
        raise NotImplementedError

    def work(self, loaded, data: bytes, path: str, output: str) -> Iterator[dict]:
        """Yields the rows of one photo."""
        raise NotImplementedError

    def setup(self):
        def load():
            return _Loaded(self.load())

        self._loaded = self._shared.acquire(load)

    def process(self, bundle: list[list[tuple[str, str, int]]]):
        for group in bundle:
            for path, output, _ in group:
                yield from self._one(path, output)

    def _one(self, path: str, output: str):
        start = time.monotonic()
        try:
            data = storage.read(path)
            with self._loaded.gate(data):
                rows = list(self.work(self._loaded.content, data, path, output))
        except RegistryError:
            raise
        except Exception as error:
            yield dead_letter(path, reason(error))
            return
        spent = round(1000 * (time.monotonic() - start))
        Metrics.distribution(NAMESPACE, "milliseconds").update(spent)
        for row in rows:
            yield json.dumps(row)


class _Loaded:
    """What `Shared` keeps: an object of its own, to which it can refer weakly."""

    def __init__(self, content):
        self.content, self.gate = content, Gate()


def write_report(rows, failed, folder: str) -> None:
    """Writes rows.jsonl and failed.jsonl into a folder, each whole."""
    for name, lines in (
        ("rows", rows),
        ("failed", tuple(failed) | "AllFailed" >> beam.Flatten()),
    ):
        lines | f"Write_{name}" >> beam.io.WriteToText(
            f"{folder.rstrip('/')}/{name}.jsonl", shard_name_template="", num_shards=1
        )


def same_folder_or_inside(path: str, root: str) -> bool:
    """Whether a path is a folder or lies in it."""
    if storage.is_local(path) and storage.is_local(root):
        path, root = os.path.realpath(path), os.path.realpath(root)
    return f"{path.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")
