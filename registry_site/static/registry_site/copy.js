"use strict";
// A button with data-copy="ID" copies the text of that element.
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // browsers allow the clipboard over HTTPS only
      button.textContent = "Press Ctrl+C";
    }
  });
}
