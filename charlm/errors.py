"""Everything a user can cause, each kind with its exit code.

0 is success and 1 a bug of ours; 129, 130 and 143 are a run ended by a lost terminal, an interrupt and a request to
terminate, 141 is a closed pipe.
"""

from __future__ import annotations

import errno

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None

# Of a place that takes no more bytes: a disk, a quota, the longest file there may be.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What ends a run from outside, with its exit code.
STOP_CODES = {"interrupt": 130, "terminate": 143, "hangup": 129}


def printable(text: str, limit: int = 60) -> str:
    """Return a text that may come from anybody, fit for a message: control characters escaped, its middle left out.

    Args:
        limit: how many characters are left, about.
    """
    if len(text) > limit:
        text = f"{text[: 2 * limit // 3]}...{text[len(text) - limit // 3 :]}"
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return "".join(escaped) or "''"


def reason_of(error: OSError) -> str:
    """Return why the operating system refused something, in its own words; of a limit of the shell, which it is."""
    reason = (error.strerror or str(error)).lower()
    if error.errno != errno.EFBIG or resource is None:
        return reason
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return f"{reason} for its file system"
    return f"{reason}: the shell lets a file have {limit:,} bytes (ulimit -f)"


class CharlmError(Exception):
    """Tell the user in one sentence what is wrong, where, and what to do; the base of all such errors."""

    exit_code = 1


class ConfigError(CharlmError):
    """Report wrong usage or configuration; one problem a line."""

    exit_code = 2


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
    """Report a sweep that has ended and some of whose trials have failed."""

    exit_code = 8


class StoppedError(CharlmError):
    """Report a run ended by a signal, or one that a signal came before.

    Args:
        message: what was saved, and where.
        word: interrupt, terminate or hangup.
    """

    def __init__(self, message: str, word: str) -> None:
        super().__init__(message)
        self.exit_code = STOP_CODES[word]


class CharlmWarning(UserWarning):
    """Tell the user in one sentence what was done differently than asked for."""


class UnknownCharactersWarning(CharlmWarning):
    """Tell which characters of a text the model does not know, and what became of them."""
