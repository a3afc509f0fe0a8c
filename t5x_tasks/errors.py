"""What the user got wrong, said in one line; and the exit codes of every command."""

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn


class UserError(Exception):
    """Something that the user can put right: a key, a file, a row.

    The message is one line, `where: what; what to do`. Commands print it and exit with code 2, without a traceback.
    """


class Failure(Exception):
    """What failed by itself and is understood, so that one line says more than a traceback: commands exit with code 1."""


def one_line(error: BaseException, *, most: int = 300) -> str:
    """Another's error in one line of at most so many characters; with its class, where its words alone would say little."""
    words = str(error).split()
    return " ".join(words)[:most] if len(words) > 1 else f"{type(error).__name__} {''.join(words)}".strip()[:most]


def suggest(word: str, choices: Iterable[str]) -> str:
    """Returns `, did you mean CHOICE?` when a choice looks like the word, else an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


def run_cli(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Runs a command and exits: 0 success, 2 the user's mistake in one line, 130 Ctrl-C, 1 our own, mostly with a traceback."""
    try:
        code = main(sys.argv[1:]) or 0
    except (UserError, Failure) as error:
        sys.stdout.flush()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our output has gone: `... | head`
        sys.stderr.close()
        code = 0
    sys.exit(code)
