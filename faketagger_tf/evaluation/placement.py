"""Measures how well `registry.placement` tells what was done to a photo.

    python -m faketagger_tf.evaluation.placement --data=photos --swap_model=unseen_skips

Photos are changed, and their largest face is compared with where it was. The tag plays
no part in that: a placement rests on the face that carries it.
"""

from __future__ import annotations

import collections
import dataclasses
import zlib

import numpy as np
from tqdm import tqdm

from faketagger_tf.data import find_photos
from faketagger_tf.deepfake import swap_faces
from faketagger_tf.evaluation import changes
from faketagger_tf.files import write_atomic
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import DEFAULT_PRESET, load_faceswap
from faketagger_tf.registry.jobs import describe_faces
from faketagger_tf.registry.placement import (
    Placement,
    find_placement,
)
from faketagger_tf.registry.records import Record
from faketagger_tf.tagging.tagger import Tagger

CLAIMS = (
    "mirrored",
    "turned",
    "resized",
    "cropped",
)  # Words that a clause begins with.


def change_photo(photo: np.ndarray, scene: changes.Scene, swaps: dict) -> dict:
    """The suspects that a photo becomes, by what was done; JPEG 75 but for the first.

    Args:
        photo: uint8 [H, W, 3].
        scene: its faces, and how to draw crops.
        swaps: name: (configuration, model, identity) of face swaps.
    """
    cropped = changes.crop(photo, scene, 0.1)
    tests = {
        "untouched": photo,
        "JPEG 75": photo,
        "half size": changes.scale(photo, 0.5),
        "cropped by 10% a side": cropped,
        "cropped by 5% a side": changes.crop(photo, scene, 0.05),
        "turned by 10 degrees": changes.rotate(photo, scene, 10),
        "mirrored": changes.mirror(photo, scene),
    }
    for name, (config, model, identity) in swaps.items():
        try:
            tests[f"swap {name}"] = swap_faces(photo, config, model, identity)[0]
            tests[f"swap {name}, cropped by 10% a side"] = swap_faces(
                cropped, config, model, identity
            )[0]
        except ValueError:  # No face that could be swapped.
            continue
    return {
        name: made if name == "untouched" else changes.jpeg(made, scene, 75)
        for name, made in tests.items()
    }


def measure(options: PlacementOptions, tagger: Tagger) -> dict[str, list[Placement]]:
    """Placements of the photos' largest faces, by what was done to the photos."""
    found = collections.defaultdict(list)
    swaps = {name: load_faceswap(name) for name in options.swap_model}
    photos = list(find_photos(options.data, options.split).spread(options.limit))
    for number, entry in enumerate(tqdm(photos, unit="photo", disable=None)):
        photo = read_photo(entry.path)
        canvas = tagger.find_canvases(photo)[0]
        if canvas.face is None:
            continue
        seed = zlib.crc32(entry.person.encode())
        scene = changes.Scene(np.random.default_rng(seed), (canvas.face,))
        height, width = photo.shape[:2]
        record = Record("", "", width=width, height=height)
        (face,) = describe_faces(photo, [canvas])
        models = {
            name: (config, model, config.identities[number % len(config.identities)])
            for name, (config, model) in swaps.items()
        }
        for name, suspect in change_photo(photo, scene, models).items():
            try:
                place = tagger.find_canvases(suspect, reading=True)[0]
            except ValueError:  # Smaller than a photo may be.
                continue
            if name == "mirrored":  # As a reading would be.
                place = place.mirror(tagger.config.image_size)
            placement = find_placement(suspect, place, record, face)
            if placement:
                found[name].append(placement)
    return found


def report(found: dict[str, list[Placement]]) -> str:
    """A Markdown table: what was said, and the quantiles it rests on."""
    lines = [
        f"| change | faces | {' | '.join(CLAIMS)} | share shown: 1%, median, 99% | "
        "scale: 1%, 99% | degrees: 99% |",
        f"|{'---|' * (len(CLAIMS) + 5)}",
    ]
    for name, placements in found.items():
        told = [" ".join(placement.in_words()) for placement in placements]
        cells = [
            f"{100 * np.mean([claim in text for text in told]):.1f}%"
            for claim in CLAIMS
        ]
        shown = np.quantile([p.shown for p in placements], (0.01, 0.5, 0.99))
        scale = np.quantile([p.scale for p in placements], (0.01, 0.99))
        turned = np.quantile([abs(p.turned) for p in placements], 0.99)
        cells += [
            ", ".join(f"{value:.2f}" for value in shown),
            ", ".join(f"{value:.2f}" for value in scale),
            f"{turned:.1f}",
        ]
        lines.append(f"| {name} | {len(placements)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class PlacementOptions(Checked):
    """What the command can be told."""

    data: str = option("", "Folders of photos, joined by commas.", required=True)
    tagger: str = option(DEFAULT_PRESET, "Preset, or folder of the tagger.")
    split: str = option("test", "Use this split; empty for all.")
    limit: int = option(0, "Use at most so many photos; 0 for all.", low=0)
    swap_model: tuple[str, ...] = option((), "Face-swap model; repeat for more.")
    output: str = option("", "Also write the report to this file.")


def main(options: PlacementOptions) -> None:
    """Measures and prints."""
    text = report(measure(options, Tagger.load(options.tagger)))
    print(text)
    if options.output:
        write_atomic(options.output, text)


if __name__ == "__main__":
    run_command(PlacementOptions(), main)
