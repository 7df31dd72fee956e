"""The tables: to the terminal, to RESULTS.md, and all that was measured as JSON."""
import json, os, pathlib

RESULTS = pathlib.Path(__file__).resolve().parent / "RESULTS.md"

RACES = ["row", "what", "peer", "peer s (min–max)", "lockgate s (min–max)", "speed", "peer CPU s", "lockgate CPU s", "CPU", "per",
         "lockgate peak MiB", "others", "goal", "reached"]
FIGURES = ["row", "what", "lockgate", "peer", "goal", "reached", "note"]


def table(head, rows):
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in [head, ["---"] * len(head), *rows])


def yes(reached):
    return {True: "yes", False: "**no**", None: ""}[reached]


def seconds(side):
    return f"{side['s']:.2f} ({side['min']:.2f}–{side['max']:.2f})"


def cpu(value):
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def race_row(one):
    ratio = f"{one['cpu_ratio']:.2f}x" if one["cpu_ratio"] is not None else "–"
    peak = f"{one['own']['peak']:.0f}"
    if one["own"]["grown"] is not None:
        peak += f" (+{one['own']['grown']:.0f}; {one['peer_name']} {one['peer']['peak']:.0f})"
    others = max(one[side]["others"] for side in ("own", "peer"))
    title = one["title"] + (f" ({one['note']})" if one["note"] else "")
    return [f"`{one['key']}`", title, one["peer_name"], seconds(one["peer"]), seconds(one["own"]), f"{one['speed']:.2f}x", cpu(one["peer"]["cpu"]),
            cpu(one["own"]["cpu"]), ratio, one["unit"], peak, f"{others:.0%}", one["goal"], yes(one["reached"])]


def figure_row(one):
    return [f"`{one['key']}`", one["title"], f"{one['value']:.2f} {one['unit']}", one["peer"], one["goal"], yes(one["reached"]), one["note"]]


def tables(results):
    races = [race_row(one) for one in results if one["kind"] == "race"]
    figures = [figure_row(one) for one in results if one["kind"] == "figure"]
    absent = [[f"`{one['key']}`", one["title"], one["why"].replace("|", "/").replace("\n", " ")]
              for one in results if one["kind"] in ("skipped", "failed")]
    parts = ([table(RACES, races)] if races else []) + ([table(FIGURES, figures)] if figures else [])
    if absent:
        parts.append("Not measured:\n\n" + table(["row", "what", "why"], absent))
    return "\n\n".join(parts)


def page(results, conditions):
    return (
        "# Results\n\nMade by `make bench`; one row again: `tests/bench/run --only ROW`.\n\n"
        f"{conditions}\n\nMedians of interleaved rounds on one machine, clients and servers on its {os.cpu_count()} cores. Above 1x in \"speed\" Lockgate is "
        "faster, below 1x in \"CPU\" its server uses less; CPU seconds are those of the server with all its processes, per what \"per\" says. "
        "\"Others\" is the largest share of the machine that neither server nor clients used: over 10 % a row is to be repeated. Neither side "
        "syncs (`durability` rename), but for the rows `durable-*`.\n\n" + tables(results) + "\n")


def remember(path, results, settings):
    """The file with all that is known; rows that this run did not measure stay as they are there."""
    path, before = pathlib.Path(path), []
    if path.exists():
        measured = {one["key"] for one in results}
        before = [one for one in json.loads(path.read_text())["results"] if one["key"] not in measured]
    path.write_text(json.dumps({"settings": settings, "results": before + results}, indent=1) + "\n")
    return before + results
