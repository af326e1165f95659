// The uniform numbers of samples: NumPy's PCG64, seeded by SeedSequence([seed, sample]), as in generation/draws.py.
// PCG64: O'Neill 2014, "PCG: A family of simple fast space-efficient statistically good algorithms" (XSL-RR 128/64).

const MASK_128 = (1n << 128n) - 1n;
const MASK_64 = (1n << 64n) - 1n;
const MULTIPLIER = 47026247687942121848144207491837523525n;
const POOL_WORDS = 4;

/**
 * Return the words that SeedSequence mixes of an entropy.
 *
 * @param {bigint[]} entropy whole numbers from 0 on.
 * @param {number} count how many words.
 * @returns {Uint32Array} the words, (count,).
 */
export function seedWords(entropy, count) {
  const pool = mixEntropy(entropy.flatMap(wordsOf));
  const words = new Uint32Array(count);
  let constant = 0x8b51f9dd;
  for (let place = 0; place < count; place++) {
    const value = pool[place % POOL_WORDS] ^ constant;
    constant = Math.imul(constant, 0x58f38ded);
    words[place] = folded(Math.imul(value, constant));
  }
  return words;
}

/** The uniform numbers of one sample of a seed, one after another, from any place on. */
export class UniformNumbers {
  /**
   * @param {bigint} seed the random seed, from 0 on.
   * @param {number} sample the number of the sample.
   * @param {number} start how many numbers of the sequence come before the first.
   */
  constructor(seed, sample, start = 0) {
    const words = seedWords([seed, BigInt(sample)], 8);
    const pairs = [0, 2, 4, 6].map((at) => (BigInt(words[at + 1]) << 32n) | BigInt(words[at]));
    this.increment = ((((pairs[2] << 64n) | pairs[3]) << 1n) | 1n) & MASK_128;
    this.state = 0n;
    this.advance(1);
    this.state = (this.state + ((pairs[0] << 64n) | pairs[1])) & MASK_128;
    this.advance(1 + start);
  }

  /** Return the next number, in [0, 1). */
  next() {
    this.advance(1);
    const mixed = (this.state >> 64n) ^ (this.state & MASK_64);
    const turn = this.state >> 122n;
    const bits = ((mixed >> turn) | (mixed << (64n - turn))) & MASK_64;
    return Number(bits >> 11n) / 2 ** 53;
  }

  /** Leave out some numbers: the steps of a linear congruential generator join to one (Brown 1994). */
  advance(steps) {
    let [factor, sum] = [MULTIPLIER, this.increment];
    for (let left = steps; left > 0; left = Math.floor(left / 2)) {
      if (left % 2 === 1) this.state = (this.state * factor + sum) & MASK_128;
      sum = ((factor + 1n) * sum) & MASK_128;
      factor = (factor * factor) & MASK_128;
    }
  }
}

function mixEntropy(entropy) {
  let constant = 0x43b0d7e5;
  const hashed = (word) => {
    const value = word ^ constant;
    constant = Math.imul(constant, 0x931e8875);
    return folded(Math.imul(value, constant));
  };
  const pool = Array.from({ length: POOL_WORDS }, (_, at) => hashed(entropy[at] ?? 0));
  for (let from = 0; from < POOL_WORDS; from++)
    for (let to = 0; to < POOL_WORDS; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  for (const word of entropy.slice(POOL_WORDS))
    for (let to = 0; to < POOL_WORDS; to++) pool[to] = mixed(pool[to], hashed(word));
  return pool;
}

function mixed(a, b) {
  return folded(Math.imul(0xca01f9dd, a) - Math.imul(0x4973f715, b));
}

function folded(word) {
  return word ^ (word >>> 16);
}

/** Return a whole number as words of 32 bits, the lowest first; 0 has one word. */
function wordsOf(number) {
  const words = [];
  for (let left = number; left > 0n || words.length === 0; left >>= 32n) words.push(Number(left & 0xffffffffn));
  return words;
}
