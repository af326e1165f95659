// How characters are shown: those that nobody sees, or that would disturb the others, by a sign.

const SIGNS = new Map([
  [0x09, "⇥"],
  [0x0a, "↵"],
  [0x0d, "␍"],
  [0xffff, "∎"],
]);
const NAMES = new Map([
  [0x09, "tab"],
  [0x0a, "line end"],
  [0x0d, "carriage return"],
  [0x20, "space"],
  [0xa0, "no-break space"],
]);
// Controls, marks of direction, separators and halves of surrogate pairs; but not the joiners of emoji and of Persian.
const UNSEEN = /^(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]$/u;

/**
 * Return the text of a character and the sign to show beside it or in its place.
 *
 * @param {?number} code its code point; null for the unknown symbol.
 * @returns {{text: string, sign: ?string}} the text is empty where only the sign is to be shown.
 */
export function glyphOf(code) {
  if (code === null) return { text: "", sign: "�" };
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
  if (code === 0xffff) return "end";
  const { text, sign } = glyphOf(code);
  return NAMES.get(code) ?? (sign === null ? text : sign);
}

/** Return U+ and the number of a code point. */
export function codeName(code) {
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}
