"""What both commands do: their flags beside Beam's, the run, and its last line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from faketagger_tf.cli.parser import Parser, did_you_mean, whole_number
from faketagger_tf.names import one_line
from pipelines.photos import FACES, FAILED, NAMESPACE


def make_parser(name: str, summary: str) -> Parser:
    """Returns the parser with the flags of both commands."""
    parser = Parser(
        prog=f"python -m pipelines.{name}",
        usage=f"python -m pipelines.{name} --input=GLOB --output=DIR ... [flags]",
        description=summary,
        epilog="Beam's own flags go with them, as --name=value: docs/scale.md has the "
        "lines for each runner. --flagfile=FILE reads flags from a file.",
    )
    parser.add_argument(
        "--input",
        required=True,
        help="A folder, or a glob in which ** stands for any number of folders: local, "
        "or gs://, s3:// ... where Beam's extras are installed. Hidden files are left "
        "out.",
    )
    parser.add_argument(
        "--runner",
        default="DirectRunner",
        help="Beam's runner: DirectRunner (%(default)s), FlinkRunner, SparkRunner, "
        "PortableRunner, DataflowRunner ...",
    )
    parser.add_argument(
        "--faces-per-bundle",
        type=whole_number(1),
        default=FACES,
        help="Faces that a worker is given at once (%(default)s).",
    )
    return parser


def main(
    parser: Parser,
    build: Callable[[argparse.Namespace], Callable[[beam.Pipeline], None]],
    argv: list[str],
) -> int:
    """Runs a pipeline.

    Args:
        parser: from `make_parser`.
        build: checks the flags and returns what adds the transforms to a pipeline.
        argv: the command's arguments.

    Returns:
        The exit code: 0, or 2 for a mistake or where a file failed.
    """
    logging.basicConfig(level=logging.ERROR, force=True)
    try:
        values, extras = parser.parse_known_args(argv)
        options = beam_options(parser, values.runner, extras)
        return _run(build(values), options)
    except (ValueError, OSError) as error:
        if os.environ.get("FAKETAGGER_TRACEBACK"):
            raise
        print(f"Error: {one_line(str(error).strip())}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse's way to end after --help.
        return stop.code or 0


def beam_options(parser: Parser, runner: str, extras: list[str]) -> PipelineOptions:
    """Reads Beam's flags; refuses those that neither Beam nor the command has.

    Raises:
        ValueError: a flag that there is not.
    """
    # Our parser has turned what Beam spells with underscores.
    beams = []
    for extra in extras:
        name, equals, value = extra.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
        beams.append(name + equals + value)
    known = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(known)  # The name under which Beam has it overridden.
    for extra in known.parse_known_args(beams)[1]:
        name = extra.partition("=")[0]
        ours = did_you_mean(name.replace("_", "-"), parser.flag_names)
        raise ValueError(f"There is no flag {name}, here or of Beam.{ours}")
    # The first of two counts: workers tell as much as the command itself.
    options = PipelineOptions(["--default_sdk_harness_log_level=ERROR", *beams])
    options.view_as(StandardOptions).runner = runner
    return options


def direct_runner(options: PipelineOptions) -> fn_runner.FnApiRunner:
    """What Beam's DirectRunner is where it does not download another runner first.

    Its processes are given the options, those of the filesystems among them.
    """
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(info))


def _run(add: Callable[[beam.Pipeline], None], options: PipelineOptions) -> int:
    start = time.monotonic()
    direct = options.view_as(StandardOptions).runner in ("DirectRunner", "direct")
    runner = direct_runner(options) if direct else None
    pipeline = beam.Pipeline(runner, options=options)
    add(pipeline)
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        # A runner wraps what a worker raised, more than once.
        raise ValueError(f"The run failed: {last_line(error)}") from error
    return report(result, time.monotonic() - start)


def last_line(error: BaseException) -> str:
    """The line of a runner's error that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def report(result, seconds: float) -> int:
    """Prints the counters; returns the exit code."""
    wanted = beam.metrics.MetricsFilter().with_namespace(NAMESPACE)
    counters = {
        counter.key.metric.name: counter.result
        for counter in result.metrics().query(wanted)["counters"]
    }
    found, failed = counters.pop("found", 0), counters.pop(FAILED, 0)
    if not found:
        raise ValueError("--input names no photo.")
    megabytes = counters.pop("bytes_read", 0) / 1e6
    rest = "".join(f", {counters[name]} {name}" for name in sorted(counters))
    done = f"{found} photos{rest}, {failed} failed"
    rate = f"{megabytes:.1f} MB in {seconds:.1f} s: {60 * found / seconds:.1f} a minute"
    print(f"{done}; {rate}.", flush=True)
    return 2 if failed else 0
