"use strict";
// A list that a form filters and that is shown some at a time, with a word on how much is seen.
function paged({ form, more, page, total, fitting, draw }) {
  let shown = page;
  function show() {
    const fits = fitting(form.elements.text.value.toLowerCase());
    draw(fits, shown);
    more.hidden = fits.length <= shown;
    const seen = Math.min(shown, fits.length);
    form.elements.count.value = seen + " of " + fits.length + (fits.length < total ? " (of " + total + ")" : "");
  }
  const restart = () => { shown = page; show(); };
  form.addEventListener("input", restart);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => { shown += page; show(); });
  restart();
}
