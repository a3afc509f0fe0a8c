"""Compares systems on the same rows: scores and differences with intervals, ranks, slices, forgetting, sensitivity."""
