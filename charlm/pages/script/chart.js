// A chart: its panels, the legend, the sentences that belong to it, and its numbers as a table.

import { made } from "./elements.js";
import { swatch } from "./marks.js";
import { nameOfLine, Panel } from "./panel.js";
import { shownNumber } from "./scales.js";

/**
 * Return a chart.
 *
 * @param {object} chart see charts.py.
 * @param {string} name what it shows.
 * @returns {HTMLElement}
 */
export function makeChart(chart, name) {
  const panels = chart.panels.map((panel) => new Panel(panel, name).element);
  const keys = chart.keys.map(({ label, number, kind }) =>
    made("li", {}, swatch(number, kind), made("bdi", {}, label)),
  );
  const figure = made(
    "figure",
    { class: "chart" },
    made("div", { class: panels.length > 1 ? "panels" : "" }, ...panels),
  );
  if (keys.length > 0) figure.append(made("ul", { class: "keys", "aria-label": "Legend" }, ...keys));
  figure.append(...chart.sentences.map((sentence) => made("p", { class: "said" }, sentence)), numbers(chart));
  return figure;
}

/** Return the numbers of a chart, which become tables when they are asked for. */
function numbers(chart) {
  const details = made("details", {}, made("summary", {}, "The numbers as a table"));
  const build = () => {
    const tables = chart.panels.map((panel) =>
      (panel.lines.some((line) => !line.joined) ? unitTable : valueTable)(panel),
    );
    details.append(...tables.map((table) => made("div", { class: "wide-table", tabindex: "0" }, table)));
  };
  details.addEventListener("toggle", build, { once: true });
  return details;
}

function valueTable(panel) {
  const found = panel.lines.map((line) => new Map(line.x.map((x, at) => [x, line.y[at]])));
  const xs = [...new Set(panel.lines.flatMap((line) => line.x))].sort((one, other) => one - other);
  const rows = xs.map((x) => [
    shownNumber(x, panel.x),
    ...found.map((values) => (values.has(x) ? shownNumber(values.get(x), panel.y) : "")),
  ]);
  const levels = panel.levels.map((level) => [level.label, shownNumber(level.y, panel.y)]);
  return tableOf([panel.title, panel.y.title], [panel.x.title, ...panel.lines.map(nameOfLine)], [...rows, ...levels]);
}

function unitTable(panel) {
  const rows = panel.lines.flatMap((line) =>
    line.x.map((x, at) => [line.label, line.units[at], shownNumber(x, panel.x), shownNumber(line.y[at], panel.y)]),
  );
  return tableOf([panel.title], ["gate", "unit", panel.x.title, panel.y.title], rows);
}

function tableOf(captions, titles, rows) {
  const cells = (name, texts) => texts.map((text) => made(name, {}, made("bdi", {}, String(text))));
  return made(
    "table",
    {},
    made("caption", {}, captions.filter(Boolean).join(": ")),
    made("thead", {}, made("tr", {}, ...cells("th", titles))),
    made("tbody", {}, ...rows.map((row) => made("tr", {}, ...cells("td", row)))),
  );
}
