"""`make test-beam` runs these; elsewhere Beam is not installed."""

import importlib.util

if importlib.util.find_spec("apache_beam") is None:
    collect_ignore_glob = ["*.py"]
