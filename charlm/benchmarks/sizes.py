"""The sizes that are measured, and how many floating point operations they need."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.networks.shapes import NUM_GATES
from charlm.settings.model import Cell


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network and of its windows, named as in the settings."""

    hidden_size: int = 256
    num_layers: int = 1
    batch_size: int = 32
    seq_len: int = 35
    vocab_size: int = 65

    @property
    def window_chars(self) -> int:
        """Number of characters that a step reads, T * B."""
        return self.seq_len * self.batch_size


@dataclass(frozen=True)
class ProductShape:
    """A matrix product (rows, depth) x (depth, columns)."""

    rows: int
    depth: int
    columns: int

    @property
    def flops(self) -> int:
        """Number of floating point operations; a multiplication and an addition count as two."""
        return 2 * self.rows * self.depth * self.columns


def sgemm_shape(cell: Cell, sizes: Sizes) -> ProductShape:
    """Return the product that a layer is compared with, (T*B, H) x (H, gates*H): all of a window's steps at once."""
    return ProductShape(sizes.window_chars, sizes.hidden_size, NUM_GATES[cell] * sizes.hidden_size)


def layer_flops(cell: Cell, sizes: Sizes) -> int:
    """Return the floating point operations of the products in a layer step.

    The recurrent products, the deeper layers' input products and the output layer's are counted. The first layer's
    input product is not, because one-hot characters need none, and neither is anything elementwise.
    """
    layer = sgemm_shape(cell, sizes).flops
    output = ProductShape(sizes.window_chars, sizes.hidden_size, sizes.vocab_size).flops
    forward = sizes.num_layers * layer + (sizes.num_layers - 1) * layer + output
    # In the backward pass each product becomes two: one for the gradient of its input, one for that of the weights.
    return 3 * forward
