"""What ROUGE does not see of a summary: what it makes up, whom it misses, how much it copies, what the model would believe.

`diagnose.diagnose` needs no model, no network and no JAX, and is on for every summarization task: about a second for 500
summaries. `probe.probe` needs the model.
"""
