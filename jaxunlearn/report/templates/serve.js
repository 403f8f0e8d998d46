"use strict";
/* The box for a prompt: asks the server that sent this page, and writes what each model says as it comes. */
(() => {
  const at = (id) => document.getElementById(id);
  const made = (tag, text, worn) => Object.assign(document.createElement(tag), { textContent: text ?? "", className: worn || "" });
  const data = at("data") ? JSON.parse(at("data").textContent) : { groups: [] };
  const answers = data.groups.flatMap((group) => group.items).flatMap((item) => item.answers).filter(Boolean);
  const terms = [...new Set(answers.flatMap((answer) => answer.said.filter((_, n) => n % 2)))].sort((a, b) => b.length - a.length);
  const escaped = terms.map((term) => term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const judged = terms.length ? new RegExp("(?<![\\p{L}\\p{N}_])(" + escaped.join("|") + ")(?![\\p{L}\\p{N}_])", "gu") : null;
  const write = (box, text) => {
    const parts = judged ? text.split(judged) : [text];
    box.replaceChildren(...parts.map((part, n) => (n % 2 ? made("mark", part) : part)));
  };
  let asking = null;
  const said = (why) => { at("wrong").textContent = why; };
  const busy = (on) => { at("go").disabled = on; at("stop").disabled = !on; };
  const number = (id) => (at(id).value === "" ? NaN : Number(at(id).value));
  const question = () => {
    const asked = { prompt: at("prompt").value, models: [...document.querySelectorAll("#ask [name=model]:checked")].map((box) => box.value) };
    ["max_new_tokens", "temperature", "top_k", "top_p", "seed"].forEach((id) => { asked[id] = number(id); });
    if (at("chat")) asked.chat = at("chat").checked;
    return asked;
  };
  const cards = (names) => {
    const places = {};
    at("live").replaceChildren(...names.map((name) => {
      const card = made("div", "", "card");
      card.append(made("h4", name));
      places[name] = { text: card.appendChild(made("p")), about: card.appendChild(made("span", "waiting", "aside")) };
      return card;
    }));
    return places;
  };
  const show = (line, places) => { // returns whether it is the last line
    if (line.error) said(line.error);
    if (line.error || line.done) return true;
    if (!line.model) return false;
    write(places[line.model].text, line.text);
    const speed = line.seconds > 0 ? " (" + (line.tokens / line.seconds).toFixed(1) + " a second)" : "";
    places[line.model].about.textContent = line.tokens === undefined ? "…" : line.tokens + " tokens in " + line.seconds.toFixed(1) + " s" + speed;
    return false;
  };
  const ask = async () => {
    asking = new AbortController();
    busy(true);
    said("");
    try {
      const asked = question();
      const reply = await fetch("/generate", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked), signal: asking.signal });
      if (!reply.ok) { said((await reply.json()).error); return; }
      const places = cards(asked.models);
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      let ended = false;
      for (let rest = "", done = false; !done;) {
        const part = await reader.read();
        done = part.done;
        const lines = (rest + (part.value || "")).split("\n");
        rest = lines.pop();
        lines.filter(Boolean).forEach((line) => { ended = show(JSON.parse(line), places) || ended; });
      }
      if (!ended) said("the server ended before the answer did");
    } catch (error) {
      said(error.name === "AbortError" ? "stopped" : "the server does not answer: " + error.message);
    } finally {
      busy(false);
    }
  };
  at("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  at("stop").addEventListener("click", () => asking.abort());
  at("prompt").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit(); });
})();
