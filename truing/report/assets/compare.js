"use strict";
// Shows samples of several runs side by side. Every text goes in as text, never as markup.
(() => {
  const holder = document.getElementById("replies");
  const form = document.querySelector(".sift");
  if (!holder || !form) return;
  const { names, samples } = JSON.parse(holder.textContent);
  const list = document.getElementById("reply-list");
  const more = document.getElementById("more-replies");
  const PAGE = 10;
  const STRONG = 2; // nats at which the colour is full

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const said = (reply) => (reply.pieces ? reply.pieces.join("") : reply.text);
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const spread = (values) => {
    const known = values.filter((value) => value !== null && value !== undefined);
    return known.length ? Math.max(...known) - Math.min(...known) : 0;
  };
  const all = samples.map((sample, index) => {
    const texts = sample.replies.map(said);
    return {
      sample, index, texts,
      words: [sample.prompt, ...texts].map((text) => text.toLowerCase()),
      peaks: sample.replies.map((reply) =>
        (reply.ratios || []).reduce((peak, ratio) => Math.max(peak, Math.abs(ratio)), 0)),
    };
  });
  // Filters and orders look at the runs that are shown, and at no other.
  const widths = {
    score: (item, runs) => spread(runs.map((run) => item.sample.replies[run].score)),
    length: (item, runs) => spread(runs.map((run) => item.sample.replies[run].tokens)),
    ratio: (item, runs) => Math.max(0, ...runs.map((run) => item.peaks[run])),
    asked: () => 0,
  };

  function tokens(reply, coloured) {
    const text = element("p", "text");
    text.dir = "auto";
    if (!reply.pieces || !coloured) text.textContent = said(reply);
    else reply.pieces.forEach((piece, place) => {
      const ratio = reply.ratios[place];
      const token = element("span", "token", piece === "" && place === reply.pieces.length - 1 && reply.finished ? "■" : piece);
      const share = Math.min(1, Math.abs(ratio) / STRONG) * 42;
      if (share >= 2) token.style.background = `color-mix(in srgb, var(--${ratio > 0 ? "chosen" : "rejected"}) ${share.toFixed(0)}%, transparent)`;
      token.title = signed(ratio) + " nats";
      text.append(token);
    });
    if (reply.more) text.append(element("span", "none", ` … ${reply.more} more tokens`));
    return text;
  }

  function card(item, runs, coloured) {
    const made = element("article", "card sample");
    const head = element("h3", "", "Prompt " + (item.index + 1));
    made.append(head);
    const prompt = element("div", "prompt");
    const words = element("p", "text", item.sample.prompt);
    words.dir = "auto";
    prompt.append(words);
    made.append(prompt);
    const sides = element("div", "sides many");
    for (const run of runs) {
      const reply = item.sample.replies[run];
      const box = element("div", "response");
      box.style.borderLeftColor = `var(--run-${(run % 8) + 1})`;
      const title = element("h4", "", names[run]);
      if (reply.score !== null) title.append(element("span", "chip", "score " + reply.score.toFixed(2)));
      title.append(element("span", "chip", reply.tokens + " tokens"));
      if (!reply.finished) title.append(element("span", "chip bad", "cut"));
      if (reply.ratios) title.append(element("span", "chip", "sum " + signed(reply.sum) + " nats"));
      box.append(title);
      box.append(said(reply) === "" && !reply.pieces ? element("p", "text none", "(empty)") : tokens(reply, coloured));
      sides.append(box);
    }
    made.append(sides);
    return made;
  }

  const kinds = {
    all: () => true,
    apart: (item, runs) => new Set(runs.map((run) => item.texts[run])).size > 1,
    scored: (item, runs) => widths.score(item, runs) > 0,
    cut: (item, runs) => runs.some((run) => !item.sample.replies[run].finished),
  };
  const chosenRuns = () =>
    [...form.querySelectorAll("input[name=run]")].filter((box) => box.checked).map((box) => Number(box.value));
  function fitting(words) {
    const runs = chosenRuns();
    const width = widths[form.elements.order.value];
    const holds = (item) => item.words[0].includes(words) || runs.some((run) => item.words[run + 1].includes(words));
    return all
      .filter((item) => kinds[form.elements.kind.value](item, runs) && holds(item))
      .map((item) => ({ item, by: width(item, runs) }))
      .sort((a, b) => b.by - a.by || a.item.index - b.item.index)
      .map(({ item }) => item);
  }
  function draw(fits, shown) {
    const runs = chosenRuns();
    list.replaceChildren(...fits.slice(0, shown).map((item) => card(item, runs, form.elements.colour.checked)));
  }
  paged({ form, more, page: PAGE, total: all.length, fitting, draw });
})();
