// The C interface for writing and reading text with a whole network, one character at a time.
#pragma once

#include "layers.h"

#pragma GCC visibility push(default)
extern "C" {

struct CharlmNetwork {
    int32_t cell, num_layers;
    int32_t is_residual;        // whether each layer's inputs are added to its outputs, from the second on
    int64_t hidden_size, vocab_size;
    int64_t num_characters;     // only this many symbols, the first of the vocabulary, may be drawn
    const float* const* weights;  // for each layer weight_ih, weight_hh, bias_ih, bias_hh; the first weight_ih is (gates, V)
    const float *decoder_weight, *decoder_bias;  // (V, H), (V,)
};

struct CharlmWriting {
    int32_t threads;
    int64_t rows, length;       // number of texts side by side, and of characters in each
    const double* draws;        // (length, rows), uniform in [0, 1); or null: the ids are given and only read
    double temperature;         // 0 means the likeliest character
    int64_t top_k;              // 0 means all
    double top_p, min_p;        // 1 and 0 mean no filter
    int64_t* ids;               // (length, rows), the result, or what is read
    float *h, *c;               // (L, rows, H), the state, which is advanced
    float* logits;              // (length, rows, V), those after each character that is read; null if they are not wanted
};

int64_t charlm_network_size(void);
int64_t charlm_writing_size(void);
void* charlm_writer_new(const struct CharlmNetwork*, int64_t num_texts);     // null if memory ran out
int32_t charlm_write(const void* writer, const struct CharlmWriting*);  // 0, 1 if memory ran out, 2 for an id out of range
void charlm_writer_free(void* writer);
}
#pragma GCC visibility pop
