"""Wrong inputs of every command that uses features: exit code 2 and one line that names what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from support.planted_world import world as planted

from autointerp.cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")
LONG = " ".join(["filler1"] * 600)
COMMANDS = {
    "find": ["--like", "3"],
    "steer": ["--unit", "3", "--prompt", "filler1 filler2 filler3"],
    "attribute": ["filler1 filler2 harbour1", "--target", "filler3"],
    "neighbours": [],
    "split": ["--dictionary", "TWIN"],
    "cover": ["elements"],
    "categories": [],
}
"""Arguments with which each command would begin its work."""


@dataclass(frozen=True)
class Files:
    """A folder of wrong and right files, and the world beside it."""

    folder: Path
    world: planted.World

    def path(self, text: str) -> str:
        """An argument, in which a name in capitals stands for a file or folder."""
        names = {
            "TWIN": self.folder / "twin",
            "EMPTY": self.folder / "empty.txt",
            "NOTHING": self.folder / "nothing.txt",
            "BYTES": self.folder / "bytes.txt",
            "TEXTS": self.folder / "texts.txt",
            "MISSING": self.folder / "missing.txt",
            "FOLDER": self.folder,
            "ACROSS": self.folder / "across" / "W_enc_0.safetensors",
            "CORPUS": self.world.corpus,
        }
        return str(names.get(text, text))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    world = planted.make(folder / "world", documents=20)
    planted.write_dictionary(folder / "twin", world.features[::-1])
    (folder / "empty.txt").write_text("\n \n")
    (folder / "nothing.txt").touch()
    (folder / "bytes.txt").write_bytes("naïve café\n".encode("latin-1") * 6)
    (folder / "texts.txt").write_text("\n".join(f"filler{i} harbour{i % 5} filler3" for i in range(6)))
    _cross_layer(folder / "across", len(world.features))
    return Files(folder, world)


def _cross_layer(folder: Path, d_sae: int) -> None:
    """A transcoder that writes to both layers, in the format of circuit-tracer."""
    folder.mkdir()
    rows = torch.randn(d_sae, planted.D_MODEL, generator=torch.Generator().manual_seed(0))
    tensors = {"W_enc_0": rows, "b_enc_0": torch.zeros(d_sae), "b_dec_0": torch.zeros(planted.D_MODEL)}
    save_file(tensors, folder / "W_enc_0.safetensors")
    save_file({"W_dec_0": rows[:, None].repeat(1, 2, 1)}, folder / "W_dec_0.safetensors")
    (folder / "config.yaml").write_text(
        "model_kind: cross_layer_transcoder\nfeature_input_hook: hook_resid_mid\nfeature_output_hook: hook_mlp_out\n"
    )


def refused(files: Files, command: str, *arguments: str, dictionary: str = "", corpus: bool = True) -> str:
    """The line that the command ends with."""
    inputs = {"--subject": str(files.world.subject), "--dictionary": dictionary or str(files.world.dictionary)}
    inputs |= {"--corpus": str(files.world.corpus)} if corpus else {}
    given = [part for name, value in inputs.items() if name not in arguments for part in (name, value)]
    out = ["--out", str(files.folder / f"out-{abs(hash((command, arguments, dictionary)))}"), "--quiet"]
    result = CliRunner().invoke(main, [command, *given, *out, *map(files.path, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    line = result.output.strip().splitlines()[-1]
    assert len(result.output.strip().splitlines()) == 1 or result.output.startswith("Usage: "), result.output
    assert "Traceback" not in result.output
    return line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--dictionary", "MISSING", "missing.txt"),
        ("--subject", "MISSING", "missing.txt"),
        ("--from", "none-1234", "there is no run"),
        ("--dictionary", "EMPTY", "empty.txt"),
    ],
)
def test_inputs_that_are_not_there(files: Files, command: str, option: str, value: str, words: str) -> None:
    assert words in refused(files, command, *COMMANDS[command], option, value)


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("find", ["--new", "CORPUS"], "find reads text: give --corpus FILE, or --from RUN"),
        ("split", ["--dictionary", "TWIN"], "split reads text: give --corpus FILE, or --from RUN"),
        ("cover", ["elements"], "cover reads text: give --corpus FILE, or --from RUN"),
        ("steer", ["--unit", "0", "--prompt", "filler1 filler2"], "feature-0 is silent in the prompts"),
    ],
)
def test_no_corpus(files: Files, command: str, arguments: list[str], words: str) -> None:
    assert words in refused(files, command, *arguments, corpus=False)


@pytest.mark.parametrize("command", ["find", "split", "cover", "steer"])
@pytest.mark.parametrize("corpus", ["MISSING", "NOTHING", "BYTES"])
def test_a_corpus_that_cannot_be_read(files: Files, command: str, corpus: str) -> None:
    chosen = COMMANDS | {"find": ["--new", "CORPUS"]}
    assert files.path(corpus) in refused(files, command, *chosen[command], "--corpus", corpus)


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("find", ["--text", LONG], "exceed"),
        ("find", ["--on", LONG], "exceed"),
        ("find", ["--prompt", LONG, "--target", "filler3"], "has 600 tokens, and at most 256 are read"),
        ("steer", ["--unit", "0", "--prompt", LONG], "has 600 tokens, and 32 more do not fit into the subject's 256"),
        ("attribute", [LONG, "--target", "filler3"], "has 600 tokens, and at most 256 are read"),
    ],
)
def test_a_prompt_that_is_too_long(files: Files, command: str, arguments: list[str], words: str) -> None:
    line = refused(files, command, *arguments)
    assert words in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("find", ["--like", "900"]),
        ("steer", ["--unit", "900", "--prompt", "filler1 filler2"]),
        ("neighbours", ["--unit", "900"]),
    ],
)
def test_a_feature_that_does_not_exist(files: Files, command: str, arguments: list[str]) -> None:
    assert "'900' does not exist: resid_post.0 has features 0 to 15" in refused(files, command, *arguments)


@pytest.mark.parametrize("command", ["find", "attribute"])
@pytest.mark.parametrize("option", ["--target", "--against"])
def test_a_target_of_several_tokens(files: Files, command: str, option: str) -> None:
    prompt = ["--prompt"] if command == "find" else []
    tokens = {"--target": "filler3"} | {option: "filler1 filler2"}
    arguments = [*prompt, "filler1 filler2 harbour1", *(part for pair in tokens.items() for part in pair)]
    assert "'filler1 filler2' is 2 tokens of" in refused(files, command, *arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("find", ["--prompt", "filler1 filler2 harbour1", "--target", "filler3"]),
        ("steer", COMMANDS["steer"]),
        ("attribute", COMMANDS["attribute"]),
    ],
)
def test_a_transcoder_that_writes_to_several_layers(files: Files, command: str, arguments: list[str]) -> None:
    line = refused(files, command, *arguments, dictionary=files.path("ACROSS"))
    assert "writes to several layers" in line
    assert "use " in line


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("find", ["--with", "EMPTY", "--without", "TEXTS"], "empty.txt is empty"),
        ("find", ["--with", "TEXTS", "--without", "EMPTY"], "empty.txt is empty"),
        ("find", ["--text", ""], "has no token that counts"),
        ("find", ["--on", "filler1 filler2", "--on", ""], "has no token that counts"),
        ("find", ["--new", "NOTHING"], "nothing.txt"),
        ("steer", ["--unit", "0", "--prompts", "EMPTY"], "empty.txt is empty"),
        ("steer", ["--unit", "0"], "no prompt"),
        ("steer", [*COMMANDS["steer"], "--positive", "EMPTY", "--negative", "TEXTS"], "empty.txt is empty"),
        ("attribute", ["", "--target", "filler3"], "too few tokens"),
        ("cover", ["--concepts", "EMPTY"], "empty.txt"),
        ("categories", ["--file", "EMPTY"], "empty.txt"),
    ],
)
def test_no_texts(files: Files, command: str, arguments: list[str], words: str) -> None:
    assert words in refused(files, command, *arguments)


@pytest.mark.parametrize("name", ["BYTES", "FOLDER", "MISSING"])
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("find", ["--without", "TEXTS", "--with"]),
        ("find", ["--new"]),
        ("steer", ["--unit", "0", "--prompts"]),
        ("steer", [*COMMANDS["steer"], "--negative", "TEXTS", "--positive"]),
        ("steer", ["--cases"]),
        ("steer", [*COMMANDS["steer"], "--rubric"]),
        ("cover", ["--concepts"]),
        ("cover", ["elements", "--rubric"]),
        ("categories", ["--file"]),
    ],
)
def test_a_file_that_cannot_be_read(files: Files, command: str, arguments: list[str], name: str) -> None:
    assert files.path(name) in refused(files, command, *arguments, name)
