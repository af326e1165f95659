"""What every reader and writer of text needs of a causal model: characters in, logits and a state out, as NumPy arrays.

Torch is not needed to use one. `NativePredictor` calls the kernels alone; `TorchPredictor` a network on any device.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.integer[Any]]


@runtime_checkable
class Predictor(Protocol):
    """A causal model in evaluation; its states are passed in and out, and it remembers none.

    Attributes:
        is_batch_invariant: whether single steps, pieces, and any number of texts side by side give the same bits. Then
            a state is a tuple of arrays, each (..., texts, ...) in its second dimension.
    """

    is_batch_invariant: bool

    def initial_state(self, num_texts: int, /) -> Any:
        """Return the state before any character, for texts side by side."""
        ...

    def read(self, ids: IdArray, state: Any, /) -> tuple[Floats, Any]:
        """Read characters.

        Args:
            ids: (T, B), at least one character.
            state: the state before them.
        Returns:
            The logits after the last, (B, V), and the state after it.
        """
        ...

    def predict(self, ids: IdArray, state: Any, /) -> tuple[Floats, Any]:
        """Read characters; return the logits after each, (T, B, V), and the state after the last."""
        ...
