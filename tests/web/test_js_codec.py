"""The page's channel code and p-values are Python's; needs Node.js."""

import numpy as np
import pytest

from export import tflite
from faketagger_tf import lite
from faketagger_tf.messages import MessageCode


@pytest.mark.parametrize(
    "lengths", [(8, 16, 3), (32, 64, 4), (13, 70, 0), (80, 128, 8)]
)
def test_soft_decoder_is_pythons(lengths, evaluate):
    payload_bits, message_bits, crc_bits = lengths
    code = MessageCode(payload_bits, message_bits, crc_bits)
    rng = np.random.default_rng(0)
    payload = code.random_payloads(60, rng)
    noise = rng.normal(0, 1.0, (60, message_bits))
    logits = 2.0 * code.encode(payload) - 1 + noise * np.linspace(0.1, 2.0, 60)[:, None]
    eye = np.eye(payload_bits, dtype=np.uint8)
    about = {
        "payload_bits": payload_bits,
        "message_bits": message_bits,
        "generator": tflite._hex_rows(code.layout.generator_matrix()),
        "payload_generator": tflite._hex_rows(code.encode(eye)),
        "crc_bits": crc_bits,
        "presence": {"threshold": 3.0, "rate": 0.1, "scale": 1.2},
    }
    made = evaluate(
        "codec.js",
        "decode, pValue",
        "job.logits.map((row) => {"
        "  const word = decode(job.about, row);"
        "  const p = pValue(job.about, word);"
        "  return { ...word, p, payload: word.payload.toString() }; })",
        {"about": about, "logits": logits.tolist()},
    )
    read = code.decode(logits)
    wrong = (np.array(read.payload_bits) != payload).any(axis=1)
    assert 0 < wrong.sum() < len(wrong)
    assert [int(word["payload"]) for word in made] == read.payloads
    assert [word["codeBits"] for word in made] == read.code_bits.tolist()
    assert [word["crcOk"] for word in made] == read.crc_ok.tolist()
    assert [word["correctedBits"] for word in made] == read.corrected_bits.tolist()
    np.testing.assert_allclose([w["score"] for w in made], read.score, atol=1e-9)
    p_values = lite.p_values(about, read)
    np.testing.assert_allclose([w["p"] for w in made], p_values, rtol=1e-6)
    assert min(p_values) < 1e-4 * max(p_values)
