"""What keeps one client of the desk from stopping the others.

A client can send nothing, send slowly, send without an end, read nothing, open many
connections, ask often, or send photos that take long. Each has its limit here: the
connection's protocol (`Protocol`), the middleware that every request's body passes
(`Intake`), the requests of an address (`Rate`), its photos at a time (`Slots`), and the
bounded pool of threads in which photos are handled (`Pool`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import functools
import ipaddress
import os
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import limits as rates
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15  # Within which a connection must send the head of a request.
PACE = 8192  # Bytes a second that clients must send or take, after a grace.
CONNECTIONS = 512  # At a time; further ones are closed at once.
ADDRESS_CONNECTIONS = 32  # At a time from one address.
DRAIN_SECONDS = 2  # For which the body of a refused request is still taken.
RETRY_AFTER = 5  # Seconds after which a client that met a full queue may come again.


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of a desk.

    Attributes:
        max_body: bytes of a request.
        max_pixels: of a photo, as its header states them.
        rate: requests of one address, in the words of the package `limits`.
        jobs: photos of one address that are handled at once; of all, one more.
        queue: photos that may wait for that.
        slots: requests with a photo at a time, from its first byte to the answer.
        address_slots: those of one address.
        upload_seconds: by which an upload, or a client that takes an answer, may lag
            behind `PACE`.
        work_seconds: after which the answer to a photo is given up.

    Raises:
        ValueError: the rate is not understood, or a number is not positive.
    """

    max_body: int = 32 * 2**20
    max_pixels: int = 50_000_000
    rate: str = "120/minute"
    jobs: int = os.cpu_count() or 1
    queue: int = 16
    slots: int = 64
    address_slots: int = 8
    upload_seconds: float = 30
    work_seconds: float = 120

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "rate" and value <= 0:
                raise ValueError(f"{field.name} must be above 0. Received: {value!r}.")
        self.rates()

    def rates(self) -> list[rates.RateLimitItem]:
        """The rate as `limits` has it."""
        try:
            return rates.parse_many(self.rate)
        except ValueError:
            raise ValueError(
                "A rate must be a number of requests in a time. Received: "
                f"{self.rate!r}. Accepted: such as 120/minute, or 5/second;500/hour."
            ) from None


class Refusal(HTTPException):
    """A request that is not answered: an HTTP status and one sentence.

    Args:
        status: of HTTP.
        sentence: for the client.
        retry_after: seconds after which it may come again.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, sentence, headers or None)


def address_of(scope: dict) -> str:
    """Whose request it is: an IPv4 address, or the /64 network of an IPv6 one.

    A household or a server has a whole network of IPv6 addresses to itself.
    """
    return _network((scope.get("client") or ("",))[0])


def _network(host: str) -> str:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.version == 6:
            mapped = address.ipv4_mapped
            network = ipaddress.ip_network((address, 64), strict=False)
            return str(mapped or network)
    return host


class Protocol(H11Protocol):
    """uvicorn's HTTP, with limits on what happens before and after a request.

    uvicorn itself waits for ever for a head that does not come and for a client that
    does not take its answer, and knows no limit per address.
    """

    proxies: frozenset[str] = frozenset()  # Not limited per address.
    lag_seconds: float = Limits.upload_seconds

    def connection_made(self, transport):
        super().connection_made(transport)
        self._head, self._answer = _Timer(transport), _Timer(transport)
        host = self.client[0] if self.client else ""
        same = sum(
            other.client is not None and _network(other.client[0]) == _network(host)
            for other in self.connections
        )
        if len(self.connections) > CONNECTIONS or (
            same > ADDRESS_CONNECTIONS and host not in self.proxies
        ):
            transport.abort()
        else:
            self._head.start(HEAD_SECONDS)

    def data_received(self, data):
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head.stop()
        elif not self._head.running:
            self._head.start(HEAD_SECONDS)

    def pause_writing(self):
        super().pause_writing()
        size = self.transport.get_write_buffer_size()
        self._answer.start(self.lag_seconds + size / PACE)

    def resume_writing(self):
        super().resume_writing()
        self._answer.stop()

    def connection_lost(self, exc):
        self._head.stop()
        self._answer.stop()
        super().connection_lost(exc)


class _Timer:
    """Cuts a connection off unless it is stopped in time."""

    def __init__(self, transport: asyncio.Transport):
        self._transport = transport
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float) -> None:
        self.stop()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(seconds, self._transport.abort)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Intake:
    """Middleware that every body passes: it may not be too large, nor stall.

    A body that was not taken to its end when the answer begins is thrown away for
    `DRAIN_SECONDS`, so that the client reads the answer instead of a broken
    connection, and the connection is closed.

    Args:
        app: the ASGI application.
        limits: `max_body` and `upload_seconds` of them.
    """

    def __init__(self, app, limits: Limits):
        self._app, self._limits = app, limits

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = _Body(scope, receive, self._limits)

        async def answer(message):
            if message["type"] == "http.response.start" and not body.ended:
                await body.drain()
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"connection", b"close"),
                ]
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """A request's body on its way in."""

    def __init__(self, scope, receive, limits: Limits):
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self.ended = length in (b"", b"0") and b"transfer-encoding" not in headers
        self._declared = int(length) if length.isdigit() else 0
        # Such a client sends nothing before it is asked to.
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"
        self._receive, self._limits = receive, limits
        self._size = 0
        self._begun = asyncio.get_running_loop().time()

    async def receive(self) -> dict:
        if self.ended:
            return await self._receive()
        limits = self._limits
        if self._declared > limits.max_body:
            raise self._too_large()
        lag = limits.upload_seconds + self._size / PACE
        try:
            async with asyncio.timeout_at(self._begun + lag):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408,
                f"The upload has stalled. Received: {self._size} bytes. Accepted: "
                f"{PACE} bytes a second, after {limits.upload_seconds:g} seconds at "
                "most.",
            ) from None
        self._note(message)
        if self._size > limits.max_body:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        if self._waits and not self._size:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.ended:
                    self._note(await self._receive())

    def _note(self, message: dict) -> None:
        self._size += len(message.get("body", b""))
        if not message.get("more_body", False):
            self.ended = True  # Or the client has gone.

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"The request is too large. Accepted: up to {self._limits.max_body} bytes.",
        )


class Rate:
    """Counts the requests of each address.

    Args:
        limits: `rate` of them.
    """

    def __init__(self, limits: Limits):
        self._items = limits.rates()
        self._window = rates.strategies.MovingWindowRateLimiter(
            rates.storage.MemoryStorage()
        )

    def check(self, address: str) -> None:
        """Counts one request.

        Raises:
            Refusal: 429, it is one too many.
        """
        for item in self._items:
            if not self._window.hit(item, address):
                self._refuse(item, address)

    def _refuse(self, item: rates.RateLimitItem, address: str):
        reset = self._window.get_window_stats(item, address).reset_time
        wait = max(1, round(reset - time.time()))
        raise Refusal(429, f"Too many requests. Accepted: {item}.", wait)


class Slots:
    """Requests with a photo at a time: in all, and of each address.

    Args:
        limits: `slots` and `address_slots` of them.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._taken: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def take(self, address: str) -> Iterator[None]:
        """Holds a slot; from the event loop alone.

        Raises:
            Refusal: 429 or 503, none is free.
        """
        limits = self._limits
        if self._taken[address] >= limits.address_slots:
            raise Refusal(
                429,
                "Too many photos at a time from this address. Accepted: "
                f"{limits.address_slots}.",
                RETRY_AFTER,
            )
        if self._taken.total() >= limits.slots:
            raise Refusal(503, "The desk is busy; try again later.", RETRY_AFTER)
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


@dataclasses.dataclass(eq=False)
class _Work:
    """A photo that waits or is handled."""

    address: str
    call: Callable[[], Any]
    answer: asyncio.Future


class Pool:
    """A few threads and a bounded queue in front of them; for the event loop alone.

    A photo of many faces takes minutes, and a thread cannot be stopped. One address
    has at most `jobs` of the `jobs` + 1 threads, so that another one's photos go on.

    Args:
        limits: `jobs`, `queue` and `work_seconds` of them.

    Attributes:
        pending: what is at work or waits.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._threads = futures.ThreadPoolExecutor(limits.jobs + 1, "photo")
        self._waiting: list[_Work] = []
        self._running: collections.Counter[str] = collections.Counter()
        self.pending = 0

    def check(self) -> None:
        """Tells whether there is room.

        Raises:
            Refusal: 503, the queue is full.
        """
        if self.pending >= self._limits.jobs + self._limits.queue:
            raise Refusal(
                503,
                f"{self.pending} photos are waiting already; try again later.",
                RETRY_AFTER,
            )

    async def run(self, address: str, function: Callable, *arguments) -> Any:
        """Runs a function in a thread and returns what it returns.

        What has not begun when time is up never begins; what has goes on, counts as
        pending, and its result is dropped.

        Args:
            address: whose photo it is.
            function, *arguments: what is called.

        Raises:
            Refusal: 503, the queue is full or time is up.
        """
        self.check()
        answer = asyncio.get_running_loop().create_future()
        work = _Work(address, functools.partial(function, *arguments), answer)
        self.pending += 1
        self._waiting.append(work)
        self._begin()
        seconds = self._limits.work_seconds
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise Refusal(
                503, f"The photo took longer than {seconds:g} seconds.", RETRY_AFTER
            ) from None
        finally:
            if work in self._waiting:
                self._waiting.remove(work)
                self.pending -= 1

    def _begin(self) -> None:
        """Gives free threads to what waits, first come, first served."""
        jobs = self._limits.jobs
        for work in list(self._waiting):
            if self._running.total() > jobs:
                return
            if self._running[work.address] < jobs:
                self._waiting.remove(work)
                self._running[work.address] += 1
                done = functools.partial(self._end, work, asyncio.get_running_loop())
                self._threads.submit(work.call).add_done_callback(done)

    def _end(self, work: _Work, loop, done: futures.Future) -> None:
        """Tells the event loop, from a thread; it may have stopped."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._ended, work, done)

    def _ended(self, work: _Work, done: futures.Future) -> None:
        self.pending -= 1
        self._running[work.address] -= 1
        if not self._running[work.address]:
            del self._running[work.address]
        if not work.answer.done():
            if done.cancelled():
                work.answer.cancel()
            elif error := done.exception():
                work.answer.set_exception(error)
            else:
                work.answer.set_result(done.result())
        self._begin()

    def close(self) -> None:
        """Waits for what is at work; what waits is dropped."""
        self._waiting.clear()
        self._threads.shutdown(cancel_futures=True)
