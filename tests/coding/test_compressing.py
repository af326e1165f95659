"""`charlm compress` and `charlm decompress`: sizes, and what is refused before anything is written."""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pairs import one_in
from typer.testing import Result

import charlm
from charlm.coding.coded_file import CRC_BYTES, Coded, CodedFile, pack_file, unpack_file
from charlm.library import compressing
from charlm.library.models import open_run
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Charlm = Callable[..., Result]


@pytest.fixture
def coded(trained: Run, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a compressed text in the present folder, beside the runs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.path, "runs/trained")
    Path("text.txt").write_bytes(corpus_file.read_bytes() + b"\r\nna\xc3\xafve \xff\n")
    charlm.compress("trained", "text.txt", "text.cz")
    return Path("text.cz")


def refusal(result: Result, exit_code: int, *words: str) -> None:
    """Check that a command was refused in one sentence, and wrote nothing."""
    assert result.exit_code == exit_code, (result.stdout, result.stderr)
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert result.stderr.startswith("charlm: ")
    assert all(word in result.stderr for word in words), result.stderr
    assert not Path("out.txt").exists()
    assert [path.name for path in Path().iterdir() if path.name.startswith(".tmp")] == []


def test_what_was_compressed_comes_back(coded: Path, charlm_command: Charlm) -> None:
    original = Path("text.txt").read_bytes()
    told = charlm_command("decompress", "text.cz", "-o", "out.txt")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout == f"out.txt: {len(original):,} bytes, with step 60 of the run trained; the checksum is right\n"
    assert Path("out.txt").read_bytes() == original
    assert coded.stat().st_size < len(original) / 3


def test_the_names_of_files_follow_each_other(coded: Path, charlm_command: Charlm) -> None:
    assert charlm_command("compress", "text.txt").stdout.startswith("text.txt.cz: ")
    original = Path("text.txt").read_bytes()
    Path("text.txt").unlink()
    assert charlm_command("decompress", "text.txt.cz").exit_code == 0
    assert Path("text.txt").read_bytes() == original
    refusal(charlm_command("decompress", "text.txt.cz"), 2, "text.txt exists", "--force")
    assert charlm_command("decompress", "text.txt.cz", "--force").exit_code == 0
    refusal(charlm_command("compress", "text.txt", "-o", "text.txt", "--force"), 2, "is the file to compress")
    refusal(charlm_command("decompress", "text.txt"), 2, "does not end in .cz")
    refusal(charlm_command("decompress", "text.cz", "-o", "text.cz", "--force"), 2, "is the file to decompress")
    assert coded.exists()


def test_a_run_and_its_exported_file_are_one_model(coded: Path, charlm_command: Charlm) -> None:
    charlm.export_model("trained", "trained.charlm")
    by_file = charlm_command("compress", "text.txt", "--run", "trained.charlm", "-o", "file.cz", "--json")
    assert json.loads(by_file.stdout) == {
        "file": "file.cz",
        "bytes": coded.stat().st_size,
        "original_bytes": Path("text.txt").stat().st_size,
        "bits_per_byte": 8 * coded.stat().st_size / Path("text.txt").stat().st_size,
        "run": "trained",
        "step": 60,
        "is_coded": True,
    }
    assert Path("file.cz").read_bytes() == coded.read_bytes()
    shutil.rmtree("runs")
    refusal(charlm_command("decompress", "text.cz", "-o", "out.txt"), 4, "needs the model of the run trained", "--run")
    told = charlm_command("decompress", "text.cz", "-o", "out.txt", "--run", "trained.charlm", "--json")
    assert json.loads(told.stdout)["bytes"] == Path("text.txt").stat().st_size
    assert Path("out.txt").read_bytes() == Path("text.txt").read_bytes()


def test_the_step_of_the_file_is_taken_and_not_the_best(coded: Path, charlm_command: Charlm) -> None:
    steps = sorted(int(path.name[5:]) for path in Path("runs/trained/checkpoints").iterdir())
    charlm_command("compress", "text.txt", "--checkpoint", str(steps[0]), "-o", "first.cz")
    told = charlm_command("decompress", "first.cz", "-o", "out.txt")
    assert f"step {steps[0]} " in told.stdout
    assert coded.exists()


# As long as the names that runs are given.
NAME = "20261127-193504-lstm-16"
SIZES: dict[str, tuple[str, ...]] = {
    "rnn": ("model.cell=rnn",),
    "gru of two layers": ("model.cell=gru", "model.num_layers=2"),
    "lstm": ("model.cell=lstm",),
    "bidirectional": ("model.direction=bidirectional",),
    "backward": ("model.direction=backward",),
    "torch": ("model.implementation=torch",),
    "lower case": ("corpus.clean.lowercase=true",),
}


@pytest.mark.parametrize("model", one_in(3, SIZES))
def test_the_size_is_that_of_the_bits_that_eval_prints(
    model: str, tiny_settings: Callable[..., Settings], corpus_file: Path, tmp_path: Path
) -> None:
    run = charlm.train(tiny_settings(*SIZES[model]), name=NAME, runs_dir=tmp_path / "runs")
    text = tmp_path / "text.txt"
    text.write_bytes(corpus_file.read_bytes() * 4)
    found = charlm.evaluate(run, files=[text]).main
    size = charlm.compress(run, text, tmp_path / "text.cz").num_bytes
    num_bytes = found.bits_per_char * found.num_predicted / 8
    assert -1 < size - num_bytes <= 0.001 * num_bytes + 64


def test_the_size_of_a_list_is_that_of_the_bits_that_eval_prints(listed: Run, names_file: Path, tmp_path: Path) -> None:
    found = charlm.evaluate(listed, files=[names_file]).main
    size = charlm.compress(listed, names_file, tmp_path / "names.cz").num_bytes
    num_bytes = found.bits_per_char * found.num_predicted / 8
    assert -1 < size - num_bytes <= 0.001 * num_bytes + 64


def test_every_flipped_bit_and_every_cut_is_refused(coded: Path, charlm_command: Charlm) -> None:
    content, draw = coded.read_bytes(), random.Random(0)
    damaged = [content[:size] for size in (0, 1, 3, 4, 20, 60, len(content) // 2, len(content) - 1)]
    damaged += [content + b"\0", content[1:], content[:50] + content[51:], content[::-1]]
    for place in [*range(70), *draw.sample(range(70, len(content)), 30)]:
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        damaged.append(bytes(changed))
    for each in damaged:
        Path("bad.cz").write_bytes(each)
        with pytest.raises(charlm.errors.TextError):
            charlm.decompress("bad.cz", "out.txt")
    for each, word in ((damaged[6], "damaged"), (b"", "was not written by"), (content[:3] + b"\x07", "has format 7")):
        Path("bad.cz").write_bytes(each)
        refusal(charlm_command("decompress", "bad.cz", "-o", "out.txt"), 3, word)


@pytest.mark.parametrize("split", ["test", "val"])
def test_eval_prints_the_bytes_of_a_proof_beside_the_bits(split: str, trained: Run, charlm_command: Charlm) -> None:
    arguments = ("eval", "--run", str(trained.path), "--split", split, "--no-baselines")
    plain, shown = charlm_command(*arguments), charlm_command(*arguments, "--prove")
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    (proof,) = (line for line in lines if line.startswith("proof"))
    assert [line for line in lines if line != proof] == plain.stdout.splitlines()
    record = json.loads(charlm_command(*arguments, "--prove", "--json").stdout)
    num_bytes = record["bpc"] * record["chars"] / 8
    size = record["proof"]["bytes"]
    assert -1 < size - num_bytes < 0.001 * num_bytes + 9
    told = f"{size:,} bytes of code decode to the same text; the bits make {num_bytes:,.1f} bytes"
    assert proof == f"{'proof':<20}{told}"


def test_a_list_is_proved_and_a_leaky_model_is_not(
    listed: Run, tiny_settings: Callable[..., Settings], tmp_path: Path, charlm_command: Charlm
) -> None:
    record = json.loads(charlm_command("eval", "--run", str(listed.path), "--prove", "--json").stdout)
    assert record["proof"]["num_chars"] == record["chars"]
    assert abs(record["proof"]["bytes"] - record["bpc"] * record["chars"] / 8) < 9
    leaky = charlm.train(tiny_settings("model.direction=leaky"), name="leaky", runs_dir=tmp_path)
    refused = charlm_command("eval", "--run", str(leaky.path), "--prove")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "is leaky" in refused.stderr
    both = charlm_command("eval", "--run", str(listed.path), "--prove", "--dynamic")
    assert (both.exit_code, both.stdout) == (2, "")


def test_a_proof_that_fails_is_reported(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = compressing.decode_ids
    monkeypatch.setattr(compressing, "decode_ids", lambda *args, **options: decode(*args, **options) + 1)
    with pytest.raises(charlm.errors.RunError, match="does not decode"):
        compressing.prove(trained)


def changed_file(coded: Path, **fields: Any) -> None:
    """Write a file whose fields were changed, with the right checksum of itself."""
    Path("other.cz").write_bytes(pack_file(replace(unpack_file(coded.read_bytes()), **fields)))


def test_another_model_is_refused_by_name(
    coded: Path, tiny_settings: Callable[..., Settings], charlm_command: Charlm
) -> None:
    charlm.train(tiny_settings("train.seed=5"), name="other", runs_dir="runs")
    result = charlm_command("decompress", "text.cz", "--run", "other", "-o", "out.txt")
    refusal(result, 4, "another model than that of other", "the run trained at step 60")
    # The name alone does not make a model.
    shutil.rmtree("runs/trained")
    shutil.copytree("runs/other", "runs/trained")
    result = charlm_command("decompress", "text.cz", "-o", "out.txt")
    refusal(result, 4, "trained")
    assert coded.exists()


def test_one_changed_weight_is_another_model(coded: Path) -> None:
    model = open_run("trained")
    model.checkpoint.model["decoder.bias"][0] += 1e-6
    with pytest.raises(charlm.errors.RunError, match="another model"):
        charlm.decompress(coded, "out.txt", model=model)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("torch", ("by torch",)),
        ("x86-64-v3", ("native kernels for x86-64-v3",)),
        ("x86-64-v4", ("native kernels for x86-64-v4",)),
    ],
)
def test_other_bits_are_refused_by_name(
    place: str, words: tuple[str, ...], coded: Path, charlm_command: Charlm
) -> None:
    changed_file(coded, place=place, build=b"ab", probe=b"no")
    result = charlm_command("decompress", "other.cz", "-o", "out.txt")
    refusal(result, 4, "cannot be decoded here", *words)


def test_a_probe_that_misses_other_bits_is_followed_by_the_checksum(coded: Path, charlm_command: Charlm) -> None:
    file = unpack_file(coded.read_bytes())
    changed_file(coded, build=b"ab", checksum=bytes(8))
    refusal(charlm_command("decompress", "other.cz", "-o", "out.txt"), 4, "cannot be decoded here")
    changed_file(coded, checksum=bytes(8))
    refusal(charlm_command("decompress", "other.cz", "-o", "out.txt"), 3, "another checksum")
    assert isinstance(file.body, Coded)
    changed_file(coded, body=replace(file.body, code=file.body.code[::-1]))
    refusal(charlm_command("decompress", "other.cz", "-o", "out.txt"), 3, "is damaged")


def test_a_file_of_a_stranger_cannot_claim_anything(coded: Path, charlm_command: Charlm) -> None:
    file = unpack_file(coded.read_bytes())
    assert isinstance(file.body, Coded)
    for fields, exit_code in (
        ({"run": "../trained"}, 3),
        ({"run": ""}, 3),
        ({"run": ".."}, 3),
        ({"body": replace(file.body, num_chars=1 << 40)}, 3),
        ({"body": replace(file.body, layout=9)}, 3),
        ({"body": replace(file.body, edits=b"\x02\xff")}, 3),
        ({"body": b"\x07abc"}, 3),
        ({"length": 1 << 60}, 3),
        ({"body": replace(file.body, rates="0.1 x 20")}, 3),
        ({"body": replace(file.body, rates="0.1 0.1 999999999999999999999")}, 4),
    ):
        changed_file(coded, **fields)
        refusal(charlm_command("decompress", "other.cz", "-o", "out.txt"), exit_code)


def test_a_header_that_ends_early_is_refused() -> None:
    whole = pack_file(
        CodedFile(
            run="a",
            step=1,
            model=b"1234",
            place="torch",
            build=b"12",
            probe=b"12",
            length=0,
            checksum=b"8" * 8,
            body=b"",
        )
    )
    for size in range(4, len(whole) - CRC_BYTES - 1):
        cut = whole[:size] + zlib.crc32(whole[:size]).to_bytes(CRC_BYTES, "little")
        with pytest.raises(compressing.DamagedError):
            unpack_file(cut)
    assert unpack_file(whole).run == "a"


def test_files_that_cannot_be_read_are_refused(coded: Path, charlm_command: Charlm) -> None:
    refusal(charlm_command("compress", "missing.txt"), 3, "missing.txt")
    refusal(charlm_command("compress", "runs", "-o", "runs.cz"), 3, "not a file")
    refusal(charlm_command("decompress", "missing.cz", "-o", "out.txt"), 3, "missing.cz")
    refusal(charlm_command("compress", "text.txt", "-o", "nowhere/text.cz"), 6, "nowhere")
    assert coded.exists()
