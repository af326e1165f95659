"""The errors that a user can cause, each with its exit code.

0 means success and 1 a bug of ours. 129, 130 and 143 mean that a lost terminal, an interrupt or a request to terminate
ended a run, and 141 that a pipe was closed.
"""

from __future__ import annotations

import errno
import re

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None

RLIM_INFINITY = -1
# The words of torch, for a CPU and for a GPU, and of C++ when memory has run out.
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|bad_alloc|Cannot allocate memory", re.I)
BYTES_ASKED = re.compile(r"(?:allocate|allocated?:?) ([\d.]+) ?(bytes|[KMGTPE]iB)", re.I)
UNITS = {"bytes": 1} | {f"{prefix}iB": 1 << 10 * power for power, prefix in enumerate("KMGTPE", 1)}
# The errors of a full disk, a used-up quota and a file that has reached its largest size.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The exit code for each way of ending a run from outside.
STOP_CODES = {"interrupt": 130, "terminate": 143, "hangup": 129}


def printable(text: str, limit: int = 60) -> str:
    """Return any text fit for a message: control characters are escaped, and a long text loses its middle.

    Args:
        text: which may come from anybody.
        limit: about how many characters stay.
    """
    if len(text) > limit:
        text = f"{text[: 2 * limit // 3]}...{text[len(text) - limit // 3 :]}"
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return "".join(escaped) or "''"


def reason_of(error: OSError) -> str:
    """Return why the operating system refused something, in its own words, with the shell's limit if that is why."""
    reason = (error.strerror or str(error)).lower()
    if error.errno != errno.EFBIG or resource is None:
        return reason
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return f"{reason} for its file system"
    return f"{reason}: the shell allows a file {limit:,} bytes (ulimit -f)"


def out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """Return the error to report when memory has run out, with the bytes asked for; None for any other error.

    Python and NumPy raise a MemoryError, torch raises a RuntimeError with its own wording, and a library that does not
    fit raises an ImportError.
    """
    words = str(error)
    is_loading = isinstance(error, ImportError) and "failed to map segment" in words
    is_torchs = isinstance(error, RuntimeError) and NO_MEMORY.search(words)
    if not (isinstance(error, MemoryError) or is_loading or is_torchs):
        return None
    asked = BYTES_ASKED.search(words)
    needed = "the program itself needs more" if is_loading else "more is needed"
    if asked is not None:
        needed = f"{float(asked[1]) * UNITS[asked[2]]:,.0f} bytes more are needed"
    limit = memory_limit()
    has = "" if limit is None else f", and the shell allows this process {limit:,} bytes (ulimit -v)"
    return OutOfMemoryError(
        f"there is not enough memory: {needed}{has}; raise the limit, end other programs, or use a smaller model, "
        "batch or text"
    )


def memory_limit() -> int | None:
    """Return how many bytes of address space this process may use, or None without a limit."""
    limit = RLIM_INFINITY if resource is None else resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == RLIM_INFINITY else limit


class CharlmError(Exception):
    """Report in one sentence what is wrong, where, and what to do; this is the base of all errors a user can cause."""

    exit_code = 1


class ConfigError(CharlmError):
    """Report wrong usage or configuration, one problem on each line."""

    exit_code = 2


class OutOfMemoryError(ConfigError):
    """Report that something needs more memory than this process can get."""


class TextError(CharlmError):
    """Report a corpus, a prefix or another text that cannot be used."""

    exit_code = 3


class RunError(CharlmError):
    """Report a run or checkpoint that is missing, damaged or incompatible."""

    exit_code = 4


class DivergedError(CharlmError):
    """Report a loss that is no longer finite."""

    exit_code = 5


class StorageError(CharlmError):
    """Report failed input or output: a full disk, a read-only folder, a broken download."""

    exit_code = 6


class RunInUseError(CharlmError):
    """Report a run folder that another process owns, or has taken over."""

    exit_code = 7


class FailedTrialsError(CharlmError):
    """Report a sweep that has ended with failed trials."""

    exit_code = 8


class StoppedError(CharlmError):
    """Report a run that was ended by a signal, or that a signal kept from starting.

    Args:
        message: a sentence that says what was saved, and where.
        word: interrupt, terminate or hangup.
    """

    def __init__(self, message: str, word: str) -> None:
        super().__init__(message)
        self.exit_code = STOP_CODES[word]


class CharlmWarning(UserWarning):
    """Warn in one sentence that something was done differently from what was asked."""


class UnknownCharactersWarning(CharlmWarning):
    """Warn that a text has characters that the model does not know, and say what became of them."""
