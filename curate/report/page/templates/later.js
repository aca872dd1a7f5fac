// What a seal does after the rules, in the same order: near-duplicates within a side, then leaks across the sides
// (near_duplicates.py, split.py). null: the page has a sample of the units only, and keeps what the seal found.
const LATER = UNITS.later && unpackLater(UNITS.later);

function unpackLater(packed) {
  const later = { column: packed.column };
  for (const [name, text] of Object.entries(packed)) if (name !== "column") later[name] = unpack(text, name.endsWith("val") ? Uint8Array : Int32Array);
  later.near = new Map();
  const add = (one, other) => { if (later.near.has(one)) later.near.get(one).push(other); else later.near.set(one, [other]); };
  later.left.forEach((code, i) => { add(code, later.right[i]); add(later.right[i], code); });
  later.sources = later.source.reduce((most, source) => Math.max(most, source), 0) + 1;
  return later;
}

const withNear = (code) => [code, ...(LATER.near.get(code) || [])];

// ``isKept(row)`` by the rules; ``reject(row, reason)`` says otherwise.
function judgeLater(isKept, reject) {
  for (const row of LATER.unhashed) if (isKept(row)) reject(row, `${LATER.column} missing`);
  for (const row of [...twins(isKept, 0), ...twins(isKept, 1)]) reject(row, "near duplicate");
  for (const row of leaks(isKept)) reject(row, "leaks across the split");
}

// Units of one hash and one source share their fate; the first source of a hash keeps away the others, and what is near.
function twins(isKept, side) {
  const rejected = new Map(), sourceOf = new Map(), found = [];
  LATER.rows.forEach((row, i) => {
    if (LATER.val[i] !== side || !isKept(row)) return;
    const code = LATER.code[i], source = LATER.source[i], group = code * LATER.sources + source;
    if (!rejected.has(group)) {
      rejected.set(group, withNear(code).some((near) => sourceOf.has(near) && sourceOf.get(near) !== source));
      if (!rejected.get(group)) sourceOf.set(code, source);
    }
    if (rejected.get(group)) found.push(row);
  });
  return found;
}

// Kept val units with a subject of, or a look like, a kept train unit.
function leaks(isKept) {
  const codes = new Set(), subjects = new Set(), found = new Set();
  LATER.rows.forEach((row, i) => { if (!LATER.val[i] && isKept(row)) codes.add(LATER.code[i]); });
  LATER.shared.forEach((row, i) => { if (!LATER.shared_val[i] && isKept(row)) subjects.add(LATER.subject[i]).add(LATER.style_subject[i]); });
  subjects.delete(-1);
  LATER.rows.forEach((row, i) => { if (LATER.val[i] && isKept(row) && withNear(LATER.code[i]).some((near) => codes.has(near))) found.add(row); });
  LATER.shared.forEach((row, i) => { if (LATER.shared_val[i] && isKept(row) && (subjects.has(LATER.subject[i]) || subjects.has(LATER.style_subject[i]))) found.add(row); });
  return found;
}
