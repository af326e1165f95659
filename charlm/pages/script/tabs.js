// Tabs as the ARIA Authoring Practices describe them: arrow keys move between them, and only one is in the Tab order.

/**
 * Make tabs of the buttons of a list; each names its panel by `aria-controls`.
 *
 * @param {HTMLElement} list has the role `tablist`.
 * @param {(name: string) => void} onShow is called with the panel's id when it is shown.
 * @returns {(name: string) => void} shows the panel of an id.
 */
export function makeTabs(list, onShow = () => undefined) {
  const tabs = () => Array.from(list.querySelectorAll("[role=tab]")).filter((tab) => !tab.hidden);
  const show = (chosen, isMoved) => {
    for (const tab of tabs()) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    if (isMoved) chosen.focus();
    onShow(chosen.getAttribute("aria-controls"));
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) show(tab, false);
  });
  list.addEventListener("keydown", (event) => {
    const all = tabs();
    const at = all.indexOf(document.activeElement);
    const places = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 };
    if (!(event.key in places) || at < 0) return;
    event.preventDefault();
    show(all[(places[event.key] + all.length) % all.length], true);
  });
  return (name) => show(list.querySelector(`[aria-controls="${name}"]`), false);
}
