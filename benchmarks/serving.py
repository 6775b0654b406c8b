"""Prints the throughput and latency of the HTTP server at 1, 8 and 32 clients.

    python -m benchmarks.serving --model=models/faketagger --photo=photo.jpg

Every client sends one photo per request over a connection that it keeps, and waits for
the answer. Server and clients share this machine.
"""

from __future__ import annotations

import base64
import concurrent.futures
import http.client
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
from absl import flags

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.files import write_atomic

FLAGS = flags.FLAGS


def client(address: str, path: str, body: bytes, until: float) -> list[float]:
    """Asks until a time on `time.perf_counter`; returns seconds per request."""
    link = http.client.HTTPConnection(address, timeout=60)
    times = []
    while time.perf_counter() < until:
        start = time.perf_counter()
        link.request("POST", path, body)
        answer = link.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(content.decode())
        times.append(time.perf_counter() - start)
    link.close()
    return times


def main(argv: list[str]) -> int:
    """Runs the benchmark; see the module's docstring."""
    del argv
    data = pathlib.Path(require_flag("photo")).read_bytes()
    rows = [{"b64": base64.b64encode(data).decode()}]
    body = json.dumps({"instances": rows}).encode()
    command = [sys.executable, "-m", "faketagger_tf.serving", "--port=0"]
    server = subprocess.Popen(
        [*command, f"--model={require_flag('model')}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = server.stdout.readline().rpartition("http://")[2].strip()
        if server.stdout.readline() != "Ready.\n":
            raise ValueError("The server did not start; see above.")
        address, _, path = url.partition("/")
        lines = [
            f"One photo of {len(data) / 1024:.0f} KiB per request.",
            "",
            "| clients | requests/s | p50, ms | p99, ms |",
            "|---|---|---|---|",
        ]
        for clients in (1, 8, 32):
            until = time.perf_counter() + FLAGS.seconds
            with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                jobs = [
                    pool.submit(client, address, f"/{path}:predict", body, until)
                    for _ in range(clients)
                ]
                times = np.concatenate([job.result() for job in jobs])
            p50, p99 = 1e3 * np.percentile(times, [50, 99])
            rate = len(times) / FLAGS.seconds
            lines.append(f"| {clients} | {rate:.0f} | {p50:.0f} | {p99:.0f} |")
    finally:
        server.terminate()
        server.wait()
    table = "\n".join(lines) + "\n"
    print(table)
    if FLAGS.output:
        write_atomic(FLAGS.output, table)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "Folder written by export.saved_model.")
    flags.DEFINE_string("photo", None, "Photo to send.")
    flags.DEFINE_float("seconds", 5.0, "Length of each measurement.", lower_bound=0.5)
    flags.DEFINE_string("output", "", "Markdown file to write; empty for none.")
    run_main(main)
