"""Apache Beam pipelines: a photo library on one machine or many; see docs/scale.md."""
