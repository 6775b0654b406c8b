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
    fields = {field.name for field in dataclasses.fields(TaggerConfig)}
    assert set(json.loads(path.read_text())) == fields | {"format", "anchor", "code"}


def test_the_file_records_how_a_tag_is_laid_out():
    about = json.loads(TaggerConfig().to_json())
    assert about["format"] == 1
    assert about["anchor"] == {
        "detector": "mtcnn",
        "detector_version": 1,
        "landmarks": "arcface-5",
    }
    # The CRC of ITU-T G.704 has the polynomial x^4 + x + 1.
    assert about["code"]["name"] == "BCH(63,36) extended to 64"
    assert about["code"]["crc"] == "0x3"


def test_a_file_of_before_the_format_version_is_version_1(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"image_size": 64, "psnr": 36.0}')
    config = TaggerConfig.load(path)
    assert config == TaggerConfig(image_size=64, psnr=36.0)
    assert (config.outside, config.strength) == ("repeat", "scheduled")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 2, "colour_space": "unheard of"},
            "was written by a later release and cannot be read. "
            "Received: format 2. Accepted: 1.",
        ),
        ({"format": 0}, "no valid format version.*Received: format 0"),
        ({"format": "1"}, "no valid format version.*Received: format '1'"),
        (
            {"anchor": {"detector": "blazeface", "detector_version": 3}},
            "needs another anchor.*blazeface.*Accepted.*mtcnn",
        ),
        ({"code": {"name": "LDPC"}}, "needs another code.*LDPC.*Accepted.*BCH"),
        ({"code": None}, "needs another code.*null.*Accepted.*BCH"),
    ],
)
def test_what_this_release_cannot_read_is_named(tmp_path, change, message):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(TaggerConfig().to_json()) | change))
    with pytest.raises(ValueError, match=message):
        TaggerConfig.load(path)


def test_inputs_of_the_encoder():
    assert TaggerConfig().encoder_inputs == ("cover", "message", "psnr")
    assert TaggerConfig(strength="learned").strength_input is None
    config = TaggerConfig(strength="visibility", outside="black")
    assert config.encoder_inputs == ("cover", "message", "scale", "level")
    assert config.strength_input == "level"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 100}, "image_size.*100"),
        (
            {"strength": "visibility", "outside": "black", "linear_path": False},
            "needs the linear path. Received: linear_path=False",
        ),
        ({"image_size": "64"}, "image_size.*'64'"),
        ({"payload_bits": 65}, "payload_bits \\+ crc_bits.*65 \\+ 4 > 64"),
        ({"message_bits": 0}, "message_bits.*0"),
        ({"strength": "strong"}, "strength.*scheduled, learned.*'strong'"),
        ({"outside": "white"}, "outside.*repeat, black.*'white'"),
        ({"level": 5.0}, "level.*5.0"),
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
