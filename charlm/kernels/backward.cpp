// The backward pass of a recurrent layer through its window, which turns the gates' buffer into their gradients.
#include "steps.h"

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
        // Where there are registers for two panels at once, half as many passes over the rows are needed.
        const Index first = HAS_PAIRS ? u / (2 * PANEL) * (2 * PANEL) : u;
        const Index width = HAS_PAIRS && first + PANEL < Hp ? 2 * PANEL : PANEL;
        if (u == first && source < layer.seq_len) {
            const float* later = layer.gates + (source * B + rows.begin) * step + first_back_block<Cell>(PHASE) * Hp;
            multiply_panels(Rows{later, step, 1}, count, panels + u * depth, width / PANEL, depth, products);
        } else if (u == first) {
            std::memset(products, 0, count * width * sizeof(float));
        }
        for (Index row = 0; row < count; ++row)
            for (Index v = 0; v < PANEL; v += WIDTH) {
                const Index b = rows.begin + row, padded_place = row * Hp + u + v;
                float *row_carry = carry + padded_place, *row_carry_c = carry_c + padded_place;
                const float* product = products + row * width + u - first + v;
                if (t < 0) {
                    store_initial_gradients<Cell>(layer, b, u + v, product, row_carry, row_carry_c);
                    continue;
                }
                const BackwardAt at = backward_at<Cell>(layer, t, b, u + v, product, row_carry, row_carry_c);
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
    Floats products((rows.end - rows.begin) * 2 * PANEL), carry(size), carry_c(size);
    start_carry(layer.grad_hidden, rows, layer.hidden_size, carry);
    start_carry(layer.grad_cells, rows, layer.hidden_size, carry_c);
    for (Index t = layer.seq_len - 1; t >= -1; --t) {
        backward_phase<Cell, 0>(layer, rows, t, panels, products, carry, carry_c);
        if constexpr (Cell::PHASES == 2)
            if (t >= 0) backward_phase<Cell, 1>(layer, rows, t, second_panels, products, carry, carry_c);
    }
}

// The gradients, from the gate `first` to the gate `end`, of weights (gates x H, columns) that all multiplied the rows of
// `right`; blocks says where the gates' gradients are.
template <class Cell>
void gate_gradients(const Layer& layer, Index first, Index end, const Index* blocks, const float* right, Index right_step,
                    Index columns, float* grad) {
    const Index H = layer.hidden_size, Hp = padded(H), num_rows = layer.seq_len * layer.batch_size;
    const int parts = parts_of(H, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(H, part, parts);
        // Together, so that the right side is packed once; but their sums must stay in the cache.
        const Index sums = (slice.end - slice.begin) * padded(columns), at_once = std::max<Index>(1, SUMS_AT_ONCE / sums);
        WeightGradient gradients[Cell::GATES];
        for (Index gate = first; gate < end; gate += at_once) {
            const Index num_gates = std::min(end - gate, at_once);
            for (Index i = 0; i < num_gates; ++i)
                gradients[i] = {layer.gates + blocks[gate + i] * Hp, grad + (gate + i) * H * columns};
            multiply_by_rows(gradients, num_gates, row_size<Cell>(layer), right, right_step, columns, num_rows, slice);
        }
    });
}

template <class Cell> void weight_gradients(const Layer& layer) {
    const Index H = layer.hidden_size, E = layer.input_size, first_gates = end_gate<Cell>(0);
    gate_gradients<Cell>(layer, 0, first_gates, Cell::H_BLOCK, layer.hidden, H, H, layer.grad_weight_hh);
    // In the second phase W_hn multiplied r * h, which is in the last block.
    if (Cell::PHASES == 2)
        gate_gradients<Cell>(layer, first_gates, Cell::GATES, Cell::H_BLOCK, layer.gates + 3 * padded(H),
                             row_size<Cell>(layer), H, layer.grad_weight_hh);
    if (!layer.ids)
        gate_gradients<Cell>(layer, 0, Cell::GATES, Cell::X_BLOCK, layer.features, E, E, layer.grad_weight_ih);
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
