// From logits to a character: the filters of generation/filters.py in their order, and the draw of generation/draws.py.

/**
 * Return the probabilities of logits, without filters.
 *
 * @param {Float64Array} logits (V,).
 * @returns {Float64Array} (V,), which add up to 1.
 */
export function softmax(logits) {
  const largest = largestOf(logits);
  return scaled(logits.map((logit) => Math.exp(logit - largest)));
}

/**
 * Return the filtered probabilities of logits.
 *
 * @param {Float64Array} logits (V,), without the unknown symbol, which is never drawn.
 * @param {{temperature: number, topK?: number, topP?: number, minP?: number}} filters as those of `charlm generate`.
 * @returns {Float64Array} (V,), which add up to 1.
 */
export function filterLogits(logits, { temperature, topK = null, topP = null, minP = null }) {
  const largest = largestOf(logits);
  if (temperature === 0) {
    const likeliest = logits.indexOf(largest);
    return logits.map((_, id) => (id === likeliest ? 1 : 0));
  }
  // Shift the largest logit to 0 first, so that a tiny temperature cannot overflow.
  let weights = logits.map((logit) => Math.exp((logit - largest) / temperature));
  if (topK !== null && topK < weights.length) {
    const order = inOrder(weights);
    for (const id of order.subarray(topK)) weights[id] = 0;
  }
  if (topP !== null) weights = nucleus(scaled(weights), topP);
  if (minP !== null) {
    const floor = minP * largestOf(weights);
    weights = weights.map((weight) => (weight >= floor ? weight : 0));
  }
  return scaled(weights);
}

/**
 * Return the id at which the distribution function passes a uniform number.
 *
 * @param {Float64Array} probabilities (V,).
 * @param {number} uniform in [0, 1).
 */
export function drawId(probabilities, uniform) {
  const target = uniform * sumOf(probabilities);
  let below = 0;
  for (let id = 0; id < probabilities.length; id++) {
    below += probabilities[id];
    if (below > target) return id;
  }
  return probabilities.length - 1;
}

/**
 * Return the ids of the largest weights, the largest first; of equals, the lower id comes first.
 *
 * @param {Float64Array} weights (V,).
 * @param {number} count how many.
 * @returns {number[]}
 */
export function likeliestIds(weights, count) {
  const found = [];
  for (let id = 0; id < weights.length; id++) {
    let place = found.length;
    while (place > 0 && weights[found[place - 1]] < weights[id]) place--;
    if (place >= count) continue;
    found.splice(place, 0, id);
    if (found.length > count) found.pop();
  }
  return found;
}

function nucleus(weights, limit) {
  let before = 0;
  for (const id of inOrder(weights)) {
    const weight = weights[id];
    // The running sum less its last term, as NumPy rounds it in filters.py.
    if (!(before + weight - weight < limit)) weights[id] = 0;
    before += weight;
  }
  return weights;
}

/** Return the ids from the largest weight to the smallest; sorting keeps the order of equals. */
function inOrder(weights) {
  return Uint32Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a]);
}

function largestOf(numbers) {
  let largest = numbers[0];
  for (const number of numbers) if (number > largest) largest = number;
  return largest;
}

function sumOf(numbers) {
  let sum = 0;
  for (const number of numbers) sum += number;
  return sum;
}

function scaled(weights) {
  const sum = sumOf(weights);
  return weights.map((weight) => weight / sum);
}
