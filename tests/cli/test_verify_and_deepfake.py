import json

import keras
import numpy as np
import pytest

from faketagger_tf.models import (
    FaceswapConfig,
    LatentConfig,
    build_faceswap,
    build_latent,
)
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import save_faceswap, save_latent


@pytest.fixture
def swap_model(tmp_path):
    # Untrained, but always the same: some random faces are no longer found as faces.
    keras.utils.set_random_seed(1)
    config = FaceswapConfig(width=4, latent=16)
    save_faceswap(tmp_path / "swap", config, build_faceswap(config))
    return tmp_path / "swap"


def test_deepfake_and_verify(faketagger, tmp_path, photo, swap_model, capsys):
    tagged, fake, heat = (tmp_path / n for n in ("t.png", "fake.png", "heat.png"))
    faketagger("tag", photo, tagged, "--payload=1F2E3D4C", "--strength=1")
    assert faketagger("deepfake", tagged, fake, f"--model={swap_model}") == 0
    before, after = read_photo(tagged).astype(int), read_photo(fake).astype(int)
    change = np.abs(after - before).mean(2)
    # The face's middle changed, the hair and the photo's border did not.
    assert change[100:150, 100:160].mean() > 5
    assert change[:30].max() == 0 and change[:, :30].max() == 0
    assert (
        faketagger(
            "deepfake",
            tagged,
            tmp_path / "x.png",
            f"--model={swap_model}",
            "--identity=C",
        )
        == 2
    )
    capsys.readouterr()
    assert faketagger("verify", tagged, tagged, "--json") == 0
    same = json.loads(capsys.readouterr().out)
    assert same["intact"] and same["faces"][0]["changed_face"] == 0
    faketagger("verify", tagged, fake, "--json", f"--output={heat}")
    faked = json.loads(capsys.readouterr().out)["faces"][0]
    assert faked["changed_face"] > 0.3 > 0.1 > faked["changed_around"]
    assert read_photo(heat).shape == (256, 768, 3)
    assert faketagger("verify", photo, fake) == 2
    assert "must carry a tag" in capsys.readouterr().err
    assert faketagger("verify", tagged, photo) == 1


@pytest.mark.parametrize(
    ("method", "flags", "told"),
    [
        ("graphicswap", ["--donor=composite1"], "swapped to composite1"),
        ("reenact", ["--expression=mouth=0.8,turn=0.4"], "given another expression"),
        ("edit", ["--attribute=glasses", "--amount=1"], "edited: glasses by 1"),
        ("regenerate", ["--noise=0.1"], "with noise 0.1"),
    ],
)
def test_other_methods(faketagger, tmp_path, photo, capsys, method, flags, told):
    if method in ("edit", "regenerate"):
        config = LatentConfig(channels=2, width=4, blocks=0)
        save_latent(tmp_path / "latent", config, build_latent(config))
        flags = [*flags, f"--latent={tmp_path / 'latent'}"]
    fake = tmp_path / "fake.png"
    assert faketagger("deepfake", photo, fake, f"--method={method}", *flags) == 0
    assert told in capsys.readouterr().out
    before, after = read_photo(photo).astype(int), read_photo(fake).astype(int)
    assert np.abs(after - before)[100:150, 100:160].mean() > 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method=reenact", "--donor=drawn1"], "--donor is for --method=graphicswap"),
        (["--latent=unseen"], "--latent is for --method=edit or regenerate"),
        (["--method=edit", "--attribute=hat"], "no attribute 'hat'. Accepted: blond"),
        (["--method=edit", "--amount=2"], "amount must be from 0 to 1. Received: 2"),
        (["--method=edit", "--region=hat"], "no region 'hat'. Accepted: face, canvas"),
        (["--noise=0.1"], "--noise is for --method=regenerate"),
        (["--method=regenerate", "--noise=9"], "--noise must be from 0 to 2"),
        (["--method=reenact", "--expression=grin=1"], "no argument 'grin'"),
        (["--method=graphicswap", "--donor=me"], "no donor 'me'"),
        (["--method=regenerate", "--latent=nowhere"], "no latent model 'nowhere'"),
    ],
)
def test_flags_that_do_not_fit(faketagger, tmp_path, photo, capsys, flags, message):
    assert faketagger("deepfake", photo, tmp_path / "x.png", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_a_damaged_suspect_is_compared(faketagger, tmp_path, photo, capsys):
    tagged, cut = tmp_path / "t.jpg", tmp_path / "cut.jpg"
    faketagger("tag", photo, tagged, "--payload=1F")
    cut.write_bytes(tagged.read_bytes()[:-2])
    capsys.readouterr()
    assert faketagger("verify", tagged, cut) == 0
    assert "SUSPECT: truncated or without its end" in capsys.readouterr().out
    assert faketagger("verify", tagged, cut, "--json") == 0
    assert "without its end" in json.loads(capsys.readouterr().out)["notes"][0]


def test_another_tag_in_its_place_is_told(faketagger, tmp_path, photo, capsys):
    ours, other = tmp_path / "ours.png", tmp_path / "other.png"
    faketagger("tag", photo, ours, "--payload=1F2E3D4C")
    faketagger("tag", photo, other, "--payload=00C0FFEE")
    capsys.readouterr()
    assert faketagger("verify", ours, other) == 1
    told = capsys.readouterr().out
    assert "payload 0x1F2E3D4C  gone, another tag in its place: 0x00C0FFEE" in told
    for suspect, payload in ((other, "0x00C0FFEE"), (ours, None), (photo, None)):
        faketagger("verify", ours, suspect, "--json")
        (face,) = json.loads(capsys.readouterr().out)["faces"]
        assert face["other_payload"] == payload
