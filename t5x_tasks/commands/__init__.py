"""What `python -m t5x_tasks COMMAND` does; each command is imported when it runs."""
