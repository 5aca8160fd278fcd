"""All that the page knows of a run: the values of the picture, curves, predictions, neurons, nodes. It only receives."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from coordinator.core.journal import SILENCE, WAKE
from coordinator.core.state import CoordinatorState
from coordinator.dashboard.history import Curve, Prediction, Predictions
from coordinator.dashboard.numbers import PassNumbers, float32, in_order, numbers_of_trace, numbers_of_update
from coordinator.data.encoding import Encoding
from coordinator.data.prepared import PreparedData
from coordinator.data.table import Floats
from coordinator.defaults import NetworkSettings
from coordinator.page.picture_state import Frame, finite, is_pooled, packed_frame, picture_state
from coordinator.page.report import confusion
from coordinator.watching import Update

ABSENT = "absent"
"""The state while no coordinator answers."""
ENDING = (CoordinatorState.STOPPING.value, CoordinatorState.ENDED.value)
MOST_MARKS = 60
DEATH_SHOWN_SECONDS = 1.0
"""A killed neuron may be back within tenths of a second. Its death is shown at least so long, so that people see it."""
MOST_CLASSES = 20
"""The largest confusion matrix that is shown."""
OF_STATUS = ("step", "steps", "epoch", "epochs", "learning_rate")


class Board:
    """The state of the page. Each method receives one kind of news; `take` returns the values of the picture that changed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.state = "connecting"
        self.why_absent = ""
        self._ending = False
        """Whether the coordinator has said that it ends."""
        self.status: dict[str, Any] = {}
        self.versions = dict.fromkeys(("curves", "predictions", "confusion", "nodes", "status"), 0)
        """Counters that tell a panel whether what it shows is old."""
        self.values: dict[str, Any] = {}
        """The values of the picture that all browsers share."""
        self._changed: set[str] = set()
        self.unwatched = ""
        """Why the numbers of the neurons can't be watched; empty if they can."""
        self._begin("")

    def _begin(self, run: str) -> None:
        """Forget the run of before."""
        self._run = run
        self.neurons: list[dict[str, Any]] = []
        self.nodes: list[dict[str, Any]] = []
        self.waits: list[str] = []
        self.network: NetworkSettings | None = None
        self.encoding: Encoding | None = None
        self.measured = "held out"
        """Which samples are measured after each epoch."""
        self.samples: tuple[Floats, Floats] = (np.empty((0, 0)), np.empty((0, 0)))
        """Inputs and targets of the held-out samples of the picture."""
        self.training, self.held_out, self.speed = Curve(), Curve(), Curve()
        self.marks: deque[tuple[int, str]] = deque(maxlen=MOST_MARKS)
        """Steps of recoveries and interventions, with a word."""
        self.predictions = Predictions()
        self.confusion: tuple[Any, int] | None = None
        """The confusion matrix of the held-out samples, and their number."""
        self._measured: tuple[Any, Any] = (None, None)
        """The latest loss and accuracy of the held-out samples."""
        self._silent: set[str] = set()
        self._killed: dict[str, tuple[Any, float]] = {}
        """The process of each neuron that a person has killed, until another one hosts it, and the end of the shortest time."""
        self._live: dict[str, Any] = {}

    # News.

    def absent(self, why: str) -> None:
        """Note that no coordinator answers. A run that has ended is no fault."""
        self.state, self.why_absent = ABSENT, why
        if self._ending:
            self.state, self.why_absent = CoordinatorState.ENDED.value, "the run has ended"
        self.versions["status"] += 1
        self._tell_live(state=self.state)

    def receive_status(self, status: Mapping[str, Any]) -> None:
        """Receive the answer to `status`."""
        self.status = dict(status)
        self._ending = status["state"] in ENDING
        self.why_absent = ""
        paused = status["pauses_after"] is not None and status["step"] >= status["pauses_after"]
        self.state = "paused" if paused and status["state"] == CoordinatorState.TRAINING.value else status["state"]
        self.versions["status"] += 1
        self._tell_live(state=self.state, **{name: status[name] for name in OF_STATUS if name in status})
        measured = finite(status.get("test_loss")), finite(status.get("test_accuracy"))
        if measured != self._measured:
            self._measured = measured
            self.held_out.add(status["step"], *measured)
        # A pause has no speed: the messages that keep programs connected are no messages of a step.
        if self.state == CoordinatorState.TRAINING.value and status.get("samples_per_second") is not None:
            self.speed.add(status["step"], status["samples_per_second"], status.get("messages_per_second"))

    def describe(self, run: str, facts: Mapping[str, Any], held_out: Floats) -> None:
        """Receive the description of a network, and held-out rows: inputs, activities and targets."""
        if run != self._run:
            self._begin(run)
            # Browsers must not draw numbers of the run before.
            self._put(dict.fromkeys(self.values))
        network, encoding = NetworkSettings.from_json(facts["network"]), Encoding.from_json(facts["encoding"])
        self.network, self.encoding = network, encoding
        self.measured = "held out" if facts["held_out"] else "all samples"
        inputs, outputs = network.layers[0], network.layers[-1]
        self.samples = held_out[:, :inputs], held_out[:, inputs + outputs :]
        rows, targets = self.samples
        data = PreparedData("", "", encoding, rows, targets, rows, targets, None, None) if len(rows) else None
        state = picture_state(network, encoding, [], data)
        self._put(
            {name: finite(state[name]) if name != "rows" else state[name] for name in ("network", "samples", "rows")}
        )

    def unwatchable(self, why: str) -> None:
        """Note that the network is too large to be watched."""
        self.unwatched = why
        self.versions["status"] += 1

    def receive_update(self, update: Update, groups: Mapping[str, Any]) -> None:
        """Receive the numbers of a marked step."""
        if self.network is None:
            return
        numbers, facts = numbers_of_update(update, groups, self.network), update.facts
        self.training.add(facts["step"], finite(facts.get("loss")), finite(facts.get("accuracy")))
        found, right = self._labels(numbers.activities[-1]), self._labels(numbers.targets)
        for row, guess, truth in zip(numbers.inputs, found, right, strict=True):
            self.predictions.add(Prediction(facts["step"], row, guess, truth))
        self.versions["curves"] += 1
        self.versions["predictions"] += 1
        known = {name: facts[name] for name in ("step", "steps", "epoch", "epochs", "moment", "pass")}
        self._show(numbers, {**known, "rows": len(numbers.inputs), "source": "training"}, found[0], right[0])

    def receive_trace(self, facts: Mapping[str, Any]) -> None:
        """Receive a traced sample: the present numbers, although no step was done."""
        if self.network is None:
            return
        numbers = numbers_of_trace(facts, self.network)
        self._silent = {neuron["neuron"] for neuron in facts["neurons"] if neuron["silent"]}
        about = {"step": facts["step"], "moment": facts["moment"], "pass": facts["pass"], "rows": 1, "source": "sample"}
        found, right = self._labels(numbers.activities[-1]), self._labels(numbers.targets)
        self._show(numbers, about, found[0], right[0])

    def receive_event(self, event: str, facts: Mapping[str, Any]) -> None:
        """Receive an event of the run."""
        match event:
            case "intervention":
                self._intervened(facts)
            case "recovery":
                self.marks.append((facts.get("step") or 0, "recovery"))
            case "state":
                self._ending = facts["state"] in ENDING
                return
            case "killed":
                # Its successor may be known already: the next answer to `neurons` says so.
                self._killed[facts["neuron"]] = facts["process"], self._clock() + DEATH_SHOWN_SECONDS
                self._tell_live()
            case _:
                return
        self.versions["curves"] += 1

    def _intervened(self, facts: Mapping[str, Any]) -> None:
        change, neuron = facts["change"], facts.get("neuron", "")
        self.marks.append((facts["step"], f"{change} {neuron}".strip()))
        if change == SILENCE:
            self._silent.add(neuron)
        elif change == WAKE:
            self._silent.discard(neuron)
        self._tell_live()

    def receive_neurons(self, facts: Mapping[str, Any]) -> None:
        """Receive the answer to `neurons`."""
        self.neurons, self.nodes = facts["neurons"], facts["nodes"]
        hosts, now = {row["neuron"]: row for row in self.neurons}, self._clock()
        self._killed = {
            name: (process, until)
            for name, (process, until) in self._killed.items()
            if name in hosts and (now < until or hosts[name]["process"] == process or hosts[name]["state"] != "working")
        }
        self.versions["nodes"] += 1
        self._tell_live()

    def receive_waits(self, facts: Mapping[str, Any] | None) -> None:
        """Receive why the run waits; None: it does not."""
        self.waits = list(facts["why"]) if facts else []
        self.versions["nodes"] += 1

    def receive_held_out(self, rows: Floats) -> None:
        """Receive activities and targets of held-out samples."""
        if self.network is None or self.encoding is None or self.encoding.classes is None or not len(rows):
            return
        if len(self.encoding.classes) <= MOST_CLASSES:
            outputs = self.network.layers[-1]
            matrix = confusion(self.encoding, rows[:, :outputs], rows[:, outputs:])
            self.confusion = matrix.tolist(), len(rows)
            self.versions["confusion"] += 1

    # What browsers get.

    def take(self) -> dict[str, Any]:
        """Return the shared values that have changed since the last call."""
        taken = {name: self.values[name] for name in self._changed}
        self._changed.clear()
        return taken

    @property
    def is_described(self) -> bool:
        """Whether the status is that of the network that is known. After a restart the status of the next run comes first."""
        return self.network is not None and self.status.get("run") == self._run

    @property
    def names(self) -> list[str]:
        """The names of all neurons, in order."""
        return [row["neuron"] for row in self.neurons]

    @property
    def dead(self) -> list[str]:
        """The neurons that no program computes at present."""
        away = {row["neuron"] for row in self.neurons if row["state"] != "working"}
        return sorted(away | self._killed.keys())

    def values_of(self, numbers: PassNumbers, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the picture for the numbers of a pass. `about` are its facts for `live`."""
        assert self.network is not None and self.encoding is not None
        frame = Frame(
            step=about["step"],
            epoch=about.get("epoch"),
            loss=None,
            held_out_loss=None,
            held_out_accuracy=None,
            best=False,
            sha256="",
            parameters=numbers.parameters,
        )
        snapshot, packed = packed_frame(frame)
        first = [*numbers.sums, *(row[0] for row in numbers.activities), *(row[0] for row in numbers.errors)]
        return {
            "snapshots": [finite(snapshot)],
            "numbers": packed,
            "inputs": float32([numbers.inputs[0]]),
            "passed": float32(first),
            "weights_change": None if is_pooled(self.network.layers) else float32(in_order(numbers.gradients)),
        }

    def label_of(self, targets: Floats) -> Any:
        """Return the class, by its number, or the value that a row of targets or activities means."""
        return self._labels(targets)[0]

    def _show(self, numbers: PassNumbers, about: Mapping[str, Any], found: Any, right: Any) -> None:
        self._put(self.values_of(numbers, about))
        self._tell_live(**about, predicted=found, label=right)

    def _tell_live(self, **facts: Any) -> None:
        self._live |= facts
        if self.network is not None and self.values.get("numbers") is not None:
            self._put({"live": {**finite(self._live), "silent": sorted(self._silent), "dead": self.dead}})

    def _put(self, values: Mapping[str, Any]) -> None:
        self.values |= values
        self._changed |= values.keys()

    def _labels(self, rows: Floats) -> list[Any]:
        assert self.encoding is not None
        if self.encoding.classes is not None:
            return [int(label) for label in self.encoding.decode_labels(rows)]
        return [finite(float(row[0])) for row in self.encoding.decode_numbers(rows)]
