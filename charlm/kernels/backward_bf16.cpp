// The backward pass with bfloat16 products: backward.cpp with the gates' gradients, states and weights rounded.
#include "products_bf16.h"
#include "steps.h"

namespace charlm {
namespace {

constexpr Index SUM_AT_ONCE = 64;  // rows of one partial sum of a column; a single long sum would be less exact

// Pack a weight (gates x H, columns), rounded, into panels over its columns: [panel][gate, padded to blocks][unit / 2][PANEL].
void pack_backward(const Layer& layer, const float* weight, const Index* blocks, Index gates, Index columns, float* panels) {
    const Index H = layer.hidden_size, Hp = padded(H), num_panels = padded(columns) / PANEL;
    const int parts = parts_of(num_panels, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_panels, part, parts);
        for (Index p = slice.begin; p < slice.end; ++p)
            for (Index gate = 0; gate < gates; ++gate) {
                float* panel = panels + (p * gates + blocks[gate]) * Hp / 2 * PANEL;
                pack_paired_columns(weight + gate * H * columns + p * PANEL, columns, columns - p * PANEL, H, panel);
                std::memset(panel + pairs_of(H) * PANEL, 0, (Hp / 2 - pairs_of(H)) * PANEL * sizeof(float));
            }
    });
}

// What some rows' backward steps hand to each other.
struct BackwardRows {
    Slice rows;
    Index count, size, step;
    Floats products, carry, carry_c, rounded_grads;

    template <class Cell>
    BackwardRows(const Layer& layer, Slice slice, Cell)
        : rows(slice), count(rows.end - rows.begin), size(padded(layer.hidden_size)), step(Cell::BLOCKS * size / 2 + PAIRS_PAD),
          products(count * PANEL), carry(count * size), carry_c(count * size), rounded_grads(2 * count * step) {
        start(layer.grad_hidden, layer.hidden_size, carry);
        start(layer.grad_cells, layer.hidden_size, carry_c);
        std::memset(rounded_grads, 0, 2 * count * step * sizeof(float));
    }
    // The rounded gradients of a step's gates; after the last step they are zero.
    float* grads(Index t) const { return rounded_grads + (t & 1) * count * step; }

  private:
    void start(const float* grad, Index H, float* into) const {
        std::memset(into, 0, count * size * sizeof(float));
        for (Index row = 0; grad && row < count; ++row)
            std::memcpy(into + row * size, grad + (rows.begin + row) * H, H * sizeof(float));
    }
};

template <class Cell, Index PHASE>
void backward_phase(const Layer& layer, const BackwardRows& part, Index t, const float* panels) {
    constexpr Index FIRST_BLOCK = first_back_block<Cell>(PHASE);
    constexpr Index FIRST_ROUNDED = Cell::PHASES == 1 ? FIRST_BLOCK : 0, END_ROUNDED = FIRST_ROUNDED + Cell::GATES;
    const Index Hp = padded(layer.hidden_size);
    const Index depth = (end_gate<Cell>(PHASE) - first_gate<Cell>(PHASE)) * Hp / 2;
    // The first phase reads the gradients of the later step, the second those that the first has just written.
    const float* source = part.grads(PHASE == 0 ? t + 1 : t) + FIRST_BLOCK * Hp / 2;
    for (Index u = 0; u < Hp; u += PANEL) {
        multiply_paired(Rows{source, part.step, 1}, part.count, panels + u * depth, depth, part.products, PANEL, false);
        for (Index row = 0; row < part.count; ++row)
            for (Index v = 0; v < PANEL; v += WIDTH) {
                const Index b = part.rows.begin + row, padded_place = row * Hp + u + v;
                float *row_carry = part.carry + padded_place, *row_carry_c = part.carry_c + padded_place;
                const float* product = part.products + row * PANEL + v;
                if (t < 0) {
                    store_initial_gradients<Cell>(layer, b, u + v, product, row_carry, row_carry_c);
                    continue;
                }
                const BackwardAt at = backward_at<Cell>(layer, t, b, u + v, product, row_carry, row_carry_c);
                Cell::template backward<PHASE>(at);
                auto* rounded_row = reinterpret_cast<Bfloat16*>(part.grads(t) + row * part.step) + u + v;
                for (Index block = FIRST_ROUNDED; block < END_ROUNDED; ++block)
                    store_rounded(rounded_row + block * Hp, at.gate(block));
            }
    }
}

// Pair the gradients of all rows in place: row r of pairs replaces row 2 r. Sum them on the way, and for one-hot inputs
// sum those of each character, PANEL columns at a time; the sums are of the gradients before they are rounded.
template <class Cell> void pair_and_sum(const Layer& layer) {
    constexpr Index BLOCKS = Cell::PHASES == 1 ? Cell::BLOCKS : 3;  // the last one of two phases holds r * h
    const Index H = layer.hidden_size, Hp = padded(H), V = layer.input_size, step = row_size<Cell>(layer);
    const Index num_rows = layer.seq_len * layer.batch_size, num_panels = Hp / PANEL;
    const int parts = parts_of(num_panels * BLOCKS, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_panels * BLOCKS, part, parts);
        Floats by_character(layer.ids ? V * PANEL : 0), sums(PANEL);
        for (Index p = slice.begin; p < slice.end; ++p) {
            const Index block = p / num_panels, u = p % num_panels * PANEL, real = H - u < PANEL ? H - u : PANEL;
            const bool is_input = layer.ids && block < Cell::X_BLOCKS;
            float* column = layer.gates + block * Hp + u;
            if (is_input) std::memset(by_character, 0, V * PANEL * sizeof(float));
            Vec partial[2] = {all(0.0f), all(0.0f)}, total[2] = {all(0.0f), all(0.0f)};
            for (Index row = 0; row < num_rows; row += 2, column += 2 * step) {
                const bool has_odd = row + 1 < num_rows;
                for (Index n = 0; n < 2; ++n) {
                    if (row % SUM_AT_ONCE == 0) {
                        total[n] = total[n] + partial[n];
                        partial[n] = all(0.0f);
                    }
                    const Vec even = load(column + n * WIDTH), odd = has_odd ? load(column + step + n * WIDTH) : all(0.0f);
                    partial[n] = partial[n] + even + odd;
                    if (is_input) {
                        float* place = by_character + layer.ids[row] * PANEL + n * WIDTH;
                        store(place, load(place) + even);
                        place = by_character + (has_odd ? layer.ids[row + 1] : layer.ids[row]) * PANEL + n * WIDTH;
                        store(place, load(place) + odd);
                    }
                    store(column + n * WIDTH, pair_up(even, odd));
                }
            }
            for (Index n = 0; n < 2; ++n) store(sums + n * WIDTH, total[n] + partial[n]);
            for (Index gate = 0; gate < Cell::GATES; ++gate) {
                if (Cell::H_BLOCK[gate] == block)
                    std::memcpy(layer.grad_bias_hh + gate * H + u, sums, real * sizeof(float));
                if (Cell::X_BLOCK[gate] != block) continue;
                std::memcpy(layer.grad_bias_ih + gate * H + u, sums, real * sizeof(float));
                if (is_input) transpose(by_character, PANEL, V, real, layer.grad_weight_ih + (gate * H + u) * V, V);
            }
        }
    });
}

// The gates' buffer holds pairs of rows now.
template <class Cell> void weight_gradients(const Layer& layer, const float* hidden, const float* reset, const float* features) {
    const Index H = layer.hidden_size, Hp = padded(H), E = layer.input_size, step = 2 * row_size<Cell>(layer);
    const Index depth = pairs_of(layer.seq_len * layer.batch_size);
    const int parts = parts_of(H, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(H, part, parts);
        for (Index gate = 0; gate < Cell::GATES; ++gate) {
            // In the second phase W_hn multiplied r * h.
            const bool is_second = Cell::PHASES == 2 && gate == Cell::GATES - 1;
            multiply_paired_rows(layer.gates + Cell::H_BLOCK[gate] * Hp, step, is_second ? reset : hidden, H, depth, slice,
                                 layer.grad_weight_hh + gate * H * H);
            if (!layer.ids)
                multiply_paired_rows(layer.gates + Cell::X_BLOCK[gate] * Hp, step, features, E, depth, slice,
                                     layer.grad_weight_ih + gate * H * E);
        }
    });
}

template <class Cell> void feature_gradients(const Layer& layer) {
    const Index Hp = padded(layer.hidden_size), E = layer.input_size, step = row_size<Cell>(layer), depth = Cell::X_BLOCKS * Hp;
    const Floats panels(padded(E) * depth / 2);
    pack_backward(layer, layer.weight_ih, Cell::X_BLOCK, Cell::GATES, E, panels);
    multiply_paired_tall(layer.threads, layer.gates, step, layer.seq_len * layer.batch_size, panels, depth, E, nullptr,
                         layer.grad_features);
}

template <class Cell> void backward(const Layer& layer) {
    const Index H = layer.hidden_size, Hp = padded(H), E = layer.input_size, first_gates = end_gate<Cell>(0);
    const Index num_rows = layer.seq_len * layer.batch_size, depth = pairs_of(num_rows);
    Floats panels(first_gates * Hp * Hp / 2), second_panels(Cell::PHASES == 2 ? Hp * Hp / 2 : 0);
    static constexpr Index IN_ORDER[] = {0, 1, 2, 3};
    pack_backward(layer, layer.weight_hh, IN_ORDER, first_gates, H, panels);
    if (Cell::PHASES == 2)
        pack_backward(layer, layer.weight_hh + (Cell::GATES - 1) * H * H, IN_ORDER, 1, H, second_panels);
    const int parts = parts_of(layer.batch_size, layer.threads);
    in_parallel(parts, [&](int part) {
        const BackwardRows rows(layer, Slice(layer.batch_size, part, parts), Cell{});
        for (Index t = layer.seq_len - 1; t >= -1; --t) {
            backward_phase<Cell, 0>(layer, rows, t, panels);
            if constexpr (Cell::PHASES == 2)
                if (t >= 0) backward_phase<Cell, 1>(layer, rows, t, second_panels);
        }
    });
    if (layer.grad_features) feature_gradients<Cell>(layer);
    const Floats hidden(Hp * depth), reset(Cell::PHASES == 2 ? Hp * depth : 0);
    const Floats features(layer.ids ? 0 : padded(E) * depth);
    pack_paired_panels(layer.threads, layer.hidden, H, H, num_rows, hidden);
    if (Cell::PHASES == 2)
        pack_paired_panels(layer.threads, layer.gates + 3 * Hp, row_size<Cell>(layer), H, num_rows, reset);
    if (!layer.ids) pack_paired_panels(layer.threads, layer.features, E, E, num_rows, features);
    pair_and_sum<Cell>(layer);
    weight_gradients<Cell>(layer, hidden, reset, features);
}

}  // namespace
}  // namespace charlm

using namespace charlm;

int32_t charlm_backward_bf16(const CharlmLayer* layer) {
    num_bfloat16_calls().fetch_add(1, std::memory_order_relaxed);
    return run_layer(*layer, [&](auto cell) { backward<decltype(cell)>(*layer); });
}
