// The C interface of the optimiser: the norm of all gradients, and one pass that clips them, moves the parameters and
// averages them.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

struct CharlmParameter {
    int64_t size;
    float* weight;
    const float* grad;
    float *first, *second;  // Adam's moments
    float* steps;           // a single number: how many steps the moments have seen
    float* average;         // of the weight, or null
};

struct CharlmUpdate {
    int32_t threads;
    int32_t is_decoupled;  // 1: AdamW; 0: Adam, whose weight decay is part of the gradient
    int64_t num_parameters;
    const struct CharlmParameter* parameters;
    double learning_rate, first_decay, second_decay, epsilon, weight_decay;
    double scale;  // multiplies each gradient, and then limit cuts it; 1 and infinity change nothing
    double limit;
    double share;  // of the new weight in the average
};

int32_t charlm_gradient_norm(const struct CharlmUpdate*, double* norm);  // 0, or 1 if memory ran out
int32_t charlm_update(const struct CharlmUpdate*);                         // the same
int64_t charlm_update_size(void);
int64_t charlm_parameter_size(void);
}
#pragma GCC visibility pop
