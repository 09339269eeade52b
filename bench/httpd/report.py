# SPDX-License-Identifier: Apache-2.0
"""Turns the values of all rounds into medians, ratios, judged targets, a table and plots.

Its input is the results.json that compare.py writes. Nothing is measured here.
"""

import statistics
from dataclasses import dataclass

from harness.figures import shown

from . import plots
from .scenarios import SCENARIOS
from .servers import KINDS

SUBJECT = "stm"
PEERS = ("event", "nginx")  # the servers that ratios refer to
# Figures that say how something was measured: they have no ratios.
PLAIN = ("client CPUs", "connections", "in flight", "hanging", "files being read",
         "least/most, connections", "Jain, connections", "least/most, processes",
         "connections, least/most", "failed")
NOT_MEASURED = "not measured"


def kinds(entry):
    """The servers of a scenario's entry, in the order of measurement."""
    return [kind for kind in KINDS if kind in entry["rounds"] or kind in entry["failures"]]


def medians(entry):
    """{server: {figure: median of its rounds}}."""
    return {kind: {figure: statistics.median(each[figure] for each in rounds)
                   for figure in rounds[0]}
            for kind, rounds in entry["rounds"].items()}


def ratio(values, figure, against):
    """The ratio of the subject's figure to another server's; None if there is none."""
    ours, theirs = values.get(SUBJECT), values.get(against)
    if not ours or not theirs or not theirs.get(figure):
        return None
    return ours[figure] / theirs[figure]


@dataclass
class Verdict:
    """One target and the result."""

    scenario: str
    what: str
    wanted: str
    measured: str
    verdict: str


def judge(target, title, values, failed=False):
    """A Target's Verdict; failed: the subject did not complete its measurement."""
    if target.against:
        value = ratio(values, target.figure, target.against)
    else:
        value = values.get(SUBJECT, {}).get(target.figure)
    low = target.at_least > 0
    bound = target.at_least if low else target.at_most
    wanted = f"{'>=' if low else '<='} {shown(bound)}"
    what = target.figure + (f", to {target.against}" if target.against else "")
    if value is None:
        return Verdict(title, what, wanted, "", "not met" if failed else NOT_MEASURED)
    met = value >= bound if low else value <= bound
    verdict = "met" if met else "not met"
    return Verdict(title, what, wanted, shown(value), verdict + (" (stretch)" if target.stretch
                                                                 else ""))


def verdicts(data, scenarios=SCENARIOS):
    """All targets of the scenarios that were measured."""
    return [judge(target, scenario.title, medians(entry), SUBJECT in entry["failures"])
            for scenario in scenarios if (entry := data["scenarios"].get(scenario.name))
            for target in scenario.targets]


# --- text ----------------------------------------------------------------------------------------

def table(head, rows):
    """A Markdown table that is also aligned in a terminal; the first column is left-aligned."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        first, *others = (cell.ljust(width) if i == 0 else cell.rjust(width)
                          for i, (cell, width) in enumerate(zip(cells, widths)))
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":"
                          for i, width in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def scenario_text(entry):
    """One scenario: its figures by server, the ratios, and what failed."""
    names, values = kinds(entry), medians(entry)
    measured = [kind for kind in names if kind in values]
    peers = [kind for kind in PEERS if kind in values and SUBJECT in values]
    parts = [f"### {entry['title']}"]
    if measured:
        head = ["", *measured, *(f"{SUBJECT}/{kind}" for kind in peers)]
        rows = []
        for figure in values[measured[0]]:
            ratios = [None if figure in PLAIN else ratio(values, figure, kind) for kind in peers]
            rows.append([figure, *(shown(values[kind][figure]) for kind in measured),
                         *("" if r is None else f"{r:.2f}" for r in ratios)])
        parts.append(table(head, rows))
    parts += [f"{kind}: {why}." for kind, why in entry["failures"].items()]
    return "\n\n".join(parts)


def targets_text(data):
    """The table of targets."""
    rows = []
    last = None
    for each in verdicts(data):
        rows.append(["" if each.scenario == last else each.scenario, each.what, each.wanted,
                     each.measured, each.verdict])
        last = each.scenario
    return table(["scenario", "figure of stm", "target", "measured", ""], rows) if rows else ""


def machine_text(machine):
    """The machine and software measured."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['memory']} of memory, "
            f"{machine['kernel']}, {machine['system']}.\n{versions}.")


def machines(data):
    """[(machine, titles of the scenarios that were measured on it)], that of the last run first."""
    found = [(data["machine"], [])]
    for scenario in SCENARIOS:
        entry = data["scenarios"].get(scenario.name)
        if entry:
            machine = entry.get("machine", data["machine"])
            titles = next((titles for known, titles in found if known == machine), None)
            if titles is None:
                found.append((machine, titles := []))
            titles.append(entry["title"])
    return found


def machines_text(data):
    """Says which machine each scenario was measured on; a ratio is always of the same machine's
    figures."""
    found = machines(data)
    if len(found) == 1:
        return machine_text(data["machine"])
    return "\n\n".join(f"{machine_text(machine)}\nOn it: {'; '.join(titles)}."
                       for machine, titles in found)


def text(data, pictures):
    """The whole report as Markdown, with the pictures of these names."""
    entries = [data["scenarios"][s.name] for s in SCENARIOS if s.name in data["scenarios"]]
    rounds = {len(r) for entry in entries for r in entry["rounds"].values()} or {0}
    seconds = {entry["seconds"] for entry in entries} or {0}
    span = [f"{min(each)}" if len(each) == 1 else f"{min(each)} to {max(each)}"
            for each in (rounds, seconds)]
    parts = ["<!-- SPDX-License-Identifier: Apache-2.0 -->\n# Results",
             machines_text(data),
             f"Medians of {span[0]} rounds with {span[1]} s of load each. Method: "
             "[README.md](README.md). All rounds' values: [results.json](results.json).",
             *(f"![{name.removesuffix('.svg')}]({name})" for name in pictures),
             "## Targets", targets_text(data), "## Figures", *map(scenario_text, entries)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(data, folder):
    """The table and the plots."""
    pictures = plots.draw(data)
    for name, picture in pictures.items():
        (folder / name).write_text(str(picture))
    (folder / "results.md").write_text(text(data, pictures))
