# The code with its locked packages, for NVIDIA GPUs or for TPUs:
#
#   docker build --build-arg EXTRA=cuda --tag flan-t5x:cuda .
#   docker build --build-arg EXTRA=tpu --tag flan-t5x:tpu .
#
# CUDA's libraries come with JAX's wheels; the machine brings the driver alone. No token goes in here: give it when it runs.
FROM python:3.12-slim

RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /app

ARG EXTRA=cuda
# The packages first: they change less often than the code.
COPY requirements-${EXTRA}.lock ./
RUN python -m venv .venv \
    && .venv/bin/pip install --quiet --no-cache-dir uv==0.13.8 \
    && .venv/bin/uv pip install --no-cache --compile-bytecode --python .venv/bin/python --require-hashes \
       --requirements requirements-${EXTRA}.lock
COPY . .
RUN .venv/bin/uv pip install --no-cache --python .venv/bin/python --no-deps --no-build-isolation --editable . \
    && touch .venv/installed-${EXTRA} \
    && useradd --uid 1000 --create-home user && mkdir --parents runs && chown user runs

ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
USER user
CMD ["python", "-m", "train", "--help"]
