// The page's script, which the page and its worker both run.

import { Client } from "./client.js";
import { showLearn } from "./learn.js";
import { LookTab } from "./look.js";
import { ReadTab } from "./read.js";
import { makeTabs } from "./tabs.js";
import { Vocabulary } from "./vocabulary.js";
import { startWorker } from "./worker.js";
import { WriteTab } from "./write.js";

if (typeof document === "undefined") startWorker(self);
else startPage(document.currentScript.textContent);

function startPage(script) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const models = data.models.map((model, number) => ({ number, data: model, vocabulary: new Vocabulary(model) }));
  const client = new Client(script, fail);
  for (const { number, data: model, vocabulary } of models) {
    const block = document.getElementById(`weights-${number}`);
    const { settings, tensors } = model;
    client.open({ model: number, settings, tensors, vocabSize: vocabulary.size, base64: block.textContent });
    block.remove();
  }
  let chosen = models[0];
  const write = new WriteTab(client, () => chosen);
  const read = new ReadTab(client, () => chosen);
  const look = new LookTab(
    client,
    () => chosen,
    () => read.text() || write.text(),
  );
  const select = document.getElementById("model");
  select.append(...models.map(({ number, data: model }) => new Option(model.name, String(number))));
  document.getElementById("models").hidden = models.length < 2;
  const choose = (number) => {
    chosen = models[number];
    introduce(chosen);
    for (const tab of [write, read, look]) tab.reset();
  };
  select.addEventListener("change", () => choose(Number(select.value)));
  choose(0);
  document.getElementById("made").textContent = `charlm ${data.version} wrote it.`;
  document.getElementById("tab-learn").hidden = data.learn === null;
  if (data.learn !== null) showLearn(document.getElementById("learn"), data.learn);
  makeTabs(document.querySelector("[role=tablist]"), (name) => name === "look" && look.open());
}

/** Say which network it is. */
function introduce({ data }) {
  const { settings } = data;
  const layers = settings.num_layers === 1 ? "1 layer" : `${settings.num_layers} layers`;
  const facts = [
    `${settings.cell.toUpperCase()}, ${layers} of ${settings.hidden_size}`,
    `${data.parameters.toLocaleString("en")} weights`,
    `${data.characters.length.toLocaleString("en")} characters`,
    `step ${data.step.toLocaleString("en")}`,
  ];
  if (data.bits_per_char !== null) facts.push(`${data.bits_per_char.toFixed(3)} bits per character on validation`);
  if (data.license) facts.push(`licence: ${data.license}`);
  document.getElementById("name").textContent = data.name;
  document.title = `${data.name} – charlm`;
  document.getElementById("facts").textContent = facts.join(" · ");
  const note = document.getElementById("note");
  note.hidden = data.note === null;
  note.textContent = data.note ?? "";
}

function fail(message) {
  const failure = document.getElementById("failure");
  failure.textContent = message;
  failure.hidden = false;
}
