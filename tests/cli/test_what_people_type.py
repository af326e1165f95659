"""What people type, and what they get: an exit code and words that help, and nothing runs by mistake."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.cli.flags import FLAGS
from charlm.runs.run import Run
from charlm.settings.loading import dotted_values, load_settings

Charlm = Callable[..., Result]
TINY = """
model: {hidden_size: 8}
sampling: {batch_size: 4, seq_len: 16}
train: {max_steps: 2, device: cpu, threads: 1}
sample: {prefixes: ["the "], length: 8}
eval: {baselines: false}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_text: str, trained: Run) -> Path:
    """Return a folder to work in, with texts, a tiny configuration and a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARLM_RUNS_DIR", raising=False)
    for name in ("mine.txt", "yours.txt", "lyrics.txt"):
        Path(name).write_text(corpus_text, encoding="utf-8")
    Path("runs").mkdir()
    Path("runs", "my-run").symlink_to(trained.path)
    Path("tiny.yaml").write_text(TINY, encoding="utf-8")
    return tmp_path


# A command, its exit code, and words that it prints on standard error or, where the code is 0, on either stream.
TYPED = r"""
charlm tets                             | 2 | there is no command charlm tets; did you mean charlm eval?
charlm test                             | 2 | did you mean charlm eval?
charlm evaluate                         | 2 | did you mean charlm eval?
charlm write                            | 2 | did you mean charlm generate?
charlm talk                             | 2 | did you mean charlm chat?
charlm interactive                      | 2 | did you mean charlm chat?
charlm chat                             | 2 | in pipes and scripts, use charlm generate
charlm play                             | 2 | in pipes and scripts, use charlm generate
charlm predict                          | 2 | did you mean charlm generate?
charlm genrate                          | 2 | did you mean charlm generate?
charlm fit                              | 2 | did you mean charlm train?
charlm trian                            | 2 | did you mean charlm train?
charlm resume                           | 2 | did you mean charlm train --resume?
charlm curves                           | 2 | did you mean charlm plot?
charlm draw                             | 2 | did you mean charlm plot?
charlm diff                             | 2 | did you mean charlm compare?
charlm tune                             | 2 | did you mean charlm sweep?
charlm ls                               | 2 | did you mean charlm info?
charlm download                         | 2 | did you mean charlm corpus get?
charlm datasets                         | 2 | did you mean charlm corpus list?
charlm init                             | 2 | did you mean charlm config init?
charlm surprise                         | 2 | did you mean charlm score?
charlm docs                             | 2 | did you mean charlm guide?
charlm mine.txt                         | 2 | did you mean charlm train mine.txt?
charlm absent.txt                       | 2 | did you mean charlm train absent.txt?
charlm xyzzy                            | 2 | charlm --help lists the commands
charlm --                               | 2 | charlm needs a command
charlm -                                | 2 | there is no command charlm -
charlm --epochs 3                       | 2 | charlm has no option --epochs; it is an option of charlm train
charlm -v                               | 2 | charlm has no option -v; did you mean --version?
charlm corpus lst                       | 2 | did you mean charlm corpus list?
charlm corpus download                  | 2 | did you mean charlm corpus get?
charlm config print                     | 2 | did you mean charlm config show?
charlm config chek                      | 2 | did you mean charlm config check?
charlm nothelp train                    | 2 | there is no command charlm nothelp
charlm help nothing                     | 2 | there is no command charlm nothing
charlm version                          | 0 | charlm 0.
charlm -V                               | 0 | charlm 0.
charlm --version                        | 0 | charlm 0.
charlm help                             | 0 | Usage: charlm COMMAND
charlm help corpus get                  | 0 | Usage: charlm corpus get
charlm corpus help                      | 0 | Usage: charlm corpus COMMAND
charlm list                             | 0 | my-run
charlm runs                             | 0 | my-run
charlm runs my-run                      | 0 | my-run
charlm sample --prefix 'the ' --length 3 --run my-run | 0 | the
charlm train --lr 3                     | 2 | has no option --lr; did you mean --learning-rate?
charlm train --hidden 64                | 2 | did you mean --hidden-size?
charlm train --hidden-dim=64            | 2 | did you mean --hidden-size?
charlm train --hiddenSize 64            | 2 | did you mean --hidden-size?
charlm train --rnn_size 64              | 2 | did you mean --hidden-size?
charlm train --layers 2                 | 2 | did you mean --num-layers?
charlm train --num_layers 2             | 2 | did you mean --num-layers?
charlm train --n-layers 2               | 2 | did you mean --num-layers?
charlm train --epoch 2                  | 2 | did you mean --epochs?
charlm train --num-epochs 2             | 2 | did you mean --epochs?
charlm train -e 2                       | 2 | did you mean --epochs?
charlm train -epochs 2                  | 2 | has no option -epochs; did you mean --epochs?
charlm train --max-steps 2              | 2 | did you mean --steps?
charlm train --max_iters 2              | 2 | did you mean --steps?
charlm train --time 2                   | 2 | did you mean --minutes?
charlm train --batch 2                  | 2 | did you mean --batch-size?
charlm train --bs 2                     | 2 | did you mean --batch-size?
charlm train --model gru                | 2 | did you mean --cell?
charlm train --dataset mine.txt         | 2 | did you mean --corpus?
charlm train --data mine.txt            | 2 | did you mean --corpus?
charlm train --input mine.txt           | 2 | did you mean --corpus?
charlm train --file mine.txt            | 2 | did you mean --corpus?
charlm train --output there             | 2 | did you mean --run?
charlm train --name there               | 2 | did you mean --run?
charlm train --out_dir there            | 2 | did you mean --runs-dir?
charlm train --continue                 | 2 | did you mean --resume?
charlm train --resum                    | 2 | did you mean --resume?
charlm train --gpu                      | 2 | did you mean --set train.device=VALUE?
charlm train --seq-len 32               | 2 | did you mean --set sampling.seq_len=32?
charlm train --bptt=32                  | 2 | did you mean --set sampling.seq_len=32?
charlm train --embedding-size 8         | 2 | did you mean --set model.embedding_size=8?
charlm train --optimizer sgd            | 2 | did you mean --set optimizer.method=sgd?
charlm train --wd 0.1                   | 2 | did you mean --set optimizer.weight_decay=0.1?
charlm train --clip 1                   | 2 | did you mean --set optimizer.clip_norm=1?
charlm train --split 80/10/10           | 2 | did you mean --set corpus.split=80/10/10?
charlm train --model.zoneout 0.1        | 2 | did you mean --set model.zoneout=0.1?
charlm train --xyzzy                    | 2 | has no option --xyzzy; charlm train --help shows its options
charlm train --odd 3                    | 2 | it is an option of charlm score
charlm generate --prompt x              | 2 | did you mean --prefix?
charlm generate --input mine.txt        | 2 | did you mean --prefix-file?
charlm generate --max-length 3          | 2 | did you mean --length?
charlm generate --temp 3                | 2 | did you mean --temperature?
charlm generate --top_k 3               | 2 | did you mean --top-k?
charlm generate --samples 3             | 2 | did you mean --num-samples?
charlm generate --model my-run          | 2 | did you mean --run?
charlm generate --name my-run           | 2 | did you mean --run?
charlm generate --output f              | 2 | results go to standard output; redirect them with > FILE
charlm generate --epochs 3              | 2 | it is an option of charlm train
charlm eval --data mine.txt             | 2 | did you mean --corpus?
charlm eval --lr 3                      | 2 | did you mean --learning-rate?
charlm eval --name my-run               | 2 | did you mean --run?
charlm eval my-run                      | 2 | there is no file my-run: --run my-run measures the run of that name
charlm eval dynamic                     | 2 | did you mean --dynamic?
charlm config show tiny.yaml            | 2 | did you mean --config tiny.yaml?
charlm config show quickstart           | 2 | did you mean --config quickstart?
charlm corpus list x                    | 2 | takes no argument 'x'; charlm corpus list --help shows its options
charlm score --dataset mine.txt         | 2 | did you mean --file?
charlm compare --output curves.svg      | 2 | did you mean --plot?
charlm sweep --workers 2 cells          | 2 | did you mean --jobs?
charlm bench --hidden 8                 | 2 | did you mean --hidden-size?
charlm bench --layers 8                 | 2 | did you mean --num-layers?
charlm info --format json               | 2 | did you mean --json?
charlm verify a b                       | 2 | takes one RUN; if it has spaces, put quotes around it: 'a b'
charlm sweep                            | 2 | charlm sweep needs FILE, as in: charlm sweep cells
charlm corpus get                       | 2 | charlm corpus get needs NAME, as in: charlm corpus get tinyshakespeare
charlm config check                     | 2 | charlm config check needs FILE, as in: charlm config check my.yaml
charlm train --set                      | 2 | --set needs a value: --set KEY=VALUE
charlm train --epochs                   | 2 | --epochs needs a value: --epochs N
charlm train --quiet=1                  | 2 | --quiet takes no value
charlm train --seeds x                  | 2 | --seeds must be a whole number from 2 to 1,000, got 'x'
charlm train --seeds 1                  | 2 | --seeds must be a whole number from 2 to 1,000, got 1
charlm sweep cells --jobs 1.5           | 2 | --jobs must be a whole number from 1 to 1,024, got 1.5
charlm bench --rounds 0                 | 2 | --rounds must be a whole number, at least 1, got 0
charlm eval --split vall                | 2 | --split must be train, val or test, got 'vall'; did you mean val?
charlm train --run ''                   | 2 | --run is empty
charlm train --config ''                | 2 | --config is empty
charlm train --set ''                   | 2 | --set is empty
charlm train --corpus ''                | 2 | --corpus is empty
charlm train ''                         | 2 | TEXT is empty
charlm train mine.txt ''                | 2 | TEXT is empty
charlm train --epochs ''                | 2 | --epochs is empty
charlm train --runs-dir ''              | 2 | --runs-dir is empty
charlm generate --run '' --prefix x     | 2 | --run is empty
charlm eval --run ''                    | 2 | --run is empty
charlm eval --corpus ''                 | 2 | --corpus is empty
charlm info ''                          | 2 | RUN is empty
charlm compare my-run ''                | 2 | RUN is empty
charlm sweep ''                         | 2 | FILE is empty
charlm config check ''                  | 2 | FILE is empty
charlm train --set epochs=3             | 2 | unknown key epochs; did you mean train.epochs?
charlm train --set lr=3                 | 2 | did you mean optimizer.learning_rate?
charlm train --set hidden=3             | 2 | did you mean model.hidden_size?
charlm train --set epochs               | 2 | must look like section.key=value
charlm train --set model.cell=lstn      | 2 | did you mean lstm?
charlm train --set corpus.split=nanogtp | 2 | did you mean nanogpt?
charlm train --set optimizer=sgd        | 2 | did you mean optimizer.method=sgd?
charlm train --epochs 0                 | 2 | train.epochs must be at least 1, got 0 (--epochs)
charlm train --epochs ten               | 2 | train.epochs must be a whole number, got 'ten' (--epochs)
charlm train --steps -1                 | 2 | train.max_steps must be at least 1, got -1 (--steps)
charlm train --minutes soon             | 2 | train.fit_minutes must be a number, got 'soon' (--minutes)
charlm train --cell lstn                | 2 | got 'lstn'; did you mean lstm? (--cell)
charlm train --hidden-size 0            | 2 | model.hidden_size must be at least 1, got 0 (--hidden-size)
charlm train --num-layers 1.5           | 2 | model.num_layers must be a whole number, got 1.5 (--num-layers)
charlm train --dropout 1                | 2 | model.dropout must be less than 1.0, got 1 (--dropout)
charlm train --learning-rate fast       | 2 | optimizer.learning_rate must be a number, got 'fast' (--learning-rate)
charlm train --batch-size 0             | 2 | sampling.batch_size must be at least 1, got 0 (--batch-size)
charlm train --seed x                   | 2 | train.seed must be a whole number, got 'x' (--seed)
charlm train --epochs '[1'              | 2 | --epochs:1:
charlm train --epochs 2 --set train.epochs=3   | 2 | give either --epochs or --set train.epochs=3
charlm train --steps 2 --set 'train={epochs: 3, max_steps: 4}' | 2 | give either --steps or --set
charlm train --lerning-rate 2           | 2 | did you mean --learning-rate?
charlm train --seed 1 --seeds 3         | 2 | --seed applies to one run, but --seeds trains several
charlm train --seeds 3 --resume         | 2 | leave --resume out
charlm train --resume --seed random     | 2 | a resumed run keeps its own
charlm train storeis                    | 3 | there is no corpus file {folder}/storeis; did you mean the corpus stories?
charlm train mien.txt                   | 3 | did you mean mine.txt?
charlm train mine                       | 3 | did you mean mine.txt?
charlm train lyric                      | 3 | did you mean lyrics.txt or the corpus lyrics?
charlm train --corpus storeis           | 3 | did you mean the corpus stories?
charlm train xyzzy                      | 3 | `charlm corpus list` shows corpora known by name
charlm train stories mine.txt           | 2 | the corpus stories cannot be combined with other texts
charlm train text8                      | 3 | run: charlm corpus get text8
charlm train lyrics-gru                 | 2 | lyrics-gru is a configuration, not a text: --config lyrics-gru
charlm train tiny.yaml                  | 2 | --config tiny.yaml; as a text to train on: --corpus tiny.yaml
charlm train epochs=3                   | 2 | did you mean --set train.epochs=3?
charlm train mine.txt model.cell=gru    | 2 | did you mean --set model.cell=gru?
charlm train - -                        | 2 | there is only one standard input
charlm train --config lyrics-gro        | 2 | did you mean lyrics-gru?
charlm train --config tinny.yaml        | 2 | did you mean tiny.yaml?
charlm train --config tiny              | 2 | did you mean tiny.yaml?
charlm train --config xyzzy             | 2 | the bundled ones are auto,
charlm config show --config quikstart   | 2 | did you mean quickstart?
charlm config check quickstrat          | 2 | did you mean quickstart?
charlm sweep cell                       | 2 | did you mean cells?
charlm corpus info storys               | 3 | did you mean stories?
charlm corpus info mien.txt             | 3 | did you mean mine.txt?
charlm corpus get shakespeare           | 3 | did you mean tinyshakespeare?
charlm train --set corpus.name=storys   | 3 | did you mean stories?
charlm info my_run                      | 4 | there is no run my_run in runs; did you mean my-run?
charlm eval --run myrun                 | 4 | did you mean my-run?
charlm eval --run my-run --checkpoint lst    | 2 | must be best, last or a step's number, got 'lst'; did you mean last?
charlm eval --run my-run --checkpoint latest | 2 | did you mean last?
charlm eval --run my-run --device gpu        | 2 | mps, cuda or cuda:N, got 'gpu'; did you mean cuda?
charlm bench --cell lstn                | 2 | --cell must be rnn, gru or lstm, got 'lstn'; did you mean lstm?
charlm generate --run xyzzy --prefix x  | 4 | there is no run xyzzy in runs; the newest there: my-run
charlm compare my-rum my-run            | 4 | did you mean my-run?
charlm verify my-ru                     | 4 | did you mean my-run?
"""
ROWS = [[cell.strip() for cell in line.rsplit("|", 2)] for line in TYPED.strip().splitlines()]


@pytest.mark.parametrize(("line", "code", "words"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_typed_gets_what_helps(line: str, code: str, words: str, charlm_command: Charlm, folder: Path) -> None:
    before = sorted(Path("runs").iterdir())
    result = charlm_command(*shlex.split(line)[1:])
    assert result.exit_code == int(code)
    if result.exit_code:
        assert result.stdout == ""
        assert all(each.startswith("charlm: ") for each in result.stderr.splitlines())
        assert result.stderr.count("\n") == 1
    assert words.format(folder=folder) in result.stderr + result.stdout
    assert sorted(Path("runs").iterdir()) == before


def test_a_command_alone_shows_help_and_asks_for_more(charlm_command: Charlm) -> None:
    for group in ((), ("corpus",), ("config",)):
        result = charlm_command(*group)
        assert (result.exit_code, result.stderr) == (2, "")
        assert result.stdout == charlm_command(*group, "--help").stdout


# Texts as arguments.


def settings_of(name: str) -> dict[str, object]:
    """Return the settings of a run by their dotted keys."""
    return dict(dotted_values(Run(Path("runs", name)).settings()))


def train(charlm_command: Charlm, *words: str, run: str = "new") -> Result:
    """Train a tiny run."""
    result = charlm_command("train", *words, "--config=tiny.yaml", f"--run={run}", "--quiet")
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["mine.txt"], ["mine.txt"]),
        (["mine.txt", "yours.txt"], ["mine.txt", "yours.txt"]),
        (["mine.txt", "--corpus", "yours.txt"], ["mine.txt", "yours.txt"]),
        (["--corpus", "yours.txt", "mine.txt"], ["mine.txt", "yours.txt"]),
        (["."], ["."]),
    ],
)
def test_arguments_are_corpora(words: list[str], paths: list[str], charlm_command: Charlm, folder: Path) -> None:
    train(charlm_command, *words)
    assert settings_of("new")["corpus.path"] == [str(folder / path) for path in paths]


def test_a_known_corpus_is_found_by_its_name_unless_a_file_has_that_name(
    charlm_command: Charlm, folder: Path, corpus_text: str
) -> None:
    short = "--set=corpus.max_chars=3000"
    train(charlm_command, "stories", short)
    assert settings_of("new")["corpus.name"] == "stories"
    train(charlm_command, "--corpus=stories", short, run="option")
    assert settings_of("option")["corpus.name"] == "stories"
    (folder / "stories").write_text(corpus_text)
    train(charlm_command, "stories", run="file")
    assert settings_of("file")["corpus.path"] == [str(folder / "stories")]


# Plain flags.

VALUES = ("3", "2", "0.5", "gru", "6", "2", "0.1", "2e-3", "3", "7")


@pytest.mark.usefixtures("folder")
def test_each_flag_is_its_setting(charlm_command: Charlm) -> None:
    given = dict(zip(FLAGS, VALUES, strict=True))
    # Next to a number of steps, minutes are a limit.
    flags = FLAGS | {"train.minutes": "--minutes"}
    given["train.minutes"] = given.pop("train.fit_minutes")
    train(charlm_command, "mine.txt", *(word for key, value in given.items() for word in (flags[key], value)))
    overrides = [f"{key}={value}" for key, value in given.items()]
    asked = dotted_values(load_settings("tiny.yaml", overrides=["corpus.path=mine.txt", *overrides]))
    found = settings_of("new")
    assert {key: found[key] for key in flags} == {key: asked[key] for key in flags}
    train(charlm_command, "mine.txt", *(f"--set={override}" for override in overrides), run="set")
    assert found == settings_of("set")


@pytest.mark.usefixtures("folder")
def test_flags_change_the_budget_of_a_run_that_is_resumed(charlm_command: Charlm) -> None:
    train(charlm_command, "mine.txt")
    result = charlm_command("train", "--resume", "--run=new", "--steps", "4", "--quiet")
    assert result.exit_code == 0
    assert settings_of("new")["train.max_steps"] == 4
    result = charlm_command("train", "--resume", "--run=new", "--hidden-size", "9", "--quiet")
    assert result.exit_code == 4
    assert "model.hidden_size was 8 and is 9" in result.stderr
    result = charlm_command("train", "--resume", "--run=new", "--steps", "0", "--quiet")
    assert result.exit_code == 2
    assert "train.max_steps must be at least 1, got 0 (--steps)" in result.stderr


@pytest.mark.usefixtures("folder")
def test_a_random_seed_is_drawn_printed_and_recorded(charlm_command: Charlm) -> None:
    words = ("train", "mine.txt", "--config=tiny.yaml", "--seed", "random")
    results = [charlm_command(*words, f"--run={name}") for name in ("one", "other")]
    seeds = []
    for result, name in zip(results, ("one", "other"), strict=True):
        assert result.exit_code == 0
        (seed,) = re.findall(r"^charlm: the random seed is (\d+); --seed \1 repeats this run$", result.stderr, re.M)
        assert settings_of(name)["train.seed"] == int(seed)
        seeds.append(seed)
    assert seeds[0] != seeds[1]
    quiet = charlm_command(*words, "--run=quiet", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert settings_of("quiet")["train.seed"] not in map(int, seeds)
