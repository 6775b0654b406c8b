"""Registries in SQLite and in a PostgreSQL server that a test run starts and stops."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pytest

from faketagger_tf.registry import init_registry


def _programs() -> str | None:
    """Folder of PostgreSQL's programs: Debian keeps them off the PATH."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(os.path.dirname(os.path.realpath(found)))
    return next((f for f in folders if os.path.exists(f"{f}/postgres")), None)


@pytest.fixture(scope="session")
def postgres():
    """URL of a server of our own, without the name of a database."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not below pytest's own folders, which the server's user may not enter.
    folder = tempfile.mkdtemp(prefix="faketagger-postgres-")
    options = {"cwd": folder, "env": {**os.environ, "LC_ALL": "C", "HOME": folder}}
    if os.geteuid() == 0:
        # The server refuses to run as root.
        users = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = users.get("postgres") or users["nobody"]
        options |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    try:
        with open(f"{folder}/log", "wb") as log:
            options |= {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            yield from _serve(programs, folder, options)
    finally:
        shutil.rmtree(folder)


def _serve(programs: str, folder: str, options: dict):
    data = f"{folder}/data"
    initdb = [f"{programs}/initdb", "-D", data, "-U", "tests"]
    initdb += ["--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, **options)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [f"{programs}/postgres", "-D", data, "-p", str(port), "-k", folder]
    server = subprocess.Popen([*command, "-h", "127.0.0.1", "-F"], **options)
    url = f"postgresql://tests@127.0.0.1:{port}"
    try:
        _wait(server, url)
        yield url
    finally:
        server.send_signal(signal.SIGQUIT)  # At once: nothing is to be kept.
        server.wait(timeout=60)


def _wait(server: subprocess.Popen, url: str) -> None:
    import psycopg

    for _ in range(300):
        assert server.poll() is None, "the PostgreSQL server has stopped"
        try:
            psycopg.connect(f"{url}/postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.2)
    raise AssertionError("the PostgreSQL server does not answer")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tags.db"
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture
def registry(url):
    with init_registry(url) as registry:
        yield registry
