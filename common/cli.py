"""How every command starts and fails: one line that names the thing and the remedy."""

import contextlib
import errno
import logging as python_logging
import os
import sys
from collections.abc import Callable

from absl import app, flags, logging

from common.console import screen

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_MORE = "close other programs, raise `ulimit -v`, or use smaller batches and images"


class _Message(python_logging.Formatter):
    """Shows what is logged as errors are shown, without the time, thread and line of code."""

    def format(self, record: python_logging.LogRecord) -> str:
        """Returns, for example, "warning: 1 image cannot be read"."""
        return f"{record.levelname.lower()}: {record.getMessage()}"


class UserError(Exception):
    """A user's mistake or a problem of the environment: one line that includes a remedy."""


def explain_os_error(error: OSError) -> str:
    """Returns one line about a file-system error: what happened, where, and what to do."""
    remedies = {
        errno.ENOSPC: "free some space or name another folder",
        errno.EDQUOT: "free some space or name another folder",
        errno.EROFS: "name a folder on a writable file system",
        errno.EACCES: "change its permissions or name another folder",
        errno.ENOENT: "check the path",
    }
    place = f" {error.filename!r}" if error.filename else ""
    remedy = remedies.get(error.errno or 0, "check the path and its file system")
    return f"{error.strerror or error}{place}; {remedy}"


def run(main: Callable[[], None]) -> None:
    """Parses the flags, runs `main` and turns a user's mistake into one line and exit code 1.

    Args:
      main: the command; it takes no arguments and reads its flags itself.

    Examples:
      >>> def entry_point(): cli.run(main)
    """
    app.run(lambda argv: _guarded(main, argv))


def run_with_files(main: Callable[[list[str]], None]) -> None:
    """Does the same as `run` for a command that takes file names besides its flags.

    Args:
      main: the command; it is called with the names.
    """
    app.run(lambda argv: _guarded(lambda: main(argv[1:]), argv[:1]))


def run_with_rest(main: Callable[[list[str]], None]) -> None:
    """Does the same as `run` for a command that passes unknown arguments on to another command.

    Args:
      main: the command; it is called with all arguments except its own flags.
    """
    app.run(
        lambda argv: _guarded(lambda: main(argv[1:]), argv[:1]),
        flags_parser=lambda argv: flags.FLAGS(argv, known_only=True),
    )


def _guarded(main: Callable[[], None], argv: list[str]) -> int:
    screen.protect()
    # tfds and Keras log a lot at INFO; what the user must see is printed, or logged as a warning.
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().setFormatter(_Message())
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; flags look like --name=value")
        _check_unicode(sys.argv[1:])
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except OSError as error:
        print(f"error: {explain_os_error(error)}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except UnicodeEncodeError as error:
        print(f"error: {_not_unicode(error.object)}", file=sys.stderr)
        return EXIT_ERROR
    except (MemoryError, RuntimeError, ImportError) as error:
        if not _is_shortage(error):
            raise
        print(f"error: there is not enough memory ({_first_line(error)}); {_MORE}", file=sys.stderr)
        return EXIT_ERROR
    return 0


def check_bounds(flag: str, value: float, low: float, high: float) -> None:
    """Raises UserError unless a flag's number is in its bounds; NaN is in none."""
    if value > high:
        raise UserError(f"--{flag} must be at most {high:.15g}; received {value}")
    if not value >= low:
        raise UserError(f"--{flag} must be at least {low:.15g}; received {value}")


def _check_unicode(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            # Libraries and JSON files take names as UTF-8 alone.
            raise UserError(_not_unicode(argument)) from None


def _not_unicode(name: str) -> str:
    with contextlib.suppress(UnicodeError):
        # The name is UTF-8, but Python was started for a terminal that is not.
        text = os.fsencode(name).decode()
        return f"{text[:200]!a} cannot be read with LC_ALL=C; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
    return f"{name[:200]!r} is not UTF-8 text, which all files of a run need; rename it"


def _is_shortage(error: Exception) -> bool:
    """Returns whether an error is for want of memory or threads, of any library."""
    words = ("can't start new thread", "cannot allocate memory", "failed to map segment")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
