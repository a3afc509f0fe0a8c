"""The commands of `python -m t5x_tasks`; each is imported when it runs."""
