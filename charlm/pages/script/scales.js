// The scales of charts: where a value is, which ticks there are, and how numbers are written.

const ROUND = [1, 2, 5, 10];
// Around the points, so that none lies on the frame.
const MARGIN = 0.04;
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/**
 * Return the scale of an axis.
 *
 * @param {object} axis `log`, `whole`, `share` and `zero`; see charts.py.
 * @param {number[]} values what must have a place; those that a logarithm does not have are left out.
 * @param {number} from the place of the smallest value.
 * @param {number} to the place of the largest value.
 * @param {number} most about how many ticks there is room for.
 * @returns {{place: (value: number) => number, ticks: {at: number, label: string}[]}}
 */
export function makeScale(axis, values, from, to, most) {
  const finite = values.filter((value) => Number.isFinite(value) && (!axis.log || value > 0));
  const change = axis.log ? Math.log10 : (value) => value;
  const [low, high] = domainOf(axis, finite, change);
  const place = (value) => from + ((change(value) - low) / (high - low)) * (to - from);
  const found = axis.log ? logTicks(10 ** low, 10 ** high, most) : linearTicks(low, high, most, axis.whole);
  return { place, ticks: found.map((value) => ({ at: place(value), label: tickLabel(axis, value) })) };
}

function domainOf(axis, finite, change) {
  if (axis.share) return [-MARGIN, 1 + MARGIN];
  if (finite.length === 0) return [0, 1];
  const least = finite.reduce((least, value) => Math.min(least, value));
  const most = finite.reduce((most, value) => Math.max(most, value));
  const low = axis.zero ? Math.min(0, least) : change(least);
  const high = change(most);
  // All values may be the same.
  const margin = (high - low || Math.abs(high) || 1) * MARGIN;
  return [axis.zero ? low : low - margin, high + margin];
}

function linearTicks(low, high, most, isWhole) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const fitting = ROUND.find((each) => each * power >= rough) * power;
  // Within one epoch, there are no whole numbers to tell places by.
  const step = isWhole && high - low > 1 ? Math.max(1, Math.round(fitting)) : fitting;
  const first = Math.ceil(low / step - 1e-9);
  const number = Math.max(0, Math.floor(high / step + 1e-9) - first + 1);
  return Array.from({ length: number }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

/** Return powers of ten, or, where these are few, 1, 2 and 5 times those. */
function logTicks(low, high, most) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const between = (value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9);
  const every = Math.max(1, Math.ceil((last - first) / Math.max(1, most)));
  const powers = Array.from({ length: last - first + 1 }, (_, at) => first + at);
  const tens = powers.filter((power) => power % every === 0).map((power) => 10 ** power);
  if (tens.filter(between).length > 2) return tens.filter(between);
  const finer = powers.flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power)).filter(between);
  return finer.length > 1 ? finer : linearTicks(low, high, most, false);
}

function tickLabel(axis, value) {
  if (axis.share) return `${Math.round(100 * value)} %`;
  const size = Math.abs(value);
  if (axis.log && size > 0 && (size < 1e-3 || size >= 1e5)) return powerLabel(value);
  if (size >= 1e6) return `${plainNumber(value / 1e6)}M`;
  if (size >= 1e4) return `${plainNumber(value / 1e3)}k`;
  return plainNumber(value);
}

/** Return a number as 3·10⁻⁵. */
function powerLabel(value) {
  const [digits, power] = value.toExponential(1).split("e");
  const raised = Array.from(String(Number(power)), (each) => (each === "-" ? "⁻" : SUPERSCRIPTS[Number(each)]));
  return `${Number(digits) === 1 ? "" : `${Number(digits)}·`}10${raised.join("")}`;
}

/**
 * Return a number as a person reads it, with four digits.
 *
 * @param {?number} value null for one that is unknown.
 * @param {{share?: boolean}} axis whose number it is.
 */
export function shownNumber(value, axis = {}) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (axis.share) return `${(100 * value).toFixed(1)} %`;
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) < 1e-3 ? powerLabel(value) : plainNumber(value);
}

function plainNumber(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}
