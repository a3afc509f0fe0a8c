"""Seeded generator of customer-support chats with summaries: the data set `support_chats` that ships with the project.

`python -m t5x_tasks.support_chats --output DIR` writes the three splits and the vocabulary again.
"""
