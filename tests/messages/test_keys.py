import numpy as np
import pytest

from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.keys import KeyedCode, read_key

KEY = b"a secret of more than sixteen bytes"


@pytest.mark.parametrize("bits", [1, 2, 7, 8])
def test_ciphering_is_one_to_one(bits):
    keyed = KeyedCode(KEY, bits, 64)
    images = [keyed.encipher(payload) for payload in range(1 << bits)]
    assert sorted(images) == list(range(1 << bits))
    assert [keyed.decipher(image) for image in images] == list(range(1 << bits))


def test_a_flipped_payload_bit_changes_half_of_the_cipher():
    keyed = KeyedCode(KEY, 32, 64)
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(200):
        payload = int(rng.integers(1 << 32))
        other = payload ^ (1 << int(rng.integers(32)))
        changes.append((keyed.encipher(payload) ^ keyed.encipher(other)).bit_count())
    assert 14.5 < np.mean(changes) < 17.5


def test_unscramble_undoes_scramble():
    keyed = KeyedCode(KEY, 32, 64)
    bits = np.random.default_rng(1).integers(0, 2, (5, 64)).astype(np.uint8)
    scrambled = keyed.scramble(bits)
    assert 0.3 < np.mean(scrambled != bits) < 0.7
    logits = keyed.unscramble(scrambled * 2.0 - 1.0)
    np.testing.assert_array_equal(logits > 0, bits > 0)


def test_with_another_key_no_code_word_is_near():
    code = MessageCode()
    words = code.encode(list(range(100)))
    logits = KeyedCode(KEY, 32, 64).scramble(words) * 2.0 - 1.0
    right = code.decode(KeyedCode(KEY, 32, 64).unscramble(logits))
    assert right.payloads == list(range(100)) and (right.corrected_bits == 0).all()
    wrong = code.decode(KeyedCode(KEY + b"!", 32, 64).unscramble(logits))
    assert wrong.corrected_bits.min() >= 4


def test_the_mapping_is_fixed_for_good():
    # Photos tagged today must be read by later versions.
    keyed = KeyedCode(b"0123456789abcdef", 32, 64)
    assert keyed.encipher(0x1F2E3D4C) == 0xB28CCC7C
    word = keyed.scramble(np.zeros((1, 64), np.uint8))[0]
    assert np.packbits(word).tobytes().hex() == "9c6ffe12b50000a4"
    assert keyed._order[:8].tolist() == [37, 63, 23, 57, 38, 5, 33, 16]


def test_key_files(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"  0123456789abcdef\n")
    assert read_key(path) == b"0123456789abcdef"
    path.write_bytes(b"short\n")
    with pytest.raises(ValueError, match="16 bytes"):
        read_key(path)
    with pytest.raises(ValueError, match="Cannot read the key file"):
        read_key(tmp_path / "missing")
    with pytest.raises(ValueError, match="16 bytes"):
        KeyedCode(b"short", 32, 64)


@pytest.mark.parametrize(
    "text", ["0123456789abcdef" * 4, "pass phrase of \u00e9t\u00e9"]
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"],
)
def test_the_same_text_is_the_same_key(tmp_path, text, end, encoding):
    """As Notepad, PowerShell's `>` and a shell store it."""
    path = tmp_path / "key"
    path.write_bytes((text + end).encode(encoding))
    assert read_key(path) == text.encode()


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_what_begins_like_text_and_is_none_is_refused(tmp_path, mark):
    path = tmp_path / "key"
    path.write_bytes(mark + bytes(range(128, 160)) + b"\xd8\x00\x00")
    with pytest.raises(ValueError, match="byte-order mark of utf"):
        read_key(path)


def test_drawn_bytes_stay_as_they_are(tmp_path):
    path = tmp_path / "key"
    rng = np.random.default_rng(5)
    for _ in range(300):
        key = b"k" + rng.bytes(31) + b"k"
        path.write_bytes(key)
        assert read_key(path) == key
