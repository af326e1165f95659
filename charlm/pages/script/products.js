// Products of matrices with vectors, and layer normalisation. Weights stay in float32; sums are in float64.

const EPSILON = 1e-5;

/**
 * Compute W x for some rows of W.
 *
 * @param {Float32Array} W (rows, columns), row after row.
 * @param {Float64Array} x (columns,).
 * @param {Float64Array} out (rows,): where the products go.
 * @param {number} begin the first row.
 * @param {number} end the row after the last.
 */
export function multiply(W, x, out, begin, end) {
  const columns = x.length;
  const even = columns - (columns % 2);
  let row = begin;
  // Four rows at once: their sums do not wait for each other.
  for (; row + 4 <= end; row += 4) {
    const [p, q, s, t] = [row * columns, (row + 1) * columns, (row + 2) * columns, (row + 3) * columns];
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let k = 0; k < even; k += 2) {
      const v = x[k];
      const w = x[k + 1];
      a += W[p + k] * v;
      b += W[q + k] * v;
      c += W[s + k] * v;
      d += W[t + k] * v;
      a += W[p + k + 1] * w;
      b += W[q + k + 1] * w;
      c += W[s + k + 1] * w;
      d += W[t + k + 1] * w;
    }
    if (even < columns) {
      const v = x[even];
      a += W[p + even] * v;
      b += W[q + even] * v;
      c += W[s + even] * v;
      d += W[t + even] * v;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
  for (; row < end; row++) {
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += W[row * columns + k] * x[k];
    out[row] = sum;
  }
}

/**
 * Return a column of a matrix: its product with a one-hot vector.
 *
 * @param {Float32Array} W (rows, columns).
 * @param {number} columns the number of columns.
 * @param {number} column which.
 * @returns {Float64Array} (rows,).
 */
export function columnOf(W, columns, column) {
  return Float64Array.from({ length: W.length / columns }, (_, row) => W[row * columns + column]);
}

/**
 * Add a bias in place to some numbers.
 *
 * @param {Float64Array} a (rows,).
 * @param {Float32Array} bias (rows,).
 * @param {number} begin the first row.
 * @param {number} end the row after the last.
 */
export function addBias(a, bias, begin, end) {
  for (let j = begin; j < end; j++) a[j] += bias[j];
}

/**
 * Normalise some numbers in place (Ba, Kiros and Hinton 2016, equation 4).
 *
 *     LN(a; g, b) = g * (a - mean(a)) / deviation(a) + b
 *
 * @param {Float64Array} a (rows,).
 * @param {Float32Array} gain (rows,).
 * @param {Float32Array} bias (rows,).
 * @param {number} begin the first row.
 * @param {number} end the row after the last.
 */
export function normalise(a, gain, bias, begin, end) {
  const rows = end - begin;
  let mean = 0;
  for (let j = begin; j < end; j++) mean += a[j] / rows;
  let variance = 0;
  for (let j = begin; j < end; j++) variance += (a[j] - mean) ** 2 / rows;
  const deviation = Math.sqrt(variance + EPSILON);
  for (let j = begin; j < end; j++) a[j] = (gain[j] * (a[j] - mean)) / deviation + bias[j];
}
