// Light or dark: as the system has it, unless a person says otherwise.

const PLACE = "sendcat.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

function chosen() {
  const kept = localStorage.getItem(PLACE);
  return Object.hasOwn(NEXT, kept ?? "") ? kept : "auto";
}

function show(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = `Theme: ${theme}`;
}

export function turn() {
  const theme = NEXT[chosen()];
  localStorage.setItem(PLACE, theme);
  show(theme);
}

show(chosen());
document.getElementById("theme").addEventListener("click", turn);
