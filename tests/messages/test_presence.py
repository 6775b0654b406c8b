import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import special

from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence, surprise


@pytest.mark.parametrize("dimensions", [15, 64, 256])
def test_surprise_is_the_spherical_cap(dimensions):
    score = np.array([0.05, 0.3, 0.6, 0.85, 0.95, 0.99])
    cap = special.betainc((dimensions - 1) / 2, 0.5, 1 - score**2) / 2
    expected = -(7 * math.log(2) + np.log(cap))
    got = surprise(score, dimensions, 7)
    np.testing.assert_allclose(got, expected, atol=0.02, rtol=2e-4)


def test_a_perfect_score_is_finite():
    assert np.isfinite(surprise(1.0, 64, 36))
    assert surprise(1.0, 64, 36) > surprise(0.999, 64, 36)


def test_noise_is_as_rare_as_the_ideal_model_says():
    # Gaussian logits point in a random direction; words of a small code.
    code = MessageCode(payload_bits=7, message_bits=31, crc_bits=0)
    rng = np.random.default_rng(5)
    decoded = code.decode(rng.normal(size=(60_000, 31)))
    x = surprise(decoded.score, 31, code.k)
    presence = Presence.ideal(1)
    p = np.array([presence.p_value(value) for value in x])
    for level in (0.1, 0.01, 0.001):
        share = np.mean(p <= level)
        assert 0.6 * level < share < 1.35 * level


def test_fit_recovers_a_gumbel_tail():
    x = np.random.default_rng(2).gumbel(3.0, 2.0, 4000)
    presence = Presence.fit(x)
    assert presence.faces == 4000 and presence.largest == x.max()
    assert presence.rate == pytest.approx(0.1, abs=0.001)
    assert 2.0 < presence.scale < 2.5
    # At the tail's own level it is right, beyond it errs on the safe side.
    for level in (1e-2, 1e-4, 1e-6):
        quantile = 3.0 - 2.0 * math.log(-math.log1p(-level))
        assert presence.p_value(quantile) >= level * 0.8


def test_the_tail_is_never_thinner_than_the_ideal():
    assert Presence.fit(np.linspace(0, 0.1, 500)).scale == 1.0


def test_p_values_fall_from_one():
    presence = Presence(threshold=4.0, rate=0.1, scale=1.3, faces=1000)
    values = [presence.p_value(x) for x in (-20, 0, 4, 10, 30, 200)]
    assert values[0] == 1.0 and values == sorted(values, reverse=True)
    assert values[2] == pytest.approx(0.1)
    assert presence.p_value(4, agreeing_bits=4) == pytest.approx(0.1 / 16)


def test_errors():
    with pytest.raises(ValueError, match="at least 100"):
        Presence.fit(np.zeros(99))
    with pytest.raises(ValueError, match="positive"):
        Presence(rate=0.0)
    with pytest.raises(ValueError, match="finite"):
        Presence(threshold="high")


def test_messages_need_numpy_alone():
    program = (
        "import pkgutil, sys\n"
        "import faketagger_tf.messages as messages\n"
        "for module in pkgutil.iter_modules(messages.__path__):\n"
        "    __import__('faketagger_tf.messages.' + module.name)\n"
        "ours = {n for n in sys.modules if n.startswith('faketagger_tf.')}\n"
        "others = {n for n in ours if not n.startswith('faketagger_tf.messages')}\n"
        "assert not others, others\n"
        "for name in ('cv2', 'absl', 'tensorflow', 'keras', 'PIL', 'scipy'):\n"
        "    assert name not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
