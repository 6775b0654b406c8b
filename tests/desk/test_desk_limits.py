"""No client stops another: each test is a client that tries, and one that asks."""

import concurrent.futures
import contextlib
import socket
import struct
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from desk_server import BOUNDARY, form

from faketagger_tf.desk import Limits, limits
from faketagger_tf.photos import encode_image

ELSEWHERE = "127.0.0.2"  # Another address of this machine, on Linux.
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a second address")


def connect(desk, source="127.0.0.1"):
    return socket.create_connection(desk.address, 60, source_address=(source, 0))


def head(desk, length=None, path="/v1/trace", scope="trace"):
    size = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
    return (
        f"POST {path} HTTP/1.1\r\nHost: desk\r\n{size}\r\n"
        f"Authorization: Bearer {desk.keys[scope]}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    ).encode()


def rest(link):
    """All that the server still sends until it closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := link.recv(65536):
            received += data
    return received


def closes(link, seconds):
    link.settimeout(seconds)
    try:
        return rest(link) == b""
    except TimeoutError:
        return False


def test_a_slow_upload_is_dropped_and_stops_nobody(start, photo):
    with start(upload_seconds=1) as desk, connect(desk) as slow:
        slow.sendall(head(desk, 1_000_000) + form(photo)[:2000])
        begun = time.monotonic()
        stop = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not stop.wait(0.1):
                    slow.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            answer = desk.call("POST", "/v1/trace", photo=photo, scope="trace")
            assert answer.status == 200
            received = rest(slow)
        finally:
            stop.set()
            dripping.join()
        assert b" 408 " in received and b"The upload has stalled." in received
        # One second and 2,000 bytes at 8 KiB a second, and two to take what comes.
        assert time.monotonic() - begun < 30


def test_a_steady_upload_is_taken_however_slow_the_answer_to_others(start, photo):
    """Half a second for each piece of 64 KiB is more than the pace asks for."""
    body = form(photo)
    with start(upload_seconds=1) as desk, connect(desk) as steady:
        steady.sendall(head(desk, len(body)))
        for at in range(0, len(body), 16384):
            steady.sendall(body[at : at + 16384])
            time.sleep(0.3)
        assert b" 200 " in steady.recv(100)


def test_an_endless_body_is_cut_off(start, photo):
    with start(max_body=200_000) as desk, connect(desk) as endless:
        endless.sendall(head(desk))
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        end = time.monotonic() + 60  # It is cut off after two seconds of taking.
        with pytest.raises(OSError):
            while time.monotonic() < end:
                endless.sendall(chunk)
        answer = desk.call("POST", "/v1/trace", photo=photo, scope="trace")
        assert answer.status == 200


def test_a_body_that_is_too_large_is_refused_in_words(start):
    with start(max_body=100_000) as desk:
        answer = desk.call("POST", "/v1/trace", photo=bytes(150_000), scope="trace")
        assert answer.status == 413 and answer.headers["connection"] == "close"
        assert answer.error == "The request is too large. Accepted: up to 100000 bytes."
        # One that waits to be asked is never asked to send.
        with connect(desk) as waiting:
            request = head(desk, 10**12).replace(
                b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"
            )
            waiting.sendall(request)
            received = rest(waiting)
        assert b" 413 " in received and b"100 Continue" not in received


def test_without_a_key_nothing_is_uploaded_and_the_refusal_is_read(desk):
    answer = desk.call("POST", "/v1/trace", photo=bytes(30_000_000))
    assert answer.status == 401 and "scope trace" in answer.error
    assert answer.headers["www-authenticate"] == "Bearer"


def png_of(width, height, data=b""):
    def chunk(name, content):
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(data)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (1001, 1000)]
)
@pytest.mark.parametrize("path", ["/v1/trace", "/v1/tag"])
def test_huge_declared_dimensions_are_refused_undecoded(start, path, width, height):
    with start(max_pixels=1_000_000) as desk:
        answer = desk.call(
            "POST", path, photo=png_of(width, height), scope=path[4:], name="a.png"
        )
        assert answer.status == 413, answer.data
        assert f"{width}x{height} pixels" in answer.error
        assert "up to 1000000 pixels" in answer.error


def test_wrong_multipart_is_refused_in_words(desk, photo):
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    two = form(photo).replace(b"--a-boundary--", b"") + form(photo)
    text = form(b"").replace(b'; filename="photo.png"', b"")
    cases = [
        (kind, b"no form at all", 400),
        (kind, b"", 422),
        (kind, b"--a-boundary\r\n\r\nno disposition\r\n--a-boundary--", 400),
        (kind, form(photo)[:-20], 422),  # It ends within the photo.
        ("multipart/form-data", form(photo), 400),
        (kind, two, 400),
        (kind, text, 422),
        (kind, form(photo, note="x" * 5000), 400),
        (kind, form(photo, **{f"f{i}": "" for i in range(20)}), 400),
        ("application/x-www-form-urlencoded", b"photo=x", 415),
        ("image/png", photo, 415),
        ("\xff", photo, 415),
    ]
    for content_type, body, status in cases:
        headers = {"Content-Type": content_type}
        answer = desk.call("POST", "/v1/trace", body, scope="trace", headers=headers)
        assert answer.status == status, (content_type, body[:80], answer.data)
        assert answer.error.endswith(".")
    assert desk.desk.pool.pending == 0 and not desk.desk._slots._taken


def test_a_full_queue_is_503_with_a_time_to_come_again(start, photo):
    with start(jobs=1, queue=1, address_slots=20) as desk:
        go, begun = threading.Event(), threading.Semaphore(0)
        trace = desk.desk.trace

        def wait(*arguments):
            begun.release()
            assert go.wait(60)
            return trace(*arguments)

        desk.desk.trace = wait

        def ask():
            return desk.call("POST", "/v1/trace", photo=photo, scope="trace")

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(ask)]
            assert begun.acquire(timeout=30)
            waiting.append(pool.submit(ask))
            deadline = time.monotonic() + 30
            while desk.desk.pool.pending < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            answer = ask()
            assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
            assert "2 photos are waiting" in answer.error
            # What is quick is answered meanwhile.
            assert desk.call("GET", "/healthz").status == 200
            assert desk.call("GET", "/v1/records", scope="admin").status == 200
            go.set()
            assert [each.result(60).status for each in waiting] == [200, 200]
        assert ask().status == 200


@linux
def test_photos_that_take_long_stop_no_other_address(start, photo):
    """A thread cannot be stopped: who fills all that he can get leaves one."""
    slow = photo + b"slow"
    with start(jobs=1, work_seconds=60) as desk:
        go, trace = threading.Event(), desk.desk.trace

        def wait(data, public):
            assert data != slow or go.wait(60)
            return trace(data, public)

        desk.desk.trace = wait

        def ask(photo, source="127.0.0.1"):
            return desk.call(
                "POST", "/v1/trace", photo=photo, scope="trace", source=source
            )

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(ask, slow) for _ in range(3)]
            deadline = time.monotonic() + 30
            while desk.desk.pool.pending < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert [ask(photo, ELSEWHERE).status for _ in range(2)] == [200, 200]
            assert desk.desk.pool.pending == 3
            go.set()
            assert [each.result(60).status for each in waiting] == [200] * 3
        assert desk.desk.pool.pending == 0


def test_work_that_takes_too_long_is_given_up_and_still_counts(start, photo):
    with start(jobs=1, queue=1, work_seconds=0.5) as desk:
        go = threading.Event()
        desk.desk.trace = lambda *arguments: go.wait(60)
        answer = desk.call("POST", "/v1/trace", photo=photo, scope="trace")
        assert answer.status == 503 and "longer than 0.5 seconds" in answer.error
        assert desk.desk.pool.pending == 1
        go.set()


@linux
def test_one_address_has_a_few_photos_at_a_time(start, photo):
    with start(address_slots=2, upload_seconds=30) as desk, contextlib.ExitStack() as s:
        for _ in range(2):
            link = s.enter_context(connect(desk))
            link.sendall(head(desk, 1000) + b"--a")
        deadline = time.monotonic() + 30
        while desk.desk._slots._taken.total() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        ours, others = (
            desk.call("POST", "/v1/trace", photo=photo, scope="trace", source=source)
            for source in ("127.0.0.1", ELSEWHERE)
        )
        assert ours.status == 429 and "2." in ours.error
        assert others.status == 200


@linux
def test_connections_of_one_address_are_bounded(start, monkeypatch):
    monkeypatch.setattr(limits, "ADDRESS_CONNECTIONS", 5)
    with start() as desk, contextlib.ExitStack() as stack:
        links = [stack.enter_context(connect(desk, ELSEWHERE)) for _ in range(40)]
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            closed = list(pool.map(lambda link: closes(link, 5), links))
        assert closed.count(False) == 5
        assert desk.call("GET", "/healthz").status == 200


def test_all_connections_are_bounded(start, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 4)
    with start() as desk, contextlib.ExitStack() as stack:
        links = [stack.enter_context(connect(desk)) for _ in range(12)]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            closed = list(pool.map(lambda link: closes(link, 5), links))
        assert closed.count(False) == 4


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nA: b\r\n"])
@pytest.mark.parametrize("again", [False, True])
def test_a_head_that_does_not_come_is_not_waited_for(start, monkeypatch, sent, again):
    monkeypatch.setattr(limits, "HEAD_SECONDS", 1)
    with start() as desk, connect(desk) as link:
        if again:  # After a request that was answered.
            link.sendall(b"GET /page/desk.js HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while b"listRecords();\n" not in received[-300:]:
                received += link.recv(65536)
            time.sleep(0.3)  # The server has noted that it has answered.
        link.sendall(sent)
        begun = time.monotonic()
        link.settimeout(30)
        rest(link)
        # uvicorn waits for ever, but for 5 seconds where nothing follows an answer.
        assert time.monotonic() - begun < 25


def test_a_client_that_does_not_take_its_answer_is_cut_off(start, monkeypatch):
    monkeypatch.setattr(limits, "PACE", 10**9)
    noise = np.random.default_rng(0).integers(0, 256, (2200, 2200, 3), np.uint8)
    body = encode_image(noise, ".png")  # 14 MB, more than buffers hold.
    with start(upload_seconds=1) as desk:
        desk.desk.tag = lambda form: slow_answer(desk, body)
        with socket.socket() as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.settimeout(60)
            link.connect(desk.address)
            sent = form(b"x")
            link.sendall(head(desk, len(sent), "/v1/tag", "tag") + sent)
            deadline = time.monotonic() + 60
            while not desk.server.server_state.connections:
                assert time.monotonic() < deadline
            while desk.server.server_state.connections:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert desk.call("GET", "/healthz").status == 200


def slow_answer(desk, data):
    from faketagger_tf.registry import Record
    from faketagger_tf.registry.jobs import RecordedTag

    record = Record(preset="", file="a.png", payload="0x0", created=None)
    return RecordedTag(data, {}, record), ".png"


@linux
def test_requests_of_an_address_are_counted(start):
    with start(rate="3/minute") as desk:
        answers = [desk.call("GET", "/") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].error == "Too many requests. Accepted: 3 per 1 minute."
        assert desk.call("GET", "/", source=ELSEWHERE).status == 200
        assert desk.call("GET", "/healthz").status == 200
        # Whoever says that the request comes from elsewhere is not believed.
        headers = {"X-Forwarded-For": "192.0.2.7"}
        assert desk.call("GET", "/", headers=headers).status == 429


def test_a_proxy_is_believed(start):
    with start(rate="1/minute", proxies=["127.0.0.1"]) as desk:
        for client, status in (("192.0.2.7", 200), ("192.0.2.7", 429), ("::7", 200)):
            headers = {"X-Forwarded-For": client}
            assert desk.call("GET", "/", headers=headers).status == status


def test_networks_of_ipv6_are_one_address():
    same = [
        limits.address_of({"client": (host, 1)})
        for host in ("2001:db8::1", "2001:db8::ffff:2")
    ]
    assert same[0] == same[1] != limits.address_of({"client": ("2001:db8:0:1::1", 1)})
    assert limits.address_of({"client": ("::ffff:192.0.2.1", 1)}) == "192.0.2.1"
    assert limits.address_of({"client": None}) == ""


def test_limits_are_checked():
    with pytest.raises(ValueError, match=r"A rate must be .* Received: 'often'"):
        Limits(rate="often")
    with pytest.raises(ValueError, match=r"queue must be above 0\. Received: 0"):
        Limits(queue=0)
