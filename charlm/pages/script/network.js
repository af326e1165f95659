// A causal network: embedding or one-hot inputs, layers of one cell, output layer; see networks/reference.py.

import { ACTIVATIONS, gruCell, gruCellResetBefore, lstmCell, rnnCell } from "./cells.js";
import { addBias, columnOf, multiply, normalise } from "./products.js";

const NUM_GATES = { rnn: 1, gru: 3, lstm: 4 };
const KINDS = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "gain_ih", "gain_hh", "gain_c", "bias_c"];

/** The names of a cell's gates, in the order of their blocks; the simple network has none. */
export const GATE_NAMES = { rnn: [], gru: ["r", "z", "n"], lstm: ["i", "f", "g", "o"] };

/** A network of a checkpoint. It remembers no text: states are passed in. */
export class Network {
  /**
   * @param {object} settings those of the section `model`, under the names that they have there.
   * @param {Record<string, Float32Array>} tensors the parameters, under the names of torch.nn.
   * @param {number} vocabSize V.
   */
  constructor(settings, tensors, vocabSize) {
    this.settings = settings;
    this.tensors = tensors;
    this.vocabSize = vocabSize;
    this.rows = NUM_GATES[settings.cell] * settings.hidden_size;
    this.layers = Array.from({ length: settings.num_layers }, (_, layer) =>
      Object.fromEntries(KINDS.map((kind) => [kind, tensors[`recurrent.${kind}_l${layer}`]])),
    );
    // What the first layer makes of each character that was read: it depends on nothing else.
    this.inputs = new Map();
    this.a_x = new Float64Array(this.rows);
    this.a_h = new Float64Array(this.rows);
  }

  /**
   * Return the state before any character: zeros, or the learned values.
   *
   * @returns {{layers: {h: Float64Array, c: ?Float64Array, gates: Float64Array}[], output: Float64Array}} h and c of
   *     each layer, (H,), its gates at the last step, (gates * H,), and the last layer's output, (H,).
   */
  initialState() {
    const { hidden_size: H, learned_state, cell } = this.settings;
    const part = (number, layer) =>
      learned_state
        ? Float64Array.from(this.tensors[`initial.${number}`].subarray(layer * H, (layer + 1) * H))
        : new Float64Array(H);
    const layers = this.layers.map((_, layer) => ({
      h: part(0, layer),
      c: cell === "lstm" ? part(1, layer) : null,
      gates: new Float64Array(GATE_NAMES[cell].length * H),
    }));
    const state = { layers, output: new Float64Array(H) };
    this.leaveLayers(state);
    return state;
  }

  /**
   * Read one character; the state is overwritten.
   *
   * @param {object} state see `initialState`.
   * @param {number} id of the character, below V.
   */
  advance(state, id) {
    let below = null;
    for (let layer = 0; layer < this.layers.length; layer++) {
      this.advanceLayer(layer, state.layers[layer], this.inputProducts(layer, id, below));
      const { h } = state.layers[layer];
      below = this.settings.residual && layer > 0 ? h.map((value, j) => value + below[j]) : h;
    }
    state.output.set(below);
  }

  /**
   * Return the logits of the next character.
   *
   * @param {object} state see `initialState`.
   * @returns {Float64Array} (V,).
   */
  logits(state) {
    const logits = new Float64Array(this.vocabSize);
    multiply(this.tensors["decoder.weight"], state.output, logits, 0, this.vocabSize);
    addBias(logits, this.tensors["decoder.bias"], 0, this.vocabSize);
    return logits;
  }

  /** Set the output of a state that nothing was read into. */
  leaveLayers(state) {
    const residual = this.settings.residual ? state.layers : state.layers.slice(-1);
    state.output.set(residual.map(({ h }) => h).reduce((sum, h) => sum.map((value, j) => value + h[j])));
  }

  /** Return a_x: W_ih x + b_ih, or LN(W_ih x; g_ih, b_ih), (rows,). */
  inputProducts(layer, id, below) {
    const { weight_ih, bias_ih, gain_ih } = this.layers[layer];
    if (layer > 0) {
      multiply(weight_ih, below, this.a_x, 0, this.rows);
      this.addOrNormalise(this.a_x, bias_ih, gain_ih);
      return this.a_x;
    }
    if (!this.inputs.has(id)) {
      const products = this.firstProducts(weight_ih, id);
      this.addOrNormalise(products, bias_ih, gain_ih);
      this.inputs.set(id, products);
    }
    return this.inputs.get(id);
  }

  /** Return W_ih x for a character: a column of W_ih, or its product with the character's vector. */
  firstProducts(weight_ih, id) {
    const { embedding_size: E, tied_embeddings } = this.settings;
    if (E === null) return columnOf(weight_ih, this.vocabSize, id);
    const vectors = this.tensors[tied_embeddings ? "decoder.weight" : "embedding.weight"];
    const products = new Float64Array(this.rows);
    multiply(weight_ih, Float64Array.from(vectors.subarray(id * E, (id + 1) * E)), products, 0, this.rows);
    return products;
  }

  advanceLayer(layer, state, a_x) {
    const { cell, hidden_size: H, nonlinearity, reset_after, zoneout, zoneout_cells } = this.settings;
    const { weight_hh, bias_hh, gain_hh, gain_c, bias_c } = this.layers[layer];
    const old = zoneout || zoneout_cells ? { h: state.h.slice(), c: state.c?.slice() } : null;
    // A reset gate that acts before the product leaves the candidate's rows for later.
    const rows = cell === "gru" && !reset_after ? 2 * H : this.rows;
    multiply(weight_hh, state.h, this.a_h, 0, rows);
    if (cell === "gru" && !reset_after) {
      addBias(this.a_h, bias_hh, 0, rows);
      gruCellResetBefore(a_x, this.a_h, state, state.gates, (reset) => {
        multiply(weight_hh, reset, this.a_h, rows, this.rows);
        addBias(this.a_h, bias_hh, rows, this.rows);
        return this.a_h.subarray(rows);
      });
    } else {
      this.addOrNormalise(this.a_h, bias_hh, gain_hh);
      if (cell === "rnn") rnnCell(a_x, this.a_h, state, ACTIVATIONS[nonlinearity]);
      else if (cell === "gru") gruCell(a_x, this.a_h, state, state.gates);
      else lstmCell(a_x, this.a_h, state, state.gates, gain_c ? (c) => normalised(c, gain_c, bias_c) : (c) => c);
    }
    if (old) {
      zoneOut(state.h, old.h, zoneout);
      if (old.c) zoneOut(state.c, old.c, zoneout_cells);
    }
  }

  /** Add the bias to products, or normalise them: those of a GRU's candidate apart from those of its gates. */
  addOrNormalise(products, bias, gain) {
    if (!gain) {
      addBias(products, bias, 0, this.rows);
      return;
    }
    const { cell, hidden_size: H } = this.settings;
    const cuts = cell === "gru" ? [0, 2 * H, 3 * H] : [0, this.rows];
    for (let cut = 1; cut < cuts.length; cut++) normalise(products, gain, bias, cuts[cut - 1], cuts[cut]);
  }
}

function normalised(a, gain, bias) {
  const result = a.slice();
  normalise(result, gain, bias, 0, result.length);
  return result;
}

/** Replace a state by its expectation under zoneout, as in evaluation (Krueger et al. 2016). */
function zoneOut(state, old, rate) {
  for (let j = 0; j < state.length; j++) state[j] = rate * old[j] + (1 - rate) * state[j];
}
