"use strict";
const button = document.getElementById("copy");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(document.getElementById("fix"));
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl-C";
  });
}
