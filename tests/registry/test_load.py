"""Many processes, and processes that die, on one registry."""

import datetime
import os
import pathlib
import signal
import subprocess
import sys

import faketagger_tf

WORKER = pathlib.Path(__file__).with_name("worker.py")
PROCESSES, EACH = 8, 200


def start(url: str, folder, count: int, name: str) -> subprocess.Popen:
    root = str(pathlib.Path(faketagger_tf.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(WORKER), url, str(folder), str(count), name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )


def test_eight_processes_share_a_registry(url, registry, tmp_path):
    running = [start(url, tmp_path, EACH, f"w{i}") for i in range(PROCESSES)]
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    payloads = " ".join(outputs).split()
    assert len(payloads) == len(set(payloads)) == PROCESSES * EACH
    records = list(registry.find())
    assert {record.payload for record in records} == set(payloads)
    assert all(record.state == "written" for record in records)
    assert all(len(record.faces) == 2 for record in records)
    for i in range(PROCESSES):
        assert len(list(registry.find(owner=f"w{i}"))) == EACH
    assert list(registry.check(tmp_path)) == []


def test_killed_processes_leave_no_file_without_its_record(url, registry, tmp_path):
    for round_ in range(4):
        running = [start(url, tmp_path, 10_000, f"k{round_}{i}") for i in range(2)]
        for process in running:
            for _ in range(3 + round_):  # It is in the middle of its work.
                assert process.stdout.readline()
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    registry.reclaim(tmp_path, age=datetime.timedelta(0))
    records = {record.file: record for record in registry.find()}
    files = {path.name for path in tmp_path.glob("k*.bin")}
    assert len(files) >= 8 * 3
    written = {name for name, record in records.items() if record.state == "written"}
    assert written == files
    assert list(registry.check(tmp_path)) == []
    for name in files:
        # The payload in the file is the one on record.
        assert (tmp_path / name).read_text().split()[0] == records[name].payload
    # The registry goes on.
    (tmp_path / "after").mkdir()
    after = start(url, tmp_path / "after", 3, "after")
    assert len(after.communicate(timeout=60)[0].split()) == 3
