"""`python -m faketagger_tf` is the command `faketagger`."""

from faketagger_tf.cli.main import run

if __name__ == "__main__":
    run()
