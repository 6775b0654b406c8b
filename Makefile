# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= drawn
RUN ?= runs/demo
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test lint bench tfa-parity clean

$(BIN)/.ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: $(BIN)/.ready  ## train, evaluate, export and read back, on drawn faces or DATA=folder
	$(BIN)/python -m trainers.faceswap --flagfile=configs/demo_faceswap.cfg \
	  --data=$(DATA) --output=$(RUN)/faceswap
	$(BIN)/python -m trainers.joint --flagfile=configs/demo.cfg \
	  --data=$(DATA) --swap_model=$(RUN)/faceswap --output=$(RUN)/joint
	$(BIN)/python -m export.tflite --tagger=$(RUN)/joint --output=$(RUN)/decoder.tflite
	$(BIN)/python -m trainers.evaluate --flagfile=configs/demo_evaluate.cfg \
	  --data=$(DATA) --swap_model=$(RUN)/faceswap --tagger=$(RUN)/joint \
	  --tflite=$(RUN)/decoder.tflite --output=$(RUN)
	$(BIN)/python -m faketagger_tf.lite $(RUN)/decoder.tflite \
	  $(RUN)/tagged.png $(RUN)/swapped.jpg

test: $(BIN)/.ready  ## the whole test suite, offline
	$(BIN)/python -m pytest

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(BIN)/.ready  ## speed on this machine; nothing is asserted
	$(BIN)/python -m benchmarks.channel_code
	$(BIN)/python -m benchmarks.training_step

# The reference environment holds tensorflow-addons, which needs TF 2.15 and Python 3.11.
.venv-tfa/.ready: requirements-tfa.txt
	python3.11 -m venv .venv-tfa
	.venv-tfa/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

tfa-parity: .venv-tfa/.ready $(BIN)/.ready
	.venv-tfa/bin/python -m benchmarks.tfa_parity --write=tests/manipulations/tfa_reference.npz
	$(BIN)/python -m benchmarks.tfa_parity --compare=tests/manipulations/tfa_reference.npz

clean:  ## remove environments and runs
	rm -rf .venv .venv-tfa runs build
