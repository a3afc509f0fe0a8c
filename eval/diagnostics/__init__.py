"""Diagnostics of summaries beyond ROUGE: facts made up, people missed, copying, and what the model would believe.

`diagnose.diagnose` needs no model, no network and no JAX, and is on for every summarization task: about a second for 500
summaries. `probe.probe` needs the model.
"""
