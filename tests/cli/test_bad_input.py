"""Bad input gets one clear sentence and its exit code, and nothing is left half-written."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from charlm.errors import (
    CharlmError,
    ConfigError,
    DivergedError,
    RunError,
    RunInUseError,
    StoppedError,
    StorageError,
    TextError,
)
from charlm.runs.run import Run

Charlm = Callable[..., Result]


@pytest.fixture
def refused(tmp_path: Path, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that runs a command which must fail cleanly, and returns its sentences without `charlm: `."""
    monkeypatch.setenv("CHARLM_RUNS_DIR", str(tmp_path / "runs"))

    def run(code: int, *arguments: str | Path, num_sentences: int = 1, text: bytes | None = None) -> str:
        result = charlm_command(*arguments, text=text)
        lines = result.stderr.splitlines()
        assert (result.exit_code, result.stdout) == (code, ""), result.stderr
        assert len(lines) == num_sentences, lines
        assert all(line.startswith("charlm: ") and line.isprintable() for line in lines), lines
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []
        return "\n".join(line.removeprefix("charlm: ") for line in lines)

    return run


def test_each_kind_of_error_has_its_exit_code() -> None:
    kinds = (ConfigError, TextError, RunError, DivergedError, StorageError, RunInUseError)
    assert [kind.exit_code for kind in kinds] == [2, 3, 4, 5, 6, 7]
    assert CharlmError.exit_code == 1
    assert [StoppedError("stopped", word).exit_code for word in ("interrupt", "terminate")] == [130, 143]


# A corpus.


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty after cleaning"),
        (b"a", "has only one symbol: there is nothing to predict"),
        (b"aaaa" * 500, "has only one symbol: there is nothing to predict"),
        (
            b"ab",
            "the training split has 1 of the corpus's 2 characters, too few to predict one: give more text",
        ),
        (b"abcd" * 10, "the training split has 36 characters, and one window of batch_size 4 x seq_len 16 needs 65"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "is a program, not a text"),
        (b"\x89PNG\r\n\x1a\n" + b"text" * 100, "is a picture, not a text"),
        (b"good\nbad \xff\n" * 50, "is not utf-8: byte 0xff at offset 9, line 2"),
        ("café\n".encode("latin-1") * 50, "it is likely cp1252, which reads as 「café」"),
        ("wide text".encode("utf-16"), "it is likely utf-16, which reads as 「wide text」"),
    ],
)
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_corpus_that_cannot_be_trained_on_is_3(
    refused: Callable[..., str], tmp_path: Path, tiny_options: list[str], content: bytes, sentence: str, way: str
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(content)
    if way == "file":
        said = refused(3, "train", f"--corpus={corpus}", *tiny_options[1:])
        assert str(corpus) in said or "split has" in said
    else:
        said = refused(3, "train", "--corpus=-", *tiny_options[1:], text=content)
    assert sentence in said


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.txt", "there is no corpus file"),
        ("file.txt/inner.txt", "there is no corpus file"),
        ("folder", "has no .txt, .md or .text files, it has 2 .py: to read the .py files, add --glob '*.py'"),
        ("loop.txt", "is a link that leads to no file"),
        ("pipe", "is a pipe or a device"),
        ("/dev/null", "is a pipe or a device"),
    ],
)
def test_a_corpus_that_is_not_a_readable_file_is_3(
    refused: Callable[..., str], tmp_path: Path, tiny_options: list[str], name: str, sentence: str
) -> None:
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "deep.py").write_text("text")
    (tmp_path / "folder" / "text.py").write_text("text")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    os.mkfifo(tmp_path / "pipe")
    said = refused(3, "train", f"--corpus={tmp_path / name}", *tiny_options[1:])
    assert sentence in said
    assert str(tmp_path / name) in said


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_corpus_the_system_does_not_give_is_3(
    refused: Callable[..., str],
    corpus_file: Path,
    tiny_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    # Permissions do not stop root, so the refusal is simulated.
    plain_open = Path.open

    def guarded_open(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == corpus_file:
            raise OSError(number, os.strerror(number))
        return plain_open(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", guarded_open)
    said = refused(3, "train", *tiny_options)
    assert said == f"cannot read {corpus_file}: {os.strerror(number).lower()}"


@pytest.mark.parametrize(
    ("setting", "code", "sentence"),
    [
        ("corpus.name=tinyshakespear", 3, "did you mean tinyshakespeare?"),
        ("corpus.name=text8", 3, "is not on this machine yet; run: charlm corpus get text8"),
        ("corpus.encoding=utf-9", 3, "'utf-9' is not a text encoding Python knows"),
        ("corpus.encoding=base64", 3, "'base64' is not a text encoding Python knows"),
        ("corpus.encoding=rot13", 3, "'rot13' is not a text encoding Python knows"),
        ("corpus.split=[2000, 900, 200]", 3, "asks for 3,100 characters, but the text has 3,000"),
        ("corpus.split=[2998, 1, 1]", 3, "the validation split has 1 of the corpus's 3,000 characters"),
        ("corpus.max_chars=1", 3, "has only one symbol"),
        ("sampling.batch_size=100000", 3, "one window of batch_size 100000 x seq_len 16 needs 1,600,001"),
        ("sample.prefixes=['the €']", 3, "the sample prefix 'the €' has 1 character this model has never seen: '€'"),
        ("sample.prefixes=['']", 2, "sample.prefixes has an empty prefix"),
    ],
)
def test_a_setting_that_does_not_fit_the_text_is_refused(
    refused: Callable[..., str], tiny_options: list[str], setting: str, code: int, sentence: str
) -> None:
    options = [option for option in tiny_options if "corpus=" not in option or "corpus.name" not in setting]
    assert sentence in refused(code, "train", *options, f"--set={setting}")


# A configuration.


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("model:\n  hiden_size: 8\n", ["unknown key model.hiden_size; did you mean model.hidden_size? ({file}:2)"]),
        ("modle: {cell: gru}\n", ["unknown key modle; did you mean model? ({file}:1)"]),
        ("train: {max_steps: yes}\n", ["train.max_steps must be a whole number, got 'yes' ({file}:1)"]),
        ("train: {max_steps: true}\n", ["train.max_steps must be a whole number, got True ({file}:1)"]),
        ("train: {max_steps: 2.5}\n", ["train.max_steps must be a whole number, got 2.5 ({file}:1)"]),
        ("train: {max_steps: '5'}\n", ["train.max_steps must be a whole number, got '5' ({file}:1)"]),
        ("train: {max_steps: 0}\n", ["train.max_steps must be at least 1, got 0 ({file}:1)"]),
        ("train: {max_steps: 12:30}\n", ["train.max_steps must be a whole number, got '12:30' ({file}:1)"]),
        ("optimizer: {learning_rate: .nan}\n", ["optimizer.learning_rate must be a finite number, got nan ({file}:1)"]),
        ("optimizer: {learning_rate: fast}\n", ["optimizer.learning_rate must be a number, got 'fast' ({file}:1)"]),
        ("corpus: {clean: {lowercase: no}}\n", ["corpus.clean.lowercase must be true or false, got 'no' ({file}:1)"]),
        ("corpus: {encoding: 8859}\n", ["corpus.encoding must be text (put quotes around it), got 8859 ({file}:1)"]),
        ("model: 3\n", ["model must be a mapping of keys, got 3 ({file}:1)"]),
        ("model: {cell: gru, cell: rnn}\n", ["{file}:1:20: the key cell is given twice"]),
        ("model: &a {cell: gru}\n", ["{file}:1:8: anchors and aliases are not allowed; write the value out"]),
        ("model: {cell: !!python/name:os.system gru}\n", ["{file}:1:15: the tag "]),
        ("model:\n\tcell: gru\n", ["{file}:2:1: not valid YAML: "]),
        ("model: {cell: gru\n", ["{file}:2:1: not valid YAML: "]),
        ("[" * 2000 + "]" * 2000, ["nested deeper than 16 levels"]),
        ("- model\n", ["{file}:1: a configuration is a mapping of sections such as model:"]),
        ("--- {}\n--- {}\n", ["a second document begins here; a configuration is a single one"]),
        ("model: {cell: gru\0}\n", ["{file}:1:18: not valid YAML: the character U+0000 is not allowed"]),
        (
            "model: {cell: gur}\ntrain: {epochs: -1, sed: 1}\n",
            [
                "model.cell must be one of 'rnn', 'gru', 'lstm', got 'gur' ({file}:1)",
                "train.epochs must be at least 1, got -1 ({file}:2)",
                "unknown key train.sed; did you mean train.seed? ({file}:2)",
            ],
        ),
        (
            "model: {cell: lstm, activation: relu}\n",
            ["model.activation belongs to the rnn cell, and model.cell is lstm ({file}:1)"],
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_bad_configuration_is_2_with_file_line_key_and_value(
    refused: Callable[..., str], tmp_path: Path, tiny_options: list[str], text: str, sentences: list[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    said = refused(2, "train", "--config", file, *tiny_options[:1], num_sentences=len(sentences)).splitlines()
    for sentence, line in zip(sentences, said, strict=True):
        assert sentence.format(file=file) in line


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "no such file or directory; the bundled ones are "), (b"\xff", "not UTF-8 text (byte 0)")],
)
def test_a_configuration_that_cannot_be_read_is_2(
    refused: Callable[..., str], tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "bad.yaml"
    if content is not None:
        file.write_bytes(content)
    assert sentence in refused(2, "train", "--config", file)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "model.hiden_size=8",
            "unknown key model.hiden_size; did you mean model.hidden_size? (--set model.hiden_size=8)",
        ),
        ("model.hidden_size=0", "model.hidden_size must be at least 1, got 0 (--set model.hidden_size=0)"),
        ("model.hidden_size", "--set model.hidden_size: must look like section.key=value"),
        ("=8", "must look like section.key=value"),
        ("train.device=tpu", "train.device must be auto, cpu, mps, cuda or cuda:N, got 'tpu'"),
        ("train.device=cuda:99", "train.device cuda:99: torch"),
        ("model={cell: gru", "not valid YAML"),
        ("model.implementation=fast", "model.implementation must be one of"),
    ],
)
def test_a_bad_set_option_is_2(
    refused: Callable[..., str], tiny_options: list[str], option: str, sentence: str
) -> None:
    assert sentence in refused(2, "train", *tiny_options, "--set", option)


def test_what_torch_does_not_have_is_refused_by_name(refused: Callable[..., str], tiny_options: list[str]) -> None:
    settings = ("--set=model.cell=rnn", "--set=model.activation=sigmoid", "--set=model.implementation=torch")
    said = refused(2, "train", *tiny_options, *settings)
    assert said == "torch.nn has no model.activation sigmoid: set model.implementation to auto or reference"


# A run's name, and runs that do not exist.


@pytest.mark.parametrize("name", ["..", "a/b", "/tmp/a", "a b", "-a", ".a", "a\n"], ids=repr)
def test_a_bad_name_for_a_new_run_is_2(refused: Callable[..., str], tiny_options: list[str], name: str) -> None:
    assert "cannot name a run" in refused(2, "train", *tiny_options, f"--run={name}")


def test_an_existing_run_is_2_and_is_not_changed(charlm_command: Charlm, trained: Run, tiny_options: list[str]) -> None:
    before = {file: file.read_bytes() for file in trained.path.rglob("*") if file.is_file()}
    result = charlm_command("train", *tiny_options, "--run=trained", f"--runs-dir={trained.path.parent}")
    assert result.exit_code == 2
    assert result.stderr == (
        f"charlm: the run {trained.path} exists already and is never overwritten: choose another name, or "
        "resume it with --resume\n"
    )
    assert {file: file.read_bytes() for file in trained.path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("command", [["generate", "--prefix=a"], ["eval"], ["info"]], ids=lambda words: words[0])
def test_a_run_that_does_not_exist_is_4(refused: Callable[..., str], command: list[str]) -> None:
    named = [*command, "absent"] if command == ["info"] else [*command, "--run=absent"]
    assert "there is no run absent in " in refused(4, *named)
    if command != ["info"]:
        assert "`charlm train` makes one" in refused(4, *command)


@pytest.mark.parametrize("command", [["generate", "--prefix=a"], ["eval"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("flip", "model.safetensors is damaged: its bytes are not those that were saved"),
        ("truncate", "model.safetensors is damaged: its bytes are not those that were saved"),
        ("remove", "has no undamaged checkpoint: cannot read "),
        ("empty", "has no checkpoint yet"),
    ],
)
def test_a_damaged_checkpoint_is_4(
    refused: Callable[..., str], tmp_path: Path, trained: Run, command: list[str], damage: str, sentence: str
) -> None:
    run = Run(shutil.copytree(trained.path, tmp_path / "copy"))
    for path in run.checkpoint_paths():
        file = path / "model.safetensors"
        content = file.read_bytes()
        if damage == "flip":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage == "truncate":
            file.write_bytes(content[:-1])
        elif damage == "remove":
            file.unlink()
        else:
            shutil.rmtree(path)
    assert sentence in refused(4, *command, f"--run={run.path}")


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--checkpoint=7"], 4, "has no checkpoint of step 7; it has steps 40, 60"),
        (["--checkpoint=newest"], 2, "--checkpoint must be best, last or a step's number, got 'newest'"),
        (["--checkpoint=-1"], 2, "--checkpoint must be best, last or a step's number, got '-1'"),
        (["--device=tpu"], 2, "must be auto, cpu, mps, cuda or cuda:N, got 'tpu'"),
        (["--device=cuda:99"], 2, "cuda:99"),
    ],
)
@pytest.mark.parametrize("command", [["generate", "--prefix=a"], ["eval"]], ids=lambda words: words[0])
def test_a_checkpoint_or_device_that_does_not_exist_is_refused(
    refused: Callable[..., str], trained: Run, command: list[str], options: list[str], code: int, sentence: str
) -> None:
    assert sentence in refused(code, *command, f"--run={trained.path}", *options)


# A prefix and its options.


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--prefix=é"], 3, "the prefix has 1 character this model has never seen: 'é' (U+00E9) at position 0"),
        (["--prefix=a€b\x1b€"], 3, "has 3 characters this model has never seen: '€' (U+20AC) at position 1, 'b' (U+"),
        (["--prefix="], 3, "the prefix is empty"),
        (["--prefix-file={tmp}/absent"], 3, "cannot read the prefix file {tmp}/absent: no such file or directory"),
        (["--prefix-file={tmp}"], 3, "cannot read the prefix file {tmp}: is a directory"),
        (["--prefix-file={tmp}/latin"], 3, "is not utf-8: byte 0xe9 at offset 3, line 1"),
        (["--prefix-file=-"], 3, "the prefix is empty"),
        (["--prefix-file="], 2, "--prefix-file is empty"),
        (["--prefix=a", "--prefix-file=-"], 2, "either --prefix"),
        (["--prefix=a", "--stop="], 2, "--stop is empty"),
        (["--prefix=a", "--temperature=-1"], 2, "temperature must be 0 or more, got -1.0"),
        (["--prefix=a", "--temperature=nan"], 2, "temperature must be 0 or more, got nan"),
        (["--prefix=a", "--temperature=inf"], 2, "temperature must be 0 or more, got inf"),
        (["--prefix=a", "--top-k=0"], 2, "top_k must be at least 1, got 0"),
        (["--prefix=a", "--top-p=0"], 2, "top_p must be in (0, 1], got 0.0"),
        (["--prefix=a", "--top-p=1.5"], 2, "top_p must be in (0, 1], got 1.5"),
        (["--prefix=a", "--min-p=-0.1"], 2, "min_p must be in [0, 1], got -0.1"),
        (["--suffix=a"], 2, "reads forwards only and cannot write towards a suffix"),
        (["--prefix=a", "--suffix=a", "--length=3"], 2, "reads in one direction only (forward) and cannot fill a gap"),
    ],
)
def test_a_prefix_or_option_that_cannot_be_used_is_refused(
    refused: Callable[..., str], tmp_path: Path, trained: Run, options: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "latin").write_bytes("the café".encode("latin-1")[4:])
    filled = [option.format(tmp=tmp_path) for option in options]
    said = refused(code, "generate", f"--run={trained.path}", *filled, text=b"")
    assert sentence.format(tmp=tmp_path) in said


@pytest.mark.parametrize("option", ["--length=-1", "--length=many", "--num-samples=0", "--seed=-1", "--colour=red"])
def test_an_option_typer_refuses_is_2_without_a_traceback(charlm_command: Charlm, option: str) -> None:
    result = charlm_command("generate", "--prefix=a", option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert option.partition("=")[0] in result.stderr
    assert "Traceback" not in result.stderr


# A text to measure.


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the text has 0 characters: at least two are needed"),
        (b"a", "the text has 1 characters: at least two are needed"),
        ("a cat é".encode(), "the text has 1 character this model has never seen: 'é' (U+00E9) at position 6"),
        (b"\xff", "is not utf-8: byte 0xff at offset 0, line 1"),
        (None, "there is no corpus file"),
    ],
)
def test_a_text_that_cannot_be_measured_is_3(
    refused: Callable[..., str], tmp_path: Path, trained: Run, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "other.txt"
    if content is not None:
        file.write_bytes(content)
    assert sentence in refused(3, "eval", f"--run={trained.path}", f"--corpus={file}")


def test_eval_takes_a_split_or_a_file_but_not_both(
    refused: Callable[..., str], trained: Run, corpus_file: Path
) -> None:
    said = refused(2, "eval", f"--run={trained.path}", f"--corpus={corpus_file}", "--split=test")
    assert said == "give either --corpus or --split"


def test_a_split_the_run_does_not_have_is_4(
    tmp_path: Path, refused: Callable[..., str], charlm_command: Charlm, tiny_options: list[str]
) -> None:
    options = ("--set=corpus.split=nanogpt", "--set=train.max_steps=1", "--quiet")
    charlm_command("train", *tiny_options, *options, f"--runs-dir={tmp_path / 'others'}", "--run=run")
    said = refused(4, "eval", f"--run={tmp_path / 'others' / 'run'}", "--split=test")
    assert said == "the run run has no test split (corpus.split nanogpt)"


def test_a_missing_corpus_of_a_run_is_3(
    tmp_path: Path, refused: Callable[..., str], charlm_command: Charlm, tiny_options: list[str], corpus_text: str
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(corpus_text)
    charlm_command("train", f"--corpus={corpus}", *tiny_options[1:], f"--runs-dir={tmp_path / 'others'}", "--run=run")
    corpus.unlink()
    assert f"there is no corpus file {corpus}" in refused(3, "eval", f"--run={tmp_path / 'others' / 'run'}")


# The disk, and numbers.


def test_a_disk_full_from_the_first_byte_is_6(
    refused: Callable[..., str], tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    said = refused(6, "train", *tiny_options, "--quiet", "--run=run")
    sentence = r"cannot write .*/runs/run/environment\.json: no space left on device: [\d,]+ bytes are needed and "
    assert re.fullmatch(sentence + r"[\d,]+ are free", said)


def test_a_disk_that_fills_up_in_training_is_6_and_keeps_what_was_saved(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_write = os.write

    def write(descriptor: int, content: bytes) -> int:
        if (tmp_path / "run" / "checkpoints" / "step-00000000").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain_write(descriptor, content)

    monkeypatch.setattr(os, "write", write)
    result = charlm_command("train", *tiny_options, "--quiet", f"--runs-dir={tmp_path}", "--run=run")
    assert (result.exit_code, result.stdout) == (6, "")
    where = tmp_path / "run" / "checkpoints"
    assert result.stderr.startswith(
        f"charlm: cannot write {tmp_path / 'run' / 'metrics.jsonl'}: no space left on device: "
    )
    assert re.search(r": [\d,]+ bytes are needed and [\d,]+ are free\n$", result.stderr)
    assert [path.name for path in where.iterdir()] == ["step-00000000"]
    assert charlm_command("generate", f"--run={tmp_path / 'run'}", "--prefix=a ").exit_code == 0


def test_a_runs_folder_that_is_a_file_is_6(tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]) -> None:
    (tmp_path / "file").write_text("")
    result = charlm_command("train", *tiny_options, "--quiet", f"--runs-dir={tmp_path / 'file'}", "--run=run")
    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr == f"charlm: cannot write {tmp_path / 'file'}: not a directory\n"


def test_a_run_that_diverges_is_5(tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]) -> None:
    steep = ("--set=optimizer.method=sgd", "--set=optimizer.learning_rate=1e30")
    result = charlm_command("train", *tiny_options, *steep, "--quiet", f"--runs-dir={tmp_path}", "--run=run")
    assert (result.exit_code, result.stdout) == (5, "")
    last_good = tmp_path / "run" / "checkpoints" / "step-00000000"
    assert result.stderr.startswith("charlm: the loss is no longer finite at step 2 with learning rate 1e+30 and ")
    advice = "; lower optimizer.learning_rate or optimizer.clip_norm; the last good checkpoint is "
    assert result.stderr.endswith(f"{advice}{last_good}\n")
