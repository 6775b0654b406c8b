"""Measures a tagger on held-out photos: real codecs, uint8, words as well as bits."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from faketagger_tf import metrics
from faketagger_tf.config import TaggerConfig
from faketagger_tf.manipulations import Chain, Context
from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence, surprise

BATCH = 32
# At which the share of tags that are found is reported.
FALSE_POSITIVE_RATES = (1e-3, 1e-6)


@dataclasses.dataclass
class Sample:
    """One photo of a report's picture.

    Attributes:
        cover: uint8 `[S, S, 3]`.
        tagged: uint8 `[S, S, 3]`.
        code_bits: uint8 `[L]`, what was embedded.
        payload: what was embedded, as an integer.
        manipulated: spec -> (uint8 `[S, S, 3]`, number of raw bits wrong).
    """

    cover: np.ndarray
    tagged: np.ndarray
    code_bits: np.ndarray
    payload: int
    manipulated: dict[str, tuple[np.ndarray, int]]


def tag_canvases(
    config: TaggerConfig,
    encoder: keras.Model,
    covers: np.ndarray,
    code_bits: np.ndarray,
    psnr: float | None = None,
    refine: Callable | None = None,
) -> np.ndarray:
    """Tags canvases.

    Args:
        config: the tagger's configuration.
        encoder: the image encoder.
        covers: uint8 `[N, S, S, 3]`.
        code_bits: `[N, L]` of 0 and 1.
        psnr: strength in dB for a scheduled encoder; None takes the configuration's.
        refine: cover, message, residual -> residual, such as a `refine.Refiner`.

    Returns:
        uint8 `[N, S, S, 3]`.
    """
    tagged = np.empty_like(covers)
    for start in range(0, len(covers), BATCH):
        part = slice(start, start + BATCH)
        cover = covers[part].astype(np.float32) / 255.0
        inputs = {"cover": cover, "message": code_bits[part].astype(np.float32)}
        if config.strength == "scheduled":
            value = config.psnr if psnr is None else psnr
            inputs["psnr"] = np.full((len(cover), 1), value, np.float32)
        residual = encoder(inputs, training=False)
        if refine:
            residual = refine(cover, inputs["message"], residual)
        residual = keras.ops.convert_to_numpy(residual)
        tagged[part] = metrics.to_uint8(cover + residual)
    return tagged


def read_logits(
    decode: Callable[[np.ndarray], np.ndarray], canvases: np.ndarray
) -> np.ndarray:
    """Runs a decoder over uint8 canvases `[N, S, S, 3]`; returns logits `[N, L]`."""
    parts = [
        np.asarray(decode(canvases[i : i + BATCH].astype(np.float32) / 255.0))
        for i in range(0, len(canvases), BATCH)
    ]
    return np.concatenate(parts)


def keras_decode(decoder: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the decoder as a function float32 canvases -> logits, in NumPy."""
    return lambda x: keras.ops.convert_to_numpy(decoder(x, training=False))


def evaluate(
    config: TaggerConfig,
    encoder: keras.Model,
    decode: Callable[[np.ndarray], np.ndarray],
    covers: np.ndarray,
    chains: Sequence[Chain],
    context: Context,
    *,
    identities: Sequence[str] = (),
    seed: int = 0,
    psnr: float | None = None,
    samples: int = 4,
    repeats: int = 1,
    presence: Presence | None = None,
    refine: Callable | None = None,
) -> tuple[dict, list[Sample], dict[str, np.ndarray]]:
    """Tags every cover with random payloads and reads them after every chain.

    A chain that swaps A for B is measured on A's photos alone where the identities
    are known.

    Args:
        config: the tagger's configuration.
        encoder: the image encoder.
        decode: float32 canvases `[n, S, S, 3]` in [0, 1] -> logits `[n, L]`.
        covers: uint8 `[N, S, S, 3]` of people not trained on.
        chains: manipulations, run with real codecs.
        context: the face-swap models that the chains name.
        identities: N names, or empty.
        seed: of payloads and manipulations; one seed, one report.
        psnr: strength in dB for a scheduled encoder; None takes the configuration's.
        samples: photos that are kept for the picture.
        repeats: payloads that each cover is tagged with, one after the other.
        presence: calibration of the presence score; with one, the report also has the
            true positive rate at each of `FALSE_POSITIVE_RATES`.
        refine: as in `tag_canvases`.

    Returns:
        The report as written to report.json; the samples; and, by spec, the
        manipulated canvases, for whoever wants to read them again.
    """
    code = MessageCode(config.payload_bits, config.message_bits, config.crc_bits)
    rng = np.random.default_rng([seed, 0])
    photos = len(covers)
    covers = np.concatenate([covers] * repeats)
    identities = list(identities) * repeats
    payload_bits = code.random_payloads(len(covers), rng)
    code_bits = code.encode(payload_bits)
    tagged = tag_canvases(config, encoder, covers, code_bits, psnr, refine)
    chosen = _spread(photos, samples, identities)
    kept = [
        Sample(
            covers[i],
            tagged[i],
            code_bits[i],
            int("".join(map(str, payload_bits[i])), 2),
            {},
        )
        for i in chosen
    ]
    report = {
        "psnr": float(np.mean(metrics.psnr(covers, tagged))),
        "ssim": float(np.mean(metrics.ssim(covers, tagged))),
        "message_bits": config.message_bits,
        "payload_bits": config.payload_bits,
        "images": photos,
        "payloads_per_image": repeats,
        "manipulations": {},
    }
    # A face that is pasted in comes from a photo without a tag.
    donors = np.roll(covers, 1, axis=0)
    thirds = lightness_thirds(covers, config.face_region)
    manipulated = {}
    for chain in chains:
        spec = str(chain)
        # A stream of its own for every spec: adding one does not change the others.
        stream = np.random.default_rng([seed, zlib.crc32(spec.encode())])
        images = np.concatenate(
            [
                chain.apply_real(
                    tagged[i : i + BATCH],
                    stream,
                    dataclasses.replace(context, donors=donors[i : i + BATCH]),
                )
                for i in range(0, len(tagged), BATCH)
            ]
        )
        logits = read_logits(decode, images)
        read = code.decode(logits)
        wrong = np.sum((logits > 0) != (code_bits > 0), axis=1)
        rows = swap_sources(chain, identities, len(covers))
        failed = np.any(read.payload_bits != payload_bits, axis=1)
        report["manipulations"][spec] = {
            "bit_accuracy": float(1.0 - np.mean(wrong[rows]) / config.message_bits),
            "word_error_rate": float(np.mean(failed[rows])),
            "raw_word_error_rate": float(np.mean(wrong[rows] > 0)),
            "words": int(np.sum(rows)),
            "bit_accuracy_by_lightness": [
                float(1.0 - np.mean(wrong[rows & third]) / config.message_bits)
                if np.any(rows & third)
                else None
                for third in thirds
            ],
        }
        if presence:
            surprises = surprise(read.score, config.message_bits, code.k)
            p_values = np.array(
                [presence.p_value(float(x), config.crc_bits) for x in surprises]
            )
            for rate in FALSE_POSITIVE_RATES:
                found = read.crc_ok & ~failed & (p_values <= rate)
                report["manipulations"][spec][_rate_key(rate)] = float(
                    np.mean(found[rows])
                )
        for sample, i in zip(kept, chosen, strict=True):
            sample.manipulated[spec] = (images[i], int(wrong[i]))
        manipulated[spec] = images
    return report, kept, manipulated


def lightness_thirds(covers: np.ndarray, face_region: float) -> list[np.ndarray]:
    """Splits photos by the mean luma of the inner half of the face region.

    A stand-in for skin tone where it is not annotated; light and make-up count too.

    Returns:
        Three bool `[N]`: the darkest, the middle and the lightest third.
    """
    side = covers.shape[1]
    length = max(1, round(side * face_region / 2))
    start = (side - length) // 2
    face = covers[:, start : start + length, start : start + length]
    luma = face.mean(axis=(1, 2)) @ [0.299, 0.587, 0.114]
    low, high = np.quantile(luma, [1 / 3, 2 / 3])
    return [luma <= low, (luma > low) & (luma <= high), luma > high]


def swap_sources(chain: Chain, identities: Sequence[str], count: int) -> np.ndarray:
    """Selects the photos that a chain's face swap is meant for; all where unknown.

    Returns:
        bool `[count]`.
    """
    sources = {name.rpartition(":")[2].partition(">")[0] for name in chain.swap_names()}
    if len(sources) == 1 and set(identities) & sources:
        return np.asarray(list(identities)) == next(iter(sources))
    return np.ones(count, bool)


def _spread(count: int, samples: int, identities: Sequence[str]) -> list[int]:
    """Picks photos for the picture, taking turns between the identities."""
    by_name: dict[str, list[int]] = {}
    for i in range(count):
        by_name.setdefault(identities[i] if len(identities) else "", []).append(i)
    queues = list(by_name.values())
    picked = [
        queue[turn] for turn in range(count) for queue in queues if turn < len(queue)
    ]
    return picked[:samples]


def _rate_key(rate: float) -> str:
    return f"true_positive_rate_at_{rate:.0e}"


def markdown_table(report: dict) -> str:
    """Returns a report as Markdown."""
    rates = [
        rate
        for rate in FALSE_POSITIVE_RATES
        if all(_rate_key(rate) in row for row in report["manipulations"].values())
    ]
    titles = ["manipulation", "words", "bit accuracy", "word error"]
    titles += ["word error, raw bits"]
    titles += [f"found at {rate:.0e}" for rate in rates]
    lines = [
        f"{report['images']} photos, {report['payloads_per_image']} payload(s) each, "
        f"PSNR {report['psnr']:.2f} dB, SSIM {report['ssim']:.4f}, "
        f"{report['message_bits']} code bits, {report['payload_bits']} payload bits.",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" * len(titles) + "|",
    ]
    for spec, row in report["manipulations"].items():
        cells = [f"`{spec}`".replace("|", "\\|"), f"{row['words']}"]
        values = [row["bit_accuracy"], row["word_error_rate"]]
        values += [row["raw_word_error_rate"], *(row[_rate_key(r)] for r in rates)]
        cells += [f"{value:.4f}" for value in values]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def markdown_lightness(report: dict) -> str:
    """Returns a report's bit accuracy by lightness of the face as Markdown."""
    lines = ["| bit accuracy | darkest third | middle third | lightest third |"]
    lines += ["|---|---|---|---|"]
    for spec, row in report["manipulations"].items():
        cells = [f"`{spec}`".replace("|", "\\|")]
        cells += [
            "-" if value is None else f"{value:.4f}"
            for value in row["bit_accuracy_by_lightness"]
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
