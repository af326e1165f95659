// One step of the network in its own numbers: each equation with its symbols, its numbers and its value.

import { made } from "./elements.js";

/**
 * Return the equations of a step.
 *
 * @param {object} step see `equations_of`.
 * @returns {HTMLElement[]}
 */
export function makeEquations(step) {
  const where = `Step ${step.step.toLocaleString("en")} of ${step.run}, ${step.network}. It reads ${step.source}:`;
  const passage = made("p", { class: "text passage", dir: "auto" }, step.context, made("b", {}, step.shown));
  const notes = step.notes.map((note) => made("p", { class: "said" }, note));
  return [made("p", {}, made("bdi", {}, where)), passage, ...notes, ...step.parts.flatMap(equationPart)];
}

function equationPart({ title, text, unit, layer, lines }) {
  const chosen = unit === null ? "" : ` The numbers are those of unit ${unit} of layer ${layer}.`;
  const list = made("dl", { class: "equations" }, ...lines.map(equationRow));
  return [made("h3", {}, title), made("p", {}, `${text}${chosen}`), list];
}

function equationRow({ symbol, formula, numbers, value, norm, meaning }) {
  const remarks = [meaning, norm === null ? "" : `norm ${norm}`].filter(Boolean).join(", ");
  const pieces = [formula, numbers].filter(Boolean).map((piece) => made("span", {}, `= ${piece}`));
  return made(
    "div",
    {},
    made("dt", {}, symbol),
    made("dd", {}, ...pieces, made("b", {}, `= ${value}`), ...(remarks ? [made("i", {}, remarks)] : [])),
  );
}
