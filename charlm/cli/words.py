"""Map other programs' names for commands and options to ours, and answer names that do not exist."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from charlm.cli.flags import FLAGS
from charlm.settings.diagnosis import known_keys, nearest_key
from charlm.settings.layers import shipped_names
from charlm.settings.nearest import meaning_of, nearest_name, plain

# Names that work although no help shows them.
ALIASES = {"charlm": {"sample": "generate", "list": "info", "runs": "info", "play": "chat"}}
# Names that are answered with ours: the commands of each group, by the group's path.
_COMMANDS = {
    "charlm": {
        "train": "fit learn new start run begin teach pretrain",
        "train more.txt --from RUN": "finetune fine_tune adapt transfer",
        "train --resume": "resume continue restart go_on proceed",
        "sweep": "tune search grid gridsearch hyperopt optimize optimise",
        "generate": "write predict complete completion gen infer inference prompt produce",
        "chat": "talk speak converse conversation dialogue interactive repl console session shell",
        "eval": "test evaluate evaluation validate validation perplexity ppl measure metrics metric bpc bits",
        "score": "surprise anomaly anomalies odd rank probability probabilities logprob logprobs likelihood",
        "info": "show ls status stats statistics history summary describe experiments models dir",
        "info --machine": "machine env environment system doctor hardware devices",
        "ensemble": "join combine mix mixture blend average committee bag bagging stack soup merge",
        "export": "save pack package share publish upload bundle dump_model to_file onnx gguf",
        "compress": "zip encode shrink_file squeeze deflate gzip bzip2 xz zstd archive code",
        "decompress": "unzip decode unpack expand extract uncompress inflate restore gunzip unarchive",
        "page": "html web website webpage browser demo site app gradio streamlit serve javascript",
        "compare": "diff versus vs table results report",
        "plot": "curves curve graph graphs chart charts draw figure picture visualize visualise tensorboard",
        "inspect": "look inside gradients gates neurons neuron units activations saturation jacobian memory",
        "verify": "fsck integrity checksum checkpoints",
        "rm": "remove delete del erase trash discard drop unlink destroy",
        "prune": "clean cleanup clean_up gc thin thin_out purge tidy free shrink vacuum",
        "bench": "benchmark speed profile perf time",
        "guide": "docs doc documentation manual man tutorial readme topics",
        "corpus list": "datasets dataset corpora data",
        "corpus get": "download get fetch pull",
        "config init": "init configure setup create",
        "config show": "settings options params parameters hyperparameters defaults",
    },
    "charlm corpus": {
        "list": "ls all show names",
        "info": "describe stats statistics inspect",
        "get": "download fetch pull add install",
    },
    "charlm config": {
        "show": "print list dump defaults view",
        "check": "validate verify test lint",
        "init": "new create write template make",
        "schema": "json json_schema",
    },
}
COMMANDS = {
    group: {word: command for command, words in table.items() for word in words.split()}
    for group, table in _COMMANDS.items()
}
# The placeholder for a value that was not typed.
VALUE = "VALUE"
# In order of precedence: `--model` means a cell for train, and a run for generate.
_OPTIONS = {
    "--prefix": "prompt start start_text start_string seed_text prime primetext prime_text text begin context p",
    "--prefix-file": "prompt_file input input_file file f i",
    "--corpus": "data dataset datasets input input_file file files text texts path data_path data_dir datadir "
    "train_data train_file corpus_file corpus_path filename f i d",
    "--file": "data dataset corpus input input_file files path text filename f i",
    "--cell": "model model_type type rnn rnn_type cell_type arch network m",
    "--run": "name run_name experiment exp model load ckpt_dir id session m n",
    "--runs-dir": "out_dir output_dir outdir save_dir log_dir logdir checkpoint_dir checkpoints runs dir folder",
    "--length": "len n max_length max_tokens max_new_tokens num_chars num_tokens chars size count characters l",
    "--num-samples": "samples n num count number num_sequences repeat",
    "--temperature": "temp sampling_temperature",
    "--top-k": "k",
    "--top-p": "nucleus nucleus_p",
    "--stop": "end until stop_token stop_text eos stop_sequence",
    "--resume": "continue restart go_on init_from resume_from keep_going r",
    "--config": "cfg conf configuration yaml settings config_file preset recipe c",
    "--from": "from_run from_checkpoint from_pretrained pretrained finetune fine_tune finetune_from continue_from base "
    "base_model base_run warm_start start_from parent init_checkpoint",
    "--new-characters": "new_chars new_symbols extend_vocab extend_vocabulary resize_embeddings add_characters",
    "--set": "override overrides param params setting option s o",
    "--seeds": "num_seeds repeats n_seeds trials",
    "--jobs": "workers n_jobs num_workers parallel processes threads j",
    "--quiet": "silent no_progress q",
    "--yes": "force f assume_yes no_confirm confirm yes_really",
    "--dry-run": "dry simulate preview what_if n",
    "--older": "older_than age min_age before days since",
    "--checkpoint": "ckpt step best epoch weights",
    "--split": "part subset portion",
    "--odd": "anomalies outliers surprising top n",
    "--per-line": "lines by_line line each_line",
    "--plot": "output out figure graph chart save curves o",
    "--output": "out file save save_to save_as figure output_file out_file image png svg pdf f",
    "--y": "metric metrics unit units measure yaxis y_axis ylabel",
    "--x": "by axis xaxis x_axis against over xlabel",
    "--part": "split splits parts subset set curve",
    "--panels": "subplots panel grid facets facet separate split_by",
    "--int8": "quantize quantise quantized quantised q8 int_8 bits small compress",
    "--force": "overwrite replace yes y f clobber",
    "--json": "as_json format output_format",
    "--epochs": "e",
    "--batch-size": "b",
    "--device": "gpu cuda cpu",
    "--version": "v ver",
}
OPTIONS = {option: frozenset(words.split()) for option, words in _OPTIONS.items()}
# The output of training is a run; all other output is printed.
OUTPUTS = frozenset(("output", "out", "save", "save_to", "output_file", "out_file", "o"))


def meant_command(word: str, group: str, names: Collection[str]) -> str | None:
    """Return the command that a word was probably meant to be, with options where the meaning includes them.

    Args:
        word: what was typed.
        group: the group's path, such as `charlm corpus`.
        names: its commands.
    """
    table = COMMANDS.get(group, {})
    if (asked := plain(word)) in table:
        return table[asked]
    if near := nearest_name(word, names):
        return near
    return table.get(nearest_name(word, table) or "") if len(asked) > 3 else None


def meant_option(word: str, value: str | None, options: Collection[str]) -> str | None:
    """Return the option or setting that a word was probably meant to be; None where that is unclear.

    Args:
        word: what was typed, with its dashes.
        value: the word that followed it.
        options: the options of the command.
    """
    asked, long = plain(word), [option for option in options if option.startswith("--")]
    spelt = {plain(option).replace("_", ""): option for option in long}
    if found := spelt.get(asked.replace("_", "")):
        return found
    if "--runs-dir" in options and "--resume" in options and asked in OUTPUTS:
        return "--run"
    for option, words in OPTIONS.items():
        if option in options and asked in words:
            return option
    has_settings = "--set" in options
    leaves = {key.rpartition(".")[2]: key for key in known_keys()}
    key = meaning_of(asked, known_keys()) or (leaves.get(asked) if has_settings else None)
    if key and (found := _of_setting(key, value, options)):
        return found
    if near := nearest_name(word, long):
        return near
    key = nearest_key(word.lstrip("-")) if has_settings and len(asked) > 1 else None
    return _of_setting(key, value, options) if key else None


def missing_option(word: str, path: str, others: Mapping[str, Collection[str]]) -> str:
    """Return advice on an option that resembles none of the command's options.

    Args:
        word: what was typed.
        path: the path of the command.
        others: the options of the other commands.
    """
    if plain(word) in OUTPUTS:
        return "results go to standard output; redirect them with > FILE"
    having = [name for name, options in others.items() if word in options]
    if having:
        return f"it is an option of {' and '.join(having[:3])}"
    return f"{path} --help shows its options"


def meant_argument(word: str, options: Collection[str]) -> str | None:
    """Return the option that an argument was probably meant for, with its value; None where that is unclear."""
    from charlm.runs.run import Run, runs_folder

    if "--set" in options and (meant := meant_setting(word)):
        return meant
    path = Path(word)
    if path.suffix in (".yaml", ".yml") or word in shipped_names():
        takers: tuple[str, ...] = ("--config",)
    elif Run(path).exists or Run(runs_folder() / path).exists:
        takers = ("--run",)
    else:
        takers = ("--corpus", "--file") if path.is_file() else ()
    taker = next((option for option in takers if option in options), None)
    if taker:
        return f"{taker} {shlex.quote(word)}"
    return f"--{word}" if f"--{word}" in options else None


def meant_setting(word: str) -> str | None:
    """Return `--set key=value` for a setting that was typed without --set; None for any other word."""
    name, equals, value = word.partition("=")
    key = nearest_key(name) if equals else None
    return f"--set {shlex.quote(f'{key}={value}')}" if key else None


def _of_setting(key: str, value: str | None, options: Collection[str]) -> str | None:
    flag = FLAGS.get(key, f"--{key.rpartition('.')[2].replace('_', '-')}")
    if flag in options:
        return flag
    return f"--set {shlex.quote(f'{key}={value or VALUE}')}" if "--set" in options else None
