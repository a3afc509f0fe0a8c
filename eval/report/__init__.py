"""The report: what `python -m eval compare` reads, works out and writes. Imports neither JAX nor TensorFlow."""
