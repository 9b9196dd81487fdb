// From an image file or a video frame to the network's input, as `shufflenet predict` does it: a
// triangle filter, which averages when it shrinks, scales the shorter side, and the centre is cut out;
// or, for a detector, the whole image.
// A canvas scales otherwise, and differently in each browser, so the scaling is done here, with each
// step of TensorFlow's float32: the bytes are the same, and many sums lie halfway between two.

// Above it some phones give an empty canvas.
const MOST_PIXELS = 16e6;
// `predict` scales a detector's image minus this, which is the colour beyond an image's edge.
const GREY = 114;
const {fround} = Math;

/** Returns an image's upright pixels as ImageData. */
export async function decode(blob, orientation) {
  const options = {
    imageOrientation: orientation === 'exif' ? 'from-image' : 'none',
    premultiplyAlpha: 'none',
    colorSpaceConversion: 'none',
  };
  const bitmap = await createImageBitmap(blob, options);
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** Returns the pixels of a drawable; a very large one is scaled down by the browser first. */
export function pixelsOf(drawable, width, height) {
  const factor = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const canvas = document.createElement('canvas');
  canvas.width = Math.floor(width * factor);
  canvas.height = Math.floor(height * factor);
  const context = canvas.getContext('2d', {willReadFrequently: true, colorSpace: 'srgb'});
  context.drawImage(drawable, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/**
 * Returns what the network sees: bytes [size, size, channels].
 *
 * `input` has `size`, `resize` (pixels of the scaled shorter side; null: the whole image is scaled) and
 * `channels`, 1 or 3.
 */
export function networkInput(image, input) {
  const {size, resize, channels} = input;
  const planes = channels === 1 ? grey(image) : image.data;
  const step = channels === 1 ? 1 : 4;
  const shorter = Math.min(image.width, image.height);
  const [columns, rows] = [image.width, image.height].map((length) => (
    weights(length, resize === null ? size : roundHalfToEven((length * resize) / shorter), size)));
  // Rows first: of the columns only those that the square needs are scaled.
  const first = Math.min(...columns.map((one) => one.first));
  const last = Math.max(...columns.map((one) => one.first + one.weights.length));
  const base = resize === null ? GREY : 0;
  const scaled = scaleRows(planes, image.width, step, channels, rows, first, last, base);
  return scaleColumns(scaled, last - first, channels, columns, first, size, base);
}

/** Returns, for each place of the cut-out line, the first pixel and the weights of the next ones. */
function weights(length, scaledLength, size) {
  const begin = Math.floor((scaledLength - size) / 2);
  const step = fround(1 / fround(scaledLength / length));
  const width = Math.max(step, 1);
  const slope = fround(1 / width);
  return Array.from({length: size}, (_, place) => {
    const center = fround(fround((place + 0.5) * step) + fround(begin * step));
    const first = Math.max(0, Math.ceil(center - width - 0.5));
    const last = Math.min(length - 1, Math.floor(center + width - 0.5));
    const found = new Float32Array(Math.max(0, last - first + 1));
    let sum = 0;
    for (let i = 0; i < found.length; i++) {
      found[i] = Math.max(0, 1 - Math.abs(fround(fround(first + i + 0.5 - center) * slope)));
      sum = fround(sum + found[i]);
    }
    const share = fround(1 / sum);
    return {first, weights: found.map((weight) => weight * share)};
  });
}

function scaleRows(data, width, step, channels, rows, first, last, base) {
  const across = last - first;
  const scaled = new Float32Array(rows.length * across * channels);
  rows.forEach((row, y) => {
    row.weights.forEach((weight, i) => {
      let source = ((row.first + i) * width + first) * step;
      let target = y * across * channels;
      for (let x = 0; x < across; x++, source += step) {
        for (let c = 0; c < channels; c++) scaled[target++] += fround(weight * (data[source + c] - base));
      }
    });
  });
  return scaled;
}

function scaleColumns(scaled, across, channels, columns, first, size, base) {
  const square = new Uint8ClampedArray(size * size * channels);
  const sums = new Float32Array(channels);
  let target = 0;
  for (let y = 0; y < size; y++) {
    for (const column of columns) {
      let source = (y * across + column.first - first) * channels;
      sums.fill(0);
      for (const weight of column.weights) {
        for (let c = 0; c < channels; c++) sums[c] += fround(weight * scaled[source++]);
      }
      // The array rounds to the nearest, and halves to even, as TensorFlow does.
      for (let c = 0; c < channels; c++) square[target++] = fround(sums[c] + base);
    }
  }
  return square;
}

function roundHalfToEven(x) {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

function grey(image) {
  const found = new Uint8ClampedArray(image.width * image.height);
  for (let i = 0; i < found.length; i++) {
    const [red, green, blue] = image.data.subarray(4 * i, 4 * i + 3);
    found[i] = 0.299 * red + 0.587 * green + 0.114 * blue;
  }
  return found;
}

/** Returns bytes as a file's float32 input, by what it has for each pixel and channel, repeated for the batch. */
export function normalize(bytes, input, levels) {
  const found = new Float32Array(bytes.length * input.batch);
  for (let i = 0; i < bytes.length; i++) found[i] = levels[bytes[i] * input.channels + (i % input.channels)];
  for (let n = 1; n < input.batch; n++) found.copyWithin(n * bytes.length, 0, bytes.length);
  return found;
}

/** Returns bytes [size, size, channels] as ImageData. */
export function imageOf(bytes, input) {
  const image = new ImageData(input.size, input.size);
  for (let i = 0; i < input.size * input.size; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = bytes[i * input.channels + (input.channels === 1 ? 0 : c)];
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}
