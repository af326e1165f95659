// The tab Learn: how the network came to be, beside other runs, and what is inside it.

import { makeChart } from "./chart.js";
import { made } from "./elements.js";
import { makeEquations } from "./equations.js";
import { Stages } from "./stages.js";

const GRADIENTS =
  "How much the prediction of a character depends on the state of a layer k characters earlier: where this falls " +
  "steeply, the network cannot learn what is further back.";
const MEMORY =
  "What a character costs if only the last k characters before it were read. Where a line is level, more of the text " +
  "makes no difference.";
const GATES =
  "Each point is a unit: how much of the time its gate is nearly shut, from left to right, and nearly open, from " +
  "bottom to top. A unit in a corner far right or far up is a switch that rarely moves. " +
  "A simple RNN has no gates: there it is the units themselves.";
const EQUATIONS = "One character through every layer of this network, to the cost of the character that came after it.";

/**
 * Show what happened while a network learned, and what it learned.
 *
 * @param {HTMLElement} root the tab's panel, which is empty.
 * @param {object} data the page's data under the name `learn`; see learning.py. What it lacks is not shown.
 */
export function showLearn(root, data) {
  const { notes = [], curves = [], stages = [], readings = [], equations = null } = data;
  root.append(...notes.map((note) => made("p", { class: "note" }, note)));
  if (curves.length > 0) root.append(section("Learning curves", "", curveChooser(curves)));
  if (stages.length > 0) root.append(section("What it wrote", stagesText(data), new Stages(stages).element));
  const charts = [
    ["Gradients by lag", GRADIENTS, data.gradients],
    ["Memory used", MEMORY, data.memory],
    ["Gates", GATES, data.gates],
  ];
  for (const [title, text, chart] of charts) {
    if (chart) root.append(section(title, text, makeChart(chart, title)));
  }
  if (readings.length > 0) root.append(inspected(readings));
  if (equations !== null) root.append(section("The equations", EQUATIONS, ...makeEquations(equations)));
}

function section(title, text, ...children) {
  return made(
    "section",
    { class: "learned" },
    made("h2", {}, title),
    ...(text ? [made("p", {}, text)] : []),
    ...children,
  );
}

function inspected(readings) {
  const items = readings.map((reading) => made("li", {}, made("bdi", {}, reading)));
  return made("details", { class: "inspected" }, made("summary", {}, "What was inspected"), made("ul", {}, ...items));
}

function stagesText({ stages, num_stages }) {
  if (!(num_stages > stages.length)) return "";
  const number = (value) => value.toLocaleString("en");
  return `Of ${number(num_stages)} evaluations, ${number(stages.length)} are here.`;
}

/** Return the learning curves, with a choice of what they are drawn against. */
function curveChooser(curves) {
  const place = made("div", {});
  const select = made("select", { id: "learn-against" });
  select.append(...curves.map(({ name }, at) => new Option(name, String(at))));
  const show = () => place.replaceChildren(makeChart(curves[Number(select.value)].chart, "Learning curves"));
  select.addEventListener("change", show);
  show();
  const field = made("div", { class: "field" }, made("label", { for: "learn-against" }, "Drawn against"), select);
  return made("div", {}, field, place);
}
