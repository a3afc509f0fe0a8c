"""Sources: the rows of a data set, from a mirror folder, from files beside the card, from a library or from a function.

All go through the same checks and give the same `Row`s, so that what was tried offline holds online. What a card may say
under `source:` is in card/source.py.

    locate.py      where the rows of a split are, how many, and what tells one version of them from another
    named.py       which source reads a file, by its name
    files.py       JSON Lines, CSV, TSV and Parquet, plain or compressed
    libraries.py   the Hugging Face hub, TFDS, a user's own function
    templated.py   collections that others have templated: FLAN, P3, SuperNI
    rows.py        raw rows -> checked `Row`s

Imports neither TensorFlow nor `datasets` before a source needs them.
"""

from t5x_tasks.sources.locate import Location, count_rows, locate, source_digest
from t5x_tasks.sources.rows import Row, iter_rows, question, read_rows

__all__ = ["Location", "Row", "count_rows", "iter_rows", "locate", "question", "read_rows", "source_digest"]
