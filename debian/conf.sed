# SPDX-License-Identifier: Apache-2.0
# tmpfiles.d makes the directory, so the package's configuration has scoreboards. Where it is missing
# (a container, another instance of the server), the server starts without them.
s|^\( *\)# ScoreboardDir  */run/apache2/scoreboards|\1<IfFile "${APACHE_RUN_DIR}/scoreboards">\n\1    ScoreboardDir "${APACHE_RUN_DIR}/scoreboards"\n\1</IfFile>|
