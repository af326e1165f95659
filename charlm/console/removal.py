"""Print what a removal takes away: one row for each run, and the total."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from charlm.console.columns import GAP, print_whole
from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.runs.checkpoints import step_of
from charlm.runs.pruning import Pruning, Thinning
from charlm.runs.removal import Removal
from charlm.text.notices import times

MAX_NAME = 1_000
MAX_NAMES = 5
# Why checkpoints stay that nobody has asked to keep.
REASONS = {
    "evaluated": "last evaluated",
    "parent": "another run started from it, or an ensemble has it",
    "foreign": "holds a file that is not charlm's",
    "unreadable": "cannot be read",
}


def show_removals(removals: Sequence[Removal]) -> None:
    """Print the runs that go, and what becomes of those that started from them."""
    rows = [(removal.name, _what_goes(removal), removal.num_bytes) for removal in removals]
    _print(("run", "what goes", "bytes"), [(name, (what,), num_bytes) for name, what, num_bytes in rows])
    console = console_for(sys.stdout)
    for removal in removals:
        name = printable(removal.name, MAX_NAME)
        if removal.heirs:
            one = len(removal.heirs) == 1
            keeps = "it keeps working" if one else "they keep working"
            console.print(f"{_listed(removal.heirs)} started from {name}: {keeps}")
        if removal.needed_by:
            console.print(f"{_listed(removal.needed_by)} cannot begin without {name}: no checkpoint there yet")
        if removal.ensembles:
            console.print(f"{name} is a member of {_listed(removal.ensembles)}: of no use without it")
        if removal.sweep:
            console.print(f"{name} is a trial of the sweep {printable(removal.sweep, MAX_NAME)}, which trains it again")


def show_pruning(pruning: Pruning) -> None:
    """Print the checkpoints that go and those that stay, for each run that loses any."""
    console = console_for(sys.stdout)
    if pruning.thinnings:
        rows = [(each.name, (_removed_text(each), _kept_text(each)), each.num_bytes) for each in pruning.thinnings]
        _print(("run", "what goes", "what stays", "bytes"), rows)
    else:
        console.print("there is no checkpoint to remove")
    if pruning.younger:
        console.print(
            f"left as they are, because they were written too recently for --older: {_listed(pruning.younger)}"
        )


def _print(titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str], int]]) -> None:
    """Print a table of names, texts and bytes, with the total where there are several rows."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for title in titles:
        is_number = title == "bytes"
        table.add_column(Text(title), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    total = 0
    for name, texts, num_bytes in rows:
        table.add_row(Text(printable(name, MAX_NAME)), *map(Text, texts), Text(f"{num_bytes:,}"))
        total += num_bytes
    table.add_row(
        Text("total"),
        *[Text("")] * (len(titles) - 2),
        Text(f"{total:,}"),
        style="bold" if is_live(sys.stdout) else None,
    )
    print_whole(console_for(sys.stdout), table)


def _what_goes(removal: Removal) -> str:
    checkpoints = times(removal.num_checkpoints, "checkpoint")
    if removal.state == "sweep":
        return f"sweep of {times(removal.num_runs, 'run')}, {checkpoints}"
    return f"{removal.state} run, {checkpoints}"


def _removed_text(thinning: Thinning) -> str:
    steps = [f"{step_of(path):,}" for path in thinning.removed]
    shown = ", ".join(steps) if len(steps) <= MAX_NAMES else f"{steps[0]} to {steps[-1]}"
    parts = [f"{times(len(steps), 'checkpoint')}: {shown}"] if steps else []
    parts += [times(len(thinning.leftovers), "leftover")] if thinning.leftovers else []
    return "; ".join(parts)


def _kept_text(thinning: Thinning) -> str:
    return ", ".join(f"{step_of(path):,} ({_why(reasons)})" for path, reasons in thinning.kept.items())


def _why(reasons: Sequence[str]) -> str:
    # The best and the last need no further reason.
    asked = [reason for reason in reasons if reason not in REASONS]
    return ", ".join(asked or [REASONS[reason] for reason in reasons])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(printable(name, MAX_NAME) for name in names[:MAX_NAMES]) + more
