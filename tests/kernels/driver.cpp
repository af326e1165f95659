// Compare the kernels with plain loops in double, in a program that test_kernel_driver.py compiles with sanitizers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "layers.h"
#include "writing.h"

namespace {

using Doubles = std::vector<double>;
using Singles = std::vector<float>;
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

constexpr int RNN_TANH = 0, RNN_RELU = 1, GRU_AFTER = 2, GRU_BEFORE = 3, LSTM = 4;
constexpr int WEIGHT_IH = 0, WEIGHT_HH = 1, BIAS_IH = 2, BIAS_HH = 3, STATE_H = 4, STATE_C = 5, FEATURES = 6;
std::mt19937 generator(0);

int num_gates(int cell) { return cell < 2 ? 1 : cell == LSTM ? 4 : 3; }

void check(bool is_right, const char* what, double found, double expected) {
    if (is_right) return;
    std::printf("%s: %.9g instead of %.9g\n", what, found, expected);
    std::exit(1);
}

template <class Numbers> void check_close(const Singles& found, const Numbers& expected, const char* what) {
    check(found.size() == expected.size(), what, found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
        check(std::fabs(found[i] - expected[i]) < 1e-5 * (1 + std::fabs(expected[i])), what, found[i], expected[i]);
}

Singles draw(size_t count, double bound) {
    std::uniform_real_distribution<float> uniform(-bound, bound);
    Singles numbers(count);
    for (float& number : numbers) number = uniform(generator);
    return numbers;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Return W (rows x columns) x + b, starting at the row `first`.
Doubles affine(const Doubles& weight, const Doubles& bias, const Doubles& x, int first, int rows) {
    Doubles out(bias.begin() + first, bias.begin() + first + rows);
    for (int row = 0; row < rows; ++row)
        for (size_t k = 0; k < x.size(); ++k) out[row] += weight[(first + row) * x.size() + k] * x[k];
    return out;
}

// Advance one row by one step, as charlm/networks/cells.py does.
void advance(int cell, const std::vector<Doubles>& leaves, const Doubles& x, Doubles& h, Doubles& c) {
    const int H = h.size(), G = num_gates(cell);
    const Doubles a = affine(leaves[WEIGHT_IH], leaves[BIAS_IH], x, 0, G * H);
    Doubles r = affine(leaves[WEIGHT_HH], leaves[BIAS_HH], h, 0, G * H);
    if (cell == GRU_BEFORE) {
        Doubles reset = h;
        for (int j = 0; j < H; ++j) reset[j] *= sigmoid(a[j] + r[j]);
        const Doubles candidate = affine(leaves[WEIGHT_HH], leaves[BIAS_HH], reset, 2 * H, H);
        std::copy(candidate.begin(), candidate.end(), r.begin() + 2 * H);
    }
    for (int j = 0; j < H; ++j) {
        if (cell == RNN_TANH) h[j] = std::tanh(a[j] + r[j]);
        if (cell == RNN_RELU) h[j] = std::fmax(0, a[j] + r[j]);
        if (cell == GRU_AFTER || cell == GRU_BEFORE) {
            const double reset = cell == GRU_AFTER ? sigmoid(a[j] + r[j]) : 1, z = sigmoid(a[H + j] + r[H + j]);
            h[j] = (1 - z) * std::tanh(a[2 * H + j] + reset * r[2 * H + j]) + z * h[j];
        }
        if (cell == LSTM) {
            c[j] = sigmoid(a[H + j] + r[H + j]) * c[j] + sigmoid(a[j] + r[j]) * std::tanh(a[2 * H + j] + r[2 * H + j]);
            h[j] = sigmoid(a[3 * H + j] + r[3 * H + j]) * std::tanh(c[j]);
        }
    }
}

struct Case {
    int cell, H, B, T, E;
    bool has_ids, has_grad_outputs, has_grad_state;
    std::vector<int64_t> ids;
    std::vector<Singles> leaves;  // weights, initial state, features
    Singles grad_outputs, grad_h, grad_c;

    Case(int cell, int H, int B, int T, bool has_ids, int number)
        : cell(cell), H(H), B(B), T(T), E(5), has_ids(has_ids), has_grad_outputs(number % 3 > 0), has_grad_state(number % 3 < 2) {
        const int rows = num_gates(cell) * H;
        for (int count : {rows * E, rows * H, rows, rows}) leaves.push_back(draw(count, 1 / std::sqrt(H)));
        for (int count : {B * H, cell == LSTM ? B * H : 0, has_ids ? 0 : T * B * E}) leaves.push_back(draw(count, 1));
        for (int i = 0; has_ids && i < T * B; ++i) ids.push_back(generator() % E);
        grad_outputs = draw(T * B * H, has_grad_outputs ? 1 : 0);
        grad_h = draw(B * H, has_grad_state ? 1 : 0);
        grad_c = draw(B * H, has_grad_state ? 1 : 0);
    }

    // Return the sum whose gradients are checked; on request also the outputs and the final cell states.
    double loss(const std::vector<Doubles>& at, Doubles* outputs = nullptr, Doubles* cells = nullptr) const {
        double sum = 0;
        for (int b = 0; b < B; ++b) {
            Doubles h(at[STATE_H].begin() + b * H, at[STATE_H].begin() + (b + 1) * H), c(H, 0.0);
            if (cell == LSTM) c.assign(at[STATE_C].begin() + b * H, at[STATE_C].begin() + (b + 1) * H);
            for (int t = 0; t < T; ++t) {
                Doubles x(E, 0.0);
                if (has_ids) x[ids[t * B + b]] = 1;
                for (int e = 0; !has_ids && e < E; ++e) x[e] = at[FEATURES][(t * B + b) * E + e];
                advance(cell, at, x, h, c);
                for (int j = 0; j < H; ++j) sum += h[j] * grad_outputs[(t * B + b) * H + j];
                if (outputs) std::copy(h.begin(), h.end(), outputs->begin() + (t * B + b) * H);
            }
            for (int j = 0; j < H; ++j) sum += h[j] * grad_h[b * H + j] + (cell == LSTM ? c[j] * grad_c[b * H + j] : 0);
            if (cells) std::copy(c.begin(), c.end(), cells->begin() + b * H);
        }
        return sum;
    }

    // The kernels' outputs, final cell states, and gradients of the leaves.
    std::vector<Singles> run(int threads, bool rounds = false) const {
        const auto forward = rounds ? charlm_forward_bf16 : charlm_forward;
        const auto backward = rounds ? charlm_backward_bf16 : charlm_backward;
        Singles hidden(leaves[STATE_H]), cells(leaves[STATE_C]), gates(T * B * charlm_gates_size(cell, H));
        hidden.resize((T + 1) * B * H);
        if (cell == LSTM) cells.resize((T + 1) * B * H);
        CharlmLayer layer{};
        layer.cell = cell;
        layer.threads = threads;
        layer.seq_len = T, layer.batch_size = B, layer.hidden_size = H, layer.input_size = E;
        layer.ids = has_ids ? ids.data() : nullptr;
        layer.features = has_ids ? nullptr : leaves[FEATURES].data();
        layer.weight_ih = leaves[WEIGHT_IH].data(), layer.weight_hh = leaves[WEIGHT_HH].data();
        layer.bias_ih = leaves[BIAS_IH].data(), layer.bias_hh = leaves[BIAS_HH].data();
        layer.hidden = hidden.data(), layer.cells = cell == LSTM ? cells.data() : nullptr;
        if (has_ids) {
            check(forward(&layer) == 0, "forward without gates", 1, 0);
            const Singles once = hidden;
            layer.gates = gates.data();
            check(forward(&layer) == 0 && hidden == once, "forward again", 1, 0);
        } else {
            layer.gates = gates.data();
            check(forward(&layer) == 0, "forward", 1, 0);
        }
        std::vector<Singles> results{Singles(hidden.begin() + B * H, hidden.end()), Singles(cells.end() - (cell == LSTM ? B * H : 0), cells.end())};
        for (const Singles& leaf : leaves) results.emplace_back(leaf.size(), NAN);
        layer.grad_outputs = has_grad_outputs ? grad_outputs.data() : nullptr;
        layer.grad_hidden = has_grad_state ? grad_h.data() : nullptr;
        layer.grad_cells = has_grad_state && cell == LSTM ? grad_c.data() : nullptr;
        layer.grad_weight_ih = results[2].data(), layer.grad_weight_hh = results[3].data();
        layer.grad_bias_ih = results[4].data(), layer.grad_bias_hh = results[5].data();
        layer.grad_initial_hidden = results[6].data(), layer.grad_initial_cells = results[7].data();
        layer.grad_features = has_ids ? nullptr : results[8].data();
        check(backward(&layer) == 0, "backward", 1, 0);
        return results;
    }
};

void check_layer(const Case& one, Parallel parallel, int threads) {
    charlm_share_threads(nullptr);
    const std::vector<Singles> results = one.run(1);
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    check(one.run(threads) == results, "bits with threads", 1, 0);
    charlm_share_threads(nullptr);
    std::vector<Doubles> at;
    for (const Singles& leaf : one.leaves) at.emplace_back(leaf.begin(), leaf.end());
    Doubles outputs(one.T * one.B * one.H), cells(one.B * one.H);
    one.loss(at, &outputs, &cells);
    check_close(results[0], outputs, "outputs");
    if (one.cell == LSTM) check_close(results[1], cells, "final cells");
    // Move a dozen of each leaf's numbers a little to both sides.
    for (size_t leaf = 0; leaf < at.size(); ++leaf)
        for (size_t i = 0; i < at[leaf].size(); i += 1 + at[leaf].size() / 12) {
            const double value = at[leaf][i], step = 1e-6;
            at[leaf][i] = value + step;
            const double above = one.loss(at);
            at[leaf][i] = value - step;
            const double slope = (above - one.loss(at)) / (2 * step);
            at[leaf][i] = value;
            const double found = results[2 + leaf][i];
            check(std::fabs(found - slope) < 2e-5 * (1 + std::fabs(slope)), "gradient", found, slope);
        }
}

// Rounding to bfloat16 changes a number by at most one part in 256, and a sum of many less than that.
void check_rounded(const Singles& found, const Singles& expected, const char* what) {
    check(found.size() == expected.size(), what, found.size(), expected.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        difference += std::pow(found[i] - expected[i], 2);
        size += std::pow(expected[i], 2);
    }
    check(std::sqrt(difference) <= 0.02 * std::sqrt(size) + 1e-4, what, std::sqrt(difference), std::sqrt(size));
}

void check_rounded_layer(const Case& one, Parallel parallel, int threads) {
    charlm_share_threads(nullptr);
    const std::vector<Singles> exact = one.run(1), results = one.run(1, true);
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    check(one.run(threads, true) == results, "bits of bfloat16 with threads", 1, 0);
    charlm_share_threads(nullptr);
    // Where a relu is nearly 0, rounding may switch its gradient on or off.
    for (size_t part = 0; part < (one.cell == RNN_RELU ? 1 : results.size()); ++part)
        check_rounded(results[part], exact[part], "result in bfloat16");
}

// The nearest bfloat16 number, to even where two are equally near.
float rounded(float x) {
    int exponent;
    const double fraction = std::frexp(x, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

void check_linear(int rows, int depth, int columns, bool rounds, Parallel parallel) {
    Singles x = draw(rows * depth, 1), weight = draw(columns * depth, 1), bias = draw(columns, 1), grad = draw(rows * columns, 1);
    const Singles given_x = x, given_weight = weight, given_grad = grad;
    for (Singles* operand : {&x, &weight, &grad})
        for (float& number : *operand) number = rounds ? rounded(number) : number;
    Doubles out(rows * columns), grad_x(rows * depth), grad_weight(columns * depth);
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) {
            out[i * columns + j] = bias[j];
            for (int k = 0; k < depth; ++k) {
                out[i * columns + j] += double(x[i * depth + k]) * weight[j * depth + k];
                grad_x[i * depth + k] += double(grad[i * columns + j]) * weight[j * depth + k];
                grad_weight[j * depth + k] += double(grad[i * columns + j]) * x[i * depth + k];
            }
        }
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    Singles found(rows * columns), found_x(rows * depth), found_weight(columns * depth);
    const auto forward = rounds ? charlm_linear_forward_bf16 : charlm_linear_forward;
    const auto backward = rounds ? charlm_linear_backward_bf16 : charlm_linear_backward;
    check(forward(3, rows, depth, columns, given_x.data(), given_weight.data(), bias.data(), found.data()) == 0, "linear", 1, 0);
    check(backward(3, rows, depth, columns, given_x.data(), given_weight.data(), given_grad.data(), found_x.data(), found_weight.data()) == 0,
          "linear back", 1, 0);
    charlm_share_threads(nullptr);
    check_close(found, out, "linear");
    check_close(found_x, grad_x, "gradient of linear's x");
    check_close(found_weight, grad_weight, "gradient of linear's weight");
}

// The filters of charlm/generation/filters.py, one by one, in plain code.
Doubles filtered(const Doubles& logits, const CharlmWriting& writing) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    Doubles weights;
    for (double logit : logits)
        weights.push_back(writing.temperature == 0 ? logit == largest : std::exp((logit - largest) / writing.temperature));
    std::vector<int> order(weights.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return weights[a] > weights[b]; });
    for (size_t i = writing.top_k; writing.top_k > 0 && i < order.size(); ++i) weights[order[i]] = 0;
    const double limit = writing.top_p * std::accumulate(weights.begin(), weights.end(), 0.0);
    double before = 0;
    for (int id : order) {
        const double weight = weights[id];
        if (writing.top_p < 1 && before >= limit) weights[id] = 0;
        before += weight;
    }
    for (double& weight : weights)
        if (weight < writing.min_p * weights[order[0]]) weight = 0;
    return weights;
}

void check_writing(int cell, int H, int V, int rows, int filter, Parallel parallel, int threads) {
    const int L = 2, G = num_gates(cell), length = 12, known = V - 1;
    std::vector<Singles> weights;
    std::vector<std::vector<Doubles>> layers(L);
    for (int l = 0; l < L; ++l)
        for (int count : {G * H * (l == 0 ? V : H), G * H * H, G * H, G * H}) {
            weights.push_back(draw(count, 1 / std::sqrt(H)));
            layers[l].emplace_back(weights.back().begin(), weights.back().end());
        }
    const Singles decoder = draw(V * H, 3 / std::sqrt(H)), bias = draw(V, 1);
    std::vector<const float*> addresses;
    for (const Singles& weight : weights) addresses.push_back(weight.data());
    const CharlmNetwork network{cell, L, 0, H, V, known, addresses.data(), decoder.data(), bias.data()};
    Doubles draws(length * rows);
    for (double& one : draws) one = std::uniform_real_distribution<double>()(generator);
    const Singles start_h = draw(L * rows * H, 1), start_c = draw(cell == LSTM ? L * rows * H : 0, 1);
    const CharlmWriting plain{1, rows, length, draws.data(), filter == 1 ? 0.0 : filter == 2 ? 1.3 : 1.0, filter == 2 ? 4 : 0,
                              filter == 2 ? 0.9 : 1.0, filter == 2 ? 0.05 : 0.0, nullptr, nullptr, nullptr};
    std::vector<std::vector<int64_t>> texts;
    std::vector<Singles> states;
    void* writer = charlm_writer_new(&network, rows);
    check(writer != nullptr, "new writer", 0, 1);
    for (Parallel entry : {Parallel(nullptr), parallel}) {
        std::vector<int64_t> ids(length * rows, -1);
        Singles h = start_h, c = start_c;
        CharlmWriting writing = plain;
        writing.threads = entry ? threads : 1;
        writing.ids = ids.data(), writing.h = h.data(), writing.c = cell == LSTM ? c.data() : nullptr;
        charlm_share_threads(reinterpret_cast<void*>(entry));
        check(charlm_write(writer, &writing) == 0, "write", 1, 0);
        texts.push_back(ids);
        h.insert(h.end(), c.begin(), c.end());
        states.push_back(h);
    }
    charlm_share_threads(nullptr);
    charlm_writer_free(writer);
    check(texts[0] == texts[1] && states[0] == states[1], "writing with threads", 1, 0);
    for (int row = 0; row < rows; ++row) {
        std::vector<Doubles> h, c;
        for (int l = 0; l < L; ++l) {
            const int place = (l * rows + row) * H;
            h.emplace_back(start_h.begin() + place, start_h.begin() + place + H);
            c.emplace_back(H, 0.0);
            if (cell == LSTM) c[l].assign(start_c.begin() + place, start_c.begin() + place + H);
        }
        for (int n = 0; n < length; ++n) {
            Doubles logits(bias.begin(), bias.begin() + known);
            for (int v = 0; v < known; ++v)
                for (int j = 0; j < H; ++j) logits[v] += double(decoder[v * H + j]) * h[L - 1][j];
            const Doubles kept = filtered(logits, plain);
            const double target = draws[n * rows + row] * std::accumulate(kept.begin(), kept.end(), 0.0);
            const int64_t id = texts[0][n * rows + row];
            check(id >= 0 && id < known, "character", id, known);
            const double above = std::accumulate(kept.begin(), kept.begin() + id + 1, 0.0);
            // A draw this close to a boundary may fall on the other side of it in float32.
            check(above - kept[id] < target + 1e-5 && target < above + 1e-5, "draw", id, target);
            Doubles x(V, 0.0);
            x[id] = 1;
            for (int l = 0; l < L; ++l) {
                advance(cell, layers[l], x, h[l], c[l]);
                x = h[l];
            }
        }
        for (int l = 0; l < L; ++l)
            for (int j = 0; j < H; ++j) {
                const double found = states[0][(l * rows + row) * H + j];
                check(std::fabs(found - h[l][j]) < 1e-4 * (1 + std::fabs(h[l][j])), "state after writing", found, h[l][j]);
            }
    }
}

// Substitutes for an OpenMP runtime's entry: they send all threads, fewer, or the others only after the first is done.
void all_come(void (*body)(void*), void* data, unsigned count, unsigned) {
    std::vector<std::thread> others;
    for (unsigned i = 1; i < count; ++i) others.emplace_back(body, data);
    body(data);
    for (std::thread& other : others) other.join();
}

void fewer_come(void (*body)(void*), void* data, unsigned count, unsigned flags) { all_come(body, data, (count + 1) / 2, flags); }

void others_come_late(void (*body)(void*), void* data, unsigned count, unsigned flags) {
    body(data);
    all_come(body, data, count - 1, flags);
}

}  // namespace

int main() {
    const Parallel entries[] = {all_come, fewer_come, others_come_late};
    int number = 0;
    for (int cell = 0; cell < 5; ++cell)
        for (int H : {1, 7, 33})
            for (int B : {1, 3}) {
                for (int T : {1, 4})
                    for (bool has_ids : {true, false}) {
                        check_layer(Case(cell, H, B, T, has_ids, number), entries[number % 3], 2 + number % 3);
                        check_rounded_layer(Case(cell, H, B, T, has_ids, number), entries[number % 3], 2 + number % 3);
                        ++number;
                    }
                for (int filter : {0, 1, 2}) check_writing(cell, H, H == 7 ? 40 : 6, B, filter, entries[number++ % 3], 3);
            }
    for (int size : {1, 7, 33})
        for (bool rounds : {false, true}) check_linear(size, 40 - size, 50 - size, rounds, entries[number++ % 3]);
    std::printf("%d cases, %lld calls\n", number, (long long)charlm_num_calls());
}
