// A text on the page: a span for each character, which can be pointed at, kept, and reached with the arrow keys.

import { glyphOf } from "./glyphs.js";

/** A text whose characters can be pointed at. */
export class ShownText {
  /**
   * @param {HTMLElement} element where it is shown; it can have the focus.
   * @param {(place: ?number, isKept: boolean) => void} onPoint is told which character is pointed at, or null, and
   *     whether it stays so when the pointer moves on.
   */
  constructor(element, onPoint) {
    this.element = element;
    this.onPoint = onPoint;
    this.spans = [];
    // Each line is laid out by itself, in the direction of its script; null where a new one is due.
    this.line = null;
    this.at = null;
    this.isKept = false;
    element.addEventListener("pointerover", (event) => {
      if (event.pointerType === "mouse" && !this.isKept) this.point(this.placeOf(event.target), false);
    });
    element.addEventListener("click", (event) => this.click(this.placeOf(event.target)));
    element.addEventListener("keydown", (event) => this.press(event));
  }

  /** Show another text, or none. */
  clear() {
    this.cut(0);
    this.point(null, false);
  }

  /** Remove all characters from a place on. */
  cut(place) {
    for (const span of this.spans.splice(place)) span.remove();
    for (const line of Array.from(this.element.children)) if (line.childElementCount === 0) line.remove();
    const last = this.spans.at(-1);
    this.line = last === undefined || last.textContent === "\n" ? null : last.parentElement;
  }

  /**
   * Show one more character.
   *
   * @param {?number} code its code point; null for the unknown symbol.
   * @param {{step?: ?number, kind?: string}} look the step of its colour, and a class.
   */
  append(code, { step = null, kind = "" } = {}) {
    const span = document.createElement("span");
    const { text, sign } = glyphOf(code);
    span.textContent = text;
    if (sign !== null) span.dataset.sign = sign;
    if (kind) span.className = kind;
    this.spans.push(span);
    this.colour(this.spans.length - 1, step);
    if (this.line === null) {
      this.line = document.createElement("div");
      this.line.dir = "auto";
      this.element.append(this.line);
    }
    this.line.append(span);
    if (text === "\n") this.line = null;
  }

  /** Give a character the colour of a step, or none. */
  colour(place, step) {
    if (step === null) delete this.spans[place].dataset.step;
    else this.spans[place].dataset.step = step;
  }

  /** Point at a character, or at none. */
  point(place, isKept) {
    this.spans[this.at]?.classList.remove("at");
    this.at = place;
    this.isKept = isKept && place !== null;
    this.spans[place]?.classList.add("at");
    this.onPoint(place, this.isKept);
  }

  placeOf(target) {
    const place = this.spans.indexOf(target);
    return place < 0 ? null : place;
  }

  click(place) {
    if (place === null) return;
    const isSame = this.isKept && this.at === place;
    this.point(isSame ? null : place, !isSame);
  }

  press(event) {
    const last = this.spans.length - 1;
    const at = this.at ?? -1;
    const places = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last };
    if (event.key === "Escape") this.point(null, false);
    if (!(event.key in places) || last < 0 || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.point(Math.max(0, Math.min(last, places[event.key])), true);
    this.spans[this.at].scrollIntoView({ block: "nearest" });
  }
}
