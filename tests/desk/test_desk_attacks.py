"""What clients write into names, fields and heads does nothing but stand there."""

import concurrent.futures
import contextlib
import json
import socket
import time
import urllib.parse

import desk_server
import pytest

NAMES = {
    "../../etc/passwd.png": "passwd.png",
    "..\\..\\windows\\system.png": "system.png",
    "/root/.ssh/key.png": "key.png",
    "..": "photo.jpg",
    "": "photo.jpg",
    ".png": "png.jpg",
    "%0d%0aX-Evil: 1.png": "%0d%0aX-Evil: 1.png",
    "a;filename=b.png": "a;filename=b.png",
    "a\u202egnp.exe.png": "a\\u202egnp.exe.png",
    "a\tb\x7f.png": "a\\tb\\x7f.png",
    "x" * 2000 + ".png": "x" * 196 + ".png",
    "<img src=x onerror=alert(1)>.png": "<img src=x onerror=alert(1)>.png",
    "'; DROP TABLE records; --.png": "'; DROP TABLE records; --.png",
}


@pytest.fixture(scope="module")
def named(desk, photo):
    """The records and heads of photos with such names."""
    answers = {}
    for name in NAMES:
        answers[name] = desk.call(
            "POST",
            "/v1/tag",
            photo=photo,
            scope="tag",
            name=name,
            fields={"owner": "Robert'); DROP TABLE records;--", "note": "50% _ \\ \"'"},
        )
    return answers


def test_names_are_no_paths_and_no_heads(desk, named):
    for name, answer in named.items():
        assert answer.status == 200, (name, answer.data[:200])
        record = desk.registry.show(answer.headers["x-faketagger-payload"])
        assert record.file == NAMES[name]
        assert "x-evil" not in answer.headers
        for value in answer.headers.values():
            assert value.isascii() and value.isprintable()
        disposition = answer.headers["content-disposition"]
        assert disposition.startswith("attachment; filename*=utf-8''")
        assert not set(disposition.partition("''")[2]) & set("/\\\"';:<> ")
        assert json.loads(answer.headers["x-faketagger-record"])["file"] == NAMES[name]


def test_text_is_no_sql(desk, named):
    def found(search):
        query = urllib.parse.urlencode({"search": search, "limit": 100})
        answer = desk.call("GET", f"/v1/records?{query}", scope="admin")
        return {record["file"] for record in answer.json()["records"]}

    everything = set(NAMES.values())
    assert found("Robert'); DROP TABLE records;--") == everything
    assert found("'; DROP TABLE records") == {"'; DROP TABLE records; --.png"}
    assert found("50% _ \\ \"'") == everything
    for nothing in ("' OR '1'='1", "%' --", "_" * 9, "\\", "' UNION SELECT digest"):
        # A backslash is in every note.
        assert found(nothing) == (everything if nothing == "\\" else set())


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer ' OR '1'='1",
        "Bearer ft_\xff\xfe",
        "Bearer " + "a" * 15_000,
        "bearer\tx",
    ],
)
def test_what_is_no_key_opens_nothing(desk, value):
    headers = {"Authorization": value.encode("latin-1")}
    answer = desk.call("GET", "/v1/records", headers=headers)
    assert answer.status == 401 and answer.error.endswith(".")


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: -1",
        "Content-Length: 99999999999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5x",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, chunked",
        "X" * 70_000 + ": 1",
        "A: b\x00c",
    ],
)
def test_wrong_heads_are_refused_and_the_desk_goes_on(desk, lines):
    with contextlib.closing(socket.create_connection(desk.address, 60)) as link:
        head = f"POST /v1/trace HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n5\r\nhello"
        link.sendall(head.encode("latin-1"))
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := link.recv(65536):
                received += data
    assert received[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 413", b"")
    assert received.count(b"HTTP/1.1 ") <= 1  # And no second request in its body.
    assert desk.call("GET", "/healthz").status == 200


def test_two_servers_share_one_sqlite_file(tagger, photo, tmp_path):
    """Each issues payloads of its own, and reads what the other has tagged."""
    with (
        desk_server.running(tagger, tmp_path, address_slots=16, queue=64) as one,
        desk_server.running(
            tagger, tmp_path, keys=one.keys, address_slots=16, queue=64
        ) as other,
    ):

        def tag(desk):
            answer = desk.call("POST", "/v1/tag", photo=photo, scope="tag")
            return answer.status, answer.headers.get("x-faketagger-payload"), answer

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answered = list(pool.map(tag, [one, other] * 6))
        assert {status for status, *_ in answered} == {200}
        payloads = {payload for _, payload, _ in answered}
        assert len(payloads) == 12
        assert {record.payload for record in other.registry.find()} == payloads
        time.sleep(1.1)  # By when either has noticed the other's payloads.
        for desk, (_, payload, tagged) in ((other, answered[0]), (one, answered[1])):
            answer = desk.call("POST", "/v1/trace", photo=tagged.data, scope="trace")
            (made,) = answer.json()["readings"]
            assert made["record"]["payload"] == payload
            assert answer.json()["payloads"] == 12
