"""Runs by Alembic, on the connection that `store.init_registry` hands over."""

from alembic import context

from faketagger_tf.registry.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA
)
with context.begin_transaction():
    context.run_migrations()
