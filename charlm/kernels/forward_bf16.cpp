// A recurrent layer over a window with bfloat16 products: forward.cpp with weights and states rounded, sums in float.
#include "products_bf16.h"
#include "steps.h"

namespace charlm {
namespace {

// W (gates x H, depth), rounded, in panels of PANEL units: [gate][panel][k / 2][PANEL].
template <class Cell> class PairedWeights {
  public:
    PairedWeights(const Layer& layer, const float* weight, Index depth)
        : pairs_(pairs_of(depth)), size_(padded(layer.hidden_size) * pairs_), panels_(Cell::GATES * size_) {
        const Index H = layer.hidden_size, num_panels = padded(H) / PANEL;
        const int parts = parts_of(num_panels, layer.threads);
        in_parallel(parts, [&](int part) {
            for (Index gate = 0; gate < Cell::GATES; ++gate)
                pack_paired_rows(weight + gate * H * depth, H, depth, Slice(num_panels, part, parts), panels_ + gate * size_);
        });
    }
    const float* panel(Index p, Index gate) const { return panels_ + gate * size_ + p * PANEL * pairs_; }
    Index pairs() const { return pairs_; }

  private:
    Index pairs_, size_;
    Floats panels_;
};

// For features, W x + b is a product; it is written to where the gates will be.
template <class Cell> void project_features(const Layer& layer, const float* bias) {
    const Index Hp = padded(layer.hidden_size), E = layer.input_size, step = row_size<Cell>(layer);
    const Index num_rows = layer.seq_len * layer.batch_size, row_step = paired_row(E) + PAIRS_PAD;
    const PairedWeights<Cell> weights(layer, layer.weight_ih, E);
    const int parts = parts_of(num_rows, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_rows, part, parts);
        const Floats rows(ROWS_AT_ONCE * row_step);
        for (Index begin = slice.begin; begin < slice.end; begin += ROWS_AT_ONCE) {
            const Index count = std::min(slice.end - begin, ROWS_AT_ONCE);
            for (Index row = 0; row < count; ++row) {
                std::memcpy(layer.gates + (begin + row) * step, bias, Cell::X_BLOCKS * Hp * sizeof(float));
                round_row(layer.features + (begin + row) * E, E, rows + row * row_step);
            }
            for (Index gate = 0; gate < Cell::GATES; ++gate)
                for (Index u = 0; u < Hp; u += PANEL)
                    multiply_paired(Rows{rows, row_step, 1}, count, weights.panel(u / PANEL, gate), weights.pairs(),
                                    layer.gates + begin * step + Cell::X_BLOCK[gate] * Hp + u, step, true);
        }
    });
}

// The padded states of some rows: before and after a step, and times the reset gate; in float, and rounded for products.
struct RoundedStates {
    Index count, step, paired_step;
    Floats memory, rounded_memory;

    RoundedStates(const Layer& layer, Slice rows)
        : count(rows.end - rows.begin), step(padded(layer.hidden_size) + ROW_PAD),
          paired_step(padded(layer.hidden_size) / 2 + PAIRS_PAD), memory(3 * count * step),
          rounded_memory(3 * count * paired_step) {
        std::memset(memory, 0, 3 * count * step * sizeof(float));
        for (Index row = 0; row < count; ++row) {
            std::memcpy(memory + row * step, layer.hidden + (rows.begin + row) * layer.hidden_size,
                        layer.hidden_size * sizeof(float));
            round_row(memory + row * step, padded(layer.hidden_size), rounded_memory + row * paired_step);
        }
    }
    float* at(int state, Index row, Index unit) const { return memory + (state * count + row) * step + unit; }
    float* pairs(int state, Index row) const { return rounded_memory + (state * count + row) * paired_step; }
    Bfloat16* rounded_at(int state, Index row, Index unit) const {
        return reinterpret_cast<Bfloat16*>(pairs(state, row)) + unit;
    }
};

template <class Cell, Index PHASE>
void forward_phase(const Layer& layer, Slice rows, Index t, const PairedWeights<Cell>& weights, const float* table,
                   const float* bias, float* products, const RoundedStates& states) {
    constexpr Index FIRST = first_gate<Cell>(PHASE), COUNT = end_gate<Cell>(PHASE) - FIRST;
    const Index H = layer.hidden_size, Hp = padded(H), B = layer.batch_size;
    const Index count = rows.end - rows.begin, gates_step = row_size<Cell>(layer);
    const int before = t % 2, after = 1 - before, reset = 2;
    for (Index u = 0; u < Hp; u += PANEL) {
        const Rows operand{states.pairs(PHASE == 0 ? before : reset, 0), states.paired_step, 1};
        for (Index gate = 0; gate < COUNT; ++gate)
            multiply_paired(operand, count, weights.panel(u / PANEL, FIRST + gate), weights.pairs(),
                            products + gate * PANEL, COUNT * PANEL, false);
        for (Index row = 0; row < count; ++row) {
            const Index place = t * B + rows.begin + row;
            float* gates = layer.gates ? layer.gates + place * gates_step + u : nullptr;
            const float* x = layer.ids ? table + layer.ids[place] * Cell::X_BLOCKS * Hp + u : gates;
            for (Index v = 0; v < PANEL; v += WIDTH) {
                ForwardAt at = forward_at<Cell>(layer, place, u + v, x + v, bias + u + v, gates ? gates + v : nullptr);
                at.h_before = states.at(before, row, u + v);
                at.h = states.at(after, row, u + v);
                at.reset_h = states.at(reset, row, u + v);
                at.products = {products + row * COUNT * PANEL + v, 2 * PANEL, PANEL, 0};
                Cell::template forward<PHASE>(at);
                const int written = PHASE + 1 == Cell::PHASES ? after : reset;
                store_rounded(states.rounded_at(written, row, u + v), load(states.at(written, row, u + v)));
            }
        }
    }
}

template <class Cell> void forward(const Layer& layer) {
    const Index Hp = padded(layer.hidden_size);
    const int parts = parts_of(layer.batch_size, layer.threads);
    const PairedWeights<Cell> weights(layer, layer.weight_hh, layer.hidden_size);
    Floats bias(Cell::BLOCKS * Hp), table(layer.ids ? layer.input_size * Cell::X_BLOCKS * Hp : 0);
    gather_bias<Cell>(layer, bias);
    if (layer.ids)
        build_table<Cell>(layer, bias, table);
    else
        project_features<Cell>(layer, bias);
    in_parallel(parts, [&](int part) {
        const Slice rows(layer.batch_size, part, parts);
        const RoundedStates states(layer, rows);
        const Floats products(Cell::GATES * states.count * PANEL);
        for (Index t = 0; t < layer.seq_len; ++t) {
            forward_phase<Cell, 0>(layer, rows, t, weights, table, bias, products, states);
            if constexpr (Cell::PHASES == 2) forward_phase<Cell, 1>(layer, rows, t, weights, table, bias, products, states);
        }
    });
}

}  // namespace
}  // namespace charlm

using namespace charlm;

int32_t charlm_has_bfloat16(void) { return HAS_BFLOAT16; }

int32_t charlm_forward_bf16(const CharlmLayer* layer) {
    for (Index place = 0; layer->ids && place < layer->seq_len * layer->batch_size; ++place)
        if (layer->ids[place] < 0 || layer->ids[place] >= layer->input_size) return 2;
    num_bfloat16_calls().fetch_add(1, std::memory_order_relaxed);
    return run_layer(*layer, [&](auto cell) { forward<decltype(cell)>(*layer); });
}

int64_t charlm_num_bfloat16_calls(void) { return num_bfloat16_calls().load(); }
