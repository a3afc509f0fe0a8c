"""Decoding with a key-value cache: greedy, beam search, sampling, logits processors, and the likelihood of given texts."""
