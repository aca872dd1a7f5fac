// Score histograms of two runs over each other, drawn when they come into view.
const DATA = JSON.parse(document.getElementById("data").textContent);
const shown = new Set();

function draw(target) {
  const shift = DATA.shifts[Number(target.dataset.at)];
  const bins = shift.shares[0].length, width = (shift.high - shift.low) / bins;
  const x = Array.from({ length: bins }, (_, i) => shift.low + (i + 0.5) * width);
  const trace = (name, y, color) => ({
    type: "scatter", mode: "lines", name, x, y, line: { color, width: 1.8, shape: "hvh" },
    hovertemplate: `%{y:.1%} of ${name}<extra></extra>`,
  });
  const layout = {
    margin: { l: 8, r: 8, t: 4, b: 20 }, showlegend: false, dragmode: false, hovermode: "x", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 11, color: colour("muted") }, hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    xaxis: { range: [shift.low, shift.high], fixedrange: true, showgrid: false, zeroline: false, nticks: 6 }, yaxis: { visible: false, fixedrange: true, rangemode: "tozero" },
  };
  Plotly.react(target, [trace("A", shift.shares[0], colour("run-a")), trace("B", shift.shares[1], colour("run-b"))], layout, { displayModeBar: false, responsive: true });
}

const watcher = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  if (isIntersecting) { shown.add(target); draw(target); } else shown.delete(target);
}), { rootMargin: "200px" });

DATA.shifts.forEach((shift, at) => {
  const card = document.createElement("div");
  card.className = "histogram card";
  const [a, b] = shift.medians.map((m) => m.toFixed(2).replace("-", "−"));
  const title = document.createElement("h4"), facts = document.createElement("p"), plot = document.createElement("div");
  title.textContent = `${shift.label} ${{ low: "↓", high: "↑", "": "" }[shift.good]}`;
  facts.className = "hint";
  facts.textContent = `median ${a} → ${b}, B above ${(100 * shift.above).toFixed(0)} %`;
  plot.className = "plot";
  plot.dataset.at = at;
  card.append(title, facts, plot);
  document.getElementById("histograms").append(card);
  watcher.observe(plot);
});
document.addEventListener("themechange", () => shown.forEach(draw));
for (const button of document.querySelectorAll(".show-rows")) button.addEventListener("click", () => { button.parentElement.querySelectorAll("tr.more").forEach((row) => { row.hidden = false; }); button.remove(); });
