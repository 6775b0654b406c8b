"""The experiments as a command: kinds of deepfake on photos, the table they give."""

import json
import pathlib
import re

import cv2
import pytest
import support
from skimage import data

from faketagger_tf.photos import write_image
from trainers import experiments

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def row(change, system, bits, right):
    return {
        "change": change,
        "system": system,
        "photos": 4,
        "bits": bits,
        "right": right,
    }


def test_the_table_has_a_row_a_kind_and_their_mean():
    kinds = {
        "untouched, JPEG 75": 1.0,
        "identity swap, model a": 0.9,
        "identity swap, unseen model b": 0.8,
        "attribute edit, model one, face": 0.95,
        "identity swap, unseen model, face alone": 0.5,
        "reenactment": 0.95,
    }
    rows = [
        row(name, system, bits, right)
        for name, bits in kinds.items()
        for system, right in (("blind", 0.5), ("registered", 0.75))
    ]
    figures = {"flip_mean": 0.05, "flip_p99": 0.16, "psnr": 37.0}
    report = {"rows": rows, "systems": [figures], "fpr": 1e-6}
    text = experiments.markdown_kinds({**report, "photos": 4, "canvas": 250})
    assert "| reenactment | 4 | 0.950 | 50% | 75% |" in text
    # The swaps' mean is .85; faces alone and the untouched photo stay out.
    assert "Mean over 3 kinds, surroundings kept: 0.917" in text


def test_every_kind_of_the_paper_is_measured():
    kinds = experiments.kinds_of_deepfake()
    for kind in experiments.KINDS:
        assert any(name.startswith(kind) for name in kinds)
    swaps = {name for name in kinds if re.match(r"identity swap, .*model \w+$", name)}
    unseen = ("large", "skips", "narrow")
    assert swaps == {
        *(f"identity swap, model {name}" for name in ("one", "two", "three")),
        *(f"identity swap, unseen model unseen_{name}" for name in unseen),
    }
    for kind in ("attribute edit", "entire synthesis"):
        assert any("unseen" in name for name in kinds if name.startswith(kind))


def test_kinds_are_selected_by_name():
    edits = experiments.select_kinds(["attribute edit"])
    assert edits and all(name.startswith("attribute edit, ") for name in edits)
    assert set(edits) < set(experiments.select_kinds([]))
    with pytest.raises(ValueError, match=r"--kind must be .*reenactment.*'makeup'"):
        experiments.select_kinds(["attribute edit", "makeup"])


@pytest.mark.slow
def test_kinds_are_measured_on_photos(tmp_path, monkeypatch):
    photo = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    write_image(tmp_path / "photos" / "a.png", photo)
    few = {n: experiments.CHANGES[n] for n in ("JPEG 75", "reenacted, JPEG 75")}
    monkeypatch.setattr(experiments, "kinds_of_deepfake", lambda: few)
    monkeypatch.setattr(
        experiments.Tagger, "load", lambda name: support.correlation_tagger()
    )
    options = experiments.ExperimentsOptions(
        data=str(tmp_path / "photos"),
        split="",
        promise="",
        canvas=0,
        output=str(tmp_path / "out"),
    )
    report = experiments.measure_kinds(options)
    rows = {(r["change"], r["system"]): r for r in report["rows"]}
    assert rows["JPEG 75", "blind"]["bits"] == 1
    assert rows["JPEG 75", "registered"]["right"] == 1
    assert len(rows) == 4
    json.dumps(report)


@pytest.mark.parametrize("experiment", experiments.RUNS)
def test_runs_are_trained_and_measured(tmp_path, monkeypatch, experiment):
    # What is tested is the chain of commands; each has tests of its own.
    monkeypatch.setattr(experiments, "_command", _record := Recorder(tmp_path))
    options = experiments.ExperimentsOptions(
        experiment=experiment, data="drawn", steps=3, output=str(tmp_path)
    )
    text = experiments.run_trained(options)
    runs = experiments.RUNS[experiment]
    trainers = [trainer for trainer, *_ in _record.calls]
    assert trainers == ["faceswap", *len(runs) * ["joint", "evaluate"]]
    assert "--steps=3" in _record.calls[1]
    for title in runs.values():
        row = f"| {title} | 0.900 | 0.850 | 0.800 | 0.200 | 0.300 | 30.00 | 0.9500 |"
        assert row in text


class Recorder:
    """Stands for the commands; writes the report that the evaluation would."""

    def __init__(self, folder):
        self.folder, self.calls = folder, []

    def __call__(self, trainer, flags, *arguments):
        assert (CONFIGS / f"{flags}.cfg").exists()
        self.calls.append((trainer, flags, *arguments))
        if trainer == "evaluate":
            (given,) = (a for a in arguments if a.startswith("--output="))
            run = pathlib.Path(given.removeprefix("--output="))
            run.mkdir()
            words = {"word_error_rate": 0.2, "hard_word_error_rate": 0.3}
            manipulations = {
                "identity": {"bit_accuracy": 0.9},
                "jpeg(50)": {"bit_accuracy": 0.85},
                "faceswap(A>B,mask=none,colour=0)": {"bit_accuracy": 0.8, **words},
            }
            report = {"manipulations": manipulations, "psnr": 30.0, "ssim": 0.95}
            (run / "report.json").write_text(json.dumps(report))


def test_an_unknown_experiment_is_named(tmp_path):
    result = support.run_module("trainers.experiments", "--experiment=gan", "--data=x")
    assert result.returncode != 0 and "gan" in result.stderr
