"use strict";
// What pages gain from JavaScript. Each is whole without it.

// `/` leads to the search box, as on many sites.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = document.querySelector("main [type=search]") ?? document.querySelector("[type=search]");
  if (!box) return;
  event.preventDefault();
  box.focus();
  box.select();
});

// The menu of the account closes when the focus or a click goes elsewhere.
for (const menu of document.querySelectorAll("details.menu")) {
  const closeOutside = (event) => { if (!menu.contains(event.target)) menu.open = false; };
  document.addEventListener("click", closeOutside);
  document.addEventListener("focusin", closeOutside);
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// A button with data-copy="ID" copies the text of that element. Without JavaScript it is hidden.
const announcement = document.getElementById("announcement");
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const [label] = button.childNodes; // further ones are for screen readers
  const before = label.textContent;
  const say = (text) => { label.textContent = text; if (announcement) announcement.textContent = text; };
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      say("Copied");
    } catch {
      getSelection().selectAllChildren(source); // browsers allow the clipboard over HTTPS only
      say("Press Ctrl+C");
    }
    setTimeout(() => { label.textContent = before; if (announcement) announcement.textContent = ""; }, 3000);
  });
}

// What scrolls sideways can be reached by keyboard; most browsers do so by themselves.
function letFocusScroll() {
  for (const block of document.querySelectorAll("pre, article, article table")) {
    if (block.scrollWidth > block.clientWidth || block.scrollHeight > block.clientHeight) block.tabIndex = 0;
  }
}
letFocusScroll();
addEventListener("resize", letFocusScroll);
