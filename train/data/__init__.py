"""From prepared splits to the batches of a step.

    stream.py     which example comes when
    packing.py    which examples share a row
    layout.py     rows as the arrays of a batch
    batches.py    blocks read ahead and cut into batches, resumable
    replay.py     rows of the tasks to keep, beside them

The first three import neither JAX nor TensorFlow.
"""
