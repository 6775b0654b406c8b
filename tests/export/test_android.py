"""The Android page names what the exported files really hold."""

import pathlib
import re

from export import tflite

PAGE = pathlib.Path(tflite.__file__).parent / "android" / "README.md"


def test_kotlin_uses_the_sidecars_names(config):
    page = PAGE.read_text("utf-8")
    about = tflite.description(config, "decoder")
    (source,), (target,) = about["inputs"], about["outputs"]
    maps = re.findall(r'mapOf\("(\w+)" to \w+\)', page)
    assert maps == [source["name"], target["name"]]
    assert f'), "{about["signature"]}"\n' in page
    keys = re.findall(r'about\.get\w+\("(\w+)"\)', page)
    assert keys == ["image_size", "message_bits"]
    assert set(keys) <= set(about)
    assert source["range"] == [0.0, 1.0]
    assert page.count("/ 255f)") == 3
    assert source["shape"][0] == target["shape"][0] == 1


def test_prose_names_what_is_there(config):
    prose = " ".join(PAGE.read_text("utf-8").split("```")[-1].split())
    about = tflite.description(config, "encoder")
    names = [tensor["name"] for tensor in about["inputs"] + about["outputs"]]
    for name in [about["signature"], *names, "generator", "payload_generator"]:
        assert f"`{name}`" in prose
    assert {"generator", "payload_generator"} <= set(about)
    codec = (PAGE.parents[2] / "web" / "codec.js").read_text("utf-8")
    for function in re.findall(r"`(\w+)` of `web/codec.js`", prose):
        assert f"export function {function}(" in codec
