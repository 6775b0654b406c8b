"""The command `faketagger`.

    faketagger tag IN OUT [--payload=HEX | --random-payload]
    faketagger trace FILES-OR-FOLDERS...
    faketagger verify ORIGINAL SUSPECT [--output=PICTURE]
    faketagger deepfake IN OUT --model=NAME-OR-FOLDER

`faketagger SUBCOMMAND --help` lists a subcommand's flags; `--flagfile=FILE` reads flags
from a file. Exit codes: 0 done (trace, verify: a tag was found), 1 trace and verify
found no tag, 2 an error, or at least one file of a batch failed.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

from absl import flags, logging

from faketagger_tf.command import quiet_tensorflow

HUGE = 30_000_000  # Pixels from which photos of a batch are handled one at a time.
# Pictures that a folder may hold and that are passed over, with a word about it.
OTHER_FORMATS = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".dng")
STRONGER = (2.5, 5.0)  # dB added where a tag does not read back.
TAG_COLUMNS = (
    "file",
    "output",
    "payload",
    "psnr",
    "ssim",
    "faces",
    "width",
    "height",
    "error",
)
TRACE_COLUMNS = (
    "file",
    "found",
    "payload",
    "p_value",
    "bit_error_estimate",
    "corrected_bits",
    "box",
    "error",
)


class _Progress:
    """One line on a terminal's standard error; silent elsewhere."""

    def __init__(self, total: int):
        self._total, self._done, self._start = total, 0, time.monotonic()
        self._shown = total > 1 and sys.stderr.isatty()

    def step(self) -> None:
        self._done += 1
        if self._shown:
            rate = self._done / max(time.monotonic() - self._start, 1e-3)
            filled = 24 * self._done // self._total
            bar = "#" * filled + "." * (24 - filled)
            end = "\n" if self._done == self._total else ""
            print(
                f"\r[{bar}] {self._done}/{self._total}  {rate * 60:.0f} a minute",
                end=end,
                file=sys.stderr,
                flush=True,
            )

    def clear(self) -> None:
        """Makes room for a line of output."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class _Report:
    """Writes rows as they come: text or JSON lines on standard output, and a CSV."""

    def __init__(
        self,
        values,
        columns: tuple[str, ...],
        text: Callable[[dict], str],
        append: bool = False,
    ):
        self._json, self._text = values.json, text
        self._lock = threading.Lock()
        self._file = self._csv = None
        if values.csv:
            header = ",".join(columns)
            try:
                resumed = append and _begins_with(values.csv, header)
                self._file = open(  # noqa: SIM115
                    values.csv, "a" if resumed else "w", newline="", encoding="utf-8"
                )
            except OSError as error:
                raise ValueError(
                    f"Cannot write the table {values.csv!r}: {error.strerror}."
                ) from None
            self._csv = csv.DictWriter(self._file, columns, extrasaction="ignore")
            if not resumed:
                self._csv.writeheader()

    def record(self, row: dict) -> None:
        """Writes a row to the table."""
        with self._lock:
            if self._csv:
                self._csv.writerow(row)
                self._file.flush()

    def show(self, row: dict) -> None:
        """Prints a row."""
        print(json.dumps(row) if self._json else self._text(row), flush=True)

    def close(self) -> None:
        if self._file:
            self._file.close()


def _begins_with(path: str, header: str) -> bool:
    """Whether a table exists; refuses a file that is no table of ours."""
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return False
    with open(path, "rb") as file:
        line = file.readline(1000).decode("utf-8", "replace").strip()
    if line != header:
        raise ValueError(
            f"The file {path!r} is no table of this command. Received: a first line "
            f"{line[:60]!r}. Accepted: a new file, or one that begins with {header!r}."
        )
    return True


def _common_flags(values) -> None:
    flags.DEFINE_boolean("help", False, "Print this help.", flag_values=values)


def _tagger_flags(values) -> None:
    flags.DEFINE_string(
        "tagger",
        "portrait128",
        "Name of a preset, or a folder with a tagger.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "key_file",
        None,
        "File with the secret of keyed tags; see faketagger_tf/keys.py.",
        flag_values=values,
    )


def _batch_flags(values) -> None:
    flags.DEFINE_boolean(
        "json", False, "Print one JSON object per line.", flag_values=values
    )
    flags.DEFINE_string(
        "csv",
        None,
        "Also write a table. `tag` adds to one that exists; the last row of an output "
        "counts, and a row with an error means that nothing was written.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "jobs",
        os.cpu_count() or 1,
        "Photos that are handled at once.",
        lower_bound=1,
        flag_values=values,
    )


def _quality_flag(values) -> None:
    flags.DEFINE_integer(
        "quality",
        95,
        "Quality of JPEG files, 1 to 100.",
        lower_bound=1,
        upper_bound=100,
        flag_values=values,
    )


def _overwrite_flag(values) -> None:
    flags.DEFINE_boolean(
        "overwrite", False, "Replace existing files.", flag_values=values
    )


def _fpr_flag(values) -> None:
    flags.DEFINE_float(
        "fpr",
        1e-6,
        "Largest p-value of a tag that counts as found, per face.",
        flag_values=values,
    )


def _load_tagger(values):
    from faketagger_tf.messages.keys import read_key
    from faketagger_tf.tagging.tagger import Tagger

    key = None if values.key_file is None else read_key(values.key_file)
    return Tagger.load(values.tagger, key)


def _list_files(folder: str) -> list[str]:
    """Photos below a folder by extension, sorted; links to folders are not followed."""
    from faketagger_tf.photos import EXTENSIONS

    found, others = [], 0
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [name for name in files if not name.startswith(".")]
        found += [
            os.path.join(parent, name)
            for name in visible
            if name.lower().endswith(EXTENSIONS)
        ]
        others += sum(name.lower().endswith(OTHER_FORMATS) for name in visible)
    if others:
        print(
            f"{others} pictures in {folder!r} have formats that are not read "
            f"({', '.join(OTHER_FORMATS)}).",
            file=sys.stderr,
        )
    return sorted(found)


def _run_parallel(
    function: Callable, items: Iterable, jobs: int, ahead: int = 4
) -> Iterator:
    """Yields `function(item)` in order, at most `ahead` items per job in flight."""
    items = iter(items)
    with futures.ThreadPoolExecutor(jobs) as pool:
        queue: collections.deque = collections.deque()
        try:
            while True:
                while len(queue) < jobs * ahead:
                    try:
                        queue.append(pool.submit(function, next(items)))
                    except StopIteration:
                        break
                if not queue:
                    return
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()


class _Gate:
    """Lets huge photos through one at a time, so that memory stays bounded."""

    def __init__(self):
        self._lock = threading.Lock()

    def __call__(self, path: str):
        from faketagger_tf.photos.photo_file import count_pixels

        huge = count_pixels(path) > HUGE
        return self._lock if huge else contextlib.nullcontext()


def _reason(error: BaseException) -> str:
    """One sentence about an error."""
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for the photo."
    # A batch goes on past whatever a damaged file provokes.
    logging.debug("%r", error)
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no details'}"


# --- tag -----------------------------------------------------------------------------


def _tag_flags(values) -> None:
    _tagger_flags(values)
    _batch_flags(values)
    _quality_flag(values)
    _overwrite_flag(values)
    flags.DEFINE_string(
        "payload", None, "The payload in hexadecimal.", flag_values=values
    )
    flags.DEFINE_boolean(
        "random_payload",
        False,
        "Draw a payload for each file; the default without --payload.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "psnr",
        None,
        "Strength of the tag in dB; by default the tagger's own.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "refine",
        0,
        "Steps by which each tag is refined for its photo, 40 for instance: it "
        "survives more at the same strength, and takes about a second a face.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "check",
        True,
        "Read every tag back before its file is written. One that does not read is "
        "refined, then made stronger by up to 5 dB unless --psnr is given, then moved "
        "to the photo's centred square. --nocheck is nearly twice as fast.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "extension",
        None,
        "Format of the outputs of a folder, such as .png; by default each photo's own.",
        flag_values=values,
    )


def _check_extension(what: str, path: str) -> None:
    from faketagger_tf.photos import EXTENSIONS

    if not path.lower().endswith(EXTENSIONS):
        raise ValueError(
            f"{what} must end in one of {', '.join(EXTENSIONS)}. Received: {path!r}."
        )


def _make_folder(path: str) -> None:
    """Makes the folder that a file is to lie in."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Cannot make the folder {folder!r}: {error.strerror}."
        ) from None


def _tag_plan(source: str, target: str, values) -> list[tuple[str, str]]:
    """(input, output) of every file of a run."""
    from faketagger_tf.photos import EXTENSIONS

    if not os.path.isdir(source):
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(source))
        if values.extension:
            raise ValueError(
                "--extension is for folders; name OUT's own extension instead. "
                f"Received: {values.extension!r} and OUT {target!r}."
            )
        _check_extension("OUT", target)
        return [(source, target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise ValueError(f"OUT must be a folder if IN is one. Received: {target!r}.")
    inside, outside = os.path.realpath(target), os.path.realpath(source)
    if os.path.commonpath([inside, outside]) == outside:
        raise ValueError(
            f"OUT must lie outside of the folder IN. Received: {target!r} in "
            f"{source!r}."
        )
    extension = values.extension
    if extension and extension.lower() not in EXTENSIONS:
        raise ValueError(
            f"--extension must be one of {', '.join(EXTENSIONS)}. "
            f"Received: {extension!r}."
        )
    plan, taken = [], {}
    for path in _list_files(source):
        output = os.path.join(target, os.path.relpath(path, source))
        if extension:
            output = os.path.splitext(output)[0] + extension
        if output in taken:
            raise ValueError(
                f"Two photos would be written to {output!r}: {taken[output]!r} and "
                f"{path!r}."
            )
        taken[output] = path
        plan.append((path, output))
    if not plan:
        raise ValueError(
            f"The folder must hold at least one photo ({', '.join(EXTENSIONS)}). "
            f"Received: {source!r}."
        )
    return plan


def measure(first, second, rows: int = 512) -> tuple[float, float]:
    """PSNR in dB and SSIM of two photos uint8 [H, W, 3], in strips of rows.

    Where the photos are equal both are known, so that only the rectangle around their
    differences is looked at.
    """
    import numpy as np

    from faketagger_tf import metrics

    height, width = first.shape[:2]
    squares, ssim, counted = 0.0, 0.0, 0
    border = 10  # Of a valid 11 x 11 window.
    windows = (height - border) * (width - border)
    changed_columns = np.zeros(width, bool)
    changed_rows = np.zeros(height, bool)
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        change = (first[part] != second[part]).any(2)
        changed_rows[part] = change.any(1)
        changed_columns |= change.any(0)
        difference = first[part].astype(np.int16) - second[part]
        squares += float(np.square(difference, dtype=np.int32).sum(dtype=np.float64))
    if not changed_rows.any():
        return math.inf, 1.0
    top, bottom = np.flatnonzero(changed_rows)[[0, -1]]
    left, right = np.flatnonzero(changed_columns)[[0, -1]]
    # One window further than a change reaches; beyond that SSIM is 1.
    left, right = max(left - border, 0), min(right + border + 1, width)
    top, bottom = max(top - border, 0), min(bottom + border + 1, height)
    for start in range(top, bottom - border, rows):
        part = slice(start, min(start + rows + border, bottom)), slice(left, right)
        count = (part[0].stop - start - border) * (right - left - border)
        ssim += float(metrics.ssim(first[part][None], second[part][None])[0]) * count
        counted += count
    psnr = 10 * math.log10(255**2 * first.size / squares)
    return psnr, (ssim + windows - counted) / windows


def _tag(positional: list[str], values) -> int:
    if len(positional) != 2:
        raise ValueError(
            "tag needs IN and OUT, two files or two folders. "
            f"Received: {len(positional)} arguments."
        )
    if values.payload is not None and values.random_payload:
        raise ValueError("--payload and --random-payload exclude each other.")
    source, target = positional
    if not os.path.lexists(source):
        raise ValueError(f"IN does not exist. Received: {source!r}.")
    plan = _tag_plan(source, target, values)
    single = len(plan) == 1 and not os.path.isdir(source)
    if single and os.path.lexists(plan[0][1]) and not values.overwrite:
        raise ValueError(
            f"The output {plan[0][1]!r} exists; --overwrite would replace it."
        )

    from faketagger_tf.messages import format_payload, parse_payload
    from faketagger_tf.photos.photo_file import read_photo_file, write_photo_file

    if values.csv:
        table = os.path.realpath(values.csv)
        for path in (path for pair in plan for path in pair):
            if os.path.realpath(path) == table:
                raise ValueError(
                    "--csv must be another file than the photos. "
                    f"Received: {values.csv!r}."
                )
    tagger = _load_tagger(values)
    tagger.check_strength(values.psnr)
    bits = tagger.config.payload_bits
    fixed = None if values.payload is None else parse_payload(values.payload, bits)
    waiting = [
        (path, output)
        for path, output in plan
        if values.overwrite or not os.path.lexists(output)
    ]
    gate = _Gate()

    def text(row: dict) -> str:
        if row["error"]:
            return f"{row['file']}: {row['error']}"
        return (
            f"{row['output']}  payload {row['payload']}  PSNR {row['psnr']:.2f} dB  "
            f"SSIM {row['ssim']:.4f}  {row['faces']} face(s)"
        )

    report = _Report(values, TAG_COLUMNS, text, append=True)

    def tag_file(item: tuple[str, str]) -> dict:
        path, output = item
        row = dict.fromkeys(TAG_COLUMNS) | {"file": path, "output": output, "error": ""}
        try:
            with gate(path):
                photo = read_photo_file(path)
                payload = tagger.random_payload() if fixed is None else fixed
                canvases = tagger.find_canvases(photo.pixels)
                if values.check:
                    canvases, tagged = _tag_and_check(
                        tagger,
                        photo.pixels,
                        payload,
                        values.psnr,
                        canvases,
                        values.refine,
                    )
                else:
                    tagged = tagger.embed(
                        photo.pixels, payload, values.psnr, canvases, values.refine
                    )
                psnr, ssim = measure(photo.pixels, tagged)
                if psnr == math.inf:
                    raise ValueError(
                        "So weak a tag leaves no trace in 8 bits. Received: a --psnr "
                        f"of {values.psnr}."
                    )
                row |= {
                    "payload": format_payload(payload, bits),
                    "psnr": round(psnr, 3),
                    "ssim": round(ssim, 6),
                    "faces": sum(canvas.face is not None for canvas in canvases),
                    "width": tagged.shape[1],
                    "height": tagged.shape[0],
                }
                # Recorded first: a tagged file must not exist without its payload.
                report.record(row)
                tagged_file = dataclasses.replace(photo, pixels=tagged)
                write_photo_file(output, tagged_file, values.quality)
        except Exception as error:
            row = dict.fromkeys(TAG_COLUMNS) | {
                "file": path,
                "output": output,
                "error": _reason(error),
            }
            report.record(row)
        return row

    failed = []
    progress = _Progress(len(waiting))
    for row in _run_parallel(tag_file, waiting, values.jobs):
        if row["error"]:
            failed.append(row)
        progress.clear()
        if not row["error"] or values.json:
            report.show(row)
        progress.step()
    report.close()
    return _finish(len(waiting), failed, len(plan) - len(waiting), single)


def _reads(tagger, tagged, payload: int) -> bool:
    return any(reading.payload == payload for reading in tagger.read(tagged))


def _tag_and_check(
    tagger, photo, payload: int, psnr: float | None, canvases, refine: int
):
    """Tags a photo until the tag reads back: refined, stronger, on the centred square.

    A strength that the user has set is kept. The square helps where a face is found
    before tagging but not after it.
    """
    from faketagger_tf.presets import has_tensorflow
    from faketagger_tf.tagging.refine import STEPS

    own = tagger.check_strength(psnr)
    free = psnr is None and tagger.config.strength == "scheduled"
    # Refining needs TensorFlow; without it a stronger tag has to do.
    patient = max(refine, STEPS) if has_tensorflow() else refine
    tries = [(psnr, refine)]
    if refine < patient:
        tries.append((psnr, patient))
    if free:
        tries += [(own - step, patient) for step in STRONGER]
    for places in (canvases, [tagger.centred_canvas(photo)]):
        for strength, steps in tries:
            tagged = tagger.embed(photo, payload, strength, places, steps)
            if _reads(tagger, tagged, payload):
                return places, tagged
    raise ValueError(
        "The photo cannot be tagged such that the tag reads back. Received: "
        f"{photo.shape[1]}x{photo.shape[0]} pixels, a strength of "
        f"{tries[-1][0] or own} dB. Accepted: a lower --psnr makes the tag stronger."
    )


def _finish(count: int, failed: list[dict], skipped: int, single: bool) -> int:
    """Names what failed on standard error; returns the exit code."""
    if skipped:
        print(f"{skipped} files were there already.", file=sys.stderr)
    for row in failed:
        name = "" if single else f"{row['file']}: "
        print(f"Error: {name}{row['error']}", file=sys.stderr)
    if failed and not single:
        print(f"{len(failed)} of {count} files failed.", file=sys.stderr)
    return 2 if failed else 0


# --- trace ---------------------------------------------------------------------------


def _trace_flags(values) -> None:
    _tagger_flags(values)
    _batch_flags(values)
    _overwrite_flag(values)
    _fpr_flag(values)
    flags.DEFINE_boolean(
        "all", False, "Also list faces without a tag.", flag_values=values
    )
    flags.DEFINE_string(
        "annotate",
        None,
        "Picture of the photo with its readings; a folder for several photos.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "canvas",
        None,
        "Write the canvas of one photo's best reading, as faketagger_tf.lite reads it.",
        flag_values=values,
    )


def reading_fields(reading, payload_bits: int) -> dict:
    """A reading as a row of a report; the payload only if it was found."""
    from faketagger_tf.messages import format_payload

    return {
        "found": reading.found,
        "payload": (
            format_payload(reading.payload, payload_bits) if reading.found else None
        ),
        "p_value": reading.p_value,
        "bit_error_estimate": reading.bit_error_estimate,
        "corrected_bits": reading.corrected_bits,
        "box": [round(value, 1) for value in reading.box],
    }


def _trace_text(row: dict) -> str:
    if row["error"] and not row["found"]:
        return f"{row['file']}: {row['error']}"
    if not row["found"]:
        return f"{row['file']}  no tag  p {row['p_value']:.2g}"
    return (
        f"{row['file']}  payload {row['payload']}  p {row['p_value']:.2g}  "
        f"{row['corrected_bits']} bits corrected"
    )


def annotate(photo, readings, payload_bits: int):
    """Draws boxes and readings on a copy of a photo, uint8 [H, W, 3]."""
    import cv2
    import numpy as np

    from faketagger_tf.messages import format_payload

    picture = photo.copy()
    longer = max(photo.shape[:2])
    width = max(1, round(longer / 400))
    size = max(0.35, longer / 1200)
    for reading in readings:
        colour = (30, 200, 60) if reading.found else (150, 150, 150)
        corners = np.rint(reading.corners).astype(np.int32)
        cv2.polylines(picture, [corners], True, colour, width, cv2.LINE_AA)
        label = "no tag"
        if reading.found:
            label = f"{format_payload(reading.payload, payload_bits)}"
        label += f"  p {reading.p_value:.0e}"
        (across, up), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, size, width)
        left = int(np.clip(corners[:, 0].min(), 0, max(photo.shape[1] - across, 0)))
        base = int(np.clip(corners[:, 1].min() + up * 2, up * 2, photo.shape[0] - 1))
        cv2.rectangle(
            picture, (left, base - up * 2), (left + across, base), (0, 0, 0), -1
        )
        cv2.putText(
            picture,
            label,
            (left, base - up // 2),
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            colour,
            width,
            cv2.LINE_AA,
        )
    return picture


def _trace(positional: list[str], values) -> int:
    if not positional:
        raise ValueError("trace needs at least one file or folder. Received: none.")
    if not 0 < values.fpr < 1:
        raise ValueError(f"--fpr must lie between 0 and 1. Received: {values.fpr}.")
    paths = []
    for name in positional:
        paths += _list_files(name) if os.path.isdir(name) else [name]
    if not paths:
        raise ValueError(
            f"The folders hold no photo. Received: {', '.join(positional)}."
        )

    from faketagger_tf.photos import write_image
    from faketagger_tf.photos.photo_file import read_photo_file

    single = len(paths) == 1
    pictures: dict[str, str] = {}
    if values.canvas and not single:
        raise ValueError(
            f"--canvas is for a single photo. Received: {len(paths)} photos."
        )
    if values.annotate:
        pictures = {paths[0]: values.annotate}
        if not single:
            if os.path.isfile(values.annotate):
                raise ValueError(
                    "--annotate must be a folder for several photos. "
                    f"Received: the file {values.annotate!r}."
                )
            root = os.path.commonpath(
                [os.path.dirname(os.path.abspath(p)) for p in paths]
            )
            for path in paths:
                inside = os.path.relpath(os.path.abspath(path), root)
                pictures[path] = os.path.join(values.annotate, f"{inside}.png")
    wanted = [*pictures.values(), *([values.canvas] if values.canvas else [])]
    for path in wanted:
        _check_extension("A picture", path)
    for path in [*wanted, *([values.csv] if values.csv else [])]:
        if os.path.realpath(path) in map(os.path.realpath, paths):
            raise ValueError(f"The output {path!r} is one of the photos.")
        if os.path.lexists(path) and not values.overwrite:
            raise ValueError(
                f"The output {path!r} exists; --overwrite would replace it."
            )
    for path in wanted:
        _make_folder(path)
    tagger = _load_tagger(values)
    bits = tagger.config.payload_bits
    gate = _Gate()
    report = _Report(values, TRACE_COLUMNS, _trace_text)

    def trace_file(path: str) -> list[dict]:
        try:
            with gate(path):
                photo = read_photo_file(path).pixels
                readings = tagger.examine(photo, values.fpr)
        except Exception as error:
            empty = dict.fromkeys(TRACE_COLUMNS)
            return [empty | {"file": path, "found": False, "error": _reason(error)}]
        shown = [r for r in readings if r.found or values.all]
        # A photo without a tag has one row: that of its most suspicious face.
        best = min(readings, key=lambda r: r.p_value)
        rows = [
            {"file": path, **reading_fields(r, bits), "error": ""}
            for r in shown or [best]
        ]
        try:
            if path in pictures:
                write_image(pictures[path], annotate(photo, readings, bits))
            if values.canvas:
                write_image(values.canvas, tagger.canvas_image(photo, best.canvas))
        except Exception as error:
            rows[-1]["error"] = _reason(error)
        return rows

    failed, found = [], False
    progress = _Progress(len(paths))
    for rows in _run_parallel(trace_file, paths, values.jobs):
        progress.clear()
        for row in rows:
            report.record(row)
            found |= row["found"]
            if row["error"]:
                failed.append(row)
            if row["found"] or not row["error"] or values.json:
                report.show(row)
        progress.step()
    report.close()
    return _finish(len(paths), failed, 0, single) or (0 if found else 1)


# --- verify --------------------------------------------------------------------------


def _verify_flags(values) -> None:
    _tagger_flags(values)
    _overwrite_flag(values)
    _fpr_flag(values)
    flags.DEFINE_boolean("json", False, "Print a JSON object.", flag_values=values)
    flags.DEFINE_string(
        "output",
        None,
        "Picture with the original, the suspect and the heat map of each face.",
        flag_values=values,
    )


def _verify(positional: list[str], values) -> int:
    if len(positional) != 2:
        raise ValueError(
            "verify needs ORIGINAL, the tagged photo, and SUSPECT. "
            f"Received: {len(positional)} arguments."
        )
    if values.output and os.path.exists(values.output) and not values.overwrite:
        raise ValueError(
            f"The output {values.output!r} exists; --overwrite would replace it."
        )

    if values.output:
        _check_extension("--output", values.output)
        _make_folder(values.output)

    from faketagger_tf.messages import format_payload
    from faketagger_tf.photos import write_image
    from faketagger_tf.photos.photo_file import read_photo_file
    from faketagger_tf.tagging.compare import draw_comparisons, verify

    original, suspect = (read_photo_file(path).pixels for path in positional)
    tagger = _load_tagger(values)
    faces = verify(tagger, original, suspect, values.fpr)
    if values.output:
        write_image(values.output, draw_comparisons(faces))
    intact = all(face.intact for face in faces)
    rows = [
        {
            "payload": format_payload(
                face.original.payload, tagger.config.payload_bits
            ),
            "intact": face.intact,
            "p_value": face.suspect.p_value if face.suspect else None,
            "changed_face": face.changed_face,
            "changed_around": face.changed_around,
            "box": [round(value, 1) for value in face.original.box],
        }
        for face in faces
    ]
    if values.json:
        print(json.dumps({"intact": intact, "faces": rows}))
    else:
        for row in rows:
            state = "still there" if row["intact"] else "gone"
            print(
                f"payload {row['payload']}  {state}  changed: "
                f"{row['changed_face']:.0%} of the face, "
                f"{row['changed_around']:.0%} around it"
            )
    return 0 if intact else 1


# --- deepfake ------------------------------------------------------------------------


def _deepfake_flags(values) -> None:
    _quality_flag(values)
    _overwrite_flag(values)
    flags.DEFINE_string(
        "model",
        # The sharpest of the shipped ones, and one that no preset was trained against.
        "unseen_skips",
        "Name of a shipped face-swap model, or a folder with one.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "identity",
        None,
        "Identity that every face is swapped to; by default the model's last.",
        flag_values=values,
    )


def _deepfake(positional: list[str], values) -> int:
    if len(positional) != 2:
        raise ValueError(
            f"deepfake needs IN and OUT. Received: {len(positional)} arguments."
        )
    source, target = positional
    _check_extension("OUT", target)
    if os.path.lexists(target) and not values.overwrite:
        raise ValueError(f"The output {target!r} exists; --overwrite would replace it.")

    from faketagger_tf.deepfake import swap_faces
    from faketagger_tf.photos.photo_file import read_photo_file, write_photo_file
    from faketagger_tf.presets import load_faceswap

    photo = read_photo_file(source)
    config, model = load_faceswap(values.model)
    identity = values.identity or config.identities[-1]
    swapped, count = swap_faces(photo.pixels, config, model, identity)
    write_photo_file(target, dataclasses.replace(photo, pixels=swapped), values.quality)
    print(f"{target}  {count} face(s) swapped to {identity}")
    return 0


SUBCOMMANDS = {
    "tag": (_tag_flags, _tag, "tag IN OUT", "Tag a photo, or all photos of a folder."),
    "trace": (
        _trace_flags,
        _trace,
        "trace FILES-OR-FOLDERS...",
        "Read the tags of photos. Exits 0 if one was found, 1 if none.",
    ),
    "verify": (
        _verify_flags,
        _verify,
        "verify ORIGINAL SUSPECT",
        "Is the tag of ORIGINAL still in SUSPECT, and what has changed?",
    ),
    "deepfake": (
        _deepfake_flags,
        _deepfake,
        "deepfake IN OUT",
        "Swap the faces of a photo, to see what a tag survives.",
    ),
}


def _usage() -> str:
    lines = ["usage: faketagger SUBCOMMAND ...", ""]
    for _, _, form, summary in SUBCOMMANDS.values():
        lines.append(f"  faketagger {form:<26} {summary}")
    return "\n".join([*lines, "", "faketagger SUBCOMMAND --help lists its flags."])


def _plain(argument: str) -> str:
    """--random-payload is --random_payload."""
    if not argument.startswith("--") or argument == "--":
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def main(argv: list[str]) -> int:
    """Runs `faketagger` with the arguments `argv[1:]`; returns the exit code."""
    if len(argv) < 2 or argv[1] in ("-h", "--help", "help"):
        print(_usage(), file=sys.stderr if len(argv) < 2 else sys.stdout)
        return 2 if len(argv) < 2 else 0
    if argv[1] not in SUBCOMMANDS:
        print(
            f"Error: the subcommand must be one of {', '.join(SUBCOMMANDS)}. "
            f"Received: {argv[1]!r}.",
            file=sys.stderr,
        )
        return 2
    define, function, form, summary = SUBCOMMANDS[argv[1]]
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "Read flags from a file.", flag_values=values)
    _common_flags(values)
    define(values)
    values.set_gnu_getopt(True)
    try:
        positional = values([argv[0], *map(_plain, argv[2:])])[1:]
        if values.help:
            print(f"usage: faketagger {form} [flags]\n\n{summary}\n")
            print(values.get_help())
            return 0
        with quiet_tensorflow():
            return function(positional, values)
    except BrokenPipeError:
        raise
    except (ValueError, flags.Error, OSError) as error:
        if os.environ.get("FAKETAGGER_TRACEBACK"):
            raise
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def run() -> None:
    """The console script."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        code = main(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to be flushed to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
