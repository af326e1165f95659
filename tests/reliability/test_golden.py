"""Runs kept from when their formats were new: every later version reads them, resumes them and agrees with them.

`python tests/reliability/test_golden.py` makes that of today's format anew, where its numbers were meant to change.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file
from torch.testing import assert_close
from typer.testing import Result

from charlm.errors import RunError
from charlm.library.measuring import evaluate
from charlm.library.models import open_run
from charlm.library.training import train
from charlm.library.writing import generate
from charlm.runs.checkpoints import FILES, load_checkpoint
from charlm.runs.durable import MANIFEST
from charlm.runs.formats import FORMAT, migrate_state
from charlm.runs.run import Run
from charlm.settings.loading import load_run_settings, load_settings
from charlm.settings.schema import Settings
from charlm.training.events import Start
from charlm.training.experiment import prepare
from charlm.training.launch import train_reports
from charlm.training.verification import verify_run

GOLDEN = Path(__file__).parents[1] / "golden"
CORPUS = GOLDEN / "corpus.txt"
# Where the corpus lay, as the run tells it: nowhere, on any machine.
NOWHERE = "/golden/corpus.txt"
STOPPED_AT, LAST = 12, 20
# Of the processor that computed those which do not say it.
FIRST_MAKER = "AuthenticAMD"
SETTINGS = (
    *("model.implementation=reference", "train.threads=1", "train.device=cpu", "train.seed=0"),
    *("sampling.method=consecutive", "sampling.batch_size=3", "sampling.seq_len=8"),
    *(f"train.max_steps={LAST}", "train.eval_every=5", "sample.prefixes=['the ']", "sample.length=12"),
    # The defaults of then.
    *("corpus.clean=none", "corpus.between_files=nothing"),
)
GRU = ("model.cell=gru", "model.hidden_size=6", "model.num_layers=2", "model.dropout=0.25")
AVERAGED_LSTM = ("model.cell=lstm", "model.hidden_size=4", "optimizer.average={method: ema, decay: 0.8}")
# What a clock, a machine or a version says; whoever makes it anew has another.
OF_THE_MACHINE = ("versions", "cores", "kernels", "kernel_build", "cpu_capability", "gpus", "platform")
# What evaluations have recorded, since those runs were made, in addition to what they recorded then.
NEWER = ("recent_", "epoch_nats", "epoch_bpc", "epoch_perplexity", "epoch_chars")
# Another processor's float32 sums round otherwise. A gradient that is nearly nothing then changes its sign, and Adam
# makes of that a step of up to the learning rate, 0.005; eight steps cannot be apart by more than eight of them.
WEIGHTS = {"rtol": 0.0, "atol": 8 * 0.005}
FIGURES = {"rtol": 1e-2, "atol": 0.0}
Command = Callable[..., Result]


@dataclass(frozen=True)
class Kept:
    """A stopped run that is kept, with its results.

    Args:
        folder: of the run, of results.json and of after.safetensors.
        format: that it was written in.
        overrides: its settings, in addition to those of all golden runs.
    """

    folder: Path
    format: int
    overrides: tuple[str, ...]

    @property
    def run(self) -> Run:
        """The run itself, which nobody may change."""
        return Run(self.folder / "run")

    @property
    def settings(self) -> Settings:
        """What it was trained with."""
        return load_settings(overrides=[f"corpus.path='{CORPUS}'", *SETTINGS, *self.overrides])

    @property
    def recorded(self) -> dict[str, Any]:
        """The results kept next to it."""
        return json.loads((self.folder / "results.json").read_bytes())


KEPT = {2: Kept(GOLDEN, 2, GRU), 3: Kept(GOLDEN / "average", 3, AVERAGED_LSTM)}


@dataclass(frozen=True)
class Golden:
    """A copy of a kept run that finds its corpus."""

    kept: Kept
    run: Run


def make(kept: Kept, folder: Path) -> Run:
    """Train a golden run until it is stopped."""
    steps = 0

    def stop() -> str | None:
        return "interrupt" if steps >= STOPPED_AT else None

    for report in train_reports(kept.settings, name="run", runs_dir=folder, should_stop=stop):
        steps = getattr(report, "step", steps)
    run = Run(folder / "run")
    for path in (run.path, *run.checkpoint_paths()):
        replace_text(path / "config.yaml", str(CORPUS), NOWHERE)
    facts = json.loads((run.path / "environment.json").read_bytes())
    kept = {key: value for key, value in facts.items() if key not in OF_THE_MACHINE}
    (run.path / "environment.json").write_text(json.dumps(kept | {"corpus": [NOWHERE]}, indent=1) + "\n")
    for path in run.checkpoint_paths():
        agree(path, FORMAT)
    (run.path / ".lock").unlink()
    return run


def agree(path: Path, number: int) -> None:
    """Make a manifest agree with the files next to it."""
    contents = {name: (path / name).read_bytes() for name in FILES}
    entries = {name: {"bytes": len(each), "sha256": sha256(each).hexdigest()} for name, each in contents.items()}
    # Format 1 did not record which version wrote it.
    writer = {"charlm": json.loads((path / MANIFEST).read_bytes()).get("charlm")} if number > 1 else {}
    (path / MANIFEST).write_text(json.dumps({"format": number, **writer, "files": entries}, indent=1) + "\n")


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace a text in a file."""
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def without_clock(value: Any) -> Any:
    """Return JSON values without what a clock says."""
    if isinstance(value, list):
        return [without_clock(each) for each in value]
    if isinstance(value, Mapping):
        return {key: without_clock(each) for key, each in value.items() if "second" not in key}
    return value


def is_alike(found: Any, kept: Any, is_exact: bool) -> bool:
    """Say whether JSON values agree but for clocks: in everything where bits are promised, else nearly in numbers."""
    if isinstance(kept, Mapping):
        keys = {key for key in (*found, *kept) if "second" not in key}
        return all(key in found and key in kept and is_alike(found[key], kept[key], is_exact) for key in keys)
    if isinstance(kept, list):
        pairs = zip(found, kept, strict=False)
        return len(found) == len(kept) and all(is_alike(one, other, is_exact) for one, other in pairs)
    if is_exact or type(kept) is not float:
        return found == kept
    return type(found) is float and found == pytest.approx(kept, rel=FIGURES["rtol"])


def results(run: Run) -> dict[str, Any]:
    """Return what is measured of a run's last checkpoint."""
    model = open_run(run, checkpoint="last")
    figure = evaluate(model, files=[CORPUS]).main
    (text,) = generate(model, "the ", length=60, seed=0)
    return {"step": model.checkpoint.step, "nats": figure.nats, "chars": figure.num_predicted, "text": text}


def has_same_fingerprint(kept: Kept) -> bool:
    """Say whether this machine promises the bits of the one that a golden run was made on."""
    is_same = without_version(prepare(kept.settings).fingerprint) == without_version(kept.recorded["fingerprint"])
    return is_same and maker() == kept.recorded.get("maker", FIRST_MAKER)


def maker() -> str | None:
    """Return the maker of the processor; None if the system does not report it.

    A fingerprint does not say it, and on another maker's processor torch's libraries sum in another order.
    """
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    found = re.search(r"^vendor_id\s*:\s*(\w+)$", text, re.MULTILINE)
    return found and found[1]


def without_version(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint without our own version: that today's agrees with it is what is tested here."""
    return {key: value for key, value in fingerprint.items() if key != "charlm"}


def assert_agree(kept: Kept, found: Mapping[str, Any]) -> None:
    """Check measurements: equal where bits are promised, else near."""
    recorded = kept.recorded["at"][str(found["step"])]
    if has_same_fingerprint(kept):
        assert found == recorded
        return
    assert found["chars"] == recorded["chars"]
    assert_close(found["nats"], recorded["nats"], **FIGURES)


def assert_weights_agree(kept: Kept, run: Run) -> None:
    """Check the weights at the end against those that were kept."""
    model, after = load_checkpoint(run, "last").model, load_file(kept.folder / "after.safetensors")
    assert set(model) == set(after)
    exact = {"rtol": 0.0, "atol": 0.0}
    for name, tensor in after.items():
        assert_close(model[name], tensor, **(exact if has_same_fingerprint(kept) else WEIGHTS))


def to_format_1(path: Path) -> None:
    """Turn a checkpoint into what the first format was."""
    later = ("learning_rate", "gradient_norm", "num_skipped", "num_skipped_in_a_row", "num_rollbacks")
    state = json.loads((path / "state.json").read_bytes())
    progress = {key: value for key, value in state["progress"].items() if key not in later}
    first = {"val_nats_per_char": state["val_nats_per_char"], "progress": progress, "step": state["step"]}
    (path / "state.json").write_text(json.dumps(first, indent=1) + "\n")
    to_config_1(path / "config.yaml")
    agree(path, 1)


def to_config_1(path: Path) -> None:
    """Remove the settings that came with the second format."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^checkpoint:\n(  .*\n)+", "", text, flags=re.MULTILINE)
    path.write_text(re.sub(r"^  (on_divergence|max_rollbacks): .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")


@pytest.fixture(params=[1, 2, 3], ids=["format 1", "format 2", "format 3"])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    """Return a copy of a golden run, in its own format or in the first."""
    kept = KEPT[max(request.param, 2)]
    run = Run(shutil.copytree(kept.run.path, tmp_path / "runs" / "run"))
    replace_text(run.path / "config.yaml", NOWHERE, str(CORPUS))
    if request.param == 1:
        to_config_1(run.path / "config.yaml")
        # The first format saved evaluations only: what was stopped between two went back to the one before.
        shutil.rmtree(run.checkpoint_paths()[-1])
        for path in run.checkpoint_paths():
            to_format_1(path)
    return Golden(kept, run)


def test_the_golden_runs_cover_each_format_and_name_no_machine() -> None:
    assert max(KEPT) == FORMAT == 3
    for number, kept in KEPT.items():
        for path in kept.run.checkpoint_paths():
            assert json.loads((path / MANIFEST).read_bytes())["format"] == kept.format == number
    files = [path for path in GOLDEN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 80 * 1024
    for path in files:
        text = path.read_bytes()
        assert not any(folder in text for folder in (b"/home/", b"/root/", b"/tmp/", b"/Users/"))


def test_a_golden_run_is_intact(golden: Golden, charlm_command: Command) -> None:
    assert [verdict.damage for verdict in verify_run(golden.run)] == [None] * len(golden.run.checkpoint_paths())
    assert charlm_command("verify", golden.run.path).exit_code == 0
    assert charlm_command("info", golden.run.path).exit_code == 0


def test_a_golden_run_gives_its_old_results(golden: Golden) -> None:
    assert_agree(golden.kept, results(golden.run))


def test_a_golden_run_has_the_average_of_its_format(golden: Golden) -> None:
    checkpoint = load_checkpoint(golden.run, "last")
    progress = checkpoint.state["progress"]
    assert (progress["is_averaging"], progress["val_to_beat"], progress["recent_vals"]) == (False, None, [])
    is_averaged = golden.kept.format == 3
    assert progress["num_averaged"] == (STOPPED_AT if is_averaged else 0)
    raw = {name.removeprefix("weights.") for name in checkpoint.training if name.startswith("weights.")}
    assert raw == (set(checkpoint.model) if is_averaged else set())


def test_a_resumed_golden_run_ends_as_it_did(golden: Golden) -> None:
    before = load_checkpoint(golden.run, "last")
    starts: list[Start] = []
    resumed = train(
        name="run",
        runs_dir=golden.run.path.parent,
        resume=True,
        observe=lambda r: starts.append(r) if type(r) is Start else None,
    )
    (start,) = starts
    assert start.resumed_at == before.step
    if before.step != STOPPED_AT:
        assert start.note is not None
        assert "older charlm did not record what it ran on" in start.note
    found = results(resumed)
    assert found["step"] == LAST
    assert_agree(golden.kept, found)
    assert_weights_agree(golden.kept, resumed)
    assert [record["step"] for record in resumed.metrics()[:-1]] == [5, 10, 15, 20]
    # From now on it is one of today's.
    assert json.loads((resumed.checkpoint_paths()[-1] / MANIFEST).read_bytes())["format"] == FORMAT


@pytest.mark.parametrize("kept", KEPT.values(), ids=lambda kept: f"format {kept.format}")
def test_todays_code_writes_the_golden_runs(kept: Kept, tmp_path: Path) -> None:
    is_exact = has_same_fingerprint(kept)
    run, golden = make(kept, tmp_path), kept.run
    names = sorted(str(path.relative_to(golden.path)) for path in golden.path.rglob("*"))
    assert sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*")) == names
    # A setting that is newer than the golden run has its default there; the files of folders were chosen otherwise.
    then = {"corpus.glob": golden.settings().corpus.glob}
    assert run.settings().replaced(then) == golden.settings()
    assert (run.path / "environment.json").read_bytes() == (golden.path / "environment.json").read_bytes()
    told = [{key: each[key] for key in each if not key.startswith(NEWER)} for each in run.metrics()]
    assert is_alike(told, golden.metrics(), is_exact)
    assert is_alike(run.samples(), golden.samples(), is_exact)
    for mine, theirs in zip(run.checkpoint_paths(), golden.checkpoint_paths(), strict=True):
        assert load_run_settings(mine / "config.yaml").replaced(then) == load_run_settings(theirs / "config.yaml")
        assert (mine / "vocabulary.json").read_bytes() == (theirs / "vocabulary.json").read_bytes()
        for name in ("model.safetensors", "training.safetensors"):
            old, new = load_file(theirs / name), load_file(mine / name)
            assert set(new) == set(old)
            for key in old:
                assert_close(new[key], old[key], **({"rtol": 0.0, "atol": 0.0} if is_exact else WEIGHTS))
        new, old = (json.loads((path / "state.json").read_bytes()) for path in (mine, theirs))
        states = [without_clock(new), without_clock(migrate_state(old, kept.format))]
        for state in states:
            state["fingerprint"] = without_version(state["fingerprint"])
        assert is_alike(*states, is_exact)
        manifests = [json.loads((path / MANIFEST).read_bytes()) for path in (mine, theirs)]
        assert [manifest["format"] for manifest in manifests] == [FORMAT, kept.format]
        assert list(manifests[0]["files"]) == list(manifests[1]["files"])


def test_a_format_of_the_future_is_refused_with_the_version_to_install(tmp_path: Path, charlm_command: Command) -> None:
    run = Run(shutil.copytree(KEPT[FORMAT].run.path, tmp_path / "runs" / "run"))
    for path in run.checkpoint_paths():
        manifest = json.loads((path / MANIFEST).read_bytes())
        (path / MANIFEST).write_text(json.dumps({**manifest, "format": FORMAT + 1, "charlm": "7.0.1"}))
    with pytest.raises(
        RunError, match=rf"has format {FORMAT + 1}, but .* reads up to {FORMAT}: install charlm 7\.0\.1"
    ):
        load_checkpoint(run, STOPPED_AT)
    for command in (
        ("verify", "run"),
        ("generate", "--run", "run", "--prefix", "the "),
        ("train", "--resume", "--run", "run"),
    ):
        result = charlm_command(*command, "--runs-dir", run.path.parent)
        assert result.exit_code == 4
        assert "install charlm 7.0.1 or newer" in result.stdout + result.stderr


def write_golden(kept: Kept) -> None:  # pragma: no cover
    """Make a golden run and its results anew."""
    shutil.rmtree(kept.folder / "run", ignore_errors=True)
    run = make(kept, kept.folder)
    at: dict[str, Any] = {}
    folder = kept.folder / "unfinished"
    shutil.copytree(run.path, folder / "run")
    copy = Run(folder / "run")
    replace_text(copy.path / "config.yaml", NOWHERE, str(CORPUS))
    at[str(STOPPED_AT)] = results(copy)
    shutil.copytree(copy.path, folder / "earlier" / "run")
    earlier = Run(folder / "earlier" / "run")
    shutil.rmtree(earlier.checkpoint_paths()[-1])
    before = results(earlier)
    at[str(before["step"])] = before
    ended = train(name="run", runs_dir=folder, resume=True)
    at[str(LAST)] = results(ended)
    last = load_checkpoint(ended, "last")
    save_file(dict(last.model), kept.folder / "after.safetensors")
    told = {"fingerprint": last.state["fingerprint"], "maker": maker(), "at": at}
    (kept.folder / "results.json").write_text(json.dumps(told, indent=1) + "\n")
    shutil.rmtree(folder)


if __name__ == "__main__":  # pragma: no cover
    write_golden(KEPT[FORMAT])
