// The tab Read: how much each character of a text surprises the network, and how many bits it takes in all.

import { surpriseStep } from "./colours.js";
import { showExpected } from "./expected.js";
import { codeName, nameOf } from "./glyphs.js";
import { ShownText } from "./shown.js";
import { markedText } from "./vocabulary.js";

// More would be too much for the page to show.
const MOST_READ = 50_000;

/** Reads a text with the chosen network. */
export class ReadTab {
  /**
   * @param {import("./client.js").Client} client asks the worker.
   * @param {() => object} chosen returns the chosen network: its number, its data and its vocabulary.
   */
  constructor(client, chosen) {
    this.client = client;
    this.chosen = chosen;
    this.part = (name) => document.getElementById(`read-${name}`);
    this.shown = new ShownText(this.part("text"), (place) => this.point(place));
    this.characters = [];
    this.part("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    this.point(null);
  }

  /** Forget what was read, for another network. */
  reset() {
    this.client.stop("read");
    this.characters = [];
    this.shown.clear();
    this.part("totals").replaceChildren();
    this.part("unknown").hidden = true;
    this.part("status").textContent = "";
  }

  /** Return the text that was typed. */
  text() {
    return this.part("input").value;
  }

  start() {
    this.reset();
    const { number, vocabulary } = this.chosen();
    const whole = markedText(this.text(), vocabulary);
    const marked = whole.slice(0, MOST_READ);
    this.isCut = whole.length > marked.length;
    this.tellUnknown(marked);
    const ids = marked.map(({ id }) => id).filter((id) => id !== null);
    if (ids.length === 0 || (ids.length === 1 && vocabulary.boundary !== null)) {
      this.part("status").textContent = "There is no character in it that the network knows.";
      return;
    }
    this.marked = marked;
    this.part("status").textContent = "Reading.";
    const message = { model: number, ids, boundary: vocabulary.boundary, layer: null };
    this.client.begin("read", message, (answer) => this.receive(answer));
  }

  receive({ characters, isDone }) {
    for (const character of characters) {
      this.showSkipped();
      const { code, isKnown } = this.marked[this.characters.length];
      this.show({ ...character, code, isKnown });
    }
    if (!isDone) return;
    this.showSkipped();
    const most = MOST_READ.toLocaleString("en");
    this.part("status").textContent = this.isCut ? `The text is longer: its first ${most} characters were read.` : "";
    this.showTotals();
  }

  /** Show the characters that come next and have no id. */
  showSkipped() {
    for (let next = this.next(); next && next.id === null; next = this.next()) {
      this.show({ ...next, bits: null, likeliest: [] }, "left-out");
    }
  }

  next() {
    return this.marked[this.characters.length];
  }

  show(character, kind = "") {
    this.characters.push(character);
    const { bits, isKnown } = character;
    const step = bits === null ? null : surpriseStep(bits);
    this.shown.append(character.code, { step, kind: kind || (isKnown ? "" : "left-out") });
  }

  showTotals() {
    const predicted = this.characters.filter(({ bits }) => bits !== null);
    const bits = predicted.reduce((sum, each) => sum + each.bits, 0);
    const mean = bits / predicted.length;
    const rows = [
      ["characters predicted", predicted.length.toLocaleString("en")],
      ["bits in all", bits.toLocaleString("en", { maximumFractionDigits: 1 })],
    ];
    if (predicted.length > 0)
      rows.push(["bits per character", mean.toFixed(3)], ["perplexity", (2 ** mean).toFixed(2)]);
    this.part("totals").replaceChildren(...rows.map(([name, value]) => total(name, value)));
  }

  tellUnknown(marked) {
    const unknown = marked.filter(({ isKnown }) => !isKnown);
    this.part("unknown").hidden = unknown.length === 0;
    if (unknown.length === 0) return;
    const counts = new Map();
    for (const { code } of unknown) counts.set(code, (counts.get(code) ?? 0) + 1);
    const names = [...counts].slice(0, 10).map(([code, count]) => `${nameOf(code)} (${codeName(code)}, ${count} ×)`);
    const fate = unknown[0].id === null ? "left out" : "read as its unknown symbol";
    const subject = unknown.length === 1 ? "1 character is" : `${unknown.length.toLocaleString("en")} characters are`;
    const more = counts.size > 10 ? ` and ${counts.size - 10} more` : "";
    this.part("unknown").textContent = `${subject} not known to the network and ${fate}: ${names.join(", ")}${more}`;
  }

  point(place) {
    const character = this.characters?.[place] ?? null;
    showExpected(this.part("expected"), character, (id) => this.chosen().vocabulary.codeOf(id));
  }
}

function total(name, value) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const definition = document.createElement("dd");
  term.textContent = name;
  definition.textContent = value;
  row.append(term, definition);
  return row;
}
