// Writing: each character is drawn and read by every layer, which gives the logits of the next one. Reading is the same
// without drawing.
//
// Several texts are divided by rows, and no thread waits for another. A single text is divided by columns, so that each
// core's share of the weights stays in its own cache; then all threads wait for each other after each layer.
#include "writing.h"

#include <memory>
#include <vector>

#include "drawing.h"
#include "team.h"
#include "weights.h"

namespace charlm {
namespace {

class Writer {
  public:
    virtual ~Writer() = default;
    virtual void write(const CharlmWriting&) const = 0;
    virtual bool knows(const CharlmWriting&) const = 0;  // whether all ids that it is to read are in the vocabulary
};

template <class Cell> class CellWriter : public Writer {
  public:
    CellWriter(const CharlmNetwork& network, bool has_few_rows)
        : H_(network.hidden_size),
          V_(network.vocab_size),
          num_layers_(network.num_layers),
          is_residual_(network.is_residual != 0),
          num_characters_(network.num_characters),
          table_(V_ * Cell::X_BLOCKS * padded(H_)),
          decoder_(padded(V_) * H_),
          decoder_bias_(padded(V_)) {
        for (Index l = 0; l < num_layers_; ++l) {
            const float* const* weights = network.weights + 4 * l;
            Layer layer{};
            layer.threads = 1;
            layer.hidden_size = H_;
            layer.input_size = l == 0 ? V_ : H_;
            layer.weight_ih = weights[0];
            layer.weight_hh = weights[1];
            layer.bias_ih = weights[2];
            layer.bias_hh = weights[3];
            state_weights_.push_back(std::make_unique<GateWeights<Cell>>(layer, layer.weight_hh, H_, has_few_rows));
            if (l > 0) input_weights_.push_back(std::make_unique<GateWeights<Cell>>(layer, layer.weight_ih, H_, has_few_rows));
            biases_.push_back(std::make_unique<Floats>(Cell::BLOCKS * padded(H_)));
            gather_bias<Cell>(layer, *biases_.back());
            if (l == 0) build_table<Cell>(layer, *biases_[0], table_);
        }
        std::memset(decoder_, 0, padded(V_) * H_ * sizeof(float));
        std::memset(decoder_bias_, 0, padded(V_) * sizeof(float));
        for (Index v = 0; v < V_; v += PANEL)
            transpose(network.decoder_weight + v * H_, H_, V_ - v < PANEL ? V_ - v : PANEL, H_, decoder_ + v * H_, PANEL);
        std::memcpy(decoder_bias_, network.decoder_bias, V_ * sizeof(float));
    }

    bool knows(const CharlmWriting& writing) const override {
        if (writing.draws) return true;
        return std::all_of(writing.ids, writing.ids + writing.length * writing.rows, [&](Index id) { return id >= 0 && id < V_; });
    }

    void write(const CharlmWriting& writing) const override {
        if (writing.rows >= 2 || writing.threads < 2) {
            const int parts = parts_of(writing.rows, writing.threads);
            in_parallel(parts, [&](int part) {
                Desk desk(*this, writing, Slice(writing.rows, part, parts));
                Tools tools(*this, writing, desk.count);
                write_rows(writing, desk, tools, Share{0, 1}, nullptr);
            });
            return;
        }
        Desk desk(*this, writing, Slice(writing.rows, 0, 1));
        // Allocate beforehand: a thread that ran out of memory later would leave the others waiting.
        std::vector<std::unique_ptr<Tools>> tools;
        for (int number = 0; number < writing.threads; ++number) tools.push_back(std::make_unique<Tools>(*this, writing, 1));
        Team team(writing.threads);
        on_each_thread(writing.threads, [&] {
            const int number = team.join();
            if (number >= 0) write_rows(writing, desk, *tools[number], Share{number, team.size()}, &team);
        });
    }

  private:
    // The working memory of some rows; all threads of a team share one.
    struct Desk {
        Slice rows;
        Index count, step;
        Floats before, after, reset, cells, logits;  // states (L, rows, padded H)
        Floats outputs;                              // each layer's outputs, if they are not its hidden state

        Desk(const CellWriter& writer, const CharlmWriting& writing, Slice some)
            : rows(some), count(some.end - some.begin), step(padded(writer.H_) + ROW_PAD),
              before(writer.num_layers_ * count * step), after(writer.num_layers_ * count * step), reset(count * step),
              cells(2 * writer.num_layers_ * count * step), logits(2 * count * padded(writer.V_)),
              outputs(writer.is_residual_ ? writer.num_layers_ * count * step : 0) {
            const Index H = writer.H_, floats = writer.num_layers_ * count * step;
            for (float* part : {(float*)before, (float*)after, (float*)cells, cells + floats})
                std::memset(part, 0, floats * sizeof(float));
            std::memset(reset, 0, count * step * sizeof(float));
            each_row(writer, writing, [&](Index mine, Index theirs) {
                std::memcpy(before + mine, writing.h + theirs, H * sizeof(float));
                if (Cell::HAS_CELLS) std::memcpy(cells + mine, writing.c + theirs, H * sizeof(float));
            });
            if (!writer.is_residual_) return;
            const Index layer_floats = count * step;
            std::memcpy(outputs, before, layer_floats * sizeof(float));
            for (Index i = layer_floats; i < floats; ++i) outputs[i] = before[i] + outputs[i - layer_floats];
        }
        template <class Copy> void each_row(const CellWriter& writer, const CharlmWriting& writing, const Copy& copy) const {
            for (Index l = 0; l < writer.num_layers_; ++l)
                for (Index row = 0; row < count; ++row)
                    copy((l * count + row) * step, (l * writing.rows + rows.begin + row) * writer.H_);
        }
    };

    // What each thread has to itself.
    struct Tools {
        Floats products, inputs, weighed;
        Drawing drawing;
        std::vector<Index> ids;

        Tools(const CellWriter& writer, const CharlmWriting& writing, Index count)
            : products(Cell::GATES * count * PANEL), inputs(Cell::GATES * count * PANEL), weighed(count * padded(writer.V_)),
              drawing(writing, writer.num_characters_), ids(count) {}
    };

    void write_rows(const CharlmWriting& writing, Desk& desk, Tools& tools, Share share, Team* team) const {
        const auto meet = [&] {
            if (team) team->meet();
        };
        const Index count = desk.count, layer_floats = count * desk.step, state_floats = num_layers_ * layer_floats;
        float *before = desk.before, *after = desk.after, *cells_before = desk.cells, *cells_after = desk.cells + state_floats;
        const auto outputs_of_last_layer = [&] { return (is_residual_ ? (float*)desk.outputs : before) + state_floats - layer_floats; };
        for (Index n = 0; n < writing.length; ++n) {
            int64_t* ids = writing.ids + n * writing.rows + desk.rows.begin;
            if (writing.draws) {
                // Use two buffers in turn, because a slower thread may still be drawing from the last logits.
                float* logits = desk.logits + n % 2 * count * padded(V_);
                compute_logits(outputs_of_last_layer(), desk, share, logits);
                meet();
                std::memcpy(tools.weighed, logits, count * padded(V_) * sizeof(float));
                const double* draws = writing.draws + n * writing.rows + desk.rows.begin;
                for (Index row = 0; row < count; ++row) {
                    tools.ids[row] = tools.drawing.draw(tools.weighed + row * padded(V_), draws[row]);
                    if (share.number == 0) ids[row] = tools.ids[row];
                }
            } else {
                std::copy(ids, ids + count, tools.ids.begin());
            }
            for (Index l = 0; l < num_layers_; ++l) {
                const Index at = l * layer_floats;
                float* outputs = is_residual_ ? desk.outputs + at : after + at;
                const Place place{l > 0 ? outputs - layer_floats : nullptr, before + at, after + at,
                                  cells_before + at, cells_after + at, outputs};
                advance<0>(l, desk, tools, share, place);
                meet();
                if constexpr (Cell::PHASES == 2) {
                    advance<1>(l, desk, tools, share, place);
                    meet();
                }
            }
            std::swap(before, after);
            std::swap(cells_before, cells_after);
            if (writing.logits) {
                compute_logits(outputs_of_last_layer(), desk, share, desk.logits);
                copy_logits(desk, share, writing.logits + (n * writing.rows + desk.rows.begin) * V_);
            }
        }
        if (share.number != 0) return;
        desk.each_row(*this, writing, [&](Index mine, Index theirs) {
            std::memcpy(writing.h + theirs, before + mine, H_ * sizeof(float));
            if (Cell::HAS_CELLS) std::memcpy(writing.c + theirs, cells_before + mine, H_ * sizeof(float));
        });
    }

    void compute_logits(const float* h, const Desk& desk, Share share, float* logits) const {
        const Index width = padded(V_);
        const Slice panels = share.panels(width / PANEL);
        for (Index p = panels.begin; p < panels.end; ++p) {
            multiply_panel(Rows{h, desk.step, 1}, desk.count, decoder_ + p * PANEL * H_, H_, logits + p * PANEL, width, false);
            for (Index row = 0; row < desk.count; ++row)
                for (Index v = p * PANEL; v < (p + 1) * PANEL; v += WIDTH) {
                    float* place = logits + row * width + v;
                    store(place, load(place) + load(decoder_bias_ + v));
                }
        }
    }

    // Copy a thread's own columns, which no other thread touches, so that nobody waits.
    void copy_logits(const Desk& desk, Share share, float* to) const {
        const Slice panels = share.panels(padded(V_) / PANEL);
        const Index begin = panels.begin * PANEL, end = std::min<Index>(panels.end * PANEL, V_);
        for (Index row = 0; row < desk.count && begin < end; ++row)
            std::memcpy(to + row * V_ + begin, desk.logits + row * padded(V_) + begin, (end - begin) * sizeof(float));
    }

    // Where one layer's numbers are.
    struct Place {
        const float *below, *before;
        float* after;
        const float* cells_before;
        float *cells_after, *outputs;  // the outputs are the state after, except in residual networks
    };

    template <Index PHASE> void advance(Index l, const Desk& desk, Tools& tools, Share share, const Place& layer) const {
        constexpr Index FIRST = first_gate<Cell>(PHASE), COUNT = end_gate<Cell>(PHASE) - FIRST;
        const Index Hp = padded(H_), count = desk.count;
        const GateWeights<Cell>& weights = *state_weights_[l];
        const float* bias = *biases_[l];
        const Slice panels = share.panels(Hp / PANEL);
        for (Index p = panels.begin; p < panels.end; ++p) {
            weights.template multiply_gates<PHASE>(Rows{PHASE == 0 ? layer.before : desk.reset, desk.step, 1}, count, p,
                                                   tools.products);
            if (l > 0)
                input_weights_[l - 1]->template multiply_gates<PHASE>(Rows{layer.below, desk.step, 1}, count, p, tools.inputs);
            for (Index row = 0; row < count; ++row)
                for (Index v = 0; v < PANEL; v += WIDTH) {
                    const Index u = p * PANEL + v, place = row * desk.step + u;
                    float x[Cell::X_BLOCKS * WIDTH];
                    for (Index gate = 0; l > 0 && gate < COUNT; ++gate) {
                        const Index block = Cell::X_BLOCK[FIRST + gate];
                        const Products inputs = weights.template products_of<PHASE>(tools.inputs, count, row, v / WIDTH);
                        store(x + block * WIDTH, load(bias + block * Hp + u) + inputs.of<COUNT>(gate));
                    }
                    ForwardAt at{};
                    at.x = l > 0 ? x : table_ + tools.ids[row] * Cell::X_BLOCKS * Hp + u;
                    at.x_block = l > 0 ? WIDTH : Hp;
                    at.products = weights.template products_of<PHASE>(tools.products, count, row, v / WIDTH);
                    at.bias = bias + u;
                    at.h_before = layer.before + place;
                    at.h = at.out = layer.after + place;
                    at.reset_h = desk.reset + place;
                    at.c_before = layer.cells_before + place;
                    at.c = layer.cells_after + place;
                    at.block = Hp;
                    at.n = WIDTH;  // every array is padded here
                    Cell::template forward<PHASE>(at);
                    if (PHASE == Cell::PHASES - 1 && is_residual_) {
                        const auto h = load(layer.after + place);
                        store(layer.outputs + place, l > 0 ? h + load(layer.below + place) : h);
                    }
                }
        }
    }

    Index H_, V_, num_layers_;
    bool is_residual_;
    Index num_characters_;
    Floats table_, decoder_, decoder_bias_;
    std::vector<std::unique_ptr<GateWeights<Cell>>> state_weights_, input_weights_;
    std::vector<std::unique_ptr<Floats>> biases_;
};

template <class Cell> Writer* new_writer(const CharlmNetwork& network, bool has_few_rows) {
    return new CellWriter<Cell>(network, has_few_rows);
}

}  // namespace
}  // namespace charlm

using namespace charlm;

int64_t charlm_network_size(void) { return sizeof(CharlmNetwork); }

int64_t charlm_writing_size(void) { return sizeof(CharlmWriting); }

void* charlm_writer_new(const CharlmNetwork* network, int64_t num_texts) {
    try {
        return with_cell(network->cell,
                         [&](auto cell) -> void* { return new_writer<decltype(cell)>(*network, num_texts <= FEW_ROWS); });
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

int32_t charlm_write(const void* writer, const CharlmWriting* writing) {
    try {
        const auto* known = static_cast<const Writer*>(writer);
        if (!known->knows(*writing)) return 2;
        known->write(*writing);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

void charlm_writer_free(void* writer) { delete static_cast<Writer*>(writer); }
