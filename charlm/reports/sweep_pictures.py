"""Choose what a picture of a sweep shows: results by settings, the front, and which settings mattered. See pictures.py.

The results are those that the sweep has written into its folder, which are read as untrusted data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.errors import RunError, printable
from charlm.evaluation.spread import Spread, spread
from charlm.reports.curves import BANDS, fitting_settings
from charlm.reports.learning import CELL
from charlm.reports.pictures import Bar, Dot, Key, Line, Panel, Picture, Scale
from charlm.reports.requests import UNITS, Unit, in_bits, in_unit
from charlm.reports.rows import value_text
from charlm.runs.json_records import MAX_NUMBER, Json, as_object
from charlm.runs.untrusted import open_regular, parse_json

RESULTS = "results.json"
MAX_BYTES = 1 << 26
MAX_TEXT, MAX_NAME, MAX_BARS = 500, 40, 30
# Values that span more than this are drawn on a logarithmic scale.
MAX_RATIO = 20
FRONT = "front: none is smaller and better"
SIZE = "num_parameters"
# What the metrics of a closing record are, by their endings.
UNIT_OF: dict[str, Unit] = {"_bpc": "bpc", "_perplexity": "perplexity", "_nats_per_char": "nats"}
SPLITS = {"val": "validation", "test": "test", "train": "training"}


@dataclass(frozen=True)
class Configuration:
    """A configuration all of whose trials have finished.

    Args:
        number: its number.
        settings: its settings that vary.
        value: its result over its seeds.
        num_parameters: the size of its network; None if that was not recorded.
        runs: the names of its trials.
    """

    number: int
    settings: Mapping[str, JsonValue]
    value: Spread
    num_parameters: int | None
    runs: tuple[str, ...]


def sweep_picture(folder: Path, unit: Unit) -> Picture:
    """Return the picture of a sweep: its result against each numeric setting that varies, its front and importances.

    Args:
        folder: the sweep's folder.
        unit: the unit of the result, if the sweep's metric is a loss.
        Raises:
            RunError: if the sweep has no results yet, or if they are damaged.
    """
    record = _read(folder)
    metric = _text(as_object(record.get("objective")).get("metric"))
    given: Unit | None = next((unit for end, unit in UNIT_OF.items() if metric.endswith(end)), None)
    configurations = [*_configurations(record, metric, given, unit)]
    split = metric.partition("_")[0]
    title = f"{SPLITS.get(split, split)} {UNITS[unit]}" if given else metric
    y = Scale(unit if given else metric, title)
    is_less = as_object(record.get("objective")).get("direction") != "maximize"
    categories = _categories(configurations)
    panels = [*_panels(configurations, categories, y, is_less=is_less), *_front(record, configurations, categories, y)]
    panels += _importance(record)
    labels = dict.fromkeys(categories.values())
    keys = [Key(label, number) for number, label in enumerate(labels) if label]
    if any(line.number == len(labels) for panel in panels for line in panel.lines):
        keys.append(Key(FRONT, len(labels)))
    warnings = record.get("warnings")
    return Picture(
        tuple(panels),
        tuple(keys),
        tuple(_text(each) for each in warnings) if isinstance(warnings, list) else (),
        tuple(_caveats(record, configurations)),
        tuple(_notes(panels, configurations)),
        (BANDS,) if any(each.value.deviation is not None for each in configurations) else (),
    )


def _read(folder: Path) -> Json:
    path = folder / RESULTS
    if not path.exists():
        raise RunError(
            f"the sweep {printable(folder.name)} has no results yet: run its command again to finish it; --x epoch "
            "draws the learning curves of its runs so far"
        )
    with open_regular(path) as file:
        record = as_object(parse_json(file.read(MAX_BYTES), path))
    if record.get("kind") != "sweep":
        raise RunError(f"{printable(str(path), MAX_TEXT)} does not hold the results of a sweep")
    return record


def _configurations(record: Json, metric: str, given: Unit | None, unit: Unit) -> Iterator[Configuration]:
    """Yield the finished configurations, in the order of the sweep's points."""
    trials: dict[int, list[Json]] = {}
    for trial in _objects(record.get("trials")):
        if isinstance(number := trial.get("number"), int):
            trials.setdefault(number, []).append(trial)
    for number, rows in sorted(trials.items()):
        values = [_number(as_object(row.get("figures")).get(metric)) for row in rows if row.get("state") == "finished"]
        told = [in_unit(in_bits(value, given), unit) if given else value for value in values if value is not None]
        found = spread(value for value in told if math.isfinite(value))
        if found and found.num_runs == len(rows):
            size = _number(as_object(rows[0].get("figures")).get(SIZE))
            names = tuple(_text(row.get("trial")) for row in rows)
            yield Configuration(
                number, as_object(rows[0].get("settings")), found, None if size is None else int(size), names
            )


def _categories(configurations: Sequence[Configuration]) -> dict[int, str]:
    """Return what the settings that are no numbers make of each configuration, such as its cell, by its number."""
    keys = [key for key in _varying(configurations) if not _is_numeric(configurations, key)]
    return {each.number: _setting_texts(each, keys) for each in configurations}


def _panels(
    configurations: Sequence[Configuration], categories: Mapping[int, str], y: Scale, *, is_less: bool
) -> Iterator[Panel]:
    numeric = [key for key in _varying(configurations) if _is_numeric(configurations, key)]
    for key in numeric:
        yield Panel(_scale(configurations, key), y, tuple(_lines(configurations, categories, key, is_less=is_less)))
    if not numeric and configurations:
        keys = _varying(configurations)
        bars = [Bar(_setting_texts(each, keys), each.value.mean, each.value.deviation) for each in configurations]
        bars.sort(key=lambda bar: bar.value if is_less else -bar.value)
        yield Panel(y, Scale("configuration", ""), bars=tuple(bars[:MAX_BARS]), title=y.title)


def _lines(
    configurations: Sequence[Configuration], categories: Mapping[int, str], key: str, *, is_less: bool
) -> Iterator[Line]:
    """Yield a line for each category, through the best result at each value; marks alone where values hardly repeat."""
    for number, label in enumerate(dict.fromkeys(categories.values())):
        members = [each for each in configurations if categories[each.number] == label]
        members.sort(key=lambda each: (_place(each, key), each.value.mean if is_less else -each.value.mean))
        best: dict[float, Configuration] = {}
        for each in members:
            best.setdefault(_place(each, key), each)
        is_joined = (len(best) == len(members) and _is_alone(members, key)) or len(best) * 2 <= len(members)
        drawn = list(best.values()) if is_joined else members
        yield _line(label, number, [(_place(each, key), each) for each in drawn], is_joined=is_joined)


def _is_alone(members: Sequence[Configuration], key: str) -> bool:
    """Say whether no other numeric setting varies along with one, as in a random search."""
    others = [other for other in _varying(members) if other != key and _is_numeric(members, other)]
    return not others


def _front(
    record: Json, configurations: Sequence[Configuration], categories: Mapping[int, str], y: Scale
) -> Iterator[Panel]:
    """Yield the results by the size of the network, with the front that the sweep has found."""
    sized = [(each.num_parameters, each) for each in configurations if each.num_parameters is not None]
    if len({size for size, _ in sized}) < 2:
        return
    labels = list(dict.fromkeys(categories.values()))
    lines = [
        _line(
            label, number, [(size, each) for size, each in sized if categories[each.number] == label], is_joined=False
        )
        for number, label in enumerate(labels)
    ]
    numbers = as_object(record.get("pareto")).get(SIZE)
    front = [(size, each) for size, each in sized if isinstance(numbers, list) and each.number in numbers]
    if len(front) > 1:
        dots = tuple(Dot(size, each.value.mean) for size, each in sorted(front, key=lambda pair: pair[0]))
        lines.append(Line(FRONT, len(labels), dots, measures="result"))
    sizes = [float(size) for size, _ in sized]
    yield Panel(Scale(SIZE, "parameters", is_short=True, is_log=_spans(sizes)), y, tuple(lines))


def _importance(record: Json) -> Iterator[Panel]:
    shares = {key: _number(share) for key, share in as_object(record.get("importance")).items()}
    bars = [Bar(_text(key.rpartition(".")[2], MAX_NAME), share) for key, share in shares.items() if share is not None]
    if bars:
        yield Panel(
            Scale("share", "importance"), Scale("setting", ""), bars=tuple(bars), title="importance of settings"
        )


def _line(label: str, number: int, points: Iterable[tuple[float, Configuration]], *, is_joined: bool) -> Line:
    points = list(points)
    dots = tuple(Dot(place, each.value.mean, each.value.deviation) for place, each in points)
    runs = tuple(name for _, each in points for name in each.runs)
    return Line(label, number, dots, False, "result", runs, tuple(range(len(dots))), is_joined)


def _scale(configurations: Sequence[Configuration], key: str) -> Scale:
    values = [_place(each, key) for each in configurations]
    is_whole = all(value == int(value) for value in values)
    is_large = max(values) >= 10_000
    return Scale(key, key.rpartition(".")[2], is_whole=is_whole, is_short=is_large, is_log=_spans(values))


def _spans(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) >= MAX_RATIO * min(values)


def _varying(configurations: Sequence[Configuration]) -> list[str]:
    """Return the settings that differ between configurations, in the order of the sweep."""
    keys = dict.fromkeys(key for each in configurations for key in each.settings)
    return [key for key in keys if len({json.dumps(each.settings.get(key)) for each in configurations}) > 1]


def _is_numeric(configurations: Sequence[Configuration], key: str) -> bool:
    return all(_number(each.settings.get(key)) is not None for each in configurations)


def _place(configuration: Configuration, key: str) -> float:
    return _number(configuration.settings.get(key)) or 0.0


def _setting_texts(configuration: Configuration, keys: Sequence[str]) -> str:
    """Return settings as a name; that of the cell needs no explanation."""
    texts = ((key, value_text(configuration.settings.get(key), MAX_NAME)) for key in keys)
    return fitting_settings(
        [text if key == CELL else f"{key.rpartition('.')[2]} {text}" for key, text in texts] or [""]
    )


def _caveats(record: Json, configurations: Sequence[Configuration]) -> Iterator[str]:
    total = len(_objects(record.get("configurations")))
    if not configurations:
        yield f"no configuration of the sweep {_text(record.get('name'))} has finished"
    elif total > len(configurations):
        yield f"{total - len(configurations)} of {total} configurations have not finished and are not drawn"


def _notes(panels: Sequence[Panel], configurations: Sequence[Configuration]) -> Iterator[str]:
    lines = [line for panel in panels for line in panel.lines]
    if any(line.is_joined and len(line.dots) < len(configurations) for line in lines[:1]) and len(panels) > 1:
        yield "A line joins the best results at each value."
    if any(panel.x.name == "share" for panel in panels):
        yield "Importance is each setting's share in what makes results good."


def _objects(value: JsonValue) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < MAX_NUMBER and math.isfinite(value) else None


def _text(value: JsonValue, limit: int = MAX_TEXT) -> str:
    return printable(value if isinstance(value, str) else "", limit)
