import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.evaluation import registry
from faketagger_tf.evaluation.registry import (
    fit_presence,
    measure_surprises,
    report_p_values,
)
from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence
from faketagger_tf.messages.registered import FLOOR
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.tagging.tagger import Tagger


def shares(lines: list[str]) -> dict[float, tuple[float, ...]]:
    rows = [[float(cell) for cell in line.strip("| ").split("|")] for line in lines]
    return {row[0]: tuple(row[1:]) for row in rows}


@pytest.fixture(scope="module")
def surprises():
    rng = np.random.default_rng(4)
    faces = [rng.normal(size=(3, 64)) for _ in range(150)]
    return measure_surprises(MessageCode(), faces, 500, 8, seed=1)


def test_ideal_faces_have_uniform_p_values_or_larger(surprises):
    assert surprises.shape == (8, 150)
    found = shares(report_p_values(surprises, Presence()))
    # 1,200 draws, 120 expected at 0.1 by the union bound: four deviations.
    assert 0.06 < found[0.1][0] < 0.135
    assert found[0.01][0] < 0.022
    assert found[1e-6][0] == 0


def test_a_fit_claims_no_more_than_the_ideal_model(surprises):
    presence = fit_presence(surprises)
    assert presence.faces == 150
    assert abs(presence.threshold - FLOOR) < 0.5 and 1 <= presence.scale < 1.5
    found = shares(report_p_values(surprises, presence))
    assert found[0.2][1] <= 0.11  # Nothing is claimed below the tail.
    assert found[0.01][1] <= found[0.01][0] + 0.004


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two photos and one that cannot be read; the tagger is a tiny one."""
    tagger = support.correlation_tagger()
    monkeypatch.setattr(Tagger, "load", lambda name: tagger)
    # As many as a test has time for; the fit wants 100 faces.
    monkeypatch.setattr(registry, "REGISTRIES", {10**4: 2, 10**5: 1})
    photos = tmp_path / "photos"
    for number in range(2):
        drawn = draw_photo(identity_from_seed(3), np.random.default_rng(3), 256)[0]
        photo = (drawn, skimage.data.astronaut()[:256, 100:356])[number]
        write_image(photos / f"{number}" / "a.png", np.ascontiguousarray(photo))
    write_image(photos / "2" / "small.png", np.zeros([20, 20, 3], np.uint8))
    return photos


def test_untagged_photos_are_measured_and_drawn(folder, tmp_path, capsys):
    plot, logits = tmp_path / "plot.png", tmp_path / "logits.npz"
    options = registry.RegistryOptions(
        data=str(folder), split="", plot=str(plot), logits=str(logits)
    )
    registry.main(options)
    told = capsys.readouterr()
    assert "small.png is left out: A photo must have at least 24" in told.err
    assert read_photo(plot).shape[0] > 500
    for issued in ("10,000", "100,000"):
        assert f"{issued} payloads, 2 faces" in told.out
    blocks = told.out.split("|---|---|---|\n")[1:]
    for block in blocks:
        found = shares(block.split("\n\n")[0].splitlines())
        assert found[0.001] == found[1e-6] == (0, 0)
    # What was read once is used again.
    photo = next(folder.glob("0/*"))
    photo.unlink()
    registry.main(options)
    assert capsys.readouterr().out == told.out


def test_a_plot_of_nothing_is_refused(folder, tmp_path):
    for more, words in (
        ({"fit": "x.json", "plot": "x.png"}, "with --fit"),
        ({"mode": "fingerprints", "plot": "x.png"}, "with --mode=fingerprints"),
        ({"plot": "x.txt"}, "--plot must end in one of"),
    ):
        with pytest.raises(ValueError, match=words):
            registry.main(registry.RegistryOptions(data=str(folder), **more))
    (tmp_path / "none").mkdir()
    write_image(tmp_path / "none" / "small.png", np.zeros([20, 20, 3], np.uint8))
    options = registry.RegistryOptions(data=str(tmp_path / "none"), split="")
    with pytest.raises(ValueError, match="none that can be read"):
        registry.main(options)


def test_the_presets_own_calibration_is_checked_by_default(surprises, monkeypatch):
    presence = Presence(threshold=1.0, rate=0.5, scale=2.0)
    p = registry.p_values(surprises, presence)
    assert p.shape == surprises.shape
    assert (p[surprises < 1.0] == 1.0).all()
    x = float(surprises.max())
    assert p.min() == pytest.approx(0.5 * np.exp(-(x - 1.0) / 2.0))
    tagger = support.correlation_tagger(registered=presence)
    options = registry.RegistryOptions(data="unused")
    monkeypatch.setattr(registry, "read_logits", lambda *a: [np.ones([1, 64])])
    monkeypatch.setattr(registry, "REGISTRIES", {10**4: 1})
    monkeypatch.setattr(registry, "measure_surprises", lambda *a: np.full([1, 1], x))
    row = registry.run_p_values(options, tagger, []).splitlines()[4:]
    ideal, own = np.exp(-x), p.min()
    assert ideal < own
    for level, (first, second) in shares([r for r in row if r]).items():
        assert (first, second) == (ideal <= level, own <= level)


def test_verdicts_are_counted(folder, capsys):
    registry.main(
        registry.RegistryOptions(data=str(folder), split="", mode="fingerprints")
    )
    told = capsys.readouterr()
    assert "small.png is left out" in told.err
    title, _, *rows = [line for line in told.out.splitlines() if "|" in line]
    names = [cell.strip() for cell in title.strip("|").split("|")][2:-2]
    found = {}
    for row in rows:
        name, count, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        found[name] = int(count), dict(zip(names, cells, strict=False))
    for name in ("tagged", "JPEG 75"):
        assert found[name] == (2, found[name][1])
        assert found[name][1]["same photo"] == "100.0%"
    count, verdicts = found["transplanted tag, JPEG 75"]
    assert count == 1 and verdicts["another photo"] == "100.0%"
    assert "1 of 1 transplanted tags read." in told.out
