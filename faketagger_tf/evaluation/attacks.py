"""What somebody who wants the tag gone or forged would try, and untagged photos.

Measured on held-out canvases, all on uint8, as `evaluation.evaluate` does it. The
attacks are those of the removal literature: a second tag over the first
(multi-embedding), and the mean residual of many tagged photos subtracted or copied
(averaging, after Yang et al. 2024, "Can simple averaging defeat modern watermarks?").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np

from faketagger_tf.config import TaggerConfig
from faketagger_tf.evaluation.canvases import (
    FALSE_POSITIVE_RATES,
    read_logits,
    tag_canvases,
)
from faketagger_tf.evaluation.report import markdown_table
from faketagger_tf.manipulations.photometric import to_uint8
from faketagger_tf.messages import MessageCode
from faketagger_tf.metrics import psnr

COLLECTED = 50  # Tagged photos whose residuals the attacker averages.


def _score(code: MessageCode, logits: np.ndarray, payload_bits: np.ndarray) -> dict:
    expected = code.encode(payload_bits)
    failed = np.any(code.decode(logits).payload_bits != payload_bits, axis=1)
    return {
        "bit_accuracy": float(np.mean((logits > 0) == (expected > 0))),
        "word_error_rate": float(np.mean(failed)),
    }


def measure_attacks(
    config: TaggerConfig,
    encoder: keras.Model,
    decode: Callable[[np.ndarray], np.ndarray],
    covers: np.ndarray,
    seed: int = 0,
) -> dict[str, dict]:
    """Runs the attacks on canvases.

    The attacker's own photos are other covers than the victim's, tagged by the same
    encoder; he knows both their originals and their tagged versions, the worst case.

    Args:
        config: the tagger's configuration.
        encoder: the image encoder.
        decode: float32 canvases `[n, S, S, 3]` in [0, 1] -> logits `[n, L]`.
        covers: uint8 `[N, S, S, 3]` of people not trained on, N at least 4.
        seed: of the payloads.

    Returns:
        What was done -> {"bit_accuracy", "word_error_rate"} of the payload named in
        it, and "psnr" in dB between the victim's tagged and attacked photo.

    Raises:
        ValueError: there are too few covers.
    """
    if len(covers) < 4:
        raise ValueError(f"At least 4 covers are needed. Received: {len(covers)}.")
    code = MessageCode(config.payload_bits, config.message_bits, config.crc_bits)
    rng = np.random.default_rng([seed, 1])

    def tag(images, payload_bits):
        return tag_canvases(config, encoder, images, code.encode(payload_bits))

    def attacked(images, payload_bits):
        row = _score(code, read_logits(decode, images), payload_bits)
        return row | {"psnr": float(np.mean(psnr(tagged, images)))}

    half = max(2, min(COLLECTED, len(covers) // 2))
    own, victims = covers[:half], covers[half:]
    first = code.random_payloads(len(victims), rng)
    tagged = tag(victims, first)

    second = code.random_payloads(len(victims), rng)
    twice = tag(tagged, second)
    report = {
        "second tag over the first: first payload": attacked(twice, first),
        "second tag over the first: second payload": attacked(twice, second),
    }

    def mean_residual(payload_bits):
        residual = tag(own, payload_bits).astype(np.float32) - own
        return residual.mean(axis=0)

    many = mean_residual(code.random_payloads(half, rng))
    report[f"mean residual of {half} photos, {half} payloads, subtracted"] = attacked(
        to_uint8(tagged - many), first
    )
    # A user who gives one payload to all of his photos makes it easier.
    same = np.repeat(first[:1], half, axis=0)
    one = mean_residual(same)
    victims_same = np.repeat(first[:1], len(victims), axis=0)
    tagged = tag(victims, victims_same)
    report[f"mean residual of {half} photos, the victim's payload, subtracted"] = (
        attacked(to_uint8(tagged - one), victims_same)
    )
    forged = to_uint8(victims + one)
    report[f"mean residual of {half} photos, one payload, copied onto others"] = _score(
        code, read_logits(decode, forged), victims_same
    ) | {"psnr": float(np.mean(psnr(victims, forged)))}
    return report


def count_false_positives(examine: Callable, photos: Iterable[np.ndarray]) -> dict:
    """Looks for tags in photos that have none.

    Args:
        examine: photo -> readings, such as `Tagger.examine`.
        photos: uint8 `[H, W, 3]`, untagged.

    Returns:
        {"faces", "smallest_p_value", "found": {rate: faces with p <= rate and a
        checksum that agrees}, "below_p": {rate: faces with p <= rate}}.
    """
    readings = [reading for photo in photos for reading in examine(photo)]
    p_values = np.array([reading.p_value for reading in readings])
    agree = np.array([reading.crc_ok for reading in readings], bool)
    return {
        "faces": len(readings),
        "smallest_p_value": float(p_values.min(initial=1.0)),
        "found": {
            f"{rate:.0e}": int(np.sum((p_values <= rate) & agree))
            for rate in FALSE_POSITIVE_RATES
        },
        "below_p": {
            f"{rate:.0e}": int(np.sum(p_values <= rate))
            for rate in (1e-2, *FALSE_POSITIVE_RATES)
        },
    }


def markdown_attacks(attacks: dict[str, dict], untagged: dict[str, dict]) -> str:
    """Returns the results of the two functions above as Markdown tables."""
    keys = "bit_accuracy", "word_error_rate"
    table = markdown_table(
        ["attack", "bit accuracy", "word error", "PSNR, dB"],
        (
            [name, *(row[key] for key in keys), f"{row['psnr']:.1f}"]
            for name, row in attacks.items()
        ),
    )
    rates = [f"{rate:.0e}" for rate in FALSE_POSITIVE_RATES]
    titles = ["untagged", "faces", "smallest p", "p below 1e-02"]
    titles += [f"found at {rate}" for rate in rates]
    rows = (
        [
            name,
            row["faces"],
            f"{row['smallest_p_value']:.1e}",
            row["below_p"]["1e-02"],
            *(row["found"][rate] for rate in rates),
        ]
        for name, row in untagged.items()
    )
    return table + "\n" + markdown_table(titles, rows)
