# SPDX-License-Identifier: Apache-2.0
"""Writes a test server's configuration: what every server has, the MPM's part, the test's part."""

import os

from .places import CHILD_USER, MODULES, MPM, STM_MODULE, compiled_in

BASE_MODULES = ("authz_core", "mime", "dir", "alias")
# Debian has these compiled in, httpd's own build as modules.
USUALLY_COMPILED_IN = ("unixd", "log_config", "logio")

# Timeout: on a loaded machine, a client of a test may not read for longer than httpd's minute.
COMMON = """\
ServerRoot "{root}"
DefaultRuntimeDir run
PidFile run/httpd.pid
ServerName localhost
ErrorLog logs/error.log
LogLevel info
DocumentRoot htdocs
TypesConfig mime.types
DirectoryIndex index.html
MaxKeepAliveRequests 0
Timeout 600
KeepAliveTimeout 60
LogFormat "%P %s %X %r" test
CustomLog logs/access.log test
<Directory />
    Require all granted
    AllowOverride None
</Directory>
"""

TLS = """\
LogLevel info ssl:warn
<VirtualHost *:{port}>
    SSLEngine on
    SSLCertificateFile {certificate}
</VirtualHost>
"""


def mpm_module(mpm):
    """The LoadModule line of an MPM."""
    path = STM_MODULE if mpm == "stm" else MODULES / f"mod_mpm_{mpm}.so"
    return f"LoadModule mpm_{mpm}_module {path}"


def mpm_directives(mpm, processes, threads, listeners):
    """`processes` processes that serve at most `threads` connections each at one time."""
    if mpm == "stm":
        spare = max(1, min(5, threads // listeners))
        return "\n".join([f"NumVPs {processes}", f"MaxThreads {threads}",
                          f"StartThreads {spare}", f"MinSpareThreads {spare}",
                          f"MaxSpareThreads {max(spare, min(10, threads // listeners))}",
                          "StackSize 8388608"])
    if mpm == "prefork":
        return "\n".join([f"StartServers {processes}", f"MaxRequestWorkers {processes * threads}",
                          f"ServerLimit {processes * threads}"])
    return "\n".join([f"ServerLimit {processes}", f"StartServers {processes}",
                      f"ThreadLimit {threads}", f"ThreadsPerChild {threads}",
                      f"MaxRequestWorkers {processes * threads}",
                      f"MinSpareThreads {processes * threads}",
                      f"MaxSpareThreads {(processes + 1) * threads}"])


def render(root, *, mpm, processes, threads, modules, directives, ports, tls_port, certificate,
           listen, sized):
    """The whole httpd.conf; fills in @PORT@, @PORT2@ ..., @TLS_PORT@ and @ROOT@ in directives."""
    loaded = list(dict.fromkeys([*USUALLY_COMPILED_IN, *BASE_MODULES,
                                 *(["ssl"] if tls_port else []), *modules]))
    loaded = [name for name in loaded if str(name) not in compiled_in()]
    all_ports = [*ports, *([tls_port] if tls_port else [])]
    parts = [mpm_module(mpm or MPM)]
    for name in loaded:
        path = name if "/" in str(name) else MODULES / f"mod_{name}.so"
        symbol = str(name).rsplit("/", 1)[-1].removeprefix("mod_").removesuffix(".so")
        parts.append(f"LoadModule {symbol}_module {path}")
    parts.append(COMMON.format(root=root))
    if os.geteuid() == 0:
        parts.append(f"User {CHILD_USER}\nGroup {CHILD_USER}")
    if listen:
        parts += [f"Listen 127.0.0.1:{port}" for port in all_ports]
    if sized:
        parts.append(mpm_directives(mpm or MPM, processes, threads, max(1, len(all_ports))))
    if tls_port:
        parts.append(TLS.format(port=tls_port, certificate=certificate))
    for number, port in enumerate(ports, 1):
        directives = directives.replace(f"@PORT{number if number > 1 else ''}@", str(port))
    directives = directives.replace("@TLS_PORT@", str(tls_port)).replace("@ROOT@", str(root))
    return "\n".join([*parts, directives, ""])
