// Tries photos, dropped images and camera frames with one file or two, side by side.
import {Model, prepare, threadsOf} from './litert.js';
import {fetched, fetchedModel} from './benchmark.js';
import {decode, imageOf, networkInput, normalize, pixelsOf} from './pixels.js';

const TOP = 3;
const FRAMES = 10;

/** The files to try, loaded when they are needed. */
export class Networks {
  constructor(config) {
    this.config = config;
    this.entries = config.shown.map((name) => config.files.find((file) => file.name === name));
    this.models = null;
  }

  /** Loads the files; another accelerator's build of LiteRT.js ends the ones loaded before. */
  async load() {
    if (this.models) return;
    const threads = await threadsOf('wasm', this.config.measure.threads);
    await prepare('wasm', threads);
    const models = [];
    for (const entry of this.entries) models.push(await Model.load(await fetchedModel(entry), 'wasm', threads));
    this.models = models;
  }

  /** Forgets the files; to be called before anything else uses LiteRT.js. */
  unload() {
    for (const model of this.models ?? []) model.delete();
    this.models = null;
  }

  /** Returns what each file says, {name, ms, outputs}, for bytes that `networkInput` gives. */
  async run(bytes) {
    await this.load();
    const found = [];
    for (const [i, entry] of this.entries.entries()) {
      const input = this.models[i].tensor(normalize(bytes, this.config.input, entry.levels));
      const start = performance.now();
      const outputs = await this.models[i].run(input);
      const ms = performance.now() - start;
      input.delete();
      found.push({name: entry.name, ms, outputs});
    }
    return found;
  }
}

/** The page's answers of a classifier: what the network sees, and each file's best classes. */
export class Classes {
  constructor(config, page) {
    [this.config, this.page] = [config, page];
    [this.doing, this.done] = ['Classifying', 'classified'];
  }

  /** Shows what the files say of an image; `bytes` are what they saw of it. */
  show(source, image, bytes, found) {
    const {answers, seen, seenFigure} = this.page;
    seen.width = seen.height = this.config.input.size;
    seen.getContext('2d').putImageData(imageOf(bytes, this.config.input), 0, 0);
    seenFigure.hidden = false;
    answers.replaceChildren(...meanTimes(answers, source, found).map((one) => this.answer(one)));
    answers.dataset.image = source;
  }

  answer({name, ms, outputs}) {
    const entry = this.config.files.find((file) => file.name === name);
    const box = element('div', {className: 'answers'}, element('h3', {}, ...wrapped(name)), element('p', {className: 'why'}, `${ms.toFixed(2)} ms per frame`));
    box.append(...this.best(entry.softmax ? outputs : softmax(outputs)).map(({label, share}) => {
      const bar = element('div', {className: 'bar'});
      bar.style.width = `${100 * share}%`;
      const line = element('div', {className: 'answer'}, bar, element('span', {}, label), element('span', {}, `${(100 * share).toFixed(1)}%`));
      line.dataset.share = share;
      return line;
    }));
    return box;
  }

  best(shares) {
    const order = Array.from(shares.keys()).sort((a, b) => shares[b] - shares[a]);
    return order.slice(0, TOP).map((i) => ({label: this.config.labels[i], share: shares[i]}));
  }
}

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/**
 * Connects the page's second half.
 *
 * `view` shows answers: `Classes`, or the detector's `Boxes`. `use(task)` runs a task when nothing else
 * uses LiteRT.js.
 */
export function connect(config, networks, view, page, use, say) {
  const show = async (source, image, bytes = networkInput(image, config.input)) => {
    view.show(source, image, bytes, await networks.run(bytes));
  };
  const look = (name, load) => use(async () => {
    say(`${view.doing} ${name}`);
    page.answers.dataset.image = '';
    try {
      await show(name, ...(await load()));
      say('Ready');
    } catch (problem) {
      say(`${name} cannot be ${view.done}: ${problem.message}`, true);
    }
  });
  const lookAt = (blob) => look(blob.name ?? 'the image', async () => [await decode(blob, config.input.orientation)]);
  page.photo.addEventListener('change', () => {
    if (page.photo.files.length) lookAt(page.photo.files[0]);
    page.photo.value = '';
  });
  connectDrop(page.drop, lookAt);
  connectSamples(config, page.sample, look);
  connectCamera(config, page, use, show, say);
}

function connectDrop(place, look) {
  const over = (on) => (event) => {
    event.preventDefault();
    place.classList.toggle('over', on);
  };
  for (const name of ['dragenter', 'dragover']) document.addEventListener(name, over(true));
  document.addEventListener('dragleave', over(false));
  document.addEventListener('drop', (event) => {
    over(false)(event);
    if (event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
  });
}

/** Shows the images on which outputs are compared, one after the other; not noise. */
function connectSamples(config, button, look) {
  button.hidden = !config.samples.real;
  let next = 0;
  button.addEventListener('click', () => {
    const length = config.input.size ** 2 * config.input.channels;
    const place = next++ % config.samples.images;
    look(`sample ${place + 1}`, async () => {
      const all = await fetched('samples.bin');
      const bytes = all.subarray(place * length, (place + 1) * length);
      return [imageOf(bytes, config.input), bytes];
    });
  });
}

function connectCamera(config, page, use, show, say) {
  const {camera, cameraNote, video} = page;
  if (!navigator.mediaDevices?.getUserMedia) {
    camera.disabled = true;
    cameraNote.hidden = false;
    cameraNote.textContent = 'The live camera needs https or localhost; choosing or taking a photo works without.';
    return;
  }
  let stream = null;
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.hidden = true;
    camera.textContent = 'Live camera';
  };
  const frame = async () => {
    if (!stream) return;
    await use(() => show('camera', pixelsOf(video, video.videoWidth, video.videoHeight)));
    requestAnimationFrame(() => frame().catch(fail));
  };
  const fail = (problem) => {
    stop();
    say(`The camera cannot be used: ${problem.message}`, true);
  };
  camera.addEventListener('click', async () => {
    if (stream) return stop();
    try {
      stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment'}});
      video.srcObject = stream;
      await video.play();
      video.hidden = false;
      camera.textContent = 'Stop the camera';
      await frame();
    } catch (problem) {
      fail(problem);
    }
  });
}

const recent = new Map();

/** Returns what was found with the mean times of the last frames from this source. */
export function meanTimes(place, source, found) {
  if (place.dataset.image !== source) recent.clear();
  return found.map((one) => {
    const times = [...(recent.get(one.name) ?? []), one.ms].slice(-FRAMES);
    recent.set(one.name, times);
    return {...one, ms: times.reduce((a, b) => a + b) / times.length};
  });
}

/** Returns a file's name as nodes that may wrap after each underscore. */
export function wrapped(name) {
  const parts = name.replace(/\.tflite$/, '').split('_');
  return parts.flatMap((part, i) => (i < parts.length - 1 ? [`${part}_`, document.createElement('wbr')] : [part]));
}

export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
