// What rules decide: the same order and arithmetic as curate.seal (rules.py and judge.py).
const KEPT = 0, REJECTED = 1, FAILED = 2, PENDING = 3;
const STATUS = ["kept", "rejected", "failed", "pending"];

// A rule held against its column. Scores are float32 and bounds are rounded to it; whole numbers are compared as they are.
function measure(rule, index) {
  const column = COLUMNS.get(rule.column);
  const bound = (b, none) => (b === null ? none : column.whole ? b : Math.fround(b));
  return {
    rule, index, values: column.values, low: bound(rule.min, -Infinity), high: bound(rule.max, Infinity),
    layout: rule.layout ? UNITS.layouts.indexOf(rule.layout) : -1,
  };
}

// Status, reason and deciding rule (its place in ``rules``) of every row. A number out of bounds outweighs a scorer still to come, and that a missing number.
function judge(rules) {
  const measured = rules.map(measure).filter((m) => m.rule.on);
  const status = new Uint8Array(UNITS.rows), why = new Int16Array(UNITS.rows), by = new Int16Array(UNITS.rows).fill(-1);
  const reasons = [""], known = new Map([["", 0]]);
  const code = (text) => {
    if (!known.has(text)) { known.set(text, reasons.length); reasons.push(text); }
    return known.get(text);
  };
  for (let row = 0; row < UNITS.rows; row++) {
    const [found, reason, rule] = judgeRow(row, measured);
    status[row] = found;
    why[row] = code(reason);
    by[row] = rule;
  }
  if (LATER) judgeLater((row) => status[row] === KEPT, (row, reason) => { status[row] = REJECTED; why[row] = code(reason); });
  if (EXACT) for (const { row, position } of GALLERY) [status[row], why[row], by[row]] = [status[position], why[position], by[position]];
  return { status, why, by, reasons, rules };
}

function judgeRow(row, measured) {
  if (UNITS.fixed[row] === 3) return [REJECTED, UNITS.after_reasons[UNITS.after[row] - 1], -1];
  if (UNITS.fixed[row]) return UNITS.fixed[row] === 1 ? [FAILED, "failed before it was scored", -1] : [PENDING, "not made yet", -1];
  for (const m of measured) {
    if (m.layout >= 0 && UNITS.layout[row] !== m.layout) continue;
    const value = m.values[row];
    if (value < m.low) return [REJECTED, m.rule.reason || `${m.rule.column} too low`, m.index];
    if (value > m.high) return [REJECTED, m.rule.reason || `${m.rule.column} too high`, m.index];
  }
  if (UNITS.unseen[row]) return [PENDING, `not scored by ${UNITS.scorers[UNITS.unseen[row] - 1]}`, -1];
  for (const m of measured) {
    if (m.rule.missing === "ignore" || (m.layout >= 0 && UNITS.layout[row] !== m.layout)) continue;
    if (Number.isNaN(m.values[row])) return [m.rule.missing === "fail" ? FAILED : REJECTED, `${m.rule.column} missing`, m.index];
  }
  if (UNITS.after[row]) return [REJECTED, UNITS.after_reasons[UNITS.after[row] - 1], -1];
  return [KEPT, "", -1];
}

// Distance to the nearest bound, as a share of the column's range; negative = broken, Infinity = no rule judges it.
function margin(row, rules) {
  let nearest = Infinity;
  for (const m of rules.map(measure).filter((m) => m.rule.on)) {
    if (m.layout >= 0 && UNITS.layout[row] !== m.layout) continue;
    const { low, high } = rangeOf(COLUMNS.get(m.rule.column));
    const distance = Math.min(m.values[row] - m.low, m.high - m.values[row]) / (high - low);
    if (distance < nearest) nearest = distance;
  }
  return nearest;
}

// Counts over the sample (never the rows of the gallery): by status, by reason, by deciding rule.
function tally(verdict) {
  const status = [0, 0, 0, 0], reasons = new Map(), rules = new Map();
  for (let row = 0; row < UNITS.sampled; row++) {
    status[verdict.status[row]]++;
    if (verdict.status[row] !== KEPT) {
      const reason = verdict.reasons[verdict.why[row]];
      const key = `${STATUS[verdict.status[row]]}\n${reason}`;
      reasons.set(key, (reasons.get(key) || 0) + 1);
    }
    if (verdict.by[row] >= 0) rules.set(verdict.by[row], (rules.get(verdict.by[row]) || 0) + 1);
  }
  return { status, reasons, rules };
}

// YAML 1.1 takes 1e-7 for a word: a number needs its point.
function yamlNumber(value) {
  const text = String(value);
  return text.includes("e") && !text.includes(".") ? text.replace("e", ".0e") : text;
}

function toYaml(rules) {
  const lines = rules.filter((rule) => rule.on).map((rule) => {
    const parts = [`column: ${JSON.stringify(rule.column)}`];
    if (rule.min !== null) parts.push(`min: ${yamlNumber(rule.min)}`);
    if (rule.max !== null) parts.push(`max: ${yamlNumber(rule.max)}`);
    if (rule.layout) parts.push(`layout: ${rule.layout}`);
    if (rule.missing !== "reject") parts.push(`missing: ${rule.missing}`);
    if (rule.reason) parts.push(`reason: ${JSON.stringify(rule.reason)}`);
    return `  - {${parts.join(", ")}}`;
  });
  return lines.length ? `rules:\n${lines.join("\n")}\n` : "rules: []\n";
}
