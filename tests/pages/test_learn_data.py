"""The tab Learn has what the records of runs have: curves, samples, gradients, memory, gates, units, equations."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charlm
from charlm.errors import CharlmWarning
from charlm.library.models import open_run
from charlm.library.page_learning import Learned, learned
from charlm.library.training import train
from charlm.pages.charts import MAX_POINTS, line_record, rounded
from charlm.pages.learning import MAX_STAGES, sample_stages
from charlm.reports.pictures import Dot, Line
from charlm.runs.records import Sample, SampleTable
from charlm.runs.run import Run
from charlm.settings.schema import Settings

CLOSE = {"rel": 1e-4, "abs": 1e-12}


@pytest.fixture(scope="module")
def record(found: Learned) -> Any:
    """Return the same as the page's script reads it."""
    return json.loads(json.dumps(found.data.as_json(), allow_nan=False))


def lines_of(chart: Any) -> Iterator[tuple[str, list[float], list[float]]]:
    """Yield the name of each line of a chart, and where its points are."""
    for panel in chart["panels"]:
        for line in panel["lines"]:
            yield f"{line['label']} {line['what']}", line["x"], line["y"]


@pytest.mark.parametrize(("name", "x"), [("epochs", "epoch"), ("steps", "step"), ("characters seen", "chars")])
def test_curves_are_those_of_plot(record: Any, runs: list[Run], name: str, x: str) -> None:
    (chart,) = [each["chart"] for each in record["curves"] if each["name"] == name]
    (panel,) = charlm.plot(*runs, x=x).as_record()["panels"]
    expected = [([dot["x"] for dot in line["points"]], [dot["y"] for dot in line["points"]]) for line in panel["lines"]]
    assert len(expected) >= 2
    for (_, xs, ys), (theirs, values) in zip(lines_of(chart), expected, strict=True):
        assert xs == pytest.approx(theirs, **CLOSE)
        assert ys == pytest.approx(values, **CLOSE)
    assert [line["dashed"] for line in chart["panels"][0]["lines"]] == [
        line["measures"] != "validation" for line in panel["lines"]
    ]


def test_samples_have_the_perplexity_of_their_step(record: Any, runs: list[Run]) -> None:
    tables, history = runs[0].samples(), runs[0].history()
    assert len(tables) > 2
    perplexities = {each.step: each.val.perplexity for each in history.evaluations if each.val}
    assert [stage["step"] for stage in record["stages"]] == [table.step for table in tables]
    for stage, table in zip(record["stages"], tables, strict=True):
        assert stage["perplexity"] == pytest.approx(perplexities[table.step], **CLOSE)
        assert stage["texts"] == [[each.prefix, each.continuation, ""] for each in table.samples]


def test_of_many_samples_the_first_and_the_last_are_kept() -> None:
    tables = [
        SampleTable(step=step, epoch=0, samples=(Sample(prefix="a", continuation=f"{step}"),)) for step in range(1001)
    ]
    steps = [stage["step"] for stage in sample_stages(tables, [])]
    assert (len(steps), steps[0], steps[-1]) == (MAX_STAGES, 0, 1000)
    assert steps == sorted(set(steps))
    long = [replace(table, samples=(Sample(continuation="x" * 100_000),)) for table in tables]
    stages = sample_stages(long, [])
    assert sum(len(stage["texts"][0][1]) for stage in stages) <= 400_000
    assert [stage["perplexity"] for stage in stages] == [None] * len(stages)


def test_findings_are_those_of_inspect(record: Any, runs: list[Run]) -> None:
    theirs = charlm.inspect(*runs)
    gradients = {name: ys for name, _, ys in lines_of({"panels": record["gradients"]["panels"][:1]})}
    assert list(gradients) == ["two hidden state h", "two cell state c", "plain hidden state h"]
    expected = [theirs[0].gradients.layers[0].hidden, theirs[0].gradients.layers[0].cell]
    expected.append(theirs[1].gradients.layers[0].hidden)
    for ours, norms in zip(gradients.values(), expected, strict=True):
        assert ours == pytest.approx(norms, **CLOSE)
    memory = list(lines_of(record["memory"]))
    for (_, xs, ys), each in zip(memory, theirs, strict=False):
        assert xs == [cost.length for cost in each.memory.lengths]
        assert ys == pytest.approx([cost.nats.mean for cost in each.memory.lengths], **CLOSE)
    # Both networks learned the same text, so they share its n-grams.
    assert [name for name, *_ in memory][2:] == ["n-grams with contexts of k "]
    gates = [gate for each in theirs for gate in each.gates]
    ours = sorted((xs, ys) for _, xs, ys in lines_of(record["gates"]))
    assert len(ours) == len(gates) == 7
    for (xs, ys), units in zip(
        ours, sorted(list(map(list, zip(*gate.units, strict=True))) for gate in gates), strict=True
    ):
        assert xs == pytest.approx(units[0], **CLOSE)
        assert ys == pytest.approx(units[1], **CLOSE)
    assert [panel["title"] for panel in record["gates"]["panels"]] == [
        *("two, layer 1", "two, layer 2", "plain, layer 1")
    ]


def test_equations_are_those_of_the_worked_step(record: Any, runs: list[Run]) -> None:
    step = charlm.worked_step(runs[0])
    ours = record["equations"]
    assert (ours["run"], ours["step"], ours["shown"]) == ("two", step.step, step.passage.shown)
    assert [part["title"] for part in ours["parts"]] == [part.title for part in step.parts]
    lines = [line for part in ours["parts"] for line in part["lines"]]
    for line, theirs in zip(lines, step.lines, strict=True):
        assert (line["symbol"], line["formula"]) == (theirs.symbol, theirs.formula)
        assert float(line["value"].replace(",", "")) == pytest.approx(theirs.value, rel=1e-3, abs=6e-5)


def test_other_runs_may_be_leaky_or_damaged(
    runs: list[Run], tiny_settings: Callable[..., Settings], tmp_path: Path, charlm_command: Callable[..., Any]
) -> None:
    leaky = train(tiny_settings("model.direction=leaky", "train.max_steps=12"), name="leaky", runs_dir=tmp_path)
    damaged = train(tiny_settings("train.max_steps=2"), name="damaged", runs_dir=tmp_path)
    (damaged.path / "environment.json").write_text("{", encoding="utf-8")
    file = tmp_path / "page.html"
    result = charlm_command("page", *(str(run.path) for run in (runs[0], leaky, damaged)), "-o", str(file))
    assert result.exit_code == 0
    assert "the run damaged is left out" in result.stderr
    assert "the model of run leaky is leaky" in result.stderr
    (data,) = re.findall(r'id="data">(.*?)</script>', file.read_text(encoding="utf-8"), re.DOTALL)
    page = json.loads(data)
    assert [model["name"] for model in page["models"]] == ["two"]
    chart = page["learn"]["curves"][0]["chart"]
    assert len({line["label"] for line in chart["panels"][0]["lines"]}) == 2
    assert any("damaged is left out" in sentence for sentence in chart["sentences"])
    assert any("leaky" in sentence for sentence in [*chart["sentences"], *(line["label"] for line in chart["keys"])])
    assert any("leaky" in note for note in page["learn"]["notes"])
    assert [key["label"] for key in chart["keys"] if key["kind"] == "line" and key["number"] is not None] == [
        *("two", "leaky (reads its own target)")
    ]


def test_without_its_text_a_network_shows_what_needs_none(
    runs: list[Run], tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "corpus.txt").write_text("a cat sat on the mat. " * 100, encoding="utf-8")
    settings = tiny_settings(f"corpus.path='{tmp_path / 'corpus.txt'}'", "train.max_steps=6", "sample.prefixes=['a']")
    run = train(settings, name="gone", runs_dir=tmp_path)
    (tmp_path / "corpus.txt").unlink()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CharlmWarning)
        data = learned(open_run(run), run, runs[1:]).data
    assert any("only what needs no text is measured" in str(each.message) for each in told)
    assert "its text is not there" in data.readings[0]
    assert data.gates is not None
    assert {line.label for panel in data.gates.panels for line in panel.lines} == {"hidden units"}
    assert data.equations is not None
    assert "the model wrote itself" in str(data.equations["source"])


def test_units_that_beat_chance_are_in_the_tab_look(found: Learned, runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    charlm.page(runs[0], file=path)
    (data,) = re.findall(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    ours = [(each["layer"], each["unit"], each["feature"]) for each in json.loads(data)["models"][0]["neurons"]]
    assert found.findings is not None
    neurons = found.findings.neurons or ()
    assert ours == [(each.layer, each.unit, each.feature) for each in neurons if each.beats_chance]


def test_long_curves_are_thinned_and_numbers_rounded() -> None:
    dots = tuple(Dot(float(at), at / 3) for at in range(10_001))
    curve = line_record(Line("long", 0, dots, marked=(5003,)))
    assert len(curve["x"]) <= MAX_POINTS + 2
    assert (curve["x"][0], curve["x"][-1], curve["x"][curve["marked"][0]]) == (0, 10_000, 5003)
    assert curve["y"][1] == rounded(curve["x"][1] / 3)
    assert rounded(1e300) == 1e300
    assert rounded(-0.0000123456) == -1.2346e-05
