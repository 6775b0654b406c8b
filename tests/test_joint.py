"""The joint step's maths, on TensorFlow here and on JAX in a process of its own."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import run_on_jax

from faketagger_tf import joint, losses
from faketagger_tf.manipulations import Context, StatelessSeed, parse_chains

# One training step of a tiny tagger as a program: forward through encoder, a share of
# the batch for each manipulation, decoder and losses; gradients through all of it.
STEP = """
import json, sys
import jax, keras, numpy as np
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
jax.config.update("jax_disable_most_optimizations", True)  # One step: compiling is all.
from faketagger_tf import joint, losses
from faketagger_tf.config import TaggerConfig
from faketagger_tf.manipulations import Context, StatelessSeed, Swap, parse_chains
from faketagger_tf.models import build_decoder, build_encoder, encoder_inputs

keras.utils.set_random_seed(1)
config = TaggerConfig(image_size=32, message_bits=8, payload_bits=4, crc_bits=0,
                      encoder_width=8, decoder_width=8, psnr=20.0, texture_mask=0.5)
chains = parse_chains(json.loads(sys.argv[1]))
swaps = {"A>B": Swap(lambda x: 1 - x, 16), "B>A": Swap(lambda x: x[..., ::-1], 16)}
context = Context(swaps=swaps, real_codecs=True)
weights = losses.Weights(ssim=1.0, image=0.1)
encoder, decoder = build_encoder(config), build_decoder(config)
rng = np.random.default_rng(0)
batch = 2 * len(chains)
cover = rng.uniform(0.2, 0.8, (batch, 32, 32, 3)).astype(np.float32)
message = rng.integers(0, 2, (batch, 8)).astype(np.float32)

def values(variables):
    return [v.value for v in variables]

def loss(trainable, others, key):
    state = {}

    def encode(cover, message):
        inputs = encoder_inputs(config, cover, message)
        residual, state["encoder"] = encoder.stateless_call(
            trainable[0], others[0], inputs, training=True)
        return residual

    def decode(images):
        logits, state["decoder"] = decoder.stateless_call(
            trainable[1], others[1], images, training=True)
        return logits

    terms = joint.forward(encode, decode, cover, message, StatelessSeed(key), chains,
                          context, weights)
    means = {name: value.mean() for name, value in terms.items()}
    return means["loss"], (means, [state["encoder"], state["decoder"]])

step = jax.jit(jax.value_and_grad(loss, has_aux=True))
trainable = [values(m.trainable_variables) for m in (encoder, decoder)]
others = [values(m.non_trainable_variables) for m in (encoder, decoder)]
(_, (means, others)), gradients = step(trainable, others, np.array([0, 1], np.uint32))
flat = jax.tree.leaves(gradients)
assert all(np.isfinite(g).all() for g in flat)
moving = sum(float((g ** 2).sum()) > 0 for g in flat) / len(flat)
print(json.dumps({"terms": {k: float(v) for k, v in means.items()}, "moving": moving}))
"""


def step_on_jax(chains):
    result = run_on_jax("-c", STEP, json.dumps(chains))
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_a_training_step_runs_on_jax():
    chains = [
        "identity",
        "jpeg(50..90)|round",
        "webp(50)",
        "resize(0.5..1)|blur(0.5)|noise(0..0.02)",
        "affine(5,0.05,2)|color(0.2)",
        "overhang(0.2)|crop(0.9)|downup(24)|denoise(5)",
        "faceswap(*)|jpeg(75)",
        "facepaste(large)|facewarp(0.03)",
        "autoencode(A>B)|faceblur(1)|facedown(12)|facecrop(0.6)",
    ]
    found = step_on_jax(chains)
    assert set(found["terms"]) == {
        "message_loss",
        "image_mse",
        "clipping_loss",
        "ssim_loss",
        "loss",
        "bits",
    }
    # 20 dB is set exactly: float32 alone stands between the two.
    assert found["terms"]["image_mse"] == pytest.approx(0.01, rel=1e-3)
    assert found["moving"] > 0.9, "gradients reach the encoder through every chain"


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    cover = rng.uniform(0, 1, (6, 32, 32, 3)).astype(np.float32)
    message = rng.integers(0, 2, (6, 8)).astype(np.float32)
    residual = rng.normal(0, 0.1, cover.shape).astype(np.float32)
    logits = rng.normal(0, 1, (6, 8)).astype(np.float32)
    return cover, message, residual, logits


def test_terms_are_those_of_numpy(batch):
    cover, message, residual, logits = batch
    weights = losses.Weights(message=2.0, image=3.0, clipping=5.0)
    terms = {
        name: np.asarray(value)
        for name, value in losses.joint_terms(*batch, weights).items()
    }
    chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
    entropy = -np.log(np.where(message > 0, chance, 1 - chance)).mean(1)
    tagged = cover.astype(np.float64) + residual
    excess = np.maximum(tagged - 1, 0) + np.maximum(-tagged, 0)
    mse = np.square(residual.astype(np.float64)).mean((1, 2, 3))
    clipping = np.square(excess).mean((1, 2, 3))
    # Means of at most 3,072 float32 values: 1e-5 is a hundred times their rounding.
    np.testing.assert_allclose(terms["message_loss"], entropy, rtol=1e-5)
    np.testing.assert_allclose(terms["image_mse"], mse, rtol=1e-5)
    np.testing.assert_allclose(terms["clipping_loss"], clipping, rtol=1e-5)
    whole = 2 * entropy + 3 * mse + 5 * clipping
    np.testing.assert_allclose(terms["loss"], whole, rtol=1e-5)
    right = ((logits > 0) == (message > 0)).mean(1)
    np.testing.assert_allclose(terms["bits"], right, rtol=1e-6)
    assert "ssim_loss" not in terms


def test_every_chain_meets_its_share_and_its_donors(batch):
    cover = batch[0]
    chains = parse_chains(["identity", "facepaste(none,1)", "facecrop(0.1)"])
    received = joint.manipulate(
        chains, cover, StatelessSeed(0), Context(face_region=1.0), donors=cover
    )
    received = np.asarray(received)
    np.testing.assert_array_equal(received[:2], cover[:2])
    # Blending a face in rounds twice in float32.
    np.testing.assert_allclose(received[2:4], cover[1:3], atol=1e-6)
    np.testing.assert_allclose(received[4:, 0, 0], 0.5)


def test_statistics_are_the_mean_over_the_batches():
    layer = keras.layers.BatchNormalization(momentum=0.9)
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layer(image))
    layer.moving_mean.assign([5.0, 5.0, 5.0])
    rng = np.random.default_rng(0)
    batches = rng.normal(2.0, 3.0, (3, 8, 4, 4, 3)).astype(np.float32)
    joint.reestimate_statistics([model], lambda x: model(x, training=True), batches)
    # Sums of 384 values: float32 rounds them in the sixth digit.
    np.testing.assert_allclose(
        layer.moving_mean.numpy(), batches.mean((0, 1, 2, 3)), rtol=1e-4
    )
    np.testing.assert_allclose(
        layer.moving_variance.numpy(), batches.var((1, 2, 3)).mean(0), rtol=1e-4
    )
    assert layer.momentum == 0.9


def test_covers_are_turned_on_with_the_step(batch):
    cover = batch[0]
    chains = parse_chains(["identity", "identity"])
    varied = joint.vary_covers(
        chains, cover, StatelessSeed(0), Context(), tf.constant(8)
    )
    np.testing.assert_array_equal(varied, np.roll(cover, 2, axis=0))


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("jpeg(50)", "jpeg(50)"),
        ("jpeg(40..75)@0.9..1.15", "jpeg(40..75)@0.9..1.15"),
        ("grey|jpeg(70)@2", "grey|jpeg(70)@2..2"),
    ],
)
def test_shares_round_trip(spec, canonical):
    share = joint.parse_share(spec)
    assert str(share) == canonical
    assert joint.parse_share(canonical) == share


@pytest.mark.parametrize("spec", ["jpeg@", "jpeg@2..1", "jpeg@0", "jpeg@1..2..3"])
def test_bad_scales_are_named(spec):
    with pytest.raises(ValueError, match=r"scale after @ must be .* Received"):
        joint.parse_share(spec)


def test_scales_are_drawn_within_each_share():
    shares = [joint.parse_share(s) for s in ("identity", "jpeg@2..4")]
    scales = np.asarray(joint.draw_scales(shares, 65, StatelessSeed(1)))
    np.testing.assert_array_equal(scales[:32], 1)
    assert scales[32:].min() >= 2 and scales[32:].max() <= 4
    assert np.std(np.log(scales[32:])) > 0.1
