"""--precision=auto takes what is faster here, says so, and keeps to it."""

import keras
import pytest

from trainers import loop


@pytest.fixture(autouse=True)
def policy():
    before = keras.mixed_precision.global_policy()
    yield
    keras.mixed_precision.set_global_policy(before)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(
        loop.logging, "info", lambda text, *values: lines.append(text % values)
    )
    return lines


class Clock:
    """Stands in for the module `time`; the steps that are timed move it on."""

    now = 0.0

    def monotonic(self):
        return self.now

    perf_counter = monotonic


@pytest.mark.parametrize(
    ("plain", "mixed", "chosen"),
    [
        (0.004, 0.002, "mixed_bfloat16"),
        (0.002, 0.004, "float32"),
        (0.02, 0.0196, "float32"),  # So little is noise.
    ],
)
def test_the_faster_one_is_chosen(monkeypatch, said, plain, mixed, chosen):
    times, clock = {"float32": plain, "mixed_bfloat16": mixed}, Clock()

    def timed_step(policy):
        def step():
            clock.now += times[policy]

        return step

    monkeypatch.setattr(loop, "_timed_step", timed_step)
    monkeypatch.setattr(loop, "time", clock)
    assert loop.fastest_precision() == chosen
    assert 2.0 <= clock.now < 2.1
    (line,) = said
    assert f"--precision=auto: {chosen}, because" in line


def test_both_are_measured(said):
    # Its layers do not take the names of those that are trained.
    before = keras.layers.Conv2D(1, 1).name
    assert loop.fastest_precision(seconds=0.0) in loop.MEASURED
    after = keras.layers.Conv2D(1, 1).name
    number = int(before.rpartition("_")[2]) if "_" in before else 0
    assert after == f"conv2d_{number + 1}"
    assert "ms in float32" in said[0] and "ms in mixed_bfloat16" in said[0]


def test_a_resumed_run_keeps_its_precision(tmp_path, monkeypatch):
    options = loop.LoopOptions(output="o", precision="auto")
    monkeypatch.setattr(loop, "fastest_precision", lambda: "mixed_bfloat16")
    assert loop.with_precision(options, tmp_path).precision == "mixed_bfloat16"
    monkeypatch.setattr(loop, "fastest_precision", lambda: "float32")
    assert loop.with_precision(options, tmp_path).precision == "mixed_bfloat16"
    assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    named = loop.LoopOptions(output="o", precision="float32")
    assert loop.with_precision(named, tmp_path) == named
    assert keras.mixed_precision.global_policy().name == "float32"
