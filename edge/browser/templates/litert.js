// LiteRT.js with an accelerator; it loads one build at a time.
import {
  loadLiteRt, unloadLiteRt, loadAndCompile, supportsFeature, Tensor,
} from './litert/index.js';

const FOLDER = new URL('litert/', import.meta.url).href;
let loaded = null;

/** Returns why the browser cannot use an accelerator here, or null if it seems to. */
export async function missing(accelerator) {
  if (accelerator === 'wasm') return null;
  const [object, name] = accelerator === 'webgpu' ? [navigator.gpu, 'WebGPU'] : [navigator.ml, 'WebNN'];
  if (!object) {
    return isSecureContext ? `this browser has no ${name}` : `${name} needs https or localhost`;
  }
  if (!(await supportsFeature('jspi'))) return `${name} needs a browser with JSPI for WebAssembly`;
  if (accelerator !== 'webgpu') return null;
  const adapter = await gpuAdapter();
  if (!adapter) return 'there is no GPU';
  // A CPU's time is never reported as a GPU's.
  return isSoftware(adapter) ? 'the GPU is emulated by the CPU' : null;
}

function isSoftware(adapter) {
  const {vendor, architecture, description} = adapter.info ?? {};
  return Boolean(adapter.isFallbackAdapter || adapter.info?.isFallbackAdapter)
    || /swiftshader|llvmpipe|basic render/i.test([vendor, architecture, description].join(' '));
}

/** Returns how many threads an accelerator really gets. */
export async function threadsOf(accelerator, wanted) {
  const more = accelerator === 'wasm' && wanted > 1 && crossOriginIsolated;
  return more && (await supportsFeature('threads')) && (await supportsFeature('relaxedSimd')) ? wanted : 1;
}

/** Loads LiteRT.js for an accelerator; whatever was loaded with another build ends. */
export async function prepare(accelerator, threads) {
  const build = accelerator !== 'wasm' ? 'jspi' : threads > 1 ? 'threads' : 'plain';
  if (loaded === build) return;
  if (loaded !== null) unloadLiteRt();
  loaded = null;
  // What it prints to its standard error is mostly news; a console shows it as errors.
  self.Module = {printErr: (text) => (/^(INFO|WARNING)/.test(text) ? console.debug(text) : console.error(text))};
  await loadLiteRt(FOLDER, {threads: build === 'threads', jspi: build === 'jspi'});
  loaded = build;
}

/** A loaded file: `run(input)` returns the outputs of the first image of the batch. */
export class Model {
  static async load(bytes, accelerator, threads) {
    const options = {accelerator};
    if (accelerator === 'wasm') options.cpuOptions = {numThreads: threads};
    // The default differs between GPUs; a float16 result would be another network's.
    if (accelerator === 'webgpu') options.gpuOptions = {precision: 'fp32'};
    if (accelerator === 'webnn') options.webNNOptions = {precision: 'fp32'};
    const compiled = await loadAndCompile(bytes, options);
    if (accelerator !== 'wasm' && (compiled.options.accelerator !== accelerator || !compiled.isFullyAccelerated)) {
      compiled.delete();
      throw new Error(`${accelerator} did not take the whole graph`);
    }
    return new Model(compiled);
  }

  constructor(compiled) {
    this.compiled = compiled;
    const [input] = compiled.getInputDetails();
    this.shape = Array.from(input.shape);
  }

  tensor(values) {
    return new Tensor(values, this.shape);
  }

  async run(tensor) {
    const results = await this.compiled.run(tensor);
    // Reading the output is part of the run: a GPU computes until then.
    const values = await results[0].data();
    results.forEach((result) => result.delete());
    return values.subarray(0, values.length / this.shape[0]);
  }

  delete() {
    this.compiled.delete();
  }
}

/** Describes the browser: what a time depends on. */
export async function describe() {
  const agent = navigator.userAgent;
  const data = navigator.userAgentData;
  const more = data?.getHighEntropyValues
    ? await data.getHighEntropyValues(['model', 'platformVersion', 'fullVersionList', 'architecture'])
    : {};
  return {
    browser: browserName(agent, more.fullVersionList),
    platform: platformName(agent, data, more),
    model: more.model || androidModel(agent),
    user_agent: agent,
    cores: navigator.hardwareConcurrency ?? null,
    gpu: await gpuName(),
  };
}

function androidModel(agent) {
  const found = /Android[^;)]*; ([^;)]+?)(?: Build\/[^;)]*)?(?:; wv)?\) /.exec(agent);
  // Chrome says K for every phone, unless it is asked by https.
  return found && found[1] !== 'K' ? found[1] : null;
}

function browserName(agent, list) {
  const known = (list || []).find(({brand}) => !/Not.?A.?Brand|^Chromium$/i.test(brand))
    || (list || []).find(({brand}) => brand === 'Chromium');
  if (known) return `${known.brand} ${known.version}`;
  const names = [['Firefox', /Firefox\/([\d.]+)/], ['Edge', /Edg\/([\d.]+)/], ['Samsung Internet', /SamsungBrowser\/([\d.]+)/],
    ['Chrome', /Chrome\/([\d.]+)/], ['Safari', /Version\/([\d.]+).*Safari/]];
  const found = names.find(([, pattern]) => pattern.test(agent));
  return found ? `${found[0]} ${found[1].exec(agent)[1]}` : 'unknown browser';
}

function platformName(agent, data, more) {
  if (data?.platform) return [data.platform, more.platformVersion, more.architecture].filter(Boolean).join(' ');
  const found = /iPhone OS ([\d_]+)|(Android [\d.]+)|(Mac OS X [\d_.]+)|(Windows NT [\d.]+)|(Linux(?!; Android)[^;)]*)/.exec(agent);
  if (!found) return navigator.platform || 'unknown';
  return found[1] ? `iOS ${found[1].replaceAll('_', '.')}` : found[0];
}

let adapterFound;

/** Returns the GPU's adapter, or null; asked for once, because browsers log each failure. */
function gpuAdapter() {
  adapterFound ??= navigator.gpu ? navigator.gpu.requestAdapter().catch(() => null) : Promise.resolve(null);
  return adapterFound;
}

async function gpuName() {
  const adapter = await gpuAdapter();
  if (!adapter) return null;
  const {vendor, architecture, device, description} = adapter.info ?? {};
  const software = isSoftware(adapter) ? '(software)' : '';
  return [vendor, architecture, device, description, software].filter(Boolean).join(' ') || 'unnamed';
}

/** Resolves when the browser has had a moment for the user, without the 4 ms of a timer. */
export function breathe() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(null);
  });
}
