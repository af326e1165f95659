// Matrix products of bfloat16 pairs, with sums in float: products.h with two steps of the depth in each multiplication.
//
// Both sides are laid out in pairs along the depth, which are handled like floats: the broadcast side as Rows of pairs, the
// other as panels [k / 2][PANEL]. Each element is a sum of chains of CHAIN_PAIRS, in order, however many rows, panels or
// threads there are.
#pragma once

#include "cells.h"
#include "rounding.h"
#include "tall.h"

namespace charlm {

// The number of calls of layers so far, forward and backward.
inline std::atomic<int64_t>& num_bfloat16_calls() {
    static std::atomic<int64_t> calls{0};
    return calls;
}

constexpr Index CHAIN_PAIRS = 128;
constexpr Index PAIRS_PAD = 16;  // without it, rows a power of two apart would share one set of the first-level cache

inline Index pairs_of(Index depth) { return (depth + 1) / 2; }
// The size, in pairs, of a row that whole vectors of numbers are written to.
inline Index paired_row(Index columns) { return (columns + WIDTH - 1) / WIDTH * (WIDTH / 2); }

// Round a row of numbers; the pairs' memory is a paired_row, and what is beyond the last number becomes zero.
inline void round_row(const float* row, Index columns, float* pairs) {
    auto* rounded_row = reinterpret_cast<Bfloat16*>(pairs);
    for (Index j = 0; j < columns; j += WIDTH) store_rounded(rounded_row + j, load_units(row + j, columns - j));
}

// out[m][0 .. PANEL) = (add ? out : 0) + sum over k of rows(m, k) columns[k][0 .. PANEL), where k counts pairs.
template <Index M, bool IS_TRANSPOSED>
void multiply_paired_tile(Rows rows, const float* columns, Index depth, float* out, Index out_step, bool add) {
    // One of the two steps is 1, and the compiler should know which.
    const Index row_step = IS_TRANSPOSED ? 1 : rows.row_step, depth_step = IS_TRANSPOSED ? rows.depth_step : 1;
    Vec sum[M][2];
#pragma GCC unroll 12
    for (Index m = 0; m < M; ++m) sum[m][0] = sum[m][1] = all(0.0f);
    // Three rows share a base register, because there are too few for one each.
    const float* base[(M + 2) / 3];
#pragma GCC unroll 4
    for (Index g = 0; g < (M + 2) / 3; ++g) base[g] = rows.data + 3 * g * row_step;
#pragma GCC unroll 4
    for (Index k = 0; k < depth; ++k, columns += PANEL) {
        const Vec first = load(columns), second = load(columns + WIDTH);
#pragma GCC unroll 12
        for (Index m = 0; m < M; ++m) {
            const Vec x = all(base[m / 3][m % 3 * row_step]);
            sum[m][0] = add_products(sum[m][0], x, first);
            sum[m][1] = add_products(sum[m][1], x, second);
        }
#pragma GCC unroll 4
        for (Index g = 0; g < (M + 2) / 3; ++g) base[g] += depth_step;
    }
#pragma GCC unroll 12
    for (Index m = 0; m < M; ++m)
#pragma GCC unroll 2
        for (Index n = 0; n < 2; ++n) {
            float* place = out + m * out_step + n * WIDTH;
            store(place, add ? load(place) + sum[m][n] : sum[m][n]);
        }
}

using PairedTile = void (*)(Rows, const float*, Index, float*, Index, bool);

template <bool IS_TRANSPOSED, std::size_t... M> PairedTile choose_paired_tile(Index rows, std::index_sequence<M...>) {
    static constexpr PairedTile tiles[] = {multiply_paired_tile<(Index)M + 1, IS_TRANSPOSED>...};
    return tiles[rows - 1];
}

// Multiply any number of rows by one panel, in groups of nearly equal size; the depth is counted in pairs.
inline void multiply_paired(Rows rows, Index count, const float* panel, Index depth, float* out, Index out_step, bool add) {
    const std::make_index_sequence<MAX_ROWS> sizes;
    const Index groups = (count + MAX_ROWS - 1) / MAX_ROWS;
    for (Index k = 0; k < depth; k += CHAIN_PAIRS)
        for (Index group = 0; group < groups; ++group) {
            const Index begin = count * group / groups, end = count * (group + 1) / groups;
            const PairedTile tile = rows.depth_step == 1 ? choose_paired_tile<false>(end - begin, sizes)
                                                         : choose_paired_tile<true>(end - begin, sizes);
            tile(Rows{rows.data + begin * rows.row_step + k * rows.depth_step, rows.row_step, rows.depth_step},
                 panel + k * PANEL, std::min(depth - k, CHAIN_PAIRS), out + begin * out_step, out_step, add || k > 0);
        }
}

// Pack the rows of a matrix (count x depth) into the columns of some of its panels, [panel][k / 2][PANEL].
inline void pack_paired_rows(const float* matrix, Index count, Index depth, Slice panels, float* packed) {
    const Index pairs = pairs_of(depth), step = paired_row(depth);
    const Floats turned(WIDTH * step);
    for (Index begin = panels.begin * PANEL; begin < panels.end * PANEL; begin += WIDTH) {
        const Index real = std::min(count - begin, WIDTH);
        float* place = packed + begin / PANEL * PANEL * pairs + begin % PANEL;
        if (real < WIDTH)
            for (Index k = 0; k < pairs; ++k) store(place + k * PANEL, all(0.0f));
        for (Index i = 0; i < real; ++i) round_row(matrix + (begin + i) * depth, depth, turned + i * step);
        if (real > 0) transpose(turned, step, real, pairs, place, PANEL);
    }
}

// Pack the columns of a matrix (depth x columns, rows `step` apart) from one on into one panel, with pairs of rows.
inline void pack_paired_columns(const float* matrix, Index step, Index columns, Index depth, float* panel) {
    for (Index k = 0; k < depth; k += 2, matrix += 2 * step, panel += PANEL)
        for (Index half = 0; half < PANEL; half += WIDTH) {
            const Index real = columns - half;
            const Vec even = load_units(matrix + half, real);
            const Vec odd = k + 1 < depth ? load_units(matrix + step + half, real) : all(0.0f);
            store(panel + half, pair_up(even, odd));
        }
}

// Pack all columns of a matrix into panels, [panel][k / 2][PANEL].
inline void pack_paired_panels(int32_t threads, const float* matrix, Index step, Index columns, Index depth, float* panels) {
    const Index num_panels = padded(columns) / PANEL;
    const int parts = parts_of(num_panels, threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_panels, part, parts);
        for (Index p = slice.begin; p < slice.end; ++p)
            pack_paired_columns(matrix + p * PANEL, step, columns - p * PANEL, depth, panels + p * PANEL * pairs_of(depth));
    });
}

// Pair the rows of a matrix (num_rows x columns): row r of pairs, `step` apart, is made of the rows 2 r and 2 r + 1.
inline void pair_rows(int32_t threads, const float* matrix, Index columns, Index num_rows, float* pairs, Index step) {
    const int parts = parts_of(pairs_of(num_rows), threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(pairs_of(num_rows), part, parts);
        for (Index r = slice.begin; r < slice.end; ++r) {
            const float* row = matrix + 2 * r * columns;
            for (Index j = 0; j < columns; j += WIDTH) {
                const Vec even = load_units(row + j, columns - j);
                const Vec odd = 2 * r + 1 < num_rows ? load_units(row + columns + j, columns - j) : all(0.0f);
                store(pairs + r * step + j, pair_up(even, odd));
            }
        }
    });
}

// out (num_rows x columns) = left (num_rows x depth, rows left_step apart) times panels, plus bias (columns) unless null.
inline void multiply_paired_tall(int32_t threads, const float* left, Index left_step, Index num_rows, const float* panels,
                                 Index depth, Index columns, const float* bias, float* out) {
    const int parts = parts_of(num_rows, threads);
    in_parallel(parts, [&](int part) {
        const Slice slice(num_rows, part, parts);
        const Index row_step = paired_row(depth) + PAIRS_PAD;
        Floats tile(ROWS_AT_ONCE * PANEL), rows(ROWS_AT_ONCE * row_step);
        for (Index begin = slice.begin; begin < slice.end; begin += ROWS_AT_ONCE) {
            const Index count = std::min(slice.end - begin, ROWS_AT_ONCE);
            for (Index row = 0; row < count; ++row)
                round_row(left + (begin + row) * left_step, depth, rows + row * row_step);
            for (Index column = 0; column < columns; column += PANEL) {
                multiply_paired(Rows{rows, row_step, 1}, count, panels + column * pairs_of(depth), pairs_of(depth), tile,
                                PANEL, false);
                const Index real = std::min(columns - column, PANEL);
                for (Index row = 0; row < count; ++row) {
                    float* place = out + (begin + row) * columns + column;
                    for (Index j = 0; j < real; ++j) place[j] = tile[row * PANEL + j] + (bias ? bias[column + j] : 0.0f);
                }
            }
        }
    });
}

// grad (a slice of the left's columns x the right's columns) = sum over the pairs of rows of left^T right.
//
// left: pairs (depth x left's columns, left_step apart); panels: the right's, [panel][depth][PANEL].
inline void multiply_paired_rows(const float* left, Index left_step, const float* panels, Index columns, Index depth,
                                 Slice slice, float* grad) {
    const Index width = padded(columns), count = slice.end - slice.begin;
    const Floats sums(count * width);
    if (depth == 0) std::memset(sums, 0, count * width * sizeof(float));
    for (Index k = 0; k < depth; k += CHAIN_PAIRS)
        for (Index m = 0; m < count; m += MAX_ROWS)
            for (Index column = 0; column < width; column += PANEL)
                multiply_paired(Rows{left + k * left_step + slice.begin + m, 1, left_step}, std::min(count - m, MAX_ROWS),
                                panels + column * depth + k * PANEL, std::min(depth - k, CHAIN_PAIRS),
                                sums + m * width + column, width, k > 0);
    for (Index m = 0; m < count; ++m)
        std::memcpy(grad + (slice.begin + m) * columns, sums + m * width, columns * sizeof(float));
}

}  // namespace charlm
