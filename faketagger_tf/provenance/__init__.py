"""Who vouches for a tagged photo: C2PA manifests, and the way back to them.

A signed photo carries two marks. Its manifest says what was done, by whom, and that the
photo is watermarked; platforms strip it. The tag stays in the pixels, and its payload
finds the manifest again in the registry.

- `certificates`: certificates and keys, and a chain for tests.
- `signing`: signs a tagged photo.
- `jumbf`: cuts a manifest store into its manifests.
- `claims`: what a manifest store claims, in plain values.
- `manifests`: manifest stores in the registry.
- `resolution`: the C2PA Soft Binding Resolution API, a router for FastAPI.

Needs the packages of `requirements-c2pa.txt`; no TensorFlow.
"""

from __future__ import annotations


def require_c2pa() -> None:
    """Imports the packages that sign, or raises a ValueError that names the remedy.

    Call it before importing `certificates`, `signing` or `claims`; the other modules do
    without.
    """
    try:
        import c2pa  # noqa: F401
        import cryptography  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"Signing needs C2PA's library. Received: no module {error.name!r}. "
            'Accepted: after pip install "faketagger-tf[c2pa]".'
        ) from None
