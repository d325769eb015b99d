"use strict";
// The page: what is chosen, and one view for each exhibit.

/** What a step looked at: thousandths by token, and by occupant (sources below 0). */
function seenAt(data, step, head) {
  const found = { read: new Map(), copied: new Map(), held: null };
  found.read.byOccupant = new Map();
  found.copied.byOccupant = new Map();
  const add = (into, flat, parts) => {
    for (const [what, weight] of pairs(flat)) {
      const token = what < 0 ? what : data.occupants.step[what];
      into.set(token, (into.get(token) || 0) + weight / parts);
      into.byOccupant.set(what, (into.byOccupant.get(what) || 0) + weight / parts);
    }
  };
  if (data.reads) {
    const heads = data.reads[step];
    if (head >= 0 && head < heads.length) add(found.read, heads[head], 1);
    else heads.forEach((flat) => add(found.read, flat, heads.length));
  }
  if (data.copies) add(found.copied, data.copies[step], 1);
  if (data.occupants) {
    found.held = new Set();
    data.occupants.step.forEach((came, at) => {
      if (came <= step && step < data.occupants.end[at]) found.held.add(came);
    });
  }
  return found;
}

class View {
  /** One exhibit: text, step, lives of slots, curves, lists. */
  constructor(data, choose) {
    this.data = data;
    this.steps = data.tokens.length;
    this.element = make("section", "exhibit");
    this.text = new Text(data, choose);
    this.step = new Step(data);
    this.charts = [];
    const facts = make("p", "facts");
    for (const [name, value] of data.facts) facts.append(make("span", "", `${name}: ${value}`), " ");
    const columns = make("div", "columns"), left = make("div"), right = make("div");
    left.append(this.text.element);
    right.append(this.step.element);
    columns.append(left, right);
    this.element.append(make("h2", "", data.title), facts, columns);
    if (data.occupants) {
      const lives = new Lives(data, choose), scroll = make("div", "scroll");
      scroll.append(lives.canvas);
      this.element.append(
        make("h3", "", "Slots: one row each, time to the right, bluer the more it was looked at"),
        scroll, lives.under);
      this.charts.push(lives);
    }
    const curves = new Curves(data, choose);
    this.element.append(make("h3", "", "Over time"), curves.canvas, curves.legend);
    this.charts.push(curves);
    if (data.occupants) this.element.append(this.lists(choose));
  }

  /** What was looked at most, and what never. */
  lists(choose) {
    const { step, end, read, copied } = this.data.occupants;
    const used = step.map((_, at) => read[at] + copied[at]);
    const order = used.map((_, at) => at).sort((a, b) => used[b] - used[a] || a - b);
    const most = order.filter((at) => used[at] >= 10).slice(0, 8);
    // What came at the very end had no time to be looked at.
    const never = order.filter((at) => used[at] < 10 && end[at] < this.steps).sort((a, b) => a - b);
    const lists = make("div", "lists");
    const add = (title, found, tell) => {
      const list = make("ol"), box = make("div");
      for (const at of found) {
        const button = make("button", "", label(this.data.tokens[step[at]]));
        button.addEventListener("click", () => choose(step[at]));
        const item = make("li");
        button.prepend(make("span", "context", before(this.data, step[at])));
        item.append(button, make("span", "facts", ` ${tell(at)}`));
        list.append(item);
      }
      box.append(make("h3", "", title), list);
      lists.append(box);
    };
    add("Looked at most", most, (at) => `step ${step[at]}, ${(used[at] / 1000).toFixed(2)} times`);
    add(`Discarded unseen (${never.length})`, never.slice(0, 8), (at) => `steps ${step[at]} to ${end[at]}`);
    return lists;
  }

  redraw() {
    for (const chart of this.charts) chart.redraw();
  }

  show(step, head) {
    const at = Math.min(step, this.steps - 1);
    this.text.show(at, seenAt(this.data, at, head));
    this.step.show(at, head);
    for (const chart of this.charts) chart.show(at, head);
  }
}

class Page {
  constructor(exhibits) {
    this.at = 0;
    this.head = -1;
    this.timer = null;
    const main = document.getElementById("exhibits");
    this.views = exhibits.map((data) => new View(data, (step) => this.go(step)));
    main.append(...this.views.map((view) => view.element));
    main.className = exhibits.length > 1 ? "several" : "alone";
    this.steps = Math.max(...this.views.map((view) => view.steps));
    this.slider = document.getElementById("slider");
    this.slider.max = this.steps - 1;
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.heads = Math.max(...exhibits.map((data) => (data.reads ? data.reads[0].length : 0)));
    document.getElementById("key-read").hidden = !exhibits.some((data) => data.reads);
    document.getElementById("key-copied").hidden = !exhibits.some((data) => data.copies);
    this.select = document.getElementById("head");
    for (let head = -1; head < this.heads; head++) {
      const option = make("option", "", head < 0 ? "all" : String(head + 1));
      option.value = head;
      this.select.append(option);
    }
    this.select.parentElement.hidden = this.heads < 2;
    this.select.addEventListener("change", () => this.choose(Number(this.select.value)));
    const jumps = { first: () => 0, back: () => this.at - 1, next: () => this.at + 1, last: () => this.steps };
    for (const [name, to] of Object.entries(jumps)) {
      document.getElementById(name).addEventListener("click", () => this.go(to()));
    }
    document.getElementById("play").addEventListener("click", () => this.play());
    document.getElementById("theme").addEventListener("click", () => this.theme());
    document.addEventListener("keydown", (event) => this.press(event));
    window.addEventListener("resize", () => this.redraw());
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    this.go(Math.min(this.steps - 1, Math.floor(this.steps / 2)));
    this.redraw();
  }

  go(step) {
    this.at = Math.max(0, Math.min(this.steps - 1, step));
    this.slider.value = this.at;
    for (const view of this.views) view.show(this.at, this.head);
  }

  choose(head) {
    if (head >= this.heads) return;
    this.head = head;
    this.select.value = head;
    this.go(this.at);
  }

  redraw() {
    for (const view of this.views) view.redraw();
    this.go(this.at);
  }

  theme() {
    const { dataset } = document.documentElement;
    dataset.theme = dataset.theme === "dark" ? "light" : "dark";
    this.redraw();
  }

  play() {
    const button = document.getElementById("play");
    if (this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
    } else {
      this.timer = setInterval(() => {
        if (this.at === this.steps - 1) this.play();
        else this.go(this.at + 1);
      }, 250);
    }
    button.textContent = this.timer === null ? "play" : "pause";
  }

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.tagName === "SELECT") return;
    const jumps = {
      ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10,
      Home: -this.steps, End: this.steps,
    };
    if (event.key in jumps) this.go(this.at + jumps[event.key]);
    else if (event.key === " " && event.target.tagName !== "BUTTON") this.play();
    else if (event.key === "t") this.theme();
    else if (/^[0-9]$/.test(event.key)) this.choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
  }
}

window.page = new Page(JSON.parse(document.getElementById("data").textContent).exhibits);
