"""The metrics of every kind of task, with their definitions."""

from docs.generate import markdown
from mcr_jax import metrics

HEAD = """\
# Metrics

What a task reports. `evals.metrics` chooses the kind; `auto` goes by the task, and
takes `sentiment` for a regression whose labels lie within [-3, 3]. `train.monitor`
may be any of them, or `loss`. A metric of one class, label or target carries its name.

All are weighted means over the samples that have a label. Where a metric has no value
it is `n/a` in tables, null in files, and the reason stands beside it.

"""
HEADER = ("metric", "better", "definition", "n/a where")


def page() -> str:
  """The page as Markdown."""
  parts = [HEAD]
  for name in metrics.SCHEMES[1:]:
    scheme = metrics.scheme_of(name)
    parts += [
      f"\n## {name}\n\n",
      f"Labels are {markdown.text(scheme.needs)}. ",
      f"Where one number must do, it is {markdown.code(scheme.headline)}.\n\n",
      markdown.table(HEADER, map(_row, scheme.metrics)),
    ]
  return "".join(parts)


def _row(metric: metrics.Metric) -> tuple[str, ...]:
  legacy = " Only to compare with published scripts." * metric.legacy
  why = "said beside it" if callable(metric.why) else metric.why
  return (
    markdown.code(metric.name),
    metric.direction,
    markdown.text(metric.definition + legacy),
    markdown.text(why),
  )
