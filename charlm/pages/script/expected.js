// What a network expected where a character came: the surprise, and the five likeliest characters.

import { nameOf } from "./glyphs.js";

/**
 * Show what was expected at a character.
 *
 * @param {HTMLElement} element where it is shown.
 * @param {?{code: ?number, id: ?number, bits: ?number, likeliest: object[]}} character null shows how to use it.
 * @param {(id: number) => ?number} codeOf returns the code point of an id.
 * @param {?(id: number) => void} choose is called with another character's id; null where none can be chosen.
 */
export function showExpected(element, character, codeOf, choose = null) {
  if (character === null) {
    element.replaceChildren(sentence("Point at a character to see what the network expected there; click to keep it."));
    return;
  }
  const name = document.createElement("bdi");
  name.textContent = nameOf(character.code);
  const heading = document.createElement("h2");
  heading.append("‘", name, "’");
  element.replaceChildren(heading, sentence(told(character)));
  if (character.likeliest.length === 0) return;
  const list = document.createElement("ol");
  list.setAttribute("aria-label", "The likeliest characters");
  for (const { id, probability } of character.likeliest) {
    const item = document.createElement("li");
    item.append(choice(codeOf(id), probability, id === character.id, choose && (() => choose(id))));
    list.append(item);
  }
  // The sentence is enough to hear; the list can be reached.
  list.setAttribute("aria-live", "off");
  element.append(list);
  if (choose) element.append(sentence("Choose another one to go on from there."));
}

function told({ bits, isKnown = true }) {
  if (bits === null) return isKnown ? "given, and not predicted" : "not known to the network, and left out";
  return `${bits.toFixed(2)} bits of surprise: probability ${percent(2 ** -bits)}${isKnown ? "" : "; read as the unknown symbol"}`;
}

function choice(code, probability, isCame, choose) {
  const row = document.createElement(choose && !isCame && code !== null ? "button" : "div");
  row.className = isCame ? "choice came" : "choice";
  const symbol = document.createElement("bdi");
  symbol.className = "symbol";
  symbol.textContent = nameOf(code);
  const bar = document.createElement("span");
  const length = document.createElement("i");
  bar.className = "bar";
  length.style.width = `${100 * probability}%`;
  bar.append(length);
  const share = document.createElement("span");
  share.className = "share";
  share.textContent = percent(probability);
  row.append(symbol, bar, share);
  if (row instanceof HTMLButtonElement) {
    row.type = "button";
    row.setAttribute("aria-label", `Go on from there with ${nameOf(code)}, ${percent(probability)}`);
    row.addEventListener("click", choose);
  }
  return row;
}

function sentence(text) {
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  return paragraph;
}

function percent(probability) {
  const share = 100 * probability;
  return share >= 0.01 || share === 0 ? `${share.toFixed(share < 1 ? 2 : 1)} %` : "< 0.01 %";
}
