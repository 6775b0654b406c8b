"""The visibility budget: what it measures, and that FLIP sees it alike."""

import cv2
import numpy as np
import pytest

from faketagger_tf import visibility
from faketagger_tf.config import TaggerConfig
from faketagger_tf.models import build_encoder

SIDE = 128
FAR, ENLARGED = np.ones([1, 1], np.float32), np.full([1, 1], 3.0, np.float32)


def seen(residual, cover, scale=FAR) -> float:
    factors = visibility.masks(cover)
    near = visibility.nearness(scale)
    return float(visibility.visibility(residual[None], factors, near)[0])


def noise(band: int, channel, seed: int = 0) -> np.ndarray:
    """Noise of one octave, float32 [128, 128, 3]; `channel` is a colour direction."""
    rng = np.random.default_rng(seed)
    plane = rng.standard_normal([1, SIDE >> band, SIDE >> band, 1]).astype(np.float32)
    plane = plane - np.asarray(visibility.blur(plane, 1.0))
    size = SIDE, SIDE
    plane = cv2.resize(plane[0], size, interpolation=cv2.INTER_LINEAR)
    return plane[..., None] * np.asarray(channel, np.float32)


GREY = [1.0, 1.0, 1.0]
BLUE = [0.0, -0.34, 1.77]  # The direction of Cb.


def test_is_proportional_to_the_residual():
    plain = np.full([1, SIDE, SIDE, 3], 0.6, np.float32)
    residual = 0.1 * noise(1, GREY)
    once, twice = seen(residual, plain), seen(2 * residual, plain)
    assert twice == pytest.approx(2 * once, rel=1e-3)


def test_a_busy_photo_hides_more_than_a_plain_one_and_an_edge_does_not():
    plain = np.full([1, SIDE, SIDE, 3], 0.6, np.float32)
    busy = plain + 0.2 * noise(1, GREY, 1)[None]
    edge = plain.copy()
    edge[:, :, 64:] = 0.3
    # The residual lies on the plain side, some pixels from the edge.
    residual = np.zeros([SIDE, SIDE, 3], np.float32)
    residual[:, 20:56] = 0.01 * noise(1, GREY)[:, 20:56]
    open_air = seen(residual, plain)
    assert seen(residual, busy) < 0.8 * open_air
    assert seen(residual, edge) > 0.8 * open_air


def test_large_faces_show_more():
    plain = np.full([1, SIDE, SIDE, 3], 0.6, np.float32)
    for band in (0, 1):
        residual = 0.01 * noise(band, GREY)
        assert seen(residual, plain, ENLARGED) > 1.15 * seen(residual, plain)


@pytest.mark.parametrize(("enlarged", "factor"), [(1, 6.0), (3, 2.5)])
@pytest.mark.parametrize("colour", [GREY, BLUE])
def test_flip_sees_one_level_alike_in_every_band(colour, enlarged, factor):
    """Three octaves scaled to one visibility; FLIP is the independent source.

    At the canvas's own size FLIP hardly sees the finest octave; the budget judges it as
    somebody who enlarges the photo does. Enlarged, it judges the finest octave more
    strictly than FLIP, because ColorVideoVDP does. FLIP is a NumPy program, so that
    nothing but rounding differs between processors.
    """
    flip = pytest.importorskip("flip_evaluator")
    plain = np.full([SIDE * enlarged, SIDE * enlarged, 3], 0.6, np.float32)
    errors = []
    for band in range(3):
        residual = noise(band, colour)
        residual *= 0.0063 / seen(residual, plain[None, :SIDE, :SIDE])
        size = plain.shape[:2]
        residual = cv2.resize(residual, size, interpolation=cv2.INTER_CUBIC)
        tagged = np.rint(255 * (plain + residual)) / 255
        errors.append(flip.evaluate(plain, tagged.astype(np.float32), "LDR")[1])
    assert max(errors) / min(errors) < factor, errors
    assert max(errors) < 0.1


def test_outside_is_black_in_patches():
    cover = np.full([1, 32, 32, 3], 0.5, np.float32)
    cover[:, :, 20:] = 0
    cover[:, 5, 5] = 0  # One black pixel of the photo itself.
    inside = np.asarray(visibility.inside(cover))[0, :, :, 0]
    assert inside[:, :20].min() == 1 and inside[:, 22:].max() == 0


def test_encoder_keeps_its_level_and_the_photo():
    config = TaggerConfig(
        image_size=64,
        message_bits=16,
        payload_bits=8,
        crc_bits=0,
        encoder_width=8,
        strength="visibility",
    )
    encoder = build_encoder(config)
    rng = np.random.default_rng(2)
    cover = rng.random((2, 64, 64, 3), np.float32) * 0.5 + 0.25
    cover[1, :, 40:] = 0
    inputs = {
        "cover": cover,
        "message": rng.integers(0, 2, (2, 16)).astype(np.float32),
        "level": np.array([[30.0], [44.0]], np.float32),
        "scale": np.array([[1.0], [3.0]], np.float32),
    }
    residual = np.asarray(encoder(inputs))
    assert residual.dtype == np.float32
    near = visibility.nearness(inputs["scale"])
    found = visibility.visibility(residual, visibility.masks(cover), near)
    np.testing.assert_allclose(-20 * np.log10(found), [30, 44], atol=1e-2)
    assert not residual[1, :, 44:].any() and residual[1, :, :38].any()
    # The message and the photo's scale both change the residual.
    other = np.asarray(encoder({**inputs, "message": 1 - inputs["message"]}))
    assert np.abs(other - residual).max() > 1e-4
    larger = np.asarray(encoder({**inputs, "scale": 4 * np.ones((2, 1), np.float32)}))
    assert np.abs(larger[0] - residual[0]).max() > 1e-4


def test_a_canvas_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match=r"power of two .*Received: 96"):
        TaggerConfig(image_size=96, strength="visibility")
