// What was measured stays in this browser until it is sent, saved or deleted: a tab that closes, a
// network that goes away or a server that ends costs nothing.

/** The messages of the last measurement, by accelerator, and whether each was received. */
export class Kept {
  constructor(key) {
    this.key = `shufflenet-measurement-${key}`;
    // Passes whose outputs the computer has: they are sent once, because they are long.
    this.delivered = new Set();
    try {
      this.messages = JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      this.messages = [];
    }
  }

  get unsent() {
    return this.messages.filter(({received}) => !received);
  }

  /** Keeps a message in place of an older one of the same pass; a new run replaces an old one. */
  put(message) {
    const others = this.messages.filter((one) => one.run === message.run && idOf(one) !== idOf(message));
    this.messages = [...others, {...message, received: false}];
    this.write();
  }

  /** Sends what was not received yet; returns whether all was. `last` is when the page goes away. */
  async send(last = false) {
    // A pass that still runs has grown since it was sent.
    const grown = ({received, pass}) => !received || (last && pass && !pass.complete);
    for (const message of this.messages.filter(grown)) {
      const {received, ...content} = message;
      if (last && content.pass) content.pass = {...content.pass, leaving: true};
      const body = JSON.stringify(content, this.without(message));
      if (last) {
        // A browser lets a page that goes away send 64 KB; the computer has the rest since the last message.
        if (!navigator.sendBeacon('results', body)) {
          navigator.sendBeacon('results', JSON.stringify({run: message.run, leaving: true}));
        }
        continue;
      }
      try {
        const reply = await fetch('results', {method: 'POST', body});
        const said = await reply.json().catch(() => ({}));
        if (!reply.ok) throw new Error(said.error ?? `status ${reply.status}`);
        for (const file of content.pass?.files ?? []) file.ap = said.ap?.[file.file] ?? file.ap;
      } catch (problem) {
        this.problem = problem.message;
        return false;
      }
      message.received = true;
      if (content.pass?.files.some(({outputs}) => outputs)) this.delivered.add(`${message.run} ${idOf(message)}`);
    }
    this.problem = null;
    this.write();
    return true;
  }

  /** Returns a function that leaves out what the computer has, or does not need. */
  without(message) {
    const isKnown = this.delivered.has(`${message.run} ${idOf(message)}`);
    return (key, value) => (key === 'right' || key === 'ap' || (key === 'outputs' && isKnown) ? undefined : value);
  }

  write() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.messages));
    } catch {
      this.writeTimes();
    }
  }

  /** Keeps what is left without the outputs, of which a detector has too many for some browsers. */
  writeTimes() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.messages, (key, value) => (key === 'outputs' ? null : value)));
    } catch {
      // A full or forbidden storage: the results are in this tab alone.
    }
  }

  forget() {
    this.messages = [];
    localStorage.removeItem(this.key);
  }
}

function idOf(message) {
  return message.pass ? message.pass.accelerator : 'finished';
}
