// The worker: it holds the networks and does all arithmetic, so that the page is never frozen.

import { Network } from "./network.js";
import { decodeTensors } from "./weights.js";
import { layerRecorder, readText, Writer } from "./writer.js";

// It looks for messages this often, and passes on what it has.
const SLICE_MS = 25;

/**
 * Answer the messages of a page.
 *
 * Each has a `task`, by which a later message of the same task ends an earlier one, and a `job`, which the answers repeat:
 * `{task: "open", model, settings, tensors, vocabSize, base64}` takes a network;
 * `{task: "write", model, ids, numCharacters, seed, start, filters, length, end}` answers with `characters`;
 * `{task: "read", model, ids, boundary, layer}` as well, as `look`, and at last with `parts` where a layer is given.
 * An answer with `failure` says what went wrong. The last answer has `isDone`; `{task: "stop", stopped}` ends a task without one.
 *
 * @param {DedicatedWorkerGlobalScope} scope the worker.
 */
export function startWorker(scope) {
  const networks = new Map();
  const jobs = new Map();
  const tasks = {
    write: (message) => written(networks.get(message.model), message),
    read: (message) => read(networks.get(message.model), message),
    look: (message) => read(networks.get(message.model), message),
  };
  scope.onmessage = async ({ data: message }) => {
    const { task, job } = message;
    try {
      if (task === "open") networks.set(message.model, opened(message));
      else if (task === "stop") jobs.delete(message.stopped);
      else {
        jobs.set(task, job);
        await answer(scope, tasks[task](message), job, () => jobs.get(task) === job);
      }
    } catch (error) {
      scope.postMessage({ failure: String(error) });
    }
  };
}

function opened({ settings, tensors, vocabSize, base64 }) {
  return new Network(settings, decodeTensors(base64, tensors), vocabSize);
}

function* written(network, { ids, numCharacters, seed, start, filters, length, end }) {
  const writer = new Writer(network, ids, { numCharacters, seed: BigInt(seed), start, filters });
  for (let count = 0; count < length; count++) {
    const character = writer.next();
    yield character;
    if (character.id === end) return {};
  }
  return {};
}

function* read(network, { ids, boundary, layer }) {
  if (layer === null) {
    yield* readText(network, ids, boundary);
    return {};
  }
  const { parts, watch } = layerRecorder(network, layer, ids.length);
  yield* readText(network, ids, boundary, watch);
  return { parts };
}

async function answer(scope, characters, job, isWanted) {
  for (let result = { done: false }; !result.done; await nextTurn()) {
    if (!isWanted()) return;
    const piece = [];
    const until = performance.now() + SLICE_MS;
    while (performance.now() < until && !result.done) {
      result = characters.next();
      if (!result.done) piece.push(result.value);
    }
    scope.postMessage({ job, characters: piece, isDone: result.done, ...(result.done ? result.value : {}) });
  }
}

/** Let messages that have come be answered; a timer would wait for milliseconds. */
function nextTurn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
