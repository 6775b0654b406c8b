import struct

import corpus
import pytest

from faketagger_tf.provenance.jumbf import split_store


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def named(label: bytes, content: bytes = b"") -> bytes:
    return box(b"jumb", box(b"jumd", bytes(16) + b"\3" + label + b"\0") + content)


def test_a_store_is_cut_and_joined():
    first, second = named(b"one", box(b"cbor", b"1")), named(b"two", box(b"cbor", b"2"))
    store = split_store(named(b"c2pa", first + second))
    assert store.boxes == {"one": first, "two": second} and store.active == "two"
    assert store.only("one") == named(b"c2pa", first)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"jumb",
        bytes(100),
        corpus.jumbf(),  # Without a manifest.
        named(b"c2pa", named(b"one"))[:-1],
        named(b"c2pa", named(b"one")) + b"more",
        named(b"c2pa", box(b"jumb", b"")),
        named(b"c2pa", box(b"jumb", box(b"jumd", bytes(16)))),
        box(b"free", named(b"one")),
    ],
)
def test_damaged_stores(data):
    with pytest.raises(ValueError, match=r"Received: [0-9]+ bytes that are damaged"):
        split_store(data)
