// Histograms by plotly.js: stacked bars of counts, thresholds as lines, what they shut out shaded.
const BINS = 44;
const PLOT = { displayModeBar: false, responsive: true };

// Counts of the kept and of all else that was made, a number a bin; layout -1 = any.
function binned(column, verdict, layout) {
  const { low, high } = rangeOf(column);
  const counts = [new Array(BINS).fill(0), new Array(BINS).fill(0)];
  const scale = BINS / (high - low);
  for (let row = 0; row < UNITS.sampled; row++) {
    const value = column.values[row];
    if (UNITS.fixed[row] || !Number.isFinite(value) || (layout >= 0 && UNITS.layout[row] !== layout)) continue;
    counts[verdict.status[row] === KEPT ? 0 : 1][Math.min(BINS - 1, Math.max(0, Math.floor((value - low) * scale)))]++;
  }
  return counts;
}

function plainLayout(range, extra = {}) {
  return {
    margin: { l: 8, r: 8, t: 4, b: 20 }, barmode: "stack", bargap: 0.08, showlegend: false, dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x",
    font: { family: "system-ui, sans-serif", size: 11, color: colour("muted") },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink"), size: 12 } },
    xaxis: { range, fixedrange: true, showgrid: false, zeroline: false, nticks: 6, tickcolor: colour("line"), ticks: "outside", ticklen: 3 },
    yaxis: { visible: false, fixedrange: true, rangemode: "tozero" },
    ...extra,
  };
}

function thresholdShapes(rules, column, highlighted) {
  const { low, high } = rangeOf(column);
  const shapes = [];
  for (const rule of rules) {
    if (!rule.on || rule.column !== column.name) continue;
    for (const [bound, from] of [[rule.min, low], [rule.max, high]]) {
      if (bound === null) continue;
      const strong = highlighted ? rule === highlighted : !rule.layout;
      if (strong) shapes.push({ type: "rect", xref: "x", yref: "paper", x0: from, x1: bound, y0: 0, y1: 1, line: { width: 0 }, fillcolor: colour("ink"), opacity: 0.07, layer: "below" });
      shapes.push({ type: "line", xref: "x", yref: "paper", x0: bound, x1: bound, y0: 0, y1: 1, line: { color: colour("ink"), width: strong ? 1.5 : 1, dash: strong ? "solid" : "dot" } });
    }
  }
  return shapes;
}

// Draw or update: kept below, all else that was made above it. With a highlighted rule, only the units that it judges.
function drawHistogram(target, column, verdict, rules, highlighted) {
  const { low, high } = rangeOf(column);
  const width = (high - low) / BINS;
  const x = Array.from({ length: BINS }, (_, i) => low + (i + 0.5) * width);
  const [kept, other] = binned(column, verdict, highlighted?.layout ? UNITS.layouts.indexOf(highlighted.layout) : -1);
  const trace = (name, y, color) => ({ type: "bar", name, x, y, width, marker: { color }, hovertemplate: `%{y:,} ${name}<extra></extra>` });
  Plotly.react(target, [trace("kept", kept, colour("kept")), trace("not kept", other, colour("rejected"))],
    plainLayout([low, high], { shapes: thresholdShapes(rules, column, highlighted) }), PLOT);
}
