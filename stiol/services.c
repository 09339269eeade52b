/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services, protocols, networks, and lists of hosts: getservbyname() and the like, which ask
 * whatever nsswitch.conf(5) names. Those without _r have a result for each state thread.
 */
#include "stiol/stiol_int.h"

#include "stiol/entry.h"

STIOL_ASK(getservbyname, getservbyname_r(ask->name, ask->names[0], STIOL_ASK_ENTRY))
STIOL_ASK(getservbyport, getservbyport_r((int)ask->number, ask->names[0], STIOL_ASK_ENTRY))
STIOL_ASK(getservent, getservent_r(STIOL_ASK_ENTRY))
STIOL_ASK(getprotobyname, getprotobyname_r(ask->name, STIOL_ASK_ENTRY))
STIOL_ASK(getprotobynumber, getprotobynumber_r((int)ask->number, STIOL_ASK_ENTRY))
STIOL_ASK(getprotoent, getprotoent_r(STIOL_ASK_ENTRY))
STIOL_ASK(getnetbyname, getnetbyname_r(ask->name, STIOL_ASK_ENTRY, ask->herror))
STIOL_ASK(getnetbyaddr,
          getnetbyaddr_r((uint32_t)ask->number, ask->kind, STIOL_ASK_ENTRY, ask->herror))
STIOL_ASK(getnetent, getnetent_r(STIOL_ASK_ENTRY, ask->herror))
STIOL_ASK(gethostent, gethostent_r(STIOL_ASK_ENTRY, ask->herror))

STIOL_ASK_BY(servent, getservbyname, STIOL_OWN_GETSERVBYNAME, STIOL_NSS_SERVICES,
             (const char *name, const char *protocol), (name, protocol),
             (.name = name, .names = {protocol}))
STIOL_ASK_BY(servent, getservbyport, STIOL_OWN_GETSERVBYPORT, STIOL_NSS_SERVICES,
             (int port, const char *protocol), (port, protocol),
             (.number = port, .names = {protocol}))
STIOL_ASK_NEXT(servent, getservent, STIOL_OWN_GETSERVENT, STIOL_NSS_SERVICES)
STIOL_ASK_AROUND_OPEN(setservent, STIOL_NSS_SERVICES)
STIOL_ASK_AROUND(endservent, STIOL_NSS_SERVICES)

STIOL_ASK_BY(protoent, getprotobyname, STIOL_OWN_GETPROTOBYNAME, STIOL_NSS_PROTOCOLS,
             (const char *name), (name), (.name = name))
STIOL_ASK_BY(protoent, getprotobynumber, STIOL_OWN_GETPROTOBYNUMBER, STIOL_NSS_PROTOCOLS,
             (int number), (number), (.number = number))
STIOL_ASK_NEXT(protoent, getprotoent, STIOL_OWN_GETPROTOENT, STIOL_NSS_PROTOCOLS)
STIOL_ASK_AROUND_OPEN(setprotoent, STIOL_NSS_PROTOCOLS)
STIOL_ASK_AROUND(endprotoent, STIOL_NSS_PROTOCOLS)

STIOL_ASK_HOST_BY(netent, getnetbyname, STIOL_OWN_GETNETBYNAME, STIOL_NSS_NETWORKS,
                  (const char *name), (name), (.name = name))
STIOL_ASK_HOST_BY(netent, getnetbyaddr, STIOL_OWN_GETNETBYADDR, STIOL_NSS_NETWORKS,
                  (uint32_t net, int type), (net, type), (.number = (long)net, .kind = type))
STIOL_ASK_HOST_NEXT(netent, getnetent, STIOL_OWN_GETNETENT, STIOL_NSS_NETWORKS)
STIOL_ASK_AROUND_OPEN(setnetent, STIOL_NSS_NETWORKS)
STIOL_ASK_AROUND(endnetent, STIOL_NSS_NETWORKS)

STIOL_ASK_HOST_NEXT(hostent, gethostent, STIOL_OWN_GETHOSTENT, STIOL_NSS_HOSTS)
STIOL_ASK_AROUND_OPEN(sethostent, STIOL_NSS_HOSTS)
STIOL_ASK_AROUND(endhostent, STIOL_NSS_HOSTS)
