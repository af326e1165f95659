// Matrix products: a micro-kernel of M rows x 2 vectors that stays in registers, and panels that are laid out for it.
//
// Each element of a product is a sum of chains of fused multiply-adds. A chain covers CHAIN steps of the depth, in order,
// however many rows, panels or threads there are: that is why a row's result does not depend on its batch. A single long
// chain would be less exact.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "vectors.h"

namespace charlm {

constexpr Index PANEL = 2 * WIDTH;  // number of columns in a panel
constexpr Index CHAIN = 256;
constexpr Index AHEAD = 4;  // how many steps of the depth ahead weights are prefetched

inline Index padded(Index columns) { return (columns + PANEL - 1) / PANEL * PANEL; }

// Uninitialised memory for floats, aligned to a cache line.
class Floats {
  public:
    explicit Floats(Index count) : data_(static_cast<float*>(std::aligned_alloc(64, (count * 4 + 127) / 64 * 64))) {
        if (!data_) throw std::bad_alloc();
    }
    ~Floats() { std::free(data_); }
    Floats(const Floats&) = delete;
    Floats& operator=(const Floats&) = delete;
    operator float*() const { return data_; }

  private:
    float* data_;
};

// A matrix as the broadcast side reads it: element (row, k) is at data[row * row_step + k * depth_step].
struct Rows {
    const float* data;
    Index row_step, depth_step;
};

// out[m][0 .. N vectors) = (add ? out : 0) + sum over k of rows(m, k) columns[k][0 .. N vectors); the second half of the
// vectors of each k is second_half floats after the first.
template <Index M, Index N, bool IS_TRANSPOSED>
void multiply_tile(Rows rows, const float* columns, Index columns_step, Index second_half, Index depth, float* out,
                   Index out_step, bool add) {
    // One of the two steps is 1, and the compiler should know which.
    const Index row_step = IS_TRANSPOSED ? 1 : rows.row_step, depth_step = IS_TRANSPOSED ? rows.depth_step : 1;
    Vec sum[M][N];
#pragma GCC unroll 12
    for (Index m = 0; m < M; ++m)
#pragma GCC unroll 8
        for (Index n = 0; n < N; ++n) sum[m][n] = all(0.0f);
    // Three rows share a base register, because there are too few for one each.
    const float* base[(M + 2) / 3];
#pragma GCC unroll 4
    for (Index g = 0; g < (M + 2) / 3; ++g) base[g] = rows.data + 3 * g * row_step;
#pragma GCC unroll 4
    for (Index k = 0; k < depth; ++k, columns += columns_step) {
        Vec column[N];
#pragma GCC unroll 8
        for (Index n = 0; n < N; ++n) {
            const float* place = columns + (n < N / 2 ? n * WIDTH : (n - N / 2) * WIDTH + second_half);
            column[n] = load(place);
            // A single row is finished before the hardware prefetcher has recognised where the weights continue.
            if (M == 1 && N > 2) prefetch(place + AHEAD * columns_step);
        }
#pragma GCC unroll 12
        for (Index m = 0; m < M; ++m) {
            const Vec x = all(base[m / 3][m % 3 * row_step]);
#pragma GCC unroll 8
            for (Index n = 0; n < N; ++n) sum[m][n] = fma(x, column[n], sum[m][n]);
        }
#pragma GCC unroll 4
        for (Index g = 0; g < (M + 2) / 3; ++g) base[g] += depth_step;
    }
#pragma GCC unroll 12
    for (Index m = 0; m < M; ++m)
#pragma GCC unroll 8
        for (Index n = 0; n < N; ++n) {
            float* place = out + m * out_step + n * WIDTH;
            store(place, add ? load(place) + sum[m][n] : sum[m][n]);
        }
}

using Tile = void (*)(Rows, const float*, Index, Index, Index, float*, Index, bool);

template <Index N, bool IS_TRANSPOSED, std::size_t... M> Tile choose_tile(Index rows, std::index_sequence<M...>) {
    static constexpr Tile tiles[] = {multiply_tile<(Index)M + 1, N, IS_TRANSPOSED>...};
    return tiles[rows - 1];
}

// Multiply any number of rows by N vectors of columns, in groups of nearly equal size.
template <Index N = 2>
void multiply(Rows rows, Index count, const float* columns, Index columns_step, Index second_half, Index depth, float* out,
              Index out_step, bool add) {
    constexpr Index MAX_GROUP = MAX_ROWS * 2 / N;
    const std::make_index_sequence<MAX_GROUP> sizes;
    const Index groups = (count + MAX_GROUP - 1) / MAX_GROUP;
    for (Index k = 0; k < depth; k += CHAIN)
        for (Index group = 0; group < groups; ++group) {
            const Index begin = count * group / groups, end = count * (group + 1) / groups;
            const Tile tile =
                rows.depth_step == 1 ? choose_tile<N, false>(end - begin, sizes) : choose_tile<N, true>(end - begin, sizes);
            tile(Rows{rows.data + begin * rows.row_step + k * rows.depth_step, rows.row_step, rows.depth_step},
                 columns + k * columns_step, columns_step, second_half, depth - k < CHAIN ? depth - k : CHAIN,
                 out + begin * out_step, out_step, add || k > 0);
        }
}

// Pack `columns` columns of a row-major matrix (depth x columns) into one panel.
inline void pack_columns(const float* matrix, Index step, Index columns, Index depth, float* panel) {
    const Index second = columns - WIDTH;
    for (Index k = 0; k < depth; ++k, matrix += step, panel += PANEL) {
        if (columns >= PANEL) {
            store(panel, load(matrix));
            store(panel + WIDTH, load(matrix + WIDTH));
        } else {
            store(panel, second >= 0 ? load(matrix) : load_first(matrix, columns));
            store(panel + WIDTH, second > 0 ? load_first(matrix + WIDTH, second) : all(0.0f));
        }
    }
}

// Multiply any number of rows by one panel.
inline void multiply_panel(Rows rows, Index count, const float* panel, Index depth, float* out, Index out_step, bool add) {
    multiply<2>(rows, count, panel, PANEL, WIDTH, depth, out, out_step, add);
}

// Multiply any number of rows by one panel or by two that follow each other; a row of out has as many panels.
inline void multiply_panels(Rows rows, Index count, const float* panels, Index num_panels, Index depth, float* out) {
    if (num_panels == 1)
        multiply_panel(rows, count, panels, depth, out, PANEL, false);
    else
        multiply<4>(rows, count, panels, PANEL, depth * PANEL, depth, out, 2 * PANEL, false);
}

}  // namespace charlm
