"""500 damaged or hostile files."""

import json
import os
import struct
import zlib

import cv2
import numpy as np
import skimage.data


def png_chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, data):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(*chunk)
        for chunk in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def damaged(kind, good, rng):
    """Bytes of one bad file."""
    if kind == "empty":
        return b""
    if kind == "text":
        return b"This is no photo.\n" * 40
    if kind == "random":
        return rng.bytes(2000)
    if kind == "truncated":
        return good[: int(rng.integers(4, len(good) * 9 // 10))]
    if kind == "magic":
        return good[:4] + rng.bytes(500)
    if kind == "bomb":
        return png(30_000, 30_000, zlib.compress(bytes(10_000_000)))
    if kind == "huge":
        return png(2**31 - 1, 2**31 - 1, b"")
    if kind == "no_pixels":
        return png(0, 0, zlib.compress(b""))
    if kind == "short":
        return png(400, 400, zlib.compress(bytes(1000)))
    if kind == "small":
        return cv2.imencode(".png", np.full((40, 40, 3), 99, np.uint8))[1].tobytes()
    raise AssertionError(kind)


KINDS = (
    "empty", "text", "random", "truncated", "magic", "bomb", "huge", "no_pixels",
    "short", "small",
)  # fmt: skip


def test_five_hundred_bad_files_do_not_stop_a_run(faketagger, tmp_path, capsys):
    rng = np.random.default_rng(11)
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    face = np.ascontiguousarray(skimage.data.astronaut()[40:200, 140:300])
    encoded = {
        extension: cv2.imencode(extension, face[..., ::-1])[1].tobytes()
        for extension in (".png", ".jpg", ".webp", ".bmp")
    }
    extensions = list(encoded)
    bad, flipped = set(), set()
    for i in range(440):
        extension = extensions[i // len(KINDS) % 4]
        data = damaged(KINDS[i % len(KINDS)], encoded[extension], rng)
        # BMP has no checksum or end; a truncated one is found by its size.
        path = source / f"bad{i:03}{extension}"
        path.write_bytes(data)
        bad.add(str(path))
    for i in range(50):
        extension = extensions[i % 4]
        data = bytearray(encoded[extension])
        for place in rng.integers(0, len(data), 3):
            data[place] ^= 1 << int(rng.integers(8))
        path = source / f"flipped{i:02}{extension}"
        path.write_bytes(data)
        flipped.add(str(path))
    links = {"loop.png": "loop.png", "gone.jpg": "nowhere.jpg", "null.png": "/dev/null"}
    for name, aim in links.items():
        os.symlink(aim, source / name)
        bad.add(str(source / name))
    os.symlink("..", source / "parent")
    os.mkfifo(source / "pipe.png")
    bad.add(str(source / "pipe.png"))
    if os.geteuid():
        (source / "secret.png").write_bytes(encoded[".png"])
        (source / "secret.png").chmod(0)
        bad.add(str(source / "secret.png"))
    good = set()
    for i, extension in enumerate(extensions):
        (source / f"good{i}{extension}").write_bytes(encoded[extension])
        good.add(f"good{i}{extension}")
    # A photo under another format's name is still a photo.
    (source / "misnamed.png").write_bytes(encoded[".jpg"])
    good.add("misnamed.png")
    os.symlink(source / "good0.png", source / "link.png")
    good.add("link.png")

    assert faketagger("tag", source, target, "--payload=5", "--json") == 2
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    failed = {row["file"] for row in rows if row["error"]}
    assert len(rows) >= 500
    assert bad <= failed <= bad | flipped
    assert all(f"Error: {path}: " in captured.err for path in failed)
    # Every error is one of our sentences, none an exception that got through.
    assert all(row["error"].endswith(".") for row in rows if row["error"])
    written = {path.name for path in target.iterdir()}
    assert good <= written
    assert written.isdisjoint(os.path.basename(path) for path in failed)
    assert faketagger("trace", *(target / name for name in sorted(good)), "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["payload"] for row in found] == ["0x00000005"] * len(good)
