import datetime

import pytest
import sqlalchemy as sa

from faketagger_tf.registry import access
from faketagger_tf.registry.access import add_key, check_key, list_keys, revoke_key


def test_a_key_opens_its_scopes_until_it_is_revoked(registry):
    key = add_key(registry, "Zoë", ("trace", "tag"))
    assert key.startswith("ft_") and len(key) == 46
    assert check_key(registry, key, "trace").name == "Zoë"
    assert check_key(registry, key, "tag").scopes == ("trace", "tag")
    assert check_key(registry, key, "admin") is None
    for wrong in ("", key[:-1], key + "x", "ft_\udcff", "ü" * 10_000):
        assert check_key(registry, wrong, "trace") is None
    revoke_key(registry, "Zoë")
    (stored,) = list_keys(registry)
    assert stored.revoked >= stored.created
    assert check_key(registry, key, "trace") is None
    revoke_key(registry, "Zoë")
    assert list_keys(registry) == [stored]


def test_admin_opens_everything(registry):
    key = add_key(registry, "root", ["admin"])
    assert all(check_key(registry, key, scope) for scope in access.SCOPES)


def test_the_key_is_nowhere_in_the_database(registry):
    key = add_key(registry, "a", ["trace"])
    with registry.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM keys")).all()
    assert not any(key[3:] in str(value) for value in row)


def test_mistakes(registry):
    for scopes in ((), ("trace", "write")):
        with pytest.raises(ValueError, match="scopes must be some of"):
            add_key(registry, "a", scopes)
    with pytest.raises(ValueError, match="must have a name"):
        add_key(registry, " ", ["tag"])
    add_key(registry, "a", ["tag"])
    with pytest.raises(ValueError, match=r"already\. Received: 'a'"):
        add_key(registry, "a", ["tag"])
    with pytest.raises(ValueError, match="no key of that name"):
        revoke_key(registry, "b")
    with pytest.raises(ValueError, match="scope must be one of"):
        check_key(registry, "k", "write")


def test_an_older_registry_is_brought_up_to_date(url):
    """Records of the first tables stay, and the keys' table comes."""
    from alembic import command

    from faketagger_tf.registry import Record, RegistryError, init_registry, store

    registry = store.Registry(url)
    config = store._alembic()
    with registry.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    now = datetime.datetime.now(datetime.UTC)
    record = Record("p", "f.png", payload="0x00000001", state="reserved", created=now)
    with registry.begin() as connection:
        store.insert_record(connection, record)
    with pytest.raises(RegistryError, match=r"older tables \(0001\)"):
        store.open_registry(url)
    with init_registry(url) as newer:
        assert list(newer.find()) == [record]
        assert add_key(newer, "a", ["tag"])
    registry.close()
