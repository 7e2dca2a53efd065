"""`autointerp scorers`: the evaluations that a spec may name in `score.also`."""

from __future__ import annotations

import json

import click


@click.command("scorers")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def scorers_command(as_json: bool) -> None:
    """List the other evaluations: what each asks, of whom, and where it is defined."""
    from autointerp.scorers.registry import SCORERS

    if as_json:
        facts = [
            {
                "name": scorer.name,
                "source": scorer.source,
                "needs_explanation": scorer.needs_explanation,
                "steps": list(scorer.steps),
                "chance": scorer.chance,
                "figures": dict(scorer.figures),
            }
            for scorer in SCORERS.values()
        ]
        click.echo(json.dumps(facts, indent=1))
        return
    for scorer in SCORERS.values():
        asked = {"ask": "judge", "run": "subject"}
        who = ", then ".join(asked[step] for step in scorer.steps) or "nobody"
        needs = "" if scorer.needs_explanation else "; needs no explanation"
        click.echo(f"{scorer.name}  ({scorer.source})")
        click.echo(f"  asks {who}{needs}")
        for figure, meaning in scorer.figures.items():
            click.echo(f"  {figure}: {meaning}")
