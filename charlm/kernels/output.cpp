// The output layer and its loss, a slice of the window's characters after another: the logits of a slice turn into
// probabilities and then into gradients where they are, are multiplied into the gradients of weights and hidden states,
// and make room for the next slice.
#include "output.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tall.h"

using namespace charlm;

namespace {

constexpr Index SLICE_FLOATS = 1 << 19;  // logits that are in memory at once, if a slice of DEPTH_AT_ONCE rows has no more
constexpr Index LANES = 16;              // running sums of a row, whatever the width of a vector is
constexpr Index SUM_AT_ONCE = 64;        // rows of one partial sum of the bias's gradient
constexpr int64_t PADDING = -100;         // the target of a row that counts for nothing, as in torch
constexpr Index SKEW = 16;               // rows a power of two apart would share one set of the first-level cache

struct Costs {
    double smoothed, plain;
};

float sum_of_lanes(float* lanes) {
    for (Index half = LANES / 2; half > 0; half /= 2)
        for (Index lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

float largest(const float* numbers, Index count) {
    float lanes[LANES];
    std::fill(lanes, lanes + LANES, -std::numeric_limits<float>::infinity());
    Index i = 0;
    for (; i + LANES <= count; i += LANES)
        for (Index lane = 0; lane < LANES; ++lane) lanes[lane] = numbers[i + lane] > lanes[lane] ? numbers[i + lane] : lanes[lane];
    for (; i < count; ++i) lanes[0] = numbers[i] > lanes[0] ? numbers[i] : lanes[0];
    return *std::max_element(lanes, lanes + LANES);
}

float sum_of(const float* numbers, Index count) {
    float lanes[LANES] = {};
    Index i = 0;
    for (; i + LANES <= count; i += LANES)
        for (Index lane = 0; lane < LANES; ++lane) lanes[lane] += numbers[i + lane];
    for (; i < count; ++i) lanes[i % LANES] += numbers[i];
    return sum_of_lanes(lanes);
}

// Turn a row of logits into the gradient of the mean smoothed cost, over this many rows.
Costs row_costs(const CharlmOutput& call, float* row, int64_t target, double num_counted) {
    const Index V = call.columns;
    if (target == PADDING) {
        std::memset(row, 0, V * sizeof(float));
        return {0, 0};
    }
    for (Index v = 0; v < V; ++v) row[v] += call.bias[v];
    const float top = largest(row, V), aim = row[target];
    const double average = call.smoothing > 0 ? double(sum_of(row, V)) / V : 0;
    for (Index v = 0; v + WIDTH <= V; v += WIDTH) store(row + v, exponential(load(row + v) - all(top)));
    if (const Index rest = V % WIDTH)
        store_first(row + V - rest, exponential(load_first(row + V - rest, rest) - all(top)), rest);
    const double total = sum_of(row, V), plain = std::log(total) + top - aim;
    const float scale = 1 / (total * num_counted), spread = call.smoothing / (V * num_counted);
    for (Index v = 0; v < V; ++v) row[v] = row[v] * scale - spread;
    row[target] -= (1 - call.smoothing) / num_counted;
    return {(1 - call.smoothing) * plain + call.smoothing * (std::log(total) + top - average), plain};
}

class Output {
  public:
    explicit Output(CharlmOutput& call)
        : call_(call),
          num_counted_(call.rows - std::count(call.targets, call.targets + call.rows, PADDING)),
          width_(padded(call.depth)),
          step_(padded(call.columns) + SKEW),
          slice_rows_(std::max<Index>(1, SLICE_FLOATS / (step_ * DEPTH_AT_ONCE)) * DEPTH_AT_ONCE),
          forward_(padded(call.columns) * call.depth),
          backward_(width_ * call.columns),
          logits_(std::min<Index>(call.rows, slice_rows_) * step_),
          wide_sums_(width_ == call.depth ? 0 : call.columns * width_),
          sums_(width_ == call.depth ? call.grad_weight : (float*)wide_sums_),
          costs_(call.rows) {}

    void run() {
        pack();
        std::fill(call_.grad_bias, call_.grad_bias + call_.columns, 0.0f);
        if (call_.rows == 0) std::memset(sums_, 0, call_.columns * width_ * sizeof(float));
        for (Index begin = 0; begin < call_.rows; begin += slice_rows_) {
            const Index count = std::min<Index>(call_.rows - begin, slice_rows_);
            const int parts = parts_of(count, call_.threads), column_parts = parts_of(call_.columns, call_.threads);
            in_parallel(parts, [&](int part) { run_rows(begin, Slice(count, part, parts)); });
            in_parallel(column_parts, [&](int part) { add_columns(begin, count, Slice(call_.columns, part, column_parts)); });
        }
        Costs total{};
        for (const Costs& each : costs_) total = {total.smoothed + each.smoothed, total.plain + each.plain};
        call_.loss = total.smoothed / num_counted_;
        call_.mean = total.plain / num_counted_;
        for (Index v = 0; sums_ == wide_sums_ && v < call_.columns; ++v)
            std::memcpy(call_.grad_weight + v * call_.depth, sums_ + v * width_, call_.depth * sizeof(float));
    }

  private:
    void pack() {
        const Index V = call_.columns, H = call_.depth, V_panels = padded(V) / PANEL, panels = V_panels + width_ / PANEL;
        const int parts = parts_of(panels, call_.threads);
        in_parallel(parts, [&](int part) {
            const Slice slice(panels, part, parts);
            for (Index p = slice.begin; p < slice.end; ++p) {
                if (p >= V_panels) {
                    const Index column = (p - V_panels) * PANEL;
                    pack_columns(call_.weight + column, H, H - column, V, backward_ + column * V);
                    continue;
                }
                const Index column = p * PANEL, real = std::min(V - column, PANEL);
                if (real < PANEL) std::memset(forward_ + column * H, 0, PANEL * H * sizeof(float));
                transpose(call_.weight + column * H, H, real, H, forward_ + column * H, PANEL);
            }
        });
    }

    // Compute a slice's rows: costs, the gradient of the logits, and that of the hidden states.
    void run_rows(Index first, Slice slice) {
        const Index H = call_.depth, V = call_.columns;
        Floats tile(ROWS_AT_ONCE * PANEL);
        for (Index begin = slice.begin; begin < slice.end; begin += ROWS_AT_ONCE) {
            const Index count = std::min(slice.end - begin, ROWS_AT_ONCE);
            float* logits = logits_ + begin * step_;
            const float* hidden = call_.hidden + (first + begin) * H;
            for (Index column = 0; column < V; column += PANEL)
                multiply_panel(Rows{hidden, H, 1}, count, forward_ + column * H, H, logits + column, step_, false);
            for (Index row = 0; row < count; ++row) {
                const Index place = first + begin + row;
                costs_[place] = row_costs(call_, logits + row * step_, call_.targets[place], num_counted_);
            }
            float* grad = call_.grad_hidden + (first + begin) * H;
            for (Index column = 0; column < H; column += PANEL) {
                multiply_panel(Rows{logits, step_, 1}, count, backward_ + column * V, V, tile, PANEL, false);
                for (Index row = 0; row < count; ++row)
                    std::memcpy(grad + row * H + column, tile + row * PANEL, std::min(H - column, PANEL) * sizeof(float));
            }
        }
    }

    // Add a slice's rows to the gradients of some symbols' weights and biases. Chains of DEPTH_AT_ONCE rows follow each
    // other in the order of the window, however many rows a slice has.
    void add_columns(Index first, Index num_rows, Slice columns) {
        const Index H = call_.depth, count = columns.end - columns.begin;
        Floats panels(width_ * DEPTH_AT_ONCE), partial(count);
        for (Index begin = 0; begin < num_rows; begin += DEPTH_AT_ONCE) {
            const Index depth = std::min(num_rows - begin, DEPTH_AT_ONCE);
            const float* left = logits_ + begin * step_ + columns.begin;
            for (Index p = 0; p < width_; p += PANEL)
                pack_columns(call_.hidden + (first + begin) * H + p, H, H - p, depth, panels + p * DEPTH_AT_ONCE);
            for (Index m = 0; m < count; m += MAX_ROWS)
                for (Index p = 0; p < width_; p += PANEL)
                    multiply_panel(Rows{left + m, 1, step_}, std::min(count - m, MAX_ROWS), panels + p * DEPTH_AT_ONCE, depth,
                                   sums_ + (columns.begin + m) * width_ + p, width_, first + begin > 0);
            for (Index row = 0; row < depth; row += SUM_AT_ONCE) {
                std::fill((float*)partial, partial + count, 0.0f);
                for (Index each = row; each < std::min(depth, row + SUM_AT_ONCE); ++each)
                    for (Index v = 0; v < count; ++v) partial[v] += left[each * step_ + v];
                for (Index v = 0; v < count; ++v) call_.grad_bias[columns.begin + v] += partial[v];
            }
        }
    }

    CharlmOutput& call_;
    double num_counted_;
    Index width_, step_, slice_rows_;
    Floats forward_, backward_, logits_, wide_sums_;
    float* sums_;  // the gradient of the weights, with rows of width_: in place where that is their own width
    std::vector<Costs> costs_;
};

}  // namespace

int32_t charlm_output(CharlmOutput* call) {
    for (Index row = 0; row < call->rows; ++row)
        if (call->targets[row] != PADDING && (call->targets[row] < 0 || call->targets[row] >= call->columns)) return 2;
    return run_call([&] { Output(*call).run(); });
}

int64_t charlm_output_size(void) { return sizeof(CharlmOutput); }
