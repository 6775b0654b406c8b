"""The desk's HTTP routes.

    POST /v1/tag                          a photo -> the tagged photo and its record
    POST /v1/trace                        a photo -> its tags, records, and what changed
    GET  /v1/records                      history, newest first, with search
    GET  /v1/records/{payload}            one record
    GET  /v1/records/{payload}/thumbnail  its JPEG
    ...  /c2pa/v1/...                     C2PA's Soft Binding Resolution API
    GET  /healthz  /metrics  /docs  /openapi.json  /

A key (`registry.access`) comes as `Authorization: Bearer KEY`; the scope `trace` opens
trace, single records and manifests, `tag` opens tag, `admin` everything. With
`public_trace` whoever can reach the desk may trace, and sees of a record what is not
its owner's own.

An error is `{"error": "one sentence"}` with status 400 (a damaged form), 401, 403, 404,
405, 408 (a stalled upload), 413 (too many bytes or pixels), 415 (no form), 422 (a photo
that cannot be read or tagged, or a field), 429 and 503 with `Retry-After`, or 500. What
is no HTTP is refused by uvicorn in its own words.
"""

import base64
import contextlib
import contextvars
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import logging
import os
import pathlib
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import prometheus_client as prometheus
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, responses
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette import concurrency, staticfiles
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from faketagger_tf.desk import answers
from faketagger_tf.desk.docs_page import docs_page
from faketagger_tf.desk.heat import HeatMap, make_heat_map
from faketagger_tf.desk.limits import (
    Intake,
    Limits,
    Pool,
    Rate,
    Refusal,
    Slots,
    address_of,
)
from faketagger_tf.messages import format_payload, parse_payload
from faketagger_tf.names import printable
from faketagger_tf.photos import codec
from faketagger_tf.photos.photo_file import WRITABLE
from faketagger_tf.photos.suspect import decode_suspect
from faketagger_tf.provenance.binding import DOMAIN, algorithm_name
from faketagger_tf.provenance.resolution import resolution_router
from faketagger_tf.registry import Record, Registry, RegistryError
from faketagger_tf.registry.access import SCOPES, check_key
from faketagger_tf.registry.jobs import RecordedTag, tag_bytes_into_registry
from faketagger_tf.registry.reader import Finding, RegisteredReader
from faketagger_tf.tagging.promise import PROMISES
from faketagger_tf.tagging.tagger import FPR, Tagger

if TYPE_CHECKING:
    from faketagger_tf.provenance.signing import PhotoSigner

PAGE = pathlib.Path(__file__).parent / "page"
TECHNIQUE = "A watermark in the pixels of faces (FakeTagger, arXiv:2009.09869)."
MAX_TEXT = 4096  # Bytes of a form's field that is no file.
MAX_NAME = 200  # Letters of a file's name that are stored.
_MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ROW = ("psnr", "ssim", "faces", "broken", "lost", "changed")
_UNLIMITED = ("/healthz", "/metrics")  # Asked every few seconds by one address.
_MANY_FACES = 8  # Of a record, up to which all are compared for the heat map.
# The address of the photo that a task handles; set where it takes its place.
_whose = contextvars.ContextVar("address", default="")
_log = logging.getLogger(__name__)
_bearer = HTTPBearer(auto_error=False, description="From `faketagger registry keys`.")


@dataclasses.dataclass(frozen=True)
class Form:
    """A form with a photo.

    Attributes:
        data: the photo's file.
        name: its name, as the client gave it.
        fields: the other fields.
    """

    data: bytes
    name: str
    fields: dict[str, str]


class Desk:
    """What the routes share; `app.state.desk`. Routers of others may use it, too.

    Attributes:
        tagger, registry, reader: of the library.
        limits: see `Limits`.
        fpr: p-value from which on a tag counts as found.
        public_trace: whether tracing needs no key.
        signer: signs what is tagged; None for nobody.
        domain: reversed, for the algorithm's name.
        pool: where photos are handled.
        metrics: what /metrics shows.
    """

    def __init__(
        self,
        tagger: Tagger,
        registry: Registry,
        limits: Limits,
        fpr: float,
        public_trace: bool,
        signer: "PhotoSigner | None" = None,
        domain: str = DOMAIN,
        anchors: str = "",
    ):
        self.tagger, self.registry, self.limits = tagger, registry, limits
        self.fpr, self.public_trace = fpr, public_trace
        self.signer, self.domain = signer, signer.domain if signer else domain
        self.reader = RegisteredReader(tagger, registry, anchors=anchors)
        self.pool = Pool(limits)
        self._slots, self._rate = Slots(limits), Rate(limits)
        self.metrics = _Metrics(self.pool)

    def require(self, scope: str, public: bool = False) -> Callable:
        """Returns a dependency that lets in whoever has a key for a scope.

        Args:
            scope: one of `access.SCOPES`.
            public: whether those without a key come in as well.

        Returns:
            A dependency for `Depends`; its value is the key's name, or "".
        """

        def check(
            given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        ) -> str:
            if given is None:
                if public:
                    return ""
                raise Refusal(401, f"A key with the scope {scope} is needed.")
            found = check_key(self.registry, given.credentials, scope)
            if found is not None:
                return found.name
            if any(check_key(self.registry, given.credentials, s) for s in SCOPES):
                raise Refusal(403, f"The key must have the scope {scope}.")
            raise Refusal(401, "There is no such key, or it was revoked.")

        return check

    def count(self, request: Request) -> None:
        """A dependency: counts a request of its address, and refuses one too many."""
        if request.url.path not in _UNLIMITED:
            self._rate.check(address_of(request.scope))

    @contextlib.asynccontextmanager
    async def photo_slot(self, request: Request):
        """Holds one of the places for photos, while a photo comes and is handled.

        Raises:
            Refusal: 429 or 503, there is none.
        """
        address = address_of(request.scope)
        with self._slots.take(address):
            _whose.set(address)
            self.pool.check()  # Before anything is uploaded in vain.
            yield

    @contextlib.asynccontextmanager
    async def photo_form(self, request: Request):
        """Holds one of the places for photos, and reads the form into a `Form`.

        Raises:
            Refusal: 400, 408, 413, 415, 422, 429 or 503; see the module's docstring.
        """
        async with self.photo_slot(request):
            kind = request.headers.get("content-type", "")
            if kind.partition(";")[0].strip().lower() != "multipart/form-data":
                raise Refusal(
                    415,
                    "A form with a photo is needed. "
                    f"Received: {printable(kind[:80]) or 'no content type'}. "
                    "Accepted: multipart/form-data.",
                )
            form = await request.form(
                max_files=1, max_fields=16, max_part_size=MAX_TEXT
            )
            try:
                photo = form.get("photo")
                if not isinstance(photo, UploadFile):
                    raise Refusal(422, "The form must have a file named photo.")
                fields = {k: v for k, v in form.items() if isinstance(v, str)}
                read = Form(await photo.read(), photo.filename or "", fields)
            finally:
                await form.close()
            yield read

    async def handle(self, work: str, function: Callable, *arguments) -> Any:
        """Runs what takes long in the pool; a library's sentence becomes a refusal.

        Args:
            work: what it is called in the metrics.
            function: is called within `codec.at_most` of the limit.
            *arguments: of the function.

        Raises:
            HTTPException: 413, 422 or 503, and what the function refuses with.
        """

        def limited():
            with codec.at_most(self.limits.max_pixels):
                return function(*arguments)

        outcome = "failed"
        try:
            answer = await self.pool.run(_whose.get(), limited)
            outcome = "done"
            return answer
        except codec.TooLarge as error:
            outcome = "refused"
            raise Refusal(413, str(error)) from None
        except RegistryError:
            raise
        except ValueError as error:
            outcome = "refused"
            raise Refusal(422, str(error)) from None
        except MemoryError:
            sentence = "There is not enough memory for the photo."
            raise Refusal(503, sentence, 60) from None
        except HTTPException:
            outcome = "refused"
            raise
        finally:
            self.metrics.photos.labels(work, outcome).inc()

    def describe(self) -> answers.TaggerAnswer:
        """The tagger as answers name it."""
        return answers.TaggerAnswer(
            preset=self.tagger.config.preset or "a tagger without a name",
            technique=TECHNIQUE,
            algorithm=algorithm_name(
                self.tagger.config.preset, self.domain, bool(self.tagger.key_id)
            ),
            format_version=Record.format_version,
            release=importlib.metadata.version("faketagger-tf"),
        )

    def trace(self, data: bytes, public: bool) -> answers.TraceAnswer:
        """Reads a suspect against the registry."""
        suspect = decode_suspect(data)
        findings = self.reader.examine(suspect.pixels, self.fpr)
        bits = self.tagger.config.payload_bits
        readings = [
            answers.ReadingAnswer.of(
                finding,
                self._heat_map(suspect.pixels, finding),
                bits,
                self.fpr,
                public,
                self.reader.anchors,
            )
            for finding in findings
        ]
        return answers.TraceAnswer(
            in_words=answers.summary(readings),
            tagger=self.describe(),
            false_positive_rate=self.fpr,
            payloads=findings[0].reading.registered_payloads,
            notes=list(suspect.notes),
            width=suspect.pixels.shape[1],
            height=suspect.pixels.shape[0],
            readings=readings,
        )

    def _heat_map(self, suspect, finding: Finding) -> HeatMap | None:
        """Of the record's faces, the map of the one that is most alike."""
        record, change = finding.record, finding.change
        if record is None or (change and change.verdict == "another photo"):
            return None
        canvas, config = finding.reading.canvas, self.tagger.config
        maps = [
            make_heat_map(suspect, canvas, record, face, config)
            for face in record.faces[:_MANY_FACES]
        ]
        return min(filter(None, maps), key=lambda m: m.heat.mean(), default=None)

    def tag(self, form: Form) -> tuple[RecordedTag, str]:
        """Tags a form's photo; returns it with its record, and its extension."""
        name = printable(os.path.basename(form.name.replace("\\", "/")))[-MAX_NAME:]
        stem, own = os.path.splitext(name)
        extension = form.fields.get("extension") or own
        if extension.lower() not in WRITABLE:
            if form.fields.get("extension"):
                raise ValueError(
                    f"extension must be one of {', '.join(WRITABLE)}. "
                    f"Received: {printable(extension)}."
                )
            extension = ".jpg"
        tagged = tag_bytes_into_registry(
            self.tagger,
            self.registry,
            form.data,
            f"{stem.lstrip('.') or 'photo'}{extension}",
            extension=extension,
            owner=_text(form, "owner"),
            note=_text(form, "note"),
            quality=_quality(form.fields.get("quality")),
            promise=form.fields.get("promise") or None,
            retag=form.fields.get("retag") == "true",
            signer=self.signer,
        )
        return tagged, extension.lower()


def _text(form: Form, name: str) -> str:
    text = form.fields.get(name, "")
    if "\0" in text:  # Which PostgreSQL cannot store.
        raise ValueError(f"{name} must be text. Received: a zero byte in it.")
    return text


def _quality(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100):
        raise ValueError(
            "quality must be a whole number from 1 to 100. "
            f"Received: {printable(text[:20])}."
        )
    return int(text)


class _Metrics:
    """What /metrics shows, in a registry of Prometheus of its own."""

    def __init__(self, pool: Pool):
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "faketagger_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = prometheus.Histogram(
            "faketagger_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            registry=self.registry,
            buckets=(0.01, 0.1, 0.3, 1, 3, 10, 30, 100),
        )
        self.photos = prometheus.Counter(
            "faketagger_photos",
            "Photos by what was to be done and how it ended.",
            ["work", "outcome"],
            registry=self.registry,
        )
        pending = prometheus.Gauge(
            "faketagger_photos_pending",
            "Photos that are handled or wait for it.",
            registry=self.registry,
        )
        pending.set_function(lambda: pool.pending)


class _Outside:
    """Middleware: headers of every answer, and what is counted of every request."""

    def __init__(self, app, metrics: _Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, status = time.perf_counter(), "none"

        async def answer(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                present = {name.lower() for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *(
                        (name.encode(), value.encode())
                        for name, value in _HEADERS.items()
                        if name.lower().encode() not in present
                    ),
                ]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if route != "none" else "none"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)


def make_app(
    tagger: Tagger,
    registry: Registry,
    *,
    limits: Limits | None = None,
    fpr: float = FPR,
    public_trace: bool = False,
    public_bindings: bool = False,
    signer: "PhotoSigner | None" = None,
    domain: str = DOMAIN,
    anchors: str = "",
    public_url: str = "",
    routers: tuple[APIRouter, ...] = (),
) -> FastAPI:
    """Builds the desk's application.

    Args:
        tagger: tags and traces.
        registry: issues payloads, and has records and keys.
        limits: None takes the default ones.
        fpr: p-value from which on a tag counts as found, per face.
        public_trace: let everybody trace.
        public_bindings: let everybody ask for the manifest of any payload, which is a
            number that can be guessed.
        signer: signs what is tagged with C2PA manifests.
        domain: that photos are signed with, reversed; of the signer, if there is one.
        anchors: PEM certificates; says of a manifest whether its signer leads to one.
        public_url: of the desk, as C2PA's clients are told where to find it.
        routers: further routes; their handlers reach `Desk` as
            `request.app.state.desk`, with its limits and keys.

    Returns:
        The application; `app.state.desk` is its `Desk`.

    Raises:
        RegistryError: the database fails.

    Example:
        app = make_app(Tagger.load("face128"), open_registry("sqlite:///tags.db"))
        app.include_router(router)
    """
    limits = limits or Limits()
    desk = Desk(tagger, registry, limits, fpr, public_trace, signer, domain, anchors)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        await concurrency.run_in_threadpool(desk.pool.close)

    app = FastAPI(
        title="FakeTagger desk",
        description="Tags photos into a registry, and says of a suspect whose photo "
        "it is and what has changed.",
        version=desk.describe().release,
        dependencies=[Depends(desk.count)],
        responses={"default": {"model": answers.ErrorAnswer, "description": "Error."}},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Nobody but /metrics is told anything.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.desk = desk
    _add_error_handlers(app)
    app.add_middleware(Intake, limits=limits)
    app.add_middleware(_Outside, metrics=desk.metrics)
    resolution = resolution_router(
        lambda: desk.reader,
        public_url=public_url,
        domain=desk.domain,
        authorize=desk.require("trace", public_trace),
        authorize_value=desk.require("trace", public_bindings),
        admit=desk.photo_slot,
        run=functools.partial(desk.handle, "match"),
        max_bytes=limits.max_body,
        fpr=fpr,
    )
    for router in (_photo_routes(desk), _record_routes(desk), resolution, *routers):
        app.include_router(router)
    _add_pages(app, desk)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    def refuse(request, error: HTTPException):
        sentence = error.detail
        if not isinstance(error, Refusal):
            sentence = f"{request.method} {printable(request.url.path)}: {sentence}"
            sentence = sentence.rstrip(".") + "."
        return responses.JSONResponse(
            {"error": sentence}, error.status_code, error.headers
        )

    def refuse_fields(request, error: RequestValidationError):
        first = error.errors()[0]
        name = first["loc"][-1]
        return responses.JSONResponse({"error": f"{name}: {first['msg']}."}, 422)

    def registry_fails(request, error: RegistryError):
        # The sentence has the database's address, which is no client's business.
        _log.error("%s", error)
        sentence = "The registry does not answer; try again later."
        return responses.JSONResponse(
            {"error": sentence}, 503, headers={"Retry-After": "30"}
        )

    def fail(request, error: Exception):
        return responses.JSONResponse({"error": "The desk failed; see its log."}, 500)

    app.add_exception_handler(HTTPException, refuse)
    app.add_exception_handler(RequestValidationError, refuse_fields)
    app.add_exception_handler(RegistryError, registry_fails)
    app.add_exception_handler(Exception, fail)


def _form(*fields: tuple[str, str]) -> dict:
    """What OpenAPI is told of a form, which is read with limits of our own."""
    properties = {
        "photo": {
            "type": "string",
            "format": "binary",
            "description": "The photo's file.",
        }
    }
    for name, about in fields:
        properties[name] = {"type": "string", "description": about}
    schema = {"type": "object", "required": ["photo"], "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _photo_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/trace", openapi_extra=_form())
    async def trace(
        request: Request,
        key: Annotated[str, Depends(desk.require("trace", desk.public_trace))],
    ) -> answers.TraceAnswer:
        """Reads a suspect's tags, and says whose photo it is and what has changed."""
        async with desk.photo_form(request) as form:
            return await desk.handle("trace", desk.trace, form.data, not key)

    @router.post(
        "/tag",
        response_model=answers.TagAnswer,
        responses={
            200: {
                "description": "The tagged photo; with `Accept: application/json`, "
                "JSON. The record is in the header X-FakeTagger-Record, as JSON "
                "without thumbnail, the payload in X-FakeTagger-Payload, and the "
                "C2PA manifest's id in X-FakeTagger-Manifest if the desk signs.",
                "content": {"image/*": {}},
            }
        },
        openapi_extra=_form(
            ("owner", "Whose photo it is, for the record."),
            ("note", "Anything, for the record."),
            ("extension", "Of the tagged file, such as .png; by default the photo's."),
            ("quality", "Of JPEG, WebP and AVIF, 1 to 100; by default the photo's."),
            ("promise", f"As weak a tag as keeps it: {', '.join(PROMISES)}."),
            ("retag", '"true" writes over a tag that the photo carries.'),
        ),
        dependencies=[Depends(desk.require("tag"))],
    )
    async def tag(request: Request):
        """Tags a photo with a payload of its own, which is put on record first."""
        async with desk.photo_form(request) as form:
            tagged, extension = await desk.handle("tag", desk.tag, form)
        record = answers.RecordAnswer.of(tagged.record)
        bare = record.model_copy(update={"thumbnail": None}).model_dump(mode="json")
        headers = {
            "Location": f"/v1/records/{record.payload}",
            "X-FakeTagger-Payload": record.payload,
            "X-FakeTagger-Record": json.dumps(bare, separators=(",", ":")),
        }
        if tagged.manifest:
            headers["X-FakeTagger-Manifest"] = tagged.manifest.id
        kind = _MEDIA_TYPES[extension]
        if "application/json" in request.headers.get("accept", ""):
            answer = answers.TagAnswer(
                record=record,
                photo=base64.b64encode(tagged.data).decode(),
                media_type=kind,
                unread_faces=tagged.row["unread_faces"] or [],
                manifest=tagged.manifest and tagged.manifest.id,
                **{name: tagged.row[name] for name in _ROW},
            )
            content = answer.model_dump_json().encode()
            return responses.Response(content, 200, headers, "application/json")
        name = urllib.parse.quote(record.file, safe="")
        headers["Content-Disposition"] = f"attachment; filename*=utf-8''{name}"
        return responses.Response(tagged.data, 200, headers, kind)

    return router


def _record_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1/records")

    def find(payload: str) -> Record:
        bits = desk.tagger.config.payload_bits
        try:
            payload = format_payload(parse_payload(payload, bits), bits)
        except ValueError as error:
            raise Refusal(422, str(error)) from None
        record = desk.registry.show(payload)
        if record is None:
            raise Refusal(404, f"There is no record of the payload {payload}.")
        return record

    payload = Annotated[str, Path(description="Hexadecimal.", max_length=100)]

    @router.get("", dependencies=[Depends(desk.require("admin"))])
    def history(
        search: Annotated[
            str,
            Query(
                description="Part of the payload, owner, file or note.",
                max_length=200,
            ),
        ] = "",
        before: Annotated[
            str,
            Query(description="`next` of the page before.", max_length=200),
        ] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> answers.RecordsAnswer:
        """Lists records, the newest first."""
        search = search.replace("\0", "")  # Which is in no record.
        records = desk.registry.search(search, _parse_cursor(before), limit)
        last = records[-1] if len(records) == limit else None
        return answers.RecordsAnswer(
            records=list(map(answers.RecordAnswer.of, records)),
            next=last and f"{last.created.isoformat()}_{last.payload}",
        )

    @router.get("/{payload}", dependencies=[Depends(desk.require("trace"))])
    def show(payload: payload) -> answers.RecordAnswer:
        """One record."""
        return answers.RecordAnswer.of(find(payload))

    @router.get(
        "/{payload}/thumbnail",
        dependencies=[Depends(desk.require("trace"))],
        response_class=responses.Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    def thumbnail(payload: payload):
        """The thumbnail of a record, a JPEG."""
        record = find(payload)
        if record.thumbnail is None:
            raise Refusal(404, f"The record of {record.payload} has no thumbnail.")
        return responses.Response(record.thumbnail, media_type="image/jpeg")

    return router


def _parse_cursor(text: str) -> tuple[datetime.datetime, str] | None:
    if not text:
        return None
    created, _, payload = text.partition("_")
    try:
        time = datetime.datetime.fromisoformat(created)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not payload:
        raise Refusal(422, "before must be `next` of an earlier answer.")
    return time, payload


def _add_pages(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz")
    def health() -> answers.HealthAnswer:
        """Whether the desk and its registry answer."""
        desk.registry.show("")
        return answers.HealthAnswer(
            status="ok", tagger=desk.describe(), public_trace=desk.public_trace
        )

    @app.get("/metrics", response_class=responses.PlainTextResponse)
    def metrics():
        """Counts and times, for Prometheus."""
        content = prometheus.generate_latest(desk.metrics.registry)
        kind = prometheus.CONTENT_TYPE_LATEST
        return responses.Response(content, headers={"Content-Type": kind})

    @app.get("/docs", include_in_schema=False)
    def docs():
        return responses.HTMLResponse(docs_page(app.openapi()))

    @app.get("/", include_in_schema=False)
    def index():
        return responses.FileResponse(PAGE / "index.html", media_type="text/html")

    app.mount("/page", staticfiles.StaticFiles(directory=PAGE), name="page")
