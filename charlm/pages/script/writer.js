// Texts in progress, as in generation/session.py, and texts that are read.

import { drawId, filterLogits, likeliestIds, softmax } from "./filters.js";
import { GATE_NAMES } from "./network.js";
import { UniformNumbers } from "./random.js";

const NUM_LIKELIEST = 5;

/** A text that a network writes, one character after another. */
export class Writer {
  /**
   * @param {import("./network.js").Network} network the network.
   * @param {number[]} ids what it reads first, at least one id.
   * @param {object} options
   * @param {number} options.numCharacters how many ids may be drawn; the unknown symbol comes after them.
   * @param {bigint} options.seed the random seed.
   * @param {number} options.sample the number of the sample.
   * @param {number} options.start how many characters of the text were drawn before.
   * @param {object} options.filters see `filterLogits`.
   */
  constructor(network, ids, { numCharacters, seed, sample = 0, start = 0, filters }) {
    this.network = network;
    this.numCharacters = numCharacters;
    this.filters = filters;
    this.draws = new UniformNumbers(seed, sample, start);
    this.state = network.initialState();
    for (const id of ids) network.advance(this.state, id);
  }

  /** Return the next character; see `expectation`. */
  next() {
    const logits = this.network.logits(this.state);
    const probabilities = filterLogits(logits.subarray(0, this.numCharacters), this.filters);
    const id = drawId(probabilities, this.draws.next());
    this.network.advance(this.state, id);
    return expectation(logits, id);
  }
}

/**
 * Return what a network expected where a character came.
 *
 * @param {Float64Array} logits (V,).
 * @param {number} id of the character that came.
 * @returns {{id: number, bits: number, likeliest: {id: number, probability: number}[]}} the surprise, -log2 of the
 *     character's probability without filters, and the five likeliest characters.
 */
export function expectation(logits, id) {
  const probabilities = softmax(logits);
  const likeliest = likeliestIds(probabilities, NUM_LIKELIEST);
  return {
    id,
    bits: Math.max(0, -Math.log2(probabilities[id])),
    likeliest: likeliest.map((each) => ({ id: each, probability: probabilities[each] })),
  };
}

/**
 * Read a text; yield what was expected at each of its characters.
 *
 * @param {import("./network.js").Network} network the network.
 * @param {number[]} ids the text; one of items has boundaries before, between and after them.
 * @param {?number} boundary the id at which a new item begins from the initial state; null for a running text.
 * @param {(state: object, place: number) => void} watch is shown the state after each character.
 */
export function* readText(network, ids, boundary = null, watch = () => undefined) {
  let state = network.initialState();
  for (let place = 0; place < ids.length; place++) {
    const id = ids[place];
    // Nothing comes before the first character of a text: it is given.
    yield place === 0 ? { id, bits: null, likeliest: [] } : expectation(network.logits(state), id);
    if (id === boundary) state = network.initialState();
    network.advance(state, id);
    watch(state, place);
  }
}

/**
 * Return a recorder of what one layer does at each character.
 *
 * @param {import("./network.js").Network} network the network.
 * @param {number} layer counted from 0.
 * @param {number} length T.
 * @returns {{parts: Record<string, Float32Array>, watch: (state: object, place: number) => void}} h, for an LSTM c,
 *     and each gate under its letter, (T, H) each; and what `readText` calls.
 */
export function layerRecorder(network, layer, length) {
  const { cell, hidden_size: H } = network.settings;
  const names = ["h", ...(cell === "lstm" ? ["c"] : []), ...GATE_NAMES[cell]];
  const parts = Object.fromEntries(names.map((name) => [name, new Float32Array(length * H)]));
  const watch = (state, place) => {
    const { h, c, gates } = state.layers[layer];
    parts.h.set(h, place * H);
    if (c) parts.c.set(c, place * H);
    GATE_NAMES[cell].forEach((name, block) => {
      parts[name].set(gates.subarray(block * H, (block + 1) * H), place * H);
    });
  };
  return { parts, watch };
}
