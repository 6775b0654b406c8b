"""The command beside the pipeline on one library, and a run that is killed.

    .venv-beam/bin/python -m benchmarks.scale --photos=4000 --output=build/scale
    .venv-beam/bin/python -m benchmarks.scale --photos=10000 --hostile=100 --kill \
        --output=build/scale-killed

Each way tags the same photos into a registry of its own, in a process of its own. What
is done is kept in results.json: the same command goes on with what is missing. Photos
per minute count from the start to the end of the process, start-up included; the
start-up is the time until the first tagged file is there; seconds of processor time are
those of all processes, and hardly depend on what else runs; memory is the peak, over
samples every half second, of the proportional set sizes of all processes, so that pages
which they share count once. `make bench-scale` runs it small.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from faketagger_tf.command import run_main
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.evaluation.report import markdown_table
from faketagger_tf.files import find_files, write_atomic
from faketagger_tf.photos import encode_image
from faketagger_tf.registry import init_registry, open_registry

FLAGS = flags.FLAGS
flags.DEFINE_integer("photos", 400, "Photos in all.", lower_bound=1)
flags.DEFINE_string("data", None, "Folder of JPEGs to copy; by default drawn photos.")
flags.DEFINE_string("output", "build/scale", "Folder for everything.")
flags.DEFINE_integer("drawn", 40, "Different drawings among the photos.", lower_bound=1)
flags.DEFINE_integer("hostile", 0, "Files that are no photos, beside them.")
flags.DEFINE_bool("kill", False, "Kill a run of two processes half-way, and resume it.")
flags.DEFINE_multi_string("tag", [], "A flag for every way, such as --tag=--no-check.")

PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
THREADS = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
WAYS = {
    "command, two photos at a time": ["--jobs=2"],
    "Beam in memory": [],
    "Beam, two processes": PROCESSES,
    "command, one photo at a time": ["--jobs=1"],
    "Beam in memory, two threads": THREADS,
}


def make_library(folder: pathlib.Path, count: int, data: str | None, drawn: int):
    """Fills a folder with `count` JPEGs, no two of which are the same file."""
    if data:
        sources = [pathlib.Path(path) for path in find_files(data, (".jpg",)).paths]
        contents = [path.read_bytes() for path in sources]
    else:
        contents = [
            encode_image(
                draw_photo(identity_from_seed(seed), np.random.default_rng(seed), 512)[
                    0
                ],
                ".jpg",
                92,
            )
            for seed in range(min(drawn, count))
        ]
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        if not path.exists():
            content = contents[number % len(contents)]
            # A comment behind the first marker makes it another file.
            text = b"%06d" % number
            comment = b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text
            write_atomic(path, content[:2] + comment + content[2:])


def add_hostile(folder: pathlib.Path, count: int) -> set[str]:
    """Adds files of five kinds that nothing can be done with; returns their paths."""
    sound = next(iter(sorted(folder.rglob("*.jpg")))).read_bytes()
    kinds = (b"", b"not a photo", sound[: len(sound) // 2], sound[:400], b"\x89PNG" * 9)
    paths = set()
    for number in range(count):
        path = folder / "hostile" / f"{number:06}.jpg"
        write_atomic(path, kinds[number % len(kinds)])
        paths.add(str(path))
    return paths


def command_of(way: list[str], folder: pathlib.Path, out: pathlib.Path, url: str):
    """The arguments that tag a folder in one of the ways."""
    python = [sys.executable, "-m"]
    if any(flag.startswith("--jobs") for flag in way):
        start = [*python, "faketagger_tf", "tag", str(folder), str(out)]
    else:
        start = [*python, "pipelines.tag", f"--input={folder}", f"--output={out}"]
    return [*start, f"--registry={url}", *way, *FLAGS.tag]


def run_watched(
    command: list[str],
    out: pathlib.Path,
    log: pathlib.Path,
    stop: Callable[[], bool] = lambda: False,
) -> dict:
    """Runs a command, and measures it; kills it, and all its processes, on `stop`."""
    start, first, peak = time.monotonic(), None, 0.0
    before = processor_seconds()
    with open(log, "a") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True
        )
        try:
            while process.poll() is None:
                time.sleep(0.5)
                if first is None and next(out.rglob("*.jpg"), None):
                    first = time.monotonic() - start
                peak = max(peak, session_memory(process.pid))
                if stop():
                    break
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return {
        "seconds": time.monotonic() - start,
        "first": first,
        "processor": processor_seconds() - before,
        "megabytes": peak,
        "code": process.returncode,
    }


def processor_seconds() -> float:
    """What this process's children, and theirs, have used until they ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def session_memory(session: int) -> float:
    """MB that the processes of a session hold, shared pages counted once."""
    total = 0
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) != session:
                continue
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:  # It is gone by now.
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def compare(folder: pathlib.Path, root: pathlib.Path) -> None:
    """Measures each way that is not in results.json yet."""
    path = root / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for number, (name, way) in enumerate(WAYS.items()):
        if name in results:
            continue
        out, database = root / f"out{number}", root / f"tags{number}.db"
        shutil.rmtree(out, ignore_errors=True)
        for old in root.glob(f"tags{number}.db*"):
            old.unlink()
        out.mkdir()
        url = f"sqlite:///{database.resolve()}"
        init_registry(url).close()
        command = command_of(way, folder, out, url)
        measured = run_watched(command, out, root / f"log{number}.txt")
        written = sum(1 for _ in out.rglob("*.jpg"))
        results[name] = measured | {"photos": written}
        write_atomic(path, json.dumps(results, indent=2))
        shutil.rmtree(out)
    rows = [
        [
            name,
            row["photos"],
            round(60 * row["photos"] / row["seconds"], 1),
            round(row["first"] or 0, 1),
            round(row["processor"] / row["photos"], 2) if row["photos"] else "-",
            round(row["megabytes"]),
            row["code"],
        ]
        for name, row in results.items()
    ]
    titles = ["way", "photos", "a minute", "start-up, s", "processor s a photo"]
    titles += ["peak MB", "exit code"]
    table = markdown_table(titles, rows)
    write_atomic(root / "results.md", table)
    print(table)


def kill_and_resume(folder: pathlib.Path, root: pathlib.Path, hostile: set[str]):
    """Kills a run of two processes half-way and checks what the next one makes of it.

    Raises:
        ValueError: a good photo is not tagged, a bad one not named, or a photo has a
            second payload.
    """
    url, out = f"sqlite:///{(root / 'killed.db').resolve()}", root / "killed"
    good = {str(p) for p in folder.rglob("*.jpg")} - hostile
    begun = root / "before.json"
    command = command_of(PROCESSES, folder, out, url)
    log = root / "killed.txt"
    if not begun.exists():
        shutil.rmtree(out, ignore_errors=True)
        for old in root.glob("killed.db*"):
            old.unlink()
        out.mkdir()
        init_registry(url).close()

        def half() -> bool:
            return sum(1 for _ in out.rglob("*.jpg")) >= len(good) // 2

        first = run_watched(command, out, log, half)
        with open_registry(url) as registry:
            issued = {r.sha256_original: r.payload for r in registry.find()}
        write_atomic(begun, json.dumps({"run": first, "issued": issued}))
    before = json.loads(begun.read_text())
    second = run_watched(command, out, log)
    report = root / "killed-report"
    rows = [json.loads(x) for x in (report / "rows.jsonl").read_text().splitlines()]
    failed = [json.loads(x) for x in (report / "failed.jsonl").read_text().splitlines()]
    with open_registry(url) as registry:
        records = list(registry.find())
        problems = list(registry.check())
    payloads = {record.sha256_original: record.payload for record in records}
    checks = {
        "every good photo has a row": {row["file"] for row in rows} == good,
        "every bad file has a sentence": {row["file"] for row in failed} == hostile
        and len(failed) == len(hostile),
        "one record a photo": len(records) == len(payloads) == len(good),
        "no payload twice": len(set(payloads.values())) == len(payloads),
        "no photo with a second payload": all(
            payloads.get(digest) == payload
            for digest, payload in before["issued"].items()
        ),
        "files as on record": not problems,
    }
    summary = {
        "killed after": before["run"],
        "payloads issued by then": len(before["issued"]),
        "resumed": second,
        "photos": len(good),
        "hostile": len(hostile),
        "checks": checks,
    }
    write_atomic(root / "resumed.json", json.dumps(summary, indent=2))
    print(json.dumps(summary, indent=2))
    wrong = [name for name, passed in checks.items() if not passed]
    if wrong:
        raise ValueError(f"What should hold does not: {', '.join(wrong)}.")


def main(argv: list[str]) -> None:
    del argv
    root = pathlib.Path(FLAGS.output)
    folder = root / "photos"
    make_library(folder, FLAGS.photos - FLAGS.hostile, FLAGS.data, FLAGS.drawn)
    hostile = add_hostile(folder, FLAGS.hostile) if FLAGS.hostile else set()
    if FLAGS.kill:
        kill_and_resume(folder, root, hostile)
    else:
        compare(folder, root)


if __name__ == "__main__":
    run_main(main)
