"""Nights over a planted world: what is found, scored, named, left, compared and told."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file
from support.locations import ROOT
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.results import summaries as report_data

from autointerp.calls import answers, server_probe
from autointerp.costs import bounds
from autointerp.errors import UsageError
from autointerp.judges import registry
from autointerp.ledger import nights
from autointerp.ledger import runs as run_rows
from autointerp.ledger.database import Ledger
from autointerp.nightly import webhook
from autointerp.nightly.config import load
from autointerp.nightly.night import plan_night, preview, run_night
from autointerp.nightly.night_summary import describe, finish_night
from autointerp.nightly.runners import FleetRunner, LocalRunner, Runner, upper_bound_usd
from autointerp.nightly.schedule import Night
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress
from autointerp.report import index
from autointerp.spec.judge_sections import Judge
from autointerp.spec.spec import Spec

pytestmark = pytest.mark.slow

MODEL = planted_runs.MODELS[0]
Tensors = dict[str, torch.Tensor]
Edit = Callable[[Tensors], None]


def worse(weights: Tensors) -> None:
    """Every pure feature answers to two more concepts."""
    for row in range(8):
        for other in ((row + 1) % 8, (row + 3) % 8):
            weights["W_enc"][1 + other, row] = 1.0
            weights["W_dec"][row, 1 + other] = 1.0


def other(weights: Tensors) -> None:
    weights["W_enc"] *= 1.5
    weights["W_dec"] = weights["W_dec"].flip(0)


def noisy(seed: int) -> Edit:
    """Every feature answers a little to every word, in its own way for each seed: new windows, new questions."""

    def edit(weights: Tensors) -> None:
        weights["W_enc"] += 0.02 * torch.rand(weights["W_enc"].shape, generator=torch.Generator().manual_seed(seed))

    return edit


def same(weights: Tensors) -> None:
    """Weights that are new bytes and old numbers for all that anybody can tell."""
    weights["b_dec"] += 1e-7


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=80)


@dataclass
class Place:
    """A folder of dictionaries, a nightly file that watches it, and a results folder."""

    world: planted.World
    root: Path
    ledger: Ledger
    night: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: list[dict[str, str]] = field(default_factory=lambda: [{"folder": "saes/*"}])

    @property
    def results(self) -> Path:
        return self.root / "results"

    def put(self, name: str, edit: Edit | None = None) -> Path:
        """A version of the planted dictionary, an hour old."""
        folder = self.root / "saes" / name
        shutil.copytree(self.world.dictionary, folder)
        if edit is not None:
            weights = {key: value.clone() for key, value in load_file(folder / "sae_weights.safetensors").items()}
            edit(weights)
            save_file({k: v.contiguous() for k, v in weights.items()}, folder / "sae_weights.safetensors")
        self.settle(folder)
        return folder

    def settle(self, folder: Path) -> None:
        for path in folder.iterdir():
            os.utime(path, (time.time() - 3600,) * 2)

    def config(self) -> Any:
        few = {"feature_ids": list(range(16)), "neuron_ids": ["0+", "1+", "5+", "6+", "11+", "12+"]}
        spec = tomllib.loads(self.world.spec(**{"units": few, **self.sections}).to_toml())
        del spec["dictionary"]["path"]
        data = {"night": self.night, "sources": self.sources, "spec": spec}
        (self.root / "nightly.toml").write_text(tomli_w.dumps(data))
        return load(self.root / "nightly.toml")

    def runner(self) -> LocalRunner:
        """This process; the judge that knows the truth in place of the embedded one."""
        if self.sections.get("judge"):
            return LocalRunner(self.ledger, self.results, Progress(quiet=True))
        judges = registry.Judges(planted.PlantedJudge(), planted.PlantedJudge())
        return LocalRunner(self.ledger, self.results, Progress(quiet=True), judges=lambda spec, rubric: judges)

    def run(self, date: str, runner: Runner | None = None, **options: Any) -> dict[str, Any] | None:
        return run_night(self.ledger, self.config(), date, self.results, runner or self.runner(), **options)

    def trend(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.results / run_id / "trend.json").read_text())
        return found

    def runs(self) -> list[str]:
        with self.ledger.read() as tx:
            return [row["run_id"] for row in run_rows.all_runs(tx)]


@pytest.fixture
def place(world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    (tmp_path / "saes").mkdir()
    ledger = Ledger.in_folder(tmp_path / "results")
    yield Place(world, tmp_path, ledger)
    ledger.close()


def names(entries: list[dict[str, Any]]) -> list[str]:
    return sorted(Path(entry["path"]).name for entry in entries)


def test_three_nights_score_each_dictionary_once(place: Place) -> None:
    """The first finds one; the second a worse version, another, a copy and a corrupt one; the third an unchanged version."""
    place.put("sae-v1")
    first = place.run("2026-11-20")
    assert first is not None
    assert names(first["scored"]) == ["sae-v1"]
    assert place.trend(first["scored"][0]["run_id"])["verdict"] == "first"

    place.put("sae-v2", worse)
    place.put("another", other)
    place.put("backup")
    cut = place.put("cut", other) / "sae_weights.safetensors"
    cut.write_bytes(cut.read_bytes()[:-8])
    place.settle(cut.parent)
    second = place.run("2026-11-21")
    assert second is not None
    assert names(second["scored"]) == ["another", "sae-v2"]
    assert names(second["copies"]) == ["backup"]
    assert names(second["corrupt"]) == ["cut"]
    assert "sae_weights.safetensors" in second["corrupt"][0]["reason"]
    [regression] = second["regressions"]
    trend = place.trend(regression["run_id"])
    assert trend["lineage"] == "saes/sae"
    assert trend["previous_run_id"] == first["scored"][0]["run_id"]
    assert trend["ci_low"] <= trend["difference"] <= trend["ci_high"] < 0
    assert trend["change"] > 0.1
    assert trend["judge_drift"]["is_llm"] is False

    before = place.runs()
    assert place.run("2026-11-21") is None, "the night is done"
    assert place.runs() == before
    page = (place.results / "index.html").read_text("utf-8")
    assert page.index("<h2>Regression</h2>") < page.index("<h1>Runs</h1>")
    assert "2 scored; 1 duplicate (backup); 1 corrupt (cut)" in page
    assert "not an LLM" in page
    assert "worse than " + first["scored"][0]["run_id"] in page
    assert [(told["run_id"], told["told"]) for told in second["trends"]] == [(regression["run_id"], "worse")]

    place.put("sae-v3", lambda weights: (worse(weights), same(weights))[0])
    third = place.run("2026-11-22")
    assert third is not None
    assert names(third["scored"]) == ["sae-v3"]
    assert third["corrupt"] == third["copies"] == [], "what was named once is not named again"
    trend = place.trend(third["scored"][0]["run_id"])
    assert trend["previous_run_id"] == regression["run_id"]
    assert (trend["verdict"], trend["told"]) == ("unchanged", "cannot be told")
    assert trend["smallest"] is None, "every feature has the grade that it had"
    assert trend["change"] < 0.02
    assert f"cannot be told from {regression['run_id']}" in (place.results / "index.html").read_text("utf-8")
    assert any(f"cannot be told from {regression['run_id']}" in line for line in describe(third))
    assert "<h2>Regression</h2>" not in (place.results / "index.html").read_text("utf-8")


def test_two_processes_at_once_and_a_moved_dictionary(place: Place) -> None:
    place.put("a")
    began, go = threading.Event(), threading.Event()

    class Slow:
        survives_exit = False

        def __init__(self) -> None:
            self.carried: list[str] = []

        def prefetch(self, specs: Sequence[Spec]) -> None:
            pass

        def forecast(self, spec: Spec) -> float:
            return 0.0

        def execute(self, spec: Spec, night: str) -> str:
            self.carried.append(spec.dictionary.path)
            began.set()
            assert go.wait(60)
            with place.ledger.write() as tx:
                run_rows.register(tx, run_id="r", name="r", spec_hash="", spec="", state="stopped", night=night)
                run_rows.set_state(tx, "r", "stopped", "the provider stopped")
            return "r"

    slow = Slow()
    worker = threading.Thread(target=place.run, args=("2026-11-20", slow))
    worker.start()
    assert began.wait(60)
    with pytest.raises(UsageError, match="another process is working"):
        place.run("2026-11-20", slow)
    assert finish_night(place.ledger, place.config(), "2026-11-20", place.results) is None
    go.set()
    worker.join()
    assert len(slow.carried) == 1
    [left] = json.loads((place.results / "nights" / "2026-11-20.json").read_text())["deferred"]
    assert left["reason"] == "the provider stopped"

    (place.root / "saes" / "a").rename(place.root / "saes" / "b")
    plan = plan_night(place.ledger, place.config(), "2026-11-21")
    assert [p.version.path for p in plan.planned] == [str(place.root / "saes" / "b")], "it waits where it lies now"
    assert plan.copies == ()


def test_a_killed_night_is_resumed(place: Place) -> None:
    place.put("a")

    class Killed(Exception):
        pass

    class Dying:
        survives_exit = False

        def prefetch(self, specs: Sequence[Spec]) -> None:
            pass

        def forecast(self, spec: Spec) -> float:
            return 0.0

        def execute(self, spec: Spec, night: str) -> str:
            raise Killed

    for date in ("2026-11-20", "2026-11-20"):
        with pytest.raises(Killed):
            place.run(date, Dying())
    done = place.run("2026-11-21")
    assert done is not None
    assert names(done["scored"]) == ["a"]
    cut_short = json.loads((place.results / "nights" / "2026-11-20.json").read_text())
    assert cut_short["scored"] == []
    assert place.runs() == [done["scored"][0]["run_id"]]


@pytest.mark.slow
def test_a_run_that_a_night_cannot_afford_is_first_in_the_next(place: Place) -> None:
    """By the server's own books, over two nights."""
    few = {"feature_ids": list(range(4)), "neuron_ids": ["0+", "1+"]}
    place.sections |= {
        "units": few,
        "score": {"per_bin": 1},
        "controls": {
            "shuffled": 1,
            "base_rate": 1,
            "planted": 0,
            "repeated": 0,
            "neighbours": 0,
            "random_dictionary": False,
            "random_subject": False,
        },
    }
    place.put("a")
    place.put("b", noisy(1))
    with ProviderServer(think_apart, cache_from_tokens=1 << 30) as server:
        place.sections["judge"] = planted_runs.judge(MODEL, server)
        place.night = {"usd": 100.0, "anchors": 0}
        cost = LocalRunner(place.ledger, place.results, Progress(quiet=True)).forecast(
            plan_night(place.ledger, place.config(), "2026-11-19").planned[0].spec
        )
        assert cost is not None
        # Nothing is cached: the second would cost what the first did. Bounds of calls in flight need some room besides.
        place.night["usd"] = budget = 1.3 * cost
        first = place.run("2026-11-20")
        spent = planted_runs.bill(MODEL, server.books)
        assert first is not None
        assert names(first["scored"]) == ["b"], "the newer of two first versions"
        assert names(first["deferred"]) == ["a"]
        assert "exceeds what was left of night.usd" in first["deferred"][0]["reason"]
        assert 0 < spent <= budget
        assert first["cost_usd"] == pytest.approx(spent)

        place.put("c", noisy(2))
        planned = plan_night(place.ledger, place.config(), "2026-11-20").planned
        assert [Path(p.version.path).name for p in planned] == ["a", "c"]
        again = place.runner().forecast(planned[0].spec)
        assert again is not None
        place.night["usd"] = budget = 1.3 * again
        second = place.run("2026-11-21")
        assert second is not None
        assert "a" in names(second["scored"])
        assert planted_runs.bill(MODEL, server.books) - spent <= budget
    assert "1 postponed to the next night" in describe(first)[0]


@pytest.mark.slow
def test_judge_drift_is_shown_beside_the_trend(place: Place) -> None:
    place.sections["score"] = {"per_bin": 1}
    place.sections["controls"] = {
        "shuffled": 2,
        "base_rate": 2,
        "planted": 0,
        "repeated": 0,
        "neighbours": 0,
        "random_dictionary": False,
        "random_subject": False,
    }
    place.night["anchors"] = 40
    place.put("sae@1")
    strict = threading.Event()

    def brain(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
        answer = think_apart(system, user, schema)
        if strict.is_set() and "grade" in answer:
            answer["grade"] = max(0, answer["grade"] - 1)
        return answer

    with ProviderServer(brain) as server:
        place.sections["judge"] = planted_runs.judge(MODEL, server)
        first = place.run("2026-11-20")
        assert first is not None
        assert first["judge_drift"]["reason"] == "the first night"
        assert first["judge_drift"]["n_anchors"] == 40
        asked = len(server.books)
        place.put("sae@2", noisy(1))
        second = place.run("2026-11-21")
        assert second is not None
        steady = second["judge_drift"]
        assert (steady["difference"], steady["ci_low"], steady["excludes_zero"]) == (0.0, 0.0, False)
        assert len(server.books) > asked + 40, "the anchors were asked again"
        assert "corrected" not in place.trend(second["scored"][0]["run_id"])

        strict.set()
        place.put("sae@3", noisy(2))
        third = place.run("2026-11-22")
    assert third is not None
    drifted = third["judge_drift"]
    assert drifted["since"] == "2026-11-20"
    assert drifted["ci_high"] < 0
    trend = place.trend(third["scored"][0]["run_id"])
    assert trend["difference"] < 0
    assert trend["corrected"]["difference"] > trend["difference"]
    assert drifted["difference"] < trend["corrected"]["drift"]["difference"] < 0, (
        "most judgements are 0 and cannot fall"
    )
    assert trend["corrected"]["asked_anew"] > 0.5
    page = (place.results / "index.html").read_text("utf-8")
    assert "the judge has drifted" in page
    assert "after subtracting the judge&#39;s drift" in page
    names_ = [name for name in place.runs() if name.startswith("anchors-")]
    assert len(names_) == 3


def test_files_that_change_or_come_after_the_deadline_wait(place: Place) -> None:
    place.put("old")
    fresh = place.put("fresh", other)
    os.utime(fresh / "cfg.json")
    place.night["deadline"] = "06:00"
    two_days = time.time() + 2 * 24 * 3600
    night = place.run("2026-11-20", clock=lambda: two_days)
    assert night is not None
    assert night["scored"] == []
    assert names(night["deferred"]) == ["old"]
    assert night["deferred"][0]["reason"] == "the deadline 06:00 had passed"
    assert [note for note in night["notes"] if "still being written" in note and "fresh" in note]
    plan = plan_night(place.ledger, place.config(), "2026-11-21", settle=False)
    assert names([{"path": p.version.path} for p in plan.planned]) == ["fresh", "old"]
    assert plan.planned[0].version.path.endswith("old"), "what was left comes first"


def test_the_largest_change_comes_first_and_only_changed_weights_are_loaded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sae.formats.load

    place.put("a-v1")
    place.put("b-v1", other)
    for version in plan_night(place.ledger, place.config(), "2026-11-20").planned:
        with place.ledger.write() as tx:
            nights.update(tx, version.version.dictionary_key, state=nights.SCORED)
    place.put("a-v2", noisy(1))
    place.put("b-v2", lambda weights: (other(weights), worse(weights), weights["W_dec"].mul_(3.0))[0])
    place.put("new", worse)
    loaded: list[str] = []
    load_dictionary = sae.formats.load.load_dictionary
    monkeypatch.setattr(
        sae.formats.load, "load_dictionary", lambda path, **k: (loaded.append(path), load_dictionary(path, **k))[1]
    )
    planned = plan_night(place.ledger, place.config(), "2026-11-21").planned
    assert [Path(p.version.path).name for p in planned] == ["new", "b-v2", "a-v2"]
    before, now = (
        load_file(place.root / "saes" / name / "sae_weights.safetensors")["W_dec"] for name in ("b-v1", "b-v2")
    )
    assert planned[1].version.change == pytest.approx(float((now - before).norm() / before.norm()), rel=0.08)
    assert sorted(Path(path).name for path in loaded) == ["a-v2", "b-v2", "new"]
    place.night["order"] = "newest"
    os.utime(place.root / "saes" / "a-v2" / "cfg.json", (time.time() - 120,) * 2)
    planned = plan_night(place.ledger, place.config(), "2026-11-21").planned
    assert Path(planned[0].version.path).name == "a-v2"
    assert len(planned) == 3
    assert sorted(Path(path).name for path in loaded) == ["a-v2", "a-v2", "b-v2", "new"]


def test_a_dictionary_that_does_not_fit_fails_alone(place: Place) -> None:
    place.put("good")

    def narrow(weights: Tensors) -> None:
        weights["W_enc"], weights["W_dec"] = weights["W_enc"][:40], weights["W_dec"][:, :40]
        weights["b_dec"] = weights["b_dec"][:40]

    folder = place.put("narrow", narrow)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | {"d_in": 40}))
    place.settle(folder)
    said = preview(place.ledger, place.config(), "2026-11-20", place.runner())
    assert any("good: about $0.00" in line for line in said)
    assert any("narrow: no forecast: " in line for line in said)
    assert place.runs() == []
    night = place.run("2026-11-20")
    assert night is not None
    assert names(night["scored"]) == ["good"]
    assert names(night["failed"]) == ["narrow"]
    assert "reads 40 dimensions" in night["failed"][0]["reason"]
    assert plan_night(place.ledger, place.config(), "2026-11-21").planned == ()


def test_a_night_on_workers_ends_when_its_runs_have_ended(place: Place, world: planted.World) -> None:
    place.put("a")
    submitted: list[tuple[str, str]] = []
    prepared: dict[str, Any] = {}

    def submit(spec: Spec, night: str) -> str:
        run = preparation.prepare(spec, place.results, Progress(quiet=True))
        prepared[run.run_id] = run
        submitted.append((run.run_id, night))
        with place.ledger.write() as tx:
            run_rows.register(
                tx, run_id=run.run_id, name="a", spec_hash="", spec=spec.to_toml(), state="queued", carrier="fleet", night=night
            )  # fmt: skip
        return run.run_id

    fleet = FleetRunner(place.ledger, submit)
    assert place.run("2026-11-20", fleet) is None
    assert place.run("2026-11-20", fleet) is None, "beat fires twice"
    [(run_id, night)] = submitted
    assert night == "2026-11-20"
    next_night = place.run("2026-11-21", fleet)
    assert next_night is not None
    assert (next_night["scored"], next_night["deferred"]) == ([], []), "it begins nothing that is on its way"
    assert len(submitted) == 1
    with place.ledger.write() as tx:
        run_rows.set_state(tx, run_id, "cancelled")
    planted_runs.carry(prepared[run_id], place.ledger, registry.Judges(planted.PlantedJudge(), planted.PlantedJudge()))
    summary = finish_night(place.ledger, place.config(), "2026-11-20", place.results)
    assert summary is not None
    assert [entry["run_id"] for entry in summary["scored"]] == [run_id]
    assert finish_night(place.ledger, place.config(), "2026-11-20", place.results) is None


def test_a_forecast_before_the_harvest_counts_every_unit_and_bin(place: Place) -> None:
    spec = place.world.spec(
        units={"feature_ids": [1, 2], "neuron_ids": ["1+"]},
        score={"per_bin": 4},
        controls={
            "shuffled": 3,
            "base_rate": 2,
            "planted": 0,
            "repeated": 0,
            "neighbours": 0,
            "random_dictionary": False,
            "random_subject": False,
        },
        judge={"model": "openai-compatible/x", "base_url": "http://127.0.0.1:9/v1"} | planted_runs.PRICED,
    )
    explain, score = bounds.bounds(spec)
    probes = server_probe.MOST_PROBES
    assert (explain.calls, score.calls) == (3 * answers.MAX_TRIES + probes, 3 * 45 + probes)
    # At 1 and 5 dollars a million: instructions of about 1,650 tokens, a window, and a reason with its grade.
    assert score.usual_usd == pytest.approx(3 * 45 * (1900 + 5 * 36) / 1e6, rel=0.1)
    assert upper_bound_usd(spec, place.ledger) == pytest.approx(explain.usual_usd + score.usual_usd)
    assert upper_bound_usd(place.world.spec(), place.ledger) == 0.0


class Hook(BaseHTTPRequestHandler):
    """Answers with the statuses it was given, in turn, and keeps what it was sent."""

    statuses: list[int]
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.statuses.pop(0))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("statuses", "asked", "said"),
    [([200], 1, ""), ([503, 200], 2, ""), ([404], 1, "it answered 404"), ([500, 500, 500], 3, "it answered 500")],
)
def test_a_webhook_is_called_and_retried(statuses: list[int], asked: int, said: str) -> None:
    handler = type("Handler", (Hook,), {"statuses": list(statuses), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
    regression = {"lineage": "a", "difference": -0.5, "ci_low": -0.7, "ci_high": -0.3, "previous_run_id": "r0"}
    body = webhook.payload("2026-11-21", [regression])
    url = f"http://127.0.0.1:{server.server_address[1]}/hook?secret=1"
    failed = webhook.post(url, body, wait_s=0.01)
    server.shutdown()
    server.server_close()
    assert handler.seen == [body] * asked  # type: ignore[attr-defined]
    assert said in failed
    assert bool(failed) == bool(said)
    assert "secret" not in failed
    assert "secret" not in webhook.post(url, body, wait_s=0.01), "nobody listens any more"
    assert webhook.post(url, body, wait_s=0.01).startswith("the webhook at 127.0.0.1 could not be notified")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"night": {"dead_line": "06:00"}}, "night.dead_line.*did you mean deadline"),
        ({"night": {"deadline": "6:00"}}, "night.deadline = '6:00'"),
        ({"sources": [{}]}, "give one of folder, hub and registry, not none"),
        ({"sources": [{"folder": "x", "hub": "a/b"}]}, "not folder and hub"),
        ({"sources": []}, "sources"),
        ({"spec": {"dictionary": {"path": "x"}}}, "spec.dictionary.path is found each night"),
        ({"spec": {"subject": {"model": "x"}, "corpus": {"sources": ["y"]}, "unit": {}}}, "unknown key unit"),
    ],
)
def test_a_mistake_in_the_file_is_reported_in_one_line(place: Place, change: dict[str, Any], said: str) -> None:
    place.config()
    data = tomllib.loads((place.root / "nightly.toml").read_text()) | change
    (place.root / "nightly.toml").write_text(tomli_w.dumps(data))
    with pytest.raises(UsageError, match=said) as caught:
        load(place.root / "nightly.toml")
    assert "\n" not in str(caught.value)


def test_the_example_in_the_documentation_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
    (tmp_path / "nightly.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    config = load(tmp_path / "nightly.toml")
    assert [config.night.usd, len(config.sources)] == [20.0, 3]
    assert config.sources[0].folder == str(tmp_path / "checkpoints" / "*")
    keys = [f"`{section}.{key}`" for section, model in (("night", Night),) for key in model.model_fields]
    assert [key for key in keys if key not in page] == []


def test_batches_are_the_default_at_a_providers_own_address(place: Place) -> None:
    if "transport" not in Judge.model_fields:
        pytest.skip("this version of the spec has no transport")
    transports = {}
    for model, more in (
        ("anthropic/claude-haiku-4-5", {}),
        ("openai/gpt-5.4-mini", {}),
        ("openai/gpt-5.4-mini ", {"base_url": "http://127.0.0.1:9/v1"}),
        ("anthropic/claude-haiku-4-5 ", {"transport": "calls"}),
        ("embedded", {}),
    ):
        config = place.config()
        config.spec["judge"] = {"model": model.strip(), **more}
        transports[model] = config.template().judge.transport
    assert list(transports.values()) == ["batch", "batch", "calls", "calls", "calls"]


def test_the_index_shows_hostile_names_as_text(tmp_path: Path) -> None:
    made = report_data.make(tmp_path / "run", n_features=3, n_neurons=3, bins=2, per_bin=2)
    evil = "<script>window.pwned=1</script>{{7*7}}\x1b[31m\u202e"
    entry = {"path": f"/x/{evil}", "lineage": evil, "reason": evil, "run_id": "run"}
    drift = {"judge": evil, "is_llm": True, "since": evil, "n_anchors": 5, "difference": -0.5, "ci_low": -0.6}
    drift |= {"ci_high": -0.4, "excludes_zero": True, "reason": evil}
    change = {"difference": -0.5, "ci_low": -0.6, "ci_high": -0.4}
    trend = {"night": "2026-11-21", "lineage": evil, "verdict": "regression", "reason": evil, "mean_now": 1.0}
    trend |= change | {"previous_run_id": evil, "judge_drift": drift, "corrected": change | {"drift": change}}
    night = {"night": evil, "cost_usd": 1.0, "budget_usd": 2.0, "notes": [evil], "judge_drift": drift}
    night |= {key: [entry] for key in ("scored", "copies", "corrupt", "failed", "deferred")}
    (tmp_path / "run" / "trend.json").write_text(json.dumps(trend))
    (tmp_path / "nights").mkdir()
    (tmp_path / "nights" / "2026-11-21.json").write_text(json.dumps(night))
    (tmp_path / "nights" / "2026-11-20.json").write_text("[]")
    index.write(tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert made["name"] in page
    assert page.count("&lt;script&gt;") > 10
    assert "<script" not in page
    assert not set("\x1b\u202e") & set(page)
    assert "{{7*7}}" in page
    assert "Not readable by this version: nights/2026-11-20.json." in page


def test_a_budget_needs_a_price(place: Place) -> None:
    place.put("a")
    place.sections["judge"] = {"model": "openai-compatible/x", "base_url": "http://127.0.0.1:9/v1"}
    place.night["usd"] = 1.0
    with pytest.raises(UsageError, match="the price of openai-compatible/x is unknown"):
        place.run("2026-11-20")
    with place.ledger.read() as tx:
        assert nights.get(tx, "2026-11-20") is None
