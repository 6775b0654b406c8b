"""The tag as C2PA names it: a soft binding has an algorithm and a value."""

from __future__ import annotations

import base64
import dataclasses
import re

# Nobody owns this domain (RFC 2606), and the project owns none: whoever publishes
# photos puts their own here, and the name into the C2PA algorithm list.
DOMAIN = "org.example"
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


@dataclasses.dataclass(frozen=True)
class Binding:
    """A watermark in a photo.

    Attributes:
        algorithm: from `algorithm_name`.
        value: the payload, from `binding_value`.
    """

    algorithm: str
    value: bytes


def algorithm_name(preset: str, domain: str = DOMAIN, keyed: bool = False) -> str:
    """Name of a preset's watermark, as C2PA's algorithm list wants it.

    Args:
        preset: the preset's name; empty for a tagger that was not published.
        domain: a domain of yours, reversed.
        keyed: of tags with a key, which are another algorithm: without the key nobody
            reads the value that the manifest names.

    Raises:
        ValueError: the domain is not a reversed domain.

    Example:
        >>> algorithm_name("face128", "com.newsroom")
        'com.newsroom.faketagger.face128'
    """
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(
            "A domain must be reversed and in small letters. "
            f"Received: {domain!r}. Accepted: com.newsroom, for instance."
        )
    preset = re.sub("[^A-Za-z0-9_-]", "_", preset) or "unpublished"
    return f"{domain}.faketagger.{preset}{'.keyed' if keyed else ''}"


def binding_value(payload: int, payload_bits: int) -> bytes:
    """A payload's bytes, most significant first; a begun byte counts as one.

    Example:
        >>> binding_value(0x1F2E3D4C, 32).hex()
        '1f2e3d4c'
    """
    return payload.to_bytes(-(-payload_bits // 8), "big")


def encode_value(value: bytes) -> str:
    """A binding's value as base64.

    Example:
        >>> encode_value(binding_value(0x1F2E3D4C, 32))
        'Hy49TA=='
    """
    return base64.b64encode(value).decode()


def decode_value(text: str) -> bytes:
    """Reads a binding's value from base64, the form for URLs too.

    Raises:
        ValueError: the text is empty or not base64.

    Example:
        >>> decode_value("Hy49TA==").hex()
        '1f2e3d4c'
    """
    # An unescaped plus sign in a query arrives as a space.
    text = text.translate(str.maketrans(" -_", "++/"))
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        value = b""
    if not value:
        raise ValueError(
            f"A soft binding's value must be base64. Received: {text[:64]!r}."
        )
    return value
