"""`python -m neuron_node` is `neuron-node`."""

import sys

from neuron_node.program import main

sys.exit(main())
