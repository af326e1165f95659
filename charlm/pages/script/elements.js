// Elements of HTML and SVG, made without markup, so that no text can become any.

// The name of a language, which only looks like an address.
const SVG_NAME = ["http:", "", "www.w3.org", "2000", "svg"].join("/");

/**
 * Return an element of HTML.
 *
 * @param {string} name such as `p`.
 * @param {object} attributes by their names; null leaves one out, and true gives one without a value.
 * @param {...(Node | string)} children what is in it; texts are only texts.
 * @returns {HTMLElement}
 */
export function made(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an element of SVG; see `made`. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG_NAME, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
