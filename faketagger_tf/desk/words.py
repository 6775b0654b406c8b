"""What the desk's numbers say, in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faketagger_tf.provenance.claims import Claim

NOTHING = 0.1  # p-values above it say nothing, see docs/registry.md.
_NAMES = ((1e12, "million million"), (1e9, "thousand million"), (1e6, "million"))


def once_in(p_value: float) -> str:
    """How often something with this probability happens.

    Example:
        >>> once_in(0.004), once_in(2e-7), once_in(1e-30)
        ('once in 250', 'once in 5 million', 'once in 10^30')
    """
    if p_value < 1e-15:
        power = 300 if p_value <= 0 else min(300, math.floor(-math.log10(p_value)))
        return f"once in 10^{power}"
    times = 1 / p_value
    for size, name in _NAMES:
        if times >= size:
            return f"once in {_round(times / size):,} {name}"
    return f"once in {_round(times):,}"


def _round(value: float) -> int:
    """Two digits are more than a p-value has."""
    return int(float(f"{value:.2g}"))


def blind(p_value: float) -> str:
    """What a p-value says of a tag with any payload."""
    if p_value > NOTHING:
        return "Read blind, nothing here looks like a tag (p above 0.1)."
    return (
        "Read blind, whatever the payload: a face without a tag looks as much like one "
        f"{once_in(p_value)} (p = {p_value:.1g})."
    )


def registered(p_value: float | None, payloads: int) -> str:
    """What a p-value says of a tag with one of the payloads on record."""
    if p_value is None or not payloads:
        return "There is no payload on record to compare it with."
    asked = f"Compared with the payloads on record (N = {payloads:,}):"
    if p_value > NOTHING:
        return f"{asked} nothing here is near to one (p above 0.1)."
    return (
        f"{asked} a face without a tag is as near to one of them {once_in(p_value)} "
        f"(p = {p_value:.1g})."
    )


def manifest(claim: Claim | None) -> str:
    """What the C2PA manifest on record says; `None` where it was not read."""
    told = "The photo on record was published with a "
    if claim is None:
        return f"{told}signed manifest."
    name = repr(claim.signer or "somebody without a name")
    return {
        "invalid": f"The manifest on record, said to be of {name}, does not hold: "
        f"{', '.join(claim.problems)}.",
        "unchecked": f"{told}manifest signed by {name}, an identity that nobody has "
        "checked.",
        "not trusted": f"{told}manifest signed by {name}, who is not on this desk's "
        "trust list.",
        "trusted": f"{told}manifest signed by {name}, who is on this desk's trust "
        "list.",
    }[claim.state]


def rate(fpr: float) -> str:
    """From when on a tag counts as found."""
    return (
        f"A tag counts as found if one of the two p is at most {fpr:.0e}: each of them "
        f"calls a face without a tag tagged {once_in(fpr)}."
    )
