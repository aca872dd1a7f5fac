// The threshold sliders: rules that can be moved, what they would keep, and their YAML.
const asSealed = DATA.rules.map((rule) => ({ ...rule, on: true }));
let rules = asSealed.map((rule) => ({ ...rule }));
const sealed = judge(asSealed);
const sealedTally = tally(sealed);
let verdict = sealed;
const listeners = []; // called after the rules have changed and the page has come to rest
const scaled = (n) => n * (UNITS.planned / Math.max(1, UNITS.sampled));
let about = "";

const isChanged = () => toYaml(rules) !== toYaml(asSealed);

function buildRules() {
  find("rules").replaceChildren(...rules.map(ruleCard));
  if (!rules.length) find("rules").append(element("p", { class: "hint", text: "There are no rules: add one below." }));
}

function ruleCard(rule, index) {
  const column = COLUMNS.get(rule.column);
  const card = element("article", { class: "rule card" });
  const toggle = element("input", { type: "checkbox", checked: rule.on, "aria-label": `Use the rule on ${column.label}`, onchange: () => { rule.on = toggle.checked; refresh(); } });
  const remove = element("button", { class: "quiet", title: "Remove this rule", "aria-label": `Remove the rule on ${column.label}`, text: "✕", onclick: () => { rules = rules.filter((other) => other !== rule); buildRules(); refresh(); } });
  card.append(
    element("header", {}, toggle, element("b", { text: column.label }), rule.layout ? element("span", { class: "chip", text: `${rule.layout} only` }) : null, remove),
    element("p", { class: "says" }, element("span", { text: rule.reason || "no reason given" }), element("span", { class: "effect" })),
    element("div", { class: "plot" }),
    ...["min", "max"].filter((side) => rule[side] !== null).map((side) => boundRow(rule, side, index, column)));
  return card;
}

function boundRow(rule, side, index, column) {
  const { low, high, step } = rangeOf(column);
  const name = `${side === "min" ? "at least" : "at most"}`;
  const slider = element("input", { type: "range", min: Math.min(low, rule[side]), max: Math.max(high, rule[side]), step, value: rule[side], "data-rule": index, "data-bound": side, "aria-label": `${column.label} ${name}` });
  const exact = element("input", { type: "number", step: "any", value: rule[side], "aria-label": `${column.label} ${name}, as a number` });
  const set = (value) => {
    if (!Number.isFinite(value)) return;
    rule[side] = value;
    const other = side === "min" ? "max" : "min";
    if (rule[other] !== null && rule.min > rule.max) { rule[other] = value; showBound(index, other, value); }
    refresh();
  };
  slider.addEventListener("input", () => { exact.value = slider.value; set(Number(slider.value)); });
  exact.addEventListener("change", () => { slider.value = exact.value; set(exact.value === "" ? NaN : Number(exact.value)); });
  return element("div", { class: "bound" }, slider, element("div", { class: "row" }, element("span", { text: name }), exact));
}

function showBound(index, side, value) {
  const slider = find("rules").querySelector(`input[data-rule="${index}"][data-bound="${side}"]`);
  slider.value = value;
  slider.closest(".bound").querySelector("input[type=number]").value = value;
}

let frame = 0, rest = 0;
// Numbers at the next frame, pictures and plots once the hand rests.
function refresh() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    verdict = judge([...rules]);
    showCounts();
    clearTimeout(rest);
    rest = setTimeout(settle, 80);
  });
}

function settle() {
  drawRules();
  for (const listener of listeners) listener();
}

function drawRules() {
  rules.forEach((rule, index) => {
    const card = find("rules").children[index];
    drawHistogram(card.querySelector(".plot"), COLUMNS.get(rule.column), verdict, rules, rule);
  });
}

function flipCounts() {
  let gained = 0, lost = 0;
  for (let row = 0; row < UNITS.sampled; row++) {
    if (verdict.status[row] === KEPT && sealed.status[row] !== KEPT) gained++;
    if (verdict.status[row] !== KEPT && sealed.status[row] === KEPT) lost++;
  }
  return [gained, lost];
}

// Of all planned units: what the seal counted and, scaled up from the sample, what the sliders change in it.
function estimate(n, before, known) {
  return known === undefined ? scaled(n) : Math.max(0, known + scaled(n - before));
}

function showCounts() {
  const now = tally(verdict), changed = isChanged();
  about = EXACT || (DATA.known && !changed) ? "" : "≈ ";
  const [kept, rejected, failed] = now.status.map((n, i) => estimate(n, sealedTally.status[i], DATA.known?.[STATUS[i]]));
  const [gained, lost] = flipCounts();
  find("live-kept").textContent = about + number(kept);
  find("live-kept").dataset.counts = JSON.stringify(now.status);
  find("live-yield").textContent = `of ${number(UNITS.planned)} kept, yield ${percent(kept / (kept + rejected + failed))}`;
  find("live-stack").replaceChildren(...now.status.map((n, i) => (n ? element("i", { class: STATUS[i], style: `flex-grow:${n}` }) : null)).filter(Boolean));
  find("live-gained").replaceChildren(element("b", { class: gained ? "gain" : "", text: `+${number(scaled(gained))}` }), " newly kept");
  find("live-lost").replaceChildren(element("b", { class: lost ? "loss" : "", text: `−${number(scaled(lost))}` }), " newly dropped");
  showReasons(now);
  rules.forEach((rule, index) => {
    const card = find("rules").children[index];
    card.classList.toggle("off", !rule.on);
    card.querySelector(".effect").textContent = rule.on ? `rejects ${about}${number(scaled(now.rules.get(index) || 0))}` : "not used";
  });
  find("changed").hidden = !changed;
  find("changed-text").textContent = `${about}${number(kept)} kept (+${number(scaled(gained))} −${number(scaled(lost))})`;
  find("live-hint").textContent = hint(changed, now.status[PENDING]);
}

function showReasons(now) {
  const keys = [...new Set([...now.reasons.keys(), ...sealedTally.reasons.keys()])];
  const rows = keys.map((key) => {
    const n = now.reasons.get(key) || 0, before = sealedTally.reasons.get(key) || 0, known = DATA.known ? DATA.reasons[key] : undefined;
    return [key, estimate(n, before, known), known === undefined ? scaled(before) : known];
  });
  rows.sort((a, b) => b[1] - a[1] || b[2] - a[2]);
  const most = Math.max(1, ...rows.map((row) => row[1]));
  find("live-reasons").replaceChildren(...rows.slice(0, 8).map(([key, n, before]) => {
    const [status, reason] = key.split("\n");
    const delta = n - before;
    return element("li", { class: "row" }, element("span", { text: reason }),
      element("b", { text: number(n) }, Math.round(delta) ? element("span", { class: "delta", text: `${delta > 0 ? "+" : "−"}${number(Math.abs(delta))}` }) : null),
      element("i", { class: status, style: `width:${(100 * n) / most}%` }));
  }));
}

function hint(changed, pending) {
  const said = [];
  if (!EXACT) said.push(`Estimated from ${number(UNITS.sampled)} of ${number(UNITS.planned)} units, drawn at random.`);
  if (pending && changed) said.push("Pending units were spared a dear scorer: `curate run` scores them.");
  if (!LATER && (UNITS.after_reasons.length || changed)) said.push("Near-duplicates and split leaks stay as the seal found them.");
  return said.join(" ");
}

function reset() {
  rules = asSealed.map((rule) => ({ ...rule }));
  buildRules();
  refresh();
}

function showYaml() {
  find("yaml-text").value = toYaml(rules);
  find("yaml").showModal();
}

function copyYaml() {
  const area = find("yaml-text"), button = find("copy");
  const said = (text) => { button.textContent = text; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
  const byHand = () => { area.select(); said(document.execCommand("copy") ? "Copied" : "Press Ctrl-C"); };
  if (navigator.clipboard) navigator.clipboard.writeText(area.value).then(() => said("Copied"), byHand);
  else byHand();
}

function saveYaml() {
  const url = URL.createObjectURL(new Blob([find("yaml-text").value], { type: "text/yaml" }));
  element("a", { href: url, download: "rules.yaml" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function addRule(event) {
  event.preventDefault();
  const column = COLUMNS.get(find("add-column").value), side = find("add-bound").value, { low, high } = rangeOf(column);
  const rule = { column: column.name, min: null, max: null, reason: "", layout: find("add-layout").value || null, missing: "reject", on: true };
  rule[side] = side === "min" ? low : high;
  rules.push(rule);
  buildRules();
  refresh();
  find("rules").lastElementChild.querySelector("input[type=range]").focus();
}
