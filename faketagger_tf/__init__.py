"""Tag face photos so that the tag survives deepfakes, and read it back.

Importing this package does not import TensorFlow; what it offers does, on first use.
"""

import importlib

DEFAULT_PRESET = "face128"  # What commands use unless told otherwise.
_LAZY = {
    "Reading": "tagging.tagger",
    "Tagger": "tagging.tagger",
    "load_preset": "presets",
}
__all__ = ["DEFAULT_PRESET", "Reading", "Tagger", "load_preset"]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
