// Pictures wait here, so that the server never has more than two of ours at once.

const IN_FLIGHT = 2;

/** Works through jobs in order, a few at a time, until it is stopped or there are none. */
export class Queue {
  /**
   * @param {(job: object, signal: AbortSignal) => Promise<void>} work
   * @param {() => void} onChange called after every change of what can be seen below
   */
  constructor(work, onChange) {
    this.work = work;
    this.onChange = onChange;
    this.waiting = [];
    this.nFlying = 0;
    this.nDone = 0;
    this.stopped = false;
    this.controller = new AbortController();
  }

  get nTotal() {
    return this.nDone + this.nFlying + this.waiting.length;
  }

  get isBusy() {
    return this.nFlying > 0;
  }

  add(jobs) {
    if (!this.isBusy && !this.waiting.length) this.nDone = 0;
    this.waiting.push(...jobs);
    this.resume();
  }

  /** Stop: what is at the server is given up, and it and the rest wait. */
  stop() {
    this.stopped = true;
    this.controller.abort();
    this.onChange();
  }

  resume() {
    this.stopped = false;
    if (this.controller.signal.aborted) this.controller = new AbortController();
    this.start();
    this.onChange();
  }

  clear() {
    this.waiting = [];
    this.stop();
    this.nDone = 0;
  }

  start() {
    while (!this.stopped && this.nFlying < IN_FLIGHT && this.waiting.length) {
      this.run(this.waiting.shift(), this.controller.signal);
    }
  }

  async run(job, signal) {
    this.nFlying += 1;
    try {
      await this.work(job, signal);
      this.nDone += 1;
    } catch (error) {
      if (!signal.aborted) throw error;
      if (!job.dropped) this.waiting.unshift(job);
    } finally {
      this.nFlying -= 1;
      this.start();
      this.onChange();
    }
  }
}
