"""Prints what each TFLite export weighs, how fast it is and how well it agrees.

    python -m benchmarks.tflite --tagger=face128 --data=drawn

Agreement with Keras is measured on held-out photos, tagged at the tagger's strength and
manipulated with real codecs: bits alike, bit accuracy lost against float32, word error.
Latency is the fastest and the median of 50 calls on one canvas.
"""

from __future__ import annotations

import pathlib
import tempfile
import time

import numpy as np
from absl import flags

from export import tflite
from faketagger_tf import lite
from faketagger_tf.command import run_main
from faketagger_tf.data.load import load_split
from faketagger_tf.evaluation import canvases as evaluation
from faketagger_tf.files import write_atomic
from faketagger_tf.manipulations import Context, parse_chains
from faketagger_tf.presets import DEFAULT_PRESET, load_tagger

FLAGS = flags.FLAGS
CALLS = 50


def latency(path: str, canvas: np.ndarray, threads: int) -> tuple[float, float]:
    """Returns the fastest and the median call in milliseconds."""
    decode = lite.load_decoder(path, threads)
    decode(canvas)
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        decode(canvas)
        times.append(1e3 * (time.perf_counter() - start))
    return min(times), float(np.median(times))


def main(argv: list[str]) -> int:
    """Runs the benchmark; see the module's docstring."""
    del argv
    config, encoder, decoder = load_tagger(FLAGS.tagger)
    options = {
        "image_size": config.image_size,
        "canvas_scale": config.canvas_scale,
        "outside": config.outside,
    }
    calibration, _ = load_split(FLAGS.data, "train", **options)
    step = max(1, len(calibration) // tflite.CALIBRATION_CANVASES)
    calibration = tflite.calibration_canvases(
        config, encoder, calibration[::step][: tflite.CALIBRATION_CANVASES]
    )
    covers, _ = load_split(FLAGS.data, "test", **options)
    covers = covers[: FLAGS.limit]
    decoders = {"keras": evaluation.keras_decode(decoder)}
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in tflite.PRECISIONS["decoder"]:
            content = tflite.convert_decoder(
                config, decoder, precision, calibration=calibration
            )
            path = pathlib.Path(folder) / f"{precision}.tflite"
            path.write_bytes(content)
            canvas = covers[:1].astype(np.float32) / 255.0
            calls = [latency(str(path), canvas, threads) for threads in (1, 2)]
            files[precision] = len(content) / 1024, *calls
            decoders[precision] = lite.load_decoder(str(path))
        report, _ = evaluation.evaluate(
            config,
            encoder,
            decoders,
            covers,
            parse_chains(FLAGS.manipulation),
            Context(face_region=config.face_region),
            strength=FLAGS.psnr or None,
            samples=1,
        )

    def mean(rows: dict, name: str) -> float:
        return float(np.mean([row[name] for row in rows.values()]))

    keras = report["manipulations"]
    lines = [
        f"{len(covers)} photos, {len(keras)} manipulations, "
        f"{FLAGS.psnr or config.psnr} dB, Keras bit accuracy "
        f"{mean(keras, 'bit_accuracy'):.4f}.",
        "",
        "| decoder | KiB | 1 thread, ms | 2 threads, ms | images read as Keras | "
        "largest loss of bit accuracy | word error, Keras / file |",
        "|---|---|---|---|---|---|---|",
    ]
    for precision, (size, one, two) in files.items():
        found = report["decoders"][precision]
        rows = found["manipulations"]
        lost = [
            keras[spec]["bit_accuracy"] - rows[spec]["bit_accuracy"] for spec in keras
        ]
        lines.append(
            f"| {precision} | {size:.0f} | "
            f"{one[0]:.2f} ({one[1]:.2f}) | {two[0]:.2f} ({two[1]:.2f}) | "
            f"{found['same_bits'] / found['images']:.4f} | "
            f"{100 * max(lost):.2f} points | "
            f"{mean(keras, 'word_error_rate'):.4f} / "
            f"{mean(rows, 'word_error_rate'):.4f} |"
        )
    table = "\n".join(lines) + "\n"
    print(table)
    if FLAGS.output:
        write_atomic(FLAGS.output, table)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", DEFAULT_PRESET, "A preset's name or a run's folder.")
    flags.DEFINE_string("data", "drawn", "'drawn' or a folder of photos.")
    flags.DEFINE_integer("limit", 64, "Held-out photos.", lower_bound=1)
    flags.DEFINE_float("psnr", 0.0, "Strength in dB; 0 takes the tagger's own.")
    flags.DEFINE_multi_string(
        "manipulation",
        ["identity", "jpeg(75)", "jpeg(50)", "resize(0.5)", "facepaste|jpeg(75)"],
        "A chain to measure; repeat the flag for more.",
    )
    flags.DEFINE_string("output", "", "Markdown file to write; empty for none.")
    run_main(main)
