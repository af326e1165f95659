// Where a step of a row, forward or back, finds and leaves the numbers of one vector of units.
#pragma once

#include "weights.h"

namespace charlm {

// What a step forward has in common in both precisions; states and products come from whoever computes them.
//
// place is the row's among all steps, unit the first of the vector; gates is null where they are not kept.
template <class Cell>
ForwardAt forward_at(const Layer& layer, Index place, Index unit, const float* x, const float* bias, float* gates) {
    const Index H = layer.hidden_size, unpadded = place * H + unit, later = layer.batch_size * H;
    ForwardAt at{};
    at.x = x;
    at.bias = bias;
    if (Cell::HAS_CELLS) {
        at.c_before = layer.cells + unpadded;
        at.c = layer.cells + later + unpadded;
    }
    at.out = layer.hidden + later + unpadded;
    at.gates = Cell::KEEPS_GATES ? gates : nullptr;
    at.x_block = at.block = padded(H);
    at.n = H - unit;
    return at;
}

// What a step back has, for row b of step t; product and the carries are those of the vector.
template <class Cell>
BackwardAt backward_at(const Layer& layer, Index t, Index b, Index unit, const float* product, float* carry, float* carry_c) {
    const Index H = layer.hidden_size, place = t * layer.batch_size + b, unpadded = place * H + unit;
    const Index later = layer.batch_size * H;
    BackwardAt at{};
    at.gates = layer.gates + place * row_size<Cell>(layer) + unit;
    at.product = product;
    at.h_before = layer.hidden + unpadded;
    at.h_after = layer.hidden + later + unpadded;
    if (Cell::HAS_CELLS) {
        at.c_before = layer.cells + unpadded;
        at.c_after = layer.cells + later + unpadded;
    }
    at.grad_out = layer.grad_outputs ? layer.grad_outputs + unpadded : nullptr;
    at.carry = carry;
    at.carry_c = carry_c;
    at.block = padded(H);
    at.n = H - unit;
    return at;
}

// Before the first step, what flows back is the gradient of row b's initial state.
template <class Cell>
void store_initial_gradients(const Layer& layer, Index b, Index unit, const float* product, const float* carry,
                             const float* carry_c) {
    const Index H = layer.hidden_size;
    store_units(layer.grad_initial_hidden + b * H + unit, load(product) + load(carry), H - unit);
    if (Cell::HAS_CELLS) store_units(layer.grad_initial_cells + b * H + unit, load(carry_c), H - unit);
}

}  // namespace charlm
