// How characters are shown: those that nobody sees, or that would disturb the others, by a sign.

/** What stands for the beginning and for the end of an item, which are no characters. */
export const BEGIN = -1;
export const END = -2;

const SIGNS = new Map([
  [0x09, "⇥"],
  [0x0a, "↵"],
  [0x0d, "␍"],
  [BEGIN, "⊢"],
  [END, "∎"],
]);
const NAMES = new Map([
  [0x09, "tab"],
  [0x0a, "line end"],
  [0x0d, "carriage return"],
  [0x20, "space"],
  [BEGIN, "beginning"],
  [END, "end"],
  [0xa0, "no-break space"],
]);
// Controls, marks of direction, separators and halves of surrogate pairs; but not the joiners of emoji and of Persian.
const UNSEEN = /^(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]$/u;

/**
 * Return the text of a character and the sign to show beside it or in its place.
 *
 * @param {?number} code its code point, BEGIN or END; null for the unknown symbol.
 * @returns {{text: string, sign: ?string}} the text is empty where only the sign is to be shown.
 */
export function glyphOf(code) {
  if (code === null) return { text: "", sign: "�" };
  // Each item has its own line.
  if (code < 0) return { text: code === END ? "\n" : "", sign: SIGNS.get(code) };
  const text = String.fromCodePoint(code);
  const sign = SIGNS.get(code) ?? (UNSEEN.test(text) ? codeName(code) : null);
  return { text: sign === null || code === 0x0a || code === 0x09 ? text : "", sign };
}

/**
 * Return what to call a character in a sentence.
 *
 * @param {?number} code its code point; null for the unknown symbol.
 */
export function nameOf(code) {
  if (code === null) return "unknown character";
  const { text, sign } = glyphOf(code);
  return NAMES.get(code) ?? sign ?? text;
}

/** Return U+ and the number of a code point. */
export function codeName(code) {
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}
