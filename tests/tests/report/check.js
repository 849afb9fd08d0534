// Looks for what a reader would trip over; gives a list of findings, empty for a good page.
(() => {
  const findings = [];
  const find = (what, element) => findings.push(`${what}: ${(element?.outerHTML ?? element ?? "").slice(0, 160)}`);
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });

  // No sideways scrolling of the page as a whole.
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) find("the page is too wide", `${root.scrollWidth} > ${root.clientWidth}`);

  // No text over other text. What a scrolling box hides does not count.
  const clips = new Map();
  const clip = (element) => {
    if (!element || element === document.body) return { left: -1e9, top: -1e9, right: 1e9, bottom: 1e9 };
    if (!clips.has(element)) {
      const outer = clip(element.parentElement);
      const style = getComputedStyle(element);
      const hides = (overflow) => overflow !== "visible" && !(element instanceof SVGElement);
      const box = element.getBoundingClientRect();
      const inner = { ...outer };
      if (hides(style.overflowX)) Object.assign(inner, { left: Math.max(outer.left, box.left), right: Math.min(outer.right, box.right) });
      if (hides(style.overflowY)) Object.assign(inner, { top: Math.max(outer.top, box.top), bottom: Math.min(outer.bottom, box.bottom) });
      clips.set(element, inner);
    }
    return clips.get(element);
  };
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, style, title, option, .skip") || !visible(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = parent instanceof SVGElement ? [parent.getBoundingClientRect()] : range.getClientRects();
    const { left, top, right, bottom } = clip(parent);
    for (const rect of rects) {
      const box = {
        node,
        left: Math.max(rect.left, left) + 1, right: Math.min(rect.right, right) - 1,
        top: Math.max(rect.top, top) + 1.5, bottom: Math.min(rect.bottom, bottom) - 1.5,
      };
      if (box.left < box.right && box.top < box.bottom) boxes.push(box);
      if (box.left < box.right && box.right > root.clientWidth + 1) find("text leaves the page", parent);
    }
  }
  boxes.sort((a, b) => a.top - b.top);
  boxes.forEach((box, index) => {
    for (let next = index + 1; next < boxes.length && boxes[next].top < box.bottom; next += 1) {
      const other = boxes[next];
      if (other.node !== box.node && other.left < box.right && box.left < other.right) {
        find("text over text", `"${box.node.data.trim()}" and "${other.node.data.trim()}"`);
      }
    }
  });
  if (boxes.length < 300) find("little text is visible", `${boxes.length} boxes`);

  // Structure: headings in order, ids once, links that lead somewhere, tables and controls with names.
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) find("a heading skips a level", heading);
    level = own;
  }
  const ids = all("[id]").map((element) => element.id);
  if (new Set(ids).size !== ids.length) find("an id is used twice", ids.find((id, index) => ids.indexOf(id) !== index));
  for (const link of all("a[href^='#'], use")) {
    if (!document.getElementById(link.getAttribute("href").slice(1))) find("a link to nothing", link);
  }
  for (const table of all("table")) if (!table.caption || !table.querySelector("th[scope]")) find("a table without names", table);
  for (const control of all("select, input")) if (!control.labels.length) find("a control without a label", control);
  for (const region of all("[role=region], [role=img]")) if (!region.getAttribute("aria-label")) find("no name", region);

  // What scrolls can be scrolled by keyboard.
  for (const box of all(".scroll, pre")) if (box.tabIndex !== 0) find("cannot be scrolled by keyboard", box);

  // Predictions stayed text.
  if (all("script").length !== 1 || all("img, iframe, object, embed, link[rel=stylesheet]").length) find("foreign elements", "");
  return findings;
})()
