import numpy as np
import pytest

from faketagger_tf.manipulations import Context, StatelessSeed, Swap, face, parse_chain

BLACK = Context(swaps={"A>B": Swap(lambda faces: 0 * faces, 32)})


def both(spec, images, photos, context=BLACK):
    """The differentiable and the real output, both as float in [0, 255]."""
    chain = parse_chain(spec)
    ours = np.asarray(chain.apply(images, StatelessSeed(4), context)) * 255
    real = chain.apply_real(photos, np.random.default_rng(4), context)
    return ours, real.astype(float)


@pytest.mark.parametrize("region", [0.25, 0.5, 1.0])
def test_no_mask_replaces_the_square_and_nothing_else(region, images, photos):
    spec = f"faceswap(A>B,mask=none,region={region},colour=0)"
    start = round(32 - 32 * region)
    inside = np.zeros([64, 64], bool)
    inside[start : 64 - start, start : 64 - start] = True
    for output in both(spec, images, photos):
        np.testing.assert_allclose(output[:, inside], 0, atol=1e-3)
        np.testing.assert_array_equal(
            output[:, ~inside].astype(np.float32), photos[:, ~inside]
        )


@pytest.mark.parametrize("mask", ["feather", "large"])
@pytest.mark.parametrize(
    "name",
    ["faceswap(A>B,colour=0", "facepaste(", "facewarp(0.1", "faceblur(3", "facedown(4"],
)
def test_pixels_outside_the_mask_are_untouched(name, mask, images, photos):
    start, length = face.region_square(64, BLACK, mask, None)
    weights = np.zeros([64, 64])
    square = slice(start, start + length)
    weights[square, square] = face.face_mask(mask, 64, start, length)[..., 0]
    spec = f"{name},mask={mask})".replace("(,", "(")
    for output in both(spec, images, photos):
        changed = np.abs(output - photos).max(axis=(0, 3)) > 0.51
        assert not changed[weights == 0].any()
        assert changed[weights > 0.5].mean() > 0.5


def test_masks_cover_what_they_say():
    side = 128
    start, length = face.region_square(side, Context(), "feather", None)
    assert (start, length) == (32, 64)
    feather = face.face_mask("feather", side, start, length)[..., 0]
    assert feather[0].max() < 0.05 and feather[:, 0].max() < 0.05
    assert feather[32, 32] == 1 and feather[0, 0] == 0
    start, length = face.region_square(side, Context(), "large", None)
    assert length == 104
    large = face.face_mask("large", side, start, length)[..., 0]
    # The ellipse ends inside its square: nothing is cut off hard.
    edges = large[0], large[-1], large[:, 0], large[:, -1]
    assert max(edge.max() for edge in edges) == 0
    rows, columns = np.nonzero(large)
    assert np.ptp(columns) / side == pytest.approx(0.60, abs=0.02)
    assert np.ptp(rows) / side == pytest.approx(0.76, abs=0.02)
    assert (rows.mean() + start) / side == pytest.approx(0.48, abs=0.01)


def test_large_mask_respects_a_larger_region():
    context = Context(face_region=0.9)
    assert face.region_square(100, context, "large", None) == (5, 90)
    assert face.region_square(100, context, "large", 0.5) == (25, 50)


def test_swap_sees_the_middle_square_at_its_own_size(images, photos):
    seen = []

    def record(faces):
        seen.append(np.asarray(faces))
        return faces

    context = Context(swaps={"A>B": Swap(record, 32)})
    both("faceswap(A>B)", images, photos, context)
    for faces in seen:
        assert faces.dtype == np.float32
        np.testing.assert_allclose(faces, images[:, 16:48, 16:48], atol=1e-6)


def test_identity_swap_changes_nothing(images, photos):
    context = Context(swaps={"A>A": Swap(lambda faces: faces, 32)})
    ours, real = both("faceswap(A>A)", images, photos, context)
    np.testing.assert_allclose(ours, photos, atol=1e-2)
    np.testing.assert_array_equal(real, photos)


def test_star_deals_the_batch_out_to_all_swaps(images, photos):
    context = Context(
        swaps={
            "black": Swap(lambda faces: 0 * faces, 32),
            "white": Swap(lambda faces: 0 * faces + 1, 16),
        }
    )
    chain = parse_chain("faceswap(*,mask=none,colour=0)")
    real = chain.apply_real(photos, np.random.default_rng(0), context)
    middle = real[:, 20:44, 20:44].mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(middle, [0, 255, 0])
    np.testing.assert_array_equal(real[:, :8], photos[:, :8])
    # In training one swap, drawn by the seed, serves the whole batch.
    drawn = set()
    for seed in range(20):
        ours = np.asarray(chain.apply(images, StatelessSeed(seed), context))
        middle = ours[:, 20:44, 20:44].mean(axis=(1, 2, 3))
        assert np.ptp(middle) < 1e-6
        drawn.add(int(middle[0]))
    assert drawn == {0, 1}


def test_colour_matching_restores_mean_and_deviation(images):
    mask = face.face_mask("feather", 64, 16, 32)
    target = images[:, 16:48, 16:48]
    dull = 0.3 + 0.8 * (target[:, ::-1] - target.mean()) * [0.8, 1.0, 1.1]
    matched = face.match_colour(np, dull, target * 0.5 + 0.25, mask)
    weights = mask / mask.sum()
    means = [(weights * x).sum(axis=(1, 2)) for x in (matched, target * 0.5 + 0.25)]
    np.testing.assert_allclose(*means, atol=0.01)
    spreads = [
        np.sqrt((weights * (x - m[:, None, None]) ** 2).sum(axis=(1, 2)))
        for x, m in zip((matched, target * 0.5 + 0.25), means, strict=True)
    ]
    np.testing.assert_allclose(*spreads, atol=0.01)


def test_colour_matching_does_not_blow_up_a_flat_face(images, photos):
    for output in both("faceswap(A>B,mask=none)", images, photos):
        middle = output[:, 16:48, 16:48]
        wanted = photos[:, 16:48, 16:48].mean(axis=(1, 2))
        np.testing.assert_allclose(middle.mean(axis=(1, 2)), wanted, atol=1)
        assert middle.std(axis=(1, 2)).max() < 1


def test_facepaste_takes_the_donors_face(images, photos):
    neighbour = np.roll(photos, 1, axis=0)
    white = photos * 0 + 255
    for donors, wanted in ((None, neighbour), (white, white)):
        as_float = None if donors is None else (donors / 255).astype(np.float32)
        chain = parse_chain("facepaste(none)")
        ours = chain.apply(images, StatelessSeed(0), Context(donors=as_float))
        rng = np.random.default_rng(0)
        real = chain.apply_real(photos, rng, Context(donors=donors))
        for output in (np.asarray(ours) * 255, real):
            middle = output[:, 16:48, 16:48]
            np.testing.assert_allclose(middle, wanted[:, 16:48, 16:48], atol=1e-2)


def test_facecrop_leaves_the_middle(images, photos):
    for output in both("facecrop(0.625)", images, photos):
        np.testing.assert_allclose(output[:, 12:52, 12:52], photos[:, 12:52, 12:52])
        np.testing.assert_allclose(output[:, :12], 127.5, atol=0.51)


def test_errors_name_what_there_is(images, photos):
    with pytest.raises(ValueError, match=r"no face swap 'X>Y'. Accepted: A>B, or"):
        both("faceswap(X>Y)", images, photos)
    with pytest.raises(ValueError, match=r"no face swap .* there are none"):
        both("faceswap(*)", images, photos, Context())
    with pytest.raises(ValueError, match="two or more images"):
        both("facepaste", images[:1], photos[:1])
    with pytest.raises(ValueError, match="donors must have the images' shape"):
        both("facepaste", images, photos, Context(donors=images[:2]))
    with pytest.raises(ValueError, match=r"Swap\(function, size\)"):
        Context(swaps={"A>B": lambda faces: faces})
    with pytest.raises(ValueError, match="face_region must be in"):
        Context(face_region=1.5)


def test_a_swap_brings_its_own_region():
    swaps = {
        "small:A>B": Swap(lambda faces: 1.0 - faces, 16, region=0.25),
        "wide:A>B": Swap(lambda faces: 1.0 - faces, 16, region=0.75),
    }
    images = np.zeros([2, 64, 64, 3], np.uint8)
    chain = parse_chain("faceswap(*, mask=none, colour=0)")
    changed = chain.apply_real(images, np.random.default_rng(0), Context(swaps))
    assert [int((image > 0).all(axis=-1).sum()) for image in changed] == [16**2, 48**2]
    floats = [
        chain.apply(images / np.float32(255), StatelessSeed(seed), Context(swaps))
        for seed in range(20)
    ]
    # One swap for the whole batch, drawn anew with every seed.
    counts = {
        tuple(int((np.asarray(x) > 0.5).all(axis=-1).sum()) for x in image)
        for image in floats
    }
    assert counts == {(16**2, 16**2), (48**2, 48**2)}
