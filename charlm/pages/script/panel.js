// A panel that can be read: by pointing at it, with the arrow keys, and as a sentence.

import { drawn, made } from "./elements.js";
import { lookClass, markPath, swatch } from "./marks.js";
import { drawable, drawPlot } from "./plot.js";
import { shownNumber } from "./scales.js";

// So near in pixels, a point of another line is read together with the one that is pointed at.
const NEAR = 6;
const MAX_LEVELS = 2;

/** A panel of a chart. */
export class Panel {
  /**
   * @param {object} panel see charts.py.
   * @param {string} name what the chart shows, for those who hear it.
   */
  constructor(panel, name) {
    this.panel = panel;
    this.isPlane = panel.lines.some((line) => !line.joined);
    this.stops = this.isPlane ? planeStops(panel) : lineStops(panel);
    this.at = null;
    this.svg = drawn("svg", { role: "img", "aria-label": describe(panel, name) });
    this.readout = made("div", { class: "readout", "aria-live": "polite", hidden: true });
    const label = `${panel.title || name}; arrow keys read the values`;
    this.plot = made(
      "div",
      { class: "plot", tabindex: "0", role: "group", "aria-label": label },
      this.svg,
      this.readout,
    );
    this.element = made("div", { class: "panel" }, ...heading(panel.title), this.plot);
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.plot.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
    this.plot.addEventListener("pointerdown", (event) => this.point(this.nearest(event)));
    this.plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.point(null));
    this.plot.addEventListener("blur", () => this.point(null));
    this.plot.addEventListener("keydown", (event) => this.press(event));
  }

  draw() {
    const { clientWidth, clientHeight } = this.plot;
    if (clientWidth === 0) return;
    this.places = drawPlot(this.svg, this.panel, clientWidth, clientHeight);
    this.pointed = drawn("g");
    this.svg.append(this.pointed);
    this.point(this.at);
  }

  /** Return the number of the stop that is nearest to the pointer. */
  nearest(event) {
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const distances = this.stops.map((stop) => {
      const away = this.places.x(stop.x) - x;
      return this.isPlane ? Math.hypot(away, this.places.y(stop.y) - y) : Math.abs(away);
    });
    return distances.length === 0 ? null : distances.indexOf(Math.min(...distances));
  }

  press(event) {
    const last = this.stops.length - 1;
    const at = this.at ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const places = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last, Escape: null };
    if (!(event.key in places) || last < 0) return;
    event.preventDefault();
    const place = places[event.key];
    this.point(place === null ? null : Math.max(0, Math.min(last, place)));
  }

  /** Read the values at a stop; null reads nothing. */
  point(at) {
    this.at = at;
    this.readout.hidden = at === null;
    if (!this.places) return;
    this.pointed.replaceChildren();
    if (at === null) return;
    const stop = this.stops[at];
    const x = this.places.x(stop.x);
    const rows = this.isPlane ? [{ line: stop.line, at: stop.at }] : this.rowsAt(stop.x);
    if (!this.isPlane)
      this.pointed.append(drawn("path", { class: "rule", d: `M${x.toFixed(1)} 28V${this.places.height - 42}` }));
    for (const { line, at: place } of rows) {
      const d = markPath(line.number, this.places.x(line.x[place]), this.places.y(line.y[place]), 6);
      this.pointed.append(drawn("path", { class: `ring ${lookClass(line.number)}`, d }));
    }
    this.readout.dataset.side = x > this.places.width / 2 ? "left" : "right";
    this.readout.replaceChildren(...(this.isPlane ? this.unitText(stop) : this.valueTexts(stop, rows)));
  }

  /** Return the points of all lines that are at a value, or so near to it that nobody can tell. */
  rowsAt(value) {
    const away = (line, at) => Math.abs(this.places.x(line.x[at]) - this.places.x(value));
    return this.panel.lines.flatMap((line) => {
      const all = drawable(line, this.panel);
      if (all.length === 0) return [];
      const at = all.reduce((best, each) => (away(line, each) < away(line, best) ? each : best));
      return away(line, at) <= NEAR ? [{ line, at }] : [];
    });
  }

  valueTexts(stop, rows) {
    const { x, y, levels } = this.panel;
    return [
      made("p", {}, `${x.title}: ${shownNumber(stop.x, x)}`),
      ...rows.map(({ line, at }) =>
        readoutRow(line.number, line.dashed ? "dashed" : "line", nameOfLine(line), intervalText(line, at, y)),
      ),
      // Where there are more, they are in the table.
      ...(levels.length > MAX_LEVELS ? [] : levels).map((level) =>
        readoutRow(level.number, "level", level.label, shownNumber(level.y, y)),
      ),
    ];
  }

  unitText({ line, at }) {
    const { x, y } = this.panel;
    return [
      readoutRow(line.number, "point", line.label, `unit ${line.units[at].toLocaleString("en")}`),
      made("p", {}, `${x.title}: ${shownNumber(line.x[at], x)}`),
      made("p", {}, `${y.title}: ${shownNumber(line.y[at], y)}`),
    ];
  }
}

function heading(title) {
  return title ? [made("h3", {}, made("bdi", {}, title))] : [];
}

function readoutRow(number, kind, label, value) {
  return made("p", {}, swatch(number, kind), " ", made("bdi", {}, label), ` ${value}`);
}

function intervalText(line, at, axis) {
  const value = shownNumber(line.y[at], axis);
  if (!line.low || !line.high) return value;
  return `${value} (${shownNumber(line.low[at], axis)} to ${shownNumber(line.high[at], axis)})`;
}

/**
 * Return the name of a line, with what it shows.
 *
 * @param {object} line see charts.py.
 */
export function nameOfLine(line) {
  return line.what ? `${line.label}, ${line.what}` : line.label;
}

function lineStops(panel) {
  const values = panel.lines.flatMap((line) => drawable(line, panel).map((at) => line.x[at]));
  return [...new Set(values)].sort((one, other) => one - other).map((x) => ({ x }));
}

function planeStops(panel) {
  return panel.lines.flatMap((line) => drawable(line, panel).map((at) => ({ x: line.x[at], y: line.y[at], line, at })));
}

/** Return a panel in a sentence. */
function describe(panel, name) {
  const told = panel.lines.map((line) => {
    const all = drawable(line, panel);
    if (all.length === 0) return `${nameOfLine(line)}: no values`;
    if (!line.joined) return `${line.label}: ${all.length.toLocaleString("en")} units`;
    const value = (at) => `${shownNumber(line.y[at], panel.y)} at ${shownNumber(line.x[at], panel.x)}`;
    return `${nameOfLine(line)}: from ${value(all[0])} to ${value(all[all.length - 1])}`;
  });
  const levels = panel.levels.map((level) => `${level.label}: ${shownNumber(level.y, panel.y)}`);
  const title = panel.title ? `${name}, ${panel.title}` : name;
  return `${title}: ${panel.y.title} against ${panel.x.title}. ${[...told, ...levels].join("; ")}.`;
}
