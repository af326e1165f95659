// The C interface of the output layer with its loss: the mean cross entropy of a window's targets, and all its gradients,
// without the logits of more than a slice of the window in memory at once.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

struct CharlmOutput {
    int32_t threads;
    int64_t rows, depth, columns;  // T * B characters, H units, V symbols
    const float *hidden, *weight, *bias;  // (rows, depth), (columns, depth), (columns)
    const int64_t* targets;               // (rows); -100 for those that do not count
    double smoothing;                     // the share of each target that is spread over all symbols
    double loss, mean;                    // written: nats per character, smoothed and plain
    float *grad_hidden, *grad_weight, *grad_bias;  // of the smoothed loss; as above
};

int32_t charlm_output(struct CharlmOutput*);  // 0, or 1 if memory ran out, or 2 for a target out of range
int64_t charlm_output_size(void);
}
#pragma GCC visibility pop
