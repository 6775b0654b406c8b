"""Signs a tagged photo with a C2PA manifest.

    credentials = load_credentials("chain.pem", "key.pem")
    signed = sign_photo(data, original, binding, credentials, title="tagged.jpg")
    signed.data, signed.store          # the photo, and what its registry keeps

The manifest says: this photo was made from another one (the parent ingredient, with
whatever manifest it had), which was opened (`c2pa.opened`), a watermark was put in
(`c2pa.watermarked.bound`), and this is the watermark (the assertion
`c2pa.soft-binding`). All soft bindings of a manifest must match, so that there is one
assertion with one payload, whatever the number of faces; each face is a block of it.
The original's digest is not in the manifest: the registry has it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import c2pa
import numpy as np

from faketagger_tf.names import printable
from faketagger_tf.photos import codec, tiff
from faketagger_tf.photos.parts import C2PA, INDEX, PhotoFile
from faketagger_tf.photos.photo_file import decode_photo_file
from faketagger_tf.photos.suspect import sniff
from faketagger_tf.provenance.binding import (
    DOMAIN,
    Binding,
    algorithm_name,
    binding_value,
    encode_value,
)
from faketagger_tf.provenance.certificates import Credentials
from faketagger_tf.provenance.claims import check_photo, make_context
from faketagger_tf.provenance.jumbf import split_store

if TYPE_CHECKING:
    from faketagger_tf.tagging.search import Canvas
    from faketagger_tf.tagging.tagger import Tagger

MEDIA_TYPES = {  # Of the formats that are written and have a place for a manifest.
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
_OTHERS = {"BMP": "image/bmp", "GIF": "image/gif", "HEIC": "image/heic"}
_PARENT = "parent"
_ACTIONS = [
    {"action": "c2pa.opened", "parameters": {"ingredientIds": [_PARENT]}},
    {"action": "c2pa.watermarked.bound"},
]
# TIFF entries that say where things lie, and C2PA's own.
_PLACES = (273, 324, tiff.EXIF_IFD, tiff.GPS_IFD, 0xCD41)


@dataclasses.dataclass(frozen=True)
class SignedPhoto:
    """A photo with its manifest.

    Attributes:
        data: the file's bytes.
        store: the manifest store by itself ("sidecar"), which finds its way back
            through the registry.
        manifest_id: label of its active manifest, "urn:c2pa:...".
        binding: the watermark that it names.
        parents: labels of the manifests that the original came with, and that are kept.
        changed, lost: what of the photo's other parts signing did not keep as it was, a
            clause each.
    """

    data: bytes
    store: bytes
    manifest_id: str
    binding: Binding
    parents: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PhotoSigner:
    """Signs the photos that are tagged, each with its own payload.

    Attributes:
        credentials: who signs.
        domain: reversed domain of whoever publishes, for the algorithm's name.

    Example:
        >>> from faketagger_tf.provenance import certificates, claims
        >>> from faketagger_tf.tagging.file_jobs import tag_file
        >>> certificates.write_dev_certificate("chain.pem", "key.pem")
        >>> credentials = certificates.load_credentials("chain.pem", "key.pem")
        >>> signer = PhotoSigner(credentials, domain="com.newsroom")
        >>> row = tag_file(tagger, "photo.jpg", "tagged.jpg", signer=signer)
        >>> with open("tagged.jpg", "rb") as file:
        ...     claim = claims.check_photo(file.read(), "image/jpeg")
        >>> claim.sound, claim.algorithm
        (True, 'com.newsroom.faketagger.face128')
    """

    credentials: Credentials
    domain: str = DOMAIN

    def for_file(
        self,
        tagger: Tagger,
        photo: PhotoFile,
        path: str | os.PathLike,
        output: str | os.PathLike,
    ) -> Callable[[bytes, int, list[Canvas]], SignedPhoto]:
        """Returns what `file_jobs.tag_photo` takes to sign one photo.

        Args:
            tagger: the one that tags.
            photo: as it was read.
            path: where from.
            output: where the tagged photo goes; its last part is the title.

        Raises:
            ValueError: the file cannot be read, or is another one by now.
        """
        original = codec.read_bytes(path)
        if hashlib.sha256(original).hexdigest() != photo.sha256:
            raise ValueError(
                "The photo was changed while it was tagged. "
                f"Received: {os.fspath(path)!r}."
            )
        return self.for_bytes(tagger, original, os.path.basename(output))

    def for_bytes(
        self, tagger: Tagger, original: bytes, title: str
    ) -> Callable[[bytes, int, list[Canvas]], SignedPhoto]:
        """As `for_file`, for a photo that was read already."""
        config = tagger.config
        algorithm = algorithm_name(config.preset, self.domain, bool(tagger.key_id))

        def sign(data: bytes, payload: int, canvases: list[Canvas]) -> SignedPhoto:
            return sign_photo(
                data,
                original,
                Binding(algorithm, binding_value(payload, config.payload_bits)),
                self.credentials,
                title=title,
                corners=[canvas.corners(config.image_size) for canvas in canvases],
            )

        return sign


def sign_photo(
    data: bytes,
    original: bytes,
    binding: Binding,
    credentials: Credentials,
    *,
    title: str,
    corners: Sequence[np.ndarray] = (),
) -> SignedPhoto:
    """Signs an encoded, tagged photo.

    The signed file is read back: its manifest must be valid, its pixels those of
    `data`, and what else changed is told.

    Args:
        data: the tagged photo's file. A manifest in it is replaced.
        original: the file that it was made from; its manifest is kept in the new one,
            byte for byte.
        binding: the watermark.
        credentials: who signs.
        title: of the photo, such as its file's name.
        corners: of the tags' canvases, float [4, 2] in the photo's pixels each; the
            rectangle around each, cut at the photo's edges, is a region of the
            assertion. Without any the whole photo is meant.

    Raises:
        ValueError: the file's format has no place for a manifest, or the credentials
            are refused.
    """
    kind = sniff(data[:256])
    media_type = MEDIA_TYPES.get(kind)
    if media_type is None:
        raise ValueError(
            "A manifest cannot be put into such a file. "
            f"Received: {kind or 'no photo'}. Accepted: {', '.join(MEDIA_TYPES)}."
        )
    before = decode_photo_file(data, title)
    height, width = before.pixels.shape[:2]
    assertion = _soft_binding(binding, corners, width, height)
    definition = {
        "title": printable(title),
        "format": media_type,
        "claim_generator_info": [_generator()],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": _ACTIONS}},
            {"label": "c2pa.soft-binding", "data": assertion},
        ],
    }
    signed, store = _embed(definition, data, original, credentials)
    claim = check_photo(signed, media_type)
    if claim is None or not claim.sound:
        problems = ", ".join(claim.problems) if claim else "no manifest"
        raise ValueError(
            f"The photo's new manifest does not hold. Received: {problems}."
        )
    try:
        after = decode_photo_file(signed, title)
    except ValueError:
        raise ValueError(
            f"Signing would damage the photo, a {kind} of several pages perhaps. "
            "Accepted: another format."
        ) from None
    changed = ()
    if any(part.label == INDEX for part in before.parts):
        # It lies behind the manifest, so that its places stay right.
        changed = ("index of further pictures: the photo is longer by its manifest",)
    labels = split_store(store).boxes
    return SignedPhoto(
        signed,
        store,
        claim.manifest_id,
        binding,
        tuple(label for label in labels if label != claim.manifest_id),
        changed,
        _lost(before, after),
    )


def _embed(
    definition: dict, data: bytes, original: bytes, credentials: Credentials
) -> tuple[bytes, bytes]:
    """Signs a file; returns it with its manifest, and the manifest store."""
    info = c2pa.C2paSignerInfo(
        credentials.algorithm,
        credentials.chain.encode(),
        credentials.key.encode(),
        credentials.tsa,
    )
    kind = (MEDIA_TYPES | _OTHERS).get(sniff(original[:256]))
    parent = {"relationship": "parentOf", "label": _PARENT}
    target = io.BytesIO()
    try:
        with (
            c2pa.Signer.from_info(info) as signer,
            make_context() as context,
            c2pa.Builder(definition, context=context) as builder,
        ):
            builder.add_ingredient(
                parent, kind or "application/octet-stream", io.BytesIO(original)
            )
            source = io.BytesIO(data)
            store = builder.sign(signer, definition["format"], source, target)
    except c2pa.C2paError as error:
        reason = str(error).strip().rstrip(".")
        raise ValueError(f"The photo cannot be signed: {reason}.") from None
    return target.getvalue(), bytes(store)


def _generator() -> dict:
    name = "faketagger-tf"
    try:
        return {"name": name, "version": importlib.metadata.version(name)}
    except importlib.metadata.PackageNotFoundError:  # Run from a folder.
        return {"name": name}


def _soft_binding(
    binding: Binding, corners: Sequence[np.ndarray], width: int, height: int
) -> dict:
    """The assertion's data."""
    whole = np.array([[0, 0], [width, height]], float)
    blocks = []
    for points in corners or [whole]:
        points = np.clip(points, *whole)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        shape = {
            "type": "rectangle",
            "unit": "pixel",
            "origin": {"x": round(float(left), 1), "y": round(float(top), 1)},
            "width": round(float(right - left), 1),
            "height": round(float(bottom - top), 1),
        }
        region = {"region": [{"type": "spatial", "shape": shape}]}
        # The standard has bytes here; JSON becomes text, and readers decode it.
        value = encode_value(binding.value)
        blocks.append({"scope": {"region": region}, "value": value})
    return {"alg": binding.algorithm, "pad": "", "blocks": blocks}


def _lost(before: PhotoFile, after: PhotoFile) -> tuple[str, ...]:
    """What of a file is not in its signed copy, a clause each.

    Raises:
        ValueError: the pixels are others.
    """
    same = np.array_equal(before.pixels, after.pixels)
    for name in ("alpha", "fine"):
        was, now = getattr(before, name), getattr(after, name)
        same &= was is now is None or np.array_equal(was, now)
    if not same:
        raise ValueError("Signing changed the photo's pixels, which must not be.")
    fields = {"xmp": "XMP", "iptc": "IPTC", "icc": "colour profile"}
    lost = [
        f"{name} (changed by signing)"
        for field, name in fields.items()
        if getattr(before, field) != getattr(after, field)
    ]
    if before.kind == "TIFF":  # Its EXIF block is the file itself.
        kept = _tiff_values(before.exif) == _tiff_values(after.exif)
    else:
        kept = before.exif == after.exif
    if not kept:
        lost.append("EXIF (changed by signing)")
    held = [(part.mark, part.content) for part in after.parts]
    for part in before.parts:
        if (
            not part.key
            and part.label != C2PA
            and (part.mark, part.content) not in held
        ):
            lost.append(f"{part.label} (lost by signing)")
    if before.trailer != after.trailer:
        lost.append("what follows the photo (changed by signing)")
    return tuple(lost)


def _tiff_values(block: bytes) -> dict[tuple[int, int], bytes]:
    """A TIFF file's values by directory and tag, without those that are places."""
    first, _ = tiff.first_directory(block)
    found = {}
    for parent in (0, tiff.EXIF_IFD, tiff.GPS_IFD):
        place = tiff.numbers(block, first.get(parent))
        entries = first if not parent else {}
        if place:
            entries, _ = tiff.directory(block, place[0])
        for tag, entry in entries.items():
            if tag not in _PLACES:
                found[parent, tag] = tiff.value(block, entry)
    return found
