"""Write a run's model into one file, to keep it or to pass it on."""

from __future__ import annotations

from pathlib import Path

from charlm.runs.checkpoints import Choice, load_checkpoint
from charlm.runs.durable import replace_file
from charlm.runs.model_file import ENDING, pack_model
from charlm.runs.outputs import check_output_file
from charlm.runs.run import Run, find_run, runs_folder


def export_model(
    run: Run | str | Path | None = None,
    path: str | Path | None = None,
    *,
    checkpoint: Choice = "best",
    license_line: str = "",
    force: bool = False,
    runs_dir: str | Path | None = None,
) -> Path:
    """Write the model of a run into one file, which is taken wherever a run is read.

    It holds weights, configuration, vocabulary and results, and no folder names.

    Args:
        run: a run, its name or its path; None takes the newest run that has a checkpoint.
        path: the file to write; None takes the run's name, with the ending .charlm, in the present folder.
        checkpoint: best, last, or the number of a step.
        license_line: a line about rights.
        force: whether to replace a file that exists.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
    Returns:
        The path of the file.
    Raises:
        RunError: for a run or a checkpoint that is missing or damaged.
        ConfigError: for a file that exists, and for anything that is not a file.
        StorageError: if the disk does not accept it.

    Example:
        >>> path = charlm.export_model("my-run", "mine.charlm", license_line="CC0")
        >>> charlm.generate(path, "the ", length=10) == charlm.generate("my-run", "the ", length=10)
        True
    """
    found = run if isinstance(run, Run) else find_run(run and str(run), folder=runs_folder(runs_dir))
    path = Path(found.name + ENDING if path is None else path)
    check_output_file(path, force=force, example=f"model{ENDING}")
    replace_file(path, pack_model(found, load_checkpoint(found, checkpoint), license_line=license_line))
    return path
