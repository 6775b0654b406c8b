"""Measures a tagger on held-out photos: real codecs, uint8, words as well as bits."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from faketagger_tf import metrics
from faketagger_tf.config import TaggerConfig
from faketagger_tf.evaluation.report import markdown_table
from faketagger_tf.manipulations import Chain, Context
from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence, surprise
from faketagger_tf.models import encoder_inputs

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
    strength: float | None = None,
    refine: Callable | None = None,
) -> np.ndarray:
    """Tags canvases.

    Args:
        config: the tagger's configuration.
        encoder: the image encoder.
        covers: uint8 `[N, S, S, 3]`.
        code_bits: `[N, L]` of 0 and 1.
        strength: in the unit of the encoder's kind (dB for "scheduled"); None takes the
            configuration's.
        refine: cover, message, residual -> residual, such as a `refine.Refiner`.

    Returns:
        uint8 `[N, S, S, 3]`.
    """
    tagged = np.empty_like(covers)
    for start in range(0, len(covers), BATCH):
        part = slice(start, start + BATCH)
        cover = covers[part].astype(np.float32) / 255.0
        message = code_bits[part].astype(np.float32)
        inputs = encoder_inputs(config, cover, message, strength)
        residual = encoder(inputs, training=False)
        if refine:
            residual = refine(cover, message, residual)
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
    decoders: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    covers: np.ndarray,
    chains: Sequence[Chain],
    context: Context,
    *,
    identities: Sequence[str] = (),
    seed: int = 0,
    strength: float | None = None,
    samples: int = 4,
    repeats: int = 1,
    presence: Presence | None = None,
    refine: Callable | None = None,
) -> tuple[dict, list[Sample]]:
    """Tags every cover with random payloads and reads them after every chain.

    Photos go through batch by batch, each through every chain and every decoder, so
    that beside the covers only a batch of canvases is held. A chain that swaps A for B
    is measured on A's photos alone where the identities are known.

    Args:
        config: the tagger's configuration.
        encoder: the image encoder.
        decoders: name -> float32 canvases `[n, S, S, 3]` in [0, 1] -> logits `[n, L]`;
            at least one. The first is the report's; the others are compared with it.
        covers: uint8 `[N, S, S, 3]` of people not trained on.
        chains: manipulations, run with real codecs.
        context: the face-swap models that the chains name.
        identities: N names, or empty.
        seed: of payloads and manipulations; one seed, one report.
        strength: as in `tag_canvases`.
        samples: photos that are kept for the picture.
        repeats: payloads that each cover is tagged with, one after the other.
        presence: calibration of the presence score; with one, the report also has the
            true positive rate at each of `FALSE_POSITIVE_RATES`.
        refine: as in `tag_canvases`.

    Returns:
        The report as written to report.json, with "decoders" if there are several:
        name -> {"manipulations", "images", "same_bits" (images in which it reads the
        first decoder's bits), "largest_logit_difference"}; and the samples.

    Raises:
        ValueError: there is no decoder.
    """
    if not decoders:
        raise ValueError("At least one decoder is needed. Received: none.")
    code = MessageCode(config.payload_bits, config.message_bits, config.crc_bits)
    photos, words = len(covers), len(covers) * repeats
    identities = list(identities) * repeats
    payload_bits = code.random_payloads(words, np.random.default_rng([seed, 0]))
    code_bits = code.encode(payload_bits)
    kept: dict[int, Sample] = {}
    chosen = _spread(photos, samples, identities)
    chains = {str(chain): chain for chain in chains}
    # A stream of its own for every spec: adding one does not change the others.
    streams = {
        spec: np.random.default_rng([seed, zlib.crc32(spec.encode())])
        for spec in chains
    }
    logits = {name: {spec: [] for spec in chains} for name in decoders}
    first, *others = decoders
    fidelity = {"psnr": [], "ssim": []}
    for start in range(0, words, BATCH):
        rows = np.arange(start, min(start + BATCH, words))
        cover = covers[rows % photos]
        tagged = tag_canvases(config, encoder, cover, code_bits[rows], strength, refine)
        fidelity["psnr"].append(metrics.psnr(cover, tagged))
        fidelity["ssim"].append(metrics.ssim(cover, tagged))
        here = [i for i in chosen if start <= i < start + BATCH]
        for i in here:  # Copies: a view would keep its whole batch.
            canvases = cover[i - start].copy(), tagged[i - start].copy()
            payload = int("".join(map(str, payload_bits[i])), 2)
            kept[i] = Sample(*canvases, code_bits[i], payload, {})
        # A face that is pasted in comes from a photo without a tag.
        own = dataclasses.replace(context, donors=covers[(rows - 1) % photos])
        for spec, chain in chains.items():
            images = chain.apply_real(tagged, streams[spec], own)
            for name, decode in decoders.items():
                logits[name][spec].append(read_logits(decode, images))
            for i in here:
                read = logits[first][spec][-1][i - start]
                wrong = int(np.sum((read > 0) != (code_bits[i] > 0)))
                kept[i].manipulated[spec] = images[i - start].copy(), wrong
    logits = {
        name: {spec: np.concatenate(parts) for spec, parts in found.items()}
        for name, found in logits.items()
    }
    thirds = [
        np.tile(third, repeats)
        for third in lightness_thirds(covers, config.face_region)
    ]
    sources = {
        spec: swap_sources(chain, identities, words) for spec, chain in chains.items()
    }

    def measure(found: dict[str, np.ndarray]) -> dict[str, dict]:
        words = code_bits, payload_bits
        return {
            spec: _row(config, code, read, *words, sources[spec], thirds, presence)
            for spec, read in found.items()
        }

    report = {
        **{name: float(np.mean(np.concatenate(x))) for name, x in fidelity.items()},
        "message_bits": config.message_bits,
        "payload_bits": config.payload_bits,
        "images": photos,
        "payloads_per_image": repeats,
        "manipulations": measure(logits[first]),
    }
    if others:
        report["decoders"] = {
            name: {
                "manipulations": measure(logits[name]),
                **_compare(logits[first], logits[name]),
            }
            for name in others
        }
    return report, [kept[i] for i in chosen]


def _row(
    config, code, logits, code_bits, payload_bits, rows, thirds, presence
) -> dict[str, float]:
    """One manipulation's entry of the report."""
    read = code.decode(logits)
    wrong = np.sum((logits > 0) != (code_bits > 0), axis=1)
    failed = np.any(read.payload_bits != payload_bits, axis=1)
    hard = code.decode_hard(logits).payload_bits
    row = {
        "bit_accuracy": float(1.0 - np.mean(wrong[rows]) / config.message_bits),
        "word_error_rate": float(np.mean(failed[rows])),
        "hard_word_error_rate": float(np.mean(np.any(hard != payload_bits, 1)[rows])),
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
            row[_rate_key(rate)] = float(np.mean(found[rows]))
    return row


def _compare(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict:
    """How far another decoder's logits are from the first one's, over all chains."""
    ours, theirs = (np.concatenate(list(x.values())) for x in (ours, theirs))
    alike = np.all((ours > 0) == (theirs > 0), axis=1)
    return {
        "images": len(ours),
        "same_bits": int(alike.sum()),
        "largest_logit_difference": float(np.abs(ours - theirs).max()),
    }


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


def markdown_report(report: dict) -> str:
    """Returns a report as Markdown."""
    rates = [
        rate
        for rate in FALSE_POSITIVE_RATES
        if all(_rate_key(rate) in row for row in report["manipulations"].values())
    ]
    keys = ["words", "bit_accuracy", "word_error_rate", "raw_word_error_rate"]
    keys += [_rate_key(rate) for rate in rates]
    titles = ["manipulation", "words", "bit accuracy", "word error"]
    titles += ["word error, raw bits"]
    titles += [f"found at {rate:.0e}" for rate in rates]

    def rows(manipulations):
        for spec, row in manipulations.items():
            yield [f"`{spec}`", *(row[key] for key in keys)]

    text = (
        f"{report['images']} photos, {report['payloads_per_image']} payload(s) each, "
        f"PSNR {report['psnr']:.2f} dB, SSIM {report['ssim']:.4f}, "
        f"{report['message_bits']} code bits, {report['payload_bits']} payload bits."
        "\n\n"
    ) + markdown_table(titles, rows(report["manipulations"]))
    for name, other in report.get("decoders", {}).items():
        text += (
            f"\nThe decoder `{name}` reads the same bits in {other['same_bits']} of "
            f"{other['images']} images; logits differ by at most "
            f"{other['largest_logit_difference']:.2g}.\n\n"
        ) + markdown_table(titles, rows(other["manipulations"]))
    return text


def markdown_lightness(report: dict) -> str:
    """Returns a report's bit accuracy by lightness of the face as Markdown."""
    titles = ["bit accuracy", "darkest third", "middle third", "lightest third"]
    return markdown_table(
        titles,
        (
            [f"`{spec}`", *row["bit_accuracy_by_lightness"]]
            for spec, row in report["manipulations"].items()
        ),
    )
