"""Checkpoints of a run: written by Orbax in the background, sealed with checksums, pruned, read (checkpointer.py)."""
