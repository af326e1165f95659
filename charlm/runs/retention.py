"""Which checkpoints of a run stay when it is thinned out.

Besides the best checkpoint and the last one, from which a run is resumed, some stay whatever is asked for: the last one
that was evaluated, to which a diverged run returns; those that other runs started from; and those that cannot be read,
any of which may be the best.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Literal

from charlm.errors import RunError
from charlm.runs.checkpoints import by_figure, read_checkpoint, step_of
from charlm.runs.recognition import foreign_in_checkpoint
from charlm.runs.run import Run

Keep = Literal["best", "last"]


def kept_checkpoints(run: Run, paths: Sequence[Path], keep: Keep, parents: Container[int]) -> dict[Path, list[str]]:
    """Return the checkpoints that stay, with the reasons.

    Args:
        run: the run.
        paths: its checkpoints, oldest first.
        keep: which one stays besides the last.
        parents: the steps that other runs started from.
    Raises:
        RunError: if the run's records are not a regular file.
    """
    ranked, unknown = by_figure(paths)
    evaluated = {0, *(each.step for each in run.history().evaluations if not each.is_closing)}
    newest = [path for path in paths[::-1] if path not in unknown]
    # Of two with the same step, a save was killed while one replaced the other; the newer one is enough.
    newer = {step_of(path): path for path in newest[::-1]}
    best = dict.fromkeys(each for path in ranked for each in (newer[step_of(path)], path))
    candidates = {
        "best": list(best) if keep == "best" else [],
        "last": newest,
        "evaluated": [path for path in newest if step_of(path) in evaluated],
    }
    reasons: dict[Path, list[str]] = {path: [] for path in paths}
    damaged = dict.fromkeys(unknown, True)
    for reason, ordered in candidates.items():
        for path in ordered:
            if path not in damaged:
                damaged[path] = not _is_whole(path)
            if not damaged[path]:
                reasons[path].append(reason)
                break
            # Whoever loads it passes it over, and the next one takes its place.
    for path in paths:
        reasons[path] += ["parent"] if step_of(path) in parents else []
        reasons[path] += ["unreadable"] if damaged.get(path) else []
        if not reasons[path] and foreign_in_checkpoint(path):
            reasons[path].append("foreign")
    return {path: why for path, why in reasons.items() if why}


def _is_whole(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except RunError:
        return False
    return True
