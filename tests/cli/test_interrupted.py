"""Runs that end early: every output is whole or not there, and the next run goes on."""

import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import skimage.data

from faketagger_tf.photos import read_photo, write_image

COUNT = 12


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    face = np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])
    for number in range(COUNT):
        write_image(folder / f"{number:02}.png", face)
    return folder


def command(*arguments):
    return [sys.executable, "-m", "faketagger_tf", "tag", *map(str, arguments)]


def whole(target):
    """The visible outputs, each of which can be decoded to its end."""
    names = [name for name in os.listdir(target) if not name.startswith(".")]
    for name in names:
        assert read_photo(target / name).shape == (260, 260, 3)
    return names


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_later(tmp_path, source, sign):
    target, table = tmp_path / "out", tmp_path / "tags.csv"
    arguments = command(source, target, "--jobs=1", f"--csv={table}")
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()  # The first photo is written.
    process.send_signal(sign)
    _, errors = process.communicate(timeout=60)
    if sign == signal.SIGINT and process.returncode != 0:
        assert (process.returncode, errors.strip()) == (130, "Interrupted.")
        assert not [name for name in os.listdir(target) if name.startswith(".")]
    done = whole(target)
    assert done
    kept = {name: (target / name).read_bytes() for name in done}
    # Nothing was written whose payload is not in the table.
    assert all(name in table.read_text() for name in done)
    rest = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert rest.returncode == 0, rest.stderr
    assert len(whole(target)) == COUNT
    for name, data in kept.items():
        assert (target / name).read_bytes() == data


def test_a_full_disk(tmp_path, source):
    """Files may not grow beyond what the disk has left: 60,000 bytes here."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "00.png").write_bytes(b"an old file")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    run = subprocess.run(
        command(source, target, "--overwrite"),
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limit,
    )
    assert run.returncode == 2
    assert run.stderr.count("Error: ") == COUNT and "Cannot write" in run.stderr
    assert "Traceback" not in run.stderr
    assert os.listdir(target) == ["00.png"]
    assert (target / "00.png").read_bytes() == b"an old file"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux alone has it.")
def test_a_table_that_cannot_be_written_stops_the_run(tmp_path, source):
    run = subprocess.run(
        command(source, tmp_path / "out", "--csv=/dev/full"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr
    # A tagged photo whose payload nobody knows is worse than none.
    assert not (tmp_path / "out").exists()
