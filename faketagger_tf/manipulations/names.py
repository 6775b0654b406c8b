"""What a spec string may name."""

from __future__ import annotations

from collections.abc import Sequence


def named(kind: str, name: str, every: Sequence[str]) -> tuple[str, ...]:
    """Those that a spec string names; `*` is all of them.

    Args:
        kind: what they are, a word for the error.
        name: one of them, or `*`.
        every: all that there are; there may be none.

    Raises:
        ValueError: there is none of that name.

    Example:
        >>> named("donor", "*", ("drawn1", "drawn2"))
        ('drawn1', 'drawn2')
    """
    if name == "*" and every:
        return tuple(every)
    if name not in every:
        offered = f"{', '.join(every)}, or * for any" if every else "there are none"
        raise ValueError(f"There is no {kind} {name!r}. Accepted: {offered}.")
    return (name,)
