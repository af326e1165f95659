// Products with as many rows as the window has characters.
#pragma once

#include <algorithm>

#include "products.h"
#include "threads.h"

namespace charlm {

constexpr Index ROWS_AT_ONCE = 96;    // few enough to stay in the second-level cache
constexpr Index DEPTH_AT_ONCE = 128;  // for a weight's gradient: a panel stays in the first-level cache
constexpr Index SUMS_AT_ONCE = 1 << 17;  // floats: half of a second-level cache of a mebibyte

inline int parts_of(Index count, int32_t threads) { return (int)(count < threads ? count : threads < 1 ? 1 : threads); }

// out (num_rows x columns) = left (num_rows x depth, rows left_step apart) times panels, plus bias (columns) unless null.
inline void multiply_tall(int32_t threads, const float* left, Index left_step, Index num_rows, const float* panels, Index depth,
                          Index columns, const float* bias, float* out) {
    const int parts = parts_of(num_rows, threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_rows, part, parts);
        Floats tile(ROWS_AT_ONCE * PANEL);
        for (Index begin = slice.begin; begin < slice.end; begin += ROWS_AT_ONCE) {
            const Index count = std::min(slice.end - begin, ROWS_AT_ONCE);
            for (Index column = 0; column < columns; column += PANEL) {
                multiply_panel(Rows{left + begin * left_step, left_step, 1}, count, panels + column * depth, depth, tile, PANEL,
                               false);
                const Index real = std::min(columns - column, PANEL);
                for (Index row = 0; row < count; ++row) {
                    float* place = out + (begin + row) * columns + column;
                    for (Index j = 0; j < real; ++j) place[j] = tile[row * PANEL + j] + (bias ? bias[column + j] : 0.0f);
                }
            }
        }
    });
}

// A weight's gradient: grad (columns of left x columns of right) = sum over the rows of left^T right.
struct WeightGradient {
    const float* left;
    float* grad;
};

// Compute a slice of the rows of some weights' gradients, all with the same right side, which is packed once for them.
inline void multiply_by_rows(const WeightGradient* gradients, Index num_gradients, Index left_step, const float* right,
                             Index right_step, Index columns, Index num_rows, Slice slice) {
    const Index width = padded(columns), num_panels = width / PANEL, count = slice.end - slice.begin;
    Floats panels(width * DEPTH_AT_ONCE), sums(num_gradients * count * width);
    if (num_rows == 0) std::memset(sums, 0, num_gradients * count * width * sizeof(float));
    for (Index begin = 0; begin < num_rows; begin += DEPTH_AT_ONCE) {
        const Index depth = std::min(num_rows - begin, DEPTH_AT_ONCE);
        for (Index p = 0; p < num_panels; ++p)
            pack_columns(right + begin * right_step + p * PANEL, right_step, columns - p * PANEL, depth,
                         panels + p * DEPTH_AT_ONCE * PANEL);
        for (Index number = 0; number < num_gradients; ++number)
            for (Index m = 0; m < count; m += MAX_ROWS)
                for (Index p = 0; p < num_panels; ++p)
                    multiply_panel(Rows{gradients[number].left + begin * left_step + slice.begin + m, 1, left_step},
                                   std::min(count - m, MAX_ROWS), panels + p * DEPTH_AT_ONCE * PANEL, depth,
                                   sums + (number * count + m) * width + p * PANEL, width, begin > 0);
    }
    for (Index number = 0; number < num_gradients; ++number)
        for (Index m = 0; m < count; ++m)
            std::memcpy(gradients[number].grad + (slice.begin + m) * columns, sums + (number * count + m) * width,
                        columns * sizeof(float));
}

inline void multiply_by_rows(const float* left, Index left_step, const float* right, Index right_step, Index columns,
                             Index num_rows, Slice slice, float* grad) {
    const WeightGradient gradient{left, grad};
    multiply_by_rows(&gradient, 1, left_step, right, right_step, columns, num_rows, slice);
}

}  // namespace charlm
