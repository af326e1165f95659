// The C interface: writing, character after character, through a whole network.
#pragma once

#include "layers.h"

#pragma GCC visibility push(default)
extern "C" {

struct CharlmNetwork {
    int32_t cell, num_layers;
    int32_t is_residual;        // whether each layer's inputs are added to its outputs, from the second on
    int64_t hidden_size, vocab_size;
    int64_t num_characters;     // the first so many of the vocabulary may be drawn
    const float* const* weights;  // of each layer weight_ih, weight_hh, bias_ih, bias_hh; weight_ih of the first (gates, V)
    const float *decoder_weight, *decoder_bias;  // (V, H), (V,)
};

struct CharlmWriting {
    int32_t threads;
    int64_t rows, length;       // texts side by side, and characters of each
    const double* draws;        // (length, rows), uniform in [0, 1)
    double temperature;         // 0 takes the likeliest
    int64_t top_k;              // 0 for all
    double top_p, min_p;        // 1 and 0 for none
    int64_t* ids;               // (length, rows), written
    float *h, *c;               // (L, rows, H), the state; advanced
};

int64_t charlm_network_size(void);
int64_t charlm_writing_size(void);
void* charlm_writer_new(const struct CharlmNetwork*, int64_t num_texts);  // null where memory ran out
int32_t charlm_write(const void* writer, const struct CharlmWriting*);       // 0, or 1 where memory ran out
void charlm_writer_free(void* writer);
}
#pragma GCC visibility pop
