// How lines look: seven colours with a mark each, and dashes, so that colour is never the only sign.

import { drawn } from "./elements.js";

const NUM_COLOURS = 7;
// Of the rounds through the colours; training is dashed, and levels are dotted.
const ROUNDS = [null, "10 3 2 3", "2 3 2 6", "14 4"];
const DASHES = { dashed: "7 4", level: "2 4" };

/** Return the class that gives a look its colour; the number is null for what is true of all lines. */
export function lookClass(number) {
  return number === null ? "look-all" : `look-${number % NUM_COLOURS}`;
}

/** Return the dashes of a line: its number, and line, dashed or level. */
export function dashesOf(number, kind) {
  return DASHES[kind] ?? ROUNDS[Math.floor((number ?? 0) / NUM_COLOURS) % ROUNDS.length];
}

/** Return the path of a mark around a place. */
export function markPath(number, x, y, size) {
  const to = (dx, dy) => `${(x + dx * size).toFixed(1)} ${(y + dy * size).toFixed(1)}`;
  const round = `M${to(-1, 0)}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`;
  const shapes = [
    round,
    `M${to(-0.9, -0.9)}L${to(0.9, -0.9)}L${to(0.9, 0.9)}L${to(-0.9, 0.9)}z`,
    `M${to(0, -1.2)}L${to(1.15, 0.9)}L${to(-1.15, 0.9)}z`,
    `M${to(0, -1.35)}L${to(1.35, 0)}L${to(0, 1.35)}L${to(-1.35, 0)}z`,
    `M${to(0, 1.2)}L${to(1.15, -0.9)}L${to(-1.15, -0.9)}z`,
    `M${to(-0.4, -1.2)}H${x + 0.4 * size}V${y - 0.4 * size}H${x + 1.2 * size}V${y + 0.4 * size}H${x + 0.4 * size}` +
      `V${y + 1.2 * size}H${x - 0.4 * size}V${y + 0.4 * size}H${x - 1.2 * size}V${y - 0.4 * size}H${x - 0.4 * size}z`,
    `M${to(-1.3, 0)}L${to(0, -0.6)}L${to(1.3, 0)}L${to(0, 0.6)}z`,
  ];
  return shapes[number % NUM_COLOURS];
}

/**
 * Return a small picture of a look, for legends.
 *
 * @param {?number} number the number of the look; null for what is true of all lines.
 * @param {string} kind line, dashed, level or point.
 */
export function swatch(number, kind) {
  const picture = drawn("svg", { class: `swatch ${lookClass(number)}`, viewBox: "0 0 34 12", "aria-hidden": "true" });
  if (kind !== "point") {
    picture.append(drawn("path", { class: "line", d: "M1 6H33", "stroke-dasharray": dashesOf(number, kind) }));
  }
  if (number !== null && kind !== "level") {
    picture.append(drawn("path", { class: "mark", d: markPath(number, 17, 6, 4) }));
  }
  return picture;
}
