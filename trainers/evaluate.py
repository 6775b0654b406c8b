"""Measures a tagger on photos of people that it was not trained on.

    python -m trainers.evaluate --flagfile=configs/demo_evaluate.cfg \\
        --tagger=runs/demo/joint --swap_model=runs/demo/faceswap --output=runs/demo

Writes `report.json`, `report.md` and `panel.png`: cover | tagged | residual x10 | each
manipulation, with the number of raw bits wrong under it. Everything is measured on
uint8 images and with OpenCV's codecs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib

import cv2
import numpy as np

from faketagger_tf import lite
from faketagger_tf.data import find_photos
from faketagger_tf.data.load import load_split
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.evaluation import attacks
from faketagger_tf.evaluation import canvases as evaluation
from faketagger_tf.evaluation.html import canvas_page
from faketagger_tf.evaluation.report import write_report
from faketagger_tf.files import write_atomic
from faketagger_tf.manipulations import Context, parse_chains
from faketagger_tf.messages import format_payload
from faketagger_tf.models import build_informed_encoder
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import captioned, read_photo, write_image
from faketagger_tf.presets import (
    load_latents,
    load_presence,
    load_swaps,
    load_tagger,
)
from faketagger_tf.tagging.refine import CHAINS, Refiner
from faketagger_tf.tagging.tagger import Tagger

DRAWN_PHOTOS = 200  # Untagged drawings in which --attacks looks for a tag.


@dataclasses.dataclass(frozen=True)
class EvaluateOptions(Checked):
    """What the evaluation can be told."""

    tagger: str = option(
        "", "A preset's name or a trained run's folder.", required=True
    )
    data: str = option("drawn", "'drawn' or a folder of photos.")
    split: str = option(
        "test", "Which held-out split to measure.", choices=("test", "validation")
    )
    limit: int = option(0, "Measure this many photos at most; 0 for all.", low=0)
    repeats: int = option(1, "Payloads that each photo is tagged with.", low=1)
    manipulation: tuple[str, ...] = option(
        ("identity", "jpeg(50)", "resize(0.5)"),
        "A chain to measure; repeat the flag for more.",
    )
    swap_model: tuple[str, ...] = option(
        (), "Face-swap model, 'folder' or 'name=folder'."
    )
    latent_model: tuple[str, ...] = option(
        (), "Latent model: a shipped one, 'folder' or 'name=folder'."
    )
    psnr: float = option(0.0, "Strength in dB; 0 takes the tagger's own.", low=0.0)
    refine: int = option(
        0,
        "Steps by which every residual is refined; see tagging/refine.py.",
        low=0,
    )
    refine_manipulation: tuple[str, ...] = option(
        CHAINS,
        "A chain that the refined tag is to survive; repeat the flag for more.",
    )
    tflite: tuple[str, ...] = option(
        (),
        "Decoder file to read the same images with, compared with Keras in the "
        "report; repeat the flag for more.",
    )
    attacks: bool = option(
        False,
        "Also measure a second tag, averaged residuals, accuracy by lightness of the "
        "face, and false positives on the untagged photos and on drawn faces.",
    )
    html: bool = option(False, "Also write report.html, one page with plots.")
    samples: int = option(4, "Rows of the picture.", low=1)
    seed: int = option(1, "Seed of payloads and manipulations.")
    output: str = option("", "Folder that receives the report.", required=True)


def draw_panel(samples: list[evaluation.Sample]) -> np.ndarray:
    """Draws the picture of a report, uint8 `[height, width, 3]`."""
    rows = []
    for sample in samples:
        residual = sample.tagged.astype(np.int16) - sample.cover
        amplified = np.clip(128 + 10 * residual, 0, 255).astype(np.uint8)
        cells = [
            ("cover", sample.cover),
            ("tagged", sample.tagged),
            ("residual x10", amplified),
        ]
        cells += [
            (f"{wrong} wrong {spec}", image)
            for spec, (image, wrong) in sample.manipulated.items()
        ]
        rows.append(np.hstack([_cell(image, caption) for caption, image in cells]))
    return np.vstack(rows)


def _cell(image: np.ndarray, caption: str) -> np.ndarray:
    scale = max(1, round(160 / image.shape[0]))
    large = cv2.resize(image, None, None, scale, scale, interpolation=cv2.INTER_NEAREST)
    return captioned(large, caption, lines=4)


def write_example(
    sample: evaluation.Sample, folder: pathlib.Path, payload_bits: int
) -> None:
    """Writes a tagged PNG and, if there was a face swap, its result as JPEG 90."""
    write_image(folder / "tagged.png", sample.tagged)
    note = {"payload": format_payload(sample.payload, payload_bits)}
    swapped = [spec for spec in sample.manipulated if "faceswap" in spec]
    if swapped:
        image, _ = sample.manipulated[swapped[0]]
        write_image(folder / "swapped.jpg", image, quality=90)
        note["swapped.jpg"] = f"{swapped[0]}, saved as JPEG 90"
    write_atomic(folder / "example.json", json.dumps(note, indent=2) + "\n")


def count_untagged(options: EvaluateOptions) -> dict[str, dict]:
    """Counts false positives on the untagged photos and on drawn faces."""
    examine = Tagger.load(options.tagger).examine
    rng = np.random.default_rng([options.seed, 2])
    drawn = (
        draw_photo(identity_from_seed(1000 + i), rng)[0]
        for i in range(options.limit or DRAWN_PHOTOS)
    )
    counts = {"drawn faces": attacks.count_false_positives(examine, drawn)}
    if options.data != "drawn":
        photos = list(find_photos(options.data, options.split))
        found = _read_all(photos[: options.limit or None])
        counts[f"{options.split} photos"] = attacks.count_false_positives(
            examine, found
        )
    return counts


def _read_all(photos):
    for photo in photos:
        # An unreadable one was named when the canvases were loaded.
        with contextlib.suppress(ValueError):
            yield read_photo(photo.path)


def evaluate(options: EvaluateOptions) -> str:
    """Measures, writes the files, and returns the report's Markdown.

    Raises:
        ValueError: a tagger, model, file or chain that is not there, or no photo.
    """
    output = pathlib.Path(options.output)
    config, encoder, decoder = load_tagger(options.tagger)
    encoder = build_informed_encoder(config, encoder, decoder)
    chains = parse_chains(options.manipulation)
    context = Context(
        swaps=load_swaps(list(options.swap_model)),
        latents=load_latents(list(options.latent_model)),
        face_region=config.face_region,
    )
    decoders = {"keras": evaluation.keras_decode(decoder)}
    for path in filter(None, options.tflite):
        decoders[path] = lite.load_decoder(path)
    covers, identities = load_split(
        options.data,
        options.split,
        image_size=config.image_size,
        canvas_scale=config.canvas_scale,
        outside=config.outside,
    )
    kept = slice(options.limit or None)
    covers, identities = covers[kept], identities[kept]
    refine = None
    if options.refine:
        against = parse_chains(options.refine_manipulation)
        refine = functools.partial(
            Refiner(config, decoder, against, context, options.seed),
            steps=options.refine,
        )
    report, samples = evaluation.evaluate(
        config,
        encoder,
        decoders,
        covers,
        chains,
        context,
        identities=identities,
        seed=options.seed,
        strength=options.psnr or None,
        samples=options.samples,
        repeats=options.repeats,
        presence=load_presence(options.tagger),
        refine=refine,
    )
    table = evaluation.markdown_report(report)
    if options.attacks:
        report["attacks"] = attacks.measure_attacks(
            config, encoder, decoders["keras"], covers, options.seed
        )
        report["untagged"] = count_untagged(options)
        table += "\n" + evaluation.markdown_lightness(report)
        table += "\n" + attacks.markdown_attacks(report["attacks"], report["untagged"])
    write_report(output / "report", report, table)
    panel = draw_panel(samples)
    write_image(output / "panel.png", panel)
    if options.html:
        write_atomic(output / "report.html", canvas_page(report, panel))
    write_example(samples[0], output, config.payload_bits)
    return table


def main(options: EvaluateOptions) -> None:
    """Runs the command; see the module's docstring."""
    print(evaluate(options))
    print(f"Wrote report.json, report.md and panel.png to {options.output}")


if __name__ == "__main__":
    run_command(EvaluateOptions(), main)
