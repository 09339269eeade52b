# SPDX-License-Identifier: Apache-2.0
#
# The Debian package in a chroot of its own: installation, switching, upgrade, removal, purge. As
# root, with the network at the first time; skipped with a word elsewhere. Not part of `make
# test`.

.PHONY: test-package
test-package: deb ## the Debian package in a chroot: switch, upgrade, purge; as root
	$(Q)tests/package/package.sh $(BUILD)/deb
