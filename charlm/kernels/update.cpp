// Clipping, Adam and the moving average of the weights in one pass. The formulas, and the order in which they round, are
// those of torch's fused Adam on a CPU, so that steps from one state agree to the last bits.
#include "update.h"

#include <cmath>
#include <vector>

#include "tall.h"

namespace charlm {
namespace {

constexpr Index BLOCK = 4096;  // numbers whose squares are summed one after another
constexpr Index LANES = 16;    // sums that a block is divided into, whatever the width of a vector is

Index num_blocks(const CharlmParameter& one) { return (one.size + BLOCK - 1) / BLOCK; }

double sum_of_squares(const float* numbers, Index count) {
    double lanes[LANES] = {};
    Index i = 0;
    for (; i + LANES <= count; i += LANES)
        for (Index lane = 0; lane < LANES; ++lane) lanes[lane] += double(numbers[i + lane]) * numbers[i + lane];
    for (; i < count; ++i) lanes[i % LANES] += double(numbers[i]) * numbers[i];
    for (Index half = LANES / 2; half > 0; half /= 2)
        for (Index lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

// Threads sum whole blocks, and the blocks' sums are added in their order: no bit depends on the number of threads.
double gradient_norm(const CharlmUpdate& update) {
    std::vector<const float*> begins;
    std::vector<Index> counts;
    for (Index p = 0; p < update.num_parameters; ++p) {
        const CharlmParameter& one = update.parameters[p];
        for (Index b = 0; b < num_blocks(one); ++b) {
            begins.push_back(one.grad + b * BLOCK);
            counts.push_back(std::min(one.size - b * BLOCK, BLOCK));
        }
    }
    const Index blocks = begins.size();
    std::vector<double> sums(blocks);
    const int parts = parts_of(blocks, update.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(blocks, part, parts);
        for (Index b = slice.begin; b < slice.end; ++b) sums[b] = sum_of_squares(begins[b], counts[b]);
    });
    double sum = 0;
    for (double each : sums) sum += each;
    return std::sqrt(sum);
}

// What is the same for all numbers of a parameter.
struct Factors {
    float scale, limit, first, second, second_grad, root, epsilon, step, decay, keep, share;

    Factors(const CharlmUpdate& update, double steps)
        : scale(update.scale),
          limit(update.limit),
          first(1 - update.first_decay),
          second(update.second_decay),
          second_grad(1 - update.second_decay),
          root(std::sqrt(1 - std::pow(update.second_decay, steps))),
          epsilon(update.epsilon),
          step(-update.learning_rate / (1 - std::pow(update.first_decay, steps))),
          decay(update.is_decoupled ? 0 : update.weight_decay),
          keep(update.is_decoupled ? 1 - update.learning_rate * update.weight_decay : 1),
          share(update.share) {}
};

// start + share (end - start), from whichever end is nearer, as torch's lerp.
inline float between(float start, float end, float share) {
    return share < 0.5f ? __builtin_fmaf(share, end - start, start) : __builtin_fmaf(share - 1, end - start, end);
}

void update_part(const CharlmParameter& one, Index begin, Index end, const Factors& by) {
    float *__restrict weight = one.weight, *__restrict first = one.first, *__restrict second = one.second;
    const float* __restrict grads = one.grad;
    for (Index i = begin; i < end; ++i) {
        float grad = grads[i] * by.scale;
        grad = grad > by.limit ? by.limit : grad < -by.limit ? -by.limit : grad;
        float moved = weight[i];
        grad = __builtin_fmaf(moved, by.decay, grad);
        moved = moved * by.keep;
        first[i] = between(first[i], grad, by.first);
        second[i] = __builtin_fmaf(by.second_grad * grad, grad, second[i] * by.second);
        weight[i] = moved + by.step * first[i] / (std::sqrt(second[i]) / by.root + by.epsilon);
    }
    if (!one.average) return;
    float* __restrict average = one.average;
    for (Index i = begin; i < end; ++i) average[i] = between(average[i], weight[i], by.share);
}

void update(const CharlmUpdate& call) {
    Index total = 0;
    for (Index p = 0; p < call.num_parameters; ++p) {
        total += num_blocks(call.parameters[p]);
        *call.parameters[p].steps += 1;
    }
    const int parts = parts_of(total, call.threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(total, part, parts);
        Index first = 0;
        for (Index p = 0; p < call.num_parameters; ++p) {
            const CharlmParameter& one = call.parameters[p];
            const Index last = first + num_blocks(one);
            const Factors factors(call, *one.steps);
            // A block's average is taken while its weights are still in the cache.
            for (Index b = std::max(slice.begin, first); b < std::min(slice.end, last); ++b)
                update_part(one, (b - first) * BLOCK, std::min((b - first + 1) * BLOCK, (Index)one.size), factors);
            first = last;
        }
    });
}

}  // namespace
}  // namespace charlm

using namespace charlm;

int32_t charlm_gradient_norm(const CharlmUpdate* call, double* norm) {
    return run_call([&] { *norm = gradient_norm(*call); });
}

int32_t charlm_update(const CharlmUpdate* call) {
    return run_call([&] { update(*call); });
}

int64_t charlm_update_size(void) { return sizeof(CharlmUpdate); }

int64_t charlm_parameter_size(void) { return sizeof(CharlmParameter); }
