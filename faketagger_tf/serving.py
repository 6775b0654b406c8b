"""Serves a tagger over HTTP, with the REST interface of TensorFlow Serving.

    python -m faketagger_tf.serving --tagger=face128 --port=8501
    python -m faketagger_tf.serving --model=models/faketagger --port=8501

`--tagger` serves the library itself: photos in, faces found, tags written on them and
traced as `faketagger tag` and `trace` do, under LiteRT and without TensorFlow in the
process. Signatures, N rows each:

    trace_photo, serving_default: `image_bytes`, an encoded photo
        -> `readings`, a list of objects, one per tag that was found: `payload` in
           hexadecimal, `p_value`, `mirrored`, `box` and `corners` in photo pixels,
           `corrected_bits`; `valid`; `error`, one sentence or ""
    tag_photo: `image_bytes` and `payload`, a string in hexadecimal
        -> `tagged_bytes`, a PNG whose tag reads back, or "" where `valid` is false;
           `valid`; `error`. A photo that carries a tag already is refused.

`--model` serves a SavedModel of export.saved_model for machines without TensorFlow
Serving's own server: the same requests get the same answers from both. Its signatures
work on canvases and centred squares, find no faces, and need TensorFlow.

    POST /v1/models/NAME:predict            {"instances": [{"b64": "..."}]}
    POST /v1/models/NAME/versions/1:predict {"signature_name": "...", "inputs": {...}}
    GET  /v1/models/NAME                    whether it is ready
    GET  /v1/models/NAME/metadata           signatures with their tensors

The two GET requests also take `/versions/1` behind NAME, which is the preset's name, or
that of the folder.

An error is `{"error": "one sentence"}` with status 400 (a request that is no such
thing; what is no HTTP, such as a bad Content-Length, uvicorn refuses in its own words),
404 (no such model), 408 (an upload that stalls: one that lags behind 8 KiB a second by
more than `--upload_seconds` is dropped), 413 (too large a body) or 503 (too many
requests waiting). Base64 may be broken into lines and lack its padding, as for
TensorFlow Serving.
A photo that cannot be decoded is no error but a row whose `valid` is false. Tensors of
numbers take JSON numbers alone, those of integers whole numbers without a decimal
point within the type's range. Float images are not checked against [0, 1].

Starlette and uvicorn, because they leave paths, statuses and error bodies to us;
requirements-serving.txt pins them.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import pathlib
import socket
from typing import Any

import numpy as np
import uvicorn
from absl import flags
from starlette import applications, concurrency, requests, responses, routing

from faketagger_tf.command import run_main
from faketagger_tf.messages import format_payload, parse_payload
from faketagger_tf.messages.keys import read_key
from faketagger_tf.photos import decode_photo, decode_suspect, encode_image
from faketagger_tf.presets import require_tensorflow
from faketagger_tf.tagging.assure import check_untagged, tag_until_it_reads
from faketagger_tf.tagging.tagger import FPR, Reading, Tagger

FLAGS = flags.FLAGS

MAX_ROWS = 64  # Rows of one request.
MAX_WAITING = 1024  # Requests waiting before further ones are turned away.
UPLOAD_SECONDS = 30  # Within which an upload must begin and go on.
UPLOAD_RATE = 8192  # Bytes a second that an upload must have on top of that.


class RequestError(Exception):
    """A request that cannot be answered: an HTTP status and one sentence."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or an output of a signature.

    Attributes:
        name: its name.
        dtype: NumPy's name of the type; "string" for bytes, "text", or "json".
        shape: of one row.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()


class Model:
    """What is served: signatures with JSON at the border.

    Attributes:
        name, version: as in the paths of requests.
        signatures: name -> its inputs and its outputs.
        batch_rows: rows up to which waiting requests are run together.
        runners: batches at work at a time.
    """

    name: str
    version: int
    signatures: dict[str, tuple[list[Tensor], list[Tensor]]]
    batch_rows: int
    runners: int

    def run(self, signature: str, arrays: dict[str, np.ndarray]) -> dict:
        """Runs a signature; returns arrays, or lists of rows, by output."""
        raise NotImplementedError

    def warm_up(self) -> None:
        """Runs every signature once, so that the first request does not wait."""
        photo = encode_image(np.full((256, 256, 3), 128, np.uint8), ".jpg", 90)
        examples = {"string": photo, "text": "0"}
        for signature, (inputs, _) in self.signatures.items():
            arrays = {}
            for tensor in inputs:
                if tensor.dtype in examples:
                    arrays[tensor.name] = np.array([examples[tensor.dtype]], object)
                else:
                    arrays[tensor.name] = np.zeros([1, *tensor.shape], tensor.dtype)
            self.run(signature, arrays)

    def metadata(self) -> dict:
        """Describes the signatures."""
        return {
            "model_spec": {"name": self.name, "version": str(self.version)},
            "metadata": {
                name: {"inputs": _describe(inputs), "outputs": _describe(outputs)}
                for name, (inputs, outputs) in self.signatures.items()
            },
        }

    def parse(self, body: bytes) -> tuple[str, bool, dict[str, np.ndarray]]:
        """Reads a predict request.

        Returns:
            Signature; whether the answer is by rows ("instances") or by columns
            ("inputs"); arrays of as many rows each, by input.

        Raises:
            RequestError: it is no such request.
        """
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise RequestError(400, "The body is not valid JSON.") from None
        if not isinstance(content, dict) or ("instances" in content) == (
            "inputs" in content
        ):
            raise RequestError(
                400, "The body must be a JSON object with either instances or inputs."
            )
        signature = content.get("signature_name") or "serving_default"
        if not isinstance(signature, str) or signature not in self.signatures:
            raise RequestError(
                400,
                f"There is no signature {signature!r}. Accepted: "
                f"{', '.join(sorted(self.signatures))}.",
            )
        inputs = {tensor.name: tensor for tensor in self.signatures[signature][0]}
        by_row = "instances" in content
        columns = _columns(content["instances" if by_row else "inputs"], by_row, inputs)
        arrays = {name: _array(columns[name], inputs[name]) for name in inputs}
        rows = {len(array) for array in arrays.values()}
        if len(rows) != 1:
            raise RequestError(
                400, f"Every input must have as many rows. Received: {sorted(rows)}."
            )
        if not 1 <= next(iter(rows)) <= MAX_ROWS:
            raise RequestError(
                400,
                f"A request must have 1 to {MAX_ROWS} rows. Received: "
                f"{next(iter(rows))}.",
            )
        return signature, by_row, arrays


class SavedModel(Model):
    """A SavedModel's signatures.

    Args:
        folder: with numbered versions; the highest one is served.

    Raises:
        ValueError: there is no SavedModel in it, or TensorFlow is not installed.
    """

    batch_rows, runners = 16, 2

    def __init__(self, folder: str):
        base = pathlib.Path(folder)
        versions = [
            int(path.parent.name)
            for path in base.glob("*/saved_model.pb")
            if path.parent.name.isdigit()
        ]
        if not versions:
            raise ValueError(
                f"There is no SavedModel to serve in {folder!r}. Accepted: a folder "
                "as export.saved_model writes it, with a numbered folder inside."
            )
        require_tensorflow("Serving a SavedModel")
        import tensorflow as tf

        self.name, self.version = base.resolve().name, max(versions)
        try:
            self._loaded = tf.saved_model.load(str(base / str(self.version)))
        except (OSError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"The SavedModel in {folder!r} is damaged: {reason}"
            ) from None
        self._constant = tf.constant

        def tensors(specs: dict) -> list[Tensor]:
            return [
                Tensor(name, spec.dtype.name, tuple(spec.shape[1:]))
                for name, spec in specs.items()
            ]

        self.signatures = {
            name: (
                tensors(function.structured_input_signature[1]),
                tensors(function.structured_outputs),
            )
            for name, function in self._loaded.signatures.items()
        }

    def run(self, signature, arrays):
        tensors = {name: self._constant(array) for name, array in arrays.items()}
        outputs = self._loaded.signatures[signature](**tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}


class PhotoModel(Model):
    """Tags and traces photos as the command does; see the module's docstring.

    Args:
        tagger: what tags and traces.
        name: under which it is served.
        fpr: largest p-value of a tag that counts as found, per face.
    """

    version, batch_rows, runners = 1, 1, os.cpu_count() or 1

    def __init__(self, tagger: Tagger, name: str, fpr: float = FPR):
        self._tagger, self.name, self._fpr = tagger, name, fpr
        image = Tensor("image_bytes", "string")
        status = [Tensor("valid", "bool"), Tensor("error", "text")]
        trace = [image], [Tensor("readings", "json"), *status]
        tag = [image, Tensor("payload", "text")], [Tensor("tagged_bytes", "string")]
        self.signatures = {
            "serving_default": trace,
            "trace_photo": trace,
            "tag_photo": (tag[0], [*tag[1], *status]),
        }

    def run(self, signature, arrays):
        inputs, outputs = self.signatures[signature]
        tag = signature == "tag_photo"
        work, empty = (self._tag, b"") if tag else (self._trace, [])
        columns = {tensor.name: [] for tensor in outputs}
        for row in zip(*(arrays[tensor.name] for tensor in inputs), strict=True):
            try:
                values = work(*row), True, ""
            except ValueError as error:
                values = empty, False, str(error)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
        return columns

    def _trace(self, data: bytes) -> list[dict]:
        readings = self._tagger.read(decode_suspect(data).pixels, self._fpr)
        return [self._describe(reading) for reading in readings]

    def _describe(self, reading: Reading) -> dict:
        bits = self._tagger.config.payload_bits
        return {
            "payload": format_payload(reading.payload, bits),
            "p_value": reading.p_value,
            "mirrored": reading.mirrored,
            "corrected_bits": reading.corrected_bits,
            "box": [round(value, 1) for value in reading.box],
            "corners": reading.corners.round(1).tolist(),
        }

    def _tag(self, data: bytes, payload: str) -> bytes:
        photo, bits = decode_photo(data), self._tagger.config.payload_bits
        value = parse_payload(payload, bits)
        canvases = self._tagger.find_canvases(photo)
        check_untagged(self._tagger, photo, canvases)
        result = tag_until_it_reads(self._tagger, photo, value, canvases=canvases)
        return encode_image(result.pixels, ".png")


class Batcher:
    """Runs waiting requests together: no request waits for others to come."""

    def __init__(self, model: Model):
        self._model = model
        self._waiting: asyncio.Queue = asyncio.Queue(MAX_WAITING)
        self._held: list = []  # Taken from the queue, but for another batch.

    async def predict(self, signature: str, arrays: dict[str, np.ndarray]) -> dict:
        """Returns the outputs' rows of one request."""
        future = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((signature, arrays, future))
        except asyncio.QueueFull:
            raise RequestError(
                503, f"{MAX_WAITING} requests are waiting already; try again later."
            ) from None
        return await future

    async def work(self) -> None:
        """Takes batches and runs them, for ever."""
        while True:
            batch = [self._held.pop() if self._held else await self._waiting.get()]
            signature, rows = batch[0][0], _rows(batch[0][1])
            while not self._waiting.empty() and rows < self._model.batch_rows:
                item = self._waiting.get_nowait()
                rows += _rows(item[1])
                if item[0] != signature or rows > self._model.batch_rows:
                    self._held.append(item)
                    break
                batch.append(item)
            # Clients that have gone away.
            batch = [item for item in batch if not item[2].done()]
            if batch:
                await self._run(signature, batch)

    async def _run(self, signature: str, batch: list) -> None:
        joined = {
            name: np.concatenate([arrays[name] for _, arrays, _ in batch])
            for name in batch[0][1]
        }
        try:
            outputs = await concurrency.run_in_threadpool(
                self._model.run, signature, joined
            )
        except Exception as error:
            # Runtimes raise many types here; whatever it is, others go on.
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for _, arrays, future in batch:
            stop = start + _rows(arrays)
            if not future.done():
                future.set_result({n: v[start:stop] for n, v in outputs.items()})
            start = stop


def make_app(
    model: Model, max_body: int, upload_seconds: float = UPLOAD_SECONDS
) -> applications.Starlette:
    """Builds the web application.

    Args:
        model: what to serve.
        max_body: bytes that a request's body may have.
        upload_seconds: by which a body may lag behind `UPLOAD_RATE`.
    """
    batcher = Batcher(model)

    def check_model(request: requests.Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version")
        if name != model.name or version not in (None, model.version):
            asked = name if version is None else f"{name}, version {version}"
            raise RequestError(
                404,
                f"There is no model {asked}. Accepted: {model.name}, version "
                f"{model.version}.",
            )

    async def status(request):
        check_model(request)
        return responses.JSONResponse(
            {
                "model_version_status": [
                    {
                        "version": str(model.version),
                        "state": "AVAILABLE",
                        "status": {"error_code": "OK", "error_message": ""},
                    }
                ]
            }
        )

    async def metadata(request):
        check_model(request)
        return responses.JSONResponse(model.metadata())

    async def predict(request):
        check_model(request)
        body = await _read_body(request, max_body, upload_seconds)
        # Off the event loop: a body of megabytes takes a while to read and to write.
        signature, by_row, arrays = await concurrency.run_in_threadpool(
            model.parse, body
        )
        outputs = await batcher.predict(signature, arrays)
        content = await concurrency.run_in_threadpool(_answer, outputs, by_row)
        return responses.Response(content, media_type="application/json")

    async def refuse(request, error):
        # Of a stalled upload nothing more is waited for.
        headers = {"Connection": "close"} if error.status == 408 else None
        return responses.JSONResponse({"error": str(error)}, error.status, headers)

    async def refuse_route(request, error):
        message = f"{request.method} {request.url.path}: {error.detail}."
        return responses.JSONResponse({"error": message}, error.status_code)

    async def fail(request, error):
        message = f"The model failed: {type(error).__name__}."
        return responses.JSONResponse({"error": message}, 500)

    class Lifespan:
        def __init__(self, app):
            del app

        async def __aenter__(self):
            self._tasks = [
                asyncio.create_task(batcher.work()) for _ in range(model.runners)
            ]

        async def __aexit__(self, *error):
            for task in self._tasks:
                task.cancel()

    one = "/v1/models/{name}"
    version = one + "/versions/{version:int}"
    return applications.Starlette(
        routes=[
            # The longer path first: a name may hold anything but a slash.
            routing.Route(version + ":predict", predict, methods=["POST"]),
            routing.Route(one + ":predict", predict, methods=["POST"]),
            routing.Route(version + "/metadata", metadata),
            routing.Route(version, status),
            routing.Route(one + "/metadata", metadata),
            routing.Route(one, status),
        ],
        exception_handlers={
            RequestError: refuse,
            404: refuse_route,
            405: refuse_route,
            Exception: fail,
        },
        lifespan=Lifespan,
    )


async def _read_body(request: requests.Request, max_body: int, seconds: float) -> bytes:
    body = bytearray()
    begun = asyncio.get_running_loop().time()
    length = request.headers.get("content-length", "0")
    too_large = length.isdigit() and int(length) > max_body
    if not too_large:
        try:
            async with asyncio.timeout_at(begun + seconds) as limit:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > max_body:
                        too_large = True
                        break
                    limit.reschedule(begun + seconds + len(body) / UPLOAD_RATE)
        except TimeoutError:
            raise RequestError(
                408,
                f"The upload has stalled. Received: {len(body)} bytes. Accepted: "
                f"{UPLOAD_RATE} bytes a second, after {seconds:g} seconds at most.",
            ) from None
        except requests.ClientDisconnect:
            # Nobody reads this answer; as an error of ours it would be logged.
            raise RequestError(400, "The body ended too early.") from None
    if too_large:
        raise RequestError(
            413, f"The body is too large. Accepted: up to {max_body} bytes."
        )
    return bytes(body)


def _columns(content: Any, by_row: bool, specs: dict[str, Tensor]) -> dict[str, list]:
    """Brings all four JSON shapes of a request into lists of rows by input."""
    only = next(iter(specs)) if len(specs) == 1 else None
    if not by_row:
        if only and not (isinstance(content, dict) and set(content) == {only}):
            content = {only: content}
        _check_names(content, specs)
        return content
    if not isinstance(content, list):
        raise RequestError(
            400, f"instances must be a list. Received: {type(content).__name__}."
        )
    rows = []
    for row in content:
        if only and not (isinstance(row, dict) and set(row) == {only}):
            row = {only: row}
        _check_names(row, specs)
        rows.append(row)
    return {name: [row[name] for row in rows] for name in specs}


def _check_names(content: Any, specs: dict) -> None:
    if not isinstance(content, dict) or set(content) != set(specs):
        received = (
            ", ".join(map(str, content)) or "none"
            if isinstance(content, dict)
            else type(content).__name__
        )
        raise RequestError(
            400,
            f"Accepted: the inputs {', '.join(sorted(specs))}. Received: {received}.",
        )


def _array(rows: Any, tensor: Tensor) -> np.ndarray:
    name = tensor.name
    if not isinstance(rows, list):
        raise RequestError(
            400, f"{name} must be a list of rows. Received: {type(rows).__name__}."
        )
    if tensor.dtype in ("string", "text"):
        read = _bytes if tensor.dtype == "string" else _text
        array = np.empty(len(rows), object)
        for i, row in enumerate(rows):
            array[i] = read(row, name)
        return array
    array = _numbers(rows, name, np.dtype(tensor.dtype))
    if array.shape[1:] != tensor.shape:
        raise RequestError(
            400,
            f"Every row of {name} must have the shape {list(tensor.shape)}. Received: "
            f"{list(array.shape[1:])}.",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(400, f"{name} must hold finite numbers.")
    return array


def _numbers(rows: list, name: str, dtype: np.dtype) -> np.ndarray:
    wanted = f"{name} must hold numbers of type {dtype.name}, rows alike."
    whole = dtype.kind in "iu"
    try:
        # Without a type: with one NumPy turns "0.5" into a float and 1.7 into a 1.
        array = np.array(rows)
    except (ValueError, TypeError, OverflowError):
        raise RequestError(400, wanted) from None
    if not array.size:
        return array.astype(dtype)
    if array.dtype.kind not in ("iu" if whole else "iuf"):
        received = {"U": "strings", "b": "booleans", "f": "decimal numbers"}
        raise RequestError(
            400, f"{wanted} Received: {received.get(array.dtype.kind, 'other values')}."
        )
    if whole:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if array.min() < low or array.max() > high:
            raise RequestError(
                400,
                f"{wanted} Received: {array.min()} to {array.max()}. Accepted: {low} "
                f"to {high}.",
            )
    with np.errstate(over="ignore"):  # What overflows is refused as infinite.
        return array.astype(dtype)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(
            400,
            f"Every row of {name} must be a string. Received: {type(value).__name__}.",
        )
    return value


def _bytes(value: Any, name: str) -> bytes:
    try:
        if isinstance(value, dict) and set(value) == {"b64"}:
            text = "".join(value["b64"].split())
            bare = text.rstrip("=")
            if text == bare:  # Without its padding.
                text += "=" * (-len(bare) % 4)
            return base64.b64decode(text, validate=True)
    except (AttributeError, ValueError):
        pass
    raise RequestError(
        400, f'Every row of {name} must be {{"b64": "..."}} with valid base64.'
    )


def _rows(arrays: dict[str, np.ndarray]) -> int:
    return len(next(iter(arrays.values())))


def _answer(outputs: dict, by_row: bool) -> bytes:
    columns = {name: _jsonable(values) for name, values in outputs.items()}
    if len(columns) == 1:
        predictions = next(iter(columns.values()))
    elif by_row:
        predictions = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
    else:
        predictions = columns
    key = "predictions" if by_row else "outputs"
    return json.dumps({key: predictions}, separators=(",", ":")).encode()


def _jsonable(values: np.ndarray | list) -> list:
    rows = values.tolist() if isinstance(values, np.ndarray) else values
    return [
        {"b64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row
        for row in rows
    ]


def _describe(tensors: list[Tensor]) -> dict:
    return {
        tensor.name: {"dtype": tensor.dtype, "shape": [-1, *tensor.shape]}
        for tensor in tensors
    }


def load_model(
    model: str | None, tagger: str | None, key_file: str | None, fpr: float
) -> Model:
    """Loads what the flags name; see the module's docstring.

    Raises:
        ValueError: not exactly one of `model` and `tagger` is given, or it cannot be
            loaded, or a flag does not go with it.
    """
    if bool(model) == bool(tagger):
        raise ValueError(
            "Exactly one of --tagger and --model must be given. "
            f"Received: {tagger!r} and {model!r}."
        )
    if model:
        if key_file:
            raise ValueError(
                "--key_file goes with --tagger: a SavedModel returns the bits as they "
                f"are. Received: {key_file!r}."
            )
        return SavedModel(model)
    if not 0 < fpr < 1:
        raise ValueError(f"--fpr must lie between 0 and 1. Received: {fpr}.")
    loaded = Tagger.load(tagger, read_key(key_file) if key_file else None)
    return PhotoModel(loaded, pathlib.Path(tagger).resolve().name, fpr)


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    model = load_model(FLAGS.model, FLAGS.tagger, FLAGS.key_file, FLAGS.fpr)
    try:
        listener = socket.create_server((FLAGS.host, FLAGS.port), backlog=1024)
    except OSError as error:
        raise ValueError(
            f"Cannot listen on {FLAGS.host}:{FLAGS.port}: {error.strerror or error}."
        ) from None
    model.warm_up()
    host, port = listener.getsockname()[:2]
    print(f"Serving {model.name} at http://{host}:{port}/v1/models/{model.name}")
    # The line is waited for by whoever started us.
    print("Ready.", flush=True)
    app = make_app(model, FLAGS.max_body_mb * 2**20, FLAGS.upload_seconds)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "Folder written by export.saved_model.")
    flags.DEFINE_string("tagger", None, "Preset or folder that tags and traces photos.")
    flags.DEFINE_string("key_file", None, "File with the secret of keyed tags.")
    flags.DEFINE_float("fpr", FPR, "Largest p-value of a tag that counts as found.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
    flags.DEFINE_integer("port", 8501, "Port; 0 takes a free one.", 0, 65535)
    flags.DEFINE_integer("max_body_mb", 32, "Largest request in MiB.", lower_bound=1)
    flags.DEFINE_integer(
        "upload_seconds", UPLOAD_SECONDS, "Seconds that an upload may stall.", 1
    )
    run_main(main)
