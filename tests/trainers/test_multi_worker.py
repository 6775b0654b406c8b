"""Two worker processes train as one, and a worker that is killed costs no step."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import joint_worker
import numpy as np
import pytest

from trainers import loop

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 6
LIMIT = 600  # Seconds; only a run that hangs takes as long.


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(folder: pathlib.Path, pause: float) -> list[subprocess.Popen]:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        script = ROOT / "tests" / "trainers" / "joint_worker.py"
        workers.append(
            subprocess.Popen(
                [sys.executable, str(script), str(folder), str(STEPS), str(pause)],
                cwd=ROOT,
                env={
                    **os.environ,
                    "TF_CONFIG": config,
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return workers


def wait_for(path: pathlib.Path, worker: subprocess.Popen) -> None:
    end = time.monotonic() + LIMIT
    while not path.exists():
        assert worker.poll() is None, worker.stderr.read()
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.02)


def all_weights(trainer) -> list[np.ndarray]:
    variables = [*trainer.encoder.weights, *trainer.decoder.weights]
    return [np.asarray(variable) for variable in variables]


def test_a_killed_worker_resumes_and_two_processes_equal_one(tmp_path):
    workers = start_workers(tmp_path, pause=0.3)
    try:
        wait_for(tmp_path / "checkpoints" / "ckpt-3.index", workers[0])
        workers[1].send_signal(signal.SIGKILL)
        _, said = workers[0].communicate(timeout=LIMIT)
        assert workers[0].returncode == 2, said
        assert "Error: Another worker has stopped" in said
        assert "Traceback" not in said
        workers[1].communicate()

        workers = start_workers(tmp_path, pause=0.0)
        said = [worker.communicate(timeout=LIMIT)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], said
    resumed = [re.search(r"Resuming .* at step (\d+)", text) for text in said]
    # Both go on from what the first one saved.
    assert [found and found[1] for found in resumed] == ["3", "3"]

    trainer = joint_worker.make_trainer(
        loop.make_strategy(2), joint_worker.make_options(loop.MIRRORED, STEPS)
    )
    first = all_weights(trainer)
    assert loop.run(trainer, tmp_path / "one") == 0
    expected = all_weights(trainer)
    loop.restore(trainer.checkpoint, tmp_path)
    found = all_weights(trainer)
    moved = max(np.abs(a - b).max() for a, b in zip(first, expected, strict=True))
    assert moved > 1e-3  # There was something to reproduce.
    for a, b in zip(expected, found, strict=True):
        # One processor computes both; what differs is the order of sums of two.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_cluster_that_names_no_worker_is_one_sentence(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=r"needs .* TF_CONFIG\. Received: .*Accepted"):
        loop.make_strategy(0, loop.MULTI_WORKER)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": 2}, "--replicas is for"),
        ({"precision": "auto"}, "--precision=auto measures one machine"),
    ],
)
def test_options_that_workers_cannot_share(options, message):
    with pytest.raises(ValueError, match=message):
        loop.LoopOptions(output="o", strategy=loop.MULTI_WORKER, **options)
