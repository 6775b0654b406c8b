"""Two logical CPU devices for the whole suite, before TensorFlow starts."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)


# Files whose tests take seconds each: processes, training steps, exports, whole runs.
SLOW = (
    "cli/test_bad_files.py",
    "cli/test_interrupted.py",
    "cli/test_registry_command.py",
    "cli/test_tag.py",
    "cli/test_video_commands.py",
    "data/test_pipeline.py",
    "data/test_tfrecord.py",
    "desk/",
    "docs/",
    "export/",
    "registry/test_jobs.py",
    "provenance/test_resolution.py",
    "provenance/test_round_trip.py",
    "registry/test_load.py",
    "tagging/test_file_jobs.py",
    "test_lite.py",
    "test_serving.py",
    "test_weights.py",
    "trainers/",
    "video/",
    "web/",
)


def pytest_collection_modifyitems(items):
    """`pytest -m "not slow"` finishes in about a minute."""
    tests = pathlib.Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(tests):
            name = item.path.relative_to(tests).as_posix()
            if name.startswith(SLOW):
                item.add_marker(pytest.mark.slow)
