#!/usr/bin/env bash
# All that a CUDA device can say, in one go: conformance and timings, as results files with the card's name.
#   bash benchmarks/gpu.sh [FOLDER]
# Needs PyTorch and JAX with CUDA, and what lossproof needs; no network. What that machine lacks, msgspec
# perhaps, is brought along as a folder, made here for its Python and named there:
#   pip install --target .wheels --no-deps --only-binary=:all: --python-version 3.12 msgspec
#   PYTHONPATH=.wheels bash benchmarks/gpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-benchmarks/results}"
python -c "import lossproof" 2>/dev/null || pip install --no-deps --no-build-isolation -e .
card="$(python -c "import torch; print(torch.cuda.get_device_name().lower().replace(' ', '-'))")"
mkdir -p "$folder"
lossproof run -a torch-cuda -a jax -a optax --isolate --fail-on never --json "$folder/$card-conformance.json"
lossproof bench -d float32 -d float64 -d bfloat16 --threads all -a torch-cuda -a jax -a optax \
    --json "$folder/$card.json"
