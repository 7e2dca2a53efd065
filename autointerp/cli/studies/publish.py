"""`autointerp publish`: the explorer as files for any static host."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, existing_ledger, one_line_errors, run_argument
from autointerp.cli.studies.explore import made_index
from autointerp.progress import Progress


@click.command()
@run_argument(nargs=-1, required=False)
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder to write to: a new one, or one that was published before.",
)
@click.option("--notes", is_flag=True, help="Publish your notes and lists of the dictionaries too.")
@click.option(
    "--no-calls", is_flag=True, help="Leave out the pages of judgements, with the prompts and replies of the judge."
)
@click.option("--csv", is_flag=True, help="Write units, explanations and examples as CSV too.")
@click.option("--neuronpedia", is_flag=True, help="Write all features as Neuronpedia imports them too.")
@click.option(
    "--name", metavar="MODEL/SOURCE", help="With --neuronpedia: the names there.  [default: made of the run's]"
)
@click.option("--hub", metavar="OWNER/NAME", help="Upload the folder as a static Space of the Hugging Face Hub, too.")
@click.option(
    "--hub-data", metavar="OWNER/NAME", help="Upload the index of the first RUN as a dataset of the hub, too."
)
@click.option("--public", is_flag=True, help="With --hub and --hub-data: let everyone see what is uploaded.")
@RESULTS
@QUIET
@one_line_errors("stopped: the folder is not complete, run the same command again")
def publish(
    run_ids: tuple[str, ...],
    to: Path,
    notes: bool,
    no_calls: bool,
    csv: bool,
    neuronpedia: bool,
    name: str | None,
    hub: str | None,
    hub_data: str | None,
    public: bool,
    results: Path,
    quiet: bool,
) -> None:
    """Write the pages of RUN, as `autointerp explore` shows them, as files that every web host serves without a program.

    \b
    autointerp publish latest --to site
    python -m http.server --directory site

    Of several runs, the first is shown first. The pages have everything but what needs the model: trying texts, and new explanations
    and grades. Judgements are published with the judge's prompts and replies, and your notes and lists with --notes alone. A run without an index gets one first. RUN may also be the folder of an index; without it, the newest run with an index.
    """
    from autointerp.explorer import command as explorer
    from autointerp.explorer.publishing import command, publication
    from autointerp.explorer.publishing.judgements import Judgements

    command.check_hub(hub, hub_data, public=public)
    found = [explorer.find_index(name, results) for name in run_ids or (None,)]
    indexes = publication.named([index or made_index(run, results, quiet) for index, run in found], results)
    ledger = existing_ledger(results)
    notes_in = command.ledger_of(ledger, results) if notes else None
    judgements = None if no_calls else Judgements(results, ledger)
    asked = command.tables_of(csv=csv, for_neuronpedia=neuronpedia, name=name, n_indexes=len(indexes))
    with Progress(quiet=quiet) as progress:
        command.announce(indexes, progress.note, notes_in, judgements)
        folder = command.write(
            indexes, results, to, progress, asked, notes_in=notes_in, judgements=judgements, ledger=ledger
        )
        folder.finish()
    for line in command.sizes(folder, publication.n_units(indexes)):
        click.echo(line)
    progress.say_path("Published:", to)
    for address in command.push(folder, indexes, results, hub_space=hub, hub_data=hub_data, public=public):
        click.echo(f"Uploaded: {address}")
