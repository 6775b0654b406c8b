"""Keys with which users of a server come to the registry.

    key = add_key(registry, "newsroom", ("trace", "tag"))   # shown once
    check_key(registry, key, "tag").name                    # "newsroom"

Not to be mixed up with the secrets of keyed tags, which are no part of the registry.
A key is 32 random bytes, so that its SHA-256, which is what is stored, needs neither
salt nor many rounds: nobody can try all keys.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from faketagger_tf.registry.store import Registry
from faketagger_tf.registry.tables import KEYS

SCOPES = ("trace", "tag", "admin")
_MARK = "ft_"  # By which a key that leaked into a text is recognised.


@dataclasses.dataclass(frozen=True)
class AccessKey:
    """What is stored of a key.

    Attributes:
        name: whose it is; unique.
        scopes: what it opens, of `SCOPES`; "admin" opens everything.
        created: UTC.
        revoked: UTC, or None.
    """

    name: str
    scopes: tuple[str, ...]
    created: datetime.datetime
    revoked: datetime.datetime | None = None

    def allows(self, scope: str) -> bool:
        """Whether the key opens a scope."""
        return self.revoked is None and ("admin" in self.scopes or scope in self.scopes)


def add_key(registry: Registry, name: str, scopes: Sequence[str]) -> str:
    """Makes a key and stores its digest; nobody can show the key again.

    Args:
        registry: where.
        name: whose it is; not one that there is, be it revoked.
        scopes: one or more of `SCOPES`.

    Returns:
        The key: "ft_" and 43 letters, digits, "-" and "_".

    Raises:
        ValueError: a scope that there is not, or a name that is empty or taken.
        RegistryError: the database fails.
    """
    scopes = tuple(dict.fromkeys(scopes))
    if not scopes or set(scopes) - set(SCOPES):
        raise ValueError(
            f"A key's scopes must be some of {', '.join(SCOPES)}. "
            f"Received: {', '.join(scopes) or 'none'}."
        )
    if not name.strip():
        raise ValueError(f"A key must have a name. Received: {name!r}.")
    key = _MARK + secrets.token_urlsafe(32)
    values = {
        "digest": _digest(key),
        "name": name,
        "scopes": " ".join(scopes),
        "created": datetime.datetime.now(datetime.UTC),
    }
    with registry.begin() as connection:
        query = sa.select(KEYS.c.name).where(KEYS.c.name == name)
        if connection.scalar(query) is not None:
            raise ValueError(
                f"There is a key of that name already. Received: {name!r}. "
                "Accepted: another name."
            )
        connection.execute(sa.insert(KEYS), values)
    return key


def check_key(registry: Registry, key: str, scope: str) -> AccessKey | None:
    """Returns what is known of a key that opens a scope; None if it does not.

    Args:
        registry: where.
        key: as a client sent it, of any length and content.
        scope: one of `SCOPES`.

    Raises:
        ValueError: there is no such scope.
        RegistryError: the database fails.
    """
    if scope not in SCOPES:
        raise ValueError(
            f"A scope must be one of {', '.join(SCOPES)}. Received: {scope!r}."
        )
    # By its digest: how long the look-up takes tells nothing about the key.
    query = sa.select(KEYS).where(KEYS.c.digest == _digest(key))
    found = _read(registry, query)
    return found[0] if found and found[0].allows(scope) else None


def list_keys(registry: Registry) -> list[AccessKey]:
    """Returns all keys, revoked ones too, oldest first.

    Raises:
        RegistryError: the database fails.
    """
    return _read(registry, sa.select(KEYS).order_by(KEYS.c.created, KEYS.c.name))


def revoke_key(registry: Registry, name: str) -> None:
    """Makes a key open nothing any more; again, or twice, is no error.

    Raises:
        ValueError: there is no key of that name.
        RegistryError: the database fails.
    """
    now = sa.literal(datetime.datetime.now(datetime.UTC), KEYS.c.revoked.type)
    statement = (
        sa.update(KEYS)
        .where(KEYS.c.name == name)
        .values(revoked=sa.func.coalesce(KEYS.c.revoked, now))
    )
    with registry.begin() as connection:
        if connection.execute(statement).rowcount == 0:
            raise ValueError(f"There is no key of that name. Received: {name!r}.")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _read(registry: Registry, query: sa.Select) -> list[AccessKey]:
    with registry.connect() as connection:
        rows = connection.execute(query).all()
    return [
        AccessKey(row.name, tuple(row.scopes.split()), row.created, row.revoked)
        for row in rows
    ]
