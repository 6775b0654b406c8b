"""Measures what the registry's figures are: registered p-values and fingerprints.

    python -m faketagger_tf.evaluation.registry --data=photos --fit=registered.json
    python -m faketagger_tf.evaluation.registry --data=photos --mode=fingerprints

`p_values` reads untagged photos at every place that the tagger searches, and compares
each face with registries of random payloads: false positives, that is, the share of
faces with a p-value of at most each level. With `--fit=FILE` the tail is fitted and
written instead; `--calibration=FILE` then checks it, on other photos.

`fingerprints` tags the photos, changes them, and counts the verdicts of `compare`
against the record of the photo; "transplant" compares with another person's record.
"""

from __future__ import annotations

import dataclasses
import os
import time
import zlib

import numpy as np
from absl import flags

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.data import find_photos
from faketagger_tf.deepfake import swap_faces
from faketagger_tf.messages.presence import Presence
from faketagger_tf.messages.registered import WordIndex, pack_words
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import load_faceswap, write_atomic
from faketagger_tf.registry.fingerprint import (
    compare,
    fingerprint,
    fingerprint_matrix,
)
from faketagger_tf.registry.records import FaceRecord
from faketagger_tf.tagging.tagger import Tagger

FLAGS = flags.FLAGS
NEVER = 1e-300  # A false-positive rate at which no search ends early.
QUANTILES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001)


def face_logits(tagger: Tagger, photo: np.ndarray) -> list[np.ndarray]:
    """Logits of every place searched around each face: float [places, L] a face."""
    found = []
    decode, seen = tagger._decode, []

    def listen(pixels):
        logits = decode(pixels)
        seen.append(logits.numpy())
        return logits

    tagger._decode = listen
    try:
        for canvas in tagger.find_canvases(photo):
            seen.clear()
            tagger._read_face(photo, canvas, NEVER)
            found.append(np.concatenate(seen))
    finally:
        tagger._decode = decode
    return found


def measure_surprises(
    code, faces: list[np.ndarray], issued: int, registries: int, seed: int, floor=0.0
) -> np.ndarray:
    """Registered surprises [registries, faces] of faces against random registries."""
    rng = np.random.default_rng([seed, issued])
    rows = []
    for _ in range(registries):
        payloads = rng.integers(0, 1 << code.payload_bits, issued, dtype=np.uint64)
        index = WordIndex(pack_words(code, payloads), code.message_bits)
        rows.append([index.search(logits, floor=floor).surprise for logits in faces])
    return np.array(rows)


def fit_presence(surprises: np.ndarray) -> Presence:
    """Fits the tail of surprises [registries, faces]; a face counts once."""
    presence = Presence.fit(surprises.ravel())
    return dataclasses.replace(presence, faces=surprises.shape[1])


def report_p_values(surprises: np.ndarray, presence: Presence) -> list[str]:
    """Markdown rows: share of faces with a p-value of at most each level."""
    x = np.sort(surprises.ravel())
    p = np.array([presence.p_value(v) if v >= presence.threshold else 1.0 for v in x])
    ideal = np.exp(-np.maximum(x, 0))
    return [
        f"| {level:g} | {np.mean(ideal <= level):.5f} | {np.mean(p <= level):.5f} |"
        for level in (*QUANTILES, 1e-4, 1e-6)
    ]


def run_p_values(tagger: Tagger, photos) -> str:
    """Reads untagged photos; see the module's docstring."""
    if FLAGS.logits and os.path.exists(FLAGS.logits):
        with np.load(FLAGS.logits) as stored:
            faces = np.split(stored["logits"], stored["ends"][:-1])
    else:
        faces = []
        for number, photo in enumerate(photos):
            faces += face_logits(tagger, read_photo(photo.path))
            _progress(number, len(photos))
        if FLAGS.logits:
            ends = np.cumsum([len(face) for face in faces])
            np.savez(FLAGS.logits, logits=np.concatenate(faces), ends=ends)
    sizes = {10**4: 6} if FLAGS.fit else {10**4: 6, 10**6: 5}
    surprises = {
        issued: measure_surprises(tagger.code, faces, issued, registries, FLAGS.seed)
        for issued, registries in sizes.items()
    }
    if FLAGS.fit:
        presence = fit_presence(surprises[10**4])
        write_atomic(FLAGS.fit, presence.to_json())
        return f"{FLAGS.fit}: {presence}\n"
    presence = Presence.load(FLAGS.calibration) if FLAGS.calibration else Presence()
    lines = []
    for issued, x in surprises.items():
        lines += [
            f"{issued:,} payloads, {x.shape[1]} faces, {x.shape[0]} registries, "
            f"largest surprise {x.max():.1f}.\n",
            "| p at most | share, ideal model | share, calibrated |\n|---|---|---|",
            *report_p_values(x, presence),
            "",
        ]
    return "\n".join(lines)


def run_fingerprints(tagger: Tagger, photos) -> str:
    """Counts verdicts; see the module's docstring."""
    from faketagger_tf.evaluation.whole_photos import crop_around, jpeg, resize

    swaps = {name: load_faceswap(name) for name in FLAGS.swap_model}
    counts: dict[str, dict[str, int]] = {}
    shares: dict[str, list[tuple[float, float]]] = {}
    last: tuple[str, FaceRecord] | None = None

    def count(name: str, photo: np.ndarray, record: FaceRecord) -> None:
        try:
            face = tagger.find_canvases(photo)[0].face
        except ValueError:  # Smaller than a photo may be.
            return
        landmarks = face.landmarks if face else ()
        matrix = fingerprint_matrix(photo.shape[1], photo.shape[0], landmarks)
        change = compare(photo, matrix, record)
        row = counts.setdefault(name, {})
        row[change.verdict] = row.get(change.verdict, 0) + 1
        shares.setdefault(name, []).append((change.face, change.surroundings))

    for number, entry in enumerate(photos):
        photo = read_photo(entry.path)
        seed = zlib.crc32(entry.person.encode())
        rng = np.random.default_rng([FLAGS.seed, seed])
        canvases = tagger.find_canvases(photo)
        face = canvases[0].face
        box = face.box if face else (0, 0, photo.shape[1], photo.shape[0])
        landmarks = face.landmarks if face else ()
        matrix = fingerprint_matrix(photo.shape[1], photo.shape[0], landmarks)
        record = FaceRecord(box, (), *fingerprint(photo, matrix))
        payload = int(rng.integers(1 << tagger.config.payload_bits))
        tagged = tagger.embed(photo, payload, None, canvases)
        cropped = crop_around(tagged, box, rng)
        tests = {
            "tagged": tagged,
            "JPEG 75": jpeg(tagged, 75),
            "JPEG 50": jpeg(tagged, 50),
            "half size, JPEG 75": jpeg(resize(tagged, 0.5), 75),
            "crop, JPEG 75": jpeg(cropped, 75),
            "crop, half size, JPEG 75": jpeg(resize(cropped, 0.5), 75),
        }
        for name, (config, model) in swaps.items():
            identity = config.identities[number % len(config.identities)]
            try:
                swapped = swap_faces(tagged, config, model, identity)[0]
            except ValueError:  # No face that could be swapped.
                continue
            tests[f"swap {name}, JPEG 75"] = jpeg(swapped, 75)
        for name, changed in tests.items():
            count(name, changed, record)
        if last and last[0] != entry.person:
            count("transplant, JPEG 75", tests["JPEG 75"], last[1])
        last = entry.person, record
        _progress(number, len(photos))
    verdicts = sorted({verdict for row in counts.values() for verdict in row})
    lines = [
        f"| change | photos | {' | '.join(verdicts)} | face: median, 99% | "
        "surroundings: median, 99% |",
        f"|{'---|' * (len(verdicts) + 4)}",
    ]
    for name, row in counts.items():
        total = sum(row.values())
        cells = [f"{100 * row.get(verdict, 0) / total:.1f}%" for verdict in verdicts]
        cells += [
            f"{np.median(part):.3f}, {np.quantile(part, 0.99):.3f}"
            for part in zip(*shares[name], strict=True)
        ]
        lines.append(f"| {name} | {total} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_START = time.monotonic()


def _progress(number: int, total: int) -> None:
    if (number + 1) % 20 == 0:
        left = (time.monotonic() - _START) / (number + 1) * (total - number - 1)
        print(f"{number + 1}/{total} photos, {left:.0f} s left", flush=True)


def main(argv: list[str]) -> int:
    """Runs one measurement; see the module's docstring."""
    del argv
    tagger = Tagger.load(FLAGS.tagger)
    photos = []
    for folder in require_flag("data"):
        photos += list(find_photos(folder, FLAGS.split))
    # Sets and people mixed, so that a limit takes some of each.
    photos.sort(key=lambda photo: zlib.crc32(os.path.basename(photo.path).encode()))
    photos = photos[: FLAGS.limit or None]
    run = {"p_values": run_p_values, "fingerprints": run_fingerprints}[FLAGS.mode]
    report = run(tagger, photos)
    print(report)
    if FLAGS.output:
        write_atomic(FLAGS.output, report)
    return 0


def _define_flags() -> None:
    flags.DEFINE_enum("mode", "p_values", ["p_values", "fingerprints"], "What to do.")
    flags.DEFINE_string("tagger", "portrait128", "Preset or folder of the tagger.")
    flags.DEFINE_list("data", None, "Folders of photos without a tag.")
    flags.DEFINE_string("split", "test", "Use this split; empty for all.")
    flags.DEFINE_integer("limit", 0, "Use at most so many photos; 0 for all.")
    flags.DEFINE_integer("seed", 0, "Seed of payloads, registries and crops.")
    flags.DEFINE_list("swap_model", [], "Face-swap models.")
    flags.DEFINE_string("logits", "", "Keep the logits in this .npz file, or use it.")
    flags.DEFINE_string("fit", "", "Fit the tail and write it to this file.")
    flags.DEFINE_string("calibration", "", "Calibration to be checked.")
    flags.DEFINE_string("output", "", "Also write the report to this file.")


if __name__ == "__main__":
    _define_flags()
    run_main(main)
