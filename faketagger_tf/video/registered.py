"""Clips and the registry: none leaves without its record, and each is looked up.

A clip's record has no fingerprints of faces: frames of one clip differ more from each
other than a verdict on what has changed allows, so that none is given.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable

from faketagger_tf.registry.fingerprint import make_thumbnail
from faketagger_tf.registry.reader import (
    FINDING_COLUMNS,
    RegisteredReader,
    finding_row,
)
from faketagger_tf.registry.records import Record
from faketagger_tf.registry.store import Registry, RegistryError
from faketagger_tf.tagging.promise import check_promise
from faketagger_tf.tagging.tagger import Tagger
from faketagger_tf.video.container import check_encoder
from faketagger_tf.video.jobs import TRACE_COLUMNS, first_frame, tag_clip, trace_clip
from faketagger_tf.video.tag import check_first_frame

COLUMNS = (*TRACE_COLUMNS[:-2], *FINDING_COLUMNS, *TRACE_COLUMNS[-2:])


def tag_clip_into_registry(
    tagger: Tagger,
    registry: Registry,
    path: str | os.PathLike,
    output: str | os.PathLike,
    payload: int | str | None = None,
    *,
    owner: str = "",
    note: str = "",
    thumbnail: bool = True,
    retag: bool = False,
    before_writing: Callable[[str, dict], object] = lambda temporary, row: None,
    **options,
) -> dict:
    """Tags a clip file with a payload of its own, on record before it has its name.

    Args:
        tagger, registry, path, output, payload, owner, note, thumbnail: as for
            `registry.jobs.tag_into_registry`; the picture is of the first frame.
        retag, before_writing, **options: strength, promise, check, crf, preset, strict
            and watch of `jobs.tag_clip`.

    Returns:
        A row with `jobs.TAG_COLUMNS`.

    Raises:
        ValueError: as `jobs.tag_clip`, or the payload is taken; the record is abandoned
            then.
        RegistryError: the database fails. No file is written then, unless it fails once
            it has stored the file's digest: `Registry.reclaim` settles that.

    Example:
        >>> from faketagger_tf.registry import init_registry
        >>> registry = init_registry("sqlite:///tags.db")
        >>> row = tag_clip_into_registry(tagger, registry, "clip.mp4", "tagged.mp4")
        >>> registry.show(row["payload"]).state
        'written'
    """
    # First, so that no payload is issued for what is refused.
    check_encoder(os.fspath(output), options.get("crf"), options.get("preset"))
    if options.get("promise"):
        check_promise(tagger, options["promise"])
    frame, _ = first_frame(path)
    if not retag:
        check_first_frame(tagger, frame)
    draft = Record(
        preset=tagger.config.preset,
        file=os.fspath(output),
        key_id=tagger.key_id,
        width=frame.pixels.shape[1],
        height=frame.pixels.shape[0],
        sha256_original=_digest(path),
        owner=owner,
        note=note,
        thumbnail=make_thumbnail(frame.pixels) if thumbnail else None,
    )
    record = registry.reserve(draft, tagger.config.payload_bits, payload)
    sealed = False

    def seal(temporary: str, row: dict) -> None:
        nonlocal sealed
        before_writing(temporary, row)
        size = os.path.getsize(temporary)
        registry.seal(record.payload, _digest(temporary), size)
        sealed = True

    try:
        row = tag_clip(
            tagger,
            path,
            output,
            record.payload,
            retag=True,
            before_writing=seal,
            **options,
        )
    except BaseException as error:
        # An interrupted run may have written what is sealed: `reclaim` looks.
        if not sealed or isinstance(error, Exception):
            with contextlib.suppress(RegistryError):
                registry.abandon(record.payload)
        raise
    registry.complete(record.payload)
    return row


def trace_registered_clip(
    reader: RegisteredReader, path: str | os.PathLike, fpr: float, **options
) -> list[dict]:
    """Reads the tags of a clip file and looks up whose they are.

    The sum of a track's logits is compared with every issued payload.

    Args:
        reader: has tagger and registry.
        path, fpr: as for `jobs.trace_clip`.
        **options: every, every_track, picture, watch and quick, as there.

    Returns:
        Rows with `COLUMNS`; those that say what has changed are None.

    Raises:
        ValueError: as `jobs.trace_clip`.
        RegistryError: the database fails.

    Example:
        >>> from faketagger_tf.registry import init_registry
        >>> reader = RegisteredReader(tagger, init_registry("sqlite:///tags.db"))
        >>> (row,) = trace_registered_clip(reader, "clip.mp4", fpr=1e-6)
        >>> row["found"], row["registered_payloads"]
        (False, 0)
    """
    return trace_clip(
        reader.tagger,
        path,
        fpr,
        payloads=reader.payloads(),
        more=lambda reading: finding_row(reader.look_up(reading)),
        **options,
    )


def _digest(path: str | os.PathLike) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(
            f"Cannot read {os.fspath(path)!r}: {error.strerror or error}."
        ) from None
