"""Shared files on disk, in memory and on an S3 server: whole or absent, and errors of one line."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer
from support.planted_world import world as planted

from autointerp.errors import AutointerpError, UsageError
from autointerp.harvest.artifacts import Artifacts, Unreachable
from autointerp.harvest.finished import FILES, finished_harvest
from autointerp.harvest.inputs import open_inputs
from autointerp.harvest.merge import harvest
from autointerp.harvest.shards import begin_harvest, harvest_shard
from autointerp.progress import quiet

BUCKET = "shared"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """URL of a bucket on a local server, with credentials and endpoint in the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
        yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(params=["local", "file://", "memory://", "s3://"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    roots: dict[str, Callable[[], str]] = {
        "local": lambda: str(tmp_path / "made" / "later"),
        "file://": lambda: f"file://{tmp_path}/folder",
        "memory://": lambda: f"memory://{tmp_path.name}",
        "s3://": lambda: f"{request.getfixturevalue('s3')}/{tmp_path.name}",
    }
    return Artifacts(roots[request.param]())


def text(said: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(said) and None


# What holds everywhere


def test_files_are_written_listed_read_and_removed_by_name(artifacts: Artifacts) -> None:
    assert artifacts.list("") == []
    assert not artifacts.exists("a/one")
    with pytest.raises(FileNotFoundError):
        artifacts.read("a/one")
    for name in ("a/one", "a/one-more", "b/one"):
        artifacts.write(name, text(name))
    assert artifacts.exists("a/one")
    assert not artifacts.exists("a")
    assert artifacts.read("a/one").read_text() == "a/one"
    assert artifacts.list("") == ["a/one", "a/one-more", "b/one"]
    assert artifacts.list("a/") == artifacts.list("a/on") == ["a/one", "a/one-more"]
    assert artifacts.list("c/") == []
    artifacts.remove("a/one")
    artifacts.remove("a/one")
    assert not artifacts.exists("a/one")
    with pytest.raises(FileNotFoundError):
        artifacts.read("a/one")
    assert artifacts.list("a/") == ["a/one-more"]


def test_a_file_that_was_written_again_is_read_again(artifacts: Artifacts) -> None:
    elsewhere = Artifacts(artifacts.root)
    for said in ("first", "second", "a third"):
        artifacts.write("file", text(said))
        assert elsewhere.read("file").read_text() == artifacts.read("file").read_text() == said


def test_a_file_is_written_whole_or_not_at_all(artifacts: Artifacts) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        assert artifacts.list("") == ["file"]
        assert artifacts.read("file").read_text() == "before"
        raise RuntimeError("no more")

    artifacts.write("file", text("before"))
    for write in (artifacts.write, artifacts.write_once):
        for name in ("file", "new"):
            if (write, name) == (artifacts.write_once, "file"):
                continue
            with pytest.raises(RuntimeError, match="no more"):
                write(name, fail)
    assert artifacts.list("") == ["file"]
    assert artifacts.read("file").read_text() == "before"
    if artifacts.folder:
        assert [p.name for p in artifacts.folder.iterdir()] == ["file"]


@pytest.mark.parametrize("artifacts", ["local", "s3://"], indirect=True)
def test_of_many_writers_once_exactly_one_wins(artifacts: Artifacts) -> None:
    n = 5
    together, won = threading.Barrier(n), []

    def claim(who: int) -> None:
        def save(path: Path) -> None:
            together.wait()
            path.write_text(str(who))

        if Artifacts(artifacts.root).write_once("plan", save):
            won.append(str(who))

    threads = [threading.Thread(target=claim, args=(who,)) for who in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [artifacts.read("plan").read_text()]
    assert artifacts.write_once("plan", lambda _: pytest.fail("it was there")) is False


def test_an_unchanged_remote_file_is_fetched_once(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, fetched = Artifacts(f"{s3}/{tmp_path.name}"), []
    artifacts.write("file", text("said"))
    real = s3fs.S3FileSystem._get_file

    async def counting(self: object, *args: object, **options: object) -> object:
        fetched.append(args)
        return await real(self, *args, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_get_file", counting)
    for _ in range(3):
        assert Artifacts(artifacts.root).read("file").read_text() == "said"
    assert len(fetched) == 1


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".writing-old", tmp_path / ".writing-young"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (0, 0))
    artifacts = Artifacts(tmp_path)
    artifacts.write("file", text("whole"))
    assert (old.exists(), young.exists()) == (False, True)
    assert artifacts.list("") == ["file"]


# A harvest


def test_a_harvest_over_s3_equals_the_local_one(s3: str, tmp_path: Path) -> None:
    world = planted.make(tmp_path / "world")
    cut = {"window_tokens": 16, "batch_tokens": 256, "shard_tokens": 8192}
    few = {"feature_ids": [0, 1, 2], "neuron_ids": ["0+", "1+", "2-"]}
    inputs = open_inputs(world.spec(units=few, harvest=cut), quiet)
    local, remote = Artifacts(tmp_path / "local"), Artifacts(f"{s3}/harvests")
    plan = begin_harvest(inputs, remote)
    assert plan == begin_harvest(inputs, local)
    assert plan.shards == 4
    harvest_shard(inputs, remote, plan, 2, quiet)
    assert remote.list("") == [plan.name("plan.json"), plan.shard(2)]
    assert finished_harvest(remote, plan.key) is None
    expected, found = harvest(inputs, local, quiet), harvest(inputs, remote, quiet)
    assert remote.list("harvest-") == sorted(
        plan.name(name) for name in (*FILES, "plan.json", "studies-65536.json", "token-effects-1.parquet")
    )
    for name in ("units.parquet", "exemplars.parquet"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    assert finished_harvest(Artifacts(remote.root), plan.key) == found


# Refusals


def refused(act: Callable[[], object], kind: type[AutointerpError], *said: str) -> None:
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    from fsspec.registry import _registry

    monkeypatch.delitem(_registry, "s3", raising=False)
    refused(lambda: Artifacts("s3://bucket/x").exists("a"), UsageError, "pip install 'autointerp-eval[s3]'")
    refused(lambda: Artifacts("nonsense://x").list(""), UsageError, "nonsense", "s3://bucket/x")


def test_errors_for_missing_credentials_and_buckets_are_one_line(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Artifacts("s3://no-such-bucket/x")
    assert not nowhere.exists("a")
    for write in (nowhere.write, nowhere.write_once):
        refused(lambda write=write: write("a", text("b")), UsageError, "no-such-bucket", "create the bucket")  # type: ignore[misc]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    act = Artifacts(s3)
    refused(lambda: act.write("a", text("b")), UsageError, "credentials")


def test_a_server_that_does_not_respond_is_unreachable(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    refused(lambda: Artifacts(s3).write("a", text("b")), Unreachable, s3)


def test_the_error_for_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(lambda: Artifacts(tmp_path / "file").write("a/b", text("c")), Unreachable, str(tmp_path))


def test_passwords_in_urls_stay_out_of_messages() -> None:
    assert str(Artifacts("sftp://me:secret@host/x")) == "sftp://host/x"
