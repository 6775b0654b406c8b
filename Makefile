# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= drawn
RUN ?= runs/demo
PHOTOS ?= 400
# What the exports and the benchmarks take: a preset or a trained run's folder; the page
# takes a preset.
TAGGER ?= face128
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-fast test-jax test-web test-beam evaluate evaluate-refined lint bench bench-tagging bench-tracing visibility visibility-cvvdp bench-faces bench-tflite bench-serving bench-rivagan bench-video bench-scale compare compare-cvvdp experiments seed ablations web tfa-parity clean

$(BIN)/.ready: requirements.txt requirements-serving.txt requirements-registry.txt requirements-c2pa.txt requirements-video.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --editable .
	touch $@

demo: $(BIN)/.ready  ## train, evaluate, export and read back, on drawn faces or DATA=folder
	$(BIN)/python -m trainers.faceswap --flagfile=configs/demo_faceswap.cfg \
	  --data=$(DATA) --output=$(RUN)/faceswap
	$(BIN)/python -m trainers.joint --flagfile=configs/demo.cfg \
	  --data=$(DATA) --swap_model=$(RUN)/faceswap --output=$(RUN)/joint
	$(BIN)/python -m export.tflite --tagger=$(RUN)/joint --overwrite \
	  --output=$(RUN)/decoder.tflite
	$(BIN)/python -m trainers.evaluate --flagfile=configs/demo_evaluate.cfg \
	  --data=$(DATA) --swap_model=$(RUN)/faceswap --tagger=$(RUN)/joint \
	  --tflite=$(RUN)/decoder.tflite --output=$(RUN)
	$(BIN)/python -m faketagger_tf.lite --canvas --fpr=1e-3 $(RUN)/decoder.tflite \
	  $(RUN)/tagged.png $(RUN)/swapped.jpg

test: $(BIN)/.ready  ## the whole test suite, offline
	$(BIN)/python -m pytest --ignore=tests/web --ignore=tests/pipelines

test-fast: $(BIN)/.ready  ## the tests that take less than a second, in about a minute
	$(BIN)/python -m pytest --ignore=tests/web --ignore=tests/pipelines -m "not slow"

# Keras' JAX backend lives in an environment of its own: JAX slows TensorFlow's import.
.venv-jax/.ready: requirements-jax.txt
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

test-jax: $(BIN)/.ready .venv-jax/.ready  ## training on Keras' JAX backend
	$(BIN)/python -m pytest tests/test_joint.py tests/trainers/test_joint_xla.py \
	  tests/trainers/test_faceswap_xla.py

test-web: $(BIN)/.ready web/node_modules/.ready  ## the page in a headless Chromium
	$(BIN)/python -m pytest tests/web

# Beam needs an older Pillow and protobuf than the rest.
.venv-beam/.ready: requirements-beam.txt
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

test-beam: .venv-beam/.ready  ## the pipelines, in an environment without TensorFlow
	.venv-beam/bin/python -m pytest --confcutdir=tests/pipelines tests/pipelines pipelines

bench-scale: .venv-beam/.ready  ## the command beside the pipelines; PHOTOS=400
	.venv-beam/bin/python -m benchmarks.scale --photos=$(PHOTOS) --output=build/scale

evaluate: $(BIN)/.ready  ## the shipped presets on canvases, drawn faces or DATA=folder
	$(BIN)/python -m trainers.evaluate --flagfile=configs/face128_evaluate.cfg \
	  --data=$(DATA) --output=build/evaluate/face128
	$(BIN)/python -m trainers.evaluate --flagfile=configs/seed64_evaluate.cfg \
	  --data=$(DATA) --output=build/evaluate/seed64

evaluate-refined: $(BIN)/.ready  ## seed64's table for refined tags; several times as long
	$(BIN)/python -m trainers.evaluate --flagfile=configs/seed64_refined.cfg \
	  --data=$(DATA) --output=build/evaluate/seed64-refined

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(BIN)/.ready  ## speed on this machine; nothing is asserted
	$(BIN)/python -m benchmarks.channel_code
	$(BIN)/python -m benchmarks.training_step

bench-tagging: $(BIN)/.ready  ## photos a minute through `faketagger`
	$(BIN)/python -m benchmarks.tagging --tagger=$(TAGGER)

bench-tracing: $(BIN)/.ready  ## share of tags read back from the photos of DATA=folder
	$(BIN)/python -m faketagger_tf.evaluation.whole_photos --tagger=$(TAGGER) --data=$(DATA) \
	  --swap_model=unseen_skips --output=build/tracing

visibility: $(BIN)/.ready  ## FLIP, PSNR and SSIM of tags on the photos of DATA=folder
	$(BIN)/python -m faketagger_tf.evaluation.visibility --tagger=$(TAGGER) \
	  --promise=web --data=$(DATA) --pairs=build/pairs --output=build/visibility

# ColorVideoVDP needs torch, so it measures the pairs in an environment of its own.
.venv-cvvdp/.ready: requirements-cvvdp.txt
	$(PYTHON) -m venv .venv-cvvdp
	.venv-cvvdp/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

visibility-cvvdp: visibility .venv-cvvdp/.ready  ## ColorVideoVDP's JOD of the same pairs
	.venv-cvvdp/bin/python faketagger_tf/evaluation/cvvdp.py build/pairs build/visibility-cvvdp.md

bench-faces: $(BIN)/.ready  ## the face detector beside its Keras path, on DATA=folder
	$(BIN)/python -m benchmarks.faces --data=$(DATA)

bench-tflite: $(BIN)/.ready  ## size, latency and agreement of every decoder file
	$(BIN)/python -m benchmarks.tflite --tagger=$(TAGGER) --data=$(DATA) \
	  --output=build/tflite.md

bench-serving: $(BIN)/.ready  ## throughput and latency of the HTTP server; PHOTO=file
	$(BIN)/python -m export.saved_model --tagger=$(TAGGER) --overwrite \
	  --output=build/models/faketagger
	$(BIN)/python -m benchmarks.serving --model=build/models/faketagger \
	  --photo=$(PHOTO) --output=build/serving.md

bench-video: $(BIN)/.ready  ## clips from the portraits of DATA=folder: tagged, changed, read; speed
	$(BIN)/python -m benchmarks.video --tagger=$(TAGGER) --data=$(DATA) \
	  --untagged=200 --output=build/video
	$(BIN)/python -m benchmarks.video_speed --tagger=$(TAGGER)

# RivaGAN runs on ONNX Runtime; its package's other dependencies are left out.
.venv-rivagan/.ready: requirements-rivagan.txt
	$(PYTHON) -m venv .venv-rivagan
	.venv-rivagan/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	.venv-rivagan/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps invisible-watermark==0.2.0
	touch $@

bench-rivagan: .venv-rivagan/.ready  ## our decoder's speed beside RivaGAN's
	.venv-rivagan/bin/python -m benchmarks.rivagan \
	  faketagger_tf/weights/face128/decoder.tflite

# The rivals' packages ask for PyTorch, of which nothing here is used.
.venv-rivals/.ready: requirements-rivals.txt
	$(PYTHON) -m venv .venv-rivals
	.venv-rivals/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	.venv-rivals/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps invisible-watermark==0.2.0 blind-watermark==0.4.4
	touch $@

COMPARE = $(BIN)/python -m faketagger_tf.evaluation.compare --tagger=$(TAGGER) --data=$(DATA) \
  --python=.venv-rivals/bin/python --large_swap_model=unseen_large --latent_model=unseen \
  --output=build/compare

compare: $(BIN)/.ready .venv-rivals/.ready  ## our tag beside three rivals, on the photos of DATA=folder
	$(COMPARE)

compare-cvvdp: $(BIN)/.ready .venv-rivals/.ready .venv-cvvdp/.ready  ## the same, also by ColorVideoVDP; sets up torch, 6 GB
	$(COMPARE) --cvvdp=.venv-cvvdp/bin/python

experiments: $(BIN)/.ready  ## the paper's kinds of deepfake, on the photos of DATA=folder
	$(BIN)/python -m trainers.experiments --tagger=$(TAGGER) --data=$(DATA) \
	  --output=build/experiments

seed ablations: $(BIN)/.ready  ## trains and measures configs/seed or configs/ablations
	$(BIN)/python -m trainers.experiments --experiment=$@ --data=$(DATA) --output=runs/$@

web/node_modules/.ready: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web: web/node_modules/.ready  ## the browser page of the preset TAGGER, in build/web
	node web/build.mjs build/web faketagger_tf/weights/$(TAGGER)

# The reference environment holds tensorflow-addons, which needs TF 2.15 and Python 3.11.
.venv-tfa/.ready: requirements-tfa.txt
	python3.11 -m venv .venv-tfa
	.venv-tfa/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

tfa-parity: .venv-tfa/.ready $(BIN)/.ready  ## our image operations against tensorflow-addons
	.venv-tfa/bin/python -m benchmarks.tfa_parity \
	  --write=tests/manipulations/tfa_reference.npz
	$(BIN)/python -m benchmarks.tfa_parity \
	  --compare=tests/manipulations/tfa_reference.npz

clean:  ## remove environments and runs
	rm -rf .venv .venv-jax .venv-tfa .venv-rivagan .venv-rivals .venv-cvvdp .venv-beam runs build
