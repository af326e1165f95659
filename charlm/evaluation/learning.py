"""A network that learns while it is read step by step, as dynamic evaluation has it learn: for coding with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.evaluation.dynamic import Adaptation, Learner
from charlm.evaluation.reading import Chunk
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.predictor import Floats, IdArray
from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import State, detach_state


@dataclass(frozen=True)
class LearningState:
    """Where a learning network is within a segment.

    Args:
        state: the state after the last character that was read.
        start: the state at the beginning of the segment.
        inputs: the characters of the segment that were read.
    """

    state: State
    start: State
    inputs: tuple[int, ...] = ()


class LearningPredictor:
    """Predict character by character, and learn from each segment once all its characters are known.

    It is for one text, read once: what it predicts depends on all that it has read. What it learns from, and when, is
    exactly as in `measure_dynamically`.

    Args:
        network: a trained model, which is not changed.
        roots: the gradients' root mean squares; see `measure_gradients`.
        adaptation: how fast to learn.
    """

    is_batch_invariant = False

    def __init__(self, network: CharLM, roots: Sequence[Tensor], adaptation: Adaptation) -> None:
        self._learner, self._segment_chars = Learner(network, roots, adaptation), adaptation.segment_chars

    def initial_state(self, num_texts: int) -> LearningState:
        """Return the state before any character."""
        with torch.no_grad():
            state = self._learner.network.initial_state(num_texts)
        return LearningState(state, state)

    def read(self, ids: IdArray, state: LearningState) -> tuple[Floats, LearningState]:
        """Return the logits after the last character; see `Predictor`."""
        logits, state = self.predict(ids, state)
        return logits[-1], state

    def predict(self, ids: IdArray, state: LearningState) -> tuple[Floats, LearningState]:
        """Return the logits after one character of one text, (1, 1, V), and the state after it."""
        assert ids.shape == (1, 1)
        if len(state.inputs) == self._segment_chars:
            state = self._learn(state, int(ids[0, 0]))
        with torch.no_grad():
            logits, after = self._learner.network(as_tensor(ids, self._learner.network), state.state)
        return logits.numpy(), LearningState(after, state.start, (*state.inputs, int(ids[0, 0])))

    def _learn(self, state: LearningState, target: int) -> LearningState:
        text = torch.tensor([*state.inputs, target])[:, None]
        with torch.enable_grad():
            readouts = Readouts(*self._learner.network(text[:-1], state.start))
            self._learner.learn(Chunk(len(state.inputs), text[:-1], text[1:], readouts))
        after = detach_state(readouts.state)
        return LearningState(after, after)
