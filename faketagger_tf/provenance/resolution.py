"""The C2PA Soft Binding Resolution API (C2PA 2.4): from a tag back to the manifest.

    reader = RegisteredReader(tagger, registry)
    app = fastapi.FastAPI()
    app.include_router(resolution_router(lambda: reader))

A client that found our algorithm in a photo, or suspects it there, asks for manifests
by a binding's value or by the photo itself, and fetches them. Needs FastAPI and a
registry; C2PA's library is not needed to give out what was signed.
"""

import contextlib
import datetime
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Literal

import fastapi
import pydantic
from fastapi import HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from faketagger_tf.messages import format_payload
from faketagger_tf.photos import codec
from faketagger_tf.photos.suspect import decode_suspect, sniff
from faketagger_tf.provenance.binding import DOMAIN, algorithm_name, decode_value
from faketagger_tf.provenance.jumbf import split_store
from faketagger_tf.registry.manifests import (
    Manifest,
    find_manifests,
    get_manifest,
    list_algorithms,
    recover_manifest,
)
from faketagger_tf.registry.reader import Finding, RegisteredReader
from faketagger_tf.registry.store import RegistryError
from faketagger_tf.tagging.tagger import FPR, Reading

VERSION = "2.4.0"  # Of the C2PA specification.
PREFIX = "/c2pa/v1"
WELL_KNOWN = "/.well-known/c2pa-soft-binding-resolution"
MEDIA_TYPE = "application/c2pa"
MAX_PHOTO = 32 << 20  # Bytes of a photo.
_MAX_QUERY = 1024  # Characters of a value in an address.
_MAX_JSON = 64 << 10
_MAX_RESULTS = 100


class Match(pydantic.BaseModel):
    """One manifest that fits; `similarityScore` is 0 to 100."""

    manifestId: str
    similarityScore: Annotated[int, pydantic.Field(ge=0, le=100)]


class Matches(pydantic.BaseModel):
    """What a query found, best first."""

    matches: list[Match]


class BindingQuery(pydantic.BaseModel):
    """A soft binding; the value is base64."""

    alg: str
    value: str


class Algorithm(pydantic.BaseModel):
    """A soft binding algorithm's name."""

    alg: str


class Algorithms(pydantic.BaseModel):
    """What this service can be asked about."""

    watermarks: list[Algorithm]
    fingerprints: list[Algorithm]


class Capabilities(pydantic.BaseModel):
    """Which of the standard's optional parts are here."""

    c2paSpecificationVersion: str
    supportedCapabilities: list[str]


class Status(pydantic.BaseModel):
    """Whether the registry answers."""

    status: Literal["ok", "down"]
    timestamp: datetime.datetime


class Discovery(pydantic.BaseModel):
    """Where the API is."""

    apiEndpoint: str
    c2paSpecificationVersion: str
    capabilitiesEndpoint: str
    statusEndpoint: str


class _Route(APIRoute):
    """Answers bad queries with 400, as the standard has it, and failures with 500."""

    def get_route_handler(self) -> Callable:
        handle = super().get_route_handler()

        async def handler(request: Request) -> fastapi.Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                name = ".".join(str(part) for part in first["loc"][1:])
                raise HTTPException(400, f"{name}: {first['msg']}.") from None
            except RegistryError:
                raise HTTPException(500, "The registry cannot be used.") from None

        return handler


def _everybody() -> str:
    return "everybody"


def resolution_router(
    get_reader: Callable[..., RegisteredReader],
    *,
    prefix: str = PREFIX,
    public_url: str = "",
    domain: str = DOMAIN,
    authorize: Callable = _everybody,
    authorize_value: Callable | None = None,
    admit: Callable[[Request], AbstractAsyncContextManager] | None = None,
    run: Callable[..., Awaitable] = run_in_threadpool,
    max_bytes: int = MAX_PHOTO,
    fpr: float = FPR,
) -> fastapi.APIRouter:
    """Routes of the Soft Binding Resolution API, for `FastAPI.include_router`.

    All routes but the well-known one lie below `prefix`. What fits is answered without
    saying whether the photo was changed: that is `registry.reader`'s verdict.

    Args:
        get_reader: a dependency of FastAPI that returns the tagger with its registry.
        prefix: where the API lies, such as "/c2pa/v1".
        public_url: of the server, such as "https://tags.newsroom.com"; without it the
            well-known route answers with paths alone.
        domain: as the photos were signed with.
        authorize: a dependency that raises `HTTPException(403)` for clients that may
            not query and fetch. Its value is what the client is called; one who is
            called "" gets, by content, only manifests of photos on record, since an
            open tag can be forged onto any photo. The routes that tell about the
            service are open in any case. By default everybody is known, so that the
            application needs a door of its own.
        authorize_value: the same for queries by a binding's value, which is a number
            that can be guessed; None takes `authorize`. A manifest's id is random and
            is not guessed.
        admit: holds a place for a photo while it is uploaded and read, or raises
            `HTTPException`; None lets every photo in.
        run: awaits a function that reads a photo, called with its arguments; a server
            with a queue of its own passes that.
        max_bytes: size of the largest photo.
        fpr: largest p-value, blind or registered, of a tag that counts as found.
    """
    router = fastapi.APIRouter(route_class=_Route, tags=["C2PA"])
    Reader = Annotated[RegisteredReader, fastapi.Depends(get_reader)]
    MaxResults = Annotated[int, Query(ge=1)]
    Client = Annotated[str, fastapi.Depends(authorize)]
    by_value = fastapi.Depends(authorize_value or authorize)

    def refusals(**codes: str) -> dict:
        codes = {
            "_400": "Invalid query",
            "_403": "Client not allowed to perform this operation",
        } | codes
        return {int(code[1:]): {"description": text} for code, text in codes.items()}

    def own(reader: RegisteredReader) -> str:
        tagger = reader.tagger
        return algorithm_name(tagger.config.preset, domain, bool(tagger.key_id))

    def algorithms(reader: RegisteredReader) -> list[str]:
        """The reader's own first, then those of earlier presets and domains."""
        return list(dict.fromkeys([own(reader), *list_algorithms(reader.registry)]))

    def supported(reader: RegisteredReader, alg: str) -> None:
        known = algorithms(reader)
        if alg not in known:
            raise HTTPException(
                400,
                f"The algorithm is not known here. Received: {alg[:128]!r}. "
                f"Accepted: {', '.join(known)}.",
            )

    def by_binding(reader, alg: str, value: str, most: int) -> Matches:
        supported(reader, alg)
        found = find_manifests(reader.registry, alg, _value(value), _capped(most))
        return _matches((manifest, 100) for manifest in found)

    @router.get(
        f"{prefix}/matches/byBinding",
        response_model=Matches,
        dependencies=[by_value],
        responses=refusals(_414="Query too long, consider using POST instead"),
    )
    def query_by_binding(
        reader: Reader, alg: str, value: str, maxResults: MaxResults = 10
    ):
        if len(value) > _MAX_QUERY or len(alg) > _MAX_QUERY:
            raise HTTPException(414, "The query is too long: POST it instead.")
        return by_binding(reader, alg, value, maxResults)

    @router.post(
        f"{prefix}/matches/byBinding",
        response_model=Matches,
        openapi_extra=_body("application/json", BindingQuery.model_json_schema()),
        dependencies=[by_value],
        responses=refusals(_413="Query too long"),
    )
    async def query_by_large_binding(
        request: Request, reader: Reader, maxResults: MaxResults = 10
    ):
        body = await _read(request, _MAX_JSON)
        try:
            query = BindingQuery.model_validate_json(body)
        except pydantic.ValidationError:
            raise HTTPException(
                400, 'The body must be JSON: {"alg": "...", "value": "..."}.'
            ) from None
        return await run_in_threadpool(
            by_binding, reader, query.alg, query.value, maxResults
        )

    @router.post(
        f"{prefix}/matches/byContent",
        response_model=Matches,
        openapi_extra=_body("image/*", {"type": "string", "format": "binary"}),
        responses=refusals(_413="Photo too large", _415="Invalid asset type"),
    )
    async def query_by_content(
        request: Request,
        reader: Reader,
        client: Client,
        alg: str | None = None,
        maxResults: MaxResults = 10,
        hintAlg: str | None = None,
        hintValue: str | None = None,
    ):
        if not request.headers.get("content-type", "").lower().startswith("image/"):
            raise HTTPException(415, "The body must be a photo (image/*).")
        if (hintAlg is None) != (hintValue is None):
            raise HTTPException(400, "hintAlg and hintValue belong together.")
        hint = None if hintValue is None else (hintAlg, _value(hintValue))
        async with admit(request) if admit else contextlib.nullcontext():
            data = await _read(request, max_bytes)
            known = bool(client)
            return await run(by_content, reader, data, alg, maxResults, hint, known)

    def by_content(
        reader, data: bytes, alg: str | None, most: int, hint, known: bool
    ) -> Matches:
        if alg is not None:
            supported(reader, alg)
        if not sniff(data[:256]):
            raise HTTPException(415, "The body is not in a known image format.")
        try:
            photo = decode_suspect(data).pixels
        except codec.TooLarge as error:
            raise HTTPException(413, str(error)) from None
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        findings = reader.examine(photo, fpr)
        if hint and not any(finding.record for finding in findings):
            findings = examine_hint(reader, photo, *hint)
        best = {}
        for finding in sorted(findings, key=lambda f: _p_value(f.reading)):
            manifest, told = finding.manifest, known or finding.same_photo
            if manifest and told and alg in (None, manifest.algorithm):
                best.setdefault(manifest.id, (manifest, _score(finding.reading)))
        return _matches(list(best.values())[: _capped(most)])

    def examine_hint(reader, photo, algorithm: str, value: bytes) -> list[Finding]:
        """One payload is sooner found than one of all that were issued."""
        bits, payload = reader.tagger.config.payload_bits, int.from_bytes(value, "big")
        if algorithm != own(reader) or payload >= 1 << bits:
            return []
        if recover_manifest(reader.registry, format_payload(payload, bits)) is None:
            return []
        found = reader.examine(photo, fpr, [payload])
        return [finding for finding in found if finding.reading.payload == payload]

    @router.get(
        f"{prefix}/manifests/{{activeManifestId}}",
        response_class=fastapi.Response,
        dependencies=[fastapi.Depends(authorize)],
        responses=refusals(_404="C2PA Manifest not found"),
    )
    def get_manifest_by_id(
        reader: Reader, activeManifestId: str, returnActiveManifest: bool = False
    ):
        manifest = get_manifest(reader.registry, activeManifestId)
        if manifest is None:
            raise HTTPException(404, "There is no such manifest here.")
        store = manifest.store
        if returnActiveManifest:
            store = split_store(store).only(manifest.id)
        return fastapi.Response(store, media_type=MEDIA_TYPE)

    @router.get(f"{prefix}/services/supportedAlgorithms", response_model=Algorithms)
    def get_supported_algorithms(reader: Reader):
        return Algorithms(
            watermarks=[Algorithm(alg=alg) for alg in algorithms(reader)],
            fingerprints=[],
        )

    @router.get(f"{prefix}/services/capabilities", response_model=Capabilities)
    def get_capabilities():
        # Nothing is stored over HTTP: manifests come with their photos' records.
        return Capabilities(
            c2paSpecificationVersion=VERSION, supportedCapabilities=["queryByContent"]
        )

    @router.get(f"{prefix}/services/status", response_model=Status)
    def get_status(reader: Reader):
        try:
            reader.registry.show("")
            status = "ok"
        except RegistryError:
            status = "down"
        return Status(status=status, timestamp=datetime.datetime.now(datetime.UTC))

    @router.get(WELL_KNOWN, response_model=Discovery)
    def get_well_known():
        base = public_url.rstrip("/") + prefix
        return Discovery(
            apiEndpoint=base,
            c2paSpecificationVersion=VERSION,
            capabilitiesEndpoint=f"{base}/services/capabilities",
            statusEndpoint=f"{base}/services/status",
        )

    return router


def _matches(found: Iterable[tuple[Manifest, int]]) -> Matches:
    return Matches(
        matches=[
            Match(manifestId=manifest.id, similarityScore=score)
            for manifest, score in found
        ]
    )


def _p_value(reading: Reading) -> float:
    """The smaller of a reading's two p-values."""
    registered = reading.registered_p_value
    return reading.p_value if registered is None else min(reading.p_value, registered)


def _score(reading: Reading) -> int:
    """0 to 100: ten times the p-value's zeros, so that 1e-6 is 60, and 100 at most."""
    return min(100, math.floor(-10 * math.log10(max(_p_value(reading), 1e-10))))


def _capped(wanted: int) -> int:
    return min(wanted, _MAX_RESULTS)


def _value(text: str) -> bytes:
    try:
        return decode_value(text)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _body(media_type: str, schema: dict) -> dict:
    content = {media_type: {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


async def _read(request: Request, limit: int) -> bytes:
    """The request's body, which is given up as soon as it is too long."""
    length = request.headers.get("content-length", "")
    body = bytearray()
    if not length.isdigit() or int(length) <= limit:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise HTTPException(413, f"The body must have at most {limit} bytes.")
