"""Importing this module registers the cards with SeqIO: for SeqIO's own programs, which take modules to import.

    export FLAN_T5X_ROOT=mirror FLAN_T5X_CARDS=my_chats.yaml:more_cards/ FLAN_T5X_VOCABULARY=spiece.model
    seqio_cache_tasks --module_import=t5x_tasks.seqio_tasks --tasks='support_chats\\..*' --output_cache_dir=gs://bucket/cache

Needs `pip install flan-t5x[beam]`. Beam's workers import the module again. Where they do not inherit the environment (a
cluster), give them a module of your own, which says the same:

    import t5x_tasks

    t5x_tasks.install(root="gs-mounted/mirror", cards=["my_chats.yaml"], vocabulary="hf://google/flan-t5-base")

What was cached is then read by `task.get_dataset(..., use_cached=True)` after `seqio.add_global_cache_dirs([...])`.
"""

import os

import t5x_tasks

t5x_tasks.install(
    root=os.environ.get("FLAN_T5X_ROOT") or None,
    cards=list(filter(None, os.environ.get("FLAN_T5X_CARDS", "").split(os.pathsep))),
    vocabulary=os.environ.get("FLAN_T5X_VOCABULARY") or None,
)
