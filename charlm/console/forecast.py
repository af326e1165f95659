"""Show what a run will be and take."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from charlm.console.training import one_line, plan_line
from charlm.training.forecast import Forecast


def show_forecast(console: Console, forecast: Forecast) -> None:
    """Print a forecast, a line for each kind of need."""
    for line in forecast_lines(forecast):
        console.print(Text(line))
    for notice in forecast.notices:
        console.print(Text(f"{'warning' if notice.is_warning else 'note'}: {one_line(notice.sentence)}", style="dim"))


def forecast_lines(forecast: Forecast) -> list[str]:
    """Return a forecast as lines of text."""
    plan = forecast.plan
    lines = [
        f"text: {forecast.corpus_chars:,} characters, {forecast.num_symbols:,} symbols",
        f"network: {forecast.num_parameters:,} parameters",
        f"training: {plan_line(plan)}" if plan else f"training: {forecast.settings.train.minutes:g} minutes",
        f"memory: at least {size_text(forecast.memory_bytes)}",
        f"disk: {size_text(forecast.checkpoint_bytes)} for a checkpoint, at most {size_text(forecast.run_bytes)} for "
        f"the run; {size_text(forecast.free_bytes)} are free",
    ]
    if forecast.run_bytes > forecast.free_bytes:
        lines.append("warning: the disk has too little space for this run")
    return [*lines, "nothing was written"]


def size_text(num_bytes: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.3g} {name}"
    return f"{num_bytes} bytes"
