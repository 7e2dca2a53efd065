"""The ledger's tables: everything that a run has done, spent or has still to do is a row here.

A change of a table needs a new migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, Table, Text

from autointerp.ledger.metadata import metadata as metadata
from autointerp.ledger.metadata import partial_index
from autointerp.ledger.own import tables
from autointerp.ledger.text_column import AnyText, ShortText


def _run_id(*, primary_key: bool = False) -> Column[str]:
    return Column("run_id", ShortText(96), ForeignKey("runs.run_id"), primary_key=primary_key, nullable=False)


runs = Table(
    "runs",
    metadata,
    Column("run_id", ShortText(96), primary_key=True),
    Column("name", ShortText(64), nullable=False),
    Column("spec_hash", ShortText(64), nullable=False),
    Column("spec", Text, nullable=False, comment="the resolved spec, TOML"),
    Column(
        "state",
        ShortText(16),
        nullable=False,
        comment="queued | running | stopped | cancelled | failed | done | withheld",
    ),
    Column("reason", AnyText, nullable=False, default="", comment="why it stopped"),
    Column(
        "exit_code", Integer, nullable=False, default=0, server_default="0", comment="of the command that stopped it"
    ),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("wall_s", Float, nullable=False, default=0.0, comment="seconds of work over all sessions"),
    Column("spent_usd", Float, nullable=False, default=0.0),
    Column("reserved_usd", Float, nullable=False, default=0.0, comment="upper bound of what calls in flight may cost"),
    Column("lost_usd", Float, nullable=False, default=0.0, comment="upper bound of calls whose cost is unknown"),
    Column("stage_s", Text, nullable=False, default="{}", comment="JSON: seconds by stage"),
    Column(
        "carrier",
        ShortText(8),
        nullable=False,
        default="local",
        server_default="local",
        comment="local | fleet | explorer",
    ),
    Column(
        "harvest_key", ShortText(16), nullable=False, default="", server_default="", comment="folder of its harvest"
    ),
    Column("night", ShortText(10), nullable=False, default="", server_default="", comment="night that pays for it"),
    Column(
        "servers",
        Text,
        nullable=False,
        default="{}",
        server_default="{}",
        comment="JSON: request form by judge's server",
    ),
    Index(None, "state"),
)

jobs = Table(
    "jobs",
    metadata,
    _run_id(primary_key=True),
    Column("job_key", ShortText(64), primary_key=True, comment="hash of stage, unit, exemplar, arm and repeat"),
    Column(
        "stage",
        ShortText(16),
        nullable=False,
        comment="prepare | harvest | merge | explain | plan | score | probe | regrade | finish",
    ),
    Column(
        "place", Integer, nullable=False, comment="order of work: shuffled over units, bins and arms; a shard's number"
    ),
    Column("state", ShortText(16), nullable=False, comment="pending | leased | waiting | batched | done | failed"),
    Column("unit_id", ShortText(32), nullable=False),
    Column("exemplar_id", ShortText(80), nullable=False, default=""),
    Column("arm", ShortText(16), nullable=False, default=""),
    Column("repeat", Integer, nullable=False, default=0),
    Column("explanation_unit_id", ShortText(32), nullable=False, default="", comment="unit whose explanation is shown"),
    Column("items", Text, nullable=False, default="", server_default="", comment="JSON: items of a group question"),
    Column("scorer", ShortText(24), nullable=False, default="", server_default="", comment="empty: the rubric"),
    Column("step", Integer, nullable=False, default=0, server_default="0", comment="the scorer's step"),
    Column("attempts", Integer, nullable=False, default=0, comment="attempts that did not succeed"),
    Column("not_before", Float, nullable=False, default=0.0),
    Column("lease_owner", ShortText(64), nullable=False, default="", server_default="", comment="worker that holds it"),
    Column("last_error", AnyText, nullable=False, default=""),
    Index(None, "run_id", "stage", "state", "place"),
    partial_index("ix_jobs_leased", "lease_owner", where="lease_owner <> ''"),
    partial_index("ix_jobs_waiting", "run_id", "stage", "not_before", where="state = 'waiting'"),
    partial_index("ix_jobs_attempts", "run_id", "attempts", where="attempts > 0"),
)

texts = Table(
    "texts",
    metadata,
    Column("text_hash", ShortText(64), primary_key=True),
    Column("text", AnyText, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Integer, primary_key=True, autoincrement=True),
    Column("call_key", ShortText(64), nullable=False, comment="hash of everything that decides the answer"),
    _run_id(),
    Column("job_key", ShortText(64), nullable=False),
    Column("judge", ShortText(128), nullable=False),
    Column("served_model", ShortText(128), nullable=False, default=""),
    Column("state", ShortText(16), nullable=False, comment="open | scored | an unscored outcome | error | lost"),
    Column("reason", AnyText, nullable=False, default=""),
    Column("system_hash", ShortText(64), ForeignKey("texts.text_hash"), nullable=False),
    Column("user", AnyText, nullable=False),
    Column("reply", AnyText, nullable=False, default=""),
    Column("input_tokens", Integer, nullable=False, default=0),
    Column("output_tokens", Integer, nullable=False, default=0),
    Column("cache_write_tokens", Integer, nullable=False, default=0),
    Column("cache_read_tokens", Integer, nullable=False, default=0),
    Column("reserved_usd", Float, nullable=False, default=0.0),
    Column("cost_usd", Float, nullable=True, comment="null: the price is unknown"),
    Column("request_id", ShortText(128), nullable=False, default=""),
    Column("started_at", Float, nullable=False),
    Column("duration_s", Float, nullable=False, default=0.0),
    Column("worker", ShortText(64), nullable=False, default="", server_default="", comment="worker that makes it"),
    Column("batch_key", ShortText(64), nullable=False, default="", server_default="", comment="its provider batch"),
    Column("month", ShortText(7), nullable=False, default="", server_default="", comment="month whose budget pays"),
    Index(None, "call_key"),
    Index(None, "run_id", "state"),
    Index(None, "started_at"),
    partial_index("ix_calls_batch_key", "batch_key", where="batch_key <> ''"),
    # The same question can be in flight only once, in whichever run.
    partial_index("uq_calls_open", "call_key", where="state = 'open'", unique=True),
)

explanations = Table(
    "explanations",
    metadata,
    _run_id(primary_key=True),
    Column("unit_id", ShortText(32), primary_key=True),
    Column("outcome", ShortText(24), nullable=False),
    Column("text", AnyText, nullable=False),
    Column("reason", AnyText, nullable=False),
    Column("call_key", ShortText(64), nullable=True),
)

judgements = Table(
    "judgements",
    metadata,
    _run_id(primary_key=True),
    Column("job_key", ShortText(64), primary_key=True),
    Column("exemplar_id", ShortText(80), nullable=False),
    Column("unit_id", ShortText(32), nullable=False),
    Column("arm", ShortText(16), nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("explanation_unit_id", ShortText(32), nullable=False),
    Column("outcome", ShortText(24), nullable=False),
    Column("score", Integer, nullable=True),
    Column("expected", Float, nullable=True, comment="mean grade under the judge's token probabilities"),
    Column(
        "judge",
        ShortText(128),
        nullable=False,
        default="",
        server_default="",
        comment="empty: the spec's judge | second",
    ),
    Column("asked_in", ShortText(64), nullable=False, default="", server_default="", comment="job that asked for it"),
    Column("reason", AnyText, nullable=False),
    Column("call_key", ShortText(64), nullable=True),
    partial_index("ix_judgements_unscored", "run_id", "outcome", where="outcome <> 'scored'"),
)

answers = Table(
    "answers",
    metadata,
    _run_id(primary_key=True),
    Column("job_key", ShortText(64), primary_key=True),
    Column("scorer", ShortText(24), nullable=False),
    Column("unit_id", ShortText(32), nullable=False),
    Column("step", Integer, nullable=False, default=0, comment="questions of a later step use earlier answers"),
    Column("number", Integer, nullable=False, comment="number among the unit's questions"),
    Column("outcome", ShortText(24), nullable=False),
    Column("answer", AnyText, nullable=False, default="", comment="JSON, as parsed by the scorer"),
    Column("reason", AnyText, nullable=False, default=""),
    Column("call_key", ShortText(64), nullable=True),
    Index(None, "run_id", "scorer", "unit_id"),
)

label_items = Table(
    "label_items",
    metadata,
    _run_id(primary_key=True),
    Column("number", Integer, primary_key=True, comment="order in the sample, in which raters see it"),
    Column("exemplar_id", ShortText(80), nullable=False),
    Column("unit_id", ShortText(32), nullable=False),
    Column("arm", ShortText(16), nullable=False),
    Column("explanation_unit_id", ShortText(32), nullable=False, comment="unit whose explanation is shown"),
    Column("stratum", ShortText(48), nullable=False),
    Column("probability", Float, nullable=False, comment="of being in the sample, given the run's judged items"),
)

labels = Table(
    "labels",
    metadata,
    _run_id(primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("rater", ShortText(64), primary_key=True),
    Column("score", Integer, nullable=True, comment="null: skipped"),
    Column("at", Float, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", ShortText(64), primary_key=True, comment="host, process id and a random part"),
    Column("host", ShortText(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", ShortText(128), nullable=False),
    Column("state", ShortText(8), nullable=False, comment="live | gone"),
    Column("beat", Integer, nullable=False, default=0, comment="heartbeats so far"),
    Column("started_at", Float, nullable=False),
    Column("beat_at", Float, nullable=False),
    Column("version", ShortText(32), nullable=False, default=""),
    Index(None, "state"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("scope", ShortText(32), primary_key=True, comment="night 2026-11-21 | month 2026-11"),
    Column("spent_usd", Float, nullable=False, default=0.0),
    Column("reserved_usd", Float, nullable=False, default=0.0),
    Column("lost_usd", Float, nullable=False, default=0.0),
)

events = Table(
    "events",
    metadata,
    Column("event_id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", ShortText(96), nullable=False, default="", comment="empty: the service as a whole"),
    Column("at", Float, nullable=False),
    Column("level", ShortText(8), nullable=False, comment="info | warning | error"),
    Column("text", AnyText, nullable=False),
    Column("worker", ShortText(64), nullable=False, default=""),
    Index(None, "run_id", "event_id"),
)

batches = Table(
    "batches",
    metadata,
    Column("batch_key", ShortText(64), primary_key=True, comment="our own key, made before it is submitted"),
    _run_id(),
    Column("stage", ShortText(16), nullable=False),
    Column("judge", ShortText(128), nullable=False),
    Column("state", ShortText(12), nullable=False, comment="prepared | submitted | collected | dissolved"),
    Column("provider_id", ShortText(128), nullable=False, default="", comment="the provider's id"),
    Column("input_file", ShortText(128), nullable=False, default="", comment="id of an uploaded file"),
    Column("n_items", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("next_poll", Float, nullable=False, default=0.0),
    Column("reason", AnyText, nullable=False, default=""),
    Column("claimed_by", ShortText(64), nullable=False, server_default="", comment="the worker that last claimed it"),
    Index(None, "run_id", "state"),
)

nights = Table(
    "nights",
    metadata,
    Column("date", ShortText(10), primary_key=True),
    Column("state", ShortText(12), nullable=False, comment="running | done"),
    Column("usd", Float, nullable=True, comment="budget of the night; null: no limit"),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False, default=0.0),
    Column("note", AnyText, nullable=False, default=""),
)

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("dictionary_key", ShortText(64), primary_key=True, comment="hash of a path and of the state of its files"),
    Column("fingerprint", ShortText(64), nullable=False, default="", comment="hash of the weights; empty: corrupt"),
    Column("lineage", AnyText, nullable=False, comment="the dictionary that this is a version of"),
    Column("path", AnyText, nullable=False),
    Column("state", ShortText(12), nullable=False, comment="waiting | queued | scored | failed | copy | corrupt"),
    Column(
        "reason",
        AnyText,
        nullable=False,
        default="",
        comment="why it waits, failed or is corrupt; path of the original",
    ),
    Column("change", Float, nullable=True, comment="relative change of the decoder; null: the first version"),
    Column(
        "sketch",
        Text,
        nullable=False,
        default="",
        comment="sketch of the decoder, base64, to compare a later version with",
    ),
    Column("forecast_usd", Float, nullable=False, default=0.0),
    Column("modified_at", Float, nullable=False, default=0.0),
    Column("first_seen", Float, nullable=False),
    Column("night", ShortText(10), nullable=False, default="", comment="the last night that handled it"),
    Column("run_id", ShortText(96), nullable=False, default=""),
    Index(None, "night"),
    # The same weights are scored once, however many paths hold them.
    partial_index("uq_dictionaries_fingerprint", "fingerprint", where="state not in ('copy', 'corrupt')", unique=True),
)

anchors = Table(
    "anchors",
    metadata,
    Column("anchor_set", ShortText(64), primary_key=True, comment="hash of what must stay equal from night to night"),
    Column("number", Integer, primary_key=True),
    Column(
        "night", ShortText(10), primary_key=True, comment="the first night chooses them; it and each later one ask them"
    ),
    Column("unit_id", ShortText(32), nullable=False),
    Column("item", AnyText, nullable=False, comment="JSON: grade it was chosen by, explanation, tokens, mark"),
    Column("outcome", ShortText(24), nullable=False),
    Column("score", Integer, nullable=True),
    Column("call_key", ShortText(64), nullable=True),
)

OWN = (tables.unit_notes, tables.unit_lists, tables.list_members)
"""Notes and lists of readers, in a module of their own."""
