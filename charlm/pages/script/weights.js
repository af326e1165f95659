// The weights of a network, as the page carries them: base64 of float32, float16, or int8 with a scale for each row.

/**
 * Return the parameters of a network.
 *
 * @param {string} base64 the bytes of all of them, little-endian.
 * @param {{name: string, format: string, start: number, size: number, scales: ?number, rows: ?number}[]} tensors
 *     where each one begins among the bytes, and how many numbers it has; of int8, where its scales begin, and for
 *     how many rows there is one.
 * @returns {Record<string, Float32Array>}
 */
export function decodeTensors(base64, tensors) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return Object.fromEntries(tensors.map((tensor) => [tensor.name, DECODERS[tensor.format](bytes.buffer, tensor)]));
}

const DECODERS = {
  float32: (buffer, { start, size }) => new Float32Array(buffer, start, size),
  float16: (buffer, { start, size }) => Float32Array.from(new Uint16Array(buffer, start, size), halfFloat),
  int8: (buffer, { start, size, scales, rows }) => {
    const scale = new Float32Array(buffer, scales, rows);
    return Float32Array.from(
      new Int8Array(buffer, start, size),
      (value, at) => value * scale[Math.floor((at * rows) / size)],
    );
  },
};

/** Return the number that 16 bits stand for (IEEE 754 binary16, finite). */
export function halfFloat(bits) {
  const fraction = bits & 0x3ff;
  const exponent = (bits >> 10) & 0x1f;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}
