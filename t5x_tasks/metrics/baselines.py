"""Summaries that need no model: what a model has to beat."""


def lead(dialogue: str, k: int = 3) -> str:
    """Returns the first k utterances with their speakers, joined by a space."""
    return " ".join(dialogue.split("\n")[:k])


def longest(dialogue: str, k: int = 3) -> str:
    """Returns the k utterances with the most words, longest first, earlier ones first among equals."""
    return " ".join(sorted(dialogue.split("\n"), key=lambda utterance: -len(utterance.split()))[:k])
