"""Our tag beside other watermarks, on the same photos, payloads and changes.

    python -m faketagger_tf.evaluation.compare --data=photos --python=PYTHON

PYTHON is the interpreter of the rivals' environment (`make compare` makes it). Each
photo is scaled so that its face's canvas has a given size, tagged as `faketagger tag`
does it, and marked by each rival with the same 32 bits; all go through the same
changes. `right`: every bit of the payload came back, for our tag at a p-value of at
most `--fpr`. The rivals have no such test: what they read of an unmarked photo looks
like a payload too. With `--cvvdp=PYTHON`, the interpreter of ColorVideoVDP's
environment, what shows is measured by it as well as by FLIP. Writes JSON, Markdown and
one HTML page.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from faketagger_tf.data import find_photos
from faketagger_tf.evaluation import cvvdp, html, rivals
from faketagger_tf.evaluation.changes import Change, Scene, scale, select_changes
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.evaluation.visibility import mean_of, measure_visibility, write_pair
from faketagger_tf.files import write_atomic
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import load_faceswap, load_latent
from faketagger_tf.tagging.assure import tag_as_promised
from faketagger_tf.tagging.tagger import FPR, Tagger

PICTURES = 2  # Photos that the HTML page shows.
PICTURE_HEIGHT = 220


@dataclasses.dataclass(frozen=True)
class Marked:
    """Photos with one system's marks.

    Attributes:
        photos: name -> uint8 `[H, W, 3]`.
        seconds: mean time to mark one.
        read: name -> photo, to name -> (bits read `[32]`, whether they are reported as
            found), with the mean time to read one; photos that cannot be read are left
            out.
    """

    photos: dict[str, np.ndarray]
    seconds: float
    read: Callable


def mark_ours(
    tagger: Tagger,
    photos: Mapping[str, np.ndarray],
    payloads: Mapping[str, int],
    promise: str = "web",
    fpr: float = FPR,
) -> Marked:
    """Tags photos as `faketagger tag` does.

    Args:
        tagger: with payloads of 32 bits.
        photos: name -> uint8 `[H, W, 3]`.
        payloads: name -> payload.
        promise: that chooses the strength; empty for the tagger's own.
        fpr: largest p-value of a tag that counts as found.
    """
    tagged, started = {}, time.perf_counter()
    for name, photo in photos.items():
        made = tag_as_promised(
            tagger, photo, payloads[name], promise=promise, check=bool(promise)
        )
        tagged[name] = made.pixels
    seconds = (time.perf_counter() - started) / len(photos)

    return Marked(tagged, seconds, functools.partial(read_ours, tagger, fpr, None))


def read_ours(tagger: Tagger, fpr: float, issued, photos: Mapping[str, np.ndarray]):
    """What `Marked.read` does, by our tagger.

    Args:
        tagger, fpr: as for `mark_ours`.
        issued: the payloads that a registry holds, as `Tagger.examine` takes them; None
            reads blind.
        photos: name -> uint8 `[H, W, 3]`.
    """
    found, started = {}, time.perf_counter()
    for name, photo in photos.items():
        try:
            readings = tagger.examine(photo, fpr, issued)
        except ValueError:  # Too small to be read.
            continue
        best = min(readings, key=lambda reading: (not reading.found, reading.p_value))
        found[name] = to_bits(best.payload), best.found
    return found, (time.perf_counter() - started) / max(len(photos), 1)


def mark_rival(
    python: str,
    method: str,
    photos: Mapping[str, np.ndarray],
    payloads: Mapping[str, int],
) -> Marked:
    """Marks photos with a rival, in its own environment.

    Args:
        python: the environment's interpreter.
        method: one of `rivals.METHODS`.
        photos, payloads: as for `mark_ours`.

    Raises:
        ValueError: the rival does not run there, or marks no photo.
    """
    bits = {name: _text(to_bits(payload)) for name, payload in payloads.items()}
    with tempfile.TemporaryDirectory() as folder:
        source, target = (pathlib.Path(folder) / n for n in ("in", "out"))
        target.mkdir()
        _write(source, photos)
        wanted = pathlib.Path(folder) / "bits.json"
        wanted.write_text(json.dumps(bits))
        seconds = _run_rival(python, "embed", method, source, target, wanted)
        marked = {p.stem: read_photo(p) for p in sorted(target.glob("*.png"))}
    if not marked:
        raise ValueError(f"{method} marked none of the {len(photos)} photos.")

    def read(changed):
        with tempfile.TemporaryDirectory() as folder:
            source, target = (pathlib.Path(folder) / n for n in ("in", "bits.json"))
            _write(source, changed)
            seconds = _run_rival(python, "read", method, source, target)
            found = json.loads(target.read_text())
        bits = {n: np.array([b == "1" for b in text]) for n, text in found.items()}
        return {name: (values, True) for name, values in bits.items()}, seconds

    return Marked(marked, seconds, read)


def check_quality(python: str) -> None:
    """Raises a ValueError where `python` has no ColorVideoVDP."""
    command = [python, "-c", "import PIL, pycvvdp; print('ready')"]
    if _run("--cvvdp", "ColorVideoVDP", command).split() != ["ready"]:
        raise ValueError(
            f"--cvvdp must be a Python interpreter. Received: {python!r}, which does "
            "not answer as one."
        )


def measure_quality(
    python: str, covers: Mapping[str, np.ndarray], marked: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """ColorVideoVDP's quality of marked photos, in an environment of its own.

    Args:
        python: the environment's interpreter (`requirements-cvvdp.txt`).
        covers, marked: name -> uint8 `[H, W, 3]`.

    Returns:
        {"jod_mean", "jod_least"}: 10 is no difference to be seen.

    Raises:
        ValueError: it does not run there.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, photo in marked.items():
            write_pair(folder, name, covers[name], photo)
        target = pathlib.Path(folder) / "jods.json"
        _run("--cvvdp", "ColorVideoVDP", [python, cvvdp.__file__, folder, target])
        if not target.exists():
            raise ValueError(f"ColorVideoVDP does not run with {python!r}: no result.")
        found = list(json.loads(target.read_text()).values())
    return {"jod_mean": float(np.mean(found)), "jod_least": min(found)}


def _write(folder: pathlib.Path, photos: Mapping[str, np.ndarray]) -> None:
    folder.mkdir()
    for name, photo in photos.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.ascontiguousarray(photo[..., ::-1]))


def _run_rival(python: str, action: str, method: str, *paths) -> float:
    command = [python, rivals.__file__, action, method, *paths]
    answer = _run("--python", method, command)
    return float(json.loads(answer.strip().splitlines()[-1])["seconds"])


def _run(flag: str, what: str, command: Sequence) -> str:
    """What a program in an environment of its own prints."""
    command = list(map(str, command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(
            f"{flag} must be a Python interpreter. Received: {command[0]!r}: "
            f"{error.strerror}."
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"{what} does not run with {command[0]!r}: {reason}")
    return done.stdout


def to_bits(payload: int) -> np.ndarray:
    """A payload's 32 bits, the highest first.

    Example:
        >>> to_bits(5)[-4:].tolist()
        [False, True, False, True]
    """
    return np.array([payload >> i & 1 for i in reversed(range(rivals.BITS))], bool)


def _text(bits: np.ndarray) -> str:
    return "".join(str(int(bit)) for bit in bits)


def compare(
    systems: Mapping[str, Callable],
    photos: Mapping[str, np.ndarray],
    changes: Mapping[str, Change],
    scenes: Mapping[str, Scene],
    *,
    seed: int = 1,
    quality: Callable[[Mapping, Mapping], dict] = lambda covers, marked: {},
    done: Callable[[dict, dict], None] = lambda report, pictures: None,
) -> tuple[dict, dict[str, list[np.ndarray]]]:
    """Marks photos with every system, changes and reads them.

    Args:
        systems: name -> function (photos, payloads) -> `Marked`.
        photos: name -> uint8 `[H, W, 3]`.
        changes: name -> what happens.
        scenes: name -> what a change may need to know of the photo.
        seed: of payloads and changes, which are the same for all systems.
        quality: more to measure of the photos and their marked copies, both by name;
            its keys join a system's. Where it raises a ValueError, that is reported.
        done: is called after every system with what there is by then.

    Returns:
        ({"photos", "failed": [[system, reason]] of what does not run, "systems":
        [{"system", "photos", "psnr", "ssim", "flip_mean", "flip_p99", "mark_seconds",
        "read_seconds", and what `quality` adds}], "rows": [{"change", "system",
        "photos", "right", "bits" (shares)}]}, system -> pictures for a page).

    Raises:
        ValueError: no system runs.
    """
    payloads = {
        name: int(np.random.default_rng([seed, _key(name)]).integers(2**rivals.BITS))
        for name in photos
    }
    report = {"photos": len(photos), "failed": [], "systems": [], "rows": []}
    pictures = {}
    for system, mark in systems.items():
        try:
            marked = mark(photos, payloads)
        except ValueError as error:
            report["failed"].append([system, str(error)])
            continue
        seen = [measure_visibility(photos[n], p) for n, p in marked.photos.items()]
        try:
            further = quality(photos, marked.photos)
        except ValueError as error:  # The rest is measured all the same.
            report["failed"].append([f"quality of {system}", str(error)])
            further = {}
        times = []
        for change_name, change in tqdm(changes.items(), desc=system, disable=None):
            changed = {}
            for name, photo in marked.photos.items():
                rng = np.random.default_rng([seed, _key(name), _key(change_name)])
                try:
                    scene = dataclasses.replace(scenes[name], rng=rng)
                    changed[name] = change(photo, scene)
                except ValueError:  # No face to be swapped, or no model.
                    continue
            if not changed:
                continue
            read, seconds = marked.read(changed)
            times.append(seconds)
            right, bits = [], []
            for name in changed:
                wanted = to_bits(payloads[name])
                got, found = read.get(name, (None, False))
                # What is not read at all tells nothing: half of the bits.
                bits.append(0.5 if got is None else float(np.mean(got == wanted)))
                right.append(bool(found and np.array_equal(got, wanted)))
            report["rows"].append(
                {
                    "change": change_name,
                    "system": system,
                    "photos": len(changed),
                    "right": float(np.mean(right)),
                    "bits": float(np.mean(bits)),
                }
            )
        report["systems"].append(
            {
                "system": system,
                "photos": len(marked.photos),
                **mean_of(seen),
                **further,
                "mark_seconds": marked.seconds,
                "read_seconds": float(np.mean(times)) if times else None,
            }
        )
        shown = list(marked.photos)[:PICTURES]
        pictures[system] = [_beside(photos[n], marked.photos[n]) for n in shown]
        done(report, pictures)
    if not report["systems"]:
        raise ValueError(f"No watermark could be measured. {report['failed'][0][1]}")
    return report, pictures


def _key(name: str) -> int:
    return zlib.crc32(name.encode())


def _beside(photo: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """A marked photo, and ten times its difference from the photo."""
    difference = 128 + 10 * (marked.astype(np.int16) - photo)
    parts = marked, np.clip(difference, 0, 255).astype(np.uint8)
    factor = PICTURE_HEIGHT / photo.shape[0]
    return np.hstack([scale(part, factor) for part in parts])


def _grid(report: dict, key: str) -> tuple[list[str], list[str], dict]:
    systems = [entry["system"] for entry in report["systems"]]
    changes = list(dict.fromkeys(row["change"] for row in report["rows"]))
    values = {(r["change"], r["system"]): r[key] for r in report["rows"]}
    return systems, changes, values


# Of a report's systems: title, key, digits after the point, factor, and whether more is
# better.
_FIGURES = (
    ("PSNR, dB", "psnr", 2, 1, True),
    ("SSIM", "ssim", 4, 1, True),
    ("FLIP mean", "flip_mean", 3, 1, False),
    ("FLIP 99th percentile", "flip_p99", 3, 1, False),
    ("ColorVideoVDP mean, JOD", "jod_mean", 2, 1, True),
    ("ColorVideoVDP least, JOD", "jod_least", 2, 1, True),
    ("ms to mark", "mark_seconds", 0, 1000, False),
    ("ms to read", "read_seconds", 0, 1000, False),
)


def _figures(report: dict):
    """Rows (title, *values) over the systems, and the columns of each row's best."""
    for title, key, digits, factor, more in _FIGURES:
        if not any(key in entry for entry in report["systems"]):
            continue  # It was not asked for.
        values = [entry.get(key) for entry in report["systems"]]
        known = [v for v in values if v is not None]
        best = (max if more else min)(known) if known else None
        shown = [None if v is None else f"{v * factor:.{digits}f}" for v in values]
        yield [title, *shown], {i + 1 for i, v in enumerate(values) if v == best}


def _shares(report: dict, key: str, show: Callable[[float], str]):
    """Rows (change, *shares) over the systems, and the columns of each row's best."""
    systems, changes, values = _grid(report, key)
    for change in changes:
        row = [values.get((change, system)) for system in systems]
        best = max(v for v in row if v is not None)
        shown = [None if v is None else show(v) for v in row]
        yield [change, *shown], {i + 1 for i, v in enumerate(row) if v == best}


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def markdown_comparison(report: dict) -> str:
    """Returns a report of `compare` as Markdown."""
    systems = [entry["system"] for entry in report["systems"]]
    text = f"{report['photos']} photos. Payloads of 32 bits that came back right:\n\n"
    rows = (row for row, _ in _shares(report, "right", _percent))
    text += markdown_table(["change", *systems], rows)
    text += "\nBits of them that came back right:\n\n"
    rows = (row for row, _ in _shares(report, "bits", "{:.3f}".format))
    text += markdown_table(["change", *systems], rows) + "\n"
    text += markdown_table(["", *systems], (row for row, _ in _figures(report)))
    return text + "".join(f"\n{name}: {why}\n" for name, why in report["failed"])


def html_comparison(report: dict, pictures: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Returns a report of `compare` as one HTML page, the best of each row in bold."""
    systems, changes, right = _grid(report, "right")
    _, _, bits = _grid(report, "bits")

    def series(values):
        return {s: [values.get((c, s)) for c in changes] for s in systems}

    def table(first, rows):
        rows, best = zip(*rows, strict=True)
        return html.table([first, *systems], rows, best)

    parts = [
        html.paragraph(
            f"{report['photos']} photos, the same 32 bits, photos and changes for all. "
            "A payload is right when all of its bits are; ours has to be found by its "
            "p-value as well, which the others do not give."
        ),
        html.bar_chart(
            "Share of payloads that came back right", changes, series(right)
        ),
        table("payloads right", _shares(report, "right", _percent)),
        html.bar_chart(
            "Share of bits that came back right; one half is chance",
            changes,
            series(bits),
            0.4,
        ),
        table("bits right", _shares(report, "bits", "{:.3f}".format)),
        html.heading("What shows, and what it costs"),
        table("", _figures(report)),
        html.heading("Marked photos, and ten times their difference"),
    ]
    parts += [html.paragraph(f"{name}: {why}") for name, why in report["failed"]]
    for system, images in pictures.items():
        parts += [html.picture(image, system) for image in images]
    return html.page("Watermarks compared", parts)


@dataclasses.dataclass(frozen=True)
class CompareOptions(Checked):
    """What the command can be told."""

    tagger: str = option("face128", "A preset's name or a run's folder.")
    data: str = option("", "Folder of photos.", required=True)
    split: str = option("test", "Split to measure; empty for all.")
    limit: int = option(0, "Photos at most; 0 for all.", low=0)
    canvas: int = option(
        250, "Pixels the face's canvas is scaled to; 0 for none.", low=0
    )
    python: str = option("", "Python of the rivals' environment; empty for ours alone.")
    cvvdp: str = option(
        "", "Python of ColorVideoVDP's environment; empty does not measure by it."
    )
    rival: tuple[str, ...] = option(
        tuple(rivals.METHODS), "A rival to run; repeat the flag for more."
    )
    change: tuple[str, ...] = option((), "A change; repeat for more; all by default.")
    promise: str = option(
        "web", "Promise that chooses our strength; empty for the tagger's own."
    )
    swap_model: str = option("unseen_skips", "Face-swap model of the deepfakes.")
    large_swap_model: str = option(
        "", "Model for those from hairline to chin; by default the other, stretched."
    )
    latent_model: str = option("", "Latent model of the edited and regenerated photos.")
    fpr: float = option(FPR, "Largest p-value of our tags that count as found.")
    seed: int = option(1, "Of payloads and changes.")
    output: str = option("build/compare", "Report to write, without its endings.")


def load_photos(
    options, tagger: Tagger, swap=None, latent=None, large_swap=None
) -> tuple[dict[str, np.ndarray], dict[str, Scene]]:
    """Photos, scaled, and their scenes, by name.

    Args:
        options: has `data`, `split`, `limit` and `canvas` as `CompareOptions` does.
        tagger: finds the canvases.
        swap, latent, large_swap: as in `Scene`.

    Raises:
        ValueError: there is no photo that can be read.
    """
    photos, scenes = {}, {}
    entries = find_photos(options.data, options.split).spread(options.limit)
    for number, entry in enumerate(entries):
        try:
            photo = read_photo(entry.path)
            canvases = tagger.find_canvases(photo)
            if options.canvas:
                side = canvases[0].side(tagger.config.image_size)
                photo = scale(photo, options.canvas / side)
                canvases = tagger.find_canvases(photo)
        except ValueError as error:
            print(f"Skipped: {error}")
            continue
        name = f"{number:04d}_{pathlib.Path(entry.path).stem}"
        faces = tuple(canvas.face for canvas in canvases if canvas.face)
        photos[name] = photo
        scenes[name] = Scene(np.random.default_rng(0), faces, swap, latent, large_swap)
    if not photos:
        raise ValueError(f"There is no photo to compare on in {options.data!r}.")
    return photos, scenes


def main(options: CompareOptions) -> None:
    """Runs the command; see the module's docstring."""
    unknown = set(options.rival) - set(rivals.METHODS)
    if unknown:
        raise ValueError(
            f"There is no rival {min(unknown)!r}. "
            f"Accepted: {', '.join(rivals.METHODS)}."
        )
    changes = select_changes(options.change)
    further = {}
    if options.cvvdp:
        # Before an hour of work.
        check_quality(options.cvvdp)
        further["quality"] = functools.partial(measure_quality, options.cvvdp)
    tagger = Tagger.load(options.tagger)
    if tagger.config.payload_bits != rivals.BITS:
        raise ValueError(
            f"The rivals carry {rivals.BITS} bits, and so must the tagger's payload. "
            f"Received: {tagger.config.payload_bits} bits."
        )
    swap, large_swap = (
        load_faceswap(name) if name else None
        for name in (options.swap_model, options.large_swap_model)
    )
    latent = load_latent(options.latent_model)[1] if options.latent_model else None
    photos, scenes = load_photos(options, tagger, swap, latent, large_swap)
    systems = {
        options.tagger: lambda photos, payloads: mark_ours(
            tagger, photos, payloads, options.promise, options.fpr
        )
    }
    for method in options.rival if options.python else ():
        systems[method] = lambda photos, payloads, method=method: mark_rival(
            options.python, method, photos, payloads
        )

    def write(report, pictures):
        report = {"fpr": options.fpr, "canvas": options.canvas, **report}
        write_report(options.output, report, markdown_comparison(report))
        write_atomic(f"{options.output}.html", html_comparison(report, pictures))

    report, pictures = compare(
        systems, photos, changes, scenes, seed=options.seed, done=write, **further
    )
    write(report, pictures)
    print(markdown_comparison(report))


if __name__ == "__main__":
    run_command(CompareOptions(), main)
