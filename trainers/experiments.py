"""The experiments of docs/experiments.md, each with one command.

    python -m trainers.experiments --data=photos --output=build/experiments
    python -m trainers.experiments --experiment=seed --data=photos --output=runs/seed
    python -m trainers.experiments --experiment=ablations --data=photos --output=runs/a

`kinds`: FakeTagger's kinds of deepfake (arXiv:2009.09869, section 4) on whole photos
of people not trained on, by models that the tagger met in training and by others, read
blind and with the payloads that were issued. `seed`: its re-implementation's three
runs, trained and measured. `ablations`: what a part of the design is worth, likewise.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from faketagger_tf.evaluation import changes
from faketagger_tf.evaluation.changes import CHANGES, Change, Scene
from faketagger_tf.evaluation.compare import (
    Marked,
    compare,
    load_photos,
    mark_ours,
    read_ours,
)
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.presets import list_latents, load_faceswap, load_latent
from faketagger_tf.tagging.tagger import FPR, Tagger

# Models whose first, soft versions face128 was trained against, and models that no
# preset was.
SWAPS = ("one", "two", "three")
UNSEEN_SWAPS = ("unseen_large", "unseen_skips", "unseen_narrow")
UNSEEN_LATENTS = ("unseen", "unseen_wide")
# What latent models do, and how a row says so.
EDITED = {"face": {"region": "face"}, "whole canvas": {"region": "canvas"}}
NOISES = {"noise 0": {"noise": 0.0}, "noise 0.1": {"noise": 0.1}}
# Payloads that a registry holds beside those of the photos.
DECOYS = 10_000
# The paper's four kinds, by the first words of a row, and what the paper claims: more
# than 95% of the bits, the mean over them.
KINDS = ("identity swap", "reenactment", "attribute edit", "entire synthesis")
PAPER = 0.95
# Flagfiles, in the folder of configs/ that has the experiment's name, and their rows.
RUNS = {
    "seed": {
        "lambda1_alpha0.1": "(1, 0.1)",
        "lambda10_alpha0.1": "(10, 0.1)",
        "lambda1_alpha0.5": "(1, 0.5)",
    },
    "ablations": {
        "base": "base",
        "no_code": "no channel code",
        "no_linear_path": "no linear path",
        "visibility": "scaled to a visibility",
        "no_swaps": "no swaps in training",
    },
}
SWAPPED = "faceswap(A>B,mask=none,colour=0)"


@dataclasses.dataclass(frozen=True)
class ExperimentsOptions(Checked):
    """What the command can be told."""

    experiment: str = option("kinds", "Which one to run.", choices=("kinds", *RUNS))
    tagger: str = option("face128", "Of kinds: a preset's name or a run's folder.")
    data: str = option(
        "", "Folder of photos; of those trained, also 'drawn'.", required=True
    )
    kind: tuple[str, ...] = option(
        (), "Of kinds: one to measure; repeat the flag for more, all by default."
    )
    split: str = option("test", "Of kinds: split to measure; empty for all.")
    limit: int = option(24, "Of kinds: photos at most; 0 for all.", low=0)
    canvas: int = option(
        250, "Of kinds: pixels the face's canvas is scaled to; 0 for none.", low=0
    )
    promise: str = option(
        "web", "Of kinds: what chooses the strength; empty for the tagger's own."
    )
    registered: bool = option(
        True, "Of kinds: read with the issued payloads too; takes twice as long."
    )
    fpr: float = option(FPR, "Of kinds: largest p-value of a tag that is found.")
    steps: int = option(0, "Of those trained: steps of each run; 0 for its own.", low=0)
    seed: int = option(1, "Of payloads and deepfakes.")
    output: str = option("build/experiments", "Folder that receives the report.")


def kinds_of_deepfake() -> dict[str, Change]:
    """Name -> what happens; JPEG 75 follows each. Unseen models are said to be so."""
    jpeg = CHANGES["JPEG 75"]
    kinds: dict[str, Change] = {"untouched, JPEG 75": jpeg}
    for seen, names in (("", SWAPS), ("unseen ", UNSEEN_SWAPS)):
        for name in names:
            swap = functools.partial(_with_model, changes.swap, "swap", name)
            kinds[f"identity swap, {seen}model {name}"] = changes.chain(swap, jpeg)
    kinds["identity swap, unseen model, face alone"] = changes.chain(
        swap, changes.face_alone, jpeg
    )
    kinds["identity swap by graphics, drawn and composite donors"] = CHANGES[
        "graphics swap, JPEG 75"
    ]
    kinds["reenactment"] = CHANGES["reenacted, JPEG 75"]
    kinds["reenactment, face alone"] = CHANGES["reenacted, face alone, JPEG 75"]
    latents = {
        f"{'unseen ' * (name in UNSEEN_LATENTS)}model {name}": name
        for name in list_latents()
    }
    for kind, change, variants in (
        ("attribute edit", changes.edit, EDITED),
        ("entire synthesis", changes.regenerate, NOISES),
    ):
        for model, name in latents.items():
            for words, arguments in variants.items():
                made = functools.partial(change, **arguments)
                made = functools.partial(_with_model, made, "latent", name)
                kinds[f"{kind}, {model}, {words}"] = changes.chain(made, jpeg)
    return kinds


def select_kinds(kinds: Sequence[str]) -> dict[str, Change]:
    """`kinds_of_deepfake` of some of `KINDS`, or all of them where none is named.

    Raises:
        ValueError: there is no such kind.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"--kind must be one of {', '.join(KINDS)}. Received: {unknown[0]!r}."
        )
    every = kinds_of_deepfake()
    return {n: c for n, c in every.items() if not kinds or n.startswith(tuple(kinds))}


def _with_model(change: Change, kind: str, name: str, photo, scene: Scene):
    return change(photo, dataclasses.replace(scene, **{kind: _load(kind, name)}))


@functools.cache
def _load(kind: str, name: str):
    return load_faceswap(name) if kind == "swap" else load_latent(name)[1]


def measure_kinds(options: ExperimentsOptions) -> dict:
    """Runs `kinds`; returns the report of `compare`, its systems "blind" and
    "registered".

    Raises:
        ValueError: there is no such kind.
    """
    kinds = select_kinds(options.kind)
    tagger = Tagger.load(options.tagger)
    photos, scenes = load_photos(options, tagger)
    marked: list[Marked] = []

    def blind(photos, payloads):
        marked.append(mark_ours(tagger, photos, payloads, options.promise, options.fpr))
        return marked[0]

    def registered(photos, payloads):
        rng = np.random.default_rng([options.seed, DECOYS])
        decoys = rng.integers(2**tagger.config.payload_bits, size=DECOYS)
        issued = tagger.index([*payloads.values(), *map(int, decoys)])
        read = functools.partial(read_ours, tagger, options.fpr, issued)
        return dataclasses.replace(marked[0], read=read)

    systems = {"blind": blind}
    if options.registered:
        systems["registered"] = registered
    report, _ = compare(systems, photos, kinds, scenes, seed=options.seed)
    return {**dataclasses.asdict(options), **report}


def markdown_kinds(report: Mapping) -> str:
    """Returns a report of `measure_kinds` as Markdown."""
    rows = {(row["change"], row["system"]): row for row in report["rows"]}
    names = list(dict.fromkeys(change for change, _ in rows))

    def cells(name):
        blind, registered = rows[name, "blind"], rows.get((name, "registered"))
        return [
            name,
            blind["photos"],
            f"{blind['bits']:.3f}",
            f"{100 * blind['right']:.0f}%",
            f"{100 * registered['right']:.0f}%" if registered else None,
        ]

    titles = ["deepfake, then JPEG 75", "photos", "payload bits right, blind"]
    titles += [f"found blind at {report['fpr']:.0e}", "found among issued payloads"]
    text = markdown_table(titles, map(cells, names))
    means = []
    for kind in KINDS:
        bits = [
            rows[name, "blind"]["bits"]
            for name in names
            if name.startswith(kind) and "face alone" not in name
        ]
        if bits:
            means.append(float(np.mean(bits)))
    figures = report["systems"][0]
    return text + (
        f"\nMean over {len(means)} kinds, surroundings kept: {np.mean(means):.3f} of "
        f"the payload's bits (the paper claims more than {PAPER} over its four). "
        f"{report['photos']} photos, canvas {report['canvas']}, FLIP "
        f"{figures['flip_mean']:.3f} / {figures['flip_p99']:.3f}, PSNR "
        f"{figures['psnr']:.1f} dB; {DECOYS} other payloads issued.\n"
    )


def run_trained(options: ExperimentsOptions) -> str:
    """Runs `seed` or `ablations`; returns its table.

    What is trained already is measured alone.
    """
    folder = pathlib.Path(options.output)
    swap = folder / "faceswap"
    grouped = [] if options.data == "drawn" else ["--groups=2"]
    short = [f"--steps={options.steps}"] * bool(options.steps)
    _command(
        "faceswap",
        "demo_faceswap",
        f"--data={options.data}",
        f"--output={swap}",
        *grouped,
        *short,
    )
    rows = []
    for name, title in RUNS[options.experiment].items():
        run = folder / name
        _command(
            "joint",
            f"{options.experiment}/{name}",
            f"--data={options.data}",
            f"--swap_model={swap}",
            f"--output={run}",
            f"--seed={options.seed}",
            *short,
        )
        _command(
            "evaluate",
            "ablations/evaluate",
            f"--data={options.data}",
            f"--tagger={run}",
            f"--swap_model={swap}",
            f"--output={run}",
        )
        report = json.loads((run / "report.json").read_text())
        measured = report["manipulations"]
        swapped = measured[SWAPPED]
        rows.append(
            [
                title,
                *(f"{row['bit_accuracy']:.3f}" for row in measured.values()),
                f"{swapped['word_error_rate']:.3f}",
                f"{swapped['hard_word_error_rate']:.3f}",
                f"{report['psnr']:.2f}",
                f"{report['ssim']:.4f}",
            ]
        )
    titles = ["run", "bits, embedded", "bits, JPEG 50", "bits, swapped"]
    titles += ["swapped words wrong, soft", "hard", "PSNR, dB", "SSIM"]
    return markdown_table(titles, rows)


def _command(trainer: str, flags: str, *arguments: str) -> None:
    root = pathlib.Path(__file__).parents[1]
    command = [sys.executable, "-m", f"trainers.{trainer}"]
    command += [f"--flagfile={root / 'configs' / flags}.cfg", *arguments]
    if subprocess.run(command, check=False).returncode:
        raise ValueError(f"This command failed: {' '.join(command[1:])}")


def main(options: ExperimentsOptions) -> None:
    """Runs the command; see the module's docstring."""
    started = time.monotonic()
    if options.experiment in RUNS:
        report, text = {}, run_trained(options)
    else:
        report = measure_kinds(options)
        text = markdown_kinds(report)
    path = pathlib.Path(options.output) / options.experiment
    write_report(path, report or {"table": text}, text)
    print(text)
    print(f"{(time.monotonic() - started) / 60:.0f} minutes; wrote {path}.md")


if __name__ == "__main__":
    run_command(ExperimentsOptions(), main)
