"""A traced pass in the Chrome trace event format, which Perfetto and chrome://tracing show.

Each host is a process and each neuron a thread. The times are microseconds since the first event of the host, by its own clock:
times of different hosts cannot be compared. The arrows are the messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.trace.messages import Message
from neuron_node.wording import shown, steps_of

INSTANT_US = 1
"""The length of an event that has no measured length."""
FORWARD_STEPS, BACK_STEPS = range(1, 5), range(6, 10)


def chrome_trace(
    neurons: Sequence[Mapping[str, Any]], messages: Sequence[Message], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the document. Every neuron must have its times."""
    hosts = list(dict.fromkeys(str(facts["host"]) for facts in neurons))
    begun = {host: min(facts["fired_us"] for facts in neurons if str(facts["host"]) == host) for host in hosts}
    places = {facts["neuron"]: (hosts.index(str(facts["host"])) + 1, index) for index, facts in enumerate(neurons, 1)}
    zero = {facts["neuron"]: begun[str(facts["host"])] for facts in neurons}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": number, "args": {"name": f"host {host}, by its own clock"}}
        for number, host in enumerate(hosts, 1)
    ]
    for facts in neurons:
        pid, tid = places[facts["neuron"]]
        events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": facts["neuron"]}})
        events += [{**event, "pid": pid, "tid": tid} for event in _events(facts, zero[facts["neuron"]])]
    for number, message in enumerate(messages, 1):
        if message.sent_us is None or message.used_us is None:
            continue
        sender = message.sender.partition("…")[0]
        for phase, name, time_us in (("s", sender, message.sent_us), ("f", message.receiver, message.used_us)):
            pid, tid = places[name]
            end = {"bp": "e"} if phase == "f" else {}
            events.append({"ph": phase, "id": number, "name": message.kind, "cat": message.kind, "ts": time_us - zero[name],
                           "pid": pid, "tid": tid, **end})  # fmt: skip
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": dict(about)}


def _events(facts: Mapping[str, Any], zero_us: int) -> list[dict[str, Any]]:
    fired, replied = facts["fired_us"] - zero_us, facts["replied_us"] - zero_us
    texts = {step: [line.text for line in steps_of(facts) if line.step == step] for step in range(1, 10)}
    forward = {f"step {step}": "; ".join(texts[step]) for step in FORWARD_STEPS}
    back = {f"step {step}": "; ".join(texts[step]) for step in BACK_STEPS}
    made = [
        (f"fires {shown(facts['activity'][0])}", fired, INSTANT_US, forward),
        (f"error {shown(facts['error'][0])}", replied, INSTANT_US, back),
    ]
    if replied - fired > INSTANT_US:
        waits = {"step 5": "; ".join(texts[5])}
        made.insert(1, ("waits for errors", fired + INSTANT_US, replied - fired - INSTANT_US, waits))
    return [
        {"ph": "X", "name": name, "cat": "neuron", "ts": ts, "dur": duration, "args": args}
        for name, ts, duration, args in made
    ]
