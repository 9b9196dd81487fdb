// Measures files in turns, run by run, as `shufflenet benchmark` does on other devices.
import {Model, breathe, describe, missing, prepare, threadsOf} from './litert.js';
import {normalize} from './pixels.js';

// The warm-up ends when the medians of two consecutive windows differ by at most this share.
const WINDOW = 10;
const STABLE = 0.03;
const MOST_WINDOWS = 30;
const MOST_MS = 10_000;
// A time must be so many steps of the browser's clock; faster networks run several times for one.
const STEPS = 20;
const MOST_PER_TIME = 1000;
const BREATH_MS = 100;
const CHECKPOINT_MS = 2000;

/** A measurement that the user stopped. */
export class Stopped extends Error {}

/**
 * Measures the planned files with each accelerator.
 *
 * `on.state(text, share)`, `on.rows(pass)` and `on.message(message)` are called as it goes on; what a
 * message says is all that there is so far. `signal` is an AbortSignal.
 */
export async function measure(config, accelerators, signal, on) {
  const run = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const machine = await describe();
  const timer = clockStep();
  const turn = new Turn(signal);
  on.state('Fetching the images', 0);
  const samples = await fetched('samples.bin');
  let error = null;
  for (const accelerator of accelerators) {
    const pass = newPass(config, accelerator, timer);
    const send = () => {
      on.rows(pass);
      return on.message({run, machine, pass});
    };
    try {
      await measurePass(config, pass, samples, turn, on, send);
    } catch (problem) {
      if (problem instanceof Stopped) {
        pass.leaving = true;
        send();
        on.message({run, finished: true, error: 'stopped on the page'});
        throw problem;
      }
      error = `${accelerator}: ${problem.message}`;
      for (const file of pass.files) file.error ??= problem.message;
    }
    pass.complete = true;
    pass.interruptions = turn.interruptions;
    await send();
  }
  await on.message({run, finished: true, error});
}

function newPass(config, accelerator, timer) {
  return {
    accelerator,
    threads: 1,
    warmup: 0,
    warmup_stable: null,
    timer_ms: timer,
    per_time: 1,
    interruptions: 0,
    isolated: crossOriginIsolated,
    complete: false,
    files: config.measure.files.map((name) => ({
      file: name,
      sha256: config.files.find((file) => file.name === name).sha256,
      initialization_ms: null,
      first_ms: null,
      outputs: null,
      right: null,
      ap: null,
      milliseconds: [],
      error: null,
    })),
  };
}

async function measurePass(config, pass, samples, turn, on, send) {
  const why = await missing(pass.accelerator);
  if (why) {
    for (const file of pass.files) file.error = why;
    return;
  }
  const {threads, warmup, runs, cooldown} = config.measure;
  pass.threads = await threadsOf(pass.accelerator, threads);
  on.state(`Loading LiteRT.js for ${pass.accelerator}`, 0);
  await prepare(pass.accelerator, pass.threads);
  const loaded = [];
  try {
    for (const file of pass.files) {
      try {
        loaded.push(await measureAlone(config, pass, file, samples, turn, on));
      } catch (problem) {
        if (problem instanceof Stopped) throw problem;
        file.error = problem.message || String(problem);
      }
    }
    // If they are sent, a detector's AP comes back, which takes seconds.
    on.state('Storing the outputs', null);
    await send();
    if (!loaded.length) return;
    on.state(`Warming up on ${pass.accelerator}`, null);
    await warmUp(loaded, pass, warmup, turn);
    await timedRounds(loaded, pass, runs, cooldown, turn, on, send);
  } finally {
    for (const {model} of loaded) model.delete();
  }
}

/** Loads a file, runs it once, and then on all images. */
async function measureAlone(config, pass, file, samples, turn, on) {
  const entry = config.files.find(({name}) => name === file.file);
  const bytes = await fetchedModel(entry);
  const start = performance.now();
  const model = await Model.load(bytes, pass.accelerator, pass.threads);
  file.initialization_ms = performance.now() - start;
  try {
    const length = config.input.size ** 2 * config.input.channels;
    const pixels = (i) => samples.subarray(i * length, (i + 1) * length);
    const tensor = (i) => model.tensor(normalize(pixels(i), config.input, entry.levels));
    const input = tensor(0);
    const begin = performance.now();
    await model.run(input);
    file.first_ms = performance.now() - begin;
    const count = config.samples.images;
    const outputs = [];
    for (let i = 0; i < count; i++) {
      const image = tensor(i);
      outputs.push(await model.run(image));
      image.delete();
      await turn.breathe(() => on.state(`${file.file}, ${pass.accelerator}: image ${i + 1} of ${count}`, i / count));
    }
    note(file, outputs, config.samples.labels);
    return {model, input, file};
  } catch (problem) {
    model.delete();
    throw problem;
  }
}

function note(file, outputs, labels) {
  const all = new Float32Array(outputs.length * outputs[0].length);
  outputs.forEach((values, i) => all.set(values, i * values.length));
  file.outputs = base64(all);
  if (labels) file.right = outputs.filter((values, i) => best(values) === labels[i]).length;
}

function best(values) {
  return values.indexOf(Math.max(...values));
}

async function warmUp(loaded, pass, least, turn) {
  if (!least) return;
  const start = performance.now();
  await rounds(loaded, least, 1, turn);
  let previous = null;
  for (let window = 1; window <= MOST_WINDOWS; window++) {
    const medians = (await rounds(loaded, WINDOW, pass.per_time, turn)).map(median);
    pass.warmup = least + window * WINDOW;
    const fastest = Math.min(...medians);
    if (fastest * pass.per_time < STEPS * pass.timer_ms) {
      // Not seen by this clock: more inferences for one time, and the window does not count.
      pass.per_time = Math.min(MOST_PER_TIME, Math.ceil((STEPS * pass.timer_ms) / Math.max(fastest, pass.timer_ms / STEPS)));
      previous = null;
    } else {
      pass.warmup_stable = previous !== null && medians.every((one, i) => Math.abs(one / previous[i] - 1) <= STABLE);
      previous = medians;
    }
    if (pass.warmup_stable || performance.now() - start > MOST_MS) break;
  }
  pass.warmup_stable ??= false;
}

async function timedRounds(loaded, pass, runs, cooldown, turn, on, send) {
  let sent = performance.now();
  for (let done = 0; done < runs; done++) {
    const show = () => {
      on.state(`${pass.accelerator}: run ${done + 1} of ${runs}`, (done + 1) / runs);
      on.rows(pass);
    };
    if (cooldown) {
      await new Promise((resolve) => setTimeout(resolve, 1e3 * cooldown));
      // A processor that has rested runs slowly at first.
      await rounds(loaded, 1, pass.per_time, turn, show);
    }
    const times = await rounds(loaded, 1, pass.per_time, turn, show);
    // Nanoseconds are enough, and shorter to send.
    times.forEach(([time], i) => loaded[i].file.milliseconds.push(Math.round(time * 1e6) / 1e6));
    pass.interruptions = turn.interruptions;
    if (performance.now() - sent > CHECKPOINT_MS) {
      sent = performance.now();
      send();
    }
  }
}

/**
 * Returns the times of each model in some rounds; each time is the mean of `perTime` inferences.
 *
 * The browser gets a moment for the user every BREATH_MS, and `show()` is called just before it.
 */
async function rounds(loaded, count, perTime, turn, show = () => {}) {
  const times = loaded.map(() => []);
  for (let i = 0; i < count; i++) {
    await turn.awake(async () => {
      for (const {model, input} of loaded) await model.run(input);
    });
    for (const [k, {model, input}] of loaded.entries()) {
      const start = performance.now();
      for (let n = 0; n < perTime; n++) await model.run(input);
      times[k].push((performance.now() - start) / perTime);
    }
    await turn.breathe(show);
  }
  return times;
}

/** Gives the browser moments for the user, waits while the tab is hidden, and notices a stop. */
class Turn {
  constructor(signal) {
    this.signal = signal;
    this.interruptions = 0;
    this.last = performance.now();
  }

  /** Waits until the tab is seen: a hidden one runs slowly. `again` warms up after a pause. */
  async awake(again) {
    if (this.signal.aborted) throw new Stopped();
    if (!document.hidden) return;
    this.interruptions++;
    while (document.hidden) {
      await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, {once: true}));
    }
    await again();
  }

  async breathe(show) {
    if (performance.now() - this.last < BREATH_MS) return;
    show();
    await breathe();
    this.last = performance.now();
    if (this.signal.aborted) throw new Stopped();
  }
}

/** Returns the smallest step of the clock, in milliseconds. */
function clockStep() {
  let least = Infinity;
  for (let i = 0; i < 10; i++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    least = Math.min(least, now - start);
  }
  return least;
}

export function median(values) {
  return percentile(values, 0.5);
}

/** Returns a percentile as NumPy does, by linear interpolation. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

/** Returns a file of the site as bytes. */
export async function fetched(url) {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url} cannot be fetched (${reply.status}); is the server still there?`);
  return new Uint8Array(await reply.arrayBuffer());
}

/** Returns a model, checked where the browser can (only https and localhost have the function). */
export async function fetchedModel(entry) {
  const bytes = await fetched(entry.url);
  if (crypto.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (found !== entry.served_sha256) throw new Error(`${entry.name} is damaged: its hash differs; export the page again`);
  }
  return bytes;
}

function base64(values) {
  const bytes = new Uint8Array(values.buffer);
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
