// The gallery: cards of triplets that follow the sliders, filters, order, and a large view.
const PAGE = 24;
let inView = [], limit = PAGE, largeAt = 0;
const statusOf = (triplet, of = verdict) => STATUS[of.status[triplet.row]];
const reasonOf = (triplet, of = verdict) => of.reasons[of.why[triplet.row]];
const isFlip = (triplet) => (verdict.status[triplet.row] === KEPT) !== (sealed.status[triplet.row] === KEPT);
const ruledColumns = () => [...new Set(rules.filter((rule) => rule.on).map((rule) => rule.column))].map((name) => COLUMNS.get(name));

function pictures(triplet) {
  const image = (role) => {
    const img = element("img", { src: triplet.pictures[role], alt: `${role}: ${role === "style" ? triplet.style_caption : triplet.caption}`, decoding: "async" });
    return element("figure", {}, img, element("figcaption", { text: role }));
  };
  return element("div", { class: "pictures" }, image("content"), image("style"), image("stylized"));
}

function verdictLine(triplet) {
  const status = statusOf(triplet), before = statusOf(triplet, sealed);
  const flipped = isFlip(triplet);
  const text = flipped ? `${before} → ${status}` : status;
  return element("div", { class: "verdict-line" }, element("span", { class: `chip ${status}`, text }), " ", reasonOf(triplet));
}

function scoreRows(triplet, columns) {
  const decides = verdict.by[triplet.row] >= 0 ? verdict.rules[verdict.by[triplet.row]].column : "";
  return columns.flatMap((column) => {
    const mark = column.name === decides ? "decides" : "";
    return [element("dt", { class: mark, text: column.label, title: column.label }), element("dd", { class: mark, text: shown(column.values[triplet.row], column) })];
  });
}

function card(triplet, small = false) {
  const made = element("button", { class: `triplet ${statusOf(triplet)} ${isFlip(triplet) ? "flipped" : ""} ${small ? "small" : ""}`, "data-id": triplet.id, onclick: () => openLarge(triplet) },
    pictures(triplet),
    element("div", { class: "title" }, element("b", { text: triplet.caption || triplet.id.slice(0, 10) }), element("span", { class: "hint", text: small ? "" : triplet.style || "no style label" })),
    verdictLine(triplet));
  if (!small) made.append(element("dl", {}, ...scoreRows(triplet, ruledColumns().slice(0, 6))));
  return made;
}

function filtered() {
  const status = find("by-status").value, reason = find("by-reason").value, style = find("by-style").value;
  const layout = find("by-layout").value, words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = GALLERY.filter((t) => (!status || (status === "flips" ? isFlip(t) : statusOf(t) === status))
    && (!reason || reasonOf(t) === reason) && (!style || t.style === style) && (!layout || t.layout === layout)
    && words.every((word) => `${t.caption} ${t.style_caption} ${t.style} ${t.id} ${t.split}`.toLowerCase().includes(word)));
  const key = find("sort").value, sign = Number(find("order").value);
  if (!key) return found;
  const value = key === "near" ? (t) => Math.abs(margin(t.row, rules)) : (t) => COLUMNS.get(key).values[t.row];
  const sorted = found.map((t) => [value(t), t]);
  sorted.sort(([a], [b]) => Number.isNaN(a) - Number.isNaN(b) || (Number.isNaN(a) ? 0 : sign * (a - b) || 0)); // units without the number come last
  return sorted.map(([, t]) => t);
}

function showGallery() {
  showReasonChoices();
  inView = filtered();
  const kept = inView.filter((t) => statusOf(t) === "kept").length;
  find("shown").textContent = `${number(inView.length)} shown, ${number(kept)} kept`;
  const empty = find("by-status").value === "flips" ? "No picture here flips: move a slider." : "No triplet here fits these filters.";
  find("cards").replaceChildren(...(inView.length ? inView.slice(0, limit).map((t) => card(t)) : GALLERY.length ? [element("p", { class: "hint", text: empty })] : []));
  find("more").hidden = inView.length <= limit;
}

function showReasonChoices() {
  const select = find("by-reason"), chosen = select.value;
  const reasons = [...new Set([...GALLERY.map((t) => reasonOf(t)), chosen])].filter(Boolean).sort();
  select.replaceChildren(element("option", { value: "", text: "any" }), ...reasons.map((reason) => element("option", { value: reason, text: reason })));
  select.value = chosen;
}

function showOnly({ status = "", reason = "" }) {
  for (const id of ["by-style", "by-layout", "search", "sort"]) find(id).value = "";
  showReasonChoices();
  find("by-status").value = status;
  if (reason && ![...find("by-reason").options].some((option) => option.value === reason)) find("by-reason").append(element("option", { value: reason, text: reason }));
  find("by-reason").value = reason;
  limit = PAGE;
  showGallery();
  find("gallery").scrollIntoView();
}

function openLarge(triplet) {
  if (!inView.includes(triplet)) inView = GALLERY;
  largeAt = inView.indexOf(triplet);
  drawLarge();
  if (!find("large").open) find("large").showModal();
}

function drawLarge() {
  const triplet = inView[largeAt];
  const facts = [triplet.style || "no style label", `${triplet.layout} layout`, triplet.split, `style shows: ${triplet.style_caption}`, triplet.id];
  find("large-body").replaceChildren(pictures(triplet), element("h3", { text: triplet.caption || "no caption" }), verdictLine(triplet),
    element("p", { class: "facts", text: facts.filter(Boolean).join(" · ") }),
    triplet.errors ? element("p", { class: "facts failed-ink", text: triplet.errors }) : "",
    element("dl", {}, ...scoreRows(triplet, UNITS.columns)));
  find("previous").disabled = largeAt === 0;
  find("next").disabled = largeAt === inView.length - 1;
}

function step(by) {
  const to = largeAt + by;
  if (to >= 0 && to < inView.length) { largeAt = to; drawLarge(); }
}

// A few of each for the first screen, and the pairs of near-duplicates.
function showGlance() {
  const some = (status, n) => GALLERY.filter((t) => statusOf(t, sealed) === status).slice(0, n);
  const chosen = [...some("kept", 3), ...some("rejected", 3)];
  find("glance").hidden = chosen.length < 2;
  find("glance").replaceChildren(...chosen.map((t) => card(t, true)));
  const byId = new Map(GALLERY.map((t) => [t.id, t]));
  const pairs = GALLERY.filter((t) => byId.has(t.twin)).slice(0, 12);
  find("twins").replaceChildren(...pairs.map((t) => element("button", { title: "A rejected target and the kept one it resembles", onclick: () => openLarge(t) },
    ...[t, byId.get(t.twin)].map((one) => element("img", { src: one.pictures.stylized, alt: one.caption })))));
}
