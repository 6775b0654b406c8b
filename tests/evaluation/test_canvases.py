"""The evaluation's arithmetic, with a decoder whose answers are known."""

import json
import weakref

import cv2
import numpy as np
import pytest

from faketagger_tf.config import TaggerConfig
from faketagger_tf.evaluation import canvases as evaluation
from faketagger_tf.manipulations import Context, Swap, parse_chains
from faketagger_tf.messages import MessageCode
from faketagger_tf.models import build_encoder

CONFIG = TaggerConfig(
    image_size=32,
    message_bits=16,
    payload_bits=8,
    crc_bits=3,
    encoder_width=8,
    decoder_width=8,
    psnr=35.0,
)
COUNT = 40


@pytest.fixture(scope="module")
def covers():
    coarse = np.random.default_rng(0).integers(60, 196, (COUNT, 4, 4, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(CONFIG)


def embedded_bits(seed):
    """The code words that `evaluate` embeds, drawn again from its documented seed."""
    code = MessageCode(8, 16, 3)
    rng = np.random.default_rng([seed, 0])
    payloads = code.random_payloads(COUNT, rng)
    return payloads, code.encode(payloads)


def oracle(logits, chains=1):
    """Answers with given logits, each batch as often as there are chains."""
    calls = 0

    def decode(images):
        nonlocal calls
        start = calls // chains * evaluation.BATCH
        calls += 1
        return logits[start : start + len(images)]

    return decode


def run(encoder, covers, decode, specs=("identity",), **options):
    context = Context(swaps={"A>B": Swap(lambda x: 1.0 - x, 32)}, face_region=1.0)
    chains = parse_chains(specs)
    decoders = decode if isinstance(decode, dict) else {"ours": decode}
    return evaluation.evaluate(
        CONFIG, encoder, decoders, covers, chains, context, seed=3, **options
    )


def test_perfect_reading(encoder, covers):
    _, bits = embedded_bits(3)
    report, _ = run(encoder, covers, oracle(8.0 * bits - 4.0))
    assert report["images"] == COUNT
    assert report["manipulations"]["identity"] == {
        "bit_accuracy": 1.0,
        "word_error_rate": 0.0,
        "hard_word_error_rate": 0.0,
        "raw_word_error_rate": 0.0,
        "words": COUNT,
        "bit_accuracy_by_lightness": [1.0, 1.0, 1.0],
    }


def test_words_with_one_weak_wrong_bit_are_corrected(encoder, covers):
    _, bits = embedded_bits(3)
    logits = 8.0 * bits - 4.0
    # Ten words with one bit wrong, ten that say the opposite in every bit.
    logits[:10, 5] *= -0.1
    logits[10:20] *= -1.0
    report, _ = run(encoder, covers, oracle(logits))
    row = report["manipulations"]["identity"]
    assert row["bit_accuracy"] == pytest.approx(1 - (10 + 160) / (16 * COUNT))
    assert row["raw_word_error_rate"] == pytest.approx(20 / COUNT)
    assert row["word_error_rate"] == pytest.approx(10 / COUNT)


def test_hard_decoding_is_reported_beside_soft(encoder, covers):
    _, bits = embedded_bits(3)
    logits = 8.0 * bits - 4.0
    # Three weak bits of the payload are wrong: more than 16 bits correct without
    # knowing which ones are weak.
    logits[:10, 1:6:2] *= -0.1
    report, _ = run(encoder, covers, oracle(logits))
    row = report["manipulations"]["identity"]
    assert row["word_error_rate"] == 0
    assert row["hard_word_error_rate"] == pytest.approx(10 / COUNT)


def test_psnr_is_measured_on_uint8(encoder, covers):
    _, bits = embedded_bits(3)
    report, samples = run(encoder, covers, oracle(bits - 0.5))
    tagged = evaluation.tag_canvases(CONFIG, encoder, covers, bits)
    assert tagged.dtype == np.uint8
    expected = np.mean([cv2.PSNR(a, b) for a, b in zip(covers, tagged, strict=True)])
    assert report["psnr"] == pytest.approx(expected, abs=1e-6)
    assert report["psnr"] == pytest.approx(35.0, abs=0.5)
    np.testing.assert_array_equal(samples[0].tagged, tagged[0])


def test_one_seed_gives_one_report_whatever_else_is_measured(encoder, covers):
    _, bits = embedded_bits(3)

    def measure(images):
        # Depends on the manipulated pixels, so that their randomness shows.
        means = images.reshape(len(images), -1, 16).mean(axis=1)
        return (means - 0.5).astype(np.float32)

    first, _ = run(encoder, covers, measure, ["noise(0.2)"])
    again, _ = run(encoder, covers, measure, ["jpeg(30)", "noise(0.2)"])
    assert bits.shape == (COUNT, 16)
    assert first["manipulations"]["noise(0.2)"] == again["manipulations"]["noise(0.2)"]


def test_a_swap_is_measured_on_its_source(encoder, covers):
    _, bits = embedded_bits(3)
    identities = ["A"] * 25 + ["B"] * 15
    logits = 8.0 * bits - 4.0
    logits[25:] *= -1.0
    report, _ = run(
        encoder,
        covers,
        oracle(logits, chains=2),
        ["identity", "faceswap(A>B)"],
        identities=identities,
    )
    assert report["manipulations"]["identity"]["words"] == COUNT
    assert report["manipulations"]["faceswap(A>B)"]["words"] == 25
    assert report["manipulations"]["faceswap(A>B)"]["bit_accuracy"] == 1.0


def test_samples_take_turns_between_identities(encoder, covers):
    _, bits = embedded_bits(3)
    identities = ["A"] * 30 + ["B"] * 10
    _, samples = run(
        encoder, covers, oracle(bits - 0.5), identities=identities, samples=2
    )
    np.testing.assert_array_equal(samples[0].cover, covers[0])
    np.testing.assert_array_equal(samples[1].cover, covers[30])


def test_report_is_json_and_markdown(encoder, covers):
    _, bits = embedded_bits(3)
    report, _ = run(
        encoder,
        covers,
        oracle(bits - 0.5, chains=2),
        ["resize(0.5)|jpeg(50)", "identity"],
    )
    assert json.loads(json.dumps(report)) == report
    table = evaluation.markdown_report(report)
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == 2
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def test_several_decoders_are_compared_on_the_same_images(encoder, covers):
    _, bits = embedded_bits(3)
    right = 8.0 * bits - 4.0
    bad = right.copy()
    bad[:10] *= -1.0
    seen = {"first": [], "second": []}

    def watched(name, decode):
        def read(images):
            seen[name].append(images)
            return decode(images)

        return read

    decoders = {
        "first": watched("first", oracle(right, chains=2)),
        "second": watched("second", oracle(bad, chains=2)),
    }
    report, _ = run(encoder, covers, decoders, ["jpeg(50)", "noise(0.1)"])
    for ours, theirs in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = report["decoders"]["second"]
    assert report["manipulations"]["jpeg(50)"]["word_error_rate"] == 0.0
    assert other["manipulations"]["jpeg(50)"]["word_error_rate"] == 10 / COUNT
    assert other["images"] == 2 * COUNT and other["same_bits"] == 2 * (COUNT - 10)
    assert other["largest_logit_difference"] == 8.0
    assert "`second` reads the same bits in 60 of 80" in evaluation.markdown_report(
        report
    )


def test_only_a_batch_of_canvases_is_held(encoder, covers):
    alive = []

    def decode(images):
        alive[:] = [ref for ref in alive if ref() is not None]
        alive.append(weakref.ref(images))
        # The batch in hand and the one before it, not the five of all chains.
        assert len(alive) <= 2
        return np.zeros([len(images), 16], np.float32)

    specs = ["identity", "jpeg(50)", "noise(0.1)", "blur(1)", "resize(0.5)"]
    run(encoder, np.repeat(covers, 2, axis=0), decode, specs, repeats=2, samples=1)


def test_no_decoder_is_one_sentence(encoder, covers):
    with pytest.raises(ValueError, match="At least one decoder"):
        run(encoder, covers, {})


def test_a_chain_named_twice_is_measured_once(encoder, covers):
    _, bits = embedded_bits(3)
    report, _ = run(
        encoder, covers, oracle(8.0 * bits - 4.0), ["identity", " identity "]
    )
    assert report["manipulations"]["identity"]["bit_accuracy"] == 1.0


def test_samples_do_not_hold_their_batches(encoder, covers):
    _, bits = embedded_bits(3)
    _, samples = run(encoder, covers, oracle(bits - 0.5), samples=3)
    for sample in samples:
        image, _ = sample.manipulated["identity"]
        assert all(x.base is None for x in (sample.cover, sample.tagged, image))
