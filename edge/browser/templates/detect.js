// What a detector finds: from its raw output to boxes, as common/detection does it, and on the page.
import {element, meanTimes, wrapped} from './try.js';

const SIDES = 4;
// Of the longer side of a photo on the page.
const MOST_SIDE = 1024;
const [LINE, TEXT] = [200, 30];
// Neighbours in this order differ most: the golden ratio.
const TURN = 0.618034;

/**
 * Returns what is found, best first: {box: [left, top, right, bottom], score, label}.
 *
 * `raw` is one image's output [points, 4 + classes]; `decode` is the manifest's; boxes are in pixels of
 * the network's input. A lower score than `least` is no detection.
 */
export function findBoxes(raw, decode, least = decode.min_score) {
  const width = SIDES + decode.classes;
  const found = [];
  for (const [index, {x, y, stride}] of points(decode).entries()) {
    const start = index * width;
    for (let label = 0; label < decode.classes; label++) {
      const score = 1 / (1 + Math.exp(-raw[start + SIDES + label]));
      if (score < least) continue;
      const [left, top, right, bottom] = Array.from(raw.subarray(start, start + SIDES),
        (side) => 2 * stride * Math.exp(Math.min(Math.max(side, -decode.raw_limit), decode.raw_limit)));
      found.push({box: [x - left, y - top, x + right, y + bottom], score, label});
    }
  }
  // Equal scores stay in the order of points, then classes.
  found.sort((one, other) => other.score - one.score);
  return suppress(found.slice(0, decode.candidates), decode);
}

/** Returns the centres of all cells: stride by stride, then row by row. */
function points({height, width, strides}) {
  return strides.flatMap((stride) => Array.from({length: (height / stride) * (width / stride)}, (_, cell) => {
    const columns = width / stride;
    return {x: ((cell % columns) + 0.5) * stride, y: (Math.floor(cell / columns) + 0.5) * stride, stride};
  }));
}

/** Returns the boxes that no better one of the same class overlaps (non-maximum suppression). */
function suppress(sorted, {max_overlap: overlap, max_boxes: most}) {
  const kept = [];
  for (const one of sorted) {
    if (kept.length === most) break;
    if (!kept.some((better) => better.label === one.label && isDuplicate(better.box, one.box, overlap))) kept.push(one);
  }
  return kept;
}

function isDuplicate(better, box, overlap) {
  const shared = area([0, 1].map((i) => Math.max(better[i], box[i])).concat([2, 3].map((i) => Math.min(better[i], box[i]))));
  // Without a division, so that boxes without an area overlap nothing.
  return shared > overlap * (area(better) + area(box) - shared);
}

function area([left, top, right, bottom]) {
  return Math.max(right - left, 0) * Math.max(bottom - top, 0);
}

/** The page's answers of a detector: each file's photo with boxes, and a list of them as text. */
export class Boxes {
  constructor(config, page) {
    [this.config, this.page] = [config, page];
    [this.doing, this.done] = ['Searching', 'searched'];
    this.panels = new Map();
    this.last = null;
    page.least.value = config.decode.min_score;
    page.leastRow.hidden = false;
    const show = () => {
      page.leastShown.textContent = percent(this.least, 0);
      if (this.last) this.draw();
    };
    page.least.addEventListener('input', show);
    show();
  }

  get least() {
    return Number(this.page.least.value);
  }

  /** Shows what the files found in an image. */
  show(source, image, bytes, found) {
    this.last = {source, photo: canvasOf(image), found: meanTimes(this.page.answers, source, found)};
    this.draw();
    this.page.answers.dataset.image = source;
  }

  draw() {
    const {source, photo, found} = this.last;
    for (const {name, ms, outputs} of found) {
      const panel = this.panel(name);
      const boxes = findBoxes(outputs, this.config.decode, this.least).map((one) => this.inShares(one));
      panel.pace.textContent = `${ms.toFixed(2)} ms per frame`;
      drawBoxes(panel.canvas, photo, boxes);
      panel.canvas.setAttribute('aria-label', `${source} with ${boxes.length} boxes`);
      panel.count.textContent = this.counted(boxes);
      panel.list.replaceChildren(...boxes.map(line));
    }
  }

  /** Returns a box with its class's name, its sides as shares of the photo's width and height. */
  inShares({box, score, label}) {
    const {width, height} = this.config.decode;
    const sides = box.map((side, i) => Math.min(Math.max(side / (i % 2 ? height : width), 0), 1));
    return {sides, score, label, name: this.config.labels[label]};
  }

  /** Returns how many there are of each class. */
  counted(boxes) {
    if (!boxes.length) return `Nothing was found with a score of ${percent(this.least, 0)} or more.`;
    const counts = new Map();
    for (const {name} of boxes) counts.set(name, (counts.get(name) ?? 0) + 1);
    return Array.from(counts, ([name, count]) => `${count} ${name}`).join(', ');
  }

  /** Returns a file's part of the page, made once: a list that somebody has opened stays open. */
  panel(name) {
    if (!this.panels.has(name)) {
      const [pace, canvas, count, list] = [['p', {className: 'why'}], ['canvas', {role: 'img'}], ['summary'], ['ol']].map((one) => element(...one));
      this.page.answers.append(element('div', {className: 'answers found'}, element('h3', {}, ...wrapped(name)), pace, canvas, element('details', {}, count, list)));
      this.panels.set(name, {pace, canvas, count, list});
    }
    return this.panels.get(name);
  }
}

function line({sides, score, name}) {
  const [left, top, right, bottom] = sides;
  const place = `${percent((left + right) / 2, 0)} from the left, ${percent((top + bottom) / 2, 0)} from the top`;
  const made = element('li', {}, `${name} ${percent(score, 1)} `, element('span', {className: 'why'}, place));
  Object.assign(made.dataset, {label: name, score, sides: JSON.stringify(sides)});
  return made;
}

function percent(share, digits) {
  return `${(100 * share).toFixed(digits)}%`;
}

/** Returns ImageData on a canvas, scaled down if it is large. */
function canvasOf(image) {
  const whole = element('canvas', {width: image.width, height: image.height});
  whole.getContext('2d').putImageData(image, 0, 0);
  const factor = Math.min(1, MOST_SIDE / Math.max(image.width, image.height));
  if (factor === 1) return whole;
  const small = element('canvas', {width: Math.ceil(image.width * factor), height: Math.ceil(image.height * factor)});
  small.getContext('2d').drawImage(whole, 0, 0, small.width, small.height);
  return small;
}

function drawBoxes(canvas, photo, boxes) {
  const {width, height} = Object.assign(canvas, {width: photo.width, height: photo.height});
  const context = canvas.getContext('2d');
  const size = Math.max(width, height);
  context.drawImage(photo, 0, 0);
  context.lineWidth = Math.max(2, size / LINE);
  context.font = `${Math.max(10, size / TEXT)}px system-ui, sans-serif`;
  context.textBaseline = 'top';
  // The best last, on top of the others.
  for (const {sides: [left, top, right, bottom], score, label, name} of [...boxes].reverse()) {
    context.strokeStyle = `hsl(${((label * TURN) % 1) * 360} 89% 55%)`;
    context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
    write(context, `${name} ${percent(score, 0)}`, left * width, top * height, Math.max(10, size / TEXT));
  }
}

/** Writes on a dark ground, whatever is below it. */
function write(context, text, x, y, height) {
  context.fillStyle = 'rgb(0 0 0 / 70%)';
  context.fillRect(x, y, context.measureText(text).width + 4, height + 2);
  context.fillStyle = '#fff';
  context.fillText(text, x + 2, y + 1);
}
