"""Prints the word error of hard and soft decoding, and the soft decoder's speed.

    python -m benchmarks.channel_code

2,000 words a cell over a Gaussian channel whose hard decisions are wrong with the given
probability. "Design" is the table that the code was chosen by, with the same settings.
"""

from __future__ import annotations

import time
from statistics import NormalDist

import numpy as np

from faketagger_tf.messages import MessageCode

WORDS = 2000
BIT_ERRORS = (0.05, 0.08, 0.10, 0.15)
# Name: (payload bits, message bits), and the design's (hard, soft) per bit error.
CODES = {
    "BCH(31,16)": (
        (16, 31),
        ((0.070, 0.002), (0.243, 0.017), (0.382, 0.061), (0.717, 0.310)),
    ),
    "BCH(31,11)": (
        (11, 31),
        ((0.007, 0.000), (0.041, 0.001), (0.070, 0.003), (0.321, 0.048)),
    ),
    "BCH(15,7)": (
        (7, 15),
        ((0.036, 0.001), (0.103, 0.013), (0.183, 0.045), (0.393, 0.175)),
    ),
}


def noisy_logits(
    words: np.ndarray, bit_error: float, rng: np.random.Generator
) -> np.ndarray:
    """Sends code words over a Gaussian channel with the given raw bit error."""
    deviation = -1.0 / NormalDist().inv_cdf(bit_error)
    return 2.0 * words - 1.0 + deviation * rng.standard_normal(words.shape)


def word_errors(
    code: MessageCode, bit_error: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Returns the word error rate of hard and of soft decoding.

    A word that hard decoding gives up on is wrong, even where its payload came through.
    """
    sent = code.encode(code.random_payloads(WORDS, rng))
    logits = noisy_logits(sent, bit_error, rng)
    decoded = code.decode_hard(logits)
    hard = ~decoded.ok | np.any(decoded.code_bits != sent, axis=1)
    soft = np.any(code.decode(logits).code_bits != sent, axis=1)
    return float(hard.mean()), float(soft.mean())


def main() -> None:
    """Prints both tables as Markdown."""
    header = " | ".join(f"{e:.2f} (design)" for e in BIT_ERRORS)
    print(f"Word error, hard / soft, {WORDS} words a cell.\n")
    print(f"| code | raw bit error {header} |\n|{'---|' * (len(BIT_ERRORS) + 1)}")
    rng = np.random.default_rng(0)
    for name, ((payload_bits, message_bits), design) in CODES.items():
        code = MessageCode(payload_bits, message_bits, crc_bits=0)
        cells = []
        for bit_error, (hard_design, soft_design) in zip(
            BIT_ERRORS, design, strict=True
        ):
            hard, soft = word_errors(code, bit_error, rng)
            cells.append(
                f"{hard:.3f} / {soft:.3f} ({hard_design:.3f} / {soft_design:.3f})"
            )
        print(f"| {name} | {' | '.join(cells)} |")
    code = MessageCode()
    hard, soft = word_errors(code, 0.10, rng)
    print(f"\n{code.name}, the default: {hard:.3f} / {soft:.3f} at 0.10.")
    payloads = code.random_payloads(1000, rng)
    logits = noisy_logits(code.encode(payloads), 0.10, rng)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        code.decode(logits)
        times.append(time.perf_counter() - start)
    print(f"1,000 soft decodes of {code.message_bits} bits: {min(times):.2f} s.")


if __name__ == "__main__":
    main()
