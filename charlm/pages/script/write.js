// The tab Write: a text is written live, shaded by its surprise, and can be rewritten from any character on.

import { surpriseStep } from "./colours.js";
import { showExpected } from "./expected.js";
import { codeName } from "./glyphs.js";
import { ShownText } from "./shown.js";

// A person reads some 20 characters a second.
const READING_CHARS_PER_SECOND = 60;
const ITEM_CHARS = 10_000;

/** Writes with the chosen network. */
export class WriteTab {
  /**
   * @param {import("./client.js").Client} client asks the worker.
   * @param {() => object} chosen returns the chosen network: its number, its data and its vocabulary.
   */
  constructor(client, chosen) {
    this.client = client;
    this.chosen = chosen;
    this.part = (name) => document.getElementById(`write-${name}`);
    this.shown = new ShownText(this.part("text"), (place) => this.point(place));
    this.characters = [];
    this.waiting = [];
    this.isDone = true;
    this.part("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    this.part("stop").addEventListener("click", () => this.stop());
    this.part("another").addEventListener("click", () => this.another());
    this.part("temperature").addEventListener("input", () => this.showTemperature());
    this.point(null);
  }

  /** Forget the text, for another network. */
  reset() {
    this.stop();
    this.characters = [];
    this.shown.clear();
    this.say("");
    const { data, vocabulary } = this.chosen();
    this.part("length").parentElement.hidden = vocabulary.boundary !== null;
    const begins = vocabulary.boundary === null ? "empty: as a line of the learned text begins" : "empty: a new item";
    this.part("prefix").placeholder = data.opening === null ? "a few characters" : begins;
  }

  /** Return the text that is shown, without the end of an item. */
  text() {
    const codes = this.characters.filter(({ id }) => id !== null && id !== this.chosen().vocabulary.boundary);
    return codes.map(({ code }) => String.fromCodePoint(code)).join("");
  }

  start() {
    const opening = this.opening();
    if (opening === null) return;
    this.stop();
    this.shown.clear();
    this.read = opening.read;
    this.given = opening.given.length;
    this.characters = [];
    for (const character of opening.given) this.show(character, character.id === null ? "left-out" : "given");
    this.write();
  }

  another() {
    const seed = this.part("seed");
    if (seed.checkValidity()) seed.value = String(BigInt(seed.value) + 1n);
    this.part("form").requestSubmit();
  }

  stop() {
    this.client.stop("write");
    this.waiting = [];
    this.began = null;
    this.finish();
  }

  /** Return the ids to read first and the characters to show first, or null where there is nothing to begin with. */
  opening() {
    const { data, vocabulary } = this.chosen();
    const marked = vocabulary.mark(this.part("prefix").value, { isPrefix: true });
    const given = marked.map((each) => ({ ...each, bits: null, likeliest: [] }));
    const unknown = marked.filter(({ id }) => id === null);
    if (unknown.length > 0 && vocabulary.policy === "error") return this.refuse(unknown);
    const begin = vocabulary.boundary === null ? [] : [vocabulary.boundary];
    if (begin.length > 0 && marked.some(({ id }) => id === vocabulary.boundary)) {
      return this.say("The beginning contains the end of an item: leave it out.");
    }
    if (given.some(({ id }) => id !== null) || begin.length > 0) return { read: begin, given };
    if (given.length > 0) return this.say("The beginning has no character that this network knows.");
    if (data.opening === null) return this.say("This network needs a character to begin with.");
    const opening = data.opening.map((code) => ({ code, id: vocabulary.ids.get(code), bits: null, likeliest: [] }));
    return data.is_shown ? { read: [], given: opening } : { read: opening.map(({ id }) => id), given: [] };
  }

  refuse(unknown) {
    const names = [...new Set(unknown.map(({ code }) => codeName(code)))];
    const number = names.length === 1 ? "a character" : `${names.length} characters`;
    return this.say(`The beginning has ${number} this network has never seen: ${names.slice(0, 10).join(", ")}`);
  }

  /** Continue from the characters that are shown. */
  write() {
    const { number, data, vocabulary } = this.chosen();
    const start = this.characters.length - this.given;
    const boundary = vocabulary.boundary;
    const length = boundary === null ? Number(this.part("length").value) : ITEM_CHARS;
    const topK = this.part("top-k").value;
    const message = {
      model: number,
      ids: [...this.read, ...this.characters.map(({ id }) => id).filter((id) => id !== null)],
      numCharacters: data.characters.length,
      seed: this.part("seed").value,
      start,
      filters: { temperature: Number(this.part("temperature").value), topK: topK === "" ? null : Number(topK) },
      length: Math.max(0, length - start),
      end: boundary,
    };
    this.isDone = false;
    this.began = null;
    this.drawn = 0;
    this.part("stop").disabled = false;
    this.part("text").setAttribute("aria-busy", "true");
    this.say("Writing.");
    this.client.begin("write", message, (answer) => this.receive(answer));
  }

  receive({ characters, isDone }) {
    const { vocabulary } = this.chosen();
    this.waiting.push(...characters.map((each) => ({ ...each, code: vocabulary.codeOf(each.id) })));
    this.isDone = isDone;
    if (this.began === null) {
      this.began = performance.now();
      requestAnimationFrame((now) => this.draw(now, this.began));
    }
  }

  /** Show as many characters as the pace allows by now. */
  draw(now, began) {
    if (began !== this.began) return;
    const isAtOnce = this.part("pace").value === "full" || matchMedia("(prefers-reduced-motion: reduce)").matches;
    const due = isAtOnce ? Infinity : ((now - began) / 1000) * READING_CHARS_PER_SECOND + 1 - this.drawn;
    for (const character of this.waiting.splice(0, Math.max(0, due))) {
      this.show(character);
      this.drawn += 1;
    }
    if (this.isDone && this.waiting.length === 0) this.finish();
    else requestAnimationFrame((then) => this.draw(then, began));
  }

  finish() {
    const isWriting = !this.part("stop").disabled;
    this.isDone = true;
    this.part("stop").disabled = true;
    this.part("text").removeAttribute("aria-busy");
    if (isWriting) this.say(this.summary());
  }

  summary() {
    const bits = this.characters.map((each) => each.bits).filter((each) => each !== null);
    if (bits.length === 0) return "";
    const mean = bits.reduce((sum, each) => sum + each, 0) / bits.length;
    return `${bits.length.toLocaleString("en")} characters, ${mean.toFixed(2)} bits of surprise each`;
  }

  show(character, kind = "") {
    this.characters.push(character);
    this.shown.append(character.code, { step: character.bits === null ? null : surpriseStep(character.bits), kind });
  }

  point(place) {
    const character = this.characters?.[place] ?? null;
    const choose = place !== null && place >= this.given ? (id) => this.goOn(place, id) : null;
    showExpected(this.part("expected"), character, (id) => this.chosen().vocabulary.codeOf(id), choose);
  }

  /** Put another character into a place, and write on after it with the random numbers that come next. */
  goOn(place, id) {
    if (!this.part("form").reportValidity()) return;
    const { vocabulary } = this.chosen();
    const likeliest = this.characters[place].likeliest;
    const bits = -Math.log2(likeliest.find((each) => each.id === id).probability);
    this.stop();
    this.shown.cut(place);
    this.characters.splice(place);
    this.show({ id, code: vocabulary.codeOf(id), bits, likeliest }, "chosen");
    this.shown.point(place, true);
    this.part("text").focus({ preventScroll: true });
    if (id === vocabulary.boundary) this.finish();
    else this.write();
  }

  showTemperature() {
    this.part("warmth").textContent = String(Number(this.part("temperature").value));
  }

  /** Say a sentence, and return null. */
  say(text) {
    this.part("status").textContent = text;
    return null;
  }
}
