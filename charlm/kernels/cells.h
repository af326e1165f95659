// The cells' equations for one vector of units, forward and backward; charlm/networks/cells.py has them in plain notation.
//
// A row of the gates' buffer holds blocks of H (padded) floats: before a step the input's share W_ih x + b of each gate,
// after it the gates' values, and after the backward step the gradients of the sums that the gates were computed from.
// X_BLOCK and H_BLOCK say which block belongs to the g-th gate of torch's weights, on the input's and the state's side.
#pragma once

#include "vectors.h"

namespace charlm {

inline Vec load_units(const float* p, Index n) { return n >= WIDTH ? load(p) : load_first(p, n > 0 ? n : 0); }
inline void store_units(float* p, Vec v, Index n) {
    if (n >= WIDTH)
        store(p, v);
    else if (n > 0)
        store_first(p, v, n);
}

// Where the products of a row's gates are: they come in pairs, and last_shift corrects the place of a last, single one.
struct Products {
    const float* first;
    Index pair_step, gate_step, last_shift;

    template <Index COUNT> Vec of(Index gate) const {
        const bool is_single = COUNT % 2 == 1 && gate == COUNT - 1;
        return load(first + gate / 2 * pair_step + gate % 2 * gate_step + (is_single ? last_shift : 0));
    }
};

// One row and one vector of units, n of which are real (the rest is padding). All pointers point to this row and unit.
struct ForwardAt {
    const float* x;           // the input's share, in blocks
    Products products;        // W_hh times the state, for the phase's gates
    const float* bias;        // the b_hh that x does not include, in blocks
    const float* h_before;    // padded
    const float* c_before;    // not padded, and neither are c and out
    float *h, *reset_h;       // padded
    float *c, *out, *gates;   // gates may be null, and then nothing is kept
    Index x_block, block, n;  // x_block: distance from one block of x to the next

    Vec input(Index b) const { return load(x + b * x_block); }
    template <Index COUNT> Vec recurrent(Index gate) const { return products.of<COUNT>(gate); }
    void keep(Index b, Vec v) const {
        if (gates) store(gates + b * block, v);
    }
    void finish(Vec new_h) const {
        store(h, new_h);
        store_units(out, new_h, n);
    }
};

struct BackwardAt {
    float* gates;             // blocks
    const float* product;     // the gradient that flows back from the later step through W_hh
    const float* h_before;    // not padded
    const float* h_after;
    const float *c_before, *c_after;
    const float* grad_out;    // not padded; null if there is none
    float *carry, *carry_c;   // padded; the gradient that flows back past the products
    Index block, n;

    Vec gate(Index b) const { return load(gates + b * block); }
    void set(Index b, Vec v) const { store(gates + b * block, v); }
    // The gradient of this step's h.
    Vec grad_h() const {
        const Vec later = load(product) + load(carry);
        return grad_out ? later + load_units(grad_out, n) : later;
    }
};

inline Vec one_minus(Vec v) { return all(1.0f) - v; }

template <bool IS_RELU> struct SimpleRnn {
    static constexpr Index GATES = 1, BLOCKS = 1, X_BLOCKS = 1, PHASES = 1;
    static constexpr Index X_BLOCK[GATES] = {0}, H_BLOCK[GATES] = {0};  // a size, or clang++ takes neither for a constant
    static constexpr bool HAS_CELLS = false, KEEPS_GATES = false;

    template <Index> static void forward(const ForwardAt& at) {
        const Vec sum = at.input(0) + at.recurrent<1>(0);
        at.finish(IS_RELU ? where_positive(sum, sum) : tanh(sum));
    }
    template <Index> static void backward(const BackwardAt& at) {
        const Vec dh = at.grad_h(), h = load_units(at.h_after, at.n);
        at.set(0, IS_RELU ? where_positive(h, dh) : dh * fma(all(0.0f) - h, h, all(1.0f)));
        store(at.carry, all(0.0f));
    }
};

struct Lstm {
    static constexpr Index GATES = 4, BLOCKS = 4, X_BLOCKS = 4, PHASES = 1;
    static constexpr Index X_BLOCK[] = {0, 1, 2, 3}, H_BLOCK[] = {0, 1, 2, 3};  // i, f, g, o
    static constexpr bool HAS_CELLS = true, KEEPS_GATES = true;

    template <Index> static void forward(const ForwardAt& at) {
        const Vec i = sigmoid(at.input(0) + at.recurrent<4>(0)), f = sigmoid(at.input(1) + at.recurrent<4>(1));
        const Vec g = tanh(at.input(2) + at.recurrent<4>(2)), o = sigmoid(at.input(3) + at.recurrent<4>(3));
        const Vec c = fma(f, load_units(at.c_before, at.n), i * g);
        store_units(at.c, c, at.n);
        at.finish(o * tanh(c));
        at.keep(0, i);
        at.keep(1, f);
        at.keep(2, g);
        at.keep(3, o);
    }
    template <Index> static void backward(const BackwardAt& at) {
        const Vec i = at.gate(0), f = at.gate(1), g = at.gate(2), o = at.gate(3);
        const Vec dh = at.grad_h(), tanh_c = tanh(load_units(at.c_after, at.n));
        const Vec dc = fma(dh * o, fma(all(0.0f) - tanh_c, tanh_c, all(1.0f)), load(at.carry_c));
        at.set(0, dc * g * i * one_minus(i));
        at.set(1, dc * load_units(at.c_before, at.n) * f * one_minus(f));
        at.set(2, dc * i * fma(all(0.0f) - g, g, all(1.0f)));
        at.set(3, dh * tanh_c * o * one_minus(o));
        store(at.carry, all(0.0f));
        store(at.carry_c, dc * f);
    }
};

// The blocks are n, r, z and W_hn h + b_hn, so that the input's three blocks and the state's three are adjacent.
struct GruResetAfter {
    static constexpr Index GATES = 3, BLOCKS = 4, X_BLOCKS = 3, PHASES = 1;
    static constexpr Index X_BLOCK[] = {1, 2, 0}, H_BLOCK[] = {1, 2, 3};  // r, z, n
    static constexpr bool HAS_CELLS = false, KEEPS_GATES = true;

    template <Index> static void forward(const ForwardAt& at) {
        const Vec r = sigmoid(at.input(1) + at.recurrent<3>(0)), z = sigmoid(at.input(2) + at.recurrent<3>(1));
        const Vec hn = at.recurrent<3>(2) + load(at.bias + 3 * at.block);
        const Vec n = tanh(fma(r, hn, at.input(0)));
        at.finish(fma(one_minus(z), n, z * load(at.h_before)));
        at.keep(0, n);
        at.keep(1, r);
        at.keep(2, z);
        at.keep(3, hn);
    }
    template <Index> static void backward(const BackwardAt& at) {
        const Vec n = at.gate(0), r = at.gate(1), z = at.gate(2), hn = at.gate(3);
        const Vec dh = at.grad_h(), h_before = load_units(at.h_before, at.n);
        const Vec dn = dh * one_minus(z) * fma(all(0.0f) - n, n, all(1.0f));
        at.set(0, dn);
        at.set(1, dn * hn * r * one_minus(r));
        at.set(2, dh * (h_before - n) * z * one_minus(z));
        at.set(3, dn * r);
        store(at.carry, dh * z);
    }
};

// The blocks are n, r, z and r * h. The candidate's product needs the whole of r * h, so a step has two phases.
struct GruResetBefore {
    static constexpr Index GATES = 3, BLOCKS = 4, X_BLOCKS = 3, PHASES = 2;
    static constexpr Index X_BLOCK[] = {1, 2, 0}, H_BLOCK[] = {1, 2, 0};  // r, z, n
    static constexpr bool HAS_CELLS = false, KEEPS_GATES = true;

    template <Index PHASE> static void forward(const ForwardAt& at) {
        if constexpr (PHASE == 0) {
            const Vec r = sigmoid(at.input(1) + at.recurrent<2>(0)), z = sigmoid(at.input(2) + at.recurrent<2>(1));
            const Vec reset_h = r * load(at.h_before);
            store(at.reset_h, reset_h);
            store(at.h, z);  // kept here until the second phase
            at.keep(1, r);
            at.keep(2, z);
            at.keep(3, reset_h);
        } else {
            const Vec n = tanh(at.input(0) + at.recurrent<1>(0)), z = load(at.h);
            at.finish(fma(one_minus(z), n, z * load(at.h_before)));
            at.keep(0, n);
        }
    }
    template <Index PHASE> static void backward(const BackwardAt& at) {
        const Vec h_before = load_units(at.h_before, at.n);
        if constexpr (PHASE == 0) {
            const Vec n = at.gate(0), z = at.gate(2), dh = at.grad_h();
            at.set(0, dh * one_minus(z) * fma(all(0.0f) - n, n, all(1.0f)));
            at.set(2, dh * (h_before - n) * z * one_minus(z));
            store(at.carry, dh * z);
        } else {
            const Vec r = at.gate(1), d_reset_h = load(at.product);
            at.set(1, d_reset_h * h_before * r * one_minus(r));
            store(at.carry, fma(d_reset_h, r, load(at.carry)));
        }
    }
};

// Call run with the cell that has this number in the C interface.
template <class Run> decltype(auto) with_cell(int cell, const Run& run) {
    switch (cell) {
        case 0: return run(SimpleRnn<false>{});
        case 1: return run(SimpleRnn<true>{});
        case 2: return run(GruResetAfter{});
        case 3: return run(GruResetBefore{});
        default: return run(Lstm{});
    }
}

}  // namespace charlm
