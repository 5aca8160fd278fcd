"""Run `neuron-node` as `python -m neuron_node`."""

import sys

from neuron_node.program import main

sys.exit(main())
