"""Tags photos of any size and reads the tags back.

    tagger = Tagger.load("portrait128")
    tagged = tagger.embed(photo, payload=0x1F2E3D4C)
    for reading in tagger.read(suspect):
        print(reading.payload, reading.p_value)

Each face carries a tag of its own, on a square canvas fixed to the face's landmarks; a
photo without a face carries one on the largest centred square.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
import os
import secrets

import cv2
import keras
import numpy as np
import tensorflow as tf

from faketagger_tf.config import TaggerConfig
from faketagger_tf.manipulations.face import facecrop
from faketagger_tf.messages import MessageCode, parse_payload
from faketagger_tf.messages.keys import KeyedCode
from faketagger_tf.messages.presence import Presence, load_presence, surprise
from faketagger_tf.photos import (
    canvas_square,
    similarity_from_landmarks,
    square_matrix,
    warp_canvas,
)
from faketagger_tf.photos.faces import Face, detect_faces
from faketagger_tf.presets import load_tagger
from faketagger_tf.tagging.refine import Refiner

FPR = 1e-6  # Default false-positive rate per face.
MIN_SIDE = 96  # Shorter side of the smallest photo, in pixels.
MIN_CANVAS = 48  # Side in photo pixels below which a face carries no tag.
STRIP = 256  # Rows of a photo that are handled at once: bounds the memory.
FEATHER = 2.0  # Canvas pixels over which a residual fades at the canvas's border.

# The search around a face that another one may have been put on: first a coarse grid
# of shifts (share of the canvas) and scales, then steps around the best two.
_SHIFT, _SCALE, _TURN = 0.03, 0.04, 2.0
_COARSE = [
    (right * _SHIFT, down * _SHIFT, 1 + scale * _SCALE, 0.0)
    for scale, down, right in itertools.product((0, -1, 1), repeat=3)
]
_FINE = [
    (right * _SHIFT / 2, down * _SHIFT / 2, 1 + scale * _SCALE / 2, turn * _TURN)
    for right, down, scale, turn in (
        *itertools.product((-1, 0, 1), (-1, 0, 1), (0,), (0,)),
        *itertools.product((0,), (0,), (-1, 1), (0,)),
        *itertools.product((0,), (0,), (0,), (-1, 1)),
    )
    if (right, down, scale, turn) != (0, 0, 0, 0)
]
TIGHT = 0.625  # Side of what a tight reading looks at, as a share of the canvas.
_REFINED = 2  # Places of the coarse grid around which the fine steps are tried.
PLACES = 1 + len(_COARSE) + _REFINED * len(_FINE)


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Where a tag lies in a photo.

    Attributes:
        matrix: float64 2x3, photo pixels to canvas pixels.
        face: the face it is fixed to, or None for the centred square.
    """

    matrix: np.ndarray
    face: Face | None = None

    def corners(self, size: int) -> np.ndarray:
        """Corners in photo pixels, float64 [4, 2], clockwise, of a canvas of `size`."""
        square = np.array([[0, 0, 1], [size, 0, 1], [size, size, 1], [0, size, 1]])
        return square @ cv2.invertAffineTransform(self.matrix).T

    def side(self, size: int) -> float:
        """Side in photo pixels."""
        return size / math.hypot(self.matrix[0, 0], self.matrix[1, 0])


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read from one face (or from the centred square).

    Attributes:
        payload: the payload as an integer; meaningless unless `found`.
        found: the p-value is at most the false-positive rate and the checksum agrees.
        p_value: probability that a face without a tag looks as much like a tag, a
            checksum that agrees included.
        score: the decoder's cosine, see `messages.Decoded`.
        surprise: the score on the scale of `presence.surprise`.
        crc_ok: whether the payload's checksum agrees.
        corrected_bits: raw bits that the channel code changed.
        bit_error_estimate: the same as a share of the code word's bits.
        box: (left, top, width, height) of the face in photo pixels; of the canvas if
            there is no face.
        corners: float64 [4, 2], the canvas's corners in photo pixels, clockwise.
        canvas: where it was read.
    """

    payload: int
    found: bool
    p_value: float
    score: float
    surprise: float
    crc_ok: bool
    corrected_bits: int
    bit_error_estimate: float
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    corners: np.ndarray | None = None
    canvas: Canvas | None = None


class Tagger:
    """Embeds payloads in photos and reads them back. Safe to use from many threads.

    Args:
        config: the tagger's configuration.
        encoder: as `models.build_encoder` builds it.
        decoder: as `models.build_decoder` builds it.
        presence: the calibration of p-values; None takes the ideal model.
        key: secret of keyed tags, at least 16 bytes; None for open tags.
        detect: photo -> faces; `faces.detect_faces` unless given.
    """

    def __init__(
        self,
        config: TaggerConfig,
        encoder: keras.Model,
        decoder: keras.Model,
        presence: Presence | None = None,
        key: bytes | None = None,
        detect=detect_faces,
    ):
        if key is not None and not isinstance(key, bytes | bytearray):
            raise ValueError(
                f"A key must be bytes. Received: {type(key).__name__}. Accepted: for "
                "example bytes.fromhex(...), or keys.read_key(path)."
            )
        self.config = config
        self.code = MessageCode(
            config.payload_bits, config.message_bits, config.crc_bits
        )
        self.presence = presence or Presence.ideal(PLACES)
        self._keyed = (
            None
            if key is None
            else KeyedCode(key, config.payload_bits, config.message_bits)
        )
        self._detect = detect
        self._refine = Refiner(config, decoder)
        size = config.image_size
        image = tf.TensorSpec([None, size, size, 3], tf.float32)
        bits = tf.TensorSpec([None, config.message_bits], tf.float32)
        strength = tf.TensorSpec([None, 1], tf.float32)

        def encode(cover, message, psnr):
            inputs = {"cover": cover, "message": message}
            if config.strength == "scheduled":
                inputs["psnr"] = psnr
            return encoder(inputs, training=False)

        self._encode = tf.function(encode, input_signature=[image, bits, strength])
        self._decode = tf.function(
            lambda image: decoder(image, training=False), input_signature=[image]
        )

    @classmethod
    def load(cls, name: str | os.PathLike, key: bytes | None = None) -> Tagger:
        """Loads a shipped preset by name, or a folder with a tagger.

        Raises:
            ValueError: there is no such tagger, or its files are damaged.
        """
        config, encoder, decoder = load_tagger(name)
        return cls(config, encoder, decoder, load_presence(name), key)

    def find_canvases(self, photo: np.ndarray) -> list[Canvas]:
        """Finds where the tags of a photo lie, largest face first; never empty.

        Args:
            photo: uint8 [H, W, 3] RGB, upright, at least 96 pixels each way.

        Raises:
            ValueError: the photo is not such an array.
        """
        _check_photo(photo)
        size, scale = self.config.image_size, self.config.canvas_scale
        canvases = [
            Canvas(similarity_from_landmarks(face.landmarks, size, scale), face)
            for face in self._detect(photo)
        ]
        canvases = [c for c in canvases if c.side(size) >= MIN_CANVAS]
        return canvases or [self.centred_canvas(photo)]

    def centred_canvas(self, photo: np.ndarray) -> Canvas:
        """The largest centred square, which a photo without a face is tagged on."""
        height, width = photo.shape[:2]
        square = canvas_square(width, height)
        return Canvas(square_matrix(square, self.config.image_size))

    def random_payload(self) -> int:
        """Draws a payload from the system's source of randomness."""
        return secrets.randbits(self.config.payload_bits)

    def check_strength(self, psnr: float | None) -> float:
        """Returns a strength in dB that `embed` takes; None is the tagger's own.

        Raises:
            ValueError: it is not from 10 to 80 dB, or this tagger's cannot be set.
        """
        if psnr is None:
            return self.config.psnr
        if self.config.strength != "scheduled":
            raise ValueError(
                "This tagger's strength is learned and cannot be set. "
                f"Received: psnr = {psnr!r}."
            )
        if not isinstance(psnr, numbers.Real) or not 10 <= psnr <= 80:
            raise ValueError(f"psnr must be from 10 to 80 dB. Received: {psnr!r}.")
        return float(psnr)

    def canvas_image(self, photo: np.ndarray, canvas: Canvas) -> np.ndarray:
        """Cuts a canvas out of a photo: uint8 [S, S, 3], what the decoder is shown."""
        return warp_canvas(photo, canvas.matrix, self.config.image_size)

    def embed(
        self,
        photo: np.ndarray,
        payload: int | str | bytes,
        psnr: float | None = None,
        canvases: list[Canvas] | None = None,
        refine: int = 0,
    ) -> np.ndarray:
        """Tags every face of a photo, or its middle if there is none.

        Args:
            photo: uint8 [H, W, 3] RGB, upright, at least 96 pixels each way.
            payload: as `messages.parse_payload` accepts it.
            psnr: strength of the tag in its canvas in dB (10 to 80); None takes the
                configuration's.
            canvases: from `find_canvases`, where they are known already.
            refine: steps by which the tag is refined for this photo: it survives more
                at the same strength, for a second or so a face; see `refine.STEPS`.

        Returns:
            A new array of the same shape. Pixels outside of the canvases keep their
            value.

        Raises:
            ValueError: the photo, the payload, the strength or the number of steps is
                not accepted.
        """
        _check_photo(photo)
        value = parse_payload(payload, self.config.payload_bits)
        psnr = self.check_strength(psnr)
        if self._keyed:
            value = self._keyed.encipher(value)
        bits = self.code.encode([value])
        if self._keyed:
            bits = self._keyed.scramble(bits)
        if canvases is None:
            canvases = self.find_canvases(photo)
        if not canvases:
            raise ValueError("At least one canvas is needed. Received: none.")
        covers = self._canvas_pixels(photo, [c.matrix for c in canvases])
        messages = np.repeat(bits.astype(np.float32), len(canvases), axis=0)
        strengths = np.full([len(canvases), 1], psnr, np.float32)
        residuals = self._encode(covers, messages, strengths)
        tagged = photo.copy()
        for index, residual in enumerate(residuals):
            one = slice(index, index + 1)
            better = self._refine(covers[one], messages[one], residual[None], refine)
            _add_residual(photo, tagged, better[0].numpy(), canvases, index)
        return tagged

    def read(self, photo: np.ndarray, fpr: float = FPR) -> list[Reading]:
        """Reads the tags of a photo: those readings of `examine` that are found."""
        return [reading for reading in self.examine(photo, fpr) if reading.found]

    def examine(self, photo: np.ndarray, fpr: float = FPR) -> list[Reading]:
        """Reads every face of a photo, tag or no tag.

        A face that does not read at once is read without its surroundings, then
        searched: small shifts, scales and turns of its canvas, and the most surprising
        reading is kept. Where no face reads,
        the centred square is tried as well, and reported if it reads.

        Args:
            photo: uint8 [H, W, 3] RGB, upright, at least 96 pixels each way.
            fpr: largest p-value of a reading that is `found`.

        Returns:
            One reading per face, largest face first; at least one.

        Raises:
            ValueError: the photo is not such an array, or fpr is not in (0, 1).
        """
        if not isinstance(fpr, numbers.Real) or not 0 < fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1. Received: {fpr!r}.")
        canvases = self.find_canvases(photo)
        readings = [self._read_face(photo, canvas, fpr) for canvas in canvases]
        if canvases[0].face and not any(reading.found for reading in readings):
            middle = self._read_at(photo, [self.centred_canvas(photo)], fpr)[0]
            if middle.found:
                readings.append(middle)
        return readings

    def _read_face(self, photo: np.ndarray, canvas: Canvas, fpr: float) -> Reading:
        (reading,) = self._read_at(photo, [canvas], fpr)
        if reading.found:
            return reading
        # What surrounds the face may be lost to a crop, or black after a turn.
        (tight,) = self._read_at(photo, [canvas], fpr, tight=True)
        if tight.found:
            return tight
        size = self.config.image_size
        small, start = _reduce(photo, canvas, size)
        ratio = canvas.side(size) / start.side(size)
        moved = [self._move(start, *step) for step in _COARSE]
        readings = self._read_at(small, moved, fpr)
        best = sorted(readings, key=_rank)[:_REFINED]
        moved = [self._move(r.canvas, *step) for r in best for step in _FINE]
        found = min(readings + self._read_at(small, moved, fpr), key=_rank)
        matrix = found.canvas.matrix / (ratio, ratio, 1)
        found = self._place(found, Canvas(matrix, canvas.face))
        return min(found, tight, key=_rank)

    def _move(self, canvas: Canvas, right, down, scale, turn) -> Canvas:
        """Moves a canvas by shares of its side, a factor and degrees."""
        size = self.config.image_size
        cosine = math.cos(math.radians(turn)) / scale
        sine = math.sin(math.radians(turn)) / scale
        step = np.array([[cosine, -sine], [sine, cosine]])
        matrix = step @ canvas.matrix
        middle = np.array([size / 2, size / 2])
        matrix[:, 2] += middle - step @ (middle + np.array([right, down]) * size)
        return Canvas(matrix, canvas.face)

    def _read_at(
        self, photo, canvases: list[Canvas], fpr: float, tight: bool = False
    ) -> list[Reading]:
        pixels = self._canvas_pixels(photo, [c.matrix for c in canvases])
        if tight:
            pixels = facecrop(pixels, None, None, TIGHT)
        logits = self._decode(pixels).numpy()
        if self._keyed:
            logits = self._keyed.unscramble(logits)
        decoded = self.code.decode(logits)
        surprises = surprise(decoded.score, self.config.message_bits, self.code.k)
        readings = []
        for i, canvas in enumerate(canvases):
            payload, crc_ok = decoded.payloads[i], bool(decoded.crc_ok[i])
            agreeing = self.config.crc_bits if crc_ok else 0
            p_value = self.presence.p_value(float(surprises[i]), agreeing)
            corrected = int(decoded.corrected_bits[i])
            reading = Reading(
                payload=self._keyed.decipher(payload) if self._keyed else payload,
                found=crc_ok and p_value <= fpr,
                p_value=p_value,
                score=float(decoded.score[i]),
                surprise=float(surprises[i]),
                crc_ok=crc_ok,
                corrected_bits=corrected,
                bit_error_estimate=corrected / self.config.message_bits,
            )
            readings.append(self._place(reading, canvas))
        return readings

    def _place(self, reading: Reading, canvas: Canvas) -> Reading:
        """The same reading, said to come from `canvas`."""
        corners = canvas.corners(self.config.image_size)
        low, high = corners.min(0), corners.max(0)
        box = canvas.face.box if canvas.face else (*low, *(high - low))
        return dataclasses.replace(
            reading,
            box=tuple(float(value) for value in box),
            corners=corners,
            canvas=canvas,
        )

    def _canvas_pixels(self, photo: np.ndarray, matrices) -> np.ndarray:
        size = self.config.image_size
        canvases = [warp_canvas(photo, matrix, size) for matrix in matrices]
        return np.stack(canvases).astype(np.float32) / 255.0


def _reduce(photo: np.ndarray, canvas: Canvas, size: int) -> tuple[np.ndarray, Canvas]:
    """Shrinks a photo much finer than a canvas, which is then read many times over.

    At least four pixels a side are left for each of the canvas.
    """
    factor = int(canvas.side(size) / size / 4)
    if factor < 2:
        return photo, canvas
    height, width = (length // factor for length in photo.shape[:2])
    small = cv2.resize(
        photo[: height * factor, : width * factor],
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
    return small, Canvas(canvas.matrix * (factor, factor, 1), canvas.face)


def _rank(reading: Reading):
    """Readings that may be found come first, then the most surprising."""
    return not reading.found, -reading.surprise


def _check_photo(photo: np.ndarray) -> None:
    if (
        not isinstance(photo, np.ndarray)
        or photo.dtype != np.uint8
        or photo.ndim != 3
        or photo.shape[2] != 3
    ):
        received = (
            f"{photo.dtype} of shape {photo.shape}"
            if isinstance(photo, np.ndarray)
            else type(photo).__name__
        )
        raise ValueError(
            "A photo must be a uint8 RGB array of shape [height, width, 3]. "
            f"Received: {received}."
        )
    if min(photo.shape[:2]) < MIN_SIDE:
        raise ValueError(
            f"A photo must have at least {MIN_SIDE} pixels in each direction. "
            f"Received: {photo.shape[1]}x{photo.shape[0]}."
        )


def _add_residual(
    photo: np.ndarray,
    tagged: np.ndarray,
    residual: np.ndarray,
    canvases: list[Canvas],
    index: int,
) -> None:
    """Adds a canvas's residual to `tagged`, strip by strip.

    Where canvases overlap, each pixel belongs to the one in which it lies furthest
    inside, so that no two residuals add up.
    """
    size = len(residual)
    matrix = canvases[index].matrix
    edge = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    fade = np.clip(edge / FEATHER, 0, 1).astype(np.float32)
    residual = 255 * residual * fade[:, None, None] * fade[None, :, None]

    corners = canvases[index].corners(size)
    height, width = photo.shape[:2]
    left, top = np.floor(np.clip(corners.min(0), 0, (width, height))).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(0), 0, (width, height))).astype(int)
    if right <= left or bottom <= top:
        return
    others = [c for i, c in enumerate(canvases) if i != index]
    # Below the canvas's resolution the residual is averaged, not sampled.
    samples = math.ceil(math.hypot(matrix[0, 0], matrix[1, 0]) - 1e-6)
    for start in range(top, bottom, STRIP):
        stop = min(start + STRIP, bottom)
        rows, columns = slice(start, stop), slice(left, right)
        shape = (right - left, stop - start)
        local = matrix / np.array([[samples, samples, 1]])
        local[:, 2] += matrix[:, :2] @ (left, start)
        local[:, 2] += local[:, :2] @ (0.5, 0.5) - 0.5
        change = cv2.warpAffine(
            residual,
            local,
            (shape[0] * samples, shape[1] * samples),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        if samples > 1:
            change = cv2.resize(change, shape, interpolation=cv2.INTER_AREA)
        if others:
            own = _distance(matrix, size, left, start, shape)
            for other in others:
                change[own > _distance(other.matrix, size, left, start, shape)] = 0
        change += photo[rows, columns]
        np.rint(change, out=change)
        np.clip(change, 0, 255, out=change)
        changed = change.astype(np.uint8)
        if others:
            # Leave alone what another canvas has written.
            keep = changed == photo[rows, columns]
            changed = np.where(keep, tagged[rows, columns], changed)
        tagged[rows, columns] = changed


def _distance(matrix, size, left, top, shape) -> np.ndarray:
    """Distance of pixels from a canvas's middle: 0.5 on the canvas's border."""
    x = (np.arange(left, left + shape[0], dtype=np.float32) + 0.5)[None, :]
    y = (np.arange(top, top + shape[1], dtype=np.float32) + 0.5)[:, None]
    (a, b, c), (d, e, f) = (matrix / size).astype(np.float32)
    return np.maximum(np.abs(a * x + b * y + c - 0.5), np.abs(d * x + e * y + f - 0.5))
