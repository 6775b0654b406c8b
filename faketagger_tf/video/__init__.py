"""Tags in clips: streamed frame by frame, fixed to faces that are followed.

Needs PyAV, the extra [video].
"""

from __future__ import annotations

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")


def is_clip(path: str) -> bool:
    """Whether a file's name is a clip's.

    Example:
        >>> is_clip("holiday.MOV"), is_clip("holiday.jpg")
        (True, False)
    """
    return path.lower().endswith(EXTENSIONS)


def require_av() -> None:
    """Raises a ValueError where PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError(
            "Clips need the extra [video]. Received: no module 'av'. Accepted: after "
            'pip install "faketagger-tf[video]".'
        ) from None
