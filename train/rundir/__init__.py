"""The files of a run directory and what is measured for them: lock, provenance, metrics, throughput, trackers, profile."""
