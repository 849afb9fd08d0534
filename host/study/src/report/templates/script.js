"use strict";
// Nothing on the page needs this: it adds filters and copy buttons.
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const show = (element, shown) => element.classList.toggle("off", !shown);

  const figures = document.getElementById("figure-filter");
  if (figures && figures.elements.length) {
    const subjects = all(".panel, .group");
    const apply = () => {
      const chosen = Array.from(new FormData(figures)).filter(([, value]) => value);
      for (const subject of subjects) {
        show(subject, chosen.every(([key, value]) => !(key in subject.dataset) || subject.dataset[key] === value));
      }
    };
    figures.hidden = false;
    figures.addEventListener("change", apply);
    figures.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  const filter = document.getElementById("prediction-filter");
  if (filter) {
    const articles = all(".prediction").map((article) => ({
      article,
      evaluation: article.dataset.evaluation,
      text: article.textContent.toLowerCase(),
      outputs: all(".output", article),
    }));
    const count = filter.querySelector(".count");
    const apply = () => {
      const { evaluation, variant, change, text } = Object.fromEntries(new FormData(filter));
      let shown = 0;
      for (const entry of articles) {
        let matches = 0;
        for (const output of entry.outputs) {
          const kind = output.dataset.change;
          const match = (!variant || output.dataset.variant === variant)
            && (!change || kind === change || (change === "differs" && kind !== "same"));
          show(output, match);
          matches += match;
        }
        const visible = matches > 0 && (!evaluation || entry.evaluation === evaluation)
          && entry.text.includes(text.toLowerCase());
        show(entry.article, visible);
        shown += visible;
      }
      count.textContent = `${shown} of ${articles.length} shown`;
    };
    filter.hidden = false;
    filter.addEventListener("input", apply);
    filter.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  for (const box of all(".copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const code = box.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        // No clipboard on this page's address: select the text, so that the usual key copies it.
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    box.append(button);
  }

  // A link to a closed box opens it.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();
})();
