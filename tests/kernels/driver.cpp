// Compare the kernels with plain loops in double, in a program that test_kernel_driver.py compiles with sanitizers.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "layers.h"
#include "output.h"
#include "threads.h"
#include "update.h"
#include "writing.h"

namespace {

using Doubles = std::vector<double>;
using Singles = std::vector<float>;
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

constexpr int RNN_TANH = 0, RNN_RELU = 1, GRU_AFTER = 2, GRU_BEFORE = 3, LSTM = 4;
constexpr int WEIGHT_IH = 0, WEIGHT_HH = 1, BIAS_IH = 2, BIAS_HH = 3, STATE_H = 4, STATE_C = 5, FEATURES = 6;
std::mt19937 generator(0);
uint64_t digest = 14695981039346656037u;  // FNV-1a of all that the kernels computed

template <class Numbers> void add_to_digest(const Numbers& numbers) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
    for (size_t i = 0; i < numbers.size() * sizeof(numbers[0]); ++i) digest = (digest ^ bytes[i]) * 1099511628211u;
}

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
    const std::vector<Singles> results = one.run(1);
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    check(one.run(threads) == results, "bits with threads", 1, 0);
    for (const Singles& result : results) add_to_digest(result);
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

// Rounding to bfloat16 changes a number by at most one part in 256, and a sum of many less than that, unless it is small
// because numbers of both signs cancel: then its error is one of theirs.
void check_rounded(const Singles& found, const Singles& expected, const char* what) {
    check(found.size() == expected.size(), what, found.size(), expected.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        difference += std::pow(found[i] - expected[i], 2);
        size += std::pow(expected[i], 2);
    }
    check(std::sqrt(difference) <= 0.02 * std::sqrt(size) + 1.0 / 256, what, std::sqrt(difference), std::sqrt(size));
}

void check_rounded_layer(const Case& one, Parallel parallel, int threads) {
    charlm_share_threads(nullptr);
    const std::vector<Singles> exact = one.run(1), results = one.run(1, true);
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    check(one.run(threads, true) == results, "bits of bfloat16 with threads", 1, 0);
    for (const Singles& result : results) add_to_digest(result);
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

// One unit whose sums go far beyond where exp overflows, and are not numbers in the end.
void check_extremes(int cell) {
    const int E = 2002, G = num_gates(cell);
    std::vector<int64_t> ids(E);
    std::iota(ids.begin(), ids.end(), 0);
    Singles weight(G * E), weight_hh(G), bias(G), hidden(2 * E), cells(2 * E);
    for (int g = 0; g < G; ++g)
        for (int v = 0; v < E; ++v) weight[g * E + v] = v + 1 < E ? (v - 1000) / 8.0f : NAN;
    CharlmLayer layer{};
    layer.cell = cell, layer.threads = 1;
    layer.seq_len = layer.hidden_size = 1, layer.batch_size = layer.input_size = E;
    layer.ids = ids.data(), layer.weight_ih = weight.data(), layer.weight_hh = weight_hh.data();
    layer.bias_ih = layer.bias_hh = bias.data(), layer.hidden = hidden.data(), layer.cells = cells.data();
    check(charlm_forward(&layer) == 0, "forward of extremes", 1, 0);
    for (int v = 0; v + 1 < E; ++v) {
        const std::vector<Doubles> leaves{Doubles(G, weight[v]), Doubles(G), Doubles(G), Doubles(G)};
        Doubles h(1), c(1);
        advance(cell, leaves, Doubles(1, 1.0), h, c);
        check(std::fabs(hidden[E + v] - h[0]) < 1e-6 * (1 + std::fabs(h[0])), "extreme", hidden[E + v], h[0]);
    }
    check(std::isnan(hidden[2 * E - 1]), "not a number", hidden[2 * E - 1], NAN);
    hidden.pop_back();  // which of these it is depends on the processor
    add_to_digest(hidden);
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
    for (const Singles& result : {found, found_x, found_weight}) add_to_digest(result);
    check_close(found, out, "linear");
    check_close(found_x, grad_x, "gradient of linear's x");
    check_close(found_weight, grad_weight, "gradient of linear's weight");
}

void check_output(int rows, int depth, int columns, Parallel parallel) {
    const Singles hidden = draw(rows * depth, 1), weight = draw(columns * depth, 1), bias = draw(columns, 1);
    std::vector<int64_t> targets;
    for (int i = 0; i < rows; ++i) targets.push_back(i % 5 == 3 ? -100 : generator() % columns);
    const double counted = rows - std::count(targets.begin(), targets.end(), -100);
    const double smoothing = 0.1;
    double loss = 0, mean = 0;
    Doubles grad_hidden(rows * depth), grad_weight(columns * depth), grad_bias(columns);
    for (int i = 0; i < rows; ++i) {
        if (targets[i] < 0) continue;
        Doubles logits(bias.begin(), bias.end());
        for (int v = 0; v < columns; ++v)
            for (int k = 0; k < depth; ++k) logits[v] += double(weight[v * depth + k]) * hidden[i * depth + k];
        double total = 0;
        for (double logit : logits) total += std::exp(logit);
        for (int v = 0; v < columns; ++v) {
            const double share = smoothing / columns + (v == targets[i] ? 1 - smoothing : 0), log_p = logits[v] - std::log(total);
            const double grad = (std::exp(log_p) - share) / counted;
            loss -= share * log_p / counted;
            mean -= v == targets[i] ? log_p / counted : 0;
            grad_bias[v] += grad;
            for (int k = 0; k < depth; ++k) {
                grad_hidden[i * depth + k] += grad * weight[v * depth + k];
                grad_weight[v * depth + k] += grad * hidden[i * depth + k];
            }
        }
    }
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    Singles found_hidden(rows * depth), found_weight(columns * depth), found_bias(columns);
    CharlmOutput call{3, rows, depth, columns, hidden.data(), weight.data(), bias.data(), targets.data(), smoothing, NAN, NAN,
                      found_hidden.data(), found_weight.data(), found_bias.data()};
    check(charlm_output(&call) == 0, "output", 1, 0);
    charlm_share_threads(nullptr);
    const Singles losses{float(call.loss), float(call.mean)};
    for (const Singles& result : {losses, found_hidden, found_weight, found_bias}) add_to_digest(result);
    check_close(losses, Doubles{loss, mean}, "losses");
    check_close(found_hidden, grad_hidden, "gradient of the output layer's hidden states");
    check_close(found_weight, grad_weight, "gradient of the output layer's weight");
    check_close(found_bias, grad_bias, "gradient of the output layer's bias");
}

void check_update(int size, bool is_decoupled, Parallel parallel, int threads) {
    const Singles start = draw(size, 1), grad = draw(size, 1), m = draw(size, 1), v = draw(size, 1);
    Doubles expected(size), mean(size);
    const double rate = 1e-2, decay = 0.1, scale = 0.5, limit = 0.3, share = 0.25, norm = std::sqrt(std::inner_product(grad.begin(), grad.end(), grad.begin(), 0.0));
    for (int i = 0; i < size; ++i) {
        double g = std::fmin(limit, std::fmax(-limit, grad[i] * scale)), w = start[i];
        if (is_decoupled)
            w -= rate * decay * w;
        else
            g += decay * w;
        const double first = 0.9 * m[i] + 0.1 * g, second = 0.999 * std::fabs(v[i]) + 0.001 * g * g;
        expected[i] = w - rate * first / (1 - std::pow(0.9, 3)) / (std::sqrt(second / (1 - std::pow(0.999, 3))) + 1e-8);
        mean[i] = 2 * start[i] + share * (expected[i] - 2 * start[i]);
    }
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    Singles weight = start, first = m, second = v, average = start;
    for (float& each : second) each = std::fabs(each);
    for (float& each : average) each *= 2;
    float steps = 2;
    const CharlmParameter one{size, weight.data(), grad.data(), first.data(), second.data(), &steps, average.data()};
    const CharlmUpdate update{threads, is_decoupled, 1, &one, rate, 0.9, 0.999, 1e-8, decay, scale, limit, share};
    double found = NAN;
    check(charlm_gradient_norm(&update, &found) == 0 && std::fabs(found - norm) < 1e-6 * norm, "norm", found, norm);
    check(charlm_update(&update) == 0 && steps == 3, "steps", steps, 3);
    charlm_share_threads(nullptr);
    for (const Singles& result : {weight, first, second, average, Singles{float(found)}}) add_to_digest(result);
    check_close(weight, expected, "updated weight");
    check_close(average, mean, "average");
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
                              filter == 2 ? 0.9 : 1.0, filter == 2 ? 0.05 : 0.0, nullptr, nullptr, nullptr, nullptr};
    std::vector<std::vector<int64_t>> texts;
    std::vector<Singles> states;
    void* writer = charlm_writer_new(&network, rows);
    check(writer != nullptr, "new writer", 0, 1);
    charlm_share_threads(reinterpret_cast<void*>(parallel));
    for (int count : {1, threads}) {
        std::vector<int64_t> ids(length * rows, -1);
        Singles h = start_h, c = start_c;
        CharlmWriting writing = plain;
        writing.threads = count;
        writing.ids = ids.data(), writing.h = h.data(), writing.c = cell == LSTM ? c.data() : nullptr;
        check(charlm_write(writer, &writing) == 0, "write", 1, 0);
        texts.push_back(ids);
        h.insert(h.end(), c.begin(), c.end());
        states.push_back(h);
    }
    charlm_share_threads(nullptr);
    charlm_writer_free(writer);
    check(texts[0] == texts[1] && states[0] == states[1], "writing with threads", 1, 0);
    add_to_digest(texts[0]);
    add_to_digest(states[0]);
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

// Substitutes for the pool: they send all threads, fewer, or the others only after the first is done.
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

// Call the pool from several threads at once, after pauses in which its own threads fall asleep, and in a child.
void check_pool() {
    const Case one(LSTM, 33, 6, 4, true, 0);
    const std::vector<Singles> alone = one.run(1);
    const auto check_bits = [&](int threads) { check(one.run(threads) == alone, "bits from the pool", 1, 0); };
    for (int turn = 0; turn < 3; ++turn) {
        std::vector<std::thread> callers;
        for (int threads : {2, 3, 4}) callers.emplace_back(check_bits, threads);
        for (std::thread& caller : callers) caller.join();
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
    charlm::in_parallel(3, [&](int part) { check_bits(2 + part); });
#if !defined(__SANITIZE_THREAD__)
    // The sanitiser of threads does not follow a child that starts some.
    const pid_t child = fork();
    if (child == 0) {
        check_bits(3);
        std::_Exit(0);
    }
    int status = -1;
    check(waitpid(child, &status, 0) == child && status == 0, "a child's outcome", status, 0);
#endif
    check_bits(2);
}

}  // namespace

int main() {
    const Parallel entries[] = {nullptr, all_come, fewer_come, others_come_late};
    check_pool();
    int number = 0;
    for (int cell = 0; cell < 5; ++cell)
        for (int H : {1, 7, 33})
            for (int B : {1, 3}) {
                for (int T : {1, 4})
                    for (bool has_ids : {true, false}) {
                        check_layer(Case(cell, H, B, T, has_ids, number), entries[number % 4], 2 + number % 3);
                        check_rounded_layer(Case(cell, H, B, T, has_ids, number), entries[number % 4], 2 + number % 3);
                        ++number;
                    }
                for (int filter : {0, 1, 2}) check_writing(cell, H, H == 7 ? 40 : 6, B, filter, entries[number++ % 4], 3);
            }
    for (bool rounds : {false, true}) {
        for (int size : {1, 7, 33}) check_linear(size, 40 - size, 50 - size, rounds, entries[number++ % 4]);
        check_linear(9, 300, 20, rounds, entries[number++ % 4]);  // more than one chain of the depth
    }
    for (int size : {1, 7, 33, 150}) check_output(size, 200 - size, size == 33 ? 2000 : 2 + size, entries[number++ % 4]);
    for (int size : {1, 100, 9000}) {
        check_update(size, number % 2 == 0, entries[number % 4], 3);
        ++number;
    }
    for (int cell = 0; cell < 5; ++cell, ++number) check_extremes(cell);
    std::printf("%d cases, %lld calls, digest %016llx\n", number, (long long)charlm_num_calls(), (unsigned long long)digest);
}
