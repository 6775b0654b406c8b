"""The judge of patches: what it returns, what it learns, what is refused."""

import keras
import numpy as np
import pytest

from faketagger_tf.models import build_discriminator, judged_as


def _sharp_and_blurred(rng):
    sharp = rng.random((16, 32, 32, 3), np.float32)
    blurred = sharp.reshape(16, 16, 2, 16, 2, 3).mean((2, 4))
    return sharp, blurred.repeat(2, 1).repeat(2, 2)


def test_learns_to_tell_sharp_from_blurred():
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    judge = build_discriminator(32, identities=2, width=8)
    wanted = np.repeat(np.float32([1, 0]), 16)[:, None, None, None]
    wanted = np.broadcast_to(wanted, (32, 4, 4, 2))
    judge.compile(keras.optimizers.Adam(3e-3), "mse")
    for _ in range(250):
        judge.train_on_batch(np.concatenate(_sharp_and_blurred(rng)), wanted)
    sharp, blurred = map(judge.predict_on_batch, _sharp_and_blurred(rng))
    # On pictures never seen; of an answer that knows nothing the means are equal.
    assert sharp.mean() - blurred.mean() > 0.5


def test_an_identity_is_judged_by_its_own_map_alone():
    judged = np.zeros((2, 4, 4, 2), np.float32)
    judged[..., 1] = 1
    np.testing.assert_allclose(judged_as(judged, 1, real=True), [0, 0])
    np.testing.assert_allclose(judged_as(judged, 1, real=False), [1, 1])
    np.testing.assert_allclose(judged_as(judged, 0, real=True), [1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"face_size": 60, "identities": 2}, "multiple of 8 .* Received: 60"),
        ({"face_size": 64, "identities": 0}, "positive. Received: 0"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_discriminator(**arguments)
