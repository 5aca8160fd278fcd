"""The same network as matrices, in one process: `python -m coordinator.bench.reference`, started by `measuring`.

It is a program of its own, because the number of BLAS threads is fixed when NumPy is imported. Standard input: one line of
JSON (`Order`). The argument names the library; the environment gives the number of threads. Standard output: one line of
JSON, `steps_per_second`.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from coordinator.bench.network import made_network, made_samples
from coordinator.bench.wire import Order
from coordinator.verify.textbook import Textbook
from neuron_node.activations import Array

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
WARM_UP_STEPS = 5
SEED = 1


def has_pytorch() -> bool:
    """Return whether PyTorch can be imported."""
    return importlib.util.find_spec("torch") is not None


def speed_of(step: Callable[[Array, Array], object], batches: Iterator[tuple[Array, Array]], seconds: float) -> float:
    """Return the steps per second, after some steps that do not count."""
    for inputs, targets in itertools.islice(batches, WARM_UP_STEPS):
        step(inputs, targets)
    steps, begun = 0, time.perf_counter()
    elapsed = 0.0
    while elapsed < seconds:
        step(*next(batches))
        steps += 1
        elapsed = time.perf_counter() - begun
    return steps / elapsed


def batches_of(order: Order) -> Iterator[tuple[Array, Array]]:
    """Return the made samples in batches, again and again: inputs (rows, inputs) and targets (rows, outputs)."""
    inputs, targets = made_samples(order.layers, order.batch_size)
    size = order.batch_size
    rows = [slice(first, first + size) for first in range(0, len(inputs), size)]
    return itertools.cycle([(inputs[some], targets[some]) for some in rows])


def numpy_speed(order: Order) -> float:
    """Measure the textbook of `coordinator verify`, without the inputs' own errors: programs compute them only on request."""
    textbook = Textbook(made_network(order.layers, order.batch_size), SEED)

    def forward(inputs: Array, _targets: Array) -> None:
        textbook.forward(inputs)

    step = partial(textbook.step, input_errors=False)
    return speed_of(step if order.learning else forward, batches_of(order), order.seconds)


def pytorch_speed(order: Order) -> float:
    """Measure the network as users of PyTorch write it, in float64 on the CPU."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_default_dtype(torch.float64)
    modules = []
    for above, below in itertools.pairwise(order.layers):
        modules += [torch.nn.Linear(above, below), torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*modules)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = itertools.cycle(
        [
            (torch.from_numpy(inputs), torch.from_numpy(targets))
            for inputs, targets in itertools.islice(batches_of(order), 64)
        ]
    )

    def step(inputs: Any, targets: Any) -> None:
        optimizer.zero_grad()
        loss = 0.5 * (model(inputs) - targets).square().sum() / len(inputs)
        loss.backward()
        optimizer.step()

    def forward(inputs: Any, _targets: Any) -> None:
        with torch.inference_mode():
            model(inputs)

    return speed_of(step if order.learning else forward, batches, order.seconds)


LIBRARIES: dict[str, Callable[[Order], float]] = {"numpy": numpy_speed, "pytorch": pytorch_speed}


def main() -> int:
    """Measure the library that the argument names."""
    order = Order.from_json(sys.stdin.readline())
    print(json.dumps({"steps_per_second": LIBRARIES[sys.argv[1]](order)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
