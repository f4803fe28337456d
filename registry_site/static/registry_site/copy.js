"use strict";
// A button with data-copy="ID" copies the text of that element.
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // without HTTPS there is no clipboard: Ctrl+C does it then
      button.textContent = "Press Ctrl+C";
    }
  });
}
