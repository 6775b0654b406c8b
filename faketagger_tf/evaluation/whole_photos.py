"""How many tags are read back from whole photos, by size, strength and skin tone.

    python -m faketagger_tf.evaluation.whole_photos --data=photos [--tagger=face128]

Each photo is scaled so that its face's canvas has a given size, tagged with a random
payload as `faketagger tag` does it, changed (`changes.CHANGES`, real codecs), and read
as `faketagger trace` does it. `found`: the payload came back at a p-value of at most
`--fpr`. `wrong`: another payload was reported as found.
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent import futures

import numpy as np
from tqdm import tqdm

from faketagger_tf.data import Photo, find_photos
from faketagger_tf.evaluation.changes import (
    CHANGES,
    Change,
    Scene,
    scale,
    select_changes,
)
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.evaluation.visibility import mean_of, measure_visibility
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import DEFAULT_PRESET, load_faceswap, load_latent
from faketagger_tf.tagging.assure import tag_as_promised
from faketagger_tf.tagging.promise import Choice
from faketagger_tf.tagging.tagger import FPR, Tagger

SIDES = (120, 250, 500)  # Of the face's canvas, in photo pixels.
TONES = ("darkest third", "middle third", "lightest third")


@dataclasses.dataclass
class Outcome:
    """What one photo gave at one size and strength.

    Attributes:
        found: change -> whether the payload came back; a change that the photo could
            not take is left out.
        wrong: changes after which another payload was reported as found.
        refused: changes after which the photo was too small to be read: not found.
        untagged: faces read before tagging, and those with a tag reported as found.
        visibility: `measure_visibility` of the whole photo.
        choice: the largest face's strength, where a promise chose it.
    """

    found: dict[str, bool]
    wrong: list[str]
    refused: list[str]
    untagged: tuple[int, int]
    visibility: dict[str, float]
    choice: Choice | None = None


def measure_photos(
    tagger: Tagger,
    photos: Sequence[Photo],
    *,
    sides: Sequence[int] = SIDES,
    strengths: Sequence[float | str | None] = (None,),
    changes: Mapping[str, Change] = CHANGES,
    swap=None,
    latent=None,
    large_swap=None,
    fpr: float = FPR,
    quick: bool = False,
    refine: int = 0,
    seed: int = 1,
    threads: int = 0,
) -> dict:
    """Measures a tagger on whole photos.

    Args:
        tagger: tags and reads; used from many threads.
        photos: of people not trained on. With `ita`, rows are also given by thirds.
        sides: of the largest face's canvas in pixels, to which the photo is scaled;
            0 leaves it as it is.
        strengths: in dB; None is the tagger's own, and the name of a promise is what
            `faketagger tag` does with it: chosen for each face, read back, refined.
        changes: name -> what happens to the photo.
        swap: (configuration, model) of a face-swap autoencoder, or None.
        latent: a latent autoencoder, or None.
        large_swap: as `swap`, trained from hairline to chin; None stretches `swap`.
        fpr: largest p-value of a tag that counts as found.
        quick: as for `Tagger.examine`.
        refine: steps of refinement.
        seed: of payloads and changes; one seed, one result.
        threads: 0 takes one a core.

    Returns:
        {"fpr", "rows": [{"canvas", "strength", "change", "photos", "found" (a share),
        "wrong", "refused", "found_by_tone" (three shares, dark skin first; None where
        unknown)}], "sets": [{"canvas", "strength", "photos", "untagged_faces",
        "untagged_found", the means of `measure_visibility`, and where a promise chose
        the strength "mean_strength" in dB and "kept", a share}], "skipped": [[path,
        reason]]}.

    Raises:
        ValueError: no photo could be measured.
    """
    options = {"changes": changes, "fpr": fpr, "refine": refine, "quick": quick}
    options |= {"swap": swap, "latent": latent, "large_swap": large_swap}
    tasks = [
        (number, side, strength)
        for side in sides
        for strength in strengths
        for number in range(len(photos))
    ]

    def run(task) -> Outcome | str:
        number, side, strength = task
        try:
            return measure_photo(
                tagger, photos[number], side, strength, seed=seed, **options
            )
        except ValueError as error:
            return str(error)

    with futures.ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        results = list(
            tqdm(pool.map(run, tasks), total=len(tasks), unit="photo", disable=None)
        )
    outcomes: dict[tuple, dict[int, Outcome]] = {}
    skipped = {}
    for (number, side, strength), result in zip(tasks, results, strict=True):
        if isinstance(result, str):
            skipped.setdefault(photos[number].path, result)
        else:
            outcomes.setdefault((side, strength), {})[number] = result
    if not outcomes:
        reason = next(iter(skipped.values()), "There are none.")
        raise ValueError(f"None of the {len(photos)} photos was measured. {reason}")
    tones = skin_tone_thirds(photos)
    report = {"fpr": fpr, "rows": [], "sets": []}
    for (side, strength), found in outcomes.items():
        place = {"canvas": side, "strength": strength}
        untagged = np.sum([o.untagged for o in found.values()], axis=0)
        report["sets"].append(
            {
                **place,
                "photos": len(found),
                "untagged_faces": int(untagged[0]),
                "untagged_found": int(untagged[1]),
                **mean_of([o.visibility for o in found.values()]),
                **_choices([o.choice for o in found.values() if o.choice]),
            }
        )
        for change in changes:
            row = _row(change, found, tones)
            if row["photos"]:
                report["rows"].append({**place, **row})
    report["skipped"] = [list(item) for item in skipped.items()]
    return report


def measure_photo(
    tagger: Tagger,
    entry: Photo,
    side: int,
    strength: float | str | None,
    *,
    changes: Mapping[str, Change],
    swap,
    latent,
    large_swap,
    fpr: float,
    quick: bool,
    refine: int,
    seed: int,
) -> Outcome:
    """Scales, tags, changes and reads one photo; see `measure_photos`.

    Raises:
        ValueError: the photo cannot be read or is too small to be tagged.
    """
    name = zlib.crc32(os.path.basename(entry.path).encode())
    payload = int(
        np.random.default_rng([seed, name]).integers(2**tagger.config.payload_bits)
    )
    photo = read_photo(entry.path)
    size = tagger.config.image_size
    canvases = tagger.find_canvases(photo)
    if side:
        photo = scale(photo, side / canvases[0].side(size))
        canvases = tagger.find_canvases(photo)
    untagged = tagger.examine(photo, fpr, quick=quick)
    promise = strength if isinstance(strength, str) else None
    result = tag_as_promised(
        tagger,
        photo,
        payload,
        None if promise else strength,
        promise,
        canvases,
        refine,
        check=bool(promise),
    )
    tagged, choices = result.pixels, result.choices
    found, wrong, refused = {}, [], []
    faces = tuple(canvas.face for canvas in canvases if canvas.face)
    scene = Scene(np.random.default_rng(0), faces, swap, latent, large_swap)
    for change_name, change in changes.items():
        # A stream of its own for every change: adding one does not alter the others.
        rng = np.random.default_rng([seed, name, zlib.crc32(change_name.encode())])
        try:
            changed = change(tagged, dataclasses.replace(scene, rng=rng))
        except ValueError:  # No face to be swapped, or no model.
            continue
        try:
            payloads = {r.payload for r in tagger.read(changed, fpr, quick=quick)}
        except ValueError:  # Too small to be read.
            refused.append(change_name)
            payloads = set()
        found[change_name] = payload in payloads
        if payloads - {payload}:
            wrong.append(change_name)
    return Outcome(
        found,
        wrong,
        refused,
        (len(untagged), sum(reading.found for reading in untagged)),
        measure_visibility(photo, tagged),
        choices[0] if choices else None,
    )


def skin_tone_thirds(photos: Sequence[Photo]) -> list[set[int]]:
    """Splits photos by `ita` into thirds, dark skin first; empty where all lack it."""
    known = [i for i, photo in enumerate(photos) if photo.ita is not None]
    order = sorted(known, key=lambda i: photos[i].ita)
    return [set(part.tolist()) for part in np.array_split(np.array(order, int), 3)]


def _choices(choices: list[Choice]) -> dict:
    if not choices:
        return {}
    return {
        "mean_strength": float(np.mean([choice.strength for choice in choices])),
        "kept": float(np.mean([not choice.broken for choice in choices])),
    }


def _row(change: str, outcomes: dict[int, Outcome], tones: list[set[int]]) -> dict:
    took = {i: o.found[change] for i, o in outcomes.items() if change in o.found}
    thirds = [[value for i, value in took.items() if i in third] for third in tones]
    return {
        "change": change,
        "photos": len(took),
        "found": float(np.mean(list(took.values()))) if took else None,
        "wrong": sum(change in o.wrong for o in outcomes.values()),
        "refused": sum(change in o.refused for o in outcomes.values()),
        "found_by_tone": [float(np.mean(t)) if t else None for t in thirds],
    }


def markdown_photos(report: dict) -> str:
    """Returns a report of `measure_photos` as Markdown, a column a size."""
    places = [(entry["canvas"], entry["strength"]) for entry in report["sets"]]
    titles = [_title(*place) for place in places]
    rows = {(r["canvas"], r["strength"], r["change"]): r for r in report["rows"]}
    changes = list(dict.fromkeys(row["change"] for row in report["rows"]))

    def cell(row: dict | None) -> str | None:
        if row is None:
            return None
        text = _percent(row["found"])
        text += f", {row['wrong']} wrong" if row["wrong"] else ""
        return text + (f", {row['refused']} too small" if row["refused"] else "")

    text = f"Share of tags found at p <= {report['fpr']:.0e}.\n\n"
    text += markdown_table(
        ["change", *titles],
        ([c, *(cell(rows.get((*place, c))) for place in places)] for c in changes),
    )
    lines = {
        "photos": lambda s: s["photos"],
        "found on untagged faces": lambda s: (
            f"{s['untagged_found']} of {s['untagged_faces']}"
        ),
        "FLIP mean / p99": lambda s: f"{s['flip_mean']:.3f} / {s['flip_p99']:.3f}",
        "PSNR, dB": lambda s: f"{s['psnr']:.2f}",
        "SSIM": lambda s: f"{s['ssim']:.4f}",
    }
    if any("kept" in entry for entry in report["sets"]):
        lines["strength, dB"] = lambda s: (
            f"{s['mean_strength']:.1f}" if "kept" in s else None
        )
        lines["promise kept"] = lambda s: _percent(s.get("kept"))
    text += "\n" + markdown_table(
        ["whole photo", *titles],
        ([name, *map(value, report["sets"])] for name, value in lines.items()),
    )
    for place, title in zip(places, titles, strict=True):
        known = [rows[(*place, c)] for c in changes if (*place, c) in rows]
        if any(share is not None for row in known for share in row["found_by_tone"]):
            text += "\n" + markdown_table(
                [f"by skin tone, {title}", *TONES],
                ([r["change"], *map(_percent, r["found_by_tone"])] for r in known),
            )
    if report["skipped"]:
        text += f"\n{len(report['skipped'])} photos were skipped, among them:\n\n"
        text += "".join(f"- {reason}\n" for _, reason in report["skipped"][:5])
    return text


def _title(canvas: int, strength: float | None) -> str:
    title = f"canvas {canvas}" if canvas else "own size"
    if strength is None:
        return title
    how = strength if isinstance(strength, str) else f"at {strength:g}"
    return f"{title} {how}"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}%"


@dataclasses.dataclass(frozen=True)
class WholePhotosOptions(Checked):
    """What the command can be told."""

    tagger: str = option(DEFAULT_PRESET, "A preset's name or a run's folder.")
    data: str = option("", "Folder of photos.", required=True)
    split: str = option("test", "Split to measure; empty for all.")
    swap_model: str = option("", "Also deepfake them with this model.")
    large_swap_model: str = option(
        "", "Model for those from hairline to chin; by default the other, stretched."
    )
    latent_model: str = option("", "Also edit and regenerate them with this model.")
    change: tuple[str, ...] = option(
        (), "A change to measure, by its name; repeat for more; all by default."
    )
    canvas: tuple[int, ...] = option(
        SIDES,
        "Pixels to which the face's canvas is scaled; 0 for none; repeat for more.",
    )
    strength: tuple[float, ...] = option(
        (0.0,), "Strength in dB; 0 takes the tagger's own; repeat the flag for more."
    )
    promise: tuple[str, ...] = option(
        (), "Instead, a promise that chooses the strength; repeat the flag for more."
    )
    refine: int = option(0, "Steps of refinement.", low=0)
    quick: bool = option(False, "Read as `faketagger trace --quick` does.")
    fpr: float = option(FPR, "Largest p-value of a tag that counts as found.")
    limit: int = option(0, "Photos at most; 0 for all.", low=0)
    threads: int = option(0, "Photos at once; 0 takes one a core.", low=0)
    seed: int = option(1, "Of payloads and changes.")
    output: str = option("build/tracing", "Report to write, without .json and .md.")


def main(options: WholePhotosOptions) -> None:
    """Runs the command; see the module's docstring."""
    tagger = Tagger.load(options.tagger)
    report = measure_photos(
        tagger,
        find_photos(options.data, options.split).spread(options.limit),
        sides=options.canvas,
        strengths=options.promise or [value or None for value in options.strength],
        changes=select_changes(options.change),
        swap=load_faceswap(options.swap_model) if options.swap_model else None,
        latent=load_latent(options.latent_model)[1] if options.latent_model else None,
        large_swap=load_faceswap(options.large_swap_model)
        if options.large_swap_model
        else None,
        fpr=options.fpr,
        quick=options.quick,
        refine=options.refine,
        seed=options.seed,
        threads=options.threads,
    )
    table = markdown_photos(report)
    write_report(options.output, report, table)
    print(table)


if __name__ == "__main__":
    run_command(WholePhotosOptions(), main)
