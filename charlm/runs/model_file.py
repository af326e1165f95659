"""A model in one file: the checkpoint of a run with all that reading and writing text needs, to pass on to others.

The file is a safetensors file, whose metadata holds the rest as text. It is read as data from a stranger, like a
checkpoint: sizes are checked before memory is allocated, and nothing is executed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field
from safetensors.numpy import save

from charlm import __version__
from charlm.errors import ConfigError, RunError, printable
from charlm.networks.shapes import num_numbers, parameter_shapes
from charlm.runs.checkpoints import Checkpoint, CheckpointState, Choice
from charlm.runs.contents import MAX_CONFIG_BYTES, parse_settings, symbols_of, vocabulary_of
from charlm.runs.facts import Environment, Machine
from charlm.runs.json_records import (
    Json,
    Line,
    Record,
    Text,
    as_object,
    from_json,
    json_line,
    to_json,
)
from charlm.runs.memory import require_room
from charlm.runs.records import SampleTable, Summary
from charlm.runs.run import Run
from charlm.runs.tensors import (
    FLOAT_BYTES,
    SLACK_BYTES,
    check_finite,
    compare_shapes,
    load_tensors,
    read_header,
    shapes_of,
)
from charlm.runs.untrusted import open_regular, parse_json
from charlm.settings.loading import dump_settings
from charlm.settings.schema import Settings

FORMAT = 1
ENDING = ".charlm"
KEY = "charlm"
NO_MODEL = "is neither the folder of a run nor a model in one file, which `charlm export RUN` makes"
# The header holds the names of at most some thousand tensors, and the vocabulary as JSON within JSON.
MAX_HEADER_BYTES = 16 << 20
MAX_LICENSE = 1_000
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, eq=False, kw_only=True)
class Metadata(Record):
    """What the file holds besides the weights, as JSON under the one key of its metadata.

    Args:
        format: number of the format.
        version: the version of charlm that wrote it.
        run: the name of the run.
        license: what the giver says about rights; empty if nothing was said.
        config: the configuration in YAML, without folders.
        vocabulary: the symbols; see `Symbols`.
        state: how far the run had come; see `CheckpointState`.
        environment: the text and the size of the network; see `Environment`.
        results: the closing results, see `Summary`; None if the run had none for this checkpoint.
    """

    format: Annotated[int, Field(strict=True, ge=1)]
    version: Text
    run: Line
    license: Annotated[Line, Field(max_length=MAX_LICENSE)]
    config: Text
    vocabulary: Json
    state: Json
    environment: Json
    results: Json | None


@dataclass(frozen=True)
class ModelFile:
    """A model in one file; it can be asked what a run can be asked.

    Args:
        path: path of the file.
        checkpoint: settings, vocabulary and weights; without what training resumes from.
        license: what the giver says about rights; empty if nothing was said.
        run_name: the name of the run that it is from.
        facts: the text and the size of the network.
        results: the closing results of the run; None if it had none for this checkpoint.
    """

    path: Path
    checkpoint: Checkpoint
    license: str
    run_name: str
    facts: Environment
    results: Summary | None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def as_record(self) -> dict[str, object]:
        """Return all it says as JSON values."""
        return {
            "file": str(self.path),
            "run": self.run_name,
            "step": self.checkpoint.step,
            "license": self.license or None,
            "settings": self.checkpoint.settings.model_dump(mode="json"),
            "environment": self.facts,
            "results": self.results,
        }

    def environment(self) -> Environment:
        """Return the facts about the run."""
        return self.facts

    def summary(self) -> Summary | None:
        """Return the closing results."""
        return self.results

    def metrics(self) -> list[Summary]:
        """Return the closing results; the file has no evaluations."""
        return [] if self.results is None else [self.results]

    def samples(self) -> list[SampleTable]:
        """Return nothing: the settings have the prefixes of the samples."""
        return []

    def choose(self, choice: Choice) -> Checkpoint:
        """Return the checkpoint, whether it is asked for as the best, the last or by its step.

        Raises:
            RunError: for another step.
        """
        if isinstance(choice, int) and choice != self.checkpoint.step:
            raise RunError(f"{self.path} has one checkpoint, that of step {self.checkpoint.step}, and none of {choice}")
        return self.checkpoint


def is_model_file(name: str | Path, *, folder: Path) -> bool:
    """Say whether a name or path means a file and not a run.

    Args:
        name: as the user gave it.
        folder: the folder of runs.
    """
    return Path(name).is_file() and not Run(folder / name).exists


def pack_model(run: Run, checkpoint: Checkpoint, *, license_line: str = "") -> bytes:
    """Return a checkpoint of a run as the bytes of a model in one file; the same checkpoint gives the same bytes.

    Folders are left out of the names of corpus files, because they belong to whoever trained it.

    Args:
        run: the run.
        checkpoint: one of its checkpoints.
        license_line: what the giver says about rights.
    Raises:
        ConfigError: if the license is longer than a line.
    """
    if not license_line.isprintable() or len(license_line) > MAX_LICENSE:
        raise ConfigError(f"a license must be one line of at most {MAX_LICENSE:,} characters: its name or its address")
    facts, summary = run.environment(), run.summary()
    names = facts.corpus if isinstance(facts.corpus, str) else tuple(Path(path).name for path in facts.corpus)
    state = replace(checkpoint.state, progress={}, fingerprint=None, step=checkpoint.step)
    metadata = Metadata(
        format=FORMAT,
        version=__version__,
        run=printable(run.name),
        license=license_line,
        config=dump_settings(_without_folders(checkpoint.settings, _prefixes(run))),
        vocabulary=to_json(symbols_of(checkpoint.vocabulary)),
        state=to_json({**state, "step": checkpoint.step}),
        environment=to_json(replace(facts, corpus=names, machine=Machine(), parent=None)),
        results=to_json(summary) if summary is not None and summary.best_step == checkpoint.step else None,
    )
    require_room(3 * FLOAT_BYTES * sum(weight.size for weight in checkpoint.model.values()) + SLACK_BYTES)
    weights = {name: np.asarray(weight, order="C") for name, weight in checkpoint.model.items()}
    # Under one key, because safetensors writes several in any order.
    return save(weights, metadata={KEY: json_line(metadata)})


def read_model_file(path: Path) -> ModelFile:
    """Read a model in one file.

    Raises:
        RunError: for a file that is no such model, is damaged or too new, or does not fit its configuration.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            header, start = read_header(file, path, at_most=min(MAX_HEADER_BYTES, size))
        except RunError as error:
            raise RunError(f"{path} {NO_MODEL}") from error
        metadata = _read_metadata(header, path)
        config = _bytes(metadata.config, path)
        if len(config) > MAX_CONFIG_BYTES:
            raise RunError(f"{path} is not a model of charlm: its configuration has {len(config):,} bytes")
        settings = _without_folders(parse_settings(config, path))
        vocabulary = vocabulary_of(metadata.vocabulary, path)
        expected = parameter_shapes(settings.model, len(vocabulary))
        compare_shapes(shapes_of(header, path), expected, path)
        num_bytes = FLOAT_BYTES * num_numbers(expected.values())
        if size != start + num_bytes:
            raise RunError(f"{path} is damaged: it has {size:,} bytes and should have {start + num_bytes:,}")
        require_room(3 * num_bytes + SLACK_BYTES)
        file.seek(0)
        weights = load_tensors(file.read(size), expected, path)
    check_finite(weights, path)
    state = _record(CheckpointState, metadata.state, path)
    facts = _record(Environment, metadata.environment, path)
    results = _record(Summary, metadata.results, path) if metadata.results is not None else None
    checkpoint = Checkpoint(state.step, settings, vocabulary, weights, {}, state)
    return ModelFile(path, checkpoint, metadata.license, metadata.run, facts, results)


def _without_folders(settings: Settings, prefixes: tuple[str, ...] = ()) -> Settings:
    """Return settings without any folder, and with some sample prefixes if there are any.

    Those that are passed on must not tell where the giver keeps files, and those that are received must name none.
    """
    path = settings.corpus.path
    changes = {
        "corpus.path": None if path is None else tuple(Path(each).name for each in path),
        "start.run": None,
        "start.new_characters": "error",
        "sample.prefixes": prefixes or settings.sample.prefixes,
    }
    return settings.replaced(changes)


def _prefixes(run: Run) -> tuple[str, ...]:
    """Return the prefixes of the samples that a run has recorded: texts begin with them if the corpus is one line."""
    found = (sample.prefix or sample.suffix or "" for table in run.samples()[:1] for sample in table.samples)
    return tuple(prefix for prefix in found if prefix)


def _read_metadata(header: Json, path: Path) -> Metadata:
    text = as_object(header.get("__metadata__")).get(KEY)
    try:
        metadata = from_json(Metadata, parse_json(_bytes(str(text), path), path))
    except (RunError, ValueError) as error:
        raise RunError(f"{path} {NO_MODEL}") from error
    if metadata.format > FORMAT:
        is_known = re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,30}", metadata.version)
        newer = f"charlm {metadata.version} or newer" if is_known else "a newer charlm"
        reads = f"charlm {__version__} reads up to {FORMAT}"
        raise RunError(f"{path} has format {metadata.format}, and {reads}: install {newer}")
    return metadata


def _bytes(text: str, path: Path) -> bytes:
    """Return a text in UTF-8; half of a surrogate pair, which JSON can spell, has no bytes."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RunError(f"{path} is not a model of charlm: it has text that is not Unicode") from error


def _record(kind: type[R], value: Json, path: Path) -> R:
    try:
        return from_json(kind, value)
    except ValueError as error:
        raise RunError(f"{path} is not a model of charlm: {printable(str(error), 300)}") from error
