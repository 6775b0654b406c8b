"""Tags photos of any size and reads the tags back.

    tagger = Tagger.load("face128")
    tagged = tagger.embed(photo, payload=0x1F2E3D4C)
    for reading in tagger.read(suspect):
        print(reading.payload, reading.p_value)

Each face carries a tag of its own, on a square canvas fixed to the face's landmarks; a
photo without a face carries one on the largest centred square.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import os
import secrets
import threading
from collections.abc import Sequence

import numpy as np

from faketagger_tf.config import TaggerConfig
from faketagger_tf.messages import MessageCode, parse_payload
from faketagger_tf.messages.keys import KeyedCode
from faketagger_tf.messages.presence import Presence, surprise
from faketagger_tf.messages.registered import PayloadIndex
from faketagger_tf.photos import (
    canvas_square,
    similarity_from_landmarks,
    square_matrix,
    warp_canvas,
)
from faketagger_tf.photos.faces import Face, detect_faces
from faketagger_tf.photos.suspect import MIN_READ
from faketagger_tf.presets import (
    REGISTERED,
    has_tensorflow,
    load_config,
    load_decoder,
    load_presence,
    load_tagger,
    require_tensorflow,
    tagger_folder,
)
from faketagger_tf.tagging.networks import (
    Networks,
    has_lite,
    keras_networks,
    lite_networks,
)
from faketagger_tf.tagging.paste import add_residual
from faketagger_tf.tagging.refine import Refiner, check_steps
from faketagger_tf.tagging.search import (
    DIRECTIONS,
    PLACES,
    Canvas,
    search,
    tight_view,
)

FPR = 1e-6  # Default false-positive rate per face.
MIN_SIDE = 96  # Shorter side of the smallest photo that is tagged, in pixels.
RUNTIMES = ("litert", "keras")
MIN_CANVAS = 48  # Side in photo pixels below which a face carries no tag.
# How far a face's landmarks span its box, and how certain the detector is of it. Of 105
# portraits: 0.90 to 1.04 and from 0.945 on as they are; below 0.88 and 0.998 on their
# sides, below 0.96 and 0.992 on their heads, for 95% of the 93 and 36 found there.
SPAN, CONFIDENCE = 0.92, 0.98  # From these on a face stands upright beyond doubt.
# A turned photo must show at least such a face: others are found in pictures of things.
TURNED_SPANS, TURNED_CONFIDENCE = (0.89, 1.15), 0.93


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read from one face (or from the centred square).

    Attributes:
        payload: the payload as an integer; meaningless unless `found`. The registered
            one where that is found.
        found: the p-value is at most the false-positive rate and the checksum agrees,
            or the registered p-value is.
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
        mirrored: the tag was read as a mirror shows the photo. Box and corners are
            those in the photo as given.
        registered_payload: of the issued payloads the one nearest to any place that
            was looked at; None where none is near, or none was given.
        registered_p_value: probability that a face without a tag looks as much like any
            of them at any place; None where none was given.
        registered_payloads: N, the number of issued payloads.
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
    mirrored: bool = False
    registered_payload: int | None = None
    registered_p_value: float | None = None
    registered_payloads: int = 0


class Tagger:
    """Embeds payloads in photos and reads them back. Safe to use from many threads.

    Args:
        config: the tagger's configuration.
        networks: its encoder and decoder, see `tagging.networks`.
        presence: the calibration of p-values; None takes the ideal model.
        key: secret of keyed tags, at least 16 bytes; None for open tags.
        detect: photo -> faces; `faces.detect_faces` unless given.
        registered: the calibration of registered p-values; None takes the ideal model.

    Attributes:
        key_id: tells keys apart, see `KeyedCode.key_id`; empty for open tags.
    """

    def __init__(
        self,
        config: TaggerConfig,
        networks: Networks,
        presence: Presence | None = None,
        key: bytes | None = None,
        detect=detect_faces,
        registered: Presence | None = None,
    ):
        if key is not None and not isinstance(key, bytes | bytearray):
            raise ValueError(
                f"A key must be bytes. Received: {type(key).__name__}. Accepted: for "
                "example bytes.fromhex(...), or keys.read_key(path)."
            )
        self.config = config
        self.networks = networks
        self.code = MessageCode(
            config.payload_bits, config.message_bits, config.crc_bits
        )
        self.presence = presence or Presence.ideal(PLACES)
        self._keyed = (
            None
            if key is None
            else KeyedCode(key, config.payload_bits, config.message_bits)
        )
        self.key_id = self._keyed.key_id if self._keyed else ""
        self.registered = registered or Presence()
        self._detect = detect
        self._refiner: Refiner | None = None
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        name: str | os.PathLike,
        key: bytes | None = None,
        runtime: str | None = None,
    ) -> Tagger:
        """Loads a shipped preset by name, or a folder with a tagger.

        Args:
            name: the preset's name, or the folder.
            key: as for `Tagger`.
            runtime: "litert" runs `encoder.tflite` and `decoder.tflite` and needs no
                TensorFlow; "keras" builds Keras models from the weights. None takes
                LiteRT where the folder holds both files, and else Keras: a training
                run's folder holds weights alone until `export.preset` publishes it.

        Raises:
            ValueError: there is no such tagger or runtime, its files are missing or
                damaged, or Keras is needed and not installed.

        Example:
            >>> tagger = Tagger.load("face128")
        """
        if runtime not in (None, *RUNTIMES):
            raise ValueError(
                f"runtime must be one of {', '.join(RUNTIMES)}, or None. "
                f"Received: {runtime!r}."
            )
        config, folder = load_config(name), tagger_folder(name)
        lite = has_lite(folder)
        if not lite and (
            runtime == "litert" or (runtime is None and not has_tensorflow())
        ):
            raise ValueError(
                f"The tagger {os.fspath(name)!r} has no encoder.tflite and "
                "decoder.tflite. Accepted: a folder published by export.preset; or "
                'its weights, after pip install "faketagger-tf[train]".'
            )
        if lite and runtime != "keras":
            networks = lite_networks(
                config, folder, functools.partial(load_decoder, name, config)
            )
        else:
            networks = keras_networks(*load_tagger(name))
        registered = load_presence(name, REGISTERED)
        return cls(config, networks, load_presence(name), key, registered=registered)

    def find_canvases(self, photo: np.ndarray, reading: bool = False) -> list[Canvas]:
        """Finds where the tags of a photo lie, largest face first; never empty.

        Where no face stands upright beyond doubt, the photo is turned by 90, 180 and
        270 degrees, and the direction with the most certain face is taken. Canvases lie
        in the photo as given.

        Args:
            photo: uint8 [H, W, 3] RGB, at least 96 pixels each way.
            reading: the photo may be a reduced copy of the one that was tagged: 24
                pixels each way are enough, and where no face is large enough to be
                tagged, smaller ones are taken.

        Raises:
            ValueError: the photo is not such an array.

        Example:
            >>> canvases = tagger.find_canvases(photo)
            >>> canvases[0].corners(tagger.config.image_size).shape
            (4, 2)
        """
        _check_photo(photo, MIN_READ if reading else MIN_SIDE)
        groups = self._by_direction(photo, self._upright_canvases(photo))
        return next(group for group in groups if reading or self._is_large(group[0]))

    def _is_large(self, canvas: Canvas) -> bool:
        """Whether a canvas has enough pixels to be tagged."""
        return canvas.side(self.config.image_size) >= MIN_CANVAS

    def _upright_canvases(self, photo: np.ndarray) -> list[Canvas]:
        """Canvases of the faces that the photo shows as it is."""
        canvases = self._face_canvases(photo, 0)
        # Small faces leave doubt: too many are found in pictures of things.
        beyond_doubt = any(
            self._is_large(canvas)
            and self._span(canvas) >= SPAN
            and canvas.face.confidence >= CONFIDENCE
            for canvas in canvases
        )
        return canvases if beyond_doubt else _in_doubt(canvases)

    def _by_direction(
        self, photo: np.ndarray, upright: list[Canvas]
    ) -> list[list[Canvas]]:
        """Canvases of each direction that may be the photo's, likeliest first.

        The centred square comes last where no face is large enough to be tagged.
        """
        if upright and upright[0].directions == 1:
            return [upright]
        turned = [self._face_canvases(photo, turns) for turns in range(1, DIRECTIONS)]
        groups = [[c for c in canvases if self._rank(c)[0]] for canvases in turned]
        groups = sorted(
            filter(None, [upright, *groups]),
            key=lambda canvases: max(map(self._rank, canvases)),
            reverse=True,
        )
        if not any(self._is_large(canvases[0]) for canvases in groups):
            groups.append([self.centred_canvas(photo)])
        return list(map(_in_doubt, groups))

    def _span(self, canvas: Canvas) -> float:
        """How far a face's landmarks span its box.

        The detector finds some faces that lie on their side, too, but then it draws
        their landmarks together.
        """
        side = canvas.side(self.config.image_size) / self.config.canvas_scale
        return side / math.sqrt(math.prod(canvas.face.box[2:]))

    def _rank(self, canvas: Canvas) -> tuple[bool, float]:
        """Orders faces by how likely they stand as they were found."""
        low, high = TURNED_SPANS
        confidence = canvas.face.confidence
        likely = low <= self._span(canvas) <= high and confidence >= TURNED_CONFIDENCE
        return likely, confidence

    def _face_canvases(self, photo: np.ndarray, turns: int) -> list[Canvas]:
        """Canvases of the faces that the photo shows, turned `turns` times 90 degrees.

        They lie in the photo as given. Faces that are too small to be tagged are taken
        where there are no others: in a reduced copy.
        """
        size, scale = self.config.image_size, self.config.canvas_scale
        faces = self._detect(np.ascontiguousarray(np.rot90(photo, turns)))
        faces = [_turn_back(face, turns, photo.shape[:2]) for face in faces]
        canvases = [
            Canvas(similarity_from_landmarks(face.landmarks, size, scale), face)
            for face in faces
        ]
        large = [canvas for canvas in canvases if self._is_large(canvas)]
        return large or [c for c in canvases if c.side(size) >= MIN_READ]

    def centred_canvas(self, photo: np.ndarray) -> Canvas:
        """The largest centred square, which a photo without a face is tagged on."""
        height, width = photo.shape[:2]
        square = canvas_square(width, height)
        return Canvas(square_matrix(square, self.config.image_size))

    def random_payload(self) -> int:
        """Draws a payload from the system's source of randomness."""
        return secrets.randbits(self.config.payload_bits)

    def check_strength(self, strength: float | None) -> float | None:
        """Returns a strength in dB that `embed` takes; None is the tagger's own.

        It is a PSNR, or a level of visibility, as `config.strength_input` says. One
        that is learned is None.

        Raises:
            ValueError: it is not from 10 to 80 dB, or this tagger's cannot be set.
        """
        kind = self.config.strength_input
        if strength is None:
            return getattr(self.config, kind) if kind else None
        if kind is None:
            raise ValueError(
                "This tagger's strength is learned and cannot be set. "
                f"Received: {strength!r}."
            )
        if not isinstance(strength, numbers.Real) or not 10 <= strength <= 80:
            raise ValueError(
                f"The strength ({kind}) must be from 10 to 80 dB. "
                f"Received: {strength!r}."
            )
        return float(strength)

    def decibels(self, share: float) -> float:
        """A strength from 0 (weakest) to 1 (strongest) in dB, as `embed` takes it.

        Raises:
            ValueError: it is not from 0 to 1, or this tagger's cannot be set.
        """
        if not isinstance(share, numbers.Real) or not 0 <= share <= 1:
            raise ValueError(
                f"A strength must be from 0 (weakest) to 1 (strongest). "
                f"Received: {share!r}."
            )
        weakest, strongest = self.config.weakest, self.config.strongest
        return self.check_strength(weakest + share * (strongest - weakest))

    def canvas_image(self, photo: np.ndarray, canvas: Canvas) -> np.ndarray:
        """Cuts a canvas out of a photo: uint8 [S, S, 3], what the decoder is shown."""
        return warp_canvas(
            photo, canvas.matrix, self.config.image_size, self.config.outside
        )

    def embed(
        self,
        photo: np.ndarray,
        payload: int | str | bytes,
        strength: float | Sequence[float] | None = None,
        canvases: list[Canvas] | None = None,
        refine: int = 0,
        residuals: np.ndarray | None = None,
    ) -> np.ndarray:
        """Tags every face of a photo, or its middle if there is none.

        Args:
            photo: uint8 [H, W, 3] RGB, upright, at least 96 pixels each way.
            payload: as `messages.parse_payload` accepts it.
            strength: of the tag in its canvas in dB (10 to 80), see `check_strength`;
                one for all canvases, or one each (`promise.choose_strengths`); None
                takes the configuration's.
            canvases: from `find_canvases`, where they are known already.
            refine: steps by which the tag is refined for this photo: it survives more
                at the same strength, for a second or so a face; see `refine.STEPS`.
                Needs TensorFlow.
            residuals: from `residuals` or `promise.choose_strengths`, where they are
                known already; payload, strength and steps then say nothing.

        Returns:
            A new array of the same shape. Pixels outside of the canvases keep their
            value.

        Raises:
            ValueError: the photo, the payload, the strength or the number of steps is
                not accepted, or a tag is to be refined without TensorFlow.
        """
        _check_photo(photo, MIN_SIDE)
        if canvases is None:
            canvases = self.find_canvases(photo)
        if residuals is None:
            residuals = self.residuals(photo, payload, canvases, strength, refine)
        tagged = photo.copy()
        for index, residual in enumerate(residuals):
            add_residual(photo, tagged, residual, canvases, index)
        return tagged

    def residuals(
        self,
        photo: np.ndarray,
        payload: int | str | bytes,
        canvases: Sequence[Canvas],
        strength: float | Sequence[float] | None = None,
        refine: int = 0,
    ) -> np.ndarray:
        """What `embed` adds to each canvas, before it is brought to the photo's grid.

        One of another strength is nearly the same times a factor.

        Args:
            photo, payload, strength, refine: as for `embed`.
            canvases: at least one.

        Returns:
            float32 [canvases, S, S, 3], 1.0 being full scale.

        Raises:
            ValueError: as for `embed`.
        """
        _check_photo(photo, MIN_SIDE)
        value = parse_payload(payload, self.config.payload_bits)
        if not canvases:
            raise ValueError("At least one canvas is needed. Received: none.")
        strengths = self._strengths(strength, len(canvases))
        check_steps(refine)
        bits = self._word(value)
        if self._keyed:
            bits = self._keyed.scramble(bits)
        size = self.config.image_size
        covers = self._canvas_pixels(photo, canvases)
        messages = np.repeat(bits.astype(np.float32), len(canvases), axis=0)
        scales = np.array([c.side(size) / size for c in canvases])
        residuals = self.networks.encode(covers, messages, strengths, scales)
        if not refine:
            return residuals
        return np.concatenate(
            [
                np.asarray(
                    self._refine(
                        covers[i], messages[i], residuals[i], refine, scales[i]
                    )
                )
                for i in (slice(i, i + 1) for i in range(len(canvases)))
            ]
        )

    def _strengths(self, strength, count: int) -> np.ndarray | None:
        """One strength per canvas; None where it is learned."""
        if strength is None or isinstance(strength, numbers.Real):
            strength = [strength] * count
        if len(strength) != count:
            raise ValueError(
                f"There must be one strength, or one per canvas ({count}). "
                f"Received: {len(strength)}."
            )
        checked = [self.check_strength(each) for each in strength]
        return None if None in checked else np.array(checked, np.float32)

    def _refine(self, *arguments):
        with self._lock:
            if self._refiner is None:
                require_tensorflow("Refining a tag")
                self._refiner = Refiner(self.config, self.networks.keras_decoder())
        return self._refiner(*arguments)

    def index(self, payloads) -> PayloadIndex:
        """Returns issued payloads as `read` and `examine` search them quickly.

        Args:
            payloads: as `messages.registered.PayloadIndex` takes them.
        """
        return PayloadIndex(self.code, payloads, self._keyed)

    def read(
        self,
        photo: np.ndarray,
        fpr: float = FPR,
        payloads=None,
        quick: bool = False,
    ) -> list[Reading]:
        """Reads the tags of a photo: those readings of `examine` that are found.

        Example:
            >>> tagged = tagger.embed(photo, 0x1F2E3D4C)
            >>> (reading,) = tagger.read(tagged, payloads=[7, 0x1F2E3D4C])
            >>> hex(reading.payload), reading.registered_payloads
            ('0x1f2e3d4c', 2)
        """
        readings = self.examine(photo, fpr, payloads, quick)
        return [reading for reading in readings if reading.found]

    def examine(
        self,
        photo: np.ndarray,
        fpr: float = FPR,
        payloads=None,
        quick: bool = False,
    ) -> list[Reading]:
        """Reads every face of a photo, tag or no tag.

        A face that does not read at once is read without its surroundings and
        mirrored, then searched: small shifts, scales and turns of its canvas, and the
        most surprising reading is kept; see `tagging.search`. Where no face reads, the
        centred square is tried as well, and reported if it reads.

        Copies are read down to sizes at which nothing would be tagged. Faces that are
        too small to be tagged are read where there is none that is not.

        A photo without a face that stands upright beyond doubt is turned by 90, 180 and
        270 degrees too: the faces of each direction are read, the likeliest direction
        first, until one reads, and so is the centred square. Four directions have four
        times the places, so that all p-values of such a photo are multiplied by four,
        however many of its directions show a face.

        Args:
            photo: uint8 [H, W, 3] RGB, at least 24 pixels each way.
            fpr: largest p-value of a reading that is `found`.
            payloads: those that were issued, an index from `index` or a sequence as
                `index` takes it. All places are compared with them, too, and what is
                near enough to one is found: two chances of a false positive, each with
                a rate of at most `fpr`.
            quick: leave the search out: photos without a tag take a tenth of the time.
                P-values stay those of the best of all the places of a search, larger
                than they need be.

        Returns:
            One reading per face, largest face first; at least one.

        Raises:
            ValueError: the photo is not such an array, or fpr is not in (0, 1).
        """
        if not isinstance(fpr, numbers.Real) or not 0 < fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1. Received: {fpr!r}.")
        size = self.config.image_size
        if payloads is not None and not isinstance(payloads, PayloadIndex):
            payloads = self.index(payloads)

        def read(pixels, canvases, factor, tight):
            return self._read_at(pixels, canvases, fpr, factor, tight, payloads)

        def look(canvas):
            seen = []

            def note(*arguments):
                seen.extend(read(*arguments))
                return seen[-len(arguments[1]) :]

            reading = search(photo, canvas, size, note, quick)
            return with_nearest(reading, seen) if payloads is not None else reading

        _check_photo(photo, MIN_READ)
        upright = self._upright_canvases(photo)
        if upright and upright[0].directions > 1:
            # Most such photos are upright after all: then no other direction is needed.
            readings = [read(photo, [canvas], 1, False)[0] for canvas in upright]
            if all(reading.found for reading in readings):
                return readings
        readings = []
        for canvases in self._by_direction(photo, upright):
            now = [look(canvas) for canvas in canvases]
            found = any(reading.found for reading in now)
            if found or not readings:
                readings = now
            if found:
                return readings
        # Turned, a square is the same square: its straight readings are enough.
        directions = canvases[0].directions
        middle = dataclasses.replace(self.centred_canvas(photo), directions=directions)
        middles = [middle.move(size, 0, 0, 1, 90 * k) for k in range(directions)]
        if canvases[0].face is None:
            del middles[0]  # It has been searched already.
        both = [way for middle in middles for way in (middle, middle.mirror(size))]
        found = [r for r in read(photo, both, 1, False) if r.found][:1]
        return found if found and canvases[0].face is None else readings + found

    def read_straight(
        self, photo: np.ndarray, canvases: list[Canvas], fpr: float = FPR
    ) -> list[Reading]:
        """Reads canvases where they lie, one decoding each: no search, no mirror.

        Args:
            photo: as for `examine`.
            canvases: from `find_canvases`.
            fpr: as for `examine`.

        Returns:
            One reading per canvas.
        """
        return self._read_at(photo, canvases, fpr)

    def p_values(
        self, photo: np.ndarray, canvases: list[Canvas], payload: int | str | bytes
    ) -> list[float]:
        """How well canvases show a payload that is known, one decoding each.

        Args:
            photo: as for `examine`.
            canvases: from `find_canvases`.
            payload: as `messages.parse_payload` accepts it.

        Returns:
            per canvas the p-value that `read_straight` reports if it reads the payload.

        Example:
            >>> canvases = tagger.find_canvases(photo)
            >>> tagged = tagger.embed(photo, 0x1F2E3D4C, canvases=canvases)
            >>> max(tagger.p_values(tagged, canvases, 0x1F2E3D4C)) < 1e-6
            True
        """
        word = 2.0 * self._word(parse_payload(payload, self.config.payload_bits)) - 1
        logits = self.logits_at(photo, canvases)
        length = np.linalg.norm(logits, axis=1) * np.linalg.norm(word)
        cosines = np.maximum(logits @ word[0], 0) / np.maximum(length, 1e-9)
        surprises = surprise(cosines, self.config.message_bits, self.code.k)
        agreeing = self.config.crc_bits
        return [self.presence.p_value(float(x), agreeing) for x in surprises]

    def _word(self, value: int) -> np.ndarray:
        """The code word [1, L] of a payload, before a key scrambles it."""
        value = self._keyed.encipher(value) if self._keyed else value
        return self.code.encode([value])

    def find_faces(self, photo: np.ndarray) -> list[Face]:
        """Faces of an upright photo, uint8 [H, W, 3], as the tagger finds them."""
        return self._detect(photo)

    def logits_at(
        self, photo: np.ndarray, canvases: Sequence[Canvas], tight: bool = False
    ) -> np.ndarray:
        """The decoder's logits where canvases lie, one decoding each.

        Args:
            photo: as for `examine`.
            canvases: at least one.
            tight: look at their middles alone, see `search.tight_view`.

        Returns:
            float32 [canvases, L], unscrambled for keyed taggers.
        """
        return self._logits_at(photo, canvases, 1, tight)

    def readings_of(
        self,
        logits: np.ndarray,
        canvases: Sequence[Canvas],
        fpr: float = FPR,
        issued: PayloadIndex | None = None,
    ) -> list[Reading]:
        """What logits say, be they of one look at a canvas or the sum of many.

        Args:
            logits: [N, L], from `logits_at`.
            canvases: N, where they were read.
            fpr: as for `examine`.
            issued: payloads, from `index`. The reading nearest to any is told, so that
                the canvases are to be those of one face.

        Returns:
            One reading per canvas.

        Example:
            >>> canvases = tagger.find_canvases(photo)
            >>> logits = tagger.logits_at(photo, canvases)
            >>> [reading.found for reading in tagger.readings_of(logits, canvases)]
            [False]
        """
        decoded = self.code.decode(logits)
        surprises = surprise(decoded.score, self.config.message_bits, self.code.k)
        readings = []
        for i, canvas in enumerate(canvases):
            payload, crc_ok = decoded.payloads[i], bool(decoded.crc_ok[i])
            agreeing = self.config.crc_bits if crc_ok else 0
            p_value = self.presence.p_value(float(surprises[i]), agreeing)
            p_value = min(1.0, p_value * canvas.directions)
            corrected = int(decoded.corrected_bits[i])
            corners = canvas.corners(self.config.image_size)
            low, high = corners.min(0), corners.max(0)
            box = canvas.face.box if canvas.face else (*low, *(high - low))
            reading = Reading(
                payload=self._keyed.decipher(payload) if self._keyed else payload,
                found=crc_ok and p_value <= fpr,
                p_value=p_value,
                score=float(decoded.score[i]),
                surprise=float(surprises[i]),
                crc_ok=crc_ok,
                corrected_bits=corrected,
                bit_error_estimate=corrected / self.config.message_bits,
                box=tuple(float(value) for value in box),
                corners=corners,
                canvas=canvas,
                mirrored=canvas.mirrored,
            )
            readings.append(reading)
        if issued is None:
            return readings
        readings = [
            dataclasses.replace(
                reading, registered_p_value=1.0, registered_payloads=len(issued)
            )
            for reading in readings
        ]
        nearest = issued.search(logits, max(PLACES, len(logits)), self.registered)
        if nearest.payload is not None:
            place = nearest.place
            p_value = min(1.0, nearest.p_value * canvases[place].directions)
            told = {
                "registered_payload": nearest.payload,
                "registered_p_value": p_value,
            }
            if p_value <= fpr:
                told |= {
                    "found": True,
                    "payload": nearest.payload,
                    "corrected_bits": nearest.differing,
                    "bit_error_estimate": nearest.differing / self.config.message_bits,
                }
            readings[place] = dataclasses.replace(readings[place], **told)
        return readings

    def logits(self, photo: np.ndarray) -> list[np.ndarray]:
        """The decoder's logits at every place where each face is looked for.

        What `messages.registered` compares with the payloads that were issued.

        Args:
            photo: uint8 [H, W, 3] RGB, at least 24 pixels each way.

        Returns:
            One float32 [places, L] per face, largest face first; at least one. Keyed
            taggers have them unscrambled.

        Raises:
            ValueError: the photo is not such an array.

        Example:
            >>> [len(places) > 50 for places in tagger.logits(photo)]
            [True]
        """
        found = []
        for canvas in self.find_canvases(photo, reading=True):
            seen = []

            def read(pixels, canvases, factor, tight, seen=seen):
                seen.append(self._logits_at(pixels, canvases, factor, tight))
                # No reading is found at a rate of 0, so that no place is left out.
                return self.readings_of(seen[-1], canvases, 0.0)

            search(photo, canvas, self.config.image_size, read)
            found.append(np.concatenate(seen))
        return found

    def _read_at(
        self,
        photo: np.ndarray,
        canvases: list[Canvas],
        fpr: float,
        factor: int = 1,
        tight: bool = False,
        issued: PayloadIndex | None = None,
    ) -> list[Reading]:
        """Reads canvases of a photo, of which `photo` is `factor` times smaller."""
        logits = self._logits_at(photo, canvases, factor, tight)
        return self.readings_of(logits, canvases, fpr, issued)

    def _logits_at(self, photo, canvases, factor, tight) -> np.ndarray:
        pixels = self._canvas_pixels(photo, canvases, factor)
        if tight:
            pixels = tight_view(pixels, self.config.outside)
        logits = self.networks.decode(pixels)
        return self._keyed.unscramble(logits) if self._keyed else logits

    def _canvas_pixels(
        self, photo: np.ndarray, canvases: list[Canvas], factor: int = 1
    ) -> np.ndarray:
        images = [
            self.canvas_image(photo, Canvas(c.matrix * (factor, factor, 1)))
            for c in canvases
        ]
        return np.stack(images).astype(np.float32) / 255.0


def with_nearest(reading: Reading, seen: list[Reading]) -> Reading:
    """A face's reading with the nearest issued payload of all that was seen of it."""
    nearest = min(seen, key=lambda other: other.registered_p_value)
    return dataclasses.replace(
        reading,
        registered_payload=nearest.registered_payload,
        registered_p_value=nearest.registered_p_value,
    )


def _in_doubt(canvases: list[Canvas]) -> list[Canvas]:
    return [dataclasses.replace(c, directions=DIRECTIONS) for c in canvases]


def _turn_back(face: Face, turns: int, shape: tuple[int, int]) -> Face:
    """A face of `np.rot90(photo, turns)` in the photo, whose [H, W] is `shape`."""
    left, top, across, down = face.box
    corners = np.array([[left, top], [left + across, top + down]])
    points = face.landmarks
    for turn in range(turns, 0, -1):
        # `rot90` shows the point (x, y) of a picture at (y, width - x).
        width = shape[1] if turn % 2 else shape[0]
        corners, points = (
            np.column_stack([width - each[:, 1], each[:, 0]])
            for each in (corners, points)
        )
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    box = tuple(float(v) for v in (left, top, right - left, bottom - top))
    return dataclasses.replace(face, box=box, landmarks=points)


def _check_photo(photo: np.ndarray, least: int) -> None:
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
    if min(photo.shape[:2]) < least:
        what = "A photo to be tagged" if least == MIN_SIDE else "A photo"
        raise ValueError(
            f"{what} must have at least {least} pixels in each direction. "
            f"Received: {photo.shape[1]}x{photo.shape[0]}."
        )
