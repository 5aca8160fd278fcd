"""The folder of a run that has finished, made by the real writers but without any process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from coordinator.core.events import Persist, Persisted, PersistGeneration, Row
from coordinator.core.run_plan import RunPlan
from coordinator.data.prepared import PreparedData
from coordinator.job import Job
from coordinator.storage.model_file import Model, save_model
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import EventLog
from coordinator.storage.run_store import RunStore
from neuron_node.fingerprint import fingerprint
from tests.networks import COORDINATOR_LIFE, parameters, trained

EPOCHS = 6


def finished_run(base: Path, name: str = "r") -> RunFolder:
    """A run on xor, trained in memory, with all files that `learn` leaves but logs."""
    job = Job.from_flags({"dataset": "xor", "name": name, "epochs": EPOCHS}, None)
    directory = job.create_run(base)
    config = directory.config()
    data = PreparedData.load(directory.data)
    coordinator = trained(
        RunPlan(
            run=bytes.fromhex(config["run"]),
            incarnation=COORDINATOR_LIFE,
            seed=config["seed"],
            network=job.network,
            data=data,
            group_size=config["group_size"],
            fingerprint=fingerprint(),
        )
    )
    snapshot = coordinator.trainer.snapshot
    assert snapshot is not None and coordinator.finished is not None and snapshot.step == EPOCHS
    store = RunStore(directory.path, directory.identity(config))
    store.persist_generation(PersistGeneration(1))
    half = snapshot._replace(step=EPOCHS // 2, progress=replace(snapshot.progress, step=EPOCHS // 2))
    rows = [Row(step, step, 1 / step, 0.5, step / 10, 1) for step in range(1, EPOCHS + 1)]
    for saved, some in ((half, rows[: EPOCHS // 2]), (snapshot, rows[EPOCHS // 2 :])):
        assert store.persist(Persist(saved, 1, saved is snapshot, tuple(some))) == Persisted(saved.step)
    save_model(directory.model, Model(parameters(coordinator), job.network, data.encoding, config["seed"], EPOCHS))
    log = EventLog(directory.path / "events.jsonl")
    log.note("wired", {"nodes": 6, "seconds": 0.25})
    log.note("finished", {"weights_sha256": coordinator.finished["weights_sha256"]})
    directory.write_json("placements", {"input.0": {"node": "node-1", "host": "here", "process": 7}})
    directory.write_json("result", {**coordinator.finished, "run": name})
    return directory
