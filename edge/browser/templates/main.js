// The page: reads what it is about, and connects its two halves.
import {Boxes} from './detect.js';
import {Stopped, measure, median, percentile} from './benchmark.js';
import {Kept} from './keep.js';
import {describe, missing} from './litert.js';
import {Classes, Networks, connect, element, wrapped} from './try.js';

const ACCELERATORS = {wasm: 'WebAssembly (CPU)', webgpu: 'WebGPU', webnn: 'WebNN'};
const byId = (id) => document.getElementById(id);

function say(text, isBad = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('bad', isBad);
}

/** Runs tasks one after the other: LiteRT.js is loaded with one build at a time. */
function queue() {
  let last = Promise.resolve();
  return (task) => {
    const result = last.then(task);
    last = result.catch(() => {});
    return result;
  };
}

async function start() {
  const reply = await fetch('config.json');
  if (!reply.ok) throw new Error('the server does not answer; start it again');
  const config = await reply.json();
  document.title = byId('title').textContent = config.name;
  byId('privacy').textContent += config.has_server
    ? ' Only the measurement goes to the computer that serves this page, and only if you send it.'
    : ' Nothing is sent anywhere.';
  const use = queue();
  const networks = new Networks(config);
  const kept = new Kept(await keyOf(config));
  await showAccelerators(config.measure.accelerators);
  connectKept(config, kept);
  connectMeasure(config, kept, use, networks);
  const page = {
    photo: byId('photo'), drop: byId('drop'), seen: byId('seen'), seenFigure: byId('seen-figure'), camera: byId('camera'),
    sample: byId('sample'),
    cameraNote: byId('camera-note'), video: byId('video'), answers: byId('answers'),
    least: byId('least'), leastRow: byId('least-row'), leastShown: byId('least-shown'),
  };
  connect(config, networks, config.decode ? new Boxes(config, page) : new Classes(config, page), page, use, say);
  await showAbout(config);
  say('Ready');
  if (config.measure.starts) byId('measure').click();
}

async function keyOf(config) {
  return `${config.name}-${config.files.map(({sha256}) => sha256.slice(0, 8)).join('')}`;
}

async function showAccelerators(planned) {
  for (const [name, title] of Object.entries(ACCELERATORS)) {
    const why = await missing(name);
    const box = element('input', {type: 'checkbox', name, disabled: Boolean(why) && !planned.includes(name)});
    box.checked = planned.includes(name);
    byId('accelerators').append(element('label', {}, box, ` ${title}`, element('span', {className: 'why'}, why ? `: ${why}` : '')));
  }
}

function connectMeasure(config, kept, use, networks) {
  if (config.decode) {
    byId('share-title').textContent = 'AP';
    byId('ap-note').hidden = !config.has_server;
  }
  const [button, stop, sends] = ['measure', 'stop', 'sends'].map(byId);
  let control = null;
  button.disabled = false;
  sends.checked = config.measure.sends;
  sends.closest('p').hidden = !config.has_server;
  const message = async (one) => {
    kept.put(one);
    if (config.has_server && sends.checked) await sendKept(config, kept);
  };
  button.addEventListener('click', async () => {
    const chosen = [...document.querySelectorAll('#accelerators input:checked')].map(({name}) => name);
    if (!chosen.length) return say('Choose what computes', true);
    control = new AbortController();
    busy(true);
    const lock = await navigator.wakeLock?.request('screen').catch(() => null);
    let ending = ['Measured'];
    try {
      await use(() => {
        networks.unload();
        return measure(config, chosen, control.signal, {state: showState, rows: (pass) => showRows(pass, config.samples.images), message});
      });
    } catch (problem) {
      if (!(problem instanceof Stopped)) {
        await message({run: '0'.repeat(16), finished: true, error: problem.message});
        console.warn(problem);
      }
      ending = [problem instanceof Stopped ? 'Stopped' : `Not measured: ${problem.message}`, true];
    }
    await lock?.release();
    control = null;
    busy(false);
    showKept(config, kept);
    // Last: who reads it, finds the rest of the page as it stays.
    say(...ending);
  });
  stop.addEventListener('click', () => control?.abort());
  addEventListener('pagehide', () => {
    if (control && config.has_server && sends.checked) kept.send(true);
  });
  addEventListener('online', () => {
    if (config.has_server && sends.checked && kept.messages.length) sendKept(config, kept).then(() => showKept(config, kept));
  });
}

function busy(on) {
  byId('measure').disabled = on;
  byId('stop').hidden = byId('progress').hidden = !on;
}

function showState(text, share) {
  say(text);
  const bar = byId('progress');
  if (share === null) bar.removeAttribute('value');
  else bar.value = share;
}

function summary(times) {
  const range = `${percentile(times, 0.1).toFixed(3)}–${percentile(times, 0.9).toFixed(3)}`;
  return element('span', {}, median(times).toFixed(3), element('br'), element('small', {}, range));
}

function showRows(pass, images) {
  const table = byId('results');
  table.hidden = false;
  const body = table.tBodies[0];
  const where = pass.threads > 1 ? `${pass.accelerator}, ${pass.threads} threads` : pass.accelerator;
  for (const file of pass.files) {
    const id = `row-${pass.accelerator}-${file.file}`;
    const row = document.getElementById(id) ?? body.appendChild(element('tr', {id}));
    const times = file.milliseconds;
    const cells = file.error
      ? [file.error]
      : [times.length ? summary(times) : '…', percent(file.right === null ? file.ap : file.right / images)];
    row.replaceChildren(element('td', {}, ...wrapped(file.file)), element('td', {}, where),
      ...cells.map((content) => element('td', file.error ? {colSpan: 2, className: 'bad'} : {}, content)));
  }
}

function percent(share) {
  return share === null ? '–' : `${(100 * share).toFixed(1)}%`;
}

function connectKept(config, kept) {
  byId('send').hidden = !config.has_server;
  byId('send').addEventListener('click', async () => {
    await sendKept(config, kept);
    showKept(config, kept);
  });
  byId('save').addEventListener('click', () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(kept.messages, null, 2)], {type: 'application/json'}));
    element('a', {href: url, download: 'measurement.json'}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  byId('forget').addEventListener('click', () => {
    kept.forget();
    showKept(config, kept);
  });
  showKeptRows(config, kept);
  showKept(config, kept);
}

/** Sends what was not received yet; a detector's AP comes back. */
async function sendKept(config, kept) {
  await kept.send();
  if (config.decode) showKeptRows(config, kept);
}

function showKeptRows(config, kept) {
  for (const {pass} of kept.messages) if (pass) showRows(pass, config.samples.images);
}

function showKept(config, kept) {
  byId('kept').hidden = !kept.messages.length;
  const sent = !kept.unsent.length;
  byId('send').disabled = sent;
  const place = 'The last measurement is kept in this browser';
  if (!config.has_server) byId('kept-text').textContent = `${place}.`;
  else if (sent) byId('kept-text').textContent = `${place}. The computer has it, too.`;
  else byId('kept-text').textContent = `${place}; not sent yet${kept.problem ? ` (${kept.problem})` : ''}.`;
}

async function showAbout(config) {
  const machine = await describe();
  const facts = {
    Browser: machine.browser,
    System: [machine.platform, machine.model].filter(Boolean).join(', '),
    Cores: machine.cores ?? 'not known',
    GPU: machine.gpu ?? 'none, or not shown to this page',
    Threads: crossOriginIsolated ? 'yes' : isSecureContext ? 'no: the server does not send the headers that isolate a page' : 'no: they need https or localhost',
    Runtime: config.runtime,
  };
  byId('about').append(...Object.entries(facts).flatMap(([name, text]) => [element('dt', {}, name), element('dd', {}, String(text))]));
}

start().catch((problem) => say(`This page cannot start: ${problem.message}`, true));
