"""Tag face photos so that the tag survives deepfakes, and read it back.

Importing this package does not import TensorFlow; `Tagger` does, on first use.
"""

import importlib

__all__ = ["Reading", "Tagger"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.tagger"), name)
