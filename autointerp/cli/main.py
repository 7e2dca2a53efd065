"""The command line: the table of commands. Each command is a module beside this one, imported when it is used."""

from __future__ import annotations

import click

from autointerp import installation
from autointerp.cli.lazy_group import LazyCommand, LazyGroup


def _command(module: str, function: str, summary: str) -> LazyCommand:
    return LazyCommand(f"autointerp.cli.{module}", function, summary)


SECTIONS = {
    "On this machine": {
        "run": _command("run", "run", "Evaluate dictionaries and write their reports."),
        "demo": _command("demo", "demo", "Evaluate a small dictionary end to end, in minutes."),
        "plan": _command("run", "plan", "Compare the cost and precision of several settings."),
        "inspect": _command(
            "inspect_dictionary", "inspect", "Show how a dictionary is read, and how well it fits a model."
        ),
        "dictionaries": _command("dictionaries", "dictionaries", "List the published dictionaries that SAELens knows."),
        "train": _command("train", "train", "Train dictionaries."),
        "compare": _command("compare", "compare", "Say which of several finished runs is better, if it can be told."),
        "report": _command("run", "report", "Write the report of a run again."),
        "open": _command("run", "open_report", "Open the report of a run in a browser."),
        "figures": _command("figures", "figures", "Write the figures of a run for a paper."),
        "export": _command("export", "export", "Write a run for Neuronpedia, the hub, W&B and others."),
        "runs": _command("status", "runs", "List the runs in the ledger, newest first."),
        "label": _command("label", "label", "Grade a sample of a run's items by hand."),
        "judges": _command("judges", "judges", "Measure judges."),
        "scorers": _command("reference", "scorers", "List or rank the other evaluations."),
        "rubrics": _command("reference", "rubrics", "List the rubrics and their levels."),
        "spec": _command("reference", "spec", "Print every key of a spec with its default."),
        "doctor": _command("reference", "doctor", "Check the installation, keys and device."),
        "completion": _command("reference", "completion", "Print a shell completion script."),
    },
    "With features": {
        "index": _command(
            "studies.index", "index", "Index every feature of a dictionary: examples, tokens, neighbours."
        ),
        "explore": _command("studies.explore", "explore", "Look at every feature in a browser, and search them."),
        "explain": _command(
            "studies.explain", "explain", "Explain every feature of an index, or a share and the rest from it."
        ),
        "publish": _command("studies.publish", "publish", "Write the explorer as files for any web host."),
        "find": _command("studies.find", "find", "Find features by texts, neighbours or explanations."),
        "steer": _command("studies.steer", "steer", "Continue prompts while features or neurons are set."),
        "attribute": _command("studies.attribute", "attribute", "Say which features carry the answer to a prompt."),
        "neighbours": _command(
            "studies.neighbours", "neighbours", "List features of like directions, map and group them."
        ),
        "split": _command("studies.split", "split", "Say how features split, recur and are absorbed."),
        "cover": _command("studies.cover", "cover", "Count the concepts that dictionaries have features for."),
        "categories": _command(
            "studies.categories", "categories", "Find features that respond to safety and other categories."
        ),
    },
    "With workers": {
        "submit": _command("submit", "submit", "Queue runs for the workers."),
        "status": _command("status", "status", "Show the progress of runs."),
        "logs": _command("status", "logs", "Print the events of a run or of the workers."),
        "resume": _command("submit", "resume", "Queue stopped, cancelled or failed runs again."),
        "retry": _command("submit", "retry", "Retry the failed questions of a run."),
        "cancel": _command("submit", "cancel", "Cancel runs."),
        "workers": _command("status", "workers", "List the workers, or start them."),
        "nightly": _command("nightly", "nightly", "Score the dictionaries that are new since last night."),
        "migrate": _command("status", "migrate", "Create the ledger or update its schema."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="autointerp-eval", prog_name="autointerp")
def main() -> None:
    """How interpretable is a dictionary, compared with the model's own neurons, at every activation strength?

    Exit codes: 0 done; 2 the spec or an argument is wrong; 3 done, but the headline is withheld; 4 stopped by the budget;
    5 stopped by the provider. After 4, 5 or Ctrl-C, the same command continues where it stopped. A RUN is a run's id, the beginning of
    one, or `latest`.
    """
    if fault := installation.fault():
        raise click.ClickException(fault)


if __name__ == "__main__":
    main()
