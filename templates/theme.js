// Runs before anything is painted: choose the theme, and tell the style sheet that there is JavaScript.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const theme = localStorage.getItem("entra-tls-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // Storage may be forbidden for local files; the system's theme then stands.
  }
})();
