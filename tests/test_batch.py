import doctest
import fcntl
import io
import itertools
import os
import pty
import struct
import sys
import termios
import threading

import numpy as np
import pytest

from faketagger_tf import batch
from faketagger_tf.photos import write_image


def test_examples_run():
    assert doctest.testmod(batch).failed == 0


def test_results_come_in_order_and_few_are_in_flight():
    lock, running, begun = threading.Lock(), set(), []
    most = 0

    def work(item):
        nonlocal most
        with lock:
            running.add(item)
            begun.append(item)
            most = max(most, len(running))
        # The first of each four is the slowest.
        threading.Event().wait(0.02 if item % 4 == 0 else 0.001)
        with lock:
            running.discard(item)
        return item * 2

    results = batch.run_parallel(work, itertools.count(), jobs=3, ahead=2)
    for expected in range(0, 60, 2):
        assert next(results) == expected
        # What was fetched, what is in flight, nothing more of an endless supply.
        assert len(begun) <= expected // 2 + 1 + 3 * 2
    results.close()
    assert most == 3
    ended = len(begun)
    assert ended <= 30 + 3 * 2
    threading.Event().wait(0.05)
    assert len(begun) == ended


def test_an_error_is_raised_where_its_result_is_due():
    results = batch.run_parallel(lambda x: 1 / x, [2, 1, 0, 1], jobs=2)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(batch.run_parallel(print, [], jobs=2)) == []


def test_huge_photos_pass_one_at_a_time(tmp_path):
    for name, side in (("small.png", 100), ("huge.png", 101)):
        write_image(tmp_path / name, np.zeros((side, side, 3), np.uint8))
    gate = batch.Gate(limit=10_000)
    with gate(tmp_path / "huge.png"):
        with gate(tmp_path / "small.png"), gate(tmp_path / "missing.png"):
            pass
        assert not gate(tmp_path / "huge.png").acquire(blocking=False)
    assert gate(tmp_path / "huge.png").acquire(blocking=False)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("The photo is empty."), "The photo is empty."),
        (MemoryError(), "There is not enough memory for the photo."),
        (KeyError(), "KeyError: no details"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
    ],
)
def test_reason_is_one_line(error, sentence):
    assert batch.reason(error) == sentence


def run_with_bar(stream, monkeypatch, total):
    monkeypatch.setattr(sys, "stderr", stream)
    with batch.progress_bar(total) as bar:
        for _ in range(total):
            bar.update()


def test_the_bar_is_silent_where_nobody_looks(monkeypatch):
    stream = io.StringIO()
    run_with_bar(stream, monkeypatch, 5)
    assert stream.getvalue() == ""


def test_the_bar_tells_rate_and_time_left_on_a_terminal(monkeypatch):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        run_with_bar(terminal, monkeypatch, 1)
        run_with_bar(terminal, monkeypatch, 3)
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "3/3" in shown and "1/1" not in shown
    assert "photo/s" in shown and "<" in shown  # Rate; time passed < time left.
