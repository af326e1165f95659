// The output layer with bfloat16 products: linear.cpp with both sides of each product rounded.
#include "layers.h"
#include "products_bf16.h"

using namespace charlm;

int32_t charlm_linear_forward_bf16(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                                   const float* weight, const float* bias, float* out) {
    return run_call([&] {
        const Floats panels(padded(columns) * pairs_of(depth));
        const Index num_panels = padded(columns) / PANEL;
        const int parts = parts_of(num_panels, threads);
        in_parallel(parts, [&](int part) {
            pack_paired_rows(weight, columns, depth, Slice(num_panels, part, parts), panels);
        });
        multiply_paired_tall(threads, x, depth, rows, panels, depth, columns, bias, out);
    });
}

int32_t charlm_linear_backward_bf16(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                                    const float* weight, const float* grad_out, float* grad_x, float* grad_weight) {
    return run_call([&] {
        const Floats panels(padded(depth) * pairs_of(columns));
        pack_paired_panels(threads, weight, depth, depth, columns, panels);
        multiply_paired_tall(threads, grad_out, columns, rows, panels, columns, depth, nullptr, grad_x);
        const Index row_pairs = pairs_of(rows), step = padded(columns);
        const Floats x_panels(padded(depth) * row_pairs), grads(step * row_pairs);
        pack_paired_panels(threads, x, depth, depth, rows, x_panels);
        pair_rows(threads, grad_out, columns, rows, grads, step);
        const int parts = parts_of(columns, threads);
        in_parallel(parts, [&](int part) {
            multiply_paired_rows(grads, step, x_panels, depth, row_pairs, Slice(columns, part, parts), grad_weight);
        });
    });
}
