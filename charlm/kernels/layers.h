// The C interface: one recurrent layer over a window, and the output layer, forward and backward. Arrays go in and come
// out; they are row-major float32.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

struct CharlmLayer {
    int32_t cell;     // 0 RNN tanh, 1 RNN relu, 2 GRU reset after, 3 GRU reset before, 4 LSTM
    int32_t threads;  // the most that may be used
    int64_t seq_len, batch_size, hidden_size;
    int64_t input_size;       // V with ids, else E
    const int64_t* ids;       // (T, B), or null
    const float* features;    // (T, B, E), or null
    const float *weight_ih, *weight_hh, *bias_ih, *bias_hh;  // as in torch.nn
    float* hidden;            // (T + 1, B, H); hidden[0] is the initial state, the rest is written
    float* cells;             // the same for an LSTM's cell state
    float* gates;             // (T, B, charlm_gates_size); with ids it may be null, and then nothing is kept

    const float* grad_outputs;                  // (T, B, H), or null
    const float *grad_hidden, *grad_cells;      // gradients of the final state, (B, H), or null
    float* grad_features;                       // (T, B, E), or null if it is not wanted
    float *grad_weight_ih, *grad_weight_hh, *grad_bias_ih, *grad_bias_hh;
    float *grad_initial_hidden, *grad_initial_cells;  // (B, H)
};

int64_t charlm_gates_size(int32_t cell, int64_t hidden_size);  // number of floats in one row of gates
int32_t charlm_forward(const struct CharlmLayer*);             // 0, or 1 if memory ran out, or 2 for an id out of range
int32_t charlm_backward(const struct CharlmLayer*);            // after charlm_forward with gates, which it overwrites
// The output layer: out (rows, columns) = x (rows, depth) weight^T + bias, with weight (columns, depth); and its gradients.
int32_t charlm_linear_forward(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                              const float* weight, const float* bias, float* out);
int32_t charlm_linear_backward(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                               const float* weight, const float* grad_out, float* grad_x, float* grad_weight);

// The same with bfloat16 products: both sides of each product are rounded to nearest even, and sums are float32. The gates
// of one kind of forward call fit only the same kind of backward call.
int32_t charlm_forward_bf16(const struct CharlmLayer*);
int32_t charlm_backward_bf16(const struct CharlmLayer*);
int32_t charlm_linear_forward_bf16(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                                   const float* weight, const float* bias, float* out);
int32_t charlm_linear_backward_bf16(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                                    const float* weight, const float* grad_out, float* grad_x, float* grad_weight);
int32_t charlm_has_bfloat16(void);                             // whether the processor's instructions compute them
int64_t charlm_num_bfloat16_calls(void);                       // calls of layers with bfloat16 products so far

int64_t charlm_layer_size(void);                               // sizeof the struct, to check that caller and library agree
int64_t charlm_num_calls(void);                                // calls of layers so far, forward and backward
void charlm_share_threads(void* parallel_entry);               // a GOMP_parallel to use instead of the pool, or null
}
#pragma GCC visibility pop
