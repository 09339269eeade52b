# SPDX-License-Identifier: Apache-2.0
#
# Tests the Debian package in a chroot of its own: installation, switching, upgrade, removal, purge.
# Needs root, and the network the first time; skipped with a message otherwise. Not part of `make
# test`.

.PHONY: test-package
test-package: deb ## test the Debian package in a chroot: switch, upgrade, purge; as root
	$(Q)tests/package/package.sh $(BUILD)/deb
