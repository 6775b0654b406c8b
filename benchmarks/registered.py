"""Prints what registered reading costs: time and memory by the number of payloads.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.registered [--most=10000000]

Noise is the slow case: nothing is found, so that no search ends early. Times are of
the processor, so that other programs count little; the least of five photos. "found" is
a photo whose tag reads. The reference is a float32 matrix product with every word.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np

from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.registered import WordIndex, pack_words

PLACES = (53, 106)  # Searched around a face today, and with the mirrored view.


def processor_ms(function, *arguments, times: int = 5) -> float:
    """Least processor time of a call in milliseconds."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        function(*arguments)
        spent.append(time.process_time() - start)
    return 1e3 * min(spent)


def product(words: np.ndarray, logits: np.ndarray) -> float:
    """The largest correlation by a plain product, in chunks."""
    best, chunk = -np.inf, 1 << 14
    for start in range(0, len(words), chunk):
        bits = np.unpackbits(words[start : start + chunk], axis=1)
        best = max(best, (logits @ (2 * bits.astype(np.float32) - 1).T).max())
    return float(best)


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=10**6)
    most = parser.parse_args().most
    code, rng = MessageCode(), np.random.default_rng(0)
    print("| payloads | encode | index | beyond the words | places | noise | found |")
    print("|---|---|---|---|---|---|---|")
    for count in (10**4, 10**6, 10**7):
        if count > most:
            continue
        payloads = rng.integers(0, 1 << 32, count, dtype=np.uint64)
        start = time.process_time()
        words = pack_words(code, payloads)
        encoded = time.process_time() - start
        start = time.process_time()
        index = WordIndex(words, 64)
        built = time.process_time() - start
        sent = 2.0 * code.encode([int(payloads[5])])[0] - 1
        for places in PLACES:
            logits = rng.normal(size=(places, 64)).astype(np.float32)
            tagged = logits + 2.0 * sent
            noise = processor_ms(index.search, logits)
            found = processor_ms(index.search, tagged)
            tracemalloc.start()
            index.search(logits)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            kept = index._order.nbytes + index._start.nbytes
            print(
                f"| {count:.0e} | {encoded:.2f} s | {built:.2f} s | "
                f"{(kept + peak) / 1e6:.0f} MB | {places} | {noise:.0f} ms | "
                f"{found:.1f} ms |",
                flush=True,
            )
        if count == 10**6:
            spent = processor_ms(product, words, logits, times=1)
            print(f"\nThe plain product takes {spent:.0f} ms for {places} places.\n")


if __name__ == "__main__":
    main()
