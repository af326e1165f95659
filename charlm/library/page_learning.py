"""Gather what the tab Learn of a page shows of a network beside other runs: curves, samples, findings, equations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from charlm.errors import CharlmError, CharlmWarning, printable
from charlm.insight.findings import Findings
from charlm.insight.worked_records import WorkedPart, WorkedStep
from charlm.library.inspecting import inspect
from charlm.library.models import Model
from charlm.library.worked import worked_step
from charlm.library.worked_markdown import arithmetic, number
from charlm.pages.learning import LearnData, sample_stages
from charlm.reports.comparison import compare
from charlm.reports.curves import MAX_NAME, marks_of
from charlm.reports.insight_pictures import gate_picture, gradient_picture, labels, memory_picture
from charlm.reports.learning import learning_picture
from charlm.reports.pictures import Picture
from charlm.reports.requests import Against, Request
from charlm.runs.checkpoints import Choice
from charlm.runs.json_records import Json
from charlm.runs.run import Run

# Told which network is inspected and what is measured, how much of it is done, and the total.
Report = Callable[[str, int, int], None]
T = TypeVar("T")
# Of what can be inspected, what a page shows.
DRAWN = ("gradients", "memory", "gates", "neurons")
AXES: dict[Against, str] = {"epoch": "epochs", "step": "steps", "chars": "characters seen", "time": "time"}


@dataclass(frozen=True)
class Learned:
    """What the tab shows, and what was found inside the page's own network; None if it was not inspected."""

    data: LearnData
    findings: Findings | None


def learned(
    model: Model,
    name: Run | Path,
    others: Sequence[Run | Path],
    *,
    checkpoint: Choice = "best",
    inspected: bool = True,
    report: Report | None = None,
) -> Learned:
    """Return what a page shows about how a network learned, beside other runs.

    What cannot be read or measured is left out, with a sentence that says so in the page and a warning.

    Args:
        model: the page's own network.
        name: its run, or its file.
        others: other runs and files, whose networks may be of any kind; a file has no learning curve.
        checkpoint: the checkpoint of the page's network; of the others, the best or the last one.
        inspected: whether to look inside the networks, which takes some seconds for each.
        report: called with what is measured, how much of it is done and the total.
    """
    notes: list[str] = []
    runs = [each for each in (name, *others) if isinstance(each, Run)]
    curves = _attempt(lambda: _curves(runs), notes) if runs else None
    own = _attempt(lambda: _look_inside(name, checkpoint, report), notes) or [] if inspected else []
    found = [*own, *(_look_at(others, checkpoint, notes, report) if inspected else ())]
    stages, num_stages = _attempt(lambda: _stages(model), notes) or ([], 0)
    step = _attempt(lambda: worked_step(model), notes)
    names = labels(found)
    data = LearnData(
        notes=tuple(dict.fromkeys(notes)),
        curves=curves or {},
        stages=stages,
        num_stages=num_stages,
        gradients=_drawn(gradient_picture(found)),
        memory=_drawn(memory_picture(found)),
        gates=_drawn(gate_picture(found)),
        readings=[_reading(name, each) for name, each in zip(names, found, strict=True)],
        equations=step and equations_of(step),
    )
    return Learned(data, own[0] if own else None)


def _attempt(make: Callable[[], T], notes: list[str]) -> T | None:
    """Return what is made; where that fails, None, with a note and a warning."""
    try:
        return make()
    except CharlmError as error:
        _tell("; ".join(str(error).splitlines()), notes)
        return None


def _tell(note: str, notes: list[str]) -> None:
    if note not in notes:
        warnings.warn(note, CharlmWarning, stacklevel=4)
        notes.append(note)


def _curves(runs: Sequence[Run]) -> dict[str, Picture]:
    """Return the learning curves of runs, by what they are drawn against."""
    comparison = compare(*runs)
    for sentence in comparison.left_out:
        warnings.warn(sentence, CharlmWarning, stacklevel=4)
    # As in the other charts, each run has its name, and not the settings in which it differs.
    names = [f"{printable(row.name, MAX_NAME)}{marks_of(row)}" for row in comparison.rows]
    pictures = {AXES[x]: learning_picture(comparison, Request(x=(x,)), labels=names) for x in AXES}
    return {name: picture for name, picture in pictures.items() if not picture.is_empty}


def _stages(model: Model) -> tuple[list[Json], int]:
    if not isinstance(model.run, Run):
        return [], 0
    tables = model.run.samples()
    return sample_stages(tables, model.run.history().evaluations), len(tables)


def _look_at(
    others: Sequence[Run | Path], checkpoint: Choice, notes: list[str], report: Report | None
) -> Iterator[Findings]:
    """Yield what is found inside each other network that can be inspected."""
    of_others: Choice = "best" if isinstance(checkpoint, int) else checkpoint
    for each in others:
        yield from _attempt(partial(_look_inside, each, of_others, report), notes) or ()


def _look_inside(name: Run | Path, checkpoint: Choice, report: Report | None) -> list[Findings]:
    def told(what: str, done: int, total: int) -> None:
        if report:
            report(f"{name.name}: {what}", done, total)

    return inspect(name, show=DRAWN, checkpoint=checkpoint, report=told)


def _reading(name: str, found: Findings) -> str:
    """Return a sentence about what a network is and what it read."""
    half = f", {found.half}" if found.half else ""
    network = f"{name}, step {found.step:,}: {found.network}{half}"
    if found.reading is None:
        return f"{network}; its text is not there as it was in training, so only what needs no text is measured."
    return f"{network}; read {found.reading.num_chars:,} characters of {found.reading.name}."


def _drawn(picture: Picture) -> Picture | None:
    """Return a picture if there is something to draw."""
    return None if picture.is_empty else picture


def equations_of(step: WorkedStep) -> Json:
    """Return a worked step as the page shows it; its numbers are texts, as the guide writes them."""
    return {
        "run": step.run,
        "step": step.step,
        "network": step.network,
        "source": step.passage.source,
        "context": step.passage.context,
        "shown": step.passage.shown,
        "notes": list(step.notes),
        "parts": [_part(part) for part in step.parts],
    }


def _part(part: WorkedPart) -> Json:
    return {
        "title": part.title,
        "text": part.text,
        "unit": part.unit,
        "layer": part.layer,
        "lines": [
            {
                "symbol": line.symbol,
                "formula": line.formula,
                "numbers": arithmetic(line),
                "value": number(line.value),
                "norm": None if line.norm is None else number(line.norm),
                "meaning": line.meaning,
            }
            for line in part.lines
        ],
    }
