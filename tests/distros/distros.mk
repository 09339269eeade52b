# SPDX-License-Identifier: Apache-2.0
#
# Tests on other systems than this machine's, which are kept in $(DISTRO_ROOTS), and with other
# httpds than the distribution's. Not part of `make test`: the first two need root, and the network
# the first time. What cannot be had is skipped with a message.
#   test-distros   other releases of Debian, in chroots; DISTROS selects releases, DISTRO_PARTS
#                  parts (build, st-run, ..., live, here); DISTRO_PARTS=test is `make test` there,
#                  of the parts DISTRO_TEST_PARTS
#   test-arm64     arm64's httpd with the cross-built module, under qemu
#   test-httpd     the httpd of APXS=; the module is built for it in $(BUILD)/httpd
# DISTRO_ROOTS is where the chroots and arm64's packages stay, for several working trees.
# DISTRO_PYTEST_ARGS, ARM64_PYTEST_ARGS and HTTPD_PYTEST_ARGS are pytest's arguments, live tests.

DISTROS ?= trixie sid
DISTRO_ROOTS ?= $(BUILD)/distros
# What differs between releases: the C library's locks and threads, httpd and its modules.
DISTRO_PYTEST_ARGS ?= $(addprefix tests/live/test_,startup.py http.py http2.py restart.py stop.py \
                        idle.py syscalls.py thread_locals.py kernel_threads.py timeouts.py) \
                      tests/live/waits/test_wait_many.py

.PHONY: test-distros
test-distros: all ## build and test in chroots, as root; DISTROS='trixie sid'
	$(Q)BUILD='$(BUILD)' DISTRO_ROOTS='$(DISTRO_ROOTS)' DISTRO_PARTS='$(DISTRO_PARTS)' \
	    DISTRO_TEST_PARTS='$(DISTRO_TEST_PARTS)' \
	    tests/distros/distros.sh '$(DISTRO_PYTEST_ARGS)' $(DISTROS)

ARM64_PYTEST_ARGS ?= $(addprefix tests/live/test_,essentials.py http.py)

.PHONY: test-arm64
test-arm64: ## test arm64's httpd with the cross-built module, under qemu, as root
ifneq ($(shell command -v $(CROSS_PREFIX)gcc),)
	@$(CROSS_MAKE) '$(BUILD)/aarch64/mod_mpm_stm.so'
	$(Q)BUILD='$(BUILD)' DISTRO_ROOTS='$(DISTRO_ROOTS)' PYTHON='$(PYTHON)' \
	    tests/distros/arm64.sh $(ARM64_PYTEST_ARGS)
else
	@echo "$(CROSS_MISSING)"
endif

# What differs between versions and builds of httpd: the states of a connection, the scoreboard, the
# current thread, mod_http2 and mod_ssl, which modules there are, and what is linked into httpd.
HTTPD_PYTEST_ARGS ?= $(addprefix tests/live/test_,essentials.py configtest.py http.py http2.py \
                       restart.py stop.py graceful_stop.py idle.py timeouts.py status.py \
                       kernel_threads.py queries.py startup.py linked_in.py modules.py \
                       thread_locals.py tls.py heartbeat.py)

.PHONY: test-httpd
test-httpd: ## test with the httpd of APXS=/usr/local/apache2/bin/apxs, say
ifeq ($(origin APXS),file)
	@echo "test-httpd: name an httpd: make test-httpd APXS=/usr/local/apache2/bin/apxs" >&2
	@false
else
	@$(MAKE) --no-print-directory BUILD='$(BUILD)/httpd' test-httpd-run
.PHONY: test-httpd-run
test-httpd-run: live-tools $(BUILD)/mod_mpm_stm.so
	$(Q)STM_TEST_APXS='$(APXS)' STM_TEST_HTTPD='$(HTTPD)' $(PYTEST_SHARED) \
	    tests/scripts/test_run.py::test_another_httpd $(HTTPD_PYTEST_ARGS)
endif
