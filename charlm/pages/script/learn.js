// The tab Learn: how the network came to be.

/**
 * Show what happened while a network learned.
 *
 * @param {HTMLElement} root the tab's panel, which is empty.
 * @param {object} data the page's data under the name `learn`.
 */
export function showLearn(root, data) {
  root.textContent = String(data.title ?? "");
}
