"""The run that another run starts from: found as every command finds runs, and opened at its best checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from charlm.errors import RunError, printable
from charlm.runs.checkpoints import FILES, Checkpoint, load_checkpoint, read_checkpoint, step_of
from charlm.runs.durable import ASIDE
from charlm.runs.model_file import ModelFile, is_model_file, read_model_file
from charlm.runs.run import CHECKPOINT_NAME, CONFIG, Run, find_run, is_run, is_sweep
from charlm.runs.tensors import MODEL_FILE
from charlm.runs.untrusted import open_folder, open_regular

NEWEST = "newest"
MAX_NAME = 1_000


@dataclass(frozen=True)
class Parent:
    """A checkpoint to start from.

    Args:
        run: its run.
        path: its folder, which names exactly these weights; or that of a model in one file.
        checkpoint: its content.
        weights_sha256: SHA-256 of the file with its weights.
        is_chosen: whether it was named itself, so that it need not be the run's best.
    """

    run: Run | ModelFile
    path: Path
    checkpoint: Checkpoint
    weights_sha256: str
    is_chosen: bool

    @property
    def notice(self) -> str | None:
        """A sentence that says that the run is not finished, so that a better checkpoint may follow; otherwise None."""
        if self.is_chosen or self.run.summary() is not None:
            return None
        return (
            f"the run {printable(self.run.name)} is not finished: training starts from its best checkpoint so far, "
            f"step {self.checkpoint.step:,}"
        )


def open_parent(name: str, *, folder: Path) -> Parent:
    """Open the checkpoint to start from.

    Args:
        name: a run's name or path, newest, or the path of a checkpoint or of a model in one file.
        folder: the folder of runs.
    Raises:
        RunError: if there is no such run or checkpoint, if it is damaged, or if its model is no language model.
    """
    parent = _of_file(Path(name)) if is_model_file(name, folder=folder) else _of_run(name, folder)
    if parent.checkpoint.settings.model.direction == "leaky":
        raise RunError(
            f"the model of the run {printable(parent.run.name)} reads its own target and is not a language model: "
            "start from another run"
        )
    if not _is_utf8(str(parent.path)):
        raise RunError(
            f"the path {printable(str(parent.path), MAX_NAME)} is not UTF-8 and cannot be recorded: rename it"
        )
    return parent


def _of_file(path: Path) -> Parent:
    with open_regular(path) as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    model = read_model_file(path)
    return Parent(model, path.absolute(), model.checkpoint, sha256, is_chosen=True)


def _of_run(name: str, folder: Path) -> Parent:
    chosen = Path(name) if _is_checkpoint(Path(name)) else None
    run = _run_of(chosen) if chosen else _find_run(name, folder)
    if chosen is None:
        checkpoint = load_checkpoint(run, "best")
        path = [each for each in run.checkpoint_paths() if step_of(each) == checkpoint.step][-1]
    else:
        path, checkpoint = chosen, read_checkpoint(chosen)
    sha256 = open_folder(path, FILES).entries[MODEL_FILE].sha256
    return Parent(run, path.absolute(), checkpoint, sha256, is_chosen=chosen is not None)


def full_path(name: str, *, folder: Path) -> str:
    """Return the absolute path of a run or checkpoint to start from, or the name unchanged if there is none.

    Args:
        name: as for `open_parent`.
        folder: the folder of runs, which other processes may not look in.
    """
    try:
        is_path = _is_checkpoint(Path(name)) or is_model_file(name, folder=folder)
        path = Path(name) if is_path else _find_run(name, folder).path
    except RunError:
        return name
    return str(path.absolute())


def is_same_start(asked: str, stored: str) -> bool:
    """Say whether a name or path means the run of a checkpoint that is stored by its absolute path, or itself."""
    checkpoint = Path(stored)
    run = checkpoint.parent.parent
    return asked in (stored, run.name) or Path(asked).absolute() in (checkpoint, run)


def _is_checkpoint(path: Path) -> bool:
    return CHECKPOINT_NAME.fullmatch(path.absolute().name) is not None and path.absolute().parent.name == "checkpoints"


def _run_of(checkpoint: Path) -> Run:
    """Return the run of a checkpoint.

    Raises:
        RunError: if either is missing.
    """
    run = Run(checkpoint.absolute().parent.parent)
    shown = printable(str(checkpoint), MAX_NAME)
    if not run.exists:
        raise RunError(f"there is no run {printable(str(run.path), MAX_NAME)}, whose checkpoint {shown} would be")
    if not checkpoint.exists():
        steps = ", ".join(path.name.removesuffix(ASIDE) for path in run.checkpoint_paths()) or "none"
        raise RunError(f"there is no checkpoint {shown}; the run {printable(run.name)} has {steps}")
    return run


def _find_run(name: str, folder: Path) -> Run:
    for path in (folder / name, Path(name)):
        if is_sweep(path):
            trials = sorted(each.parent for each in path.glob(f"*/{CONFIG}"))
            example = f", such as {printable(str(trials[0]), MAX_NAME)}" if trials else ""
            raise RunError(f"{printable(str(path), MAX_NAME)} is a sweep and not a run: name one of its runs{example}")
    is_newest = name == NEWEST and not any(is_run(path) for path in (folder / name, Path(name)))
    return find_run(None if is_newest else name, folder=folder)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
