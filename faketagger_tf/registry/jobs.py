"""Tags photos such that none leaves without its record.

    with open_registry("sqlite:///tags.db") as registry:
        row = tag_into_registry(tagger, registry, "photo.jpg", "tagged.jpg")
        registry.show(row["payload"]).sha256_tagged

The command line, a server and a pipeline call this for each of their photos; what reads
a suspect against the registry is `registry.reader`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from faketagger_tf.photos.photo_file import (
    PhotoFile,
    decode_photo_file,
    read_photo_file,
    write_encoded,
)
from faketagger_tf.registry.fingerprint import (
    fingerprint,
    fingerprint_matrix,
    make_thumbnail,
)
from faketagger_tf.registry.manifests import Manifest, store_manifest
from faketagger_tf.registry.records import (
    ABANDONED,
    RESERVED,
    WRITTEN,
    FaceRecord,
    Record,
)
from faketagger_tf.registry.store import Registry, RegistryError
from faketagger_tf.tagging.assure import check_untagged
from faketagger_tf.tagging.file_jobs import TAG_COLUMNS, TaggedPhoto, tag_photo
from faketagger_tf.tagging.promise import check_promise
from faketagger_tf.tagging.search import Canvas
from faketagger_tf.tagging.tagger import Tagger

if TYPE_CHECKING:
    from faketagger_tf.provenance.signing import PhotoSigner, SignedPhoto


@dataclasses.dataclass(frozen=True)
class RecordedTag:
    """A tagged photo and its record.

    Attributes:
        data: the tagged file's bytes.
        row: as `tag_into_registry` returns it.
        record: as it is stored.
        manifest: as it is stored; None if the photo was not signed.
    """

    data: bytes
    row: dict
    record: Record
    manifest: Manifest | None = None


def tag_into_registry(
    tagger: Tagger,
    registry: Registry,
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    owner: str = "",
    note: str = "",
    thumbnail: bool = True,
    payload: int | str | None = None,
    preserve: bool = False,
    signer: PhotoSigner | None = None,
    before_writing: Callable[[dict], object] = lambda row: None,
    **options,
) -> dict:
    """Tags a photo file with a payload of its own, on record before it is written.

    Args:
        tagger: tags, and reads back.
        registry: issues the payload.
        path: the photo.
        output: where to write it; its extension says how. The record has this name as
            it is given.
        owner, note: free text for the record.
        thumbnail: store a small picture of the photo.
        payload: one to ask for; None draws one. Registered p-values hold for payloads
            that were drawn.
        preserve: give the output the photo's times.
        signer: signs the tagged photo; its manifest is stored with the record.
        before_writing: is given the row before the file is written; what it raises
            abandons the record.
        **options: strength, promise, refine, check, quality, retag and strict of
            `file_jobs.tag_photo`.

    Returns:
        A row with `file_jobs.TAG_COLUMNS`.

    Raises:
        ValueError: the photo cannot be read, tagged or written, carries a tag, or the
            payload is taken; the record is abandoned then.
        RegistryError: the database fails. No file is written then, unless it fails once
            it has stored the file's digest: `Registry.reclaim` settles that.
    """
    photo = read_photo_file(path)
    extension = os.path.splitext(os.fspath(output))[1]
    names = {"file": os.fspath(path), "output": os.fspath(output)}

    def write(data: bytes) -> None:
        write_encoded(output, data, photo, preserve)

    draft = _draft(tagger, photo, os.fspath(output), owner, note, thumbnail)
    if signer:
        options["sign"] = signer.for_file(tagger, photo, path, output)
    return _tag(
        tagger,
        registry,
        photo,
        extension,
        draft,
        payload,
        options,
        write,
        lambda row: before_writing(names | row),
        names,
    ).row


def tag_bytes_into_registry(
    tagger: Tagger,
    registry: Registry,
    data: bytes,
    name: str,
    *,
    extension: str | None = None,
    owner: str = "",
    note: str = "",
    thumbnail: bool = True,
    payload: int | str | None = None,
    signer: PhotoSigner | None = None,
    **options,
) -> RecordedTag:
    """Tags a photo's bytes as `tag_into_registry` does a file; writes no file.

    The record counts as written when the bytes are returned.

    Args:
        data: the photo's file.
        name: of the tagged file, for the record.
        extension: says how the photo is encoded; None takes that of `name`.
        tagger, registry, owner, note, thumbnail, payload, signer, **options: as for
            `tag_into_registry`.

    Raises:
        ValueError, RegistryError: as for `tag_into_registry`.
    """
    if extension is None:
        extension = os.path.splitext(name)[1]
    photo = decode_photo_file(data)
    draft = _draft(tagger, photo, name, owner, note, thumbnail)
    if signer:
        options["sign"] = signer.for_bytes(tagger, data, name)
    return _tag(tagger, registry, photo, extension, draft, payload, options)


def tag_once(
    tagger: Tagger,
    registry: Registry,
    data: bytes,
    name: str,
    output: str,
    *,
    read: Callable[[str], bytes | None],
    write: Callable[[bytes], object],
    owner: str = "",
    note: str = "",
    thumbnail: bool = True,
    **options,
) -> tuple[str, dict]:
    """Tags a photo's bytes such that doing it again changes nothing.

    For batches whose parts are begun anew, on whatever machine, where one was killed or
    failed. The payload is issued to the photo's digest, the tagger, its key and the
    output's format: the same photo is never given a second one.

    Args:
        tagger: tags, and reads back.
        registry: issues the payload.
        data: the photo's file.
        name: the photo's name, for the row and for errors.
        output: name of the tagged file, for the record; its extension says how it is
            encoded. One that exists is replaced only where this photo's record says
            that it was being written.
        read: name of a tagged file to its bytes; None where there is no such file.
        write: is given the tagged file's bytes, and has to write `output` whole or not
            at all.
        owner, note, thumbnail, **options: as for `tag_into_registry`.

    Returns:
        what was done, and a row with `file_jobs.TAG_COLUMNS`. "tagged"; "kept", where
        the file of the photo's record is there already; or "copied", where it is there
        under another name, as of a photo that a library holds twice. The last two have
        what is on record in their rows, and None for what is not.

    Raises:
        ValueError, RegistryError: as for `tag_into_registry`; or the output exists and
            is not of this photo's record.

    Example:
        >>> import pathlib
        >>> from faketagger_tf.registry import init_registry
        >>> registry = init_registry("sqlite:///tags.db")
        >>> data, files = pathlib.Path("photo.jpg").read_bytes(), {}
        >>> def tag():
        ...     return tag_once(
        ...         tagger, registry, data, "photo.jpg", "out/photo.jpg",
        ...         read=files.get,
        ...         write=lambda data: files.update({"out/photo.jpg": data}),
        ...     )
        >>> (first, row), (second, again) = tag(), tag()
        >>> first, second, row["payload"] == again["payload"]
        ('tagged', 'kept', True)
    """
    extension = os.path.splitext(output)[1]
    names = {"file": name, "output": output}
    digest = hashlib.sha256(data).hexdigest()
    parts = (tagger.config.preset, tagger.key_id, extension.lower(), digest)
    request = json.dumps(parts)
    # A run that was killed may have left any of a record's states behind.
    record = registry.requested(request)
    there = read(output)
    if record and record.state == WRITTEN:
        if there is not None and _is_of(record, there):
            return "kept", names | _recorded_row(record)
        earlier = None if record.file == output else read(record.file)
        if there is None and earlier is not None and _is_of(record, earlier):
            write(earlier)
            return "copied", names | _recorded_row(record)
    begun = record and record.state == RESERVED and record.file == output
    if there is not None and not begun:
        raise ValueError(
            f"The output {output!r} exists, and no record says that it is of this "
            "photo. Accepted: another folder for the outputs."
        )
    photo = decode_photo_file(data, name)
    draft = _draft(tagger, photo, output, owner, note, thumbnail)
    row = _tag(
        tagger,
        registry,
        photo,
        extension,
        draft,
        None,
        options,
        write,
        names=names,
        request=request,
    ).row
    return "tagged", row


def _is_of(record: Record, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == record.sha256_tagged


def _recorded_row(record: Record) -> dict:
    """What a record can say of a row of `file_jobs.TAG_COLUMNS`."""
    return {
        **dict.fromkeys(TAG_COLUMNS[2:]),
        "payload": record.payload,
        "faces": sum(bool(face.landmarks) for face in record.faces),
        "broken": [],
        "width": record.width,
        "height": record.height,
        "lost": [],
        "changed": [],
        "error": "",
    }


def _draft(tagger, photo: PhotoFile, file, owner, note, thumbnail) -> Record:
    return Record(
        preset=tagger.config.preset,
        file=file,
        key_id=tagger.key_id,
        width=photo.pixels.shape[1],
        height=photo.pixels.shape[0],
        sha256_original=photo.sha256,
        owner=owner,
        note=note,
        thumbnail=make_thumbnail(photo.pixels) if thumbnail else None,
    )


def _tag(
    tagger: Tagger,
    registry: Registry,
    photo: PhotoFile,
    extension: str,
    draft: Record,
    payload: int | str | None,
    options: dict,
    write: Callable[[bytes], object] = lambda data: None,
    before_writing: Callable[[dict], object] = lambda row: None,
    names: dict | None = None,
    request: str | None = None,
) -> RecordedTag:
    """Reserves, tags, publishes."""
    if options.get("promise"):
        # First, so that no payload is issued for what is refused.
        check_promise(tagger, options["promise"])
    canvases = tagger.find_canvases(photo.pixels)
    if not options.pop("retag", False):
        # As early, for the same reason.
        check_untagged(tagger, photo.pixels, canvases)
    draft = dataclasses.replace(draft, faces=describe_faces(photo.pixels, canvases))
    record = registry.reserve(draft, tagger.config.payload_bits, payload, request)
    try:
        tagged = tag_photo(
            tagger,
            photo,
            extension,
            record.payload,
            canvases=canvases,
            retag=True,
            **options,
        )
        row = {**(names or {}), **tagged.row}
        manifest = tagged.signed and _manifest(record.payload, tagged.signed)
        if manifest:
            store_manifest(registry, manifest)
        before_writing(row)
    except BaseException:
        # What went wrong with the photo is told, even if the database fails, too.
        with contextlib.suppress(RegistryError):
            registry.abandon(record.payload)
        raise
    faces = _changed_faces(photo.pixels, tagged, canvases)
    registry.publish(record.payload, tagged.data, write, faces)
    return RecordedTag(tagged.data, row, registry.show(record.payload), manifest)


def _manifest(payload: str, signed: SignedPhoto) -> Manifest:
    binding = signed.binding
    return Manifest(
        signed.manifest_id, payload, binding.algorithm, binding.value, signed.store
    )


def _changed_faces(
    photo: np.ndarray, tagged: TaggedPhoto, canvases: list[Canvas]
) -> tuple[FaceRecord, ...] | None:
    """Faces for the record where the tag is on the centred square after all."""
    if tagged.canvases[0].face is None and canvases[0].face is not None:
        return describe_faces(photo, [*tagged.canvases, *tagged.unread])
    return None


def describe_faces(
    photo: np.ndarray, canvases: Sequence[Canvas]
) -> tuple[FaceRecord, ...]:
    """Returns what a record says of a photo's faces.

    Args:
        photo: uint8 [H, W, 3] RGB.
        canvases: from `Tagger.find_canvases`.
    """
    height, width = photo.shape[:2]
    faces = []
    for canvas in canvases:
        face = canvas.face
        points = face.landmarks.tolist() if face else ()
        matrix = fingerprint_matrix(width, height, points)
        box = face.box if face else (0, 0, width, height)
        faces.append(
            FaceRecord(
                tuple(float(value) for value in box),
                tuple((float(x), float(y)) for x, y in points),
                *fingerprint(photo, matrix),
            )
        )
    return tuple(faces)


def recorded(registry: Registry, path: str | os.PathLike) -> Record | None:
    """Returns the record of a file that was tagged, found by its digest.

    A run that was killed may have written it and not said so: the record is completed
    then. A batch that goes on later asks this of the outputs that are there already.

    Returns:
        the record; None if the registry has none of such a file.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(
            f"Cannot read {os.fspath(path)!r}: {error.strerror or error}."
        ) from None
    records = registry.find(sha256_tagged=digest)
    # The payload of one that was abandoned may be somebody else's by now.
    for record in (each for each in records if each.state != ABANDONED):
        if record.state == RESERVED:
            registry.complete(record.payload)
            return registry.show(record.payload)
        return record
    return None
