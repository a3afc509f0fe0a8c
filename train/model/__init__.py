"""T5 and its parts: layers, attention, loss, axes, presets, adapters. Imports nothing: config.py reads presets without JAX."""
