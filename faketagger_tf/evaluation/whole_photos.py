"""Prints how many tags are read back from whole photos at their own size.

    python -m faketagger_tf.evaluation.whole_photos --data=photos [--tagger=portrait128]

Each photo of the split is tagged with a random payload as `faketagger tag` does it,
changed, and read as `faketagger trace` does it. `read`: the payload came back; `wrong`:
another one was reported as found, on a tagged photo or on an untagged one.
"""

from __future__ import annotations

import time
import zlib

import cv2
import numpy as np
from absl import flags

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.data import find_photos
from faketagger_tf.deepfake import swap_faces
from faketagger_tf.metrics import psnr
from faketagger_tf.photos import decode_photo, encode_image, read_photo
from faketagger_tf.presets import load_faceswap, write_atomic
from faketagger_tf.tagging.tagger import FPR, Tagger

FLAGS = flags.FLAGS


def jpeg(photo: np.ndarray, quality: int) -> np.ndarray:
    """Saves a photo as JPEG and opens it again."""
    return decode_photo(encode_image(photo, ".jpg", quality))


def resize(photo: np.ndarray, factor: float) -> np.ndarray:
    """Resizes by area when smaller, cubic when larger."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo, None, fx=factor, fy=factor, interpolation=method)


def rotate(photo: np.ndarray, degrees: float) -> np.ndarray:
    """Turns a photo about its middle; the corners that come in are black."""
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_CUBIC)


def crop_around(photo: np.ndarray, box, rng: np.random.Generator) -> np.ndarray:
    """Cuts 5% to 15% off each side, as far as the face's box allows."""
    height, width = photo.shape[:2]
    left, top, box_width, box_height = box
    limits = left, top, width - left - box_width, height - top - box_height
    sides = [
        int(max(0, min(share * length, limit)))
        for share, length, limit in zip(
            rng.uniform(0.05, 0.15, 4), (width, height) * 2, limits, strict=True
        )
    ]
    cropped = photo[sides[1] : height - sides[3], sides[0] : width - sides[2]]
    return np.ascontiguousarray(cropped)


def changes(box, rng: np.random.Generator, swap) -> dict:
    """Name -> function photo -> photo, for one photo."""
    turn = rng.choice([-1, 1])
    found = {
        "as tagged": lambda photo: photo,
        "JPEG 75": lambda photo: jpeg(photo, 75),
        "JPEG 50": lambda photo: jpeg(photo, 50),
        "half size": lambda photo: resize(photo, 0.5),
        "double size, JPEG 75": lambda photo: jpeg(resize(photo, 2.0), 75),
        "crop": lambda photo: crop_around(photo, box, rng),
        "rotation by 10 degrees": lambda photo: rotate(photo, 10 * turn),
        "crop, rotation by 10 degrees": lambda photo: rotate(
            crop_around(photo, box, rng), 10 * turn
        ),
        "crop, half size, JPEG 75": lambda photo: jpeg(
            resize(crop_around(photo, box, rng), 0.5), 75
        ),
    }
    if swap:
        config, model = swap
        found["deepfake, JPEG 75"] = lambda photo: jpeg(
            swap_faces(photo, config, model, config.identities[-1])[0], 75
        )
    return found


def main(argv: list[str]) -> int:
    """Runs the measurement; see the module's docstring."""
    del argv
    tagger = Tagger.load(FLAGS.tagger)
    swap = load_faceswap(FLAGS.swap_model) if FLAGS.swap_model else None
    photos = list(find_photos(require_flag("data"), FLAGS.split))
    photos = photos[: FLAGS.limit or None]
    read, wrong, small, strengths = {}, {}, {}, []
    start = time.monotonic()
    for number, entry in enumerate(photos):
        photo = read_photo(entry.path)
        rng = np.random.default_rng([FLAGS.seed, zlib.crc32(entry.person.encode())])
        payload = int(rng.integers(2**tagger.config.payload_bits))
        canvases = tagger.find_canvases(photo)
        tagged = tagger.embed(
            photo, payload, FLAGS.psnr or None, canvases, FLAGS.refine
        )
        strengths.append(float(psnr(photo[None], tagged[None])[0]))
        face = canvases[0].face
        box = face.box if face else (0, 0, photo.shape[1], photo.shape[0])
        tests = {"untagged": lambda _, photo=photo: photo} | changes(box, rng, swap)
        for name, change in tests.items():
            try:
                changed = change(tagged)
                found = [r.payload for r in tagger.read(changed, FLAGS.fpr)]
            except ValueError:  # Too small to be read, or no face to be swapped.
                small[name] = small.get(name, 0) + 1
                continue
            right = payload in found and name != "untagged"
            read.setdefault(name, []).append(right)
            others = set(found) - ({payload} if right else set())
            wrong.setdefault(name, []).append(bool(others))
        if (number + 1) % 20 == 0:
            each = (time.monotonic() - start) / (number + 1)
            left = each * (len(photos) - number - 1)
            print(f"{number + 1}/{len(photos)} photos, {left:.0f} s left", flush=True)
    lines = [
        f"{len(photos)} photos, PSNR {np.mean(strengths):.2f} dB over the whole photo, "
        f"p <= {FLAGS.fpr:.0e}.",
        "",
        "| change | photos | read | wrong |",
        "|---|---|---|---|",
    ]
    for name, rows in read.items():
        share = "-" if name == "untagged" else f"{100 * np.mean(rows):.1f}%"
        lines.append(f"| {name} | {len(rows)} | {share} | {sum(wrong[name])} |")
    lines += [f"\n{n} photos could not take: {name}." for name, n in small.items()]
    table = "\n".join(lines) + "\n"
    print(table)
    if FLAGS.output:
        write_atomic(FLAGS.output, table)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", "portrait128", "A preset's name or a run's folder.")
    flags.DEFINE_string("data", None, "Folder of photos.")
    flags.DEFINE_string("split", "test", "Split to measure; empty for all.")
    flags.DEFINE_string("swap_model", None, "Also deepfake them with this model.")
    flags.DEFINE_float("psnr", 0.0, "Strength in dB; 0 takes the tagger's own.")
    flags.DEFINE_integer("refine", 0, "Steps of refinement.", lower_bound=0)
    flags.DEFINE_float("fpr", FPR, "Largest p-value of a tag that counts as found.")
    flags.DEFINE_integer("limit", 0, "Photos at most; 0 for all.", lower_bound=0)
    flags.DEFINE_integer("seed", 1, "Of payloads and changes.")
    flags.DEFINE_string("output", "", "Markdown file to write; empty for none.")
    run_main(main)
