// All score histograms, drawn when they come into view, and two scores against each other.
const MAX_POINTS = 3000;
const visible = new Set();
const watcher = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  if (isIntersecting) { visible.add(target); drawScore(target); } else visible.delete(target);
}), { rootMargin: "200px" });

function buildHistograms() {
  for (const column of UNITS.columns) {
    const good = { low: "↓", high: "↑", "": "" }[column.good];
    const target = element("div", { class: "plot", "data-column": column.name });
    find("histograms").append(element("div", { class: "histogram card" }, element("h4", {}, column.label, element("span", { text: good, title: `${column.good} is good` })), target));
    watcher.observe(target);
  }
  watcher.observe(find("scatter"));
}

function drawScore(target) {
  if (target.id === "scatter") drawScatter();
  else drawHistogram(target, COLUMNS.get(target.dataset.column), verdict, rules);
}

// The gallery's units and as many of the sample as fit, coloured by what the sliders make of them.
function drawScatter() {
  const x = COLUMNS.get(find("scatter-x").value), y = COLUMNS.get(find("scatter-y").value);
  if (!x || !y) return;
  const every = Math.ceil(UNITS.sampled / MAX_POINTS);
  const rows = Array.from({ length: Math.ceil(UNITS.sampled / every) }, (_, i) => i * every);
  const inGallery = EXACT ? new Map(GALLERY.map((t) => [t.position, t])) : new Map(GALLERY.map((t) => [t.row, t]));
  if (!EXACT) rows.push(...GALLERY.map((t) => t.row));
  const groups = [["kept", KEPT, colour("kept")], ["rejected", REJECTED, colour("rejected")], ["pending", PENDING, colour("pending")]];
  const traces = groups.map(([name, status, color]) => {
    const own = rows.filter((row) => !UNITS.fixed[row] && verdict.status[row] === status && Number.isFinite(x.values[row]) && Number.isFinite(y.values[row]));
    return {
      type: "scatter", mode: "markers", name, x: own.map((row) => x.values[row]), y: own.map((row) => y.values[row]), customdata: own.map((row) => inGallery.get(row)?.id || ""),
      text: own.map((row) => { const t = inGallery.get(row); return t ? `${t.caption}<br>${t.style}`.replaceAll("<script", "") : ""; }),
      hovertemplate: `%{text}<br>%{x:.3f}, %{y:.3f}<extra>${name}</extra>`,
      marker: { color, size: rows.length > 800 ? 5 : 7, opacity: 0.75, line: { width: 0.5, color: colour("card") } },
    };
  }).filter((trace) => trace.x.length);
  const axis = (column) => ({ title: { text: column.label, standoff: 10 }, gridcolor: colour("line"), zeroline: false, fixedrange: true, automargin: true, range: [rangeOf(column).low, rangeOf(column).high] });
  const lines = (column, side) => rules.filter((rule) => rule.on && rule.column === column.name).flatMap((rule) => [rule.min, rule.max]).filter((b) => b !== null)
    .map((b) => (side === "x" ? { type: "line", xref: "x", yref: "paper", x0: b, x1: b, y0: 0, y1: 1 } : { type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: b, y1: b }))
    .map((line) => ({ ...line, line: { color: colour("ink"), width: 1.2, dash: "dash" } }));
  const layout = plainLayout(null, { margin: { l: 10, r: 10, t: 30, b: 10 }, showlegend: true, hovermode: "closest", legend: { orientation: "h", y: 1.08, x: 0 }, xaxis: axis(x), yaxis: axis(y), shapes: [...lines(x, "x"), ...lines(y, "y")] });
  Plotly.react("scatter", traces, layout, PLOT);
  find("scatter-hint").textContent = every > 1 ? `${number(rows.length)} of ${number(UNITS.sampled)} units` : "a click opens the triplet";
  if (!find("scatter").dataset.listens) {
    find("scatter").dataset.listens = "yes";
    find("scatter").on("plotly_click", (event) => {
      const triplet = GALLERY.find((t) => t.id === event.points[0].customdata);
      if (triplet) openLarge(triplet);
    });
  }
}
