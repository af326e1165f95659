"""Find what a wrong word was meant to be, by its meaning first, then by its parts, then by its spelling.

People bring the words of other programs with them: `lr`, `nhid`, `bptt`, `--data`. One table holds what they mean here.
Whatever refuses a word (a setting, option, command, run or corpus) asks this module which one to suggest instead.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

# A longer word is not a misspelling of one of ours, and comparing it would be slow.
MAX_WORD = 100
LIKE = 0.72
# How many files next to a missing one are compared with it.
MAX_FILES = 5_000

# Other programs' words for each setting, in lower case with underscores, with or without a section before them.
_MEANINGS = {
    "optimizer.learning_rate": "lr eta learn_rate learning_speed step_size base_lr max_lr initial_lr",
    "train.epochs": "epoch epochs num_epochs n_epochs max_epochs nepochs passes",
    "train.max_steps": "step steps num_steps n_steps iters iterations max_iters num_iterations max_iterations updates",
    "train.minutes": "minute minutes max_minutes time max_time duration seconds hours time_limit",
    "train.seed": "seed random_seed manual_seed rng random_state",
    "train.device": "device gpu gpus cuda cpu accelerator gpuid gpu_id use_gpu use_cuda",
    "train.threads": "threads thread num_threads n_threads cores cpus num_workers workers n_jobs",
    "train.precision": "dtype bf16 bfloat16 fp16 float16 half amp mixed_precision autocast train.dtype",
    "train.early_stopping": "early_stopping early_stop patience stop_early",
    "train.eval_every": "eval_every eval_interval eval_freq eval_steps evaluate_every val_every validate_every "
    "eval_val_every log_every log_interval print_every checkpoint_every save_every save_interval eval.every "
    "eval.epochs eval.steps",
    "model.hidden_size": "hidden hiddens hidden_units hidden_dim hidden_dims hidden_nodes num_hidden num_hiddens "
    "n_hidden n_hid nhid nhidden units num_units rnn_size rnn_units width size dim d_model state_size neurons",
    "model.num_layers": "layers layer n_layers nlayers n_layer num_layer depth rnn_layers hidden_layers",
    "model.cell": "cell cells cell_type rnn rnn_type rnn_cell lstm gru type model_type arch architecture network unit",
    "model.embedding_size": "embedding embeddings embed emb emsize embed_size embed_dim embedding_dim emb_size emb_dim "
    "n_embd n_embed input_size char_embedding",
    "model.dropout": "dropout drop dropouts p_dropout drop_rate dropout_rate dropout_prob",
    "model.direction": "direction bidirectional bi reverse backwards",
    "model.tied_embeddings": "tied tie tie_weights tied_weights weight_tying share_embeddings",
    "model.layer_norm": "layernorm norm normalisation normalization",
    "model.activation": "nonlinearity non_linearity activation_function",
    "model.implementation": "backend engine kernel kernels impl",
    "model.init": "initialization initialisation initializer init_weights weight_init",
    "sampling.batch_size": "batch batches bs bsz batchsize mini_batch minibatch minibatch_size mini_batch_size",
    "sampling.seq_len": "seq seqlen seq_length sequence sequence_length sequence_len bptt bptt_len bptt_steps unroll "
    "time_steps timesteps num_time_steps window window_size block_size context context_length context_size "
    "context_len chunk chunk_size chunk_len sampling.length sampling.steps",
    "optimizer.method": "optimizer optimiser opt optim adam adamw sgd rmsprop algorithm optimizer.name optimizer.type",
    "optimizer.weight_decay": "wd decay_weight l2 l2_reg regularization regularisation regularizer weightdecay",
    "optimizer.clip_norm": "clip clipping grad_clip clip_grad gradient_clip gradient_clipping max_norm max_grad_norm "
    "clip_gradients clip_grad_norm clipnorm theta",
    "optimizer.momentum": "momentum mom",
    "optimizer.accumulation": "accumulate grad_accum gradient_accumulation gradient_accumulation_steps accum_steps",
    "optimizer.label_smoothing": "smoothing",
    "optimizer.average.method": "ema swa asgd averaging",
    "optimizer.schedule.method": "schedule.method scheduler lr_scheduler lr_schedule lr_policy cosine lr_decay "
    "learning_rate_decay annealing",
    "optimizer.schedule.warmup_steps": "warmup warm_up warmup_iters",
    "optimizer.schedule.factor": "gamma lr_factor decay_rate",
    "optimizer.schedule.min_learning_rate": "min_lr",
    "corpus.path": "path data dataset file files input input_file text texts text_file corpus_file corpus_path "
    "data_path data_file data_dir datadir train_file train_data training_data folder",
    "corpus.name": "corpus_name dataset_name data_name",
    "corpus.glob": "pattern patterns include files_pattern extensions suffixes",
    "corpus.split": "val_split valid_split validation_split train_split test_split val_frac valid_frac train_frac "
    "val_fraction val_size test_size splits",
    "corpus.max_chars": "max_characters limit subset max_tokens num_chars",
    "corpus.unknown": "unk oov unknown_characters",
    "corpus.encoding": "charset codec",
    "corpus.clean.newline": "newlines line_ends line_endings crlf eol",
    "corpus.clean.unicode": "nfc normalize normalise unicode_form",
    "corpus.clean.lowercase": "lower lower_case casefold uncased",
    "vocabulary.max_size": "vocab vocab_size vocabulary_size max_vocab max_vocab_size",
    "vocabulary.min_count": "min_freq min_frequency min_occurrences",
    "sample.temperature": "temp temperature",
    "sample.prefixes": "prefix prompt prompts prime prime_text primetext start_text seed_text",
    "sample.length": "sample_len sample_size gen_length generate_length",
    "sample.every": "sample_every sample_interval",
    "checkpoint.keep_last": "keep max_checkpoints save_total_limit max_to_keep",
    "eval.baselines": "baseline ngrams",
    "budget.num_trials": "trials n_trials max_trials num_samples",
    "objective.metric": "metric monitor goal",
}
# Other programs' words for a value.
_CHOICES = {
    "gpu": "cuda",
    "metal": "mps",
    "vanilla": "rnn",
    "elman": "rnn",
    "simplernn": "rnn",
    "bilstm": "lstm",
    "latest": "last",
}
MEANINGS = {word: key for key, words in _MEANINGS.items() for word in words.split()}


def plain(word: str) -> str:
    """Return a word as settings are spelt: `hiddenSize`, `hidden-size` and `HIDDEN_SIZE` become hidden_size."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.strip().strip("-"))
    return re.sub(r"[-_\s]+", "_", parted).lower()


def nearest_name(word: str, names: Iterable[str]) -> str | None:
    """Return the name that a word was probably meant to be, or None if nothing is similar.

    Capitals, hyphens and underscores do not count. A name that begins with the word is similar, and so is one that
    contains it, if the word is long enough.

    Example:
        >>> nearest_name("timemachin-lstm", ["timemachine-lstm", "quickstart"])
        'timemachine-lstm'
    """
    known = list(names)
    asked = plain(word)
    if not asked or len(word) > MAX_WORD:
        return None
    spelt = {plain(name): name for name in reversed(known)}
    if asked in spelt:
        return spelt[asked]
    if found := difflib.get_close_matches(asked, spelt, n=1, cutoff=LIKE):
        return spelt[found[0]]
    if len(asked) < 3:
        return None
    parts = [name for name in known if plain(name).startswith(asked) or (len(asked) > 3 and asked in plain(name))]
    return min(parts, key=len, default=None)


def nearest_choice(word: str, choices: Collection[str]) -> str | None:
    """Return the value that a wrong one was probably meant to be, or None if nothing is similar."""
    meant = _CHOICES.get(plain(word))
    return meant if meant in choices else nearest_name(word, choices)


def nearest_file(path: Path, *, suffixes: Collection[str] = (), names: Iterable[str] = ()) -> str | None:
    """Return the file or name that a missing file was probably meant to be, or None if nothing is similar.

    Args:
        path: the missing file, whose ending may be missing too; files in its folder are compared with it.
        suffixes: the endings that the file can have, such as `.yaml`; empty for any.
        names: what it can be besides a file.
    """
    try:
        with os.scandir(path.parent) as entries:
            found = [Path(entry.name) for entry in islice(entries, MAX_FILES) if entry.name != path.name]
    except (OSError, ValueError):  # There is no such folder; ValueError: no file can have such a name.
        found = []
    files = [file.name for file in found if not suffixes or file.suffix in suffixes]
    near = nearest_name(path.name, [*names, *sorted(files)])
    if near is None:
        stems = {Path(file).stem: file for file in sorted(files, reverse=True)}
        near = stems.get(nearest_name(path.name, stems) or "")
    return str(path.parent / near) if near in files and str(path.parent) != "." else near


def did_you_mean(near: str | None) -> str:
    """Return the end of a sentence that suggests what was meant, or an empty text for None."""
    return f"; did you mean {near}?" if near else ""


def nearest_dotted(dotted: str, keys: Collection[str]) -> str | None:
    """Return the dotted key that a wrong one was probably meant to be, or None if nothing is similar.

    Example:
        >>> nearest_dotted("train.lr", ["optimizer.learning_rate", "train.epochs"])
        'optimizer.learning_rate'
    """
    if len(dotted) > MAX_WORD:
        return None
    asked = ".".join(plain(part) for part in dotted.split("."))
    if asked in keys:
        return asked
    section, _, name = asked.rpartition(".")
    below = [key for key in keys if section and key.startswith(f"{section}.")]
    beside = [key for key in below if "." not in key[len(section) + 1 :]]
    meant = MEANINGS.get(name)
    return (
        meaning_of(asked, keys)
        or (meant if meant in below else None)
        or _of_name(name, below)
        or _spelt(name, beside)
        or _of_part(name, beside)
        or meaning_of(name, keys)
        or _of_name(name, keys)
        or _spelt(asked, keys, whole=True)
        or _spelt(name, keys)
        or _of_part(name, keys)
        or _misspelt_meaning(name, keys)
    )


def meaning_of(word: str, keys: Collection[str]) -> str | None:
    """Return the key for which other programs use this word, or None."""
    asked = plain(word)
    meant = MEANINGS.get(asked) or MEANINGS.get(asked.replace("_", ""))
    return meant if meant in keys else None


def _name(key: str) -> str:
    return key.rpartition(".")[2]


def _of_name(name: str, keys: Iterable[str]) -> str | None:
    """Return the least deeply nested key of exactly that name."""
    return min((key for key in keys if _name(key) == name), key=lambda key: (key.count("."), key), default=None)


def _spelt(name: str, keys: Iterable[str], *, whole: bool = False) -> str | None:
    """Return the key whose name is spelt most like this one, or, for `whole`, whose dotted form is."""
    names: dict[str, str] = {}
    for key in sorted(keys, key=lambda key: (key.count("."), key)):
        names.setdefault(key if whole else _name(key), key)
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.8 if whole else LIKE)
    return names[found[0]] if found else None


def _of_part(name: str, keys: Iterable[str]) -> str | None:
    """Return the key whose name has all the words of this one, or the shortest of several such keys."""
    words = set(name.split("_"))
    having = [key for key in keys if words <= {*_name(key).split("_")}]
    return min(having, key=lambda key: (key.count("."), len(key), key), default=None)


def _misspelt_meaning(name: str, keys: Collection[str]) -> str | None:
    if len(name) < 4:
        return None
    found = difflib.get_close_matches(name, [word for word, key in MEANINGS.items() if key in keys], n=1, cutoff=0.8)
    return MEANINGS[found[0]] if found else None
