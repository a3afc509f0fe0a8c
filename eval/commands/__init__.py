"""The subcommands of `python -m eval`, one file each."""
