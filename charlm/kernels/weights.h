// A layer's weights, laid out for the forward products.
#pragma once

#include "cells.h"
#include "layers.h"
#include "tall.h"

namespace charlm {

using Layer = CharlmLayer;

constexpr Index ROW_PAD = 16;  // without it, rows a power of two apart would share one set of the first-level cache
constexpr bool HAS_PAIRS = WIDTH == 16;  // there are registers for two gates at once
constexpr Index FEW_ROWS = 3;  // up to this many, all gates are computed at once, so the weights are read only once

template <class Cell> Index row_size(const Layer& layer) { return Cell::BLOCKS * padded(layer.hidden_size) + ROW_PAD; }

// The gates whose products a phase computes: all of them in a single phase, or all but the last and then the last.
template <class Cell> constexpr Index first_gate(Index phase) { return phase == 0 ? 0 : Cell::GATES - 1; }
template <class Cell> constexpr Index end_gate(Index phase) {
    return Cell::PHASES == 1 || phase == 1 ? Cell::GATES : Cell::GATES - 1;
}
// The blocks whose gradients flow back through a phase's product.
template <class Cell> constexpr Index first_back_block(Index phase) { return Cell::H_BLOCK[first_gate<Cell>(phase)]; }

// W (gates x H, depth), laid out in panels of PANEL units.
//
// For many rows the gates follow each other, [panel][gate][k][PANEL], so that a panel stays in the first-level cache while
// the rows pass. For few rows all gates are computed at once and each weight is read once: [panel][half][k][gate][WIDTH],
// two streams side by side, which the second-level cache delivers nearly twice as fast as one.
template <class Cell> class GateWeights {
  public:
    GateWeights(const Layer& layer, const float* weight, Index depth, bool has_few_rows)
        : depth_(depth), has_few_rows_(has_few_rows), panels_(Cell::GATES * padded(layer.hidden_size) * depth) {
        const Index H = layer.hidden_size, num_panels = padded(H) / PANEL;
        if (H % PANEL) std::memset(panels_, 0, Cell::GATES * padded(H) * depth * sizeof(float));
        const int parts = parts_of(num_panels, layer.threads);
        in_parallel(parts, [&](int part) {
            const Slice slice(num_panels, part, parts);
            for (Index p = slice.begin; p < slice.end; ++p)
                for (Index gate = 0; gate < Cell::GATES; ++gate)
                    for (Index half = 0; half < 2; ++half) {
                        const Index unit = p * PANEL + half * WIDTH, count = H - unit < WIDTH ? H - unit : WIDTH;
                        transpose(weight + (gate * H + unit) * depth, depth, count, depth, place(p, gate, half),
                                  has_few_rows ? Cell::GATES * WIDTH : PANEL);
                    }
        });
    }

    const float* panel(Index p, Index gate) const { return place(p, gate, 0); }

    // Compute the products of a phase's gates for one panel of units.
    template <Index PHASE> void multiply_gates(Rows rows, Index count, Index p, float* products) const {
        constexpr Index FIRST = first_gate<Cell>(PHASE), COUNT = end_gate<Cell>(PHASE) - FIRST, STEP = Cell::GATES * WIDTH;
        if (has_few_rows_) {
            multiply<2 * COUNT>(rows, count, panel(p, FIRST), STEP, depth_ * STEP, depth_, products + FIRST * PANEL,
                                Cell::GATES * PANEL, false);
            return;
        }
        // If there are registers for two gates at once, half as many passes over the rows are needed.
        Index gate = FIRST;
        for (; HAS_PAIRS && gate + 2 <= FIRST + COUNT; gate += 2)
            multiply<4>(rows, count, panel(p, gate), PANEL, depth_ * PANEL, depth_, products + (gate - FIRST) * count * PANEL,
                        2 * PANEL, false);
        for (; gate < FIRST + COUNT; ++gate)
            multiply_panel(rows, count, panel(p, gate), depth_, products + (gate - FIRST) * count * PANEL, PANEL, false);
    }

    // Where multiply_gates put the products of a row's gates (counted from the phase's first) for one half of the panel.
    template <Index PHASE> Products products_of(const float* products, Index count, Index row, Index half) const {
        constexpr Index FIRST = first_gate<Cell>(PHASE), COUNT = end_gate<Cell>(PHASE) - FIRST;
        if (has_few_rows_)
            return {products + row * Cell::GATES * PANEL + FIRST * PANEL + half * COUNT * WIDTH, 2 * WIDTH, WIDTH, 0};
        if (!HAS_PAIRS) return {products + row * PANEL + half * WIDTH, 2 * count * PANEL, count * PANEL, 0};
        // The rows of a last gate without a partner are half as wide.
        return {products + 2 * row * PANEL + half * WIDTH, 2 * count * PANEL, PANEL, COUNT % 2 ? -row * PANEL : 0};
    }

  private:
    float* place(Index p, Index gate, Index half) const {
        return panels_ + (has_few_rows_ ? ((p * 2 + half) * depth_ * Cell::GATES + gate) * WIDTH
                                        : (p * Cell::GATES + gate) * depth_ * PANEL + half * WIDTH);
    }

    Index depth_;
    bool has_few_rows_;
    Floats panels_;
};

// Gather b_ih, plus b_hh where it is simply added, in the input's blocks; the rest of b_hh goes into its own block.
template <class Cell> void gather_bias(const Layer& layer, float* bias) {
    const Index H = layer.hidden_size, Hp = padded(H);
    std::memset(bias, 0, Cell::BLOCKS * Hp * sizeof(float));
    for (Index gate = 0; gate < Cell::GATES; ++gate)
        for (Index j = 0; j < H; ++j) {
            bias[Cell::X_BLOCK[gate] * Hp + j] += layer.bias_ih[gate * H + j];
            // With reset after, b_hn is multiplied by r. Everywhere else the two biases only occur as a sum.
            const bool is_apart = Cell::H_BLOCK[gate] >= Cell::X_BLOCKS;
            bias[(is_apart ? Cell::H_BLOCK[gate] : Cell::X_BLOCK[gate]) * Hp + j] += layer.bias_hh[gate * H + j];
        }
}

// Build the table, (V, X_BLOCKS x H padded), whose rows are W x + b for one-hot inputs.
template <class Cell> void build_table(const Layer& layer, const float* bias, float* table) {
    const Index H = layer.hidden_size, Hp = padded(H), V = layer.input_size, size = Cell::X_BLOCKS * Hp;
    for (Index id = 0; id < V; ++id) std::memcpy(table + id * size, bias, size * sizeof(float));
    const int parts = parts_of(H, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(H, part, parts);
        Floats turned(V * 8);
        for (Index gate = 0; gate < Cell::GATES; ++gate)
            for (Index j = slice.begin; j < slice.end; j += 8) {
                const Index count = slice.end - j < 8 ? slice.end - j : 8;
                transpose(layer.weight_ih + (gate * H + j) * V, V, count, V, turned, 8);
                float* columns = table + Cell::X_BLOCK[gate] * Hp + j;
                for (Index id = 0; id < V; ++id)
                    for (Index i = 0; i < count; ++i) columns[id * size + i] += turned[id * 8 + i];
            }
    });
}

// The number of forward and backward calls so far.
inline std::atomic<int64_t>& num_calls() {
    static std::atomic<int64_t> calls{0};
    return calls;
}

// Call run with the layer's cell; return 1 if memory ran out, else 0.
template <class Run> int32_t run_layer(const Layer& layer, const Run& run) {
    num_calls().fetch_add(1, std::memory_order_relaxed);
    try {
        with_cell(layer.cell, run);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

}  // namespace charlm
