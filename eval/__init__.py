"""The evaluation binary: decode, score, report. `python -m eval --help`."""
