"""Everything a user can cause, each kind with its exit code.

0 is success and 1 a bug of ours; 130 and 143 are an interrupted and a terminated run, 141 a closed pipe.
"""


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


class StoppedError(CharlmError):
    """Report a run ended by a signal after its checkpoint was saved.

    Args:
        message: what was saved, and where.
        exit_code: 130 for an interrupt, 143 for a termination.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
