"""Prepares token caches: finds what is missing, tokenises in worker processes, writes ArrayRecord shards."""
