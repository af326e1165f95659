// The backward pass of a recurrent layer through its window, which turns the gates' buffer into their gradients.
#include "weights.h"

namespace charlm {
namespace {

constexpr Index SUM_AT_ONCE = 64;  // rows of one partial sum of a column; a single long sum would be less exact

// Pack a weight (gates x H, columns) into panels over its columns: [column panel][gate, padded to blocks][PANEL].
void pack_backward(const Layer& layer, const float* weight, const Index* blocks, Index gates, Index columns, float* panels) {
    const Index H = layer.hidden_size, Hp = padded(H), num_panels = padded(columns) / PANEL;
    in_parallel(parts_of(num_panels, layer.threads), [&](int part) {
        const Slice slice(num_panels, part, parts_of(num_panels, layer.threads));
        for (Index p = slice.begin; p < slice.end; ++p)
            for (Index gate = 0; gate < gates; ++gate) {
                float* panel = panels + (p * gates + blocks[gate]) * Hp * PANEL;
                pack_columns(weight + gate * H * columns + p * PANEL, columns, columns - p * PANEL, H, panel);
                std::memset(panel + H * PANEL, 0, (Hp - H) * PANEL * sizeof(float));
            }
    });
}

template <class Cell, Index PHASE>
void backward_phase(const Layer& layer, Slice rows, Index t, const float* panels, float* products, float* carry,
                    float* carry_c) {
    const Index H = layer.hidden_size, Hp = padded(H), B = layer.batch_size, step = row_size<Cell>(layer);
    const Index count = rows.end - rows.begin, depth = (end_gate<Cell>(PHASE) - first_gate<Cell>(PHASE)) * Hp;
    // The first phase reads the gradients of the later step, the second those that the first has just written.
    const Index source = PHASE == 0 ? t + 1 : t;
    for (Index u = 0; u < Hp; u += PANEL) {
        if (source < layer.seq_len)
            multiply_panel(Rows{layer.gates + (source * B + rows.begin) * step + first_back_block<Cell>(PHASE) * Hp, step, 1},
                           count, panels + u * depth, depth, products, PANEL, false);
        else
            std::memset(products, 0, count * PANEL * sizeof(float));
        for (Index row = 0; row < count; ++row)
            for (Index v = 0; v < PANEL; v += WIDTH) {
                const Index b = rows.begin + row, padded_place = row * Hp + u + v;
                float *row_carry = carry + padded_place, *row_carry_c = carry_c + padded_place;
                const float* product = products + row * PANEL + v;
                if (t < 0) {
                    store_units(layer.grad_initial_hidden + b * H + u + v, load(product) + load(row_carry), H - u - v);
                    if (Cell::HAS_CELLS) store_units(layer.grad_initial_cells + b * H + u + v, load(row_carry_c), H - u - v);
                    continue;
                }
                const Index place = t * B + b, unpadded = place * H + u + v;
                BackwardAt at{};
                at.gates = layer.gates + place * step + u + v;
                at.product = product;
                at.h_before = layer.hidden + unpadded;
                at.h_after = layer.hidden + B * H + unpadded;
                if (Cell::HAS_CELLS) {
                    at.c_before = layer.cells + unpadded;
                    at.c_after = layer.cells + B * H + unpadded;
                }
                at.grad_out = layer.grad_outputs ? layer.grad_outputs + unpadded : nullptr;
                at.carry = row_carry;
                at.carry_c = row_carry_c;
                at.block = Hp;
                at.n = H - u - v;
                Cell::template backward<PHASE>(at);
            }
    }
}

void start_carry(const float* grad, Slice rows, Index H, float* carry) {
    const Index count = rows.end - rows.begin, Hp = padded(H);
    std::memset(carry, 0, count * Hp * sizeof(float));
    for (Index row = 0; grad && row < count; ++row)
        std::memcpy(carry + row * Hp, grad + (rows.begin + row) * H, H * sizeof(float));
}

template <class Cell> void backward_slice(const Layer& layer, Slice rows, const float* panels, const float* second_panels) {
    const Index size = (rows.end - rows.begin) * padded(layer.hidden_size);
    Floats products((rows.end - rows.begin) * PANEL), carry(size), carry_c(size);
    start_carry(layer.grad_hidden, rows, layer.hidden_size, carry);
    start_carry(layer.grad_cells, rows, layer.hidden_size, carry_c);
    for (Index t = layer.seq_len - 1; t >= -1; --t) {
        backward_phase<Cell, 0>(layer, rows, t, panels, products, carry, carry_c);
        if constexpr (Cell::PHASES == 2)
            if (t >= 0) backward_phase<Cell, 1>(layer, rows, t, second_panels, products, carry, carry_c);
    }
}

template <class Cell> void weight_gradients(const Layer& layer) {
    const Index H = layer.hidden_size, Hp = padded(H), E = layer.input_size, step = row_size<Cell>(layer);
    const Index num_rows = layer.seq_len * layer.batch_size;
    const int parts = parts_of(H, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(H, part, parts);
        for (Index gate = 0; gate < Cell::GATES; ++gate) {
            // In the second phase W_hn multiplied r * h, which is in the last block.
            const bool is_second = Cell::PHASES == 2 && gate == Cell::GATES - 1;
            const float* right = is_second ? layer.gates + 3 * Hp : layer.hidden;
            multiply_by_rows(layer.gates + Cell::H_BLOCK[gate] * Hp, step, right, is_second ? step : H, H, num_rows, slice,
                             layer.grad_weight_hh + gate * H * H);
            if (!layer.ids)
                multiply_by_rows(layer.gates + Cell::X_BLOCK[gate] * Hp, step, layer.features, E, E, num_rows, slice,
                                 layer.grad_weight_ih + gate * H * E);
        }
    });
}

// Sum the gradients of all rows, and for one-hot inputs those of each character, PANEL columns at a time.
template <class Cell> void column_gradients(const Layer& layer) {
    const Index H = layer.hidden_size, Hp = padded(H), V = layer.input_size, step = row_size<Cell>(layer);
    const Index num_rows = layer.seq_len * layer.batch_size, num_panels = Hp / PANEL;
    const int parts = parts_of(num_panels * Cell::BLOCKS, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_panels * Cell::BLOCKS, part, parts);
        Floats by_character(layer.ids ? V * PANEL : 0), sums(PANEL);
        for (Index p = slice.begin; p < slice.end; ++p) {
            const Index block = p / num_panels, u = p % num_panels * PANEL, real = H - u < PANEL ? H - u : PANEL;
            const bool is_input = layer.ids && block < Cell::X_BLOCKS;
            const float* column = layer.gates + block * Hp + u;
            if (is_input) std::memset(by_character, 0, V * PANEL * sizeof(float));
            Vec first = all(0.0f), second = all(0.0f), all_first = first, all_second = second;
            for (Index row = 0; row < num_rows; ++row, column += step) {
                if (row % SUM_AT_ONCE == 0) {
                    all_first = all_first + first;
                    all_second = all_second + second;
                    first = second = all(0.0f);
                }
                const Vec one = load(column), two = load(column + WIDTH);
                first = first + one;
                second = second + two;
                if (!is_input) continue;
                float* place = by_character + layer.ids[row] * PANEL;
                store(place, load(place) + one);
                store(place + WIDTH, load(place + WIDTH) + two);
            }
            store(sums, all_first + first);
            store(sums + WIDTH, all_second + second);
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

template <class Cell> void feature_gradients(const Layer& layer) {
    const Index Hp = padded(layer.hidden_size), E = layer.input_size, step = row_size<Cell>(layer), depth = Cell::X_BLOCKS * Hp;
    Floats panels(padded(E) * depth);
    pack_backward(layer, layer.weight_ih, Cell::X_BLOCK, Cell::GATES, E, panels);
    multiply_tall(layer.threads, layer.gates, step, layer.seq_len * layer.batch_size, panels, depth, E, nullptr,
                  layer.grad_features);
}

template <class Cell> void backward(const Layer& layer) {
    const Index H = layer.hidden_size, Hp = padded(H), first_gates = end_gate<Cell>(0);
    Floats panels(first_gates * Hp * Hp), second_panels(Cell::PHASES == 2 ? Hp * Hp : 0);
    static constexpr Index IN_ORDER[] = {0, 1, 2, 3};
    pack_backward(layer, layer.weight_hh, IN_ORDER, first_gates, H, panels);
    if (Cell::PHASES == 2)
        pack_backward(layer, layer.weight_hh + (Cell::GATES - 1) * H * H, IN_ORDER, 1, H, second_panels);
    const int parts = parts_of(layer.batch_size, layer.threads);
    in_parallel(parts,
                [&](int part) { backward_slice<Cell>(layer, Slice(layer.batch_size, part, parts), panels, second_panels); });
    weight_gradients<Cell>(layer);
    column_gradients<Cell>(layer);
    if (layer.grad_features) feature_gradients<Cell>(layer);
}

}  // namespace
}  // namespace charlm

using namespace charlm;

int32_t charlm_backward(const CharlmLayer* layer) {
    return run_layer(*layer, [&](auto cell) { backward<decltype(cell)>(*layer); });
}
