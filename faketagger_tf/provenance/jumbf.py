"""A manifest store is a box of boxes (JUMBF, ISO 19566-5), one for each manifest."""

from __future__ import annotations

import dataclasses
import struct

_HEADER = 8  # A box's length and type.


@dataclasses.dataclass(frozen=True)
class Store:
    """A manifest store, cut open.

    Attributes:
        description: its description box.
        boxes: each manifest's box by its label, oldest first; the last is active.
    """

    description: bytes
    boxes: dict[str, bytes]

    @property
    def active(self) -> str:
        """Label of the active manifest, such as "urn:c2pa:..."."""
        return list(self.boxes)[-1]

    def only(self, label: str) -> bytes:
        """A store with that manifest alone.

        Manifests that it names as its ingredients' are then missing.
        """
        content = self.description + self.boxes[label]
        return struct.pack(">I4s", _HEADER + len(content), b"jumb") + content


def split_store(data: bytes) -> Store:
    """Cuts a manifest store into its manifests.

    Raises:
        ValueError: it is damaged, or holds no manifest.
    """
    boxes = _boxes(data)
    if len(boxes) != 1 or boxes[0][0] != b"jumb":
        raise ValueError(_damaged(data))
    description, found = b"", {}
    for kind, box in _boxes(boxes[0][1][_HEADER:]):
        if kind == b"jumd":
            description = box
        elif kind == b"jumb":
            found[_label(box)] = box
    if not description or not found:
        raise ValueError(_damaged(data))
    return Store(description, found)


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        if at + _HEADER > len(data):
            raise ValueError(_damaged(data))
        size, kind = struct.unpack_from(">I4s", data, at)
        if not _HEADER <= size <= len(data) - at:
            raise ValueError(_damaged(data))
        found.append((kind, data[at : at + size]))
        at += size
    return found


def _label(box: bytes) -> str:
    for kind, content in _boxes(box[_HEADER:])[:1]:
        # Type (16 bytes), toggles (1 byte), then the label.
        label, end, _ = content[_HEADER + 17 :].partition(b"\0")
        if kind == b"jumd" and end:
            return label.decode("utf-8", "replace")
    raise ValueError(_damaged(box))


def _damaged(data: bytes) -> str:
    return (
        "A manifest store must be a JUMBF box with manifests in it. "
        f"Received: {len(data)} bytes that are damaged or something else."
    )
