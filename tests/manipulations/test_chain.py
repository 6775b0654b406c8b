import pathlib

import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.manipulations import (
    MANIPULATIONS,
    Context,
    Range,
    StatelessSeed,
    Swap,
    describe_manipulations,
    parse_chain,
    parse_chains,
)


def mirror(faces):
    return 0.8 * faces[:, :, ::-1] + 0.1


def darken(images, noise, seed):
    return 0.7 * images


CONTEXT = Context(
    swaps={"A>B": Swap(mirror, 32), "m:B>A": Swap(mirror, 64)},
    latents={"dark": darken},
)


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("faceswap(A>B)|resize(0.5)|jpeg(50)", None),
        (
            " jpeg( 35 .. 90 ) | blur( sigma = 0.5..1.5 ) ",
            "jpeg(35..90)|blur(0.5..1.5)",
        ),
        ("identity", None),
        ("identity()", "identity"),
        ("jpeg", "jpeg(75)"),
        ("jpeg(60..60)", "jpeg(60)"),
        ("affine(3, 0.02, 0..3)", "affine(3,scale=0.02,shift=0..3)"),
        ("faceswap(swap=m:B>A,colour=0)", "faceswap(m:B>A,colour=0)"),
        ("faceswap(*,large)", "faceswap(*,mask=large)"),
        ("facepaste(mask=none,region=0.75)", "facepaste(none,region=0.75)"),
        ("graphicswap(composite1)|regenerate(a,noise=0..0.1)", None),
        ("edit(beard, 0.5..1, canvas)", "edit(beard,amount=0.5..1,region=canvas)"),
        ("reenact(turn=-0.5..-0.2)", "reenact(0..0.5,turn=-0.5..-0.2)"),
    ],
)
def test_spec_round_trip(spec, canonical):
    chain = parse_chain(spec)
    assert str(chain) == (canonical or spec)
    assert parse_chain(str(chain)) == chain


def test_every_default_spec_round_trips():
    for chain in parse_chains(MANIPULATIONS):
        assert parse_chain(str(chain)) == chain


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("deepfake(3)", r"Unknown manipulation.*'deepfake\(3\)'.*jpeg, webp"),
        ("", "Unknown manipulation"),
        ("jpeg(50)|", "Unknown manipulation"),
        ("jpeg(50", "Unknown manipulation"),
        ("jpeg(0)", "whole number or a range low..high from 1 to 100.*'0'"),
        ("jpeg(50.5)", "quality of jpeg must be a whole number.*'50.5'"),
        ("jpeg(90..35)", "quality of jpeg"),
        ("jpeg(nan)", "quality of jpeg"),
        ("noise(inf)", "std of noise"),
        ("jpeg(1,2)", "at most 1 arguments. Received: 2.*Accepted: quality"),
        ("identity(1)", "Accepted: no arguments"),
        ("blur(radius=2)", "no argument 'radius'. Accepted: sigma"),
        ("blur(1,sigma=2)", "sigma of blur is given twice"),
        ("faceswap(A>B,mask=hard)", "feather or large or none. Received: 'hard'"),
        ("faceswap(region=0.5..1)", "region of faceswap must be a number from"),
        ("faceswap(swap=)", "swap of faceswap must be a name"),
        ("edit(hat)", "attribute of edit must be .* or blond_hair or .*'hat'"),
        ("edit(age,2)", "amount of edit must be a number or a range low..high"),
        ("reenact(-0.1)", "mouth of reenact must be a number or a range low..high"),
        ("sticker(0.2..0.3)", "size of sticker must be a number from"),
    ],
)
def test_bad_spec_is_named(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_chain(spec)


def test_description_lists_every_manipulation_and_argument():
    table = describe_manipulations()
    for entry in MANIPULATIONS.values():
        (row,) = [line for line in table.splitlines() if f"| `{entry.name}` |" in line]
        assert all(f"`{parameter.name}`" in row for parameter in entry.parameters)


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_differentiable_in_a_traced_function(name, images):
    chain = parse_chain(name)

    @tf.function
    def run(inputs, step):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = chain.apply(inputs, StatelessSeed(step), CONTEXT)
            # Weighted, so that the gradient is not blind to a redistribution.
            loss = tf.reduce_sum(tf.square(outputs) * tf.range(64.0)[:, None])
        return outputs, tape.gradient(loss, inputs)

    # Tagged images are not clamped in training: step a little outside [0, 1].
    inputs = tf.constant(images * 1.06 - 0.03)
    outputs, gradient = run(inputs, tf.constant(3))
    if name == "fractal":  # It has nothing of the photo.
        assert gradient is None
        gradient = np.ones_like(images)
    assert outputs.shape == images.shape and outputs.dtype == tf.float32
    assert np.all(np.isfinite(outputs)) and np.all(np.isfinite(gradient))
    assert np.min(outputs) >= -0.04 and np.max(outputs) <= 1.04
    reached = np.mean(np.abs(gradient) > 0)
    # The swapped face hides a quarter of the canvas, whose surroundings stay.
    least = {"facecrop": 0.35, "crop": 0.6, "edge": 0.5}
    assert reached > least.get(name, 0.7)
    repeated = chain.apply(inputs, StatelessSeed(3), CONTEXT)
    # Processors and graphs add float32 numbers up in different orders. A last bit can
    # tip a rounded JPEG coefficient, which moves a block: at most 256 of the 12,288
    # pixels each. Another draw of random numbers would move nearly all of them.
    moved = np.abs(outputs - repeated).max(axis=-1) > 1e-3
    assert moved.mean() < 0.1


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_real_side_is_deterministic_and_leaves_its_input(name, photos):
    chain, before = parse_chain(name), photos.copy()
    first, second = (
        chain.apply_real(photos, np.random.default_rng(5), CONTEXT) for _ in range(2)
    )
    assert first.shape == photos.shape and first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(photos, before)
    assert not np.shares_memory(first, photos)


# Mean absolute difference in levels of 255 between the differentiable and the real
# version, for those with nothing random about them.
AGREE = {
    "identity": 0.01,
    "round": 0.01,
    "jpeg(30)": 1.0,
    "jpeg(75)": 1.5,
    "resize(0.5)": 0.4,
    "resize(0.37)": 0.4,
    "downup(20)": 0.5,
    "crop(0.8,centre=1)": 0.5,
    "blur(0.7)": 0.4,
    "blur(2.5)": 0.4,
    "faceswap(A>B)": 0.3,
    "faceswap(A>B,mask=large)": 0.4,
    "faceswap(m:B>A,mask=none,region=1,colour=0)": 0.4,
    "autoencode(A>B)": 0.5,
    "facepaste(large)": 0.2,
    "facepaste(feather,colour=1)": 0.2,
    "faceblur(3)": 0.2,
    "facedown(7)": 0.2,
    "facecrop(0.6)": 0.4,
    "facecrop(0.6,outside=black)": 0.4,
    "gridjpeg(48,60)": 1.5,
    "gridjpeg(96,60)": 1.5,
    "grey": 0.5,
    "gamma(1.6)": 0.5,
    "gamma(0.6)": 0.6,
    "sharpen(0.7)": 0.5,
    "beauty(0.15)": 0.6,
    "mirror": 0.01,
    "graphicswap(drawn2)": 0.4,
    "graphicswap(composite3)": 0.4,
    "reenact(0.8,0.5,-0.3,0.2,0.2,0.4,0.2)": 0.4,
    "reenact(0,-0.5,0.3,-0.4,-0.2,-0.6,-0.2)": 0.4,
    "regenerate(dark)": 0.4,
    "edit(age,amount=0.8)": 0.5,
    "edit(beard,region=canvas)": 0.5,
    "edit(red_hair,model=dark)": 0.5,
    "superres(0.5)": 0.7,
    "superres(0.3)": 0.7,
    "faceswap(A>B)|resize(0.5)|jpeg(50)": 1.2,
}


@pytest.mark.parametrize("spec", AGREE)
def test_differentiable_and_real_agree(spec, images, photos):
    chain = parse_chain(spec)
    ours = np.asarray(chain.apply(images, StatelessSeed(0), CONTEXT)) * 255
    real = chain.apply_real(photos, np.random.default_rng(0), CONTEXT)
    assert np.abs(ours - real).mean() <= AGREE[spec]
    if spec not in ("identity", "round"):
        change = np.abs(real.astype(float) - photos).mean()
        assert np.abs(ours - real).mean() < change


@pytest.mark.parametrize(
    "spec", ["webp(20)", "webp(50)", "webp(80)", "denoise(3)", "denoise(10)"]
)
def test_stand_ins_are_neither_milder_nor_harsher(spec, images, photos):
    chain = parse_chain(spec)
    ours = np.asarray(chain.apply(images, StatelessSeed(0))) - images
    real = chain.apply_real(photos, np.random.default_rng(0)) / 255 - images
    ratio = np.sqrt(np.mean(np.square(ours)) / np.mean(np.square(real)))
    assert 0.75 < ratio < 1.33


def test_webp_has_the_codecs_values_and_the_stand_ins_gradient(images, photos):
    chain, results = parse_chain("webp(30)"), []
    for real_codecs in (False, True):
        context = Context(real_codecs=real_codecs)
        with tf.GradientTape() as tape:
            batch = tf.constant(images)
            tape.watch(batch)
            values = chain.apply(batch, StatelessSeed(0), context)
            loss = tf.reduce_sum(values * images[::-1])
        results.append((values.numpy(), tape.gradient(loss, batch).numpy()))
    (standin, slope), (values, same) = results
    real = chain.apply_real(photos, np.random.default_rng(0))
    np.testing.assert_allclose(255 * values, real, atol=1e-3)
    assert np.abs(values - standin).max() > 0.02
    np.testing.assert_allclose(same, slope, atol=1e-6)


def test_ranges_are_drawn_per_image_within_their_bounds(photos):
    batch = np.repeat(photos[:1], 24, axis=0)
    sizes = "downup(8..24)"
    floats = (batch / 255).astype(np.float32)
    single = {
        n: parse_chain(f"downup({n})").apply(floats[:1], StatelessSeed(0))
        for n in range(8, 25)
    }
    ours = np.asarray(parse_chain(sizes).apply(floats, StatelessSeed(1)))
    real = parse_chain(sizes).apply_real(batch, np.random.default_rng(1)) / 255
    for outputs in (ours, real):
        drawn = set()
        for image in outputs:
            errors = {n: np.abs(image - s[0]).mean() for n, s in single.items()}
            nearest = min(errors, key=errors.get)
            assert errors[nearest] < 0.5 / 255
            drawn.add(nearest)
        assert len(drawn) > 6


def test_noise_has_the_deviation_asked_for():
    grey = np.full([2, 64, 64, 3], 128, np.uint8)
    chain = parse_chain("noise(0.05)")
    ours = np.asarray(chain.apply(grey / np.float32(255), StatelessSeed(2)))
    real = chain.apply_real(grey, np.random.default_rng(2)) / 255
    assert np.std(ours) == pytest.approx(0.05, rel=0.05)
    assert np.std(real) == pytest.approx(0.05, rel=0.05)


def test_range_arguments_are_ranges():
    assert parse_chain("jpeg(35..90)").steps[0].arguments == (Range(35, 90),)


@pytest.mark.parametrize("shape", [[2, 64, 32, 3], [64, 64, 3], [2, 64, 64, 1]])
def test_bad_shapes_are_named(shape):
    with pytest.raises(ValueError, match=r"\[B, S, S, 3\]"):
        parse_chain("jpeg").apply(np.zeros(shape, np.float32), StatelessSeed(0))
    with pytest.raises(ValueError, match=r"\[B, S, S, 3\]"):
        parse_chain("jpeg").apply_real(np.zeros(shape, np.uint8), None)


def test_real_side_wants_uint8(images):
    with pytest.raises(ValueError, match=r"must be uint8\. Received: float32"):
        parse_chain("jpeg").apply_real(images, np.random.default_rng(0))


def test_the_documentation_is_up_to_date():
    page = pathlib.Path(__file__).parents[2] / "docs" / "manipulations.md"
    text = page.read_text()
    assert describe_manipulations() in text
    for name in MANIPULATIONS:
        assert f"![{name}](manipulations/{name}.jpg)" in text
        assert (page.parent / "manipulations" / f"{name}.jpg").is_file()
