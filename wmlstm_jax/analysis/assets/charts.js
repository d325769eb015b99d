"use strict";
// Lives of slots and curves over time, drawn once and shown with a line at the step.

/** A colour of the theme, such as "--ink"; with a share for one of three numbers. */
function colour(name, share = null) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return share === null ? value : `rgba(${value}, ${share})`;
}

class Chart {
  /** A canvas as wide as its place; `paintAll(context, width, height)` draws it. */
  constructor(steps, height, choose) {
    this.steps = steps;
    this.height = height;
    this.canvas = make("canvas");
    this.canvas.height = height;
    this.still = document.createElement("canvas");
    this.canvas.addEventListener("click", (event) => choose(this.stepAt(event)));
  }

  stepAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = Math.floor((event.clientX - box.left) / box.width * this.steps);
    return Math.max(0, Math.min(this.steps - 1, at));
  }

  x(step) {
    return step / this.steps * this.width;
  }

  /** Draws everything anew, after a change of size or theme. */
  redraw() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth || 300;
    for (const canvas of [this.canvas, this.still]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
    }
    this.canvas.style.height = `${this.height}px`;
    const context = this.still.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    this.paintAll(context);
  }

  /** The drawing with a line at a step, and what `paintStep` adds. */
  show(step, head) {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.still, 0, 0);
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colour("--mark");
    context.fillRect(this.x(step + 0.5) - 0.5, 0, 1, this.height);
    this.paintStep(context, step, head);
  }

  paintStep() {}
}

class Lives extends Chart {
  /** A row per slot: who was in it when, darker the more it was looked at. */
  constructor(data, choose) {
    const rows = data.groups * data.slots;
    const high = Math.max(1, Math.min(14, Math.floor(280 / rows)));
    super(data.tokens.length, rows * high, choose);
    this.data = data;
    this.high = high;
    this.under = make("p", "under", "Point at a slot to see who was in it.");
    this.canvas.addEventListener("mousemove", (event) => this.tell(event));
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Who was in which slot at which step");
  }

  used(at) {
    const { read, copied } = this.data.occupants;
    return (read[at] + copied[at]) / 1000;
  }

  paintAll(context) {
    const { step, row, end } = this.data.occupants;
    const gap = this.high > 3 ? 1 : 0;
    for (let at = 0; at < step.length; at++) {
      const share = Math.min(1, Math.log1p(this.used(at)) / 2.5);
      context.fillStyle = share < 0.04 ? colour("--line") : colour("--read", 0.2 + 0.8 * share);
      const from = this.x(step[at]), to = this.x(end[at]);
      const wide = Math.max(to - from - (this.width / this.steps > 3 ? 1 : 0), 0.5);
      context.fillRect(from, row[at] * this.high, wide, Math.max(this.high - gap, 1));
    }
  }

  paintStep(context, step, head) {
    const seen = seenAt(this.data, step, head);
    for (const [name, found] of [["--read", seen.read], ["--copied", seen.copied]]) {
      for (const [what, weight] of found.byOccupant) {
        if (what < 0) continue;
        context.fillStyle = colour(name, 1);
        const radius = 2 + 5 * Math.sqrt(weight / 1000);
        const y = (this.data.occupants.row[what] + 0.5) * this.high;
        context.beginPath();
        context.arc(this.x(step + 0.5), y, radius, 0, 7);
        context.fill();
      }
    }
  }

  tell(event) {
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / this.high);
    const when = this.stepAt(event), data = this.data, lives = data.occupants;
    const at = lives.step.findIndex((step, i) =>
      lives.row[i] === row && step <= when && when < lives.end[i]);
    if (at < 0) {
      this.under.textContent = `Slot ${row} was free at step ${when}.`;
      return;
    }
    const name = label(data.tokens[lives.step[at]]);
    this.under.textContent = `Slot ${row}: “${name}” from step ${lives.step[at]} to `
      + `${lives.end[at]}, looked at ${this.used(at).toFixed(2)} times; ${lives.why[at]}.`;
  }
}

class Curves extends Chart {
  /** Gates and shares between 0 and 1 over time. */
  constructor(data, choose) {
    super(data.tokens.length, 110, choose);
    const gate = (at) => data.gates.map((gates) => gates[at]);
    this.curves = [
      ["input gate", "--green", gate(0)],
      ["forget gate", "--purple", gate(1)],
      ["output gate", "--faint", gate(2)],
    ];
    if (data.copyShare) this.curves.push(["copying", "--copied", data.copyShare]);
    if (data.nulls) {
      const mean = (row) => row.reduce((sum, share) => sum + share, 0) / row.length;
      this.curves.push(["reading", "--read", data.nulls.map((row) => 1000 - mean(row))]);
    }
    this.legend = make("p", "legend");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Gates and shares over time");
  }

  tint(name) {
    return name === "--read" || name === "--copied" ? colour(name, 1) : colour(name);
  }

  paintAll(context) {
    context.fillStyle = colour("--line");
    for (const level of [0, 0.5, 1]) {
      context.fillRect(0, (1 - level) * (this.height - 1), this.width, 1);
    }
    this.legend.replaceChildren();
    for (const [name, tint, curve] of this.curves) {
      context.strokeStyle = this.tint(tint);
      context.lineWidth = 1.3;
      context.beginPath();
      curve.forEach((value, step) => {
        context.lineTo(this.x(step + 0.5), (1 - value / 1000) * (this.height - 1));
      });
      context.stroke();
      const entry = make("b", "", name);
      entry.style.color = this.tint(tint);
      this.legend.append(entry, " ");
    }
    this.legend.append("from 0 to 1; of a gate, the mean over its units");
  }
}
