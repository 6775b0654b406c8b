"""Tags a photo until every tag reads back.

FakeTagger (arXiv:2009.09869) trains the encoder so that its tags can be read; on one
photo in some hundreds they cannot, and a low quality of the file kills more. Here each
face's tag is read back from the encoded file before it is published, and the tag of a
face that does not read is refined, then made stronger, then encoded with less loss.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from faketagger_tf.messages import format_payload
from faketagger_tf.photos.suspect import decode_suspect
from faketagger_tf.tagging.paste import copy_own
from faketagger_tf.tagging.promise import Choice, choose_strengths

if TYPE_CHECKING:
    from faketagger_tf.tagging.tagger import Canvas, Tagger

REFINE = 40  # `refine.STEPS`, which cannot be imported where there is no TensorFlow.
STRONGER = (2.5, 5.0)  # dB added where a tag does not read back.
_STRONGEST = 10.0  # dB: as far as `Tagger.check_strength` goes.


@dataclasses.dataclass(frozen=True)
class AssuredTag:
    """A tagged photo, and which of its tags read back.

    Attributes:
        pixels: uint8 [H, W, 3], the tagged photo.
        canvases: where the tags are that read back, largest face first; never empty.
        unread: canvases of the faces that could not be made to read.
        data: the encoded file that was read back; empty without `encoders`.
        encoder: which of the `encoders` made it.
        choices: how strongly each face was tagged at the first try, where a promise
            chose it.
    """

    pixels: np.ndarray
    canvases: list[Canvas]
    unread: list[Canvas]
    data: bytes = b""
    encoder: int = 0
    choices: Sequence[Choice] = ()


def check_untagged(tagger: Tagger, photo: np.ndarray, canvases: list[Canvas]) -> None:
    """Refuses a photo that carries a tag already, which a second one would erase.

    Each canvas is read where it lies, one decoding each: the tag of a mirrored or
    shrunk copy is not noticed, nor is one with another key.

    Raises:
        ValueError: a tag was found; the sentence names its payload.

    Example:
        >>> check_untagged(tagger, photo, tagger.find_canvases(photo))
    """
    readings = tagger.read_straight(photo, canvases)
    found = {reading.payload for reading in readings if reading.found}
    if found:
        bits = tagger.config.payload_bits
        payloads = ", ".join(format_payload(payload, bits) for payload in sorted(found))
        raise ValueError(
            f"The photo carries a tag already. Received: payload {payloads}. "
            "Accepted: an untagged photo; --retag writes over the tag."
        )


def tag_as_promised(
    tagger: Tagger,
    photo: np.ndarray,
    payload: int,
    strength: float | None = None,
    promise: str | None = None,
    canvases: list[Canvas] | None = None,
    refine: int = 0,
    encoders: Sequence[Callable[[np.ndarray], bytes]] = (),
    check: bool = True,
) -> AssuredTag:
    """Tags a photo's pixels as `faketagger tag` does: chosen, added, read back.

    What a promise is kept with is the tag that was tried, and it is what is added;
    where tags are refined from the start, it says how strong they are to be.

    Args:
        tagger: tags and reads.
        photo: uint8 [H, W, 3] RGB, at least 96 pixels each way.
        payload: as an integer.
        strength: of the tag in dB, as `Tagger.check_strength` has it; None takes the
            tagger's own.
        promise: instead of that, one of `promise.PROMISES`: each face is tagged as
            weakly as keeps it.
        canvases: from `Tagger.find_canvases`, where they are known already.
        refine: steps by which every tag is refined from the start.
        encoders: as for `tag_until_it_reads`; unchecked, the first one is used.
        check: read every tag back, as `tag_until_it_reads` does.

    Returns:
        What was tagged, with `choices` where there is a promise for it. Unchecked, all
        of its canvases count as tagged.

    Raises:
        ValueError: both strength and promise are given, or as `tag_until_it_reads`.

    Example:
        >>> result = tag_as_promised(tagger, photo, 0x1F2E3D4C, promise="web")
        >>> result.choices[0].strength <= tagger.config.weakest
        True
    """
    if canvases is None:
        canvases = tagger.find_canvases(photo)
    choices, residuals, strengths = (), None, strength
    if promise:
        if strength is not None:
            raise ValueError(
                "A promise chooses the strength; give one of the two. "
                f"Received: {promise!r} and {strength!r} dB."
            )
        choices = choose_strengths(tagger, photo, payload, canvases, promise)
        strengths = [choice.strength for choice in choices]
        if not refine:
            residuals = np.stack([choice.residual for choice in choices])
    if check:
        result = tag_until_it_reads(
            tagger, photo, payload, strengths, canvases, refine, encoders, residuals
        )
    else:
        pixels = tagger.embed(photo, payload, strengths, canvases, refine, residuals)
        data = encoders[0](pixels) if encoders else b""
        result = AssuredTag(pixels, canvases, [], data)
    # What was promised for a face says nothing of the square that is tagged instead.
    kept = len(result.unread) < len(canvases)
    return dataclasses.replace(result, choices=choices if kept else ())


def tag_until_it_reads(
    tagger: Tagger,
    photo: np.ndarray,
    payload: int,
    strength: float | Sequence[float] | None = None,
    canvases: list[Canvas] | None = None,
    refine: int = 0,
    encoders: Sequence[Callable[[np.ndarray], bytes]] = (),
    residuals: np.ndarray | None = None,
) -> AssuredTag:
    """Tags every face of a photo such that each tag reads back, where that can be done.

    The tag of a face that does not read is refined, then made stronger by up to 5 dB
    unless one strength is given for all; the other faces keep theirs. What still does
    not read is encoded by the next of the encoders. Where no face can be made to read,
    the photo's centred square is tagged instead: it helps where a face is found before
    tagging but not after it. A photo that reads at once is encoded and read once.

    Args:
        tagger: tags and reads. Its refinement is left out where it has none.
        photo: uint8 [H, W, 3] RGB, at least 96 pixels each way.
        payload: the payload.
        strength: in dB, which is then kept; one per canvas, or None for the tagger's
            own, is where to start from.
        canvases: from `Tagger.find_canvases`, where they are known already.
        refine: steps by which every tag is refined from the start.
        encoders: tagged pixels -> the file's bytes, which are then read back as `trace`
            reads them; the wanted one first, then such as keep more of the tag. Without
            any, the pixels themselves are read back.
        residuals: of the first try, from `promise.choose_strengths`, where they are
            known already. Tags that are refined from the start are drawn anew.

    Raises:
        ValueError: an argument is not accepted, an encoder raises one, or no tag reads
            back, not even on the centred square.

    Example:
        >>> result = tag_until_it_reads(tagger, photo, 0x1F2E3D4C)
        >>> [hex(reading.payload) for reading in tagger.read(result.pixels)]
        ['0x1f2e3d4c']
        >>> result.unread
        []
    """
    if canvases is None:
        canvases = tagger.find_canvases(photo)
    if isinstance(strength, Sequence):
        own = [tagger.check_strength(each) for each in strength]
    else:
        own = [tagger.check_strength(strength)] * len(canvases)
    patient = max(refine, REFINE)
    tries = [(0.0, patient)] if refine < patient else []
    if tagger.config.strength_input and not isinstance(strength, numbers.Real):
        tries += [(step, patient) for step in STRONGER]
    tries = [(0.0, refine), *tries]
    known = None if refine else residuals
    best = _try(tagger, photo, payload, canvases, own, tries, encoders, known)
    if not best.canvases and canvases[0].face is not None:
        square = [tagger.centred_canvas(photo)]
        best = _try(tagger, photo, payload, square, own[:1], tries, encoders)
        best = dataclasses.replace(best, unread=canvases)
    if not best.canvases:
        strongest = _stronger(own[0], tries[-1][0])
        raise ValueError(
            "The photo cannot be tagged such that the tag reads back. Received: "
            f"{photo.shape[1]}x{photo.shape[0]} pixels, a strength of "
            f"{strongest} dB. Accepted: a higher --strength"
            f"{', a higher --quality keeps more of it' if encoders else ''}."
        )
    return best


def _stronger(strength: float | None, step: float) -> float | None:
    """A strength in dB made stronger by a step; a learned one cannot be."""
    return None if strength is None else max(strength - step, min(strength, _STRONGEST))


def _try(
    tagger, photo, payload, canvases, own, tries, encoders, residuals=None
) -> AssuredTag:
    """The state in which most tags read; of several the first, hence the weakest."""
    strengths = {id(canvas): each for canvas, each in zip(canvases, own, strict=True)}

    def embed(some, step, steps, residuals=None):
        wanted = [_stronger(strengths[id(canvas)], step) for canvas in some]
        wanted = None if None in wanted else wanted
        return tagger.embed(photo, payload, wanted, some, steps, residuals)

    def read_back(pixels, encoder=0):
        data = encoders[encoder](pixels) if encoders else b""
        seen = decode_suspect(data).pixels if encoders else pixels
        sorted_ = _read_back(tagger, seen, payload, canvases)
        return AssuredTag(pixels, *sorted_, data, encoder)

    (_, refine), *later = tries
    best = now = read_back(embed(canvases, 0.0, refine, residuals))
    for step, steps in later:
        if not now.unread:
            break
        try:
            part = embed(now.unread, step, steps)
        except ValueError:
            # The steps alone are new: this tagger has no refinement.
            if not step:
                continue
            part = embed(now.unread, step, refine)
        tagged = now.pixels.copy()
        for canvas in now.unread:
            copy_own(tagged, part, canvas, canvases, tagger.config.image_size)
        now = read_back(tagged)
        if len(now.canvases) > len(best.canvases):
            best = now
    for encoder in range(1, len(encoders)):
        if not now.unread:
            break
        now = read_back(now.pixels, encoder)
        if len(now.canvases) > len(best.canvases):
            best = now
    return best


def _read_back(tagger, seen, payload, canvases) -> tuple[list[Canvas], list[Canvas]]:
    """Sorts canvases by whether the payload is read where they are."""
    size = tagger.config.image_size
    middles = np.stack([canvas.corners(size).mean(0) for canvas in canvases])
    reads = set()
    for reading in tagger.read(seen):
        if reading.payload == payload:
            # Tagging moves the landmarks, and the search moves the canvas, a little.
            away = np.hypot(*(middles - reading.corners.mean(0)).T)
            nearest = int(away.argmin())
            if away[nearest] < canvases[nearest].side(size) / 2:
                reads.add(nearest)
    return (
        [canvas for i, canvas in enumerate(canvases) if i in reads],
        [canvas for i, canvas in enumerate(canvases) if i not in reads],
    )
