// The data of the page, with its score columns unpacked into typed arrays.
const DATA = JSON.parse(document.getElementById("data").textContent);

function unpack(text, Type) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Type(bytes.buffer);
}

const UNITS = {
  ...DATA.units,
  layout: unpack(DATA.units.layout, Uint8Array),
  fixed: unpack(DATA.units.fixed, Uint8Array),
  after: unpack(DATA.units.after, Uint8Array),
  unseen: unpack(DATA.units.unseen, Uint8Array),
  columns: DATA.units.columns.map((c) => ({ ...c, values: unpack(c.data, c.whole ? Float64Array : Float32Array) })),
};
const COLUMNS = new Map(UNITS.columns.map((c) => [c.name, c]));
const EXACT = UNITS.sampled === UNITS.planned;
const GALLERY = DATA.gallery.map((triplet, i) => ({ ...triplet, row: UNITS.sampled + i }));

// Range of the finite numbers of the units that were made, with a step that makes round thresholds.
function rangeOf(column) {
  if (column.range) return column.range;
  let low = Infinity, high = -Infinity;
  column.values.forEach((v, row) => {
    if (!UNITS.fixed[row] && Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
  });
  if (low > high) { low = 0; high = 1; }
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 200));
  const step = column.whole ? Math.max(1, Math.round(span / 200)) : [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= 200);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const round = (v) => Number(v.toFixed(digits));
  column.range = { low: round((Math.floor(low / step) - 1) * step), high: round((Math.ceil(high / step) + 1) * step), step: round(step), digits };
  return column.range;
}

function shown(value, column) {
  if (Number.isNaN(value)) return "–";
  const text = Math.abs(value) >= 100 ? value.toPrecision(4) : value.toFixed(rangeOf(column).step < 0.004 ? 3 : 2);
  return Number(text) ? text.replace("-", "−") : text.replace("-", "");
}

const number = (n) => Math.round(n).toLocaleString("en");
const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const find = (id) => document.getElementById(id);
