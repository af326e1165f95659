// The output layer, whose products are narrow because a vocabulary has few columns.
#include "layers.h"
#include "tall.h"

using namespace charlm;

int32_t charlm_linear_forward(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                              const float* weight, const float* bias, float* out) {
    return run_call([&] {
        Floats panels(padded(columns) * depth);
        if (columns % PANEL) std::memset(panels, 0, padded(columns) * depth * sizeof(float));
        for (Index column = 0; column < columns; column += PANEL)
            transpose(weight + column * depth, depth, std::min<Index>(columns - column, PANEL), depth, panels + column * depth,
                      PANEL);
        multiply_tall(threads, x, depth, rows, panels, depth, columns, bias, out);
    });
}

int32_t charlm_linear_backward(int32_t threads, int64_t rows, int64_t depth, int64_t columns, const float* x,
                               const float* weight, const float* grad_out, float* grad_x, float* grad_weight) {
    return run_call([&] {
        Floats panels(padded(depth) * columns);
        for (Index column = 0; column < depth; column += PANEL)
            pack_columns(weight + column, depth, depth - column, columns, panels + column * columns);
        multiply_tall(threads, grad_out, columns, rows, panels, columns, depth, nullptr, grad_x);
        const int parts = parts_of(columns, threads);
        in_parallel(parts, [&](int part) {
            multiply_by_rows(grad_out, columns, x, depth, depth, rows, Slice(columns, part, parts), grad_weight);
        });
    });
}
