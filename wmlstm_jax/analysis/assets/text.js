"use strict";
// The text of an exhibit, and what the chosen step did, in words and bars.

/** An element with a class and a text; texts are never taken for markup. */
function make(name, className = "", text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}

/** A token as a label on one line. */
function label(text) {
  if (text === "") return "?";
  if (/^ +$/.test(text)) return "␣".repeat(text.length);
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥");
}

/** What stands just before a token: short tokens say little by themselves. */
function before(data, step) {
  const found = data.tokens.slice(Math.max(0, step - 12), step).map(label);
  const text = found.join(data.spaced ? " " : "");
  return (text.length > 12 ? "…" + text.slice(-12) : text) + (data.spaced && text ? " " : "");
}

function percent(thousandths) {
  const share = thousandths / 10;
  return (share >= 10 || share === 0 ? share.toFixed(0) : share.toFixed(1)) + " %";
}

/** Pairs of [what, weight] from a flat list. */
function pairs(flat) {
  const found = [];
  for (let i = 0; i < flat.length; i += 2) found.push([flat[i], flat[i + 1]]);
  return found;
}

class Text {
  /** The tokens of an exhibit; `choose(step)` is called for what is clicked. */
  constructor(data, choose) {
    this.data = data;
    this.element = make("div");
    this.source = data.source.map((text) => this.token(text));
    if (this.source.length) {
      this.element.append(make("h3", "", "The source"), this.box("source", this.source));
      this.element.append(make("h3", "", "What was said"));
    }
    this.tokens = data.tokens.map((text) => this.token(text));
    const box = this.box("", this.tokens);
    box.addEventListener("click", (event) => {
      const at = this.tokens.indexOf(event.target);
      if (at >= 0) choose(at);
    });
    this.element.append(box);
  }

  token(text) {
    const shown = text === "" ? "?" : text.replace(/\n/g, "⏎\n");
    return make("span", "token", shown);
  }

  box(className, tokens) {
    const box = make("div", `text ${className} ${this.data.spaced ? "spaced" : ""}`);
    for (const token of tokens) box.append(token, this.data.spaced ? " " : "");
    return box;
  }

  /** Colours by what each token got at a step: {read, copied, held} by token. */
  show(step, seen) {
    this.tokens.forEach((token, at) => {
      token.classList.toggle("later", at > step);
      token.classList.toggle("now", at === step);
      token.classList.toggle("gone", seen.held !== null && at <= step && !seen.held.has(at));
      paint(token, seen.read.get(at), seen.copied.get(at));
    });
    this.source.forEach((token, at) => {
      paint(token, seen.read.get(-1 - at), seen.copied.get(-1 - at));
    });
    const now = this.tokens[step], box = now.parentElement;
    const top = now.offsetTop - box.clientHeight / 2;
    if (Math.abs(box.scrollTop - top) > box.clientHeight / 2 - 30) box.scrollTop = top;
  }
}

function paint(token, read = 0, copied = 0) {
  token.style.backgroundColor = read ? `rgba(var(--read), ${0.12 + 0.75 * read / 1000})` : "";
  token.style.boxShadow = copied
    ? `inset 0 -4px rgba(var(--copied), ${0.4 + 0.6 * Math.min(1, copied / 300)})` : "";
}

class Step {
  /** What one step did, in words. */
  constructor(data) {
    this.data = data;
    this.element = make("section", "step");
    this.element.setAttribute("aria-live", "polite");
  }

  name(what) {
    const { data } = this;
    if (what < 0) return label(data.source[-1 - what]) + " (source)";
    return label(data.tokens[data.occupants.step[what]]);
  }

  context(what) {
    return what < 0 ? "" : before(this.data, this.data.occupants.step[what]);
  }

  show(step, head) {
    const { data } = this, parts = [];
    const title = make("h3", "", `Step ${step}: `);
    title.append(make("code", "", label(data.tokens[step])));
    if (!data.said[step]) title.append(" came in");
    parts.push(title);
    if (data.said[step]) {
      const text = make("p", "", "It answered ");
      text.append(make("code", "", label(data.said[step])),
        `, and had given ${percent(data.given[step])} to the right answer.`);
      parts.push(text);
    } else if (!data.said.length && step + 1 < data.tokens.length) {
      const text = make("p", "", "Then came ");
      text.append(make("code", "", label(data.tokens[step + 1])),
        `, to which it had given ${percent(data.given[step])}.`);
      parts.push(text);
    }
    if (data.reads) parts.push(...this.reads(step, head));
    if (data.writes) parts.push(...this.writes(step));
    if (data.copies) parts.push(...this.copies(step));
    this.element.replaceChildren(...parts);
  }

  reads(step, head) {
    const parts = [];
    this.data.reads[step].forEach((flat, at) => {
      if (head >= 0 && head !== at) return;
      const many = this.data.reads[step].length > 1;
      parts.push(make("h3", "", many ? `Head ${at + 1} read` : "It read"));
      const bars = pairs(flat)
        .map(([what, weight]) => [this.name(what), weight, "read", this.context(what)]);
      const known = bars.reduce((sum, bar) => sum + bar[1], this.data.nulls[step][at]);
      bars.push(["nothing", this.data.nulls[step][at], "rest"]);
      if (known < 995) bars.push(["others", 1000 - known, "rest"]);
      parts.push(this.bars(bars));
      if (this.data.modeShares) {
        const shares = this.data.modeShares[step][at];
        const text = shares.map((share, mode) => `${this.data.modes[mode]} ${percent(share)}`);
        parts.push(make("p", "facts", text.join(", ")));
      }
    });
    return parts;
  }

  writes(step) {
    const { data } = this, parts = [make("h3", "", "It wrote")];
    const { step: came, end, why, read, copied } = data.occupants;
    for (const [newcomer, old, row, weight] of data.writes[step]) {
      const into = newcomer >= 0 ? "into" : `a share of ${percent(weight)} into`;
      let text = `${into} slot ${row}`;
      if (old >= 0 && end[old] === step) {
        const used = (read[old] + copied[old]) / 1000;
        text += `, in place of “${this.name(old)}” from step ${came[old]}: ${why[old]}.`
          + ` That had been looked at ${used.toFixed(2)} times in all.`;
      } else {
        text += newcomer >= 0 ? ", which was free." : ".";
      }
      parts.push(make("p", "", text));
    }
    if (data.refused[step]) parts.push(make("p", "", `no slot of its own: ${data.refused[step]}.`));
    return parts;
  }

  copies(step) {
    const share = this.data.copyShare[step];
    const words = new Map();
    for (const [what, weight] of pairs(this.data.copies[step])) {
      const name = this.name(what);
      words.set(name, (words.get(name) || 0) + weight);
    }
    const bars = [...words].map(([name, weight]) => [name, weight, "copied"]);
    const known = bars.reduce((sum, bar) => sum + bar[1], 0);
    if (share - known >= 5) bars.push(["other copies", share - known, "rest"]);
    bars.push(["from the vocabulary", 1000 - share, "rest"]);
    return [make("h3", "", "It would say next"), this.bars(bars)];
  }

  bars(rows) {
    const grid = make("div", "bars");
    for (const [name, weight, kind, context = ""] of rows) {
      const bar = make("span", `bar ${kind}`);
      bar.style.width = `${weight / 10}%`;
      const text = make("span", "name", name);
      text.prepend(make("span", "context", context));
      text.title = context + name;
      grid.append(text, bar, make("span", "share", percent(weight)));
    }
    return grid;
  }
}
