// The slider over what a network wrote while it learned, from the first sample to the last.

import { made } from "./elements.js";
import { glyphOf } from "./glyphs.js";
import { shownNumber } from "./scales.js";

const STAGE_MS = 900;

/** What a network wrote at each evaluation. */
export class Stages {
  /** @param {object[]} stages see `sample_stages`; at least one. */
  constructor(stages) {
    this.stages = stages;
    this.timer = null;
    const last = String(stages.length - 1);
    this.slider = made("input", { type: "range", id: "learn-stage", min: "0", max: last, step: "1", value: last });
    this.facts = made("output", { for: "learn-stage", id: "learn-stage-facts" });
    this.button = made("button", { type: "button" });
    this.texts = made("div", { class: "stage-texts" });
    this.slider.addEventListener("input", () => this.stop());
    this.button.addEventListener("click", () => this.press());
    matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", () => this.stop());
    const label = made("label", { for: "learn-stage" }, "Time of training");
    const row = made("div", { class: "row" }, made("div", { class: "field stage" }, label, this.slider), this.button);
    row.hidden = stages.length < 2;
    this.element = made("div", {}, row, made("p", { class: "stage-facts" }, this.facts), this.texts);
    this.stop();
  }

  /** Play, or stop; a person who wants little motion sees one sample after each press. */
  press() {
    if (this.timer !== null) return this.stop();
    const { value, max } = this.slider;
    if (value === max) this.slider.value = "0";
    else if (isStill()) this.slider.value = String(Number(value) + 1);
    if (isStill()) return this.stop();
    this.timer = setInterval(() => this.next(), STAGE_MS);
    return this.show();
  }

  next() {
    this.slider.value = String(Number(this.slider.value) + 1);
    if (this.slider.value === this.slider.max) this.stop();
    else this.show();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.show();
  }

  show() {
    const stage = this.stages[Number(this.slider.value)];
    const facts = stageFacts(stage);
    this.facts.textContent = facts;
    this.slider.setAttribute("aria-valuetext", facts);
    this.button.textContent = this.timer !== null ? "Stop" : isStill() ? "Next" : "Play";
    this.texts.replaceChildren(...stage.texts.map(stageText));
  }
}

function isStill() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function stageFacts({ step, epoch, perplexity, of }) {
  const epochs = epoch === 1 ? "1 whole epoch" : `${epoch.toLocaleString("en")} whole epochs`;
  const facts = [`step ${step.toLocaleString("en")}`, epochs];
  if (perplexity !== null) facts.push(`perplexity ${shownNumber(perplexity)} (${of})`);
  return facts.join(" · ");
}

/** Return a text, with what was given before and after it set apart. */
function stageText([prefix, continuation, suffix]) {
  const given = (text) => (text ? [made("b", {}, ...shownPieces(text))] : []);
  return made("p", { class: "text", dir: "auto" }, ...given(prefix), ...shownPieces(continuation), ...given(suffix));
}

/** Return a text in pieces, in which what nobody sees has a sign. */
function shownPieces(text) {
  const pieces = [];
  let plain = "";
  for (const character of text) {
    const { text: shown, sign } = glyphOf(character.codePointAt(0));
    if (sign === null || character === "\n") plain += shown;
    else {
      pieces.push(plain, made("span", { "data-sign": sign }, shown));
      plain = "";
    }
  }
  return [...pieces, plain];
}
