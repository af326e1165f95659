// The page's side of the worker: each task has one job at a time, and answers to older jobs are dropped.

/** Ask the worker, and pass on its answers. */
export class Client {
  /**
   * @param {string} script the page's own script, which the worker runs as well.
   * @param {(message: string) => void} fail is told in a sentence what went wrong.
   */
  constructor(script, fail) {
    this.jobs = new Map();
    this.count = 0;
    this.fail = (reason) => fail(`The network cannot be computed here: ${reason}`);
    try {
      this.worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    } catch (error) {
      this.worker = null;
      this.fail(String(error));
      return;
    }
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => this.fail(event.message ?? "this browser allows no workers");
  }

  /** Give a network to the worker; see `startWorker` for the messages. */
  open(message) {
    this.worker?.postMessage({ task: "open", ...message });
  }

  /**
   * Begin a job; it ends the task's last one.
   *
   * @param {string} task write, read or look.
   * @param {object} message see `startWorker`.
   * @param {(answer: object) => void} receive is called with each answer.
   */
  begin(task, message, receive) {
    this.count += 1;
    this.jobs.set(task, { job: this.count, receive });
    this.worker?.postMessage({ ...message, task, job: this.count });
  }

  /** End the job of a task; no more answers come. */
  stop(task) {
    this.jobs.delete(task);
    this.worker?.postMessage({ task: "stop", stopped: task });
  }

  receive(answer) {
    if (answer.failure !== undefined) this.fail(answer.failure);
    for (const [task, { job, receive }] of this.jobs) {
      if (job !== answer.job) continue;
      if (answer.isDone) this.jobs.delete(task);
      receive(answer);
    }
  }
}
