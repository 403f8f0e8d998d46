"use strict";
/* The prompt switcher: the page holds all texts as JSON and asks nobody for anything. */
(() => {
  const at = (id) => document.getElementById(id);
  const made = (tag, text, worn) => Object.assign(document.createElement(tag), { textContent: text ?? "", className: worn || "" });
  const opened = [];
  addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((fold) => { fold.open = true; opened.push(fold); }));
  addEventListener("afterprint", () => opened.splice(0).forEach((fold) => { fold.open = false; }));
  if (at("texts")) at("texts").hidden = false;
  if (!at("data")) return;
  const data = JSON.parse(at("data").textContent);
  const shown = new Set(data.shown);
  const which = at("which");
  data.groups.forEach((group) => {
    const part = which.appendChild(Object.assign(document.createElement("optgroup"), { label: group.title }));
    group.items.forEach((item) => part.append(made("option", item.prompt)));
  });
  const items = data.groups.flatMap((group) => group.items);
  const card = (name, answer) => {
    const box = made("div", "", "card");
    const head = box.appendChild(made("h4", name));
    if (answer.grade !== null) head.append(made("span", answer.grade, "grade g" + answer.grade));
    const text = box.appendChild(document.createElement("p"));
    answer.said.forEach((part, n) => text.append(n % 2 ? made("mark", part) : part));
    if (answer.about) box.append(made("span", answer.about, "aside"));
    return box;
  };
  const show = () => {
    const item = items[which.selectedIndex];
    at("asked").replaceChildren(item.prompt + " …", made("span", item.about, "aside"));
    at("answers").replaceChildren(...data.models.flatMap((name, n) => (shown.has(name) && item.answers[n] ? [card(name, item.answers[n])] : [])));
    at("back").disabled = which.selectedIndex === 0;
    at("on").disabled = which.selectedIndex === items.length - 1;
  };
  data.models.forEach((name) => {
    const label = at("models").appendChild(document.createElement("label"));
    const box = label.appendChild(Object.assign(document.createElement("input"), { type: "checkbox", checked: shown.has(name) }));
    label.append(name);
    box.addEventListener("change", () => { if (box.checked) shown.add(name); else shown.delete(name); show(); });
  });
  which.addEventListener("change", show);
  at("back").addEventListener("click", () => { which.selectedIndex -= 1; show(); });
  at("on").addEventListener("click", () => { which.selectedIndex += 1; show(); });
  show();
})();
