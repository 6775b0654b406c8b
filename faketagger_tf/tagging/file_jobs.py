"""One photo file from disk to disk, and the rows that tell about it.

The command line, a server and a pipeline call this for each of their photos. A row is a
dictionary of plain values, the same in tables and in JSON.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from faketagger_tf.batch import reason
from faketagger_tf.messages import format_payload, parse_payload
from faketagger_tf.metrics import measure
from faketagger_tf.photos import write_image
from faketagger_tf.photos.parts import C2PA
from faketagger_tf.photos.photo_file import (
    PhotoFile,
    account,
    encode_photo_file,
    read_photo_file,
    write_encoded,
)
from faketagger_tf.photos.suspect import Suspect, read_suspect
from faketagger_tf.tagging.annotate import annotate
from faketagger_tf.tagging.assure import check_untagged, tag_as_promised

if TYPE_CHECKING:
    from faketagger_tf.provenance.signing import PhotoSigner, SignedPhoto
    from faketagger_tf.tagging.compare import Comparison
    from faketagger_tf.tagging.search import Canvas
    from faketagger_tf.tagging.tagger import Reading, Tagger

TAG_COLUMNS = (
    "file",
    "output",
    "payload",
    "psnr",
    "ssim",
    "faces",
    "broken",
    "unread_faces",
    "width",
    "height",
    "lost",
    "changed",
    "error",
)
TRACE_COLUMNS = (
    "file",
    "found",
    "payload",
    "p_value",
    "bit_error_estimate",
    "corrected_bits",
    "mirrored",
    "box",
    "notes",
    "error",
)
_QUALITIES = (85, 95)  # That are tried where a lower one kills the tag.


def tag_file(
    tagger: Tagger,
    path: str | os.PathLike,
    output: str | os.PathLike,
    payload: int | str | bytes | None = None,
    strength: float | None = None,
    *,
    promise: str | None = None,
    refine: int = 0,
    check: bool = True,
    quality: int | None = None,
    retag: bool = False,
    strict: bool = False,
    preserve: bool = False,
    signer: PhotoSigner | None = None,
    before_writing: Callable[[dict], object] = lambda row: None,
) -> dict:
    """Tags a photo file: `tag_photo` from disk to disk.

    Args:
        tagger: tags, and reads back.
        path: the photo.
        output: where to write it; its extension says how.
        payload, strength, promise, refine, check, quality, retag, strict: as for
            `tag_photo`.
        preserve: give the output the photo's times.
        signer: signs the tagged photo with a C2PA manifest.
        before_writing: is given the row before the file is written, so that no tagged
            file exists whose payload nobody knows.

    Returns:
        A row with `TAG_COLUMNS`. "faces" counts the faces that carry a tag; 0 says that
        the tag is on the centred square. "unread_faces" holds the boxes of the faces
        whose tag does not read back; None if that was not checked. "broken" names what
        the promise holds and not every face's tag survives. "lost" and "changed"
        name what of the photo's file was not kept as it was.

    Raises:
        ValueError: the photo cannot be read, tagged or written, or carries a tag.

    Example:
        >>> row = tag_file(tagger, "photo.jpg", "tagged.jpg", payload=0x1F2E3D4C)
        >>> row["payload"], row["faces"]
        ('0x1F2E3D4C', 1)
    """
    photo = read_photo_file(path)
    tagged = tag_photo(
        tagger,
        photo,
        os.path.splitext(os.fspath(output))[1],
        payload,
        strength,
        promise=promise,
        refine=refine,
        check=check,
        quality=quality,
        retag=retag,
        strict=strict,
        sign=signer and signer.for_file(tagger, photo, path, output),
    )
    row = {"file": os.fspath(path), "output": os.fspath(output), **tagged.row}
    before_writing(row)
    write_encoded(output, tagged.data, photo, preserve)
    return row


@dataclasses.dataclass(frozen=True)
class TaggedPhoto:
    """What `tag_photo` makes of a photo.

    Attributes:
        data: the tagged file's bytes.
        row: what `tag_file` returns, but for the names of the files.
        canvases: where the tags are that read back (all, if that was not checked),
            largest face first; never empty.
        unread: canvases of the faces whose tag does not read back.
        signed: the manifest that `data` carries, or None.
    """

    data: bytes
    row: dict
    canvases: list[Canvas]
    unread: list[Canvas]
    signed: SignedPhoto | None = None


def tag_photo(
    tagger: Tagger,
    photo: PhotoFile,
    extension: str,
    payload: int | str | bytes | None = None,
    strength: float | None = None,
    *,
    promise: str | None = None,
    canvases: list[Canvas] | None = None,
    refine: int = 0,
    check: bool = True,
    quality: int | None = None,
    retag: bool = False,
    strict: bool = False,
    sign: Callable[[bytes, int, list[Canvas]], SignedPhoto] | None = None,
) -> TaggedPhoto:
    """Tags a photo and encodes it; nothing is written.

    What is read back is the encoded file, through the same reader as `trace_file`.
    Where its coding kills a tag that cannot be made strong enough, it is coded with
    less loss, unless the quality is given.

    A photo that carries a tag of this tagger and key already is refused. It is read
    straight for that, one decoding a face: a tag that only a search would find (of a
    mirrored or shrunk copy, say) is written over.

    Args:
        tagger: tags, and reads back.
        photo: from `photo_file.read_photo_file` or `photo_file.decode_photo_file`.
        extension: of the file, which says how it is encoded.
        payload: as `messages.parse_payload` accepts it; None draws one.
        strength: of the tag in dB, as `Tagger.check_strength` has it; None takes the
            tagger's own.
        promise: instead of that, one of `promise.PROMISES`: each face is tagged as
            weakly as keeps it.
        canvases: from `Tagger.find_canvases`, where they are known already.
        refine: steps by which each tag is refined.
        check: read every tag back, as `assure.tag_until_it_reads` does.
        quality: of JPEG, WebP and AVIF files, 1 to 100; None follows the photo's own
            coding, see `photo_file.encode_photo_file`.
        retag: write over a tag that the photo carries.
        strict: refuse where anything of the photo's file would be lost.
        sign: from `provenance.signing.PhotoSigner`: the encoded file, the payload and
            where it is to the signed file. A manifest that the photo came with becomes
            that of the new one's parent.

    Raises:
        ValueError: the photo cannot be tagged, encoded or signed, or carries a tag.

    Example:
        >>> tagged = tag_photo(tagger, read_photo_file("photo.jpg"), ".png", 0x1F)
        >>> tagged.row["payload"], tagged.data[1:4]
        ('0x0000001F', b'PNG')
    """
    bits = tagger.config.payload_bits
    had_manifest = any(part.label == C2PA for part in photo.parts)
    if sign and had_manifest:
        parts = tuple(part for part in photo.parts if part.label != C2PA)
        photo = dataclasses.replace(photo, parts=parts)
    told = account(photo, extension)
    value = tagger.random_payload() if payload is None else parse_payload(payload, bits)
    if canvases is None:
        canvases = tagger.find_canvases(photo.pixels)
    if not retag:
        check_untagged(tagger, photo.pixels, canvases)
    notes, encoders = _encoders(photo, extension, quality, strict)
    result = tag_as_promised(
        tagger,
        photo.pixels,
        value,
        strength,
        promise,
        canvases,
        refine,
        encoders,
        check,
    )
    tagged, canvases, data = result.pixels, result.canvases, result.data
    unread, changed = result.unread, [*told.changed, *notes[result.encoder]]
    broken = dict.fromkeys(name for choice in result.choices for name in choice.broken)
    ratio, similarity = measure(photo.pixels, tagged)
    if ratio == math.inf:
        raise ValueError(
            "So weak a tag leaves no trace in 8 bits. Received: a strength of "
            f"{strength} dB."
        )
    signed, lost = None, list(told.lost)
    if sign:
        signed = sign(data, value, canvases)
        data = signed.data
        lost += signed.lost
        changed += signed.changed
        if had_manifest and not signed.parents:
            lost.append("C2PA manifest (damaged)")
        if strict and len(lost) > len(told.lost):
            raise ValueError(
                f"Signed, the photo would lose something. Received: {'; '.join(lost)}."
            )
    row = {
        "payload": format_payload(value, bits),
        "psnr": round(ratio, 3),
        "ssim": round(similarity, 6),
        "faces": sum(canvas.face is not None for canvas in canvases),
        "broken": list(broken),
        "unread_faces": [_box(c.face.box) for c in unread if c.face] if check else None,
        "width": tagged.shape[1],
        "height": tagged.shape[0],
        "lost": lost,
        "changed": changed,
        "error": "",
    }
    return TaggedPhoto(data, row, canvases, unread, signed)


def _encoders(
    photo: PhotoFile, extension: str, quality: int | None, strict: bool
) -> tuple[list[list[str]], list[Callable[[np.ndarray], bytes]]]:
    """Ways to encode a photo's tagged pixels, the wanted one first, then gentler ones.

    Returns:
        what is said of each way, and the ways.
    """
    coding = photo.coding
    ways: list[tuple[int | None, str | None]] = [(quality, None)]
    if quality is None and extension.lower() in (".jpg", ".jpeg"):
        own = coding if photo.kind == "JPEG" else None
        if own and own.sampling != "4:4:4":
            ways.append((None, "4:4:4"))
        ways += [(q, "4:4:4") for q in _QUALITIES if own and q > own.quality]
    elif quality is None and extension.lower() == ".webp" and photo.kind == "WebP":
        ways += [(q, None) for q in _QUALITIES if coding and q > coding.quality]
    elif quality is None and extension.lower() == ".avif":
        ways.append((max(_QUALITIES), None))

    def encoder(quality, sampling):
        return lambda pixels: encode_photo_file(
            dataclasses.replace(photo, pixels=pixels),
            extension,
            quality,
            subsampling=sampling,
            strict=strict,
        )

    notes = [[]] + [
        [
            "coded with "
            + " and ".join(
                [f"quality {quality}"] * (quality is not None)
                + [f"colour of {sampling}"] * (sampling is not None)
            )
            + ", so that the tag reads"
        ]
        for quality, sampling in ways[1:]
    ]
    return notes, [encoder(*way) for way in ways]


def trace_file(
    tagger: Tagger,
    path: str | os.PathLike,
    fpr: float,
    *,
    every_face: bool = False,
    picture: str | os.PathLike | None = None,
    canvas: str | os.PathLike | None = None,
    look: Callable[[np.ndarray], list[tuple[Reading, dict]]] | None = None,
    suspect: Suspect | None = None,
    quick: bool = False,
) -> list[dict]:
    """Reads the tags of a photo file, damaged ones too; see `suspect.read_suspect`.

    Args:
        tagger: reads.
        path: the photo.
        fpr: largest p-value of a tag that counts as found, per face.
        every_face: return faces without a tag too.
        picture: where to write the photo with its readings drawn on it.
        canvas: where to write the canvas of the best reading, as `lite` reads it.
        look: reads the pixels instead of `Tagger.examine`: to readings, each with
            columns of its own.
        suspect: the photo, where it has been read already; `path` is its name then.
        quick: as for `Tagger.examine`; without `look`.

    Returns:
        Rows with `TRACE_COLUMNS`, and those of `look`; at least one: a photo without a
        tag has the row of its most suspicious face. "notes" say what had to be done
        to read the file. The last row's "error" names a picture that could not be
        written.

    Raises:
        ValueError: the photo cannot be read, or `fpr` is not between 0 and 1.

    Example:
        >>> (row,) = trace_file(tagger, "photo.jpg", fpr=1e-6)
        >>> row["found"], row["payload"]
        (False, None)
    """
    bits = tagger.config.payload_bits
    suspect = suspect or read_suspect(path)
    photo = suspect.pixels
    if look is None:
        seen = [(reading, {}) for reading in tagger.examine(photo, fpr, quick=quick)]
    else:
        seen = look(photo)
    readings = [reading for reading, _ in seen]
    best = min(seen, key=lambda pair: (not pair[0].found, pair[0].p_value))
    shown = [pair for pair in seen if pair[0].found or every_face] or [best]
    rows = [
        {
            "file": os.fspath(path),
            **reading_row(reading, bits),
            **more,
            "notes": list(suspect.notes),
            "error": "",
        }
        for reading, more in shown
    ]
    try:
        if picture:
            write_image(picture, annotate(photo, readings, bits))
        if canvas:
            write_image(canvas, tagger.canvas_image(photo, best[0].canvas))
    except Exception as error:
        rows[-1]["error"] = reason(error)
    return rows


def reading_row(reading: Reading, payload_bits: int) -> dict:
    """Returns a reading as plain values; the payload only if it was found."""
    return {
        "found": reading.found,
        "payload": (
            format_payload(reading.payload, payload_bits) if reading.found else None
        ),
        "p_value": reading.p_value,
        "bit_error_estimate": reading.bit_error_estimate,
        "corrected_bits": reading.corrected_bits,
        "mirrored": reading.mirrored,
        "box": _box(reading.box),
    }


def comparison_row(face: Comparison, payload_bits: int) -> dict:
    """Returns what `compare.verify` says about a face as plain values.

    "other_payload" is that of another tag which is there instead; None without one.
    """
    other = face.suspect.payload if face.suspect.found and not face.intact else None
    return {
        "payload": format_payload(face.original.payload, payload_bits),
        "intact": face.intact,
        "other_payload": None if other is None else format_payload(other, payload_bits),
        "p_value": face.suspect.p_value,
        "changed_face": face.changed_face,
        "changed_around": face.changed_around,
        "box": _box(face.original.box),
    }


def _box(box) -> list[float]:
    return [round(float(value), 1) for value in box]
