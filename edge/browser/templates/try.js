// Classifies photos, dropped images and camera frames with one file or two, side by side.
import {Model, prepare, threadsOf} from './litert.js';
import {fetchedModel} from './benchmark.js';
import {centerCrop, decode, draw, normalize, pixelsOf} from './pixels.js';

const TOP = 3;
const FRAMES = 10;

export class Classifier {
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

  /** Returns what the network sees in an image file. */
  async crop(blob) {
    return centerCrop(await decode(blob, this.config.input.orientation), this.config.input);
  }

  /** Returns each file's best classes, {name, ms, top: [{label, share}]}, for bytes that `crop` gives. */
  async classify(bytes) {
    await this.load();
    const found = [];
    for (const [i, entry] of this.entries.entries()) {
      const input = this.models[i].tensor(normalize(bytes, this.config.input));
      const start = performance.now();
      const outputs = await this.models[i].run(input);
      const ms = performance.now() - start;
      input.delete();
      found.push({name: entry.name, ms, top: this.best(entry.softmax ? outputs : softmax(outputs))});
    }
    return found;
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

/** Connects the page's second half. `use(task)` runs a task when nothing else uses LiteRT.js. */
export function connect(config, classifier, page, use, say) {
  const show = async (source, bytes) => {
    draw(page.seen, bytes, config.input);
    page.seenFigure.hidden = false;
    answer(page.answers, source, await classifier.classify(bytes));
  };
  const look = (blob) => use(async () => {
    say(`Classifying ${blob.name ?? 'the image'}`);
    page.answers.dataset.image = '';
    try {
      await show(blob.name ?? 'image', await classifier.crop(blob));
      say('Ready');
    } catch (problem) {
      say(`${blob.name ?? 'The image'} cannot be classified: ${problem.message}`, true);
    }
  });
  page.photo.addEventListener('change', () => {
    if (page.photo.files.length) look(page.photo.files[0]);
    page.photo.value = '';
  });
  connectDrop(page.drop, look);
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
    await use(() => show('camera', centerCrop(pixelsOf(video, video.videoWidth, video.videoHeight), config.input)));
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

function answer(place, source, found) {
  if (place.dataset.image !== source) recent.clear();
  place.replaceChildren(...found.map(({name, ms, top}) => {
    const times = [...(recent.get(name) ?? []), ms].slice(-FRAMES);
    recent.set(name, times);
    const mean = times.reduce((a, b) => a + b) / times.length;
    const box = element('div', {className: 'answers'}, element('h3', {}, ...wrapped(name)), element('p', {className: 'why'}, `${mean.toFixed(2)} ms per frame`));
    box.append(...top.map(({label, share}) => {
      const bar = element('div', {className: 'bar'});
      bar.style.width = `${100 * share}%`;
      const line = element('div', {className: 'answer'}, bar, element('span', {}, label), element('span', {}, `${(100 * share).toFixed(1)}%`));
      line.dataset.share = share;
      return line;
    }));
    return box;
  }));
  place.dataset.image = source;
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
