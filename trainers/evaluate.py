"""Measures a tagger on photos of people that it was not trained on.

    python -m trainers.evaluate --flagfile=configs/demo_evaluate.cfg \\
        --tagger=runs/demo/joint --swap_model=runs/demo/faceswap --output=runs/demo

Writes `report.json`, `report.md` and `panel.png`: cover | tagged | residual x10 | each
manipulation, with the number of raw bits wrong under it. Everything is measured on
uint8 images and with OpenCV's codecs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib

import cv2
import numpy as np
from absl import flags

from faketagger_tf import lite
from faketagger_tf.command import require_flag, run_main
from faketagger_tf.data import find_photos
from faketagger_tf.data.load import load_split
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.evaluation import attacks
from faketagger_tf.evaluation import canvases as evaluation
from faketagger_tf.manipulations import Context, parse_chains
from faketagger_tf.messages import format_payload
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.presets import (
    load_presence,
    load_swaps,
    load_tagger,
    write_atomic,
)
from faketagger_tf.tagging.refine import CHAINS, Refiner
from faketagger_tf.tagging.tagger import Tagger

FLAGS = flags.FLAGS

DRAWN_PHOTOS = 200  # Untagged drawings in which --attacks looks for a tag.
CAPTION = 14  # Height in pixels of the line under a picture.


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("tagger", None, "A preset's name or a trained run's folder.")
    flags.DEFINE_string("data", "drawn", "'drawn' or a folder of photos.")
    flags.DEFINE_enum(
        "split", "test", ["test", "validation"], "Which held-out split to measure."
    )
    flags.DEFINE_integer(
        "limit", 0, "Measure this many photos at most; 0 for all.", lower_bound=0
    )
    flags.DEFINE_integer(
        "repeats", 1, "Payloads that each photo is tagged with.", lower_bound=1
    )
    flags.DEFINE_multi_string(
        "manipulation",
        ["identity", "jpeg(50)", "resize(0.5)"],
        "A chain to measure; repeat the flag for more.",
    )
    flags.DEFINE_multi_string(
        "swap_model", [], "Face-swap model, 'folder' or 'name=folder'."
    )
    flags.DEFINE_float(
        "psnr", 0.0, "Strength in dB; 0 takes the tagger's own.", lower_bound=0.0
    )
    flags.DEFINE_integer(
        "refine",
        0,
        "Steps by which every residual is refined; see faketagger_tf/refine.py.",
        lower_bound=0,
    )
    flags.DEFINE_multi_string(
        "refine_manipulation",
        list(CHAINS),
        "A chain that the refined tag is to survive; repeat the flag for more.",
    )
    flags.DEFINE_string(
        "tflite",
        "",
        "Decoder file to read the same images with; the report then says how many "
        "images both read alike.",
    )
    flags.DEFINE_bool(
        "attacks",
        False,
        "Also measure a second tag, averaged residuals, accuracy by lightness of the "
        "face, and false positives on the untagged photos and on drawn faces.",
    )
    flags.DEFINE_integer("samples", 4, "Rows of the picture.", lower_bound=1)
    flags.DEFINE_integer("seed", 1, "Seed of payloads and manipulations.")
    flags.DEFINE_string("output", None, "Folder that receives the report.")


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
    width = large.shape[1]
    lines = [caption[i : i + width // 6] for i in range(0, len(caption), width // 6)]
    cell = np.full((large.shape[0] + 3 * CAPTION, width + 4, 3), 255, np.uint8)
    cell[: large.shape[0], :width] = large
    for i, line in enumerate(lines[:3]):
        cv2.putText(
            cell,
            line,
            (2, large.shape[0] + (i + 1) * CAPTION - 3),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.33,
            (0, 0, 0),
            1,
            cv2.LINE_AA,
        )
    return cell


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


def count_untagged(tagger: str) -> dict[str, dict]:
    """Counts false positives on the untagged photos and on drawn faces."""
    examine = Tagger.load(tagger).examine
    rng = np.random.default_rng([FLAGS.seed, 2])
    drawn = (
        draw_photo(identity_from_seed(1000 + i), rng)[0]
        for i in range(FLAGS.limit or DRAWN_PHOTOS)
    )
    counts = {"drawn faces": attacks.count_false_positives(examine, drawn)}
    if FLAGS.data != "drawn":
        photos = list(find_photos(FLAGS.data, FLAGS.split))
        found = _read_all(photos[: FLAGS.limit or None])
        counts[f"{FLAGS.split} photos"] = attacks.count_false_positives(examine, found)
    return counts


def _read_all(photos):
    for photo in photos:
        # An unreadable one was named when the canvases were loaded.
        with contextlib.suppress(ValueError):
            yield read_photo(photo.path)


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    tagger, output = require_flag("tagger"), pathlib.Path(require_flag("output"))
    config, encoder, decoder = load_tagger(tagger)
    chains = parse_chains(FLAGS.manipulation)
    context = Context(
        swaps=load_swaps(FLAGS.swap_model), face_region=config.face_region
    )
    covers, identities = load_split(
        FLAGS.data,
        FLAGS.split,
        image_size=config.image_size,
        canvas_scale=config.canvas_scale,
    )
    if FLAGS.limit:
        covers, identities = covers[: FLAGS.limit], identities[: FLAGS.limit]
    decode = evaluation.keras_decode(decoder)
    refine = None
    if FLAGS.refine:
        against = parse_chains(FLAGS.refine_manipulation)
        refine = functools.partial(
            Refiner(config, decoder, against, context, FLAGS.seed), steps=FLAGS.refine
        )
    report, samples, manipulated = evaluation.evaluate(
        config,
        encoder,
        decode,
        covers,
        chains,
        context,
        identities=identities,
        seed=FLAGS.seed,
        psnr=FLAGS.psnr or None,
        samples=FLAGS.samples,
        repeats=FLAGS.repeats,
        presence=load_presence(tagger),
        refine=refine,
    )
    if FLAGS.tflite:
        read = lite.load_decoder(FLAGS.tflite)
        images = np.concatenate(list(manipulated.values()))
        ours = evaluation.read_logits(decode, images)
        theirs = evaluation.read_logits(read, images)
        alike = np.all((ours > 0) == (theirs > 0), axis=1)
        report["tflite"] = {
            "images": len(images),
            "same_bits": int(alike.sum()),
            "largest_logit_difference": float(np.abs(ours - theirs).max()),
        }
    table = evaluation.markdown_table(report)
    if FLAGS.attacks:
        report["attacks"] = attacks.measure_attacks(
            config, encoder, decode, covers, FLAGS.seed
        )
        report["untagged"] = count_untagged(tagger)
        table += "\n" + evaluation.markdown_lightness(report)
        table += "\n" + attacks.markdown_attacks(report["attacks"], report["untagged"])
    write_atomic(output / "report.json", json.dumps(report, indent=2) + "\n")
    write_atomic(output / "report.md", table)
    write_image(output / "panel.png", draw_panel(samples))
    write_example(samples[0], output, config.payload_bits)
    print(table)
    if FLAGS.tflite:
        row = report["tflite"]
        print(
            f"TFLite and Keras read the same bits in {row['same_bits']} of "
            f"{row['images']} images."
        )
    print(f"Wrote report.json, report.md and panel.png to {output}")
    return 0


if __name__ == "__main__":
    define_flags()
    run_main(main)
