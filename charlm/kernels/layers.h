// The C interface: one recurrent layer over a window, and the output layer, forward and backward. Arrays in, arrays out;
// row-major, float32.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

struct CharlmLayer {
    int32_t cell;     // 0 RNN tanh, 1 RNN relu, 2 GRU reset after, 3 GRU reset before, 4 LSTM
    int32_t threads;  // at most
    int64_t seq_len, batch_size, hidden_size;
    int64_t input_size;       // V with ids, else E
    const int64_t* ids;       // (T, B), or null
    const float* features;    // (T, B, E), or null
    const float *weight_ih, *weight_hh, *bias_ih, *bias_hh;  // as in torch.nn
    float* hidden;            // (T + 1, B, H); the first is the initial state, the rest is written
    float* cells;             // likewise, of an LSTM
    float* gates;             // (T, B, charlm_gates_size); null to keep nothing, with ids alone

    const float* grad_outputs;                  // (T, B, H), or null
    const float *grad_hidden, *grad_cells;      // of the final state, (B, H), or null
    float* grad_features;                       // (T, B, E), or null where nobody asks
    float *grad_weight_ih, *grad_weight_hh, *grad_bias_ih, *grad_bias_hh;
    float *grad_initial_hidden, *grad_initial_cells;  // (B, H)
};

int64_t charlm_gates_size(int32_t cell, int64_t hidden_size);  // floats of one row of gates
int32_t charlm_forward(const struct CharlmLayer*);             // 0, or 1 where memory ran out, 2 for an id out of range
int32_t charlm_backward(const struct CharlmLayer*);            // after forward with gates; they are overwritten
// The output layer: out (rows, columns) = x (rows, depth) weight^T + bias, weight (columns, depth); and back.
int32_t charlm_linear_forward(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                              const float* weight, const float* bias, float* out);
int32_t charlm_linear_backward(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                               const float* weight, const float* grad_out, float* grad_x, float* grad_weight);

int64_t charlm_layer_size(void);                               // of this struct: whether caller and library agree
int64_t charlm_num_calls(void);                                // of layers, forward and backward
void charlm_share_threads(void* parallel_entry);               // GOMP_parallel of the process' OpenMP, or null
}
#pragma GCC visibility pop
