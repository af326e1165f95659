"""Wrong words are answered by what was meant: other programs' words, other ways to write ours, misspellings."""

from __future__ import annotations

from pathlib import Path

import pytest

from charlm.errors import ConfigError
from charlm.settings.diagnosis import known_keys, nearest_key
from charlm.settings.loading import load_settings
from charlm.settings.nearest import MAX_WORD, MEANINGS, did_you_mean, nearest_choice, nearest_file, nearest_name
from charlm.sweeps.settings import SweepSettings

MEANT = {
    "optimizer.learning_rate": "lr learning-rate learningRate learning_rat lerning_rate train.lr optimizer.lr base_lr",
    "train.epochs": "epochs epoch num_epochs n_epochs epohcs max-epochs train.epoch",
    "train.max_steps": "steps max_iters iterations num-steps train.steps maxSteps",
    "train.minutes": "minutes time max_minutes train.time",
    "train.seed": "seed random_seed train.sed",
    "train.device": "gpu device cuda train.gpu",
    "train.threads": "threads num_threads workers",
    "train.early_stopping": "patience early_stopping earlyStopping train.early_stop",
    "train.eval_every": "eval_every eval_interval save_every eval.every",
    "model.hidden_size": "hidden hiddenSize hidden-size n_hidden nhid rnn_size units hiden_size hiden "
    "model.hidden model.size hidden_units hidden_dim Model.Hidden_Size modle.hidden_size",
    "model.num_layers": "layers nlayers n_layers num_layer numLayers model.layers depth",
    "model.cell": "cell cell_type rnn_type model_type model.type",
    "model.embedding_size": "embedding emsize embed_size embedding_dim embeddingSize n_embd model.embedding",
    "model.dropout": "dropout drop model.dropuot dropot p_dropout",
    "model.direction": "bidirectional direction",
    "model.tied_embeddings": "tied tie_weights",
    "model.layer_norm": "layernorm layerNorm",
    "model.implementation": "backend implementation",
    "model.activation": "nonlinearity activation",
    "sampling.batch_size": "bs batch batch-size batchSize batchsze train.batch_size sampling.batch mini_batch_size",
    "sampling.seq_len": "seqlen seq_length sequence_length bptt block_size context_length window sampling.length",
    "optimizer.method": "optim opt adam optimizer.name optimizer.type optimiser",
    "optimizer.weight_decay": "wd l2 weight_decay weightDecay",
    "optimizer.clip_norm": "clip grad_clip max_grad_norm optimizer.clip gradient_clipping",
    "optimizer.schedule.method": "scheduler lr_schedule lr_decay",
    "optimizer.schedule.warmup_steps": "warmup optimizer.schedule.warmup",
    "corpus.path": "data dataset input file text data_dir corpus.file corpus.dataset",
    "corpus.split": "split val_split corpus.splt",
    "corpus.max_chars": "max_chars limit",
    "corpus.clean.newline": "newline crlf corpus.newline",
    "corpus.clean.lowercase": "lowercase lower corpus.lower",
    "vocabulary.max_size": "vocab_size vocab",
    "vocabulary.min_count": "min_freq min_count",
    "sample.temperature": "temp temperature sample.temp",
    "sample.prefixes": "prompt prefix",
    "checkpoint.keep_every": "checkpoint.every keep_every",
}


@pytest.mark.parametrize(("word", "key"), [(word, key) for key, words in MEANT.items() for word in words.split()])
def test_a_word_is_answered_by_its_meaning(word: str, key: str) -> None:
    assert nearest_key(word) == key


def test_every_word_of_the_table_leads_to_a_setting() -> None:
    settings = {*known_keys(), *known_keys(SweepSettings)}
    assert set(MEANINGS.values()) <= settings
    # A setting's own name must not lead to another setting.
    own = {*known_keys()} - {"optimizer"}
    assert {word: key for word, key in MEANINGS.items() if word in own} == {}


@pytest.mark.parametrize("word", ["foo", "qqqq", "model.qqqq", "hello", "x", "", ".", "1", "a" * (MAX_WORD + 1)])
def test_a_word_like_none_of_ours_gets_no_suggestion(word: str) -> None:
    assert nearest_key(word) is None
    assert did_you_mean(nearest_key(word)) == ""


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("timemachin-lstm", "timemachine-lstm"),
        ("timemachine_lstm", "timemachine-lstm"),
        ("TimemachineLstm", "timemachine-lstm"),
        ("quick", "quickstart"),
        ("lstm", "timemachine-lstm"),
        ("zzz", None),
        ("", None),
        ("st", None),
    ],
)
def test_the_nearest_name(word: str, name: str | None) -> None:
    assert nearest_name(word, ["timemachine-lstm", "quickstart", "other"]) == name


@pytest.mark.parametrize(
    ("word", "choice"), [("lstn", "lstm"), ("LSTM", "lstm"), ("vanilla", "rnn"), ("gpu", None), ("cnn", None)]
)
def test_the_nearest_choice(word: str, choice: str | None) -> None:
    assert nearest_choice(word, ["rnn", "gru", "lstm"]) == choice


def test_the_nearest_file_is_one_next_to_the_missing_one_or_a_name(tmp_path: Path) -> None:
    for name in ("mine.yaml", "yours.yml", "mine.txt"):
        (tmp_path / name).touch()
    for word, near in (("mine", "mine.yaml"), ("mien.yaml", "mine.yaml"), ("yours.yaml", "yours.yml")):
        assert nearest_file(tmp_path / word, suffixes=(".yaml", ".yml")) == str(tmp_path / near)
    assert nearest_file(tmp_path / "quikstart", suffixes=(".yaml",), names=["quickstart"]) == "quickstart"
    assert nearest_file(tmp_path / "absent" / "mine", suffixes=(".yaml",)) is None


def test_the_nearest_file_in_the_working_folder_is_named_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()
    assert nearest_file(Path("mien.yaml"), suffixes=(".yaml",)) == "mine.yaml"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimizer=sgd", "did you mean optimizer.method=sgd?"),
        ("model.cell=lstn", "got 'lstn'; did you mean lstm?"),
        ("model.cell=LSTM", "did you mean lstm?"),
        ("train.device=gpu", "did you mean cuda?"),
        ("corpus.split=nanogtp", "did you mean nanogpt?"),
        ("optimizer.method=Adam", "did you mean adam?"),
        ("epochs=3", "unknown key epochs; did you mean train.epochs?"),
    ],
)
def test_a_wrong_setting_says_what_was_meant(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=[override])
    assert sentence in str(caught.value)


def refusals(override: str) -> list[str]:
    """Return the problems of a setting, or nothing if it is accepted."""
    try:
        load_settings(overrides=[override])
    except ConfigError as error:
        return str(error).splitlines()
    return []


FOREIGN = ("Input should", "Value error", "Field required", "type=")
WEIRD = [
    "x",
    "-1",
    "1e400",
    "[]",
    "[1]",
    "{}",
    "{a: 1}",
    "true",
    "null",
    "1.5",
    "''",
    "99999999999999999999999",
    ".nan",
]


@pytest.mark.parametrize("value", WEIRD)
def test_no_message_shows_the_validators_own_words(value: str) -> None:
    said = [sentence for key in known_keys() for sentence in refusals(f"{key}={value}")]
    assert not [each for each in said for word in FOREIGN if word in each]
