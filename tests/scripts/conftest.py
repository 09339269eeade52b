# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the scripts: folders, and servers that end with their test."""

import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from .checkout import BUILD, IS_ROOT, Checkout


def pytest_configure(config):
    """One mark."""
    config.addinivalue_line("markers", "needs_root: cannot be done by an ordinary user")


def pytest_collection_modifyitems(items):
    """An ordinary user runs what an ordinary user can."""
    for item in items:
        if not IS_ROOT and item.get_closest_marker("needs_root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(name="folder")
def _folder():
    """An empty folder under the build folder that every user can enter, if the checkout can be."""
    (BUILD / "test").mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="scripts-", dir=BUILD / "test"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(name="checkout")
def _checkout(folder):
    """A checkout of this test's own; its server is ended with it."""
    checkout = Checkout(folder)
    yield checkout
    checkout.end()
    checkout.script("clean")


@pytest.fixture(name="foreign")
def _foreign():
    """A checkout of an ordinary user's, while the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="stm-scripts-", dir="/var/tmp"))
    path.chmod(0o755)
    checkout = Checkout(path, owner=pwd.getpwnam("nobody"))
    yield checkout
    checkout.end()
    shutil.rmtree(path, ignore_errors=True)
