"""TaggerConfig: round trip, and one clear sentence for every bad field."""

import dataclasses
import json

import pytest

from faketagger_tf.config import TaggerConfig


def test_round_trip(tmp_path):
    config = TaggerConfig(image_size=64, message_bits=16, payload_bits=8, psnr=33.5)
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert TaggerConfig.load(path) == config
    assert set(json.loads(path.read_text())) == {
        field.name for field in dataclasses.fields(TaggerConfig)
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 100}, "image_size.*100"),
        ({"image_size": "64"}, "image_size.*'64'"),
        ({"payload_bits": 65}, "payload_bits \\+ crc_bits.*65 \\+ 4 > 64"),
        ({"message_bits": 0}, "message_bits.*0"),
        ({"strength": "strong"}, "strength.*scheduled, learned.*'strong'"),
        ({"face_region": 1.5}, "face_region.*1.5"),
        ({"psnr": 200.0}, "psnr.*200"),
        ({"crc_bits": 40}, "crc_bits.*40"),
        ({"encoder_width": 30}, "encoder_width.*30"),
        ({"texture_mask": 2.0}, "texture_mask.*2.0"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        TaggerConfig(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image_sise": 64}', "image_sise.*Accepted: image_size"),
        ("[1, 2]", "JSON object.*list"),
        ('{"image_size": 64', "not valid JSON"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TaggerConfig.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        TaggerConfig.load(tmp_path / "absent.json")
