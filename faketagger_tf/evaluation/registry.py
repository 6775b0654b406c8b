"""Measures what the registry's figures are: registered p-values and fingerprints.

    python -m faketagger_tf.evaluation.registry --data=photos --fit=registered.json
    python -m faketagger_tf.evaluation.registry --data=photos --plot=quantiles.png
    python -m faketagger_tf.evaluation.registry --data=photos --mode=fingerprints

`p_values` reads untagged photos at every place that the tagger searches, and compares
each face with registries of random payloads: false positives, that is, the share of
faces with a p-value of at most each level. With `--fit=FILE` the tail is fitted and
written instead; `--calibration=FILE` then checks it, on other photos, instead of the
preset's own. `--plot=FILE.png` draws the calibrated p-values' quantiles against those
that they should have.

`fingerprints` tags the photos, changes them, and counts the verdicts of `compare`
against the record of the photo. A "transplanted tag" is the residual of another's
tagged photo, which the attacker has to the last bit, added to this photo's face: it is
compared with the other's record.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import zlib
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from faketagger_tf.config import read_json_dataclass, write_json_dataclass
from faketagger_tf.data import find_photos
from faketagger_tf.deepfake import swap_faces
from faketagger_tf.evaluation.quantiles import draw_quantiles
from faketagger_tf.files import write_atomic
from faketagger_tf.messages.presence import Presence
from faketagger_tf.messages.registered import WordIndex, pack_words
from faketagger_tf.names import printable
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import EXTENSIONS, read_photo, write_image
from faketagger_tf.presets import DEFAULT_PRESET, load_faceswap
from faketagger_tf.registry.fingerprint import (
    compare,
    fingerprint,
    fingerprint_matrix,
)
from faketagger_tf.registry.records import FaceRecord
from faketagger_tf.tagging.search import PLACES
from faketagger_tf.tagging.tagger import Tagger

SMALL = 10**4  # Payloads of the registries that the tail is fitted to.
REGISTRIES = {SMALL: 6, 10**6: 5}  # Random registries of so many payloads.
QUANTILES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001)


def measure_surprises(
    code,
    faces: list[np.ndarray],
    issued: int,
    registries: int,
    seed: int,
    places: int = 0,
) -> np.ndarray:
    """Registered surprises [registries, faces] of faces against random registries.

    As many places are counted as a face has logits, but at least `places`.
    """
    rng = np.random.default_rng([seed, issued])
    rows = []
    for _ in range(registries):
        payloads = rng.integers(0, 1 << code.payload_bits, issued, dtype=np.uint64)
        index = WordIndex(pack_words(code, payloads), code.message_bits)
        found = [
            index.search(logits, max(places, len(logits)), floor=0.0)
            for logits in faces
        ]
        rows.append([match.surprise for match in found])
    return np.array(rows)


def fit_presence(surprises: np.ndarray) -> Presence:
    """Fits the tail of surprises [registries, faces]; a face counts once."""
    presence = Presence.fit(surprises.ravel())
    return dataclasses.replace(presence, faces=surprises.shape[1])


def p_values(surprises: np.ndarray, presence: Presence) -> np.ndarray:
    """P-values of surprises, as `Match.p_value` gives them; of the same shape."""
    x = np.ravel(surprises)
    p = [presence.p_value(v) if v >= presence.threshold else 1.0 for v in x]
    return np.array(p).reshape(np.shape(surprises))


def report_p_values(surprises: np.ndarray, presence: Presence) -> list[str]:
    """Markdown rows: share of faces with a p-value of at most each level."""
    ideal, p = p_values(surprises, Presence()), p_values(surprises, presence)
    return [
        f"| {level:g} | {np.mean(ideal <= level):.5f} | {np.mean(p <= level):.5f} |"
        for level in (*QUANTILES, 1e-4, 1e-6)
    ]


def read_all(photos, function) -> Iterator[tuple]:
    """Yields (entry, pixels, `function` of them); says which cannot be taken."""
    for entry in tqdm(photos, unit="photo", disable=None):
        try:
            photo = read_photo(entry.path)
            value = function(photo)
        except ValueError as error:
            print(f"{printable(entry.path)} is left out: {error}", file=sys.stderr)
        else:
            yield entry, photo, value


def read_logits(options: RegistryOptions, tagger: Tagger, photos) -> list[np.ndarray]:
    """The logits of each face of untagged photos, [places, L] each."""
    if options.logits and os.path.exists(options.logits):
        with np.load(options.logits) as stored:
            return np.split(stored["logits"], stored["ends"][:-1])
    faces = [each for *_, found in read_all(photos, tagger.logits) for each in found]
    if not faces:
        raise ValueError(
            "The photos must show a face. Received: none that can be read."
        )
    if options.logits:
        stored = {
            "logits": np.concatenate(faces),
            "ends": np.cumsum([len(face) for face in faces]),
        }
        write_atomic(options.logits, lambda path: np.savez(path, **stored))
    return faces


def run_p_values(options: RegistryOptions, tagger: Tagger, photos) -> str:
    """Reads untagged photos; see the module's docstring."""
    faces = read_logits(options, tagger, photos)
    sizes = [SMALL] if options.fit else REGISTRIES
    surprises = {
        issued: measure_surprises(
            tagger.code, faces, issued, REGISTRIES[issued], options.seed, PLACES
        )
        for issued in sizes
    }
    if options.fit:
        presence = fit_presence(surprises[SMALL])
        write_atomic(options.fit, write_json_dataclass(presence))
        return f"{options.fit}: {presence}\n"
    presence = tagger.registered
    if options.calibration:
        presence = read_json_dataclass(Presence, options.calibration)
    lines = []
    for issued, x in surprises.items():
        lines += [
            f"{issued:,} payloads, {x.shape[1]} faces, {x.shape[0]} registries, "
            f"largest surprise {x.max():.1f}.\n",
            "| p at most | share, ideal model | share, calibrated |\n|---|---|---|",
            *report_p_values(x, presence),
            "",
        ]
    if options.plot:
        drawn = {
            f"{issued:,} payloads": p_values(x, presence)
            for issued, x in surprises.items()
        }
        write_image(options.plot, draw_quantiles(drawn, len(faces)))
    return "\n".join(lines)


def run_fingerprints(options: RegistryOptions, tagger: Tagger, photos) -> str:
    """Counts verdicts; see the module's docstring."""
    from faketagger_tf.evaluation import changes

    swaps = {name: load_faceswap(name) for name in options.swap_model}
    counts: dict[str, dict[str, int]] = {}
    shares: dict[str, list[tuple[float, float]]] = {}
    last: tuple[str, FaceRecord, int, np.ndarray] | None = None
    carried, read = 0, 0  # Transplanted tags, and those of them that read.

    def count(name: str, photo: np.ndarray, record: FaceRecord) -> None:
        try:
            face = tagger.find_canvases(photo, reading=True)[0].face
        except ValueError:  # Smaller than a photo may be.
            return
        landmarks = face.landmarks if face else ()
        matrix = fingerprint_matrix(photo.shape[1], photo.shape[0], landmarks)
        change = compare(photo, matrix, record)
        row = counts.setdefault(name, {})
        row[change.verdict] = row.get(change.verdict, 0) + 1
        shares.setdefault(name, []).append((change.face, change.surroundings))

    entries = read_all(photos, tagger.find_canvases)
    for number, (entry, photo, canvases) in enumerate(entries):
        seed = zlib.crc32(entry.person.encode())
        rng = np.random.default_rng([options.seed, seed])
        face = canvases[0].face
        box = face.box if face else (0, 0, photo.shape[1], photo.shape[0])
        landmarks = face.landmarks if face else ()
        matrix = fingerprint_matrix(photo.shape[1], photo.shape[0], landmarks)
        record = FaceRecord(box, (), *fingerprint(photo, matrix))
        payload = int(rng.integers(1 << tagger.config.payload_bits))
        residuals = tagger.residuals(photo, payload, canvases)
        tagged = tagger.embed(photo, payload, canvases=canvases, residuals=residuals)
        scene = changes.Scene(rng, (face,) if face else ())

        def jpeg(pixels, quality=75, scene=scene):
            return changes.jpeg(pixels, scene, quality)

        cropped = changes.crop(tagged, scene, 0.1)
        tests = {
            "tagged": tagged,
            "JPEG 75": jpeg(tagged),
            "JPEG 50": jpeg(tagged, 50),
            "half size, JPEG 75": jpeg(changes.scale(tagged, 0.5)),
            "crop, JPEG 75": jpeg(cropped),
            "crop, half size, JPEG 75": jpeg(changes.scale(cropped, 0.5)),
        }
        for name, (config, model) in swaps.items():
            identity = config.identities[number % len(config.identities)]
            try:
                swapped = swap_faces(tagged, config, model, identity)[0]
            except ValueError:  # No face that could be swapped.
                continue
            tests[f"swap {name}, JPEG 75"] = jpeg(swapped)
        for name, changed in tests.items():
            count(name, changed, record)
        if last and last[0] != entry.person:
            _, other, other_payload, residual = last
            forged = tagger.embed(
                photo, other_payload, canvases=canvases[:1], residuals=residual
            )
            forged = jpeg(forged)
            count("transplanted tag, JPEG 75", forged, other)
            found = {reading.payload for reading in tagger.read(forged)}
            carried, read = carried + 1, read + (other_payload in found)
        last = entry.person, record, payload, residuals[:1]
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
    lines += ["", f"{read} of {carried} transplanted tags read."]
    return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class RegistryOptions(Checked):
    """What the command can be told."""

    data: str = option("", "Folders of photos, joined by commas.", required=True)
    mode: str = option("p_values", "What to do.", choices=("p_values", "fingerprints"))
    tagger: str = option(DEFAULT_PRESET, "Preset, or folder of the tagger.")
    split: str = option("test", "Use this split; empty for all.")
    limit: int = option(0, "Use at most so many photos; 0 for all.", low=0)
    seed: int = option(0, "Seed of payloads, registries and crops.")
    swap_model: tuple[str, ...] = option((), "Face-swap model; repeat for more.")
    logits: str = option("", "Keep the logits in this .npz file, or use it.")
    fit: str = option("", "Fit the tail and write it to this file.")
    calibration: str = option("", "Calibration to be checked; the preset's by default.")
    plot: str = option("", "Draw expected against observed quantiles into this file.")
    output: str = option("", "Also write the report to this file.")


def main(options: RegistryOptions) -> None:
    """Runs one measurement; see the module's docstring."""
    if options.plot and (options.fit or options.mode != "p_values"):
        raise ValueError(
            "--plot draws p-values that are checked. Received: --plot with "
            f"{'--fit' if options.fit else f'--mode={options.mode}'}."
        )
    if options.plot and not options.plot.lower().endswith(EXTENSIONS):
        raise ValueError(
            f"--plot must end in one of {', '.join(EXTENSIONS)}. "
            f"Received: {options.plot!r}."
        )
    tagger = Tagger.load(options.tagger)
    photos = list(find_photos(options.data, options.split).spread(options.limit))
    run = {"p_values": run_p_values, "fingerprints": run_fingerprints}[options.mode]
    report = run(options, tagger, photos)
    print(report)
    if options.output:
        write_atomic(options.output, report)


if __name__ == "__main__":
    run_command(RegistryOptions(), main)
