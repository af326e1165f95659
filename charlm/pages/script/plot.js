// One panel of a chart as SVG: axes with ticks, bands, level lines, lines and points.

import { drawn } from "./elements.js";
import { dashesOf, lookClass, markPath } from "./marks.js";
import { makeScale } from "./scales.js";

const TOP = 28;
const RIGHT = 14;
const BOTTOM = 42;
const LEFT = 50;
const TICK_WIDTH = 70;
const TICK_HEIGHT = 42;
// So many marks tell a line from the others where it is long.
const NUM_MARKS = 5;

/**
 * Draw a panel.
 *
 * @param {SVGElement} svg what it is drawn into; what was there is removed.
 * @param {object} panel see charts.py.
 * @param {number} width in pixels.
 * @param {number} height in pixels.
 * @returns {{x: (value: number) => number, y: (value: number) => number, width: number, height: number}} where values
 *     are.
 */
export function drawPlot(svg, panel, width, height) {
  const values = (...names) =>
    panel.lines.flatMap((line) => drawable(line, panel).flatMap((at) => names.map((name) => line[name]?.[at] ?? null)));
  const ys = [...values("y", "low", "high"), ...panel.levels.map((level) => level.y)].filter((y) => y !== null);
  const xs = values("x");
  const x = makeScale(panel.x, xs, LEFT, width - RIGHT, Math.floor((width - LEFT) / TICK_WIDTH));
  const y = makeScale(panel.y, ys, height - BOTTOM, TOP, Math.floor((height - TOP) / TICK_HEIGHT));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    ...axes(panel, x, y, width, height),
    ...panel.lines.filter((line) => line.low && line.high).map((line) => band(line, panel, x, y)),
    ...panel.levels.map((level) => levelLine(level, y, width)),
    ...panel.lines.flatMap((line) => (line.joined ? joined(line, panel, x, y) : points(line, panel, x, y))),
  );
  return { x: x.place, y: y.place, width, height };
}

function axes(panel, x, y, width, height) {
  const end = width - RIGHT;
  const floor = height - BOTTOM;
  const rows = y.ticks.flatMap(({ at, label }) => [
    drawn("path", { class: "grid", d: `M${LEFT} ${at.toFixed(1)}H${end}` }),
    drawn("text", { class: "tick", x: LEFT - 7, y: at + 4, "text-anchor": "end" }, label),
  ]);
  const columns = x.ticks.flatMap(({ at, label }) => [
    drawn("path", { class: "axis", d: `M${at.toFixed(1)} ${floor}v5` }),
    drawn("text", { class: "tick", x: at, y: floor + 18, "text-anchor": "middle" }, label),
  ]);
  return [
    ...rows,
    ...columns,
    drawn("path", { class: "axis", d: `M${LEFT} ${TOP}V${floor}H${end}` }),
    drawn("text", { class: "title", x: 0, y: 13 }, panel.y.title),
    drawn("text", { class: "title", x: end, y: height - 5, "text-anchor": "end" }, panel.x.title),
  ];
}

/**
 * Return the numbers of the points of a line that can be drawn.
 *
 * @param {object} line see charts.py.
 * @param {object} panel its panel, whose axes may have no place for zero.
 */
export function drawable(line, panel) {
  const has = (axis, value) =>
    value !== null && (!axis.log || value > 0) && (axis.least === null || value >= axis.least);
  return line.x.map((_, at) => at).filter((at) => has(panel.x, line.x[at]) && has(panel.y, line.y[at]));
}

function joined(line, panel, x, y) {
  const all = drawable(line, panel);
  const spot = (at) => `${x.place(line.x[at]).toFixed(1)} ${y.place(line.y[at]).toFixed(1)}`;
  // Where a value is missing, the line has a gap.
  const d = all.map((at, place) => `${place > 0 && all[place - 1] === at - 1 ? "L" : "M"}${spot(at)}`).join("");
  const dashes = dashesOf(line.number, line.dashed ? "dashed" : "line");
  const look = lookClass(line.number);
  const path = drawn("path", { class: `line ${look}`, d, "stroke-dasharray": dashes });
  const marked = all.filter((at, place) => line.marked.includes(at) || isMarked(place, all.length, line.number));
  return [path, ...marked.map((at) => mark(line, at, x, y, line.marked.includes(at) ? 5 : 3.5))];
}

/** Say whether a point has a mark, so that lines have some that lie apart from those of other lines. */
function isMarked(place, length, number) {
  const step = Math.max(1, Math.floor(length / NUM_MARKS));
  return length <= NUM_MARKS || place % step === (number * Math.ceil(step / 3)) % step;
}

function mark(line, at, x, y, size) {
  const d = markPath(line.number, x.place(line.x[at]), y.place(line.y[at]), size);
  return drawn("path", { class: `mark ${lookClass(line.number)}`, d });
}

function points(line, panel, x, y) {
  const size = line.x.length > 150 ? 2.8 : 3.8;
  const d = drawable(line, panel).map((at) => markPath(line.number, x.place(line.x[at]), y.place(line.y[at]), size));
  return d.map((each) => drawn("path", { class: `dot ${lookClass(line.number)}`, d: each }));
}

function band(line, panel, x, y) {
  const all = drawable(line, panel).filter((at) => (line.low[at] ?? 0) > 0 || !panel.y.log);
  const edge = (values, at) => `${x.place(line.x[at]).toFixed(1)} ${y.place(values[at] ?? line.y[at]).toFixed(1)}`;
  const around = [...all.map((at) => edge(line.high, at)), ...all.reverse().map((at) => edge(line.low, at))];
  return drawn("path", { class: `band ${lookClass(line.number)}`, d: around.length ? `M${around.join("L")}z` : "" });
}

function levelLine(level, y, width) {
  const d = `M${LEFT} ${y.place(level.y).toFixed(1)}H${width - RIGHT}`;
  return drawn("path", { class: `level ${lookClass(level.number)}`, d, "stroke-dasharray": dashesOf(null, "level") });
}
