"""Compress files with a model, so that they take the bits that the model needs for them, and get them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlm.coding.coded_file import Coded, CodedFile, ForeignError, pack_file, unpack_file
from charlm.coding.coder import decode_ids, encode_ids
from charlm.coding.packing import DamagedError
from charlm.errors import ConfigError, RunError, TextError, printable, reason_of
from charlm.library.file_coder import FileCoder, Report
from charlm.library.measured_texts import choose_predictable_text, of_total
from charlm.library.models import Model, open_run, opened
from charlm.runs.durable import replace_file
from charlm.runs.outputs import check_output_file
from charlm.runs.run import Run
from charlm.settings.corpus import UnknownPolicy
from charlm.text.notices import shown_path

ENDING = ".cz"


@dataclass(frozen=True)
class Compressed:
    """A file that was written, and what it was made from.

    Args:
        path: the file.
        num_bytes: its size.
        length: number of bytes of the original.
        run: the name of the run whose model they were coded with.
        step: the step of its checkpoint.
        is_coded: whether the model was used: where it would make a file longer, the bytes are packed without it.
    """

    path: Path
    num_bytes: int
    length: int
    run: str
    step: int
    is_coded: bool

    def as_record(self) -> dict[str, object]:
        """Return JSON values."""
        return {
            "file": str(self.path),
            "bytes": self.num_bytes,
            "original_bytes": self.length,
            "bits_per_byte": 8 * self.num_bytes / self.length if self.length else None,
            "run": self.run,
            "step": self.step,
            "is_coded": self.is_coded,
        }


@dataclass(frozen=True)
class Restored:
    """A file that was decompressed.

    Args:
        path: the file.
        num_bytes: its size, after its checksum was found to be right.
        run: the name of the run whose model decoded it.
        step: the step of its checkpoint.
    """

    path: Path
    num_bytes: int
    run: str
    step: int


@dataclass(frozen=True)
class Proof:
    """A text that was coded and decoded again: the bytes of its code, and how many characters they are for.

    Args:
        num_bytes: the bytes; those of the first character of a running text, which no result counts, are among them.
        num_chars: number of characters, the ends of items included.
    """

    num_bytes: int
    num_chars: int

    def as_record(self) -> dict[str, object]:
        """Return JSON values."""
        return {"bytes": self.num_bytes, "num_chars": self.num_chars}


def compress(
    model: Model | Run | str | Path,
    file: str | Path,
    output: str | Path | None = None,
    *,
    dynamic: bool = False,
    learning_rate: float | None = None,
    decay: float | None = None,
    segment_chars: int | None = None,
    force: bool = False,
    report: Report | None = None,
) -> Compressed:
    """Write a file in the bits that a model needs for it; `decompress` gives back every byte.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        file: any file: what the model does not know is kept beside the code.
        output: the file to write; None adds .cz to the name.
        dynamic: whether the model learns from the file while it codes it. Decompressing does the same again, and needs
            the training split too.
        learning_rate: how fast it learns; see `evaluate_dynamically`.
        decay: see there.
        segment_chars: see there.
        force: whether to replace a file that exists.
        report: called with the number of characters done and the total.
    Raises:
        TextError: for a file that cannot be read.
        ConfigError: for an output that exists, for a leaky model, and where the package constriction is missing.
        StorageError: if the disk does not accept the output.

    Example:
        >>> written = charlm.compress("my-run", "mine.txt", "mine.cz")
        >>> charlm.decompress("mine.cz", "again.txt").run, written.num_bytes < written.length / 2
        ('my-run', True)
        >>> import filecmp
        >>> filecmp.cmp("mine.txt", "again.txt", shallow=False)
        True
    """
    source, path = Path(file), Path(str(file) + ENDING if output is None else output)
    check_output_file(path, force=force, example=source.name + ENDING)
    _refuse_itself(path, source, "compress")
    content, coder = _content(source), FileCoder(opened(model))
    learning = None
    if dynamic:
        from charlm.evaluation.dynamic import DEFAULT_SEGMENT_CHARS
        from charlm.library.learning_coder import learning_coder

        rates = {"learning_rate": learning_rate, "decay": decay}
        learning = learning_coder(
            coder.model, **rates, segment_chars=segment_chars or DEFAULT_SEGMENT_CHARS, report=report
        )
    coded = coder.encode(content, report, learning)
    packed = pack_file(coded)
    replace_file(path, packed)
    return Compressed(path, len(packed), len(content), coded.run, coded.step, isinstance(coded.body, Coded))


def decompress(
    file: str | Path,
    output: str | Path | None = None,
    *,
    model: Model | Run | str | Path | None = None,
    runs_dir: str | Path | None = None,
    force: bool = False,
    report: Report | None = None,
) -> Restored:
    """Write the file that `compress` was given; nothing is written unless its checksum is right.

    Args:
        file: what `compress` wrote.
        output: the file to write; None removes .cz from the name.
        model: the model that it was compressed with; None takes the run that the file names, at the step that it names.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
        force: whether to replace a file that exists.
        report: called with the number of characters done and the total.
    Raises:
        TextError: for a file that cannot be read, was not written by `compress`, or is damaged.
        RunError: for another model, and for a machine that computes other bits.
        ConfigError: for an output that exists, and where the package constriction is missing.
        StorageError: if the disk does not accept the output.

    Example:
        >>> written = charlm.compress("my-run", "mine.txt")
        >>> charlm.decompress(written.path, "mine-again.txt").num_bytes == written.length
        True
    """
    source = Path(file)
    if output is None and source.suffix != ENDING:
        raise ConfigError(f"{shown_path(source)} does not end in {ENDING}: name the file to write")
    path = Path(output) if output is not None else source.with_suffix("")
    check_output_file(path, force=force, example="original.txt")
    content = _content(source)
    _refuse_itself(path, source, "decompress")
    try:
        coded = unpack_file(content)
        coder = FileCoder(_model_of(coded, model, runs_dir, source))
        restored = coder.decode(coded, source, report)
    except ForeignError as error:
        raise TextError(f"{shown_path(source)} {error}") from error
    except DamagedError as error:
        raise TextError(f"{shown_path(source)} is damaged: {error}") from error
    replace_file(path, restored)
    return Restored(path, len(restored), coded.run, coded.step)


def prove(
    model: Model | Run | str | Path,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    report: Report | None = None,
) -> Proof:
    """Code the text that `assess` measures, decode it again, and return the number of bytes of its code.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        split: train, val or test; not used when files are given.
        files: texts to read one after another, with the run's encoding and cleaning.
        unknown: what to do with characters in them that the model does not know; see `score`.
        report: called with the number of characters done and the total, for both directions together.
    Raises:
        RunError: if another text was decoded, and for a split that the run does not have.
        TextError: for a text shorter than two characters or with unknown characters, and for a changed corpus.
        ConfigError: for a leaky model, and where the package constriction is missing.
    """
    coder = FileCoder(opened(model))
    part = choose_predictable_text(coder.model, split, files, unknown=unknown)
    ids, total = part.ids, 2 * len(part.ids)

    def again(done: int) -> None:
        if report:
            report(len(ids) + done, total)

    predictor, size, boundary = coder.predictor, coder.vocab_size, part.boundary
    code = encode_ids(predictor, ids, size, boundary=boundary, report=of_total(report, total))
    if not np.array_equal(decode_ids(predictor, code, len(ids), size, boundary=boundary, report=again), ids):
        raise RunError(f"the model of run {coder.model.run.name} does not decode what it has coded: report this")
    return Proof(len(code), len(ids) - (boundary is not None))


def _model_of(
    coded: CodedFile, model: Model | Run | str | Path | None, runs_dir: str | Path | None, source: Path
) -> Model:
    """Return the model that is to decode a file, at the step that the file names if there is such a checkpoint."""
    if isinstance(model, Model):
        return model
    if model is None:
        # The name comes from the file, and must not lead out of the folder of runs.
        if Path(coded.run).name != coded.run or coded.run in ("", ".."):
            raise TextError(f"{shown_path(source)} names a run that cannot be looked for: {printable(coded.run)}")
        try:
            return open_run(coded.run, checkpoint=coded.step, runs_dir=runs_dir)
        except RunError as error:
            needs = f"{shown_path(source)} needs the model of the run {printable(coded.run)} at step {coded.step:,}"
            raise RunError(f"{needs}: {error}; --run names another place for it, such as an exported file") from error
    try:
        return open_run(model, checkpoint=coded.step, runs_dir=runs_dir)
    except RunError:
        # Whatever it is, it is opened or refused as such, and compared.
        return open_run(model, runs_dir=runs_dir)


def _refuse_itself(path: Path, source: Path, action: str) -> None:
    if path.exists() and source.exists() and path.samefile(source):
        raise ConfigError(f"{shown_path(path)} is the file to {action}: name another one to write")


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise TextError(f"{shown_path(path)} is not a file that can be read as a whole")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise TextError(f"cannot read {shown_path(path)}: {reason}") from error
