"use strict";
// Draws the figures in the colours of the reader's scheme, and filters the samples.
(() => {
  const root = document.documentElement;
  const style = getComputedStyle(root);
  const colour = (role) => style.getPropertyValue("--" + role.replaceAll("_", "-")).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const figures = JSON.parse(document.getElementById("figures").textContent);

  function coloured(trace) {
    const own = colour((trace.meta && trace.meta.role) || "run");
    const copy = { ...trace };
    for (const part of ["line", "marker", "error_x", "error_y"]) {
      if (copy[part]) copy[part] = { ...copy[part], color: own };
    }
    return copy;
  }

  function layoutOf(figure) {
    const layout = structuredClone(figure.layout);
    const axis = { gridcolor: colour("grid"), linecolor: colour("line"), tickcolor: colour("line") };
    layout.font = { ...layout.font, family: getComputedStyle(document.body).fontFamily, color: colour("muted") };
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.hoverlabel = { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } };
    layout.xaxis = { ...layout.xaxis, ...axis, showgrid: false, showline: true, ticks: "outside" };
    layout.yaxis = { ...layout.yaxis, ...axis };
    for (const shape of layout.shapes || []) shape.line.color = colour("before");
    // On a touch screen a finger on a plot scrolls the page.
    if (touch.matches) layout.dragmode = false;
    return layout;
  }

  const plotOf = (figure) => document.getElementById("plot-" + figure.name);

  function draw(figure) {
    const plot = plotOf(figure);
    const size = { width: plot.clientWidth, height: plot.clientHeight, autosize: false };
    return Plotly.react(plot, figure.data.map(coloured), { ...layoutOf(figure), ...size }, {
      displayModeBar: false, scrollZoom: false,
    });
  }

  // Plots take the width that their place has in the end, whatever it was on the way there.
  const watch = new ResizeObserver((changes) => requestAnimationFrame(() => {
    for (const { target } of changes) {
      const layout = target._fullLayout;
      if (layout && target.clientWidth && Math.abs(layout.width - target.clientWidth) > 1) {
        Plotly.relayout(target, { width: target.clientWidth });
      }
    }
  }));

  const inSight = (figure) => {
    const { top, bottom } = plotOf(figure).getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };

  let latest = 0;
  async function drawAll() {
    const mine = ++latest; // a change of scheme while drawing starts over
    delete root.dataset.plots;
    // What the reader looks at comes first: the rest is there by the time it is scrolled to.
    const first = figures.filter(inSight);
    for (const figure of [...first, ...figures.filter((other) => !first.includes(other))]) {
      if (!first.includes(figure)) root.dataset.plots = "in sight";
      await draw(figure);
      await new Promise((next) => setTimeout(next)); // the page stays answerable in between
      if (mine !== latest) return;
    }
    // The library's own measuring stick is no picture to be read aloud.
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
    root.dataset.plots = "drawn";
  }

  const PAGE = 20;
  function filterSamples() {
    const form = document.querySelector(".filter");
    if (!form) return;
    const list = document.getElementById("sample-list");
    const more = document.getElementById("more-samples");
    const all = [...list.children].map((node) => ({
      node,
      text: node.textContent.toLowerCase(),
      index: Number(node.dataset.index),
      gain: Number(node.dataset.gain ?? NaN),
      longer: Number(node.dataset.longer ?? NaN),
    }));
    const kinds = {
      all: () => true,
      better: (s) => s.gain > 0,
      worse: (s) => s.gain < 0,
      longer: (s) => s.longer > 0,
      shorter: (s) => s.longer < 0,
    };
    const orders = {
      file: (a, b) => a.index - b.index,
      gain: (a, b) => b.gain - a.gain,
      loss: (a, b) => a.gain - b.gain,
      longer: (a, b) => b.longer - a.longer,
    };
    const fitting = (words) =>
      all.filter((s) => kinds[form.elements.kind.value](s) && s.text.includes(words)).sort(orders[form.elements.order.value]);
    function draw(fits, shown) {
      for (const sample of all) sample.node.hidden = true;
      for (const sample of fits) list.append(sample.node);
      for (const sample of fits.slice(0, shown)) sample.node.hidden = false;
    }
    paged({ form, more, page: PAGE, total: all.length, fitting, draw });
  }

  filterSamples();
  dark.addEventListener("change", drawAll);
  drawAll().then(() => figures.forEach((figure) => watch.observe(plotOf(figure))));
})();
