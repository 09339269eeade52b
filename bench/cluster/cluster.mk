# SPDX-License-Identifier: Apache-2.0
#
# What the loss of a backend costs, stm beside event (docs/scale-out.md): `make bench-cluster`;
# takes a minute, and needs root.

.PHONY: bench-cluster
bench-cluster: $(BUILD)/mod_mpm_stm.so ## measure what the loss of a backend costs; as root
	@STM_TEST_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m bench.cluster.measure
