"""Command lines with overrides. Imports little: Ctrl-C and --help come before what takes its time."""

import argparse
import re
from collections.abc import Sequence


def parse_arguments(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parses a command line with `overrides`, which may also be behind options. One written as an option gets a hint."""
    options, rest = parser.parse_known_args(arguments)
    if unknown := [word for word in rest if word.startswith("-") or "=" not in word]:
        dotted = next((word.lstrip("-") for word in unknown if re.match(r"-+\w+\.\w", word)), None)
        hint = f"; values of the configuration have no dashes: {dotted.partition('=')[0]}=..." if dotted else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    options.overrides = [*options.overrides, *rest]
    return options
