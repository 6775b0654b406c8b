"""`faketagger serve`: the registry over HTTP, and a page to look suspects up on."""

from __future__ import annotations

import os

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser, whole_number

FORM = "serve --registry=URL"
SUMMARY = "Serve the registry: tag, trace and look up over HTTP, and on a page."
_PACKAGES = ("fastapi", "limits", "prometheus_client", "python_multipart", "uvicorn")
_NUMBERS = (
    ("--max-body-mb", 32, "Largest request in MiB"),
    (
        "--max-pixels",
        50_000_000,
        "Largest photo in pixels, of which each takes up to 28 bytes of memory",
    ),
    (
        "--jobs",
        os.cpu_count() or 1,
        "Photos of one address that are handled at once; of all, one more",
    ),
    ("--queue", 16, "Photos that may wait for that; others are turned away"),
    ("--upload-seconds", 30, "By which an upload may lag behind 8 KiB a second"),
    ("--work-seconds", 120, "After which the answer to a photo is given up"),
)


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    common.add_registry_flag(parser, "The records:")
    common.add_tagger_flags(parser)
    common.add_fpr_flag(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="Address to listen on (%(default)s)."
    )
    parser.add_argument(
        "--port",
        type=whole_number(0, 65535),
        default=8000,
        help="Port; 0 takes a free one (%(default)s).",
    )
    parser.add_switch(
        "--public-trace",
        False,
        "Let everybody trace who can reach the desk. Without a key a record is shown "
        "only if the suspect is the photo on record, and without file, note and key.",
    )
    parser.add_switch(
        "--public-bindings",
        False,
        "Let everybody ask for the C2PA manifest of any payload, too. Payloads can be "
        "guessed: with it, all manifests can be collected.",
    )
    parser.add_argument(
        "--rate",
        default="120/minute",
        help="Requests of one address, for example 5/second;500/hour (%(default)s).",
    )
    common.add_signing_flags(parser)
    common.add_trust_flag(parser)
    parser.add_argument(
        "--public-url",
        default="",
        help="Where the desk is reached, such as https://tags.newsroom.com, which "
        "C2PA's clients are told.",
    )
    for name, default, help in _NUMBERS:
        parser.add_argument(
            name, type=whole_number(1), default=default, help=f"{help} (%(default)s)."
        )
    parser.add_argument(
        "--proxies",
        default="",
        help="Addresses of reverse proxies, with commas between them: their "
        "X-Forwarded-For is believed.",
    )


def run(values) -> int:
    """Serves until it is interrupted; returns the exit code."""
    import importlib.util

    if not values.registry:
        raise ValueError("--registry must be given. Received: nothing.")
    common.require_registry()
    missing = [name for name in _PACKAGES if not importlib.util.find_spec(name)]
    if missing:
        raise ValueError(
            f"Serving needs packages that are not installed: {', '.join(missing)}. "
            'Accepted: pip install "faketagger-tf[registry,serving]".'
        )

    domain, signer = common.domain_of(values), _signer(values)
    anchors = common.anchors_of(values)
    from faketagger_tf.desk import Limits, make_app, make_listener, serve

    limits = Limits(
        max_body=values.max_body_mb * 2**20,
        max_pixels=values.max_pixels,
        rate=values.rate,
        jobs=values.jobs,
        queue=values.queue,
        upload_seconds=values.upload_seconds,
        work_seconds=values.work_seconds,
    )
    with common.open_registry(values) as registry:
        tagger = common.load_tagger(values)
        app = make_app(
            tagger,
            registry,
            limits=limits,
            fpr=values.fpr,
            public_trace=values.public_trace,
            public_bindings=values.public_bindings,
            signer=signer,
            domain=domain,
            anchors=anchors,
            public_url=values.public_url,
        )
        listener = make_listener(values.host, values.port)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Serving {registry.name} at http://{shown}:{port}/", flush=True)
        if not importlib.util.find_spec("c2pa"):
            print(
                "The extra [c2pa] is not installed: manifests on record are given out, "
                "but what they claim is not told.",
                flush=True,
            )
        serve(app, listener, filter(None, values.proxies.split(",")))
    return 0


def _signer(values):
    """What photos are signed with; None if no flag says so."""
    if values.certificate or values.private_key or values.tsa:
        return common.make_signer(values)
    return None
