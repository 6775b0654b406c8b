"""Runs the desk's application under uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import uvicorn
from fastapi import FastAPI

from faketagger_tf.desk.limits import Protocol

GRACE = 10  # Seconds that requests at work have once the server is to stop.


def make_listener(host: str, port: int) -> socket.socket:
    """Opens the socket that the server listens on.

    Args:
        host: address, of IPv4 or IPv6.
        port: 0 takes a free one.

    Raises:
        ValueError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"Cannot listen on {host}:{port}: {reason}.") from None


def make_server(app: FastAPI, proxies: Iterable[str] = ()) -> uvicorn.Server:
    """Returns a server for an application of `make_app`.

    Args:
        app: the application.
        proxies: addresses of reverse proxies, whose `X-Forwarded-For` is believed and
            whose connections are not limited per address.
    """
    proxies = frozenset(proxies)
    lag = app.state.desk.limits.upload_seconds
    protocol = type(
        "DeskProtocol", (Protocol,), {"proxies": proxies, "lag_seconds": lag}
    )
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=sorted(proxies),
        timeout_graceful_shutdown=GRACE,
    )
    return uvicorn.Server(config)


def serve(app: FastAPI, listener: socket.socket, proxies: Iterable[str] = ()) -> None:
    """Serves until the process is told to stop, or is interrupted.

    Args:
        app, proxies: as for `make_server`.
        listener: from `make_listener`.
    """
    make_server(app, proxies).run(sockets=[listener])
