// The equations: RNN, GRU and LSTM, one line of code for each equation, in the papers' letters; see networks/cells.py.
//
// Every function advances a layer's state in place, from the products of its weights: a_x = W_ih x + b_ih and
// a_h = W_hh h + b_hh, or LN(W x; g, b) where layers are normalised; see networks/variants.py. Gates are kept to be
// looked at.

/** The activations of the simple recurrent network. */
export const ACTIVATIONS = { tanh: Math.tanh, relu: (a) => Math.max(a, 0), sigmoid };

/** Return the logistic function of a number. */
export function sigmoid(a) {
  return 1 / (1 + Math.exp(-a));
}

/**
 * Advance a simple recurrent network (Elman 1990).
 *
 *     h' = f(a_x + a_h)
 *
 * @param {Float64Array} a_x (H,).
 * @param {Float64Array} a_h (H,).
 * @param {{h: Float64Array}} state h, (H,), which is overwritten.
 * @param {(a: number) => number} f tanh, relu or sigmoid.
 */
export function rnnCell(a_x, a_h, { h }, f) {
  for (let j = 0; j < h.length; j++) h[j] = f(a_x[j] + a_h[j]);
}

/**
 * Advance an LSTM (Hochreiter and Schmidhuber 1997; forget gate, Gers et al. 2000).
 *
 *     i, f, o = sigmoid(a_x + a_h)    g = tanh(a_x + a_h)
 *     c' = f * c + i * g              h' = o * tanh(c')
 *
 * @param {Float64Array} a_x (4H,), blocks in the order i, f, g, o.
 * @param {Float64Array} a_h (4H,), likewise.
 * @param {{h: Float64Array, c: Float64Array}} state (H,) each, which are overwritten.
 * @param {Float64Array} gates (4H,): where i, f, g and o go.
 * @param {(c: Float64Array) => Float64Array} read how the cell state is read: as it is, or LN(c'; g_c, b_c).
 */
export function lstmCell(a_x, a_h, { h, c }, gates, read) {
  const H = h.length;
  for (let j = 0; j < H; j++) {
    const i = sigmoid(a_x[j] + a_h[j]);
    const f = sigmoid(a_x[H + j] + a_h[H + j]);
    const g = Math.tanh(a_x[2 * H + j] + a_h[2 * H + j]);
    const o = sigmoid(a_x[3 * H + j] + a_h[3 * H + j]);
    c[j] = f * c[j] + i * g;
    [gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]] = [i, f, g, o];
  }
  const seen = read(c);
  for (let j = 0; j < H; j++) h[j] = gates[3 * H + j] * Math.tanh(seen[j]);
}

/**
 * Advance a GRU whose reset gate acts after the product with h, as in torch.nn (Cho et al. 2014, equations 5 to 8).
 *
 *     r, z = sigmoid(a_x + a_h)    n = tanh(a_xn + r * a_hn)
 *     h' = (1 - z) * n + z * h
 *
 * @param {Float64Array} a_x (3H,), blocks in the order r, z, n.
 * @param {Float64Array} a_h (3H,), likewise.
 * @param {{h: Float64Array}} state h, (H,), which is overwritten.
 * @param {Float64Array} gates (3H,): where r, z and n go.
 */
export function gruCell(a_x, a_h, { h }, gates) {
  const H = h.length;
  for (let j = 0; j < H; j++) {
    const r = sigmoid(a_x[j] + a_h[j]);
    const z = sigmoid(a_x[H + j] + a_h[H + j]);
    const n = Math.tanh(a_x[2 * H + j] + r * a_h[2 * H + j]);
    h[j] = (1 - z) * n + z * h[j];
    [gates[j], gates[H + j], gates[2 * H + j]] = [r, z, n];
  }
}

/**
 * Advance a GRU whose reset gate acts before the product with h (Cho et al. 2014).
 *
 *     r, z, h' as in `gruCell`    n = tanh(a_xn + W_hn (r * h) + b_hn)
 *
 * @param {Float64Array} a_x (3H,), blocks in the order r, z, n.
 * @param {Float64Array} a_h (2H,), those of r and z.
 * @param {{h: Float64Array}} state h, (H,), which is overwritten.
 * @param {Float64Array} gates (3H,): where r, z and n go.
 * @param {(reset: Float64Array) => Float64Array} candidate returns W_hn (r * h) + b_hn, (H,), of r * h, (H,).
 */
export function gruCellResetBefore(a_x, a_h, { h }, gates, candidate) {
  const H = h.length;
  const reset = new Float64Array(H);
  for (let j = 0; j < H; j++) {
    const r = sigmoid(a_x[j] + a_h[j]);
    const z = sigmoid(a_x[H + j] + a_h[H + j]);
    reset[j] = r * h[j];
    [gates[j], gates[H + j]] = [r, z];
  }
  const a_hn = candidate(reset);
  for (let j = 0; j < H; j++) {
    const z = gates[H + j];
    const n = Math.tanh(a_x[2 * H + j] + a_hn[j]);
    h[j] = (1 - z) * n + z * h[j];
    gates[2 * H + j] = n;
  }
}
