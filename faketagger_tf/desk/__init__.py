"""The desk: an HTTP server over the registry, and a page to look suspects up on.

    app = make_app(Tagger.load("face128"), open_registry("sqlite:///tags.db"))
    serve(app, make_listener("127.0.0.1", 8000))

`faketagger serve` does that. Needs `pip install '.[serving,registry]'`.
"""

from faketagger_tf.desk.app import make_app
from faketagger_tf.desk.limits import Limits, Refusal
from faketagger_tf.desk.server import make_listener, serve

__all__ = ["Limits", "Refusal", "make_app", "make_listener", "serve"]
