import pytest

from faketagger_tf.provenance.binding import (
    algorithm_name,
    binding_value,
    decode_value,
    encode_value,
)


def test_names_of_algorithms():
    assert algorithm_name("face128") == "org.example.faketagger.face128"
    assert algorithm_name("a b/c", "uk.co.a-b") == "uk.co.a-b.faketagger.a_b_c"
    assert algorithm_name("p", "a.b", keyed=True) == "a.b.faketagger.p.keyed"
    assert algorithm_name("") == "org.example.faketagger.unpublished"


@pytest.mark.parametrize("domain", ["", "com", "com.", ".com", "Com.x", "a..b", "a.-b"])
def test_domains_that_are_none(domain):
    with pytest.raises(ValueError, match="reversed"):
        algorithm_name("face128", domain)


def test_values_have_whole_bytes():
    assert binding_value(0x1F, 32) == b"\0\0\0\x1f"
    assert binding_value(0xF, 4) == b"\x0f" and binding_value(0x1FF, 9) == b"\x01\xff"


def test_values_of_all_forms_of_base64():
    value = bytes.fromhex("fbefbe3fff")
    assert encode_value(value) == "++++P/8="
    for text in ("++++P/8=", "++++P/8", "----P_8", "    P/8="):
        assert decode_value(text) == value


@pytest.mark.parametrize("text", ["", "=", "a", "ä", "0x1F2E3D4C!", "a\nb="])
def test_values_that_are_no_base64(text):
    with pytest.raises(ValueError, match="must be base64"):
        decode_value(text)
