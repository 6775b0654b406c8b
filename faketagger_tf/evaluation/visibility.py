"""How much of a tag is to be seen: FLIP, PSNR and SSIM.

    python -m faketagger_tf.evaluation.visibility --data=photos --promise=web

measures whole photos at their own size and their canvases enlarged, as on a zoomed
screen. FLIP (Andersson et al. 2020) is NVIDIA's own implementation, the package
`flip-evaluator`, at its default of 67 pixels a degree. With `--pairs=folder` the cover
and the tagged photo of every pair are written as PNG files too, for ColorVideoVDP,
which lives in an environment of its own (`cvvdp`).
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import cv2
import numpy as np
from tqdm import tqdm

from faketagger_tf import metrics
from faketagger_tf.data import find_photos
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.presets import DEFAULT_PRESET
from faketagger_tf.tagging.assure import tag_as_promised
from faketagger_tf.tagging.tagger import Tagger

ENLARGED = 3  # Times that a canvas is enlarged.


def flip(cover: np.ndarray, tagged: np.ndarray) -> np.ndarray:
    """FLIP's error map of two photos uint8 `[H, W, 3]`: float32 `[H, W]` in [0, 1].

    Raises:
        ValueError: the package `flip-evaluator` is not installed.
    """
    try:
        import flip_evaluator
    except ImportError:
        raise ValueError(
            "FLIP needs the package flip-evaluator. Accepted: after "
            "pip install flip-evaluator."
        ) from None
    first, second = (x.astype(np.float32) / 255 for x in (cover, tagged))
    error, _, _ = flip_evaluator.evaluate(
        first, second, "LDR", applyMagma=False, computeMeanError=False
    )
    return np.asarray(error).reshape(cover.shape[:2])


def measure_visibility(cover: np.ndarray, tagged: np.ndarray) -> dict[str, float]:
    """Measures how much of a change is to be seen.

    Args:
        cover: uint8 `[H, W, 3]`, at least 11 pixels a side.
        tagged: the same shape.

    Returns:
        {"flip_mean", "flip_p99" (the 99th percentile over the pixels), "psnr" in dB,
        "ssim"}.
    """
    error = flip(cover, tagged)
    return {
        "flip_mean": float(error.mean()),
        "flip_p99": float(np.quantile(error, 0.99)),
        "psnr": float(metrics.psnr(cover[None], tagged[None])[0]),
        "ssim": float(metrics.ssim(cover[None], tagged[None])[0]),
    }


def write_pair(folder: str | os.PathLike, name: str, cover, tagged) -> None:
    """Writes uint8 `[H, W, 3]` as NAME_cover.png and NAME_tagged.png.

    Raises:
        ValueError: they cannot be written.
    """
    for kind, image in (("cover", cover), ("tagged", tagged)):
        write_image(pathlib.Path(folder) / f"{name}_{kind}.png", image)


def enlarge(canvas: np.ndarray, factor: int = ENLARGED) -> np.ndarray:
    """Enlarges a canvas as a photo viewer does: cubic."""
    return cv2.resize(canvas, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Averages rows of `measure_visibility`."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def markdown_visibility(report: dict[str, dict[str, float]]) -> str:
    """Returns what was measured -> averages as Markdown."""
    titles = ["measured on", "FLIP mean", "FLIP p99", "PSNR, dB", "SSIM"]
    return markdown_table(
        titles,
        (
            [
                name,
                f"{row['flip_mean']:.3f}",
                f"{row['flip_p99']:.3f}",
                f"{row['psnr']:.2f}",
                row["ssim"],
            ]
            for name, row in report.items()
        ),
    )


@dataclasses.dataclass(frozen=True)
class VisibilityOptions(Checked):
    """What the command can be told."""

    tagger: str = option(DEFAULT_PRESET, "A preset's name or a run's folder.")
    data: str = option("", "Folder of photos.", required=True)
    split: str = option("test", "Split to measure; empty for all.")
    limit: int = option(0, "Photos at most; 0 for all.", low=0)
    psnr: float = option(0.0, "Strength in dB; 0 takes the tagger's own.", low=0.0)
    promise: str = option("", "Instead, a promise that chooses the strength.")
    refine: int = option(0, "Steps of refinement.", low=0)
    seed: int = option(1, "Of the payloads.")
    pairs: str = option("", "Folder for cover and tagged photos; empty for none.")
    output: str = option("build/visibility", "Report to write, without .json and .md.")


def main(options: VisibilityOptions) -> None:
    """Runs the command; see the module's docstring."""
    tagger = Tagger.load(options.tagger)
    photos = find_photos(options.data, options.split).spread(options.limit)
    rng = np.random.default_rng(options.seed)
    enlarged = f"canvas, enlarged {ENLARGED} times"
    rows = {"whole photo": [], enlarged: []}
    for entry in tqdm(photos, unit="photo", disable=None):
        payload = int(rng.integers(2**tagger.config.payload_bits))
        try:
            cover = read_photo(entry.path)
            canvases = tagger.find_canvases(cover)
        except ValueError as error:
            tqdm.write(f"Skipped: {error}")
            continue
        tagged = tag_as_promised(
            tagger,
            cover,
            payload,
            options.psnr or None,
            options.promise,
            canvases,
            options.refine,
            check=bool(options.promise),
        ).pixels
        rows["whole photo"].append(measure_visibility(cover, tagged))
        pair = [enlarge(tagger.canvas_image(x, canvases[0])) for x in (cover, tagged)]
        rows[enlarged].append(measure_visibility(*pair))
        if options.pairs:
            write_pair(options.pairs, pathlib.Path(entry.path).stem, cover, tagged)
    if not rows["whole photo"]:
        raise ValueError(f"None of the {len(photos)} photos could be read.")
    report = {name: mean_of(found) for name, found in rows.items()}
    table = markdown_visibility(report)
    write_report(options.output, report, table)
    print(table)


if __name__ == "__main__":
    run_command(VisibilityOptions(), main)
