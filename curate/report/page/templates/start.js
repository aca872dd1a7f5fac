// Puts the pieces together: choices, events, keys.
function fillChoices() {
  const options = () => UNITS.columns.map((c) => element("option", { value: c.name, text: c.label }));
  for (const id of ["add-column", "scatter-x", "scatter-y"]) find(id).append(...options());
  find("sort").append(...options());
  const names = UNITS.columns.map((c) => c.name);
  const first = (test) => names.find(test) || names[0] || "";
  find("scatter-x").value = first((name) => name.endsWith("style.style_stylized"));
  find("scatter-y").value = first((name) => name.endsWith(".content_stylized") && !name.endsWith("style.content_stylized") && DATA.rules.some((rule) => rule.column === name))
    || first((name) => name !== find("scatter-x").value);
  const styles = [...new Set(GALLERY.map((t) => t.style))].filter(Boolean).sort();
  find("by-style").append(...styles.map((style) => element("option", { value: style, text: style })));
}

function listen() {
  for (const id of ["by-status", "by-reason", "by-style", "by-layout", "sort", "order"]) find(id).addEventListener("change", () => { limit = PAGE; showGallery(); });
  find("search").addEventListener("input", () => { limit = PAGE; showGallery(); });
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("more").addEventListener("click", () => { limit += PAGE; showGallery(); });
  find("add-rule").addEventListener("submit", addRule);
  for (const id of ["scatter-x", "scatter-y"]) find(id).addEventListener("change", drawScatter);
  for (const id of ["show-yaml", "changed-yaml"]) find(id).addEventListener("click", showYaml);
  for (const id of ["reset", "changed-reset"]) find(id).addEventListener("click", reset);
  for (const id of ["show-flips", "changed-flips"]) find(id).addEventListener("click", () => showOnly({ status: "flips" }));
  find("copy").addEventListener("click", copyYaml);
  find("save").addEventListener("click", saveYaml);
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  for (const button of document.querySelectorAll("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const button of document.querySelectorAll("button.reason")) button.addEventListener("click", () => showOnly({ reason: button.dataset.reason }));
  for (const button of document.querySelectorAll(".show-rows")) button.addEventListener("click", () => { button.parentElement.querySelectorAll("tr.more").forEach((row) => { row.hidden = false; }); button.remove(); });
  document.addEventListener("keydown", onKey);
  document.addEventListener("themechange", settle);
}

function onKey(event) {
  if (find("large").open && (event.key === "ArrowLeft" || event.key === "ArrowRight")) step(event.key === "ArrowLeft" ? -1 : 1);
  else if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && !document.querySelector("dialog[open]")) { event.preventDefault(); find("search").focus(); }
}

function markSection() {
  const spy = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    if (isIntersecting) document.querySelectorAll("nav a").forEach((a) => a.classList.toggle("here", a.hash === `#${target.id}`));
  }), { rootMargin: "-45% 0px -50% 0px" });
  document.querySelectorAll("main > section").forEach((section) => spy.observe(section));
}

fillChoices();
buildRules();
listeners.push(showGallery, () => visible.forEach(drawScore));
showGlance();
showCounts();
settle();
buildHistograms();
listen();
markSection();
