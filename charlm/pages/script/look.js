// The tab Look: a text coloured by a unit or a gate, and the states of a whole layer over time.

import { valueStep } from "./colours.js";
import { nameOf } from "./glyphs.js";
import { GATE_NAMES } from "./network.js";
import { ShownText } from "./shown.js";
import { drawStrip, placeInStrip } from "./strip.js";
import { markedText } from "./vocabulary.js";

const PART_NAMES = {
  h: "h, hidden state",
  c: "c, cell state",
  i: "i, input gate",
  f: "f, forget gate",
  g: "g, candidate",
  o: "o, output gate",
  r: "r, reset gate",
  z: "z, update gate",
  n: "n, candidate",
};
const EXAMPLE_CHARS = 400;
const NUM_SIZES = 20_000;
const MOST_LOOKED_AT = 4_000;

/** Looks at what the units of the chosen network do. */
export class LookTab {
  /**
   * @param {import("./client.js").Client} client asks the worker.
   * @param {() => object} chosen returns the chosen network: its number, its data and its vocabulary.
   * @param {() => string} example returns a text to begin with.
   */
  constructor(client, chosen, example) {
    this.client = client;
    this.chosen = chosen;
    this.example = example;
    this.part = (name) => document.getElementById(`look-${name}`);
    this.shown = new ShownText(this.part("text"), (place) => this.point(place));
    this.part("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    this.part("layer").addEventListener("change", () => this.start());
    this.part("part").addEventListener("change", () => this.colour());
    this.part("unit").addEventListener("input", () => this.colour());
    this.part("strip").addEventListener("click", (event) => this.pick(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.colour());
  }

  /** Offer the layers and units of another network. */
  reset() {
    const { data } = this.chosen();
    const { cell, num_layers, hidden_size } = data.settings;
    this.client.stop("look");
    this.parts = null;
    this.shown.clear();
    this.part("text").hidden = true;
    this.part("status").textContent = "";
    this.part("caption").textContent = "";
    this.part("layer").replaceChildren(
      ...Array.from({ length: num_layers }, (_, at) => new Option(String(at + 1), String(at))),
    );
    const names = ["h", ...(cell === "lstm" ? ["c"] : []), ...GATE_NAMES[cell]];
    this.part("part").replaceChildren(...names.map((name) => new Option(PART_NAMES[name], name)));
    this.part("unit").max = hidden_size;
    this.part("unit").value = "";
    drawStrip(this.part("strip"), this.part("mark"), null);
    this.showNeurons(data.neurons);
  }

  /** Begin with an example where nothing was typed. */
  open() {
    if (this.part("input").value === "") this.part("input").value = this.example().slice(0, EXAMPLE_CHARS);
    if (this.parts === null && this.part("input").value !== "") this.start();
  }

  start() {
    const { number, vocabulary } = this.chosen();
    const marked = markedText(this.part("input").value, vocabulary);
    const known = marked.filter(({ id }) => id !== null).slice(0, MOST_LOOKED_AT);
    const numUnknown = marked.filter(({ id }) => id === null).length;
    const told = [];
    if (numUnknown > 0)
      told.push(
        numUnknown === 1 ? "1 unknown character is left out." : `${numUnknown} unknown characters are left out.`,
      );
    if (known.length === MOST_LOOKED_AT)
      told.push(`At most ${MOST_LOOKED_AT.toLocaleString("en")} characters are shown.`);
    this.known = known;
    this.parts = null;
    this.part("status").textContent = told.join(" ");
    this.shown.clear();
    this.part("text").hidden = known.length === 0;
    if (known.length === 0) return;
    for (const { code } of known) this.shown.append(code);
    this.layer = Number(this.part("layer").value);
    const message = { model: number, ids: known.map(({ id }) => id), boundary: vocabulary.boundary, layer: this.layer };
    this.client.begin("look", message, ({ isDone, parts }) => {
      if (!isDone) return;
      this.parts = parts;
      if (this.part("unit").value === "") this.part("unit").value = this.liveliest() + 1;
      this.colour();
    });
  }

  /** Colour the text and the strip by what is chosen. */
  colour() {
    if (!this.parts) return;
    const { name, unit, H } = this.choice();
    const values = this.parts[name];
    const isGate = "iforz".includes(name);
    const own = this.known.map((_, place) => values[place * H + unit]);
    const largest = isGate ? 1 : Math.max(...own.map(Math.abs));
    own.forEach((value, place) => {
      this.shown.colour(place, valueStep(value, largest));
    });
    this.part("least").textContent = isGate ? "0" : `−${largest.toFixed(2)}`;
    this.part("most").textContent = isGate ? "1" : largest.toFixed(2);
    for (const colour of this.part("legend").querySelectorAll(".below")) colour.hidden = isGate;
    const usual = isGate ? 1 : usualSize(values);
    drawStrip(this.part("strip"), this.part("mark"), { values, H, unit, largest: usual });
    const title = `${PART_NAMES[name]} of layer ${this.layer + 1}`;
    const sizes = `${H} units from top to bottom, ${this.known.length} characters from left to right`;
    const described = `${title}: ${sizes}; colours to ${usual.toFixed(2)}. Unit ${this.liveliest() + 1} changes the most.`;
    this.part("strip").setAttribute("aria-label", described);
    this.part("caption").textContent = `${described} Click to choose a unit.`;
    this.markNeuron();
    this.point(this.shown.at);
  }

  /** Return what is chosen: the part, the unit counted from 0, and H. */
  choice() {
    const H = this.chosen().data.settings.hidden_size;
    const unit = Math.max(1, Math.min(H, Math.round(Number(this.part("unit").value)) || 1)) - 1;
    return { name: this.part("part").value, unit, H };
  }

  /** Return the unit that changes the most over the text, counted from 0. */
  liveliest() {
    const { name, H } = this.choice();
    const values = this.parts[name];
    const changes = new Float64Array(H);
    for (let at = H; at < values.length; at++) changes[at % H] += Math.abs(values[at] - values[at - H]);
    return changes.indexOf(Math.max(...changes));
  }

  point(place) {
    const { name, unit, H } = this.choice();
    const value = place === null || !this.parts ? null : this.parts[name][place * H + unit];
    this.part("value").textContent =
      value === null ? "" : `Unit ${unit + 1} after ‘${nameOf(this.known[place].code)}’: ${value.toFixed(3)}`;
  }

  pick(event) {
    const found = placeInStrip(this.part("strip"), event);
    if (found === null || !this.parts) return;
    this.part("unit").value = found.unit + 1;
    this.colour();
    this.shown.point(found.time, true);
  }

  showNeurons(neurons) {
    this.part("neurons").hidden = neurons.length === 0;
    const buttons = neurons.map((neuron) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${neuron.feature} (layer ${neuron.layer}, unit ${neuron.unit}, ${neuron.state})`;
      button.title = `${neuron.kept.toFixed(2)} on text kept apart; by chance ${neuron.chance.toFixed(2)}`;
      button.addEventListener("click", () => this.chooseNeuron(neuron));
      return button;
    });
    this.neurons = neurons.map((neuron, at) => ({ neuron, button: buttons[at] }));
    this.part("neurons")
      .querySelector("ul")
      .replaceChildren(...buttons.map(listed));
    if (neurons.length > 0) this.setNeuron(neurons[0]);
  }

  setNeuron({ layer, unit, state }) {
    this.part("layer").value = layer - 1;
    this.part("part").value = state;
    this.part("unit").value = unit;
  }

  chooseNeuron(neuron) {
    this.setNeuron(neuron);
    this.markNeuron();
    if (this.parts && this.layer === neuron.layer - 1) this.colour();
    else this.start();
  }

  markNeuron() {
    const { name, unit } = this.choice();
    const layer = Number(this.part("layer").value);
    for (const { neuron, button } of this.neurons) {
      const isChosen = neuron.layer - 1 === layer && neuron.unit - 1 === unit && neuron.state === name;
      button.setAttribute("aria-pressed", String(isChosen));
    }
  }
}

/** Return a size that few of a layer's values exceed: a single lively unit must not pale all others. */
function usualSize(values) {
  const step = Math.ceil(values.length / NUM_SIZES);
  const sizes = values.filter((_, at) => at % step === 0).map(Math.abs);
  return sizes.sort()[Math.floor(0.99 * (sizes.length - 1))];
}

function listed(element) {
  const item = document.createElement("li");
  item.append(element);
  return item;
}
