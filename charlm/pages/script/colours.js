// The scales, in steps that the style sheet gives colours to; blue to orange, which colour-blind people can tell apart.

/** From this many bits on, a surprise has the last colour. */
export const MOST_BITS = 8;
const STEPS = 8;

/**
 * Return the step of a surprise, 0 to 8.
 *
 * @param {number} bits from 0 on.
 */
export function surpriseStep(bits) {
  return Math.min(STEPS, Math.round((bits / MOST_BITS) * STEPS));
}

/**
 * Return the step of a value, -8 to 8.
 *
 * @param {number} value of a unit or a gate.
 * @param {number} largest the size of the value that has the last colour.
 */
export function valueStep(value, largest) {
  if (largest === 0) return 0;
  return Math.max(-STEPS, Math.min(STEPS, Math.round((value / largest) * STEPS)));
}

/**
 * Return the colours of the steps -8 to 8 as the style sheet has them, for a canvas.
 *
 * @param {Element} element any element of the page.
 * @returns {number[][]} red, green and blue, by step + 8.
 */
export function stepColours(element) {
  const style = getComputedStyle(element);
  const [cold, none, hot] = ["--strip-cold", "--paper", "--strip-hot"].map((name) =>
    channels(style.getPropertyValue(name).trim()),
  );
  return Array.from({ length: 2 * STEPS + 1 }, (_, at) => {
    const share = Math.abs(at - STEPS) / STEPS;
    const end = at < STEPS ? cold : hot;
    return none.map((channel, c) => Math.round(channel + share * (end[c] - channel)));
  });
}

function channels(hex) {
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
}
