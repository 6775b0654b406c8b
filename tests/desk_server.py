"""A desk on a free port, with a registry in SQLite, and a client that asks it."""

import contextlib
import dataclasses
import http.client
import json
import threading
import time
import types

from faketagger_tf.desk import Limits, make_app, make_listener
from faketagger_tf.desk.server import make_server
from faketagger_tf.registry import init_registry
from faketagger_tf.registry.access import SCOPES, add_key

BOUNDARY = "a-boundary"


@contextlib.contextmanager
def running(tagger, folder, proxies=(), keys=None, **options):
    """A server in a thread; its `call` asks it.

    `keys` are those of another server in the same folder; `options` are those of
    `Limits` and of `make_app`.
    """
    names = {field.name for field in dataclasses.fields(Limits)}
    limits = {name: options.pop(name) for name in names & set(options)}
    limits = Limits(**{"rate": "100000/minute", "jobs": 2, **limits})
    with init_registry(f"sqlite:///{folder}/tags.db") as registry:
        keys = keys or {scope: add_key(registry, scope, [scope]) for scope in SCOPES}
        app = make_app(tagger, registry, limits=limits, **options)
        listener = make_listener("127.0.0.1", 0)
        address = listener.getsockname()
        server = make_server(app, proxies)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not server.started:
                assert thread.is_alive() and time.monotonic() < deadline
                time.sleep(0.01)
            yield types.SimpleNamespace(
                address=address,
                app=app,
                call=lambda *a, **k: call(address, keys, *a, **k),
                desk=app.state.desk,
                keys=keys,
                registry=registry,
                server=server,
            )
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


class Answer:
    """An answer: `status`, `headers` in lower case, `data`."""

    def __init__(self, answer):
        self.status, self.data = answer.status, answer.read()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}

    def json(self):
        return json.loads(self.data)

    @property
    def error(self):
        return self.json()["error"]


def call(
    address,
    keys,
    method,
    path,
    body=None,
    *,
    scope=None,
    photo=None,
    name="photo.png",
    fields=None,
    headers=None,
    source="127.0.0.1",
) -> Answer:
    """Asks a desk, with the key of a scope, and with a form if there is a photo."""
    headers = dict(headers or {})
    if scope:
        headers["Authorization"] = f"Bearer {keys.get(scope, scope)}"
    if photo is not None:
        body = form(photo, name, **(fields or {}))
        headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
    link = http.client.HTTPConnection(
        *address[:2], timeout=300, source_address=(source, 0)
    )
    with contextlib.closing(link):
        link.request(method, path, body, headers)
        return Answer(link.getresponse())


def form(photo: bytes, name: str = "photo.png", **fields: str) -> bytes:
    """A multipart form."""
    parts = [
        f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode()
        for key, value in fields.items()
    ]
    head = f'Content-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\n'
    parts.append(head.encode() + photo)
    start = f"--{BOUNDARY}\r\n".encode()
    return b"".join(start + p + b"\r\n" for p in parts) + f"--{BOUNDARY}--".encode()
