// Texts as a network reads them: cleaned as its corpus was, in code points, as ids; see text/vocabulary.py.

import { BEGIN, END } from "./glyphs.js";

/** The symbols of a network. */
export class Vocabulary {
  /**
   * @param {object} model the data of a model.
   * @param {number[]} model.characters the code point of each id.
   * @param {boolean} model.has_unknown whether one more id stands for all other characters.
   * @param {?number} model.boundary the id that stands between items; null for a running text.
   * @param {?string} model.items what the items were: lines, files or separated.
   * @param {?string} model.separator what stood between those that were separated.
   * @param {"error" | "skip" | "replace"} model.unknown what becomes of other characters.
   * @param {object} model.clean how the corpus was cleaned.
   */
  constructor({ characters, has_unknown, boundary, items, separator, unknown, clean }) {
    this.characters = characters;
    this.hasUnknown = has_unknown;
    this.boundary = boundary;
    this.items = items;
    this.separator = separator;
    // Nothing can be replaced by an unknown symbol where there is none.
    this.policy = unknown === "replace" && !has_unknown ? "error" : unknown;
    this.clean = clean;
    this.size = characters.length + (has_unknown ? 1 : 0);
    this.ids = new Map(characters.map((code, id) => [code, id]));
  }

  /** Return the code point of an id, or END; null for the unknown symbol. */
  codeOf(id) {
    if (id === this.boundary) return END;
    return this.characters[id] ?? null;
  }

  /**
   * Return each character of a text with its id: null where it has none, the unknown symbol's where that stands for it.
   *
   * @param {string} text as it was typed.
   * @param {object} options
   * @param {boolean} options.isPrefix whether it may end within a line.
   * @returns {{code: number, id: ?number, isKnown: boolean}[]}
   */
  mark(text, { isPrefix }) {
    return Array.from(this.matched(cleaned(text, this.clean, isPrefix)), (character) => {
      const code = character.codePointAt(0);
      const id = this.ids.get(code);
      const isKnown = id !== undefined;
      return { code, id: isKnown ? id : this.policy === "replace" ? this.characters.length : null, isKnown };
    });
  }

  /** Return a text in the Unicode form in which the most of its characters are known; see text/forms.py. */
  matched(text) {
    const missing = (form) => new Set(Array.from(form).filter((each) => !this.ids.has(each.codePointAt(0)))).size;
    const forms = missing(text) === 0 ? [text] : [text, text.normalize("NFC"), text.normalize("NFD")];
    return forms.reduce((best, form) => (missing(form) < missing(best) ? form : best));
  }
}

/**
 * Return the characters of a text with their ids; items have a beginning before them, and an end after each.
 *
 * @param {string} text any text.
 * @param {Vocabulary} vocabulary the network's.
 * @returns {{code: number, id: ?number, isKnown: boolean}[]} see `Vocabulary.mark`.
 */
export function markedText(text, vocabulary) {
  const { boundary, items, separator } = vocabulary;
  if (boundary === null) return vocabulary.mark(text, { isPrefix: false });
  const texts = items === "lines" ? text.split(/\r\n?|\n/) : items === "files" ? [text] : text.split(separator);
  const marked = [{ code: BEGIN, id: boundary, isKnown: true }];
  for (const item of texts) {
    const whole = item.replace(/^[\r\n]+|[\r\n]+$/g, "");
    if (whole.trim() === "") continue;
    // A boundary within an item would end it.
    const characters = vocabulary.mark(whole, { isPrefix: false }).filter(({ id }) => id !== boundary);
    marked.push(...characters, { code: END, id: boundary, isKnown: true });
  }
  return marked;
}

/**
 * Return a text cleaned as a corpus was; see text/cleaning.py.
 *
 * @param {string} text any text.
 * @param {{newline: string, unicode: string, lowercase: boolean, letters: boolean}} clean the settings of that name.
 * @param {boolean} isPrefix whether it may end within a line.
 */
export function cleaned(text, clean, isPrefix) {
  let result = text;
  if (clean.newline === "lf" || clean.letters) result = result.replace(/\r\n?/g, "\n");
  if (clean.unicode === "nfc") result = result.normalize("NFC");
  if (clean.lowercase) result = result.toLowerCase();
  if (!clean.letters) return result;
  const spaced = result.replace(/[^A-Za-z\n]+/g, " ").toLowerCase();
  const joined = spaced.replaceAll(" \n", "\n").replaceAll("\n ", "\n").replaceAll("\n", "");
  return isPrefix ? joined : joined.trim();
}
