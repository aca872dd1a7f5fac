// Light, dark or as the system has it; runs before the page is painted.
const THEMES = ["auto", "light", "dark"];
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";
try { theme = localStorage.getItem("curate-theme") || "auto"; } catch { /* a page from disk may have no storage */ }

function applyTheme() {
  const dark = theme === "dark" || (theme === "auto" && systemIsDark.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.dispatchEvent(new Event("themechange"));
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

applyTheme();
systemIsDark.addEventListener("change", applyTheme);
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const label = () => { button.textContent = `◐ ${theme}`; };
  label();
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try { localStorage.setItem("curate-theme", theme); } catch { /* then it lasts as long as the page */ }
    label();
    applyTheme();
  });
});
