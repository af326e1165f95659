// A recurrent layer over a window: each thread takes a slice of the batch through the whole sequence, without barriers.
#include "steps.h"
#include "team.h"

namespace charlm {
namespace {

// For features, W x + b is a product; it is written to where the gates will be.
template <class Cell> void project_features(const Layer& layer, const float* bias) {
    const Index H = layer.hidden_size, Hp = padded(H), E = layer.input_size, step = row_size<Cell>(layer);
    const Index num_rows = layer.seq_len * layer.batch_size, num_panels = Hp / PANEL;
    const GateWeights<Cell> weights(layer, layer.weight_ih, E, false);
    const int parts = parts_of(num_rows, layer.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_rows, part, parts);
        for (Index begin = slice.begin; begin < slice.end; begin += ROWS_AT_ONCE) {
            const Index count = std::min(slice.end - begin, ROWS_AT_ONCE);
            for (Index row = begin; row < begin + count; ++row)
                std::memcpy(layer.gates + row * step, bias, Cell::X_BLOCKS * Hp * sizeof(float));
            for (Index p = 0; p < num_panels; ++p)
                for (Index gate = 0; gate < Cell::GATES; ++gate)
                    multiply_panel(Rows{layer.features + begin * E, E, 1}, count, weights.panel(p, gate), E,
                                   layer.gates + begin * step + Cell::X_BLOCK[gate] * Hp + p * PANEL, step, true);
        }
    });
}

template <class Cell, Index PHASE>
void forward_phase(const Layer& layer, Slice rows, Slice panels, Index t, const GateWeights<Cell>& weights, const float* table,
                   const float* bias, float* products, float* before, float* after, float* reset) {
    const Index H = layer.hidden_size, Hp = padded(H), B = layer.batch_size, state_step = Hp + ROW_PAD;
    const Index count = rows.end - rows.begin, gates_step = row_size<Cell>(layer);
    const float* operand = PHASE == 0 ? before : reset;
    for (Index u = panels.begin * PANEL; u < panels.end * PANEL; u += PANEL) {
        weights.template multiply_gates<PHASE>(Rows{operand, state_step, 1}, count, u / PANEL, products);
        for (Index row = 0; row < count; ++row) {
            const Index b = rows.begin + row, place = t * B + b;
            float* gates = layer.gates ? layer.gates + place * gates_step + u : nullptr;
            const float* x = layer.ids ? table + layer.ids[place] * Cell::X_BLOCKS * Hp + u : gates;
            for (Index v = 0; v < PANEL; v += WIDTH) {
                ForwardAt at = forward_at<Cell>(layer, place, u + v, x + v, bias + u + v, gates ? gates + v : nullptr);
                at.h_before = before + row * state_step + u + v;
                at.h = after + row * state_step + u + v;
                at.reset_h = reset + row * state_step + u + v;
                at.products = weights.template products_of<PHASE>(products, count, row, v / WIDTH);
                Cell::template forward<PHASE>(at);
            }
        }
    }
}

// The padded state of some rows before and after a step.
struct States {
    Index count, step;
    Floats memory;

    States(const Layer& layer, Slice rows)
        : count(rows.end - rows.begin), step(padded(layer.hidden_size) + ROW_PAD), memory(3 * count * step) {
        std::memset(memory, 0, 3 * count * step * sizeof(float));
        for (Index row = 0; row < count; ++row)
            std::memcpy(memory + row * step, layer.hidden + (rows.begin + row) * layer.hidden_size,
                        layer.hidden_size * sizeof(float));
    }
    float* part(Index number) const { return memory + number * count * step; }
};

// Run some rows through the window; in a team, compute only some panels of units while others compute the rest.
template <class Cell>
void forward_slice(const Layer& layer, Slice rows, Slice panels, Team* team, const States& states, float* products,
                   const GateWeights<Cell>& weights, const float* table, const float* bias) {
    float *before = states.part(0), *after = states.part(1), *reset = states.part(2);
    for (Index t = 0; t < layer.seq_len; ++t) {
        forward_phase<Cell, 0>(layer, rows, panels, t, weights, table, bias, products, before, after, reset);
        if (team) team->meet();
        if constexpr (Cell::PHASES == 2) {
            forward_phase<Cell, 1>(layer, rows, panels, t, weights, table, bias, products, before, after, reset);
            if (team) team->meet();
        }
        std::swap(before, after);
    }
}

template <class Cell> void forward(const Layer& layer) {
    const Index Hp = padded(layer.hidden_size), num_panels = Hp / PANEL;
    // If there are fewer rows than threads, the threads share the units instead.
    const bool has_team = layer.batch_size < layer.threads;
    const int parts = has_team ? 1 : parts_of(layer.batch_size, layer.threads);
    const GateWeights<Cell> weights(layer, layer.weight_hh, layer.hidden_size, layer.batch_size <= FEW_ROWS * parts);
    Floats bias(Cell::BLOCKS * Hp), table(layer.ids ? layer.input_size * Cell::X_BLOCKS * Hp : 0);
    gather_bias<Cell>(layer, bias);
    if (layer.ids)
        build_table<Cell>(layer, bias, table);
    else
        project_features<Cell>(layer, bias);
    if (!has_team) {
        in_parallel(parts, [&](int part) {
            const Slice rows(layer.batch_size, part, parts), panels(num_panels, 0, 1);
            const Floats products(Cell::GATES * (rows.end - rows.begin) * PANEL);
            forward_slice<Cell>(layer, rows, panels, nullptr, States(layer, rows), products, weights, table, bias);
        });
        return;
    }
    const Slice rows(layer.batch_size, 0, 1);
    const States states(layer, rows);
    const Index products_size = Cell::GATES * layer.batch_size * PANEL;
    const Floats products(layer.threads * products_size);
    Team team(layer.threads);
    on_each_thread(layer.threads, [&] {
        const int number = team.join();
        if (number < 0) return;
        forward_slice<Cell>(layer, rows, Slice(num_panels, number, team.size()), &team, states,
                            products + number * products_size, weights, table, bias);
    });
}

}  // namespace
}  // namespace charlm

using namespace charlm;

int64_t charlm_gates_size(int32_t cell, int64_t hidden_size) { return (cell < 2 ? 1 : 4) * padded(hidden_size) + ROW_PAD; }

int32_t charlm_forward(const CharlmLayer* layer) {
    for (Index place = 0; layer->ids && place < layer->seq_len * layer->batch_size; ++place)
        if (layer->ids[place] < 0 || layer->ids[place] >= layer->input_size) return 2;
    return run_layer(*layer, [&](auto cell) { forward<decltype(cell)>(*layer); });
}

int64_t charlm_layer_size(void) { return sizeof(CharlmLayer); }

int64_t charlm_num_calls(void) { return num_calls().load(); }

void charlm_share_threads(void* parallel) { parallel_entry() = reinterpret_cast<ParallelEntry>(parallel); }
