"use strict";
// Shows a part of the matrix, and opens its cells. Text of boards and brokers becomes text
// nodes and nothing else: nothing in here makes markup of a string.
const data = JSON.parse(document.getElementById("data").textContent);
const table = document.getElementById("matrix");
const panel = document.getElementById("panel");
const filters = document.getElementById("filters");
const find = document.getElementById("find");
const WORDS = {pass: "passed", warn: "warned", fail: "failed", skip: "skipped", error: "error"};
const MARKS = {pass: "✓", warn: "!", fail: "✗", skip: "–", error: "⨂"};
const RUNGS = {"holds": "✓", "broken": "✗", "not seen": "–"};

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat().filter(one => one !== null && one !== undefined && one !== ""));
  return node;
};
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const mark = (text) => make("span", {class: "mark", "aria-hidden": "true"}, text);
const list = (value) => Array.isArray(value) ? value.filter(one => one && typeof one === "object") : [];
const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

// -- the matrix

const rows = [...table.tBodies].map(body => {
  const [head, ...cases] = [...body.rows];
  return {body, part: head.textContent.toLowerCase(), cases};
});
const heads = [...table.tHead.rows[0].cells].slice(1);
const boards = data.boards.map(one => `${one.name} ${one.kind} ${one.title}`.toLowerCase());

const choose = () => {
  const kind = new FormData(filters).get("show"), text = find.value.trim().toLowerCase();
  const isWhole = kind === "all" && !text;
  const columns = heads.map(() => isWhole);
  let cases = 0, cells = 0;
  for (const {body, part, cases: trs} of rows) {
    let ofPart = 0;
    for (const tr of trs) {
      const tds = [...tr.cells].slice(1);
      const isNamed = `${part} ${tr.cells[0].textContent}`.toLowerCase().includes(text);
      let shown = 0;
      tds.forEach((td, at) => {
        const isOf = kind === "all" || (td.dataset.is || "").split(" ").includes(kind);
        const isShown = isOf && (isNamed || boards[at].includes(text));
        td.classList.toggle("other", !isShown);
        if (isShown) columns[at] = true;
        shown += isShown;
      });
      tr.hidden = !isWhole && !shown;
      ofPart += !tr.hidden;
      cells += shown;
    }
    body.hidden = !ofPart;
    cases += ofPart;
  }
  heads.forEach((th, at) => { th.hidden = !columns[at]; });
  for (const {cases: trs} of rows)
    for (const tr of trs) [...tr.cells].slice(1).forEach((td, at) => { td.hidden = !columns[at]; });
  document.getElementById("shown").textContent = cells || isWhole
    ? `${many(cases, "case")} on ${many(columns.filter(Boolean).length, "board")}`
    : "No result is of this kind.";
  makeReachable();
};

const links = () => [...table.querySelectorAll("td:not([hidden], .other) a")].filter(one => one.offsetParent);

// One cell is reached by Tab, the others from it by the arrows: a thousand are too many to step over.
const makeReachable = (wanted) => {
  const all = links(), current = wanted || all.find(one => one.tabIndex === 0) || all[0];
  for (const one of table.querySelectorAll("td a")) one.tabIndex = one === current ? 0 : -1;
};

const beside = (link, key) => {
  const row = one => one.closest("tr"), column = one => one.closest("td").cellIndex;
  const all = links(), same = all.filter(one => row(one) === row(link));
  const stack = all.filter(one => column(one) === column(link));
  const step = (ones, by) => ones[ones.indexOf(link) + by];
  return {
    ArrowRight: () => step(same, 1), ArrowLeft: () => step(same, -1),
    ArrowDown: () => step(stack, 1), ArrowUp: () => step(stack, -1),
    Home: () => same[0], End: () => same[same.length - 1],
  }[key]?.();
};

table.addEventListener("keydown", event => {
  const link = event.target.closest("td a");
  if (!link || event.ctrlKey || event.altKey || event.metaKey) return;
  const next = beside(link, event.key);
  if (!next && !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  if (next) { makeReachable(next); next.focus(); }
});

// -- a cell's panel

const facts = (pairs) => make("dl", {class: "facts"}, pairs.filter(([, value]) => value)
  .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

const attempts = (ones) => make("table", {class: "attempts"},
  make("thead", {}, make("tr", {}, ["attempt", "ended", "after", "reason"].map(one => make("th", {scope: "col"}, one)))),
  make("tbody", {}, ones.map((one, at) => make("tr", {class: WORDS[one.verdict]},
    make("td", {}, String(at + 1)), make("td", {}, mark(MARKS[one.verdict]), " ", WORDS[one.verdict]),
    make("td", {}, `${one.seconds.toFixed(1)} s`), make("td", {}, one.reason || "")))));

const said = (value) => typeof value === "string" ? value : JSON.stringify(value) ?? "";
const seconds = (ms) => `${(ms / 1000).toFixed(3)} s`;

const timeLine = (events) => {
  let before = null;
  const lines = events.map(event => {
    const at = typeof event.t === "number" ? event.t : null, isBoot = event.ev === "boot";
    const since = at !== null && before !== null && !isBoot ? `+${seconds(at - before)}` : "";
    before = at;
    const fields = Object.entries(event).filter(([name]) => name !== "t" && name !== "ev");
    const kind = isBoot ? "boot" : event.ev === "error" ? "error" : "";
    return make("tr", {class: kind},
      make("td", {class: "time"}, at === null ? "?" : seconds(at)), make("td", {class: "time"}, since),
      make("td", {}, make("b", {}, said(event.ev ?? "?"))),
      make("td", {}, fields.map(([name, value]) => `${name}=${said(value)}`).join("  ")));
  });
  const heads = ["since boot", "after", "event", "fields"].map(one => make("th", {scope: "col"}, one));
  return make("div", {class: "scrolled", tabindex: "0"}, make("table", {class: "events"},
    make("thead", {}, make("tr", {}, heads)), make("tbody", {}, lines)));
};

const folded = (title, note, isOpen, content) => {
  const node = make("details", {}, make("summary", {}, title, " ", make("small", {}, note)));
  // What is folded is made when it is unfolded.
  const open = () => { if (node.open && node.childElementCount === 1) node.append(content()); };
  node.addEventListener("toggle", open);
  node.open = isOpen;
  open();
  return node;
};

const doctor = (found) => {
  const rungs = list(found.rungs).map(one => make("li", {class: said(one.state).replace(" ", "-")},
    mark(RUNGS[one.state] || "?"), ` ${said(one.name)}: `, said(one.text || one.state)));
  const seen = list(found.evidence).map(one => make("li", {}, make("b", {class: "source"}, said(one.source)),
    [one.text, one.seen && `seen ${one.seen}`, one.wanted && `wanted ${one.wanted}`].filter(Boolean).join("; ")));
  return [
    make("h3", {}, "What the doctor says"),
    found.code
      ? make("p", {}, make("code", {}, said(found.code)), found.confidence ? `, ${said(found.confidence)}: ` : ": ", said(found.cause || ""))
      : make("p", {}, found.note ? said(found.note) : "Nothing is seen to be broken between board and broker."),
    found.advice ? make("p", {}, said(found.advice)) : null,
    seen.length ? make("ul", {class: "failures"}, seen) : null,
    rungs.length ? make("ul", {class: "rungs"}, rungs) : null,
  ];
};

// -- plots

const WIDTH = 720, HEIGHT = 240, LEFT = 76, RIGHT = 16, TOP = 14, BOTTOM = 44;
const shown = (value) => {
  const size = Math.abs(value);
  if (size >= 1e9 || (size && size < 1e-4)) return value.toExponential(3).replace(/\.?0+e/, "e");
  return value.toLocaleString("en", {maximumSignificantDigits: size >= 1000 ? 6 : 4});
};

// Round numbers from below low to above high, about as many as wanted.
const ticks = (low, high, wanted) => {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(one => one * power).find(one => one >= rough);
  const first = Math.floor(low / step), count = Math.ceil(high / step - 1e-9) - first;
  // Values that differ by less than their own accuracy, or by more than there are numbers.
  if (!(count >= 1 && count <= 4 * wanted && Number.isSafeInteger(first))) return [low, high];
  return Array.from({length: count + 1}, (_, at) => (first + at) * step);
};

const plot = (measure) => {
  const values = measure.values, count = values.length, unit = measure.unit ? ` ${measure.unit}` : "";
  const sorted = [...values].sort((a, b) => a - b), least = sorted[0], most = sorted[count - 1];
  const half = count >> 1, median = count % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  // From zero, unless that would press the values flat.
  const low = least > 0 && least < .6 * most ? 0 : least, high = most > low ? most : low + (Math.abs(low) || 1) * .1;
  const marks = ticks(low, high, 4), bottom = marks[0], top = marks[marks.length - 1];
  const x = at => LEFT + (count > 1 ? at / (count - 1) : .5) * (WIDTH - LEFT - RIGHT);
  const y = value => HEIGHT - BOTTOM - (value - bottom) / (top - bottom || 1) * (HEIGHT - TOP - BOTTOM);
  const numbers = count > 1 ? ticks(1, count, 8).map(Math.round).filter((one, at, all) => one >= 1 && one <= count && one !== all[at - 1]) : [1];
  const words = count === 1 ? `one value, ${shown(least)}${unit}`
    : `${count} values from ${shown(least)} to ${shown(most)}${unit}, median ${shown(median)}${unit}`;
  const image = draw("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${measure.name}: ${words}`},
    marks.map(one => [
      draw("line", {class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(one), y2: y(one)}),
      draw("text", {x: LEFT - 8, y: y(one) + 4, "text-anchor": "end"}, shown(one))]).flat(),
    draw("line", {class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM}),
    numbers.map(one => draw("text", {x: x(one - 1), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle"}, String(one))),
    draw("text", {x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle"}, "number of the value"),
    draw("text", {x: 14, y: (HEIGHT - BOTTOM + TOP) / 2, "text-anchor": "middle",
      transform: `rotate(-90 14 ${(HEIGHT - BOTTOM + TOP) / 2})`}, measure.unit || "value"),
    count > 1 ? draw("path", {class: "line", d: `M${values.map((one, at) => `${x(at).toFixed(1)},${y(one).toFixed(1)}`).join("L")}`}) : null,
    count <= 200 ? values.map((one, at) => draw("circle", {class: "point", cx: x(at), cy: y(one), r: 4},
      draw("title", {}, `${at + 1}: ${shown(one)}${unit}`))) : null);
  return make("figure", {},
    make("figcaption", {}, make("b", {}, measure.name), make("p", {class: "soft"}, [words, measure.note].filter(Boolean).join(" · "))),
    image, folded("The values", unit.trim(), false, () => make("p", {}, values.map(shown).join(", "))));
};

const panelOf = (board, item, result) => {
  const was = result.was, isBad = result.verdict === "fail" || result.verdict === "error";
  const all = links(), at = all.findIndex(one => one.hash === location.hash);
  // The doctor's words are above already, rung by rung.
  const first = result.evidence.findIndex(one => one.title !== "doctor" || !result.diagnosis);
  const way = (one, words) => one ? make("a", {href: one.hash}, words) : null;
  const close = make("button", {type: "button"}, "Close");
  close.addEventListener("click", () => panel.close());
  return [
    make("div", {class: `panel-head ${WORDS[result.verdict]}`},
      make("nav", {"aria-label": "Cells"}, at >= 0 ? [way(all[at - 1], "← previous"), way(all[at + 1], "next →")] : [], close),
      make("h2", {id: "panel-title", tabindex: "-1"}, item.name),
      make("p", {class: WORDS[result.verdict]}, mark(MARKS[result.verdict]), " ", make("b", {}, WORDS[result.verdict]), " on ",
        make("b", {}, board.name), ` after ${result.seconds.toFixed(1)} s`)),
    make("div", {class: "panel-body"},
      item.criterion ? make("p", {class: "criterion"}, make("b", {}, "Criterion: "), item.criterion) : null,
      result.reason ? make("p", {class: `reason ${WORDS[result.verdict]}`}, result.reason) : null,
      result.warnings.map(one => make("p", {class: "reason warned"}, one)),
      facts([["case", item.id], ["rung", item.rung], ["board", [board.kind, board.place].filter(Boolean).join(", ")],
        ["MicroPython", board.micropython], ["firmware", board.firmware],
        ["before", was && `${WORDS[was.verdict]} after ${was.seconds.toFixed(1)} s, in ${data.previous}`]]),
      result.attempts.length > 1 ? [make("h3", {}, many(result.attempts.length, "attempt")), attempts(result.attempts)] : null,
      result.diagnosis ? doctor(result.diagnosis) : null,
      result.measures.length ? [make("h3", {}, "Measured"),
        result.measures.map(one => one.values.length ? plot(one) : make("p", {}, `${one.name}: no value`))].flat() : null,
      make("h3", {}, "Evidence"),
      result.events.length ? folded("The board's events", String(result.events.length), isBad, () => timeLine(result.events)) : null,
      result.evidence.map((one, number) => folded(one.title, many(one.text.split("\n").length, "line"), isBad && number === first,
        () => make("pre", {tabindex: "0"}, one.text))),
      result.events.length || result.evidence.length ? null : make("p", {class: "soft"}, "None was gathered.")),
  ];
};

const named = () => {
  const [board, ...rest] = location.hash.slice(1).split("/");
  try {
    const name = decodeURIComponent(board), id = decodeURIComponent(rest.join("/"));
    const b = data.boards.findIndex(one => one.name === name), c = data.cases.findIndex(one => one.id === id);
    return {board: data.boards[b], item: data.cases[c], result: data.results[`${b}/${c}`]};
  } catch { return {}; }  // no address of ours
};

const cellOf = (hash) => [...table.querySelectorAll("td a")].find(one => one.hash === hash);
let opened = null;

const show = () => {
  opened?.closest("td").classList.remove("open");
  const {board, item, result} = named();
  if (!result) { if (panel.open) panel.close(); return; }
  opened = cellOf(location.hash);
  opened?.closest("td").classList.add("open");
  if (opened) makeReachable(opened);
  panel.replaceChildren(...panelOf(board, item, result));
  panel.scrollTop = 0;
  if (!panel.open) panel.showModal();
  document.getElementById("panel-title").focus();
};

panel.addEventListener("close", () => {
  if (named().result) history.replaceState(null, "", location.href.split("#")[0]);
  opened?.closest("td").classList.remove("open");
  opened?.focus();
});
panel.addEventListener("click", event => { if (event.target === panel) panel.close(); });
window.addEventListener("hashchange", show);
filters.addEventListener("change", choose);
filters.addEventListener("submit", event => event.preventDefault());
find.addEventListener("input", choose);
filters.hidden = false;
choose();
show();
