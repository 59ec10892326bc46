// Bundled with Vega, Vega-Lite and vega-embed: draws the charts of a result, and marks
// in those of the time line the second that is played.
let drawn = [];
addEventListener("draw", async () => {
  for (const chart of drawn.splice(0)) chart.finalize();
  for (const place of document.querySelectorAll("[data-chart]")) {
    const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const actions = {export: true, source: false, compiled: false, editor: false};
    drawn.push(await vegaEmbed(place, spec, {ast: true, renderer: "svg", actions}));
  }
});
addEventListener("now", (event) => {
  for (const {view, spec} of drawn) {
    if (spec.params?.some((x) => x.name === "now")) view.signal("now", event.detail).run();
  }
});
